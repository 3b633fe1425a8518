//! A librdkafka producer that lives through the broker's deaths: idempotent, acks=all, one thread.
//!
//!     send ─▶ librdkafka's queue ─▶ broker ─╳─ broker, started again ─▶ delivery report ─▶ Fate
//!                                   (the same batches again, with the same sequence numbers)
//!
//! Each record is numbered within its producer and partition. Its fate is what librdkafka reported of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::common::Rng;
use crate::common::ledger::{PARTITIONS, Stamp, TOPIC};

/// Longest time for everything that is queued to be reported, once the broker is up.
const FLUSH_MAX: Duration = Duration::from_secs(60);
const FILLER_MAX: u64 = 400;

/// What is known of a record that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// No report yet. None is left so when its writer has ended.
    Open,
    At(i64),
    /// Acknowledged, and the offset was not told: a repetition that is older than what the broker remembers.
    Somewhere,
    /// The report was an error: it may be there once, or not at all.
    Unknown,
}

/// By partition and number.
pub type Fates = Vec<Vec<Fate>>;

struct Context {
    fates: Mutex<Fates>,
    acknowledged: Arc<AtomicU64>,
}

impl ClientContext for Context {
    /// Lost connections are what this is about. What ends a producer is told by its sends.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Context {
    /// Partition and number, in one word.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let fate = match result {
            Ok(message) if message.offset() < 0 => Fate::Somewhere,
            Ok(message) => Fate::At(message.offset()),
            Err((error, _)) => {
                eprintln!("a record was not acknowledged: {error}");
                Fate::Unknown
            }
        };
        if fate != Fate::Unknown {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let (partition, number) = unpacked(opaque);
        let mut fates = self.fates.lock().expect("nobody panicked");
        let before = std::mem::replace(&mut fates[partition][number], fate);
        assert_eq!(before, Fate::Open, "record {number} of partition {partition} was reported twice");
    }
}

fn packed(partition: u32, number: u32) -> usize {
    (number as usize) << 8 | partition as usize
}

fn unpacked(opaque: usize) -> (usize, usize) {
    (opaque & 0xff, opaque >> 8)
}

/// A producer at work.
pub struct Writer {
    pub generation: u32,
    pub index: u32,
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<Fates>,
}

impl Writer {
    /// Sends until it is stopped, whether or not a broker is there. What is acknowledged is also counted.
    pub fn start(address: &str, generation: u32, index: u32, seed: u64, count: &Arc<AtomicU64>) -> Writer {
        let fates = Mutex::new(vec![Vec::new(); PARTITIONS as usize]);
        let context = Context { fates, acknowledged: Arc::clone(count) };
        let producer: BaseProducer<Context> =
            config(address, index).create_with_context(context).expect("librdkafka knows these settings");
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let origin = Stamp { cycle: generation, producer: index, number: 0 };
        let thread = std::thread::spawn(move || write(&producer, origin, Rng(seed), &stop));
        Writer { generation, index, is_stopped, thread }
    }

    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Waits for the reports of all that it sent. The broker has to be up.
    pub fn end(self) -> Fates {
        self.stop();
        self.thread.join().expect("a writer does not panic")
    }
}

fn config(address: &str, index: u32) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.codec", ["none", "lz4"][(index % 2) as usize])
        .set("linger.ms", "1")
        // Several batches are under way when the broker dies.
        .set("batch.num.messages", "50")
        .set("queue.buffering.max.messages", "2000")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "50")
        .set("retry.backoff.ms", "10")
        .set("message.timeout.ms", "120000");
    config
}

fn write(producer: &BaseProducer<Context>, origin: Stamp, mut rng: Rng, stop: &AtomicBool) -> Fates {
    while !stop.load(Ordering::Relaxed) {
        let partition = rng.below(u64::from(PARTITIONS)) as u32;
        let number = {
            let mut fates = producer.context().fates.lock().expect("nobody panicked");
            let of_partition = &mut fates[partition as usize];
            of_partition.push(Fate::Open);
            of_partition.len() as u32 - 1
        };
        let value = Stamp { number, ..origin }.to_value(rng.below(FILLER_MAX) as usize);
        send(producer, partition, number, &key(origin.producer, partition), &value);
        if rng.below(16) == 0 {
            producer.poll(Duration::from_micros(rng.below(4000)));
        }
    }
    producer.flush(FLUSH_MAX).expect("every record is reported");
    std::mem::take(&mut producer.context().fates.lock().expect("nobody panicked"))
}

/// Which every record of this producer and partition has.
pub fn key(producer: u32, partition: u32) -> String {
    format!("producer {producer} partition {partition}")
}

/// Waits for room in librdkafka's queue.
fn send(producer: &BaseProducer<Context>, partition: u32, number: u32, key: &str, value: &[u8]) {
    let opaque = packed(partition, number);
    let mut record =
        BaseRecord::with_opaque_to(TOPIC, opaque).partition(partition as i32).key(key).payload(value);
    while let Err((error, refused)) = producer.send(record) {
        let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
        assert!(is_full, "librdkafka gave up: {error}, {:?}", producer.client().fatal_error());
        producer.poll(Duration::from_millis(1));
        record = refused;
    }
}
