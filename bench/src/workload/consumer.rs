//! One consumer: reads its partitions up to where it is told, and counts what it gets.
//!
//!     reader ─▶ some records ─▶ count ▸ end-to-end latency from the stamp ▸ ledger, if verified
//!                  │
//!                  └─ through when every partition is read up to its end; ends are told by `Control`
//!
//! What becomes of the records is the same for members of groups: `intake.rs`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ringlog_client::{Client, ConsumeError, Offset, PartitionIndex, Reader, StartAt};
use tokio::sync::watch;

use super::control::{Control, Ends};
use super::intake::{Intake, RECORDS_AT_ONCE, Report, Timing, YIELD_BYTES, items};
use crate::clock::Moment;

/// How a consumer reads.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub start: StartAt,
    pub timing: Timing,
    /// Over and over until stopped.
    pub repeat: bool,
    /// Whose records are verified.
    pub producers: usize,
}

pub struct ConsumerTask {
    control: Arc<Control>,
    reader: Reader,
    intake: Intake,
    ends: watch::Receiver<Option<Ends>>,
    /// Begin again at the end, until stopped.
    repeat: Option<Starts>,
    progress: Progress,
}

type Starts = Vec<(PartitionIndex, Offset)>;

impl ConsumerTask {
    /// A consumer of `partitions`, which begins where `reading` says as it is now.
    pub async fn new(
        client: &Client,
        topic: &str,
        partitions: Vec<u32>,
        reading: Reading,
        control: &Arc<Control>,
        intake: Intake,
    ) -> Result<ConsumerTask> {
        let mut reader = client.reader().topic(topic).partitions(partitions).start(reading.start);
        if reading.repeat {
            // A fetch at the end would wait for records that never come before the next lap begins.
            reader = reader.max_wait(Duration::from_millis(1));
        }
        let reader = reader.build().await.context("cannot read the topic")?;
        let position = |partition| (partition, reader.position(partition).unwrap_or(Offset::ZERO));
        Ok(ConsumerTask {
            control: Arc::clone(control),
            progress: Progress::new(&reader),
            repeat: reading.repeat.then(|| reader.partitions().map(position).collect()),
            reader,
            intake,
            ends: control.ends(),
        })
    }

    /// Begins at these offsets, by partition, instead.
    pub fn starting_at(mut self, offsets: &Ends) -> Result<ConsumerTask> {
        let partitions: Vec<PartitionIndex> = self.reader.partitions().collect();
        for partition in partitions {
            let offset = Offset::new(offsets[partition.get() as usize]);
            self.reader.seek(partition, offset).context("cannot begin there")?;
        }
        Ok(self)
    }

    /// Reads until it is through, stopped, or nothing has come for [`PATIENCE`].
    pub async fn run(mut self) -> Result<Report> {
        let mut failure = None;
        let mut bytes_since_yield = 0;
        while !self.is_over()? {
            let asked = Moment::now();
            let ends_are_known = self.progress.ends.is_some();
            let records = tokio::select! {
                biased;
                records = self.reader.recv_batch(RECORDS_AT_ONCE) => records,
                _ = self.ends.changed(), if !ends_are_known => continue,
                () = tokio::time::sleep(PATIENCE), if ends_are_known => {
                    failure = Some(format!("nothing was received for {PATIENCE:?}, {}", self.progress.describe(&self.reader)));
                    break;
                }
            };
            match records {
                Ok(records) => {
                    bytes_since_yield += self.intake.take(items(&records), asked);
                    self.control.received(records.len() as u64);
                }
                Err(error @ ConsumeError::Unavailable { .. }) => eprintln!("consumer: {error}"),
                Err(error) => {
                    failure = Some(error.to_string());
                    break;
                }
            }
            if bytes_since_yield > YIELD_BYTES {
                // The client's tasks share this thread, and prefetched records never make us wait.
                bytes_since_yield = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(self.intake.report(failure))
    }

    /// Whether there is nothing left to read. Begins again if that is asked for.
    fn is_over(&mut self) -> Result<bool> {
        if self.progress.ends.is_none() {
            self.progress.ends = self.ends.borrow_and_update().clone();
        }
        let is_through = self.progress.is_through(&self.reader);
        let Some(starts) = &self.repeat else { return Ok(is_through) };
        if is_through && !self.control.is_stopped() {
            for (partition, start) in starts {
                self.reader.seek(*partition, *start).context("cannot begin again")?;
            }
            self.progress.reset(&self.reader);
        }
        Ok(self.control.is_stopped())
    }
}

/// How far a reader has come on the way to the ends.
#[derive(Debug)]
struct Progress {
    ends: Option<Ends>,
    /// Partitions not known to be read to their end; looked at from the back.
    behind: Vec<PartitionIndex>,
}

impl Progress {
    fn new(reader: &Reader) -> Progress {
        Progress { ends: None, behind: reader.partitions().collect() }
    }

    fn reset(&mut self, reader: &Reader) {
        self.behind = reader.partitions().collect();
    }

    fn is_through(&mut self, reader: &Reader) -> bool {
        let Some(ends) = &self.ends else { return false };
        while let Some(&partition) = self.behind.last() {
            let position = reader.position(partition).map_or(0, Offset::get);
            if position < ends[partition.get() as usize] {
                return false;
            }
            self.behind.pop();
        }
        true
    }

    fn describe(&self, reader: &Reader) -> String {
        let (Some(partition), Some(ends)) = (self.behind.last(), &self.ends) else { return String::new() };
        let position = reader.position(*partition).map_or(0, Offset::get);
        format!("partition {partition} is read up to {position} of {}", ends[partition.get() as usize])
    }
}

/// Partitions of consumer `index` of `count`: dealt out in turns, and shared if there are fewer.
pub fn partitions_of(index: usize, count: usize, partitions: u32) -> Vec<u32> {
    let (index, count) = (index as u64, count as u64);
    let dealt: Vec<u32> =
        (0..partitions).filter(|partition| u64::from(*partition) % count == index).collect();
    let shared = || vec![u32::try_from(index % u64::from(partitions)).expect("BUG: a remainder of a u32")];
    if dealt.is_empty() { shared() } else { dealt }
}

/// Longest silence before records that ought to come are given up.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_dealt_out_and_shared_when_they_are_few() {
        let of = |count, partitions| -> Vec<Vec<u32>> {
            (0..count).map(|index| partitions_of(index, count, partitions)).collect()
        };
        assert_eq!(of(2, 5), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(of(3, 2), [vec![0], vec![1], vec![0]]);
        assert_eq!(of(1, 1), [vec![0]]);
    }
}
