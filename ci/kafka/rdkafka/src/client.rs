//! What the features do with the crate: send, read, be a member, be refused.
//!
//!     send(topic, records) ─▶ BaseProducer ─▶ delivery reports ─▶ Ok, or the first error
//!     read(topic, count)   ◀─ BaseConsumer, assigned partition 0 from its start
//!     Member::join(group, topic)       polls in a thread and tells what it is assigned

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::harness::{Record, env, values};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// librdkafka's names and values.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

pub fn config(bootstrap: &str, settings: Settings<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

pub fn kafka() -> String {
    env("KAFKA_BOOTSTRAP")
}

// ---- errors of no request

#[derive(Default)]
struct Errors(Mutex<Vec<(KafkaError, String)>>);

impl ClientContext for Errors {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.lock().expect("nobody panicked").push((error, reason.to_owned()));
    }
}

impl ConsumerContext for Errors {}

/// What a client is told that asks for metadata; none if it gets them.
pub fn errors_of_a_client(settings: Settings<'_>) -> Vec<(KafkaError, String)> {
    let client: BaseConsumer<Errors> =
        config(&kafka(), settings).create_with_context(Errors::default()).expect("settings that it knows");
    let found = client.fetch_metadata(None, Duration::from_secs(2));
    let _ = client.poll(Duration::from_millis(100)); // this is when it tells
    let told = std::mem::take(&mut *client.context().0.lock().expect("nobody panicked"));
    assert_eq!(found.is_ok(), told.is_empty(), "{:?}, {told:?}", found.err());
    told
}

// ---- producing

/// The delivery reports that are errors.
#[derive(Default)]
struct Reports {
    delivered: Mutex<usize>,
    failed: Mutex<Vec<KafkaError>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        match result {
            Ok(_) => *self.delivered.lock().expect("nobody panicked") += 1,
            Err((error, _)) => self.failed.lock().expect("nobody panicked").push(error.clone()),
        }
    }
}

/// Sends to partition 0 and waits until all are delivered.
pub fn send(topic: &str, records: &[Record], settings: Settings<'_>) {
    try_send(&kafka(), topic, 0, records, settings).expect("all are delivered");
}

/// An error is that of the first record that is not delivered.
pub fn try_send(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    records: &[Record],
    settings: Settings<'_>,
) -> KafkaResult<()> {
    let mut config = config(bootstrap, &[("linger.ms", "5")]);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: BaseProducer<Reports> = config.create_with_context(Reports::default())?;
    for record in records {
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.timestamp = record.timestamp;
        if !record.headers.is_empty() {
            message.headers = Some(owned(&record.headers));
        }
        producer.send(message).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    let reports = producer.context();
    if let Some(error) = reports.failed.lock().expect("nobody panicked").first() {
        return Err(error.clone());
    }
    assert_eq!(*reports.delivered.lock().expect("nobody panicked"), records.len());
    Ok(())
}

fn owned(headers: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
        all.insert(Header { key, value: value.as_ref().map(Vec::as_slice) })
    })
}

// ---- consuming

pub fn consumer(group: &str, settings: Settings<'_>) -> BaseConsumer {
    consumer_of(&kafka(), group, settings)
}

fn consumer_of(bootstrap: &str, group: &str, settings: Settings<'_>) -> BaseConsumer {
    let mut config = config(
        bootstrap,
        &[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
        ],
    );
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().expect("librdkafka knows these settings")
}

/// A list of partitions of one topic, each with an offset.
pub fn partitions(topic: &str, offsets: &[(i32, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::from_raw(*offset)).expect("an offset is one");
    }
    list
}

/// The next `count` records.
pub fn take(consumer: &BaseConsumer, count: usize) -> KafkaResult<Vec<Record>> {
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records within {PATIENCE:?}", records.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            records.push(record(&message?));
        }
    }
    Ok(records)
}

pub fn take_values(consumer: &BaseConsumer, count: usize) -> Vec<Vec<u8>> {
    values(&take(consumer, count).expect("nothing is wrong with the records"))
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or(Vec::new(), |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    let timestamp = match message.timestamp() {
        Timestamp::CreateTime(millis) => Some(millis),
        _ => None,
    };
    Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp,
    }
}

/// The first `count` records of partition 0.
pub fn read(topic: &str, count: usize, settings: Settings<'_>) -> Vec<Record> {
    read_from(&kafka(), topic, count, settings)
}

pub fn read_from(bootstrap: &str, topic: &str, count: usize, settings: Settings<'_>) -> Vec<Record> {
    let reader = consumer_of(bootstrap, "unused", settings);
    reader.assign(&partitions(topic, &[(0, 0)])).expect("a partition can be assigned");
    take(&reader, count).expect("nothing is wrong with the records")
}

pub fn read_values(topic: &str, count: usize) -> Vec<Vec<u8>> {
    values(&read(topic, count, &[]))
}

// ---- groups

/// A member of a group, which polls until it leaves.
pub struct Member {
    assigned: Arc<Mutex<BTreeSet<i32>>>,
    is_leaving: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Member {
    pub fn join(group: &str, topic: &str) -> Member {
        let consumer = consumer(group, &[]);
        consumer.subscribe(&[topic]).expect("a topic can be subscribed to");
        let assigned = Arc::new(Mutex::new(BTreeSet::new()));
        let is_leaving = Arc::new(AtomicBool::new(false));
        let (told, leave) = (Arc::clone(&assigned), Arc::clone(&is_leaving));
        let thread = std::thread::spawn(move || {
            while !leave.load(Ordering::Relaxed) {
                consumer.poll(Duration::from_millis(50));
                let now = consumer.assignment().expect("a member knows what it has");
                *told.lock().expect("nobody panicked") =
                    now.elements().iter().map(|part| part.partition()).collect();
            }
        });
        Member { assigned, is_leaving, thread }
    }

    pub fn assigned(&self) -> BTreeSet<i32> {
        self.assigned.lock().expect("nobody panicked").clone()
    }

    /// Says farewell to the group.
    pub fn leave(self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.thread.join().expect("a member does not panic");
    }
}

// ---- refusals

pub fn assert_refused<T: Debug>(result: KafkaResult<T>, wanted: RDKafkaErrorCode) {
    let found = match &result {
        Err(KafkaError::AdminOp(code)) => Some(*code),
        Err(error) => error.rdkafka_error_code(),
        Ok(_) => None,
    };
    assert_eq!(found, Some(wanted), "{result:?}");
}
