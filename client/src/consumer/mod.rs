//! The consumer: a member of a group, which shares the partitions of its topics among its members.
//!
//!     client.consumer("billing").topics(["orders"]).build().await?
//!
//!     recv ─▶ record ─▶ recv ─▶ record ─▶ …        asking for the next one says that the last one is done
//!               position ──────▶ commit ─▶ what the group goes on from after a crash: at least once
//!
//! A task of its own (`driver/member.rs`) joins, sends heartbeats and commits, so that the member stays in
//! its group while the application works on a record, up to `max_poll_interval`. Every waiting function is
//! cancel safe: a record is either handed out or still there.

mod builder;
pub use builder::{AutoCommit, AutoOffsetReset, ConsumerBuilder};
pub(crate) use builder::{MemberOptions, Subscription};

mod shared;
pub(crate) use shared::Shared;

mod work;

mod worker;

mod workers;
pub use workers::Workers;

use std::sync::Arc;
use std::time::Duration;

use protocol::api::OffsetSpec;
use protocol::model::{Offset, PartitionIndex, Timestamp};

use crate::core::assign::TopicPartition;
use crate::core::commit::CommitError;
use crate::driver::cluster::Cluster;
use crate::driver::lock;
use crate::error::ConsumeError;
use crate::record::ConsumedRecord;
use crate::retry::Retry;

/// Is told which partitions come and go. Called by the member's task: it must not block.
pub trait RebalanceListener: Send + 'static {
    /// These are read from now on, besides those that were.
    fn assigned(&mut self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }

    /// These were given away. No record of them is handed out any more; what was taken of them is committed
    /// next, if that is automatic.
    fn revoked(&mut self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }

    /// These may be read by others already: the member was out of the group for some time. Nothing of them
    /// can be committed.
    fn lost(&mut self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }
}

/// Reads records as a member of a group.
///
/// Dropping it leaves the group in the background, with an automatic commit if there is time;
/// [`close`](Consumer::close) waits for both.
pub struct Consumer {
    cluster: Arc<Cluster>,
    group: Arc<str>,
    shared: Arc<Shared>,
    max_poll_records: usize,
    retry: Option<Retry>,
}

/// Tells the member when the application has stopped waiting, by whatever way.
struct Polling<'a>(&'a Shared);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.end_poll();
    }
}

