//! What one client does must not hold up another: acks keep coming beside bad neighbours.
//!
//!     producer, 500 requests/s ─ alone │ slow consumer │ half a frame │ history from disk │
//!     p99 of its acks           ▲ printed for each; no ack may take a second
//!
//! The figures are printed, not bounded: a test that fails when a machine is busy is switched off. They are
//! medians of `RINGLOG_NEIGHBOURS_ROUNDS` rounds (default 1) in which the kinds take turns. What is bounded is what a held-up shard cannot keep: every request acknowledged, each within a second.

mod common;

#[path = "../../broker/tests/raw/mod.rs"]
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use common::{Broker, Scratch};
use protocol::api::{Acks, Api, FetchParams, VERSION};
use protocol::batch::{BatchBuilder, Codec};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind};
use protocol::model::{CorrelationId, ErrorCode, Timestamp, TopicId};
use raw::{Answer, Raw};

/// Bytes of history; far more than the broker's cache, so that it is read from disk.
const HISTORY_BYTES: usize = 192 << 20;
const CACHE: &str = "shards.cache_bytes=1MiB";
/// One shard, so that everybody meets.
const ONE_SHARD: &str = "shards.cpus=0";

const REQUESTS: u32 = 1000;
const EVERY: Duration = Duration::from_millis(2);
const ACK_MAX: Duration = Duration::from_secs(1);

/// Fetches of 1 MiB that a slow consumer sends before it reads: more than socket and outbox take.
const FETCHES_AHEAD: u64 = 16;

/// Clients of each bad kind.
const NEIGHBOURS: usize = 4;

fn one_record(bytes: usize) -> Bytes {
    let now = UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis() as i64;
    let mut builder = BatchBuilder::new(Codec::None);
    builder.try_append(Timestamp::from_millis(now), None, Some(&vec![7; bytes]), &[]).expect("it is small");
    builder.finish()
}

/// Produces by a schedule; each request's time counts from when it was due.
fn measure(addr: &str, topic: TopicId) -> Vec<Duration> {
    let mut raw = Raw::connect(addr.parse().expect("an address"));
    let (set, begun) = (one_record(1024), Instant::now());
    let mut times = Vec::new();
    for number in 0..REQUESTS {
        let due = begun + EVERY * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        assert_eq!(raw.produce(topic, 0, &set).0, ErrorCode::None, "request {number}");
        times.push(due.elapsed());
    }
    times.sort();
    times
}

/// What was measured of one kind, a round after the other.
struct Beside {
    what: &'static str,
    /// Sorted, one list for each round.
    rounds: Vec<Vec<Duration>>,
}

impl Beside {
    fn new(what: &'static str) -> Beside {
        Beside { what, rounds: Vec::new() }
    }

    fn add(&mut self, times: Vec<Duration>) {
        let longest = times[times.len() - 1];
        assert_eq!(times.len(), REQUESTS as usize);
        assert!(longest < ACK_MAX, "an ack took {longest:?} beside {}", self.what);
        self.rounds.push(times);
    }

    /// The median of what the rounds have at `per_mille`: one hiccup of the disk spoils one round, not all.
    fn median_at(&self, per_mille: usize) -> Duration {
        let mut values: Vec<Duration> = self
            .rounds
            .iter()
            .map(|times| times[(times.len() * per_mille / 1000).min(times.len() - 1)])
            .collect();
        values.sort();
        values[values.len() / 2]
    }

    fn tell(&self, alone: &Beside) {
        let (p50, p99, max) = (self.median_at(500), self.median_at(990), self.median_at(1000));
        let ratio = p99.as_secs_f64() / alone.median_at(990).as_secs_f64();
        println!("neighbours: {}: p50 {p50:?} p99 {p99:?} max {max:?}, p99 x{ratio:.2} of alone", self.what);
    }
}

/// Fills a topic with history. 256 KiB a batch, 16 on the way.
fn write_history(raw: &mut Raw, topic: TopicId) {
    let set = one_record(256 << 10);
    let count = HISTORY_BYTES / set.len();
    for n in 0..count {
        raw.send_produce(Acks::All, &[(topic, 0, &set)]);
        if 16 <= n {
            take_reply(raw);
        }
    }
    (0..16).for_each(|_| take_reply(raw));
}

