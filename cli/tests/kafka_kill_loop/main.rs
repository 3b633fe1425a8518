//! SIGKILL under librdkafka's idempotent producers: what it reported as delivered is there, once and in order.
//!
//!     writers (librdkafka, acks=all, idempotent) ══════════════════════════════════▶ time
//!     broker ── SIGKILL ── broker ── SIGKILL ── broker …         same directory, same Kafka port
//!                             └ every fifth time killed once more while it recovers
//!
//! Unlike those of `kill_loop.rs`, producers go on through the deaths: librdkafka sends what was not
//! acknowledged again, with the sequence numbers that it had, to a broker that has to know them still.
//! Now and then a writer ends and another with a new producer id takes its place. What a native client has
//! read after any restart must stay. At the end all is read by librdkafka and by the native client, and both
//! must find the same.
//!
//! `RINGLOG_KILL_CYCLES=n` sets how many times it is killed (10 by default), `RINGLOG_SEED=s` when.

#[path = "../common/mod.rs"]
mod common;

mod journal;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use ringlog_client::{Client, TopicSpec};

use common::ledger::{self, PARTITIONS, Stamp, TOPIC};
use common::{Broker, Rng, Scratch, env};
use journal::{Findings, Journal};
use writer::{Fate, Writer};

const WRITERS: u32 = 4;
/// So that kills meet checkpoints too.
const QUICK: &str = "storage.checkpoint_interval=100ms";
/// Longest time until librdkafka has found the broker again and something is acknowledged.
const PROGRESS_MAX: Duration = Duration::from_secs(30);
const READ_MAX: Duration = Duration::from_secs(30);

struct Loop {
    scratch: Scratch,
    kafka: String,
    rng: Rng,
    writers: Vec<Writer>,
    /// Counted as it comes; the journal has it at the end.
    acknowledged: Arc<AtomicU64>,
    journal: Journal,
    /// By partition, what the native client has read so far.
    known: Vec<Vec<Stamp>>,
}

impl Loop {
    fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("broker.log")
    }

    fn settings(&self) -> String {
        format!("kafka.addr={}", self.kafka)
    }

    async fn start(&self) -> (Broker, Client) {
        let broker = Broker::start(&self.data_dir(), &self.log(), &[QUICK, &self.settings()]);
        let client = Client::connect(broker.addr.as_str()).await.expect("the broker is ready");
        (broker, client)
    }

    async fn one_cycle(&mut self, cycle: u32) {
        let (broker, client) = self.start().await;
        if cycle == 0 {
            let spec = TopicSpec::new(TOPIC).partitions(PARTITIONS).config("segment.bytes", "1048576");
            client.admin().create_topic(spec).await.expect("a new topic");
            self.writers = (0..WRITERS).map(|index| self.write(0, index)).collect();
        }
        self.wait_for_progress().await;
        if cycle % 3 == 2 {
            self.replace_one(cycle);
        }
        self.read_on(&client).await;
        tokio::time::sleep(Duration::from_millis(self.rng.below(500))).await;
        broker.kill();
        if cycle % 5 == 4 {
            let mut process = Broker::spawn(&self.data_dir(), &self.log(), &[QUICK, &self.settings()]);
            std::thread::sleep(Duration::from_millis(1 + self.rng.below(50)));
            process.kill().expect("it is ours to kill");
            process.wait().expect("it was started by us");
        }
    }

    fn write(&self, generation: u32, index: u32) -> Writer {
        let seed = self.rng.0 ^ (u64::from(generation) << 32 | u64::from(index));
        Writer::start(&self.kafka, generation, index, seed, &self.acknowledged)
    }

    /// Until something was acknowledged that was not before.
    async fn wait_for_progress(&self) {
        let (before, begun) = (self.acknowledged.load(Ordering::Relaxed), Instant::now());
        while self.acknowledged.load(Ordering::Relaxed) == before {
            assert!(begun.elapsed() < PROGRESS_MAX, "librdkafka gets nothing acknowledged any more");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn replace_one(&mut self, cycle: u32) {
        let old = self.writers.remove(0);
        let new = self.write(cycle, old.index);
        self.journal.take(old);
        self.writers.push(new);
    }

    /// Takes in what is new. What was there before must still be: the partition cannot have become shorter.
    async fn read_on(&mut self, client: &Client) {
        for (partition, known) in ledger::partitions().zip(&mut self.known) {
            let start = ringlog_client::Offset::new(known.len() as u64);
            let end = ledger::end_of(client, TOPIC, partition).await;
            assert!(start <= end, "partition {partition} ends at {end}, and was read up to {start}");
            known.extend(ledger::read(client, partition, start, end).await);
        }
    }

    /// Reads everything in two ways, which must agree, and compares it with the reports.
    async fn check(&mut self, client: &Client) -> Findings {
        let mut findings = Findings::default();
        let read_before = std::mem::replace(&mut self.known, vec![Vec::new(); PARTITIONS as usize]);
        self.read_on(client).await;
        for (partition, found) in (0..PARTITIONS).zip(&self.known) {
            let before = &read_before[partition as usize];
            assert!(found.starts_with(before), "partition {partition}: what was read once has changed");
            let by_librdkafka = read_with_librdkafka(&self.kafka, partition, found.len());
            assert!(*found == by_librdkafka, "partition {partition}: clients do not read the same");
            findings += self.journal.check(partition, found);
        }
        findings
    }
}

/// A whole partition, whose keys are checked.
fn read_with_librdkafka(address: &str, partition: u32, count: usize) -> Vec<Stamp> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", "unused").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("librdkafka knows these settings");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, partition as i32, Offset::Beginning).expect("a valid offset");
    consumer.assign(&from).expect("a partition that is there");
    let (_, end) = consumer.fetch_watermarks(TOPIC, partition as i32, READ_MAX).expect("the broker answers");
    assert_eq!(end, count as i64, "partition {partition}: clients see different ends");
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let record = consumer.poll(READ_MAX).expect("records come").expect("readable");
        assert_eq!(record.offset(), found.len() as i64, "partition {partition}: offsets are not dense");
        let stamp = Stamp::from_value(record.payload().expect("every record has a value"));
        assert_eq!(record.key(), Some(writer::key(stamp.producer, partition).as_bytes()), "{stamp:?}");
        found.push(stamp);
    }
    found
}

