//! Ten times as much as the broker takes: it holds on to its memory limit, loses nothing, and recovers.
//!
//!     capacity ─ measured ─▶ 10 x by open loop, 32 connections that never wait for a reply
//!                             └ RSS, each 20 ms ─▶ at most limit + 10 %
//!     load ends ─▶ throughput is back within 5 s ─▶ every acknowledged record is read
//!
//! Half of the connections are on a shard that does not own their partition. What the broker does not take
//! waits in the sockets: that is its back-pressure. `RINGLOG_OVERLOAD_SECS=n` makes the load longer,
//! `RINGLOG_OVERLOAD_MIB=n` sets the limit.

mod common;

#[path = "../../broker/tests/raw/mod.rs"]
mod raw;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use common::{Broker, Scratch, env};
use protocol::api::{Acks, Api, Message, ProduceReply, ProduceRequest, VERSION, Writer};
use protocol::batch::{BatchBuilder, Codec};
use protocol::frame::{FrameKind, append_frame};
use protocol::model::{CorrelationId, ErrorCode, PartitionIndex, Timestamp, TopicId};
use raw::{Answer, Raw};
use ringlog_client::{Client, StartAt};

const TOPIC: &str = "overload";
const PARTITIONS: u32 = 4;
const CONNECTIONS: u32 = 32;
const VALUE_BYTES: usize = 64 << 10;
/// How much more is offered than is taken.
const TIMES: f64 = 10.0;
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// What counts as back: much less than all of it, for a disk and a machine that others use too.
const BACK_AT: f64 = 0.4;

/// Whose record, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    connection: u32,
    number: u32,
}

#[derive(Clone, Default)]
struct Outcome {
    /// Partition and offset of what was acknowledged.
    acknowledged: Vec<(u32, u64, Stamp)>,
    refused: HashMap<ErrorCode, u64>,
}

/// A produce of one record that says whose it is.
fn request(out: &mut Vec<u8>, topic: TopicId, stamp: Stamp, filler: &[u8]) {
    let mut value = filler.to_vec();
    value[..4].copy_from_slice(&stamp.connection.to_le_bytes());
    value[4..8].copy_from_slice(&stamp.number.to_le_bytes());
    let now = UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis() as i64;
    let mut builder = BatchBuilder::new(Codec::None);
    builder.try_append(Timestamp::from_millis(now), None, Some(&value), &[]).expect("it is small");
    let set: Bytes = builder.finish();
    let correlation = CorrelationId::new(u64::from(stamp.number));
    append_frame(out, Api::Produce, VERSION, FrameKind::Request, correlation, |out| {
        let head = [(topic, PartitionIndex::new(stamp.connection % PARTITIONS), set.len())];
        ProduceRequest::write_head(&mut Writer::new(out), Acks::All, 30_000, head.into_iter());
        out.extend_from_slice(&set);
    });
}

fn take_reply(raw: &mut Raw, connection: u32, outcome: &mut Outcome) {
    let answer = raw.answer();
    let Answer::Reply(header, body) = answer else { panic!("connection {connection}: {answer:?}") };
    let result = ProduceReply::read(&body).expect("a reply").partitions[0];
    match result.base_offset {
        Some(offset) if result.error.is_ok() => {
            let stamp = Stamp { connection, number: header.correlation.get() as u32 };
            outcome.acknowledged.push((connection % PARTITIONS, offset.get(), stamp));
        }
        _ => *outcome.refused.entry(result.error).or_default() += 1,
    }
}

/// Sends by a schedule, whatever is answered, until `until`.
fn offer(
    mut raw: Raw,
    topic: TopicId,
    connection: u32,
    every: Duration,
    until: Instant,
) -> JoinHandle<Outcome> {
    let mut replies = raw.twin();
    let (sent, is_sent) = mpsc::channel();
    std::thread::spawn(move || {
        let (filler, begun) = (vec![connection as u8; VALUE_BYTES], Instant::now());
        let mut frame = Vec::new();
        for number in 0.. {
            let due = begun + every * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if until <= Instant::now() {
                break;
            }
            frame.clear();
            request(&mut frame, topic, Stamp { connection, number }, &filler);
            raw.send(&frame);
            let _ = sent.send(()); // the reader may have failed already
        }
    });
    std::thread::spawn(move || {
        let mut outcome = Outcome::default();
        while is_sent.recv().is_ok() {
            take_reply(&mut replies, connection, &mut outcome);
        }
        outcome
    })
}

/// Bytes a second that one connection gets through in `time`, with 16 requests outstanding.
fn throughput(raw: &mut Raw, topic: TopicId, connection: u32, time: Duration, outcome: &mut Outcome) -> f64 {
    let (filler, begun) = (vec![connection as u8; VALUE_BYTES], Instant::now());
    let first = outcome.acknowledged.len() as u32;
    let (mut number, mut outstanding) = (first, 0);
    let mut frame = Vec::new();
    while begun.elapsed() < time || 0 < outstanding {
        if begun.elapsed() < time {
            frame.clear();
            request(&mut frame, topic, Stamp { connection, number }, &filler);
            raw.send(&frame);
            (number, outstanding) = (number + 1, outstanding + 1);
        }
        if outstanding == 16 || time <= begun.elapsed() {
            take_reply(raw, connection, outcome);
            outstanding -= 1;
        }
    }
    (outcome.acknowledged.len() as u32 - first) as f64 * VALUE_BYTES as f64 / begun.elapsed().as_secs_f64()
}

