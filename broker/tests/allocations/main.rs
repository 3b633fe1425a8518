//! The hot path allocates per commit round and per wake-up of a reader, never per batch.
//!
//!     256 requests in one write ─▶ reader ─▶ batches accepted ─▶ round ─▶ 256 replies
//!                                  └───── allocations on the shard's thread are counted ─────┘
//!
//! Two loads are measured of each kind. With one request outstanding a round carries one batch: that is
//! what a round costs. With many outstanding a round carries hundreds, and what is left over is what a
//! batch costs. Measured figures stand in docs/performance.md; `--nocapture` prints them.

#[path = "../raw/mod.rs"]
mod raw;

#[path = "../kafka/client.rs"]
mod client;

mod kafka;

mod listeners;

mod sys;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use broker::EmbeddedBroker;
use bytes::Bytes;
use protocol::api::{Acks, Api, FetchEntry, FetchParams, FetchRequest, ProduceRequest, VERSION, Writer};
use protocol::batch::{BatchBuilder, Codec};
use protocol::frame::{FrameKind, append_frame};
use protocol::model::{CorrelationId, Offset, PartitionIndex, Timestamp, TopicId};
use raw::{Answer, Raw, scratch};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// The allocator counts for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Requests that leave in one write.
const BLOCK: usize = 256;
/// Blocks that are on their way before the first one's replies are read.
const BLOCKS_AHEAD: usize = 4;

/// What is allowed for each batch: containers that double, a chunk of 2 MiB, and the reactor's share of a
/// wake-up that hundreds of batches have in common. Measured 0.01 to 0.04; whoever allocates for each batch
/// adds 1.
const PER_BATCH_MAX: f64 = 0.25;

/// What is allowed for a commit round: some ten are ours (plans, the chunk), the rest glommio's, for its
/// operations and each turn of its reactor. Measured 43.
const PER_ROUND_MAX: f64 = 90.0;

/// The same for a read of a socket and the send of a reply. Measured 12, all of them glommio's.
const PER_WAKE_MAX: f64 = 40.0;

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0];
        config
    })
    .expect("this machine runs brokers")
}

/// Some 1.1 KiB.
fn ten_records() -> Bytes {
    records_of_100_bytes(10)
}

/// Of now: a record of 1970 is older than any segment may get and begins a new file.
fn records_of_100_bytes(count: usize) -> Bytes {
    let now = UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis() as i64;
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..count {
        builder.try_append(Timestamp::from_millis(now), None, Some(&[7; 100]), &[]).expect("it is small");
    }
    builder.finish()
}

fn append_produce(out: &mut Vec<u8>, topic: TopicId, set: &[u8]) {
    append_frame(out, Api::Produce, VERSION, FrameKind::Request, CorrelationId::new(1), |out| {
        let head = [(topic, PartitionIndex::new(0), set.len())];
        ProduceRequest::write_head(&mut Writer::new(out), Acks::All, 10_000, head.into_iter());
        out.extend_from_slice(set);
    });
}

fn append_fetch(out: &mut Vec<u8>, topic: TopicId, offset: u64, max_bytes: u32) {
    append_frame(out, Api::Fetch, VERSION, FrameKind::Request, CorrelationId::new(1), |out| {
        let partition = PartitionIndex::new(0);
        let fetch_offset = Offset::new(offset);
        let entry = FetchEntry { topic, partition, leader_epoch: None, fetch_offset, max_bytes };
        let params = FetchParams { max_wait_ms: 1000, min_bytes: 1, max_bytes };
        FetchRequest::write(&mut Writer::new(out), params, &[entry]);
    });
}

fn take_replies(raw: &mut Raw, count: usize) {
    for _ in 0..count {
        let answer = raw.answer();
        assert!(matches!(answer, Answer::Reply(..)), "{answer:?}");
    }
}

/// Sends `block`, which holds `requests`, so many times, some ahead of the replies.
fn drive(raw: &mut Raw, block: &[u8], requests: usize, times: usize) {
    for n in 0..times {
        raw.send(block);
        if BLOCKS_AHEAD <= n {
            take_replies(raw, requests);
        }
    }
    take_replies(raw, requests * times.min(BLOCKS_AHEAD));
}

fn drive_one_by_one(raw: &mut Raw, request: &[u8], times: usize) {
    for _ in 0..times {
        raw.send(request);
        take_replies(raw, 1);
    }
}

