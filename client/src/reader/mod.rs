//! The reader: the records of some partitions of one topic, in order within each.
//!
//!     fetcher task ─▶ batches (8 MiB at most) ─▶ recv, recv_batch, stream ─▶ records
//!                     as they came                decoded here, one batch at a time:
//!                                                 CRC, then slices, no copies
//!
//! The lock between the task and the application is taken once per batch. Every waiting function is
//! cancel safe: a record is either handed out or still there.

mod builder;
pub(crate) use builder::ReaderOptions;
pub use builder::{ReaderBuilder, StartAt};

mod shared;
pub(crate) use shared::Shared;

mod stream;
pub use stream::RecordStream;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use protocol::batch::{Batch, DecodedBatch, decode_batch};
use protocol::model::{Offset, PartitionIndex, RecordCount};

use crate::core::fetch::{Fetch, Item, Slot, Taken};
use crate::driver::cluster::Cluster;
use crate::driver::{fetcher, lock};
use crate::error::ConsumeError;
use crate::limits::{DECOMPRESSED_BATCH_BYTES_MAX, RETRY_BACKOFF};
use crate::record::ConsumedRecord;

/// Reads records. Dropping it ends its task and closes its connections; nothing blocks.
///
/// Lost connections, moved partitions and brokers that are away are retried for as long as the
/// reader lives; [`ConsumeError::Unavailable`] says so every 30 s. Errors that no retry cures stop
/// their partition until [`seek`](Reader::seek); the others go on. When all stand still, every call
/// returns the error. A topic that was deleted is gone for the reader, though one of its name be made.
pub struct Reader {
    topic: Arc<str>,
    shared: Arc<Shared>,
    /// By slot: the partition, and the offset after the last record handed out.
    positions: Vec<(PartitionIndex, Offset)>,
    current: Option<Current>,
    /// An error found behind records that `recv_batch` returned first.
    stashed: Option<ConsumeError>,
    /// Slots that are not read any more; they keep their numbers.
    removed: BTreeSet<Slot>,
}