/// An address that stays free between two brokers: below the ports that the kernel gives to clients, one of
/// which would otherwise connect to itself.
fn kafka_address() -> String {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (first..32_000).find(is_free).expect("a free port");
    format!("127.0.0.1:{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_librdkafka_was_told_is_delivered_survives_sigkill() {
    let (cycles, seed, begun) = (env("RINGLOG_KILL_CYCLES", 10), env("RINGLOG_SEED", 1), Instant::now());
    let mut kills = Loop {
        scratch: Scratch::new("kafka-kill-loop"),
        kafka: kafka_address(),
        rng: Rng(seed),
        writers: Vec::new(),
        acknowledged: Arc::default(),
        journal: Journal::default(),
        known: vec![Vec::new(); PARTITIONS as usize],
    };
    for cycle in 0..cycles as u32 {
        kills.one_cycle(cycle).await;
    }
    let (broker, client) = kills.start().await;
    kills.writers.iter().for_each(Writer::stop);
    for writer in std::mem::take(&mut kills.writers) {
        kills.journal.take(writer);
    }
    let Findings { lost, duplicated, reordered } = kills.check(&client).await;
    drop((client, broker));
    let acknowledged = kills.journal.count(|fate| matches!(fate, Fate::At(_) | Fate::Somewhere));
    let somewhere = kills.journal.count(|fate| fate == Fate::Somewhere);
    let unknown = kills.journal.count(|fate| fate == Fate::Unknown);
    let found: usize = kills.known.iter().map(Vec::len).sum();
    println!("librdkafka: {somewhere} acknowledged without an offset, {unknown} reported as errors");
    println!(
        "{cycles} kills under librdkafka (seed {seed}) in {:?}: {acknowledged} acknowledged, {found} found, \
         lost {lost} duplicated {duplicated} reordered {reordered}",
        begun.elapsed()
    );
    assert_eq!((lost, duplicated, reordered), (0, 0, 0));
    assert!(0 < acknowledged, "the loop tested nothing");
}