/// Waits for throughput as it was before the load, more or less; how much, and after how long.
fn wait_until_back(raw: &mut Raw, topic: TopicId, before: f64, own: &mut Outcome) -> (f64, Duration) {
    let ended = Instant::now();
    loop {
        let back = throughput(raw, topic, CONNECTIONS, Duration::from_millis(500), own);
        if BACK_AT * before <= back {
            return (back, ended.elapsed());
        }
        assert!(ended.elapsed() < BACK_WITHIN, "{back:.0} bytes/s 5 s after the load, {before:.0} before it");
    }
}

fn bytes_of(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(|outcome| (outcome.acknowledged.len() * VALUE_BYTES) as f64).sum()
}

/// Watches the memory of a process until told to end; gives the most it has seen, in bytes.
struct Watch(Arc<AtomicBool>, Arc<AtomicU64>);

impl Watch {
    fn begin(pid: u32) -> Watch {
        let (ended, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let watch = Watch(ended.clone(), most.clone());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(resident(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        watch
    }

    fn most(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Reads every partition and compares.
async fn check_all(addr: &str, acknowledged: &[(u32, u64, Stamp)]) {
    let mut expected: HashMap<(u32, u64), Stamp> = HashMap::new();
    for (partition, offset, stamp) in acknowledged {
        let twice = expected.insert((*partition, *offset), *stamp);
        assert_eq!(twice, None, "offset {offset} of partition {partition} was given out twice");
    }
    let client = Client::connect(addr).await.expect("the broker is there");
    let mut reader =
        client.reader().topic(TOPIC).start(StartAt::Earliest).build().await.expect("the topic is there");
    while !expected.is_empty() {
        let records = tokio::time::timeout(Duration::from_secs(20), reader.recv_batch(1000)).await;
        let records =
            records.unwrap_or_else(|_| panic!("{} acknowledged records are not there", expected.len()));
        for record in records.expect("readable") {
            let value = record.value.expect("every record has a value");
            let part = |at: usize| u32::from_le_bytes(value[at..at + 4].try_into().expect("4 bytes"));
            let found = Stamp { connection: part(0), number: part(4) };
            if let Some(stamp) = expected.remove(&(record.partition.get(), record.offset.get())) {
                assert_eq!(stamp, found, "{} of partition {} changed", record.offset, record.partition);
            }
        }
    }
}

#[tokio::test]
async fn ten_times_too_much_costs_no_memory_and_no_record() {
    let limit = env("RINGLOG_OVERLOAD_MIB", 256) << 20;
    let load = Duration::from_secs(env("RINGLOG_OVERLOAD_SECS", 2));
    let scratch = Scratch::new("overload");
    let limit_setting = format!("broker.memory_limit={limit}");
    let mut broker =
        Broker::start(&scratch.path().join("data"), &scratch.path().join("broker.log"), &[&limit_setting]);
    let addr = broker.addr.parse().expect("an address");
    let mut raw = Raw::connect(addr);
    let topic = raw.create_topic(TOPIC, PARTITIONS, &[]).id;

    let mut own = Outcome::default();
    let before = throughput(&mut raw, topic, CONNECTIONS, Duration::from_secs(1), &mut own);
    let watch = Watch::begin(broker.pid());
    let (begun, as_fast_as_it_goes) = (Instant::now(), Duration::ZERO);
    let offers = [CONNECTIONS + 1, CONNECTIONS + 2, CONNECTIONS + 3, CONNECTIONS + 4]
        .map(|n| offer(Raw::connect(addr), topic, n, as_fast_as_it_goes, begun + Duration::from_secs(1)));
    let mut outcomes = offers.map(|offer| offer.join().expect("a connection that lasts")).to_vec();
    let capacity = bytes_of(&outcomes) / begun.elapsed().as_secs_f64();
    let every = Duration::from_secs_f64(f64::from(CONNECTIONS) * VALUE_BYTES as f64 / (TIMES * capacity));
    let begun = Instant::now();
    let offers: Vec<_> =
        (0..CONNECTIONS).map(|n| offer(Raw::connect(addr), topic, n, every, begun + load)).collect();
    let during: Vec<Outcome> =
        offers.into_iter().map(|offer| offer.join().expect("a connection that lasts")).collect();
    let taken = bytes_of(&during) / begun.elapsed().as_secs_f64();
    outcomes.extend(during);

    let (back, back_after) = wait_until_back(&mut raw, topic, before, &mut own);
    outcomes.push(own);
    let acknowledged: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.acknowledged.clone()).collect();
    let refused: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.refused).collect();
    println!(
        "overload: {:.0} MB/s offered of {:.0} that it takes, {:.0} taken; RSS at most {} MiB of {}; {:.0} MB/s again \
         after {back_after:?} ({:.0} before); {} records acknowledged, {refused:?} refused",
        TIMES * capacity / 1e6,
        capacity / 1e6,
        taken / 1e6,
        watch.most() >> 20,
        limit >> 20,
        back / 1e6,
        before / 1e6,
        acknowledged.len(),
    );
    check_all(&broker.addr, &acknowledged).await;
    assert!(broker.is_alive());
    assert!(
        watch.most() <= limit + limit / 10,
        "{} MiB of memory, the limit is {}",
        watch.most() >> 20,
        limit >> 20
    );
    for (error, _) in refused {
        assert!(error.is_retriable(), "{error:?} is not worth a second try");
    }
}