fn take_reply(raw: &mut Raw) {
    let answer = raw.answer();
    assert!(matches!(answer, Answer::Reply(..)), "{answer:?}");
}

/// Asks for 1 MiB so many times and reads nothing.
fn slow_consumer(addr: &str, topic: TopicId) -> Raw {
    let mut raw = Raw::connect(addr.parse().expect("an address"));
    let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
    for n in 0..FETCHES_AHEAD {
        raw.send_fetch(params, &[(topic, 0, 4 * n)]);
    }
    raw
}

/// Announces 4 MiB and sends half of it.
fn slow_producer(addr: &str) -> Raw {
    let mut raw = Raw::connect(addr.parse().expect("an address"));
    let header = FrameHeader {
        body_len: 4 << 20,
        api: Api::Produce,
        version: VERSION,
        kind: FrameKind::Request,
        correlation: CorrelationId::new(1),
    };
    let bytes: [u8; FRAME_HEADER_LEN] = header.to_bytes();
    raw.send(&bytes);
    raw.send(&vec![0; 2 << 20]);
    raw
}

/// Reads history from its beginning, over and over, until told to end. Gives the bytes read.
fn drain(addr: &str, topic: TopicId, end: u64, ended: Arc<AtomicBool>) -> JoinHandle<u64> {
    let mut raw = Raw::connect(addr.parse().expect("an address"));
    std::thread::spawn(move || {
        let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
        let (mut bytes, mut offset) = (0, 0);
        while !ended.load(Ordering::Relaxed) {
            raw.send_fetch(params, &[(topic, 0, offset)]);
            let reply = raw.fetched();
            let fetched = &reply.partitions[0];
            assert_eq!(fetched.result.error, ErrorCode::None);
            bytes += fetched.records.len() as u64;
            // A record is 256 KiB and a batch.
            offset = (offset + (fetched.records.len() / (256 << 10)).max(1) as u64) % end;
        }
        bytes
    })
}

#[test]
fn acks_keep_coming_beside_bad_neighbours() {
    let scratch = Scratch::new("neighbours");
    let data = scratch.path().join("data");
    let mut broker = Broker::start(&data, &scratch.path().join("broker.log"), &[CACHE, ONE_SHARD]);
    let addr = broker.addr.clone();
    let mut raw = Raw::connect(addr.parse().expect("an address"));
    let own = raw.create_topic("own", 1, &[]).id;
    let history = raw.create_topic("history", 1, &[]).id;
    write_history(&mut raw, history);

    let mut alone = Beside::new("nobody");
    let mut unread = Beside::new("consumers that do not read");
    let mut stuck = Beside::new("producers stuck in a frame");
    let mut drained = Beside::new("a consumer of history");
    let rounds = common::env("RINGLOG_NEIGHBOURS_ROUNDS", 1);
    measure(&addr, own); // what is first pays for files and caches
    for _ in 0..rounds {
        alone.add(measure(&addr, own));

        let consumers: Vec<Raw> = (0..NEIGHBOURS).map(|_| slow_consumer(&addr, history)).collect();
        unread.add(measure(&addr, own));
        drop(consumers);

        let producers: Vec<Raw> = (0..NEIGHBOURS).map(|_| slow_producer(&addr)).collect();
        stuck.add(measure(&addr, own));
        drop(producers);

        drained.add(measure_beside_drain(&addr, own, history));
    }
    for beside in [&alone, &unread, &stuck, &drained] {
        beside.tell(&alone);
    }
    assert!(broker.is_alive());
}

fn measure_beside_drain(addr: &str, own: TopicId, history: TopicId) -> Vec<Duration> {
    let end = (HISTORY_BYTES / (256 << 10)) as u64 - 8;
    let (ended, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let drains = drain(addr, history, end, ended.clone());
    let times = measure(addr, own);
    ended.store(true, Ordering::Relaxed);
    let bytes = drains.join().expect("history is readable");
    println!(
        "neighbours: history was read at {:.0} MB/s",
        bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
    );
    assert!(HISTORY_BYTES as u64 / 4 < bytes, "only {bytes} bytes of history were read meanwhile");
    times
}