fn total(raw: &mut Raw, name: &str) -> f64 {
    let stats = raw.stats();
    let counters = stats.shards.iter().flat_map(|shard| &shard.counters);
    counters.filter(|(counter, _)| counter == name).map(|(_, value)| *value as f64).sum()
}

/// What was counted during `work`, and how many commit rounds there were.
fn measure(raw: &mut Raw, work: impl FnOnce(&mut Raw)) -> (f64, f64) {
    let before = total(raw, "commits");
    let allocations = sys::count_in_shards(|| work(raw)) as f64;
    (allocations, total(raw, "commits") - before)
}

/// Prints the places that allocate most, where they were asked for.
fn print_sites(of: &str) {
    let mut sites: BTreeMap<String, usize> = BTreeMap::new();
    for trace in sys::take_sites() {
        let text = trace.to_string();
        let frames = text.lines().filter(|line| !line.trim_start().starts_with("at "));
        let ours = frames.skip_while(|frame| !frame.contains("Counting as")).skip(6).take(12);
        *sites.entry(ours.map(str::trim).collect::<Vec<_>>().join("\n    ")).or_default() += 1;
    }
    let mut sites: Vec<_> = sites.into_iter().collect();
    sites.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (site, count) in sites.iter().take(25) {
        println!("{of}: {count} of\n    {site}");
    }
}

#[test]
fn produce_allocates_per_round_and_not_per_batch() {
    let _guard = ONE_AT_A_TIME.lock();
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[]).id;
    let mut one = Vec::new();
    append_produce(&mut one, topic, &ten_records());
    let block = one.repeat(BLOCK);
    // Until the cache of 32 MiB is full and chunks leave it as fast as they come.
    drive(&mut raw, &block, BLOCK, 160);
    let times = 160;
    let (many, rounds) = measure(&mut raw, |raw| drive(raw, &block, BLOCK, times));
    print_sites("many");
    let batches = (times * BLOCK) as f64;
    let (single, singles) = measure(&mut raw, |raw| drive_one_by_one(raw, &one, 1000));
    assert_eq!(total(&mut raw, "round_requests"), total(&mut raw, "produce_requests"));
    print_sites("one");
    let per_round = single / singles;
    let per_batch = (many - per_round * rounds) / batches;
    println!(
        "produce: {:.4} allocations per batch with {:.0} batches per round; {per_round:.1} per round of one \
         batch; {per_batch:.4} per batch beside its round",
        many / batches,
        batches / rounds
    );
    assert!(per_round <= PER_ROUND_MAX, "{per_round:.1} allocations for a commit round");
    let allowed = PER_ROUND_MAX * rounds + PER_BATCH_MAX * batches;
    assert!(many <= allowed, "{many} allocations for {batches} batches in {rounds} rounds");
}

#[test]
fn hot_fetch_allocates_per_wake_and_not_per_batch() {
    let _guard = ONE_AT_A_TIME.lock();
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[]).id;
    let set = ten_records();
    let mut block = Vec::new();
    (0..BLOCK).for_each(|_| append_produce(&mut block, topic, &set));
    drive(&mut raw, &block, BLOCK, 16);
    // A batch a fetch: the most requests that records can cost.
    let mut fetches = Vec::new();
    (0..BLOCK as u64).for_each(|n| append_fetch(&mut fetches, topic, n * 10, set.len() as u32));
    let mut one = Vec::new();
    append_fetch(&mut one, topic, 0, set.len() as u32);
    drive(&mut raw, &fetches, BLOCK, 16);
    let times = 160;
    let (many, _) = measure(&mut raw, |raw| drive(raw, &fetches, BLOCK, times));
    print_sites("many");
    let (single, _) = measure(&mut raw, |raw| drive_one_by_one(raw, &one, 4000));
    print_sites("one");
    let batches = (times * BLOCK) as f64;
    println!(
        "hot fetch: {:.4} allocations per batch, one batch a fetch, {BLOCK} fetches sent together; {:.2} where each \
         waits for the one before",
        many / batches,
        single / 4000.0
    );
    assert!(single / 4000.0 <= PER_WAKE_MAX, "{single} allocations for 4000 fetches");
    assert!(many <= PER_BATCH_MAX * batches, "{many} allocations for {batches} fetched batches");
}
