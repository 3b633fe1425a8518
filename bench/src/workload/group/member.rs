//! One member: reads what its group gives it, until it is told to leave.
//!
//!     consumer(group) ─▶ records ─▶ intake, and how far the group is
//!        └─ listener ─▶ ownership         told to leave ─▶ close: commit, leave ─▶ Report

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringlog_client::{ConsumeError, ConsumedRecord, Consumer, RebalanceListener, TopicPartition};
use tokio::sync::oneshot;

use super::Group;
use super::ownership::MemberAt;
use crate::clock::Moment;
use crate::workload::intake::{Intake, RECORDS_AT_ONCE, Report, YIELD_BYTES, items};

/// Tells the group who has what.
pub struct Listener {
    pub group: Arc<Group>,
    pub member: MemberAt,
}

impl RebalanceListener for Listener {
    fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.group.ownership().handle_assigned(self.member, indexes(partitions), Moment::now());
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.group.ownership().handle_taken(self.member, indexes(partitions), Moment::now());
    }

    fn lost(&mut self, partitions: &[TopicPartition]) {
        self.revoked(partitions);
    }
}

fn indexes(partitions: &[TopicPartition]) -> impl Iterator<Item = usize> {
    partitions.iter().map(|name| name.partition.get() as usize)
}

pub struct MemberTask {
    pub consumer: Consumer,
    pub group: Arc<Group>,
    pub intake: Intake,
    /// Says, or is dropped, when the member is to leave.
    pub leave: oneshot::Receiver<()>,
}

impl MemberTask {
    pub async fn run(mut self) -> Report {
        let mut failure = None;
        let mut bytes_since_yield = 0;
        loop {
            let asked = Moment::now();
            let records = tokio::select! {
                biased;
                _ = &mut self.leave => break,
                records = self.consumer.recv_batch(RECORDS_AT_ONCE) => records,
            };
            match records {
                Ok(records) => {
                    bytes_since_yield += self.intake.take(items(&records), asked);
                    self.note(&records);
                }
                Err(error @ ConsumeError::Unavailable { .. }) => eprintln!("{}: {error}", self.group.name),
                Err(error) => {
                    failure = Some(format!("{}: {error}", self.group.name));
                    break;
                }
            }
            if bytes_since_yield > YIELD_BYTES {
                bytes_since_yield = 0;
                tokio::task::yield_now().await;
            }
        }
        if let Err(error) = self.consumer.close(CLOSE_TIMEOUT).await {
            failure.get_or_insert(format!("{}: {error}", self.group.name));
        }
        self.intake.report(failure)
    }

    fn note(&self, records: &[ConsumedRecord]) {
        let now = Moment::now();
        self.group.delivered.fetch_add(records.len() as u64, Ordering::Relaxed);
        for run in records.chunk_by(|a, b| a.partition == b.partition) {
            let last = run.last().expect("BUG: a run of no records");
            self.group.arrivals.handle(last.partition.get() as usize, last.offset.get() + 1, now);
        }
    }
}

const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
