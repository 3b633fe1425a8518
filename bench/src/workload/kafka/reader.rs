//! One consumer of librdkafka: reads its partitions up to where it is told, on a thread of its own.
//!
//!     poll, poll, poll … ─▶ some records ─▶ intake      through when every partition is read up to its end
//!
//! It belongs to no group: partitions are assigned, each at an offset.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::watch;

use super::consumer_config;
use crate::clock::Moment;
use crate::workload::consumer::{PATIENCE, Reading};
use crate::workload::control::{Control, Ends};
use crate::workload::intake::{Intake, RECORDS_AT_ONCE, Report};

pub struct KafkaConsumer {
    control: Arc<Control>,
    consumer: BaseConsumer,
    topic: String,
    partitions: Vec<u32>,
    /// By partition, where it begins, and the next offset.
    starts: Vec<u64>,
    positions: Vec<u64>,
    repeat: bool,
    intake: Intake,
    ends: watch::Receiver<Option<Ends>>,
}

impl KafkaConsumer {
    /// A consumer of `partitions`, which begins at `starts`, of all partitions of the topic.
    pub fn new(
        address: &str,
        topic: &str,
        partitions: Vec<u32>,
        starts: &Ends,
        reading: Reading,
        control: &Arc<Control>,
        intake: Intake,
    ) -> Result<KafkaConsumer> {
        let config = consumer_config(address, reading.repeat);
        Ok(KafkaConsumer {
            control: Arc::clone(control),
            consumer: config.create().context("librdkafka refuses these settings")?,
            topic: topic.to_owned(),
            partitions,
            starts: starts.to_vec(),
            positions: starts.to_vec(),
            repeat: reading.repeat,
            intake,
            ends: control.ends(),
        })
    }

    /// Begins at these offsets, by partition, instead.
    pub fn starting_at(mut self, offsets: &Ends) -> KafkaConsumer {
        self.starts = offsets.to_vec();
        self
    }

    /// Reads until it is through, stopped, or nothing has come for [`PATIENCE`]. Blocks its thread.
    pub fn run(mut self) -> Result<Report> {
        self.assign()?;
        let (mut failure, mut heard) = (None, Moment::now());
        while !self.is_over()? {
            let asked = Moment::now();
            let KafkaConsumer { control, consumer, intake, positions, ends, .. } = &mut self;
            let mut records = Vec::with_capacity(RECORDS_AT_ONCE);
            if let Err(error) = fill(consumer, &mut records) {
                failure = Some(error.to_string());
                break;
            }
            for record in &records {
                positions[usize::try_from(record.partition())?] = u64::try_from(record.offset())? + 1;
            }
            if !records.is_empty() {
                let items = records.iter().map(|record| (record.partition() as u32, payload_of(record)));
                intake.take(items, asked);
                control.received(records.len() as u64);
                heard = Moment::now();
            } else if ends.borrow().is_none() {
                heard = asked;
            } else if PATIENCE < asked.since(heard) {
                failure = Some(format!("nothing was received for {PATIENCE:?}"));
                break;
            }
        }
        Ok(self.intake.report(failure))
    }

    fn assign(&mut self) -> Result<()> {
        let mut assigned = TopicPartitionList::new();
        for partition in &self.partitions {
            let start = i64::try_from(self.starts[*partition as usize])?;
            let partition = i32::try_from(*partition)?;
            assigned.add_partition_offset(&self.topic, partition, Offset::Offset(start))?;
        }
        self.positions.clone_from(&self.starts);
        self.consumer.assign(&assigned).context("librdkafka does not read these partitions")
    }

    /// Whether there is nothing left to read. Begins again if that is asked for.
    fn is_over(&mut self) -> Result<bool> {
        let is_behind = |ends: &Ends| {
            self.partitions.iter().any(|partition| {
                let partition = *partition as usize;
                self.positions[partition] < ends[partition]
            })
        };
        let is_through = self.ends.borrow().as_ref().is_some_and(|ends| !is_behind(ends));
        if !self.repeat {
            return Ok(is_through);
        }
        if is_through && !self.control.is_stopped() {
            self.assign()?;
        }
        Ok(self.control.is_stopped())
    }
}

/// Takes what is there, and waits for the first record.
fn fill<'a>(consumer: &'a BaseConsumer, records: &mut Vec<BorrowedMessage<'a>>) -> Result<(), KafkaError> {
    while records.len() < RECORDS_AT_ONCE {
        let timeout = if records.is_empty() { WAIT } else { Duration::ZERO };
        match consumer.poll(timeout) {
            Some(Ok(record)) => records.push(record),
            Some(Err(error)) if is_transient(&error) => eprintln!("consumer: {error}"),
            Some(Err(error)) => return Err(error),
            None => break,
        }
    }
    Ok(())
}

/// librdkafka connects again by itself.
fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    matches!(error.rdkafka_error_code(), Some(AllBrokersDown | BrokerTransportFailure))
}

fn payload_of<'a>(record: &'a BorrowedMessage<'_>) -> &'a [u8] {
    record.payload().unwrap_or_default()
}

/// Between two looks at whether it is over.
const WAIT: Duration = Duration::from_millis(20);