impl Consumer {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        group: Arc<str>,
        shared: Arc<Shared>,
        max_poll_records: usize,
        retry: Option<Retry>,
    ) -> Consumer {
        Consumer { cluster, group, shared, max_poll_records, retry }
    }

    pub fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// The next record; waits for one. The one before it counts as processed.
    ///
    /// # Errors
    /// Of one partition, which then stands still until `seek`; or [`ConsumeError::LeftGroup`] after too
    /// long a pause (the next call joins again), [`ConsumeError::Group`] and [`ConsumeError::Closed`] for good.
    pub async fn recv(&mut self) -> Result<ConsumedRecord, ConsumeError> {
        self.shared.begin_poll();
        let _polling = Polling(&self.shared);
        std::future::poll_fn(|cx| self.shared.poll_next(cx)).await
    }

    /// What is there, `max` records at most and one at least; waits for the first. Those returned before
    /// count as processed.
    ///
    /// # Panics
    /// If `max` is 0.
    pub async fn recv_batch(&mut self, max: usize) -> Result<Vec<ConsumedRecord>, ConsumeError> {
        assert!(max > 0, "a batch of no records would never be there");
        self.shared.begin_poll();
        let _polling = Polling(&self.shared);
        let first = std::future::poll_fn(|cx| self.shared.poll_next(cx)).await?;
        let mut records = vec![first];
        self.shared.take_more(&mut records, max);
        Ok(records)
    }

    /// As Kafka's `poll`: up to `max_poll_records`, none if there are none within `timeout`.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>, ConsumeError> {
        let max = self.max_poll_records;
        tokio::time::timeout(timeout, self.recv_batch(max)).await.unwrap_or(Ok(Vec::new()))
    }

    /// Has records worked on by `count` workers at a time, in order of each key, and commits what is done
    /// without a gap.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn workers(&mut self, count: usize) -> Workers<'_> {
        Workers::new(self, count)
    }

    /// Commits every position: everything that was handed out before the last call for records. Returns
    /// when the coordinator has it durably.
    pub async fn commit(&self) -> Result<(), CommitError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.commit_async(move |result| _ = tell.send(result));
        told.await.unwrap_or(Err(CommitError::Closed))
    }

    /// The same without waiting; `done` is called by the member's task and must not block.
    pub fn commit_async(&self, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
        self.shared.change(|state| {
            if state.has_ended() {
                return done(Err(CommitError::Closed));
            }
            let id = state.commits.commit_positions(std::time::Instant::now());
            state.waiting.insert(id, Box::new(done));
        });
    }

    /// Commits these offsets, each that of the next record to read. One below what this member has
    /// committed is left out, unless it went back there by `seek`.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), CommitError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.shared.change(|state| {
            if !state.has_ended() {
                let id = state.commits.commit_offsets(std::time::Instant::now(), offsets);
                state.waiting.insert(id, Box::new(move |result| _ = tell.send(result)));
            }
        });
        told.await.unwrap_or(Err(CommitError::Closed))
    }

    /// The partitions that this member has now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        lock(&self.shared.state).membership.owned().iter().cloned().collect()
    }

    /// The offset after the last record that counts as processed; `None` if the partition is not this
    /// member's, or it is not known yet where to begin.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        lock(&self.shared.state).commits.position(partition)
    }

    /// What this member knows that the group has committed.
    pub fn committed(&self, partition: &TopicPartition) -> Option<Offset> {
        lock(&self.shared.state).commits.committed(partition)
    }

    /// Records between the position and the end of the partition, as the last fetch told it.
    pub fn lag(&self, partition: &TopicPartition) -> Option<u64> {
        let mut state = lock(&self.shared.state);
        let position = state.commits.position(partition)?;
        let end = state.reader_of(partition)?.high_watermark(partition.partition)?;
        Some(end.get().saturating_sub(position.get()))
    }

    /// Goes on at `offset` in a partition that this member has.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        match self.shared.change(|state| state.seek(partition, offset)) {
            true => Ok(()),
            false => Err(not_read(partition)),
        }
    }

    /// Goes on at the first record whose timestamp is `time` or later; at the end if there is none.
    pub async fn seek_to_time(
        &mut self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<(), ConsumeError> {
        let topic = self.cluster.look_up(&partition.topic).await.map_err(ConsumeError::Start)?;
        let found = self.ask(&topic, partition.partition, OffsetSpec::AtOrAfter(time)).await?;
        let to = match found {
            Some(offset) => offset,
            None => self.ask(&topic, partition.partition, OffsetSpec::Latest).await?.unwrap_or(Offset::ZERO),
        };
        self.seek(partition, to)
    }

    async fn ask(
        &self,
        topic: &crate::core::metadata::Topic,
        partition: PartitionIndex,
        spec: OffsetSpec,
    ) -> Result<Option<Offset>, ConsumeError> {
        let listed = self.cluster.list_offsets(topic, &[partition], spec).await;
        listed.map(|listed| listed[0].offset).map_err(ConsumeError::Start)
    }

    /// Hands out nothing of a partition until `resume`, also after it came back in a rebalance.
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.shared.change(|state| state.pause(partition));
    }

    pub fn resume(&mut self, partition: &TopicPartition) {
        self.shared.change(|state| state.resume(partition));
    }

    /// What was handed out counts as processed: commits, if that is automatic, and leaves the group.
    /// Returns when both are done, or after `timeout`, when they may be or not.
    pub async fn close(self, timeout: Duration) -> Result<(), ConsumeError> {
        self.shared.change(|state| {
            state.commits.take();
            state.closing = true;
        });
        let ended = async {
            loop {
                match std::future::poll_fn(|cx| self.shared.poll_next(cx)).await {
                    Err(ConsumeError::Closed) => return Ok(()),
                    Err(error @ ConsumeError::Group(_)) => return Err(error),
                    // Records that nobody wants any more, and troubles that do not matter any more.
                    Ok(_) | Err(_) => {}
                }
            }
        };
        tokio::time::timeout(timeout, ended).await.unwrap_or(Err(ConsumeError::CloseTimedOut(timeout)))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.change(|state| state.closing = true);
    }
}

fn not_read(name: &TopicPartition) -> ConsumeError {
    ConsumeError::NotRead { topic: Arc::clone(&name.topic), partition: name.partition }
}