/// The batch that is being handed out.
struct Current {
    slot: Slot,
    partition: PartitionIndex,
    /// Records below were not asked for.
    from: Offset,
    records: DecodedBatch,
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        topic: Arc<str>,
        positions: Vec<(PartitionIndex, Offset)>,
        options: ReaderOptions,
    ) -> Reader {
        let fetch = Fetch::new(Arc::clone(&topic), positions.iter().copied(), RETRY_BACKOFF);
        let shared = Arc::new(Shared::new(fetch));
        fetcher::spawn(cluster, Arc::clone(&topic), options, Arc::clone(&shared));
        Reader { topic, shared, positions, current: None, stashed: None, removed: BTreeSet::new() }
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partitions it reads, in order.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = PartitionIndex> + '_ {
        self.positions.iter().map(|(partition, _)| *partition)
    }

    /// The next record; waits for one.
    pub async fn recv(&mut self) -> Result<ConsumedRecord, ConsumeError> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// What is there, `max` records at most and one at least; waits for the first.
    ///
    /// # Panics
    /// If `max` is 0.
    pub async fn recv_batch(&mut self, max: usize) -> Result<Vec<ConsumedRecord>, ConsumeError> {
        assert!(max > 0, "a batch of no records would never be there");
        let first = self.recv().await?;
        let more = self.current.as_ref().map_or(0, |current| current.records.len());
        let mut records = Vec::with_capacity(max.min(more + 1));
        records.push(first);
        while records.len() < max {
            match self.next_now() {
                Some(Ok(record)) => records.push(record),
                Some(Err(error)) => {
                    self.stashed = Some(error);
                    break;
                }
                None => break,
            }
        }
        Ok(records)
    }

    /// The same records as a stream, which ends never.
    pub fn stream(&mut self) -> RecordStream<'_> {
        RecordStream::new(self)
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<ConsumedRecord, ConsumeError>> {
        loop {
            if let Some(next) = self.next_now() {
                return Poll::Ready(next);
            }
            match self.shared.poll_items(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The next record or error that is here.
    fn next_now(&mut self) -> Option<Result<ConsumedRecord, ConsumeError>> {
        if let Some(error) = self.stashed.take() {
            return Some(Err(error));
        }
        loop {
            if let Some(record) = self.next_of_current() {
                return Some(Ok(record));
            }
            if let Err(error) = self.open(self.shared.take()?) {
                return Some(Err(error));
            }
        }
    }

    #[inline]
    fn next_of_current(&mut self) -> Option<ConsumedRecord> {
        let current = self.current.as_mut()?;
        for record in current.records.by_ref() {
            if record.offset < current.from {
                continue;
            }
            self.positions[current.slot].1 = record.offset + RecordCount::new(1);
            return Some(ConsumedRecord {
                topic: Arc::clone(&self.topic),
                partition: current.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
        }
        self.current = None;
        None
    }

    /// Decodes a batch that was taken; all of its records are good, or none is handed out.
    fn open(&mut self, taken: Taken) -> Result<(), ConsumeError> {
        let Taken { slot, partition, from, item, .. } = taken;
        let bytes = match item {
            Item::Batch(bytes) => bytes,
            Item::Fault(fault) => return Err(fault),
        };
        match decode_batch(bytes.clone(), DECOMPRESSED_BATCH_BYTES_MAX) {
            // A broker's marks take offsets and are no records.
            Ok(records) if records.is_control() => self.positions[slot].1 = records.next_offset(),
            Ok(records) => self.current = Some(Current { slot, partition, from, records, bytes }),
            Err(error) => {
                let at = Batch::split_first(&bytes).map_or(from, |(batch, _)| batch.base_offset().max(from));
                return Err(lock(&self.shared.state).fetch.handle_corrupt(slot, at, &error.to_string()));
            }
        }
        Ok(())
    }

    /// The offset after the last record handed out of a partition, or where it starts; `None` for a
    /// partition that is not read.
    pub fn position(&self, partition: PartitionIndex) -> Option<Offset> {
        self.slot(partition).map(|slot| self.positions[slot].1)
    }

    /// The end of what a partition's consumers may see, as the last answer told it; `None` before.
    pub fn high_watermark(&self, partition: PartitionIndex) -> Option<Offset> {
        lock(&self.shared.state).fetch.high_watermark(self.slot(partition)?)
    }

    /// Goes on at `offset`, in a partition that stands still too.
    pub fn seek(&mut self, partition: PartitionIndex, offset: Offset) -> Result<(), ConsumeError> {
        let slot = self.known(partition)?;
        self.current.take_if(|current| current.slot == slot);
        self.stashed.take_if(|error| error.partition() == Some(partition));
        self.positions[slot].1 = offset;
        lock(&self.shared.state).fetch.seek(slot, offset);
        self.shared.wake_driver.notify_one();
        Ok(())
    }

    /// Hands out no record of a partition until `resume`.
    pub fn pause(&mut self, partition: PartitionIndex) -> Result<(), ConsumeError> {
        let slot = self.known(partition)?;
        let current = self.current.take_if(|current| current.slot == slot);
        let mut state = lock(&self.shared.state);
        if let Some(Current { bytes, .. }) = current {
            state.fetch.put_back(slot, bytes, self.positions[slot].1);
        }
        state.fetch.pause(slot);
        Ok(())
    }

    pub fn resume(&mut self, partition: PartitionIndex) -> Result<(), ConsumeError> {
        let slot = self.known(partition)?;
        lock(&self.shared.state).fetch.resume(slot);
        self.shared.wake_driver.notify_one();
        Ok(())
    }

    /// Reads a partition no longer; what was fetched of it is dropped.
    pub(crate) fn remove(&mut self, partition: PartitionIndex) {
        let Some(slot) = self.slot(partition) else { return };
        self.current.take_if(|current| current.slot == slot);
        self.stashed.take_if(|error| error.partition() == Some(partition));
        self.removed.insert(slot);
        lock(&self.shared.state).fetch.remove(slot);
        self.shared.wake_driver.notify_one();
    }

    /// Those of its partitions that were not removed.
    pub(crate) fn remaining(&self) -> Vec<PartitionIndex> {
        let remains = |(slot, _): &(Slot, _)| !self.removed.contains(slot);
        self.positions.iter().enumerate().filter(remains).map(|(_, (partition, _))| *partition).collect()
    }

    /// The same as dropping it.
    pub fn close(self) {}

    fn slot(&self, partition: PartitionIndex) -> Option<Slot> {
        let slot = self.positions.binary_search_by_key(&partition, |(partition, _)| *partition).ok()?;
        (!self.removed.contains(&slot)).then_some(slot)
    }

    fn known(&self, partition: PartitionIndex) -> Result<Slot, ConsumeError> {
        let not_read = || ConsumeError::NotRead { topic: Arc::clone(&self.topic), partition };
        self.slot(partition).ok_or_else(not_read)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.close();
    }
}
