//! The same batches through either listener: what they cost the shard, and how long they take.
//!
//!     frames made beforehand ─▶ native connection, Kafka's connection, by turns ─▶ one shard
//!
//! A measurement, not a test: `cargo test --release -p ringlog-broker --test allocations -- --ignored --nocapture`.
//! The client here costs next to nothing, which no real one does.

use std::time::Instant;

use bytes::Bytes;
use protocol::model::TopicId;

use crate::client::{Kafka, broker, fetch_of, frame, produce_of};
use crate::raw::Raw;
use crate::{ONE_AT_A_TIME, append_fetch, append_produce, kafka, records_of_100_bytes, total};

const TURNS: usize = 7;

/// The same requests in both protocols, so many in one write.
struct Load {
    native: Vec<u8>,
    kafka: Vec<u8>,
    requests: usize,
    /// How often it is sent in a turn.
    times: usize,
}

impl Load {
    fn produce(topic: TopicId, set: &Bytes, requests: usize, times: usize) -> Load {
        let mut native = Vec::new();
        append_produce(&mut native, topic, set);
        let kafka = frame(9, 1, &produce_of("t", &[(0, Some(set.clone()))]));
        Load { native: native.repeat(requests), kafka: kafka.repeat(requests), requests, times }
    }

    fn fetch(topic: TopicId, offset: u64, bytes: usize, requests: usize, times: usize) -> Load {
        let mut native = Vec::new();
        append_fetch(&mut native, topic, offset, bytes as u32);
        let mut request = fetch_of("t", &[(0, offset as i64)]);
        request.topics[0].partitions[0].partition_max_bytes = bytes as i32;
        let kafka = frame(12, 1, &request);
        Load { native: native.repeat(requests), kafka: kafka.repeat(requests), requests, times }
    }
}

/// What a turn took.
struct Cost {
    shard_us: f64,
    commits: f64,
    seconds: f64,
}

fn cost(raw: &mut Raw, work: impl FnOnce(&mut Raw)) -> Cost {
    let (shard_us, commits) = (total(raw, "cpu_us"), total(raw, "commits"));
    let begun = Instant::now();
    work(raw);
    let seconds = begun.elapsed().as_secs_f64();
    Cost { shard_us: total(raw, "cpu_us") - shard_us, commits: total(raw, "commits") - commits, seconds }
}

fn by_turns(what: &str, raw: &mut Raw, connection: &mut Kafka, load: &Load) {
    let Load { requests, times, .. } = *load;
    let each = (requests * times) as f64;
    for _ in 0..TURNS {
        let ours = cost(raw, |raw| crate::drive(raw, &load.native, requests, times));
        let theirs = cost(raw, |_| kafka::drive(connection, &load.kafka, requests, times));
        println!(
            "{what}: native {:.2} us of the shard each, {:.1} in a commit; Kafka {:.2} us, {:.1} in a commit; \
             cpu ratio {:.2}, speed ratio {:.2}",
            ours.shard_us / each,
            each / ours.commits,
            theirs.shard_us / each,
            each / theirs.commits,
            theirs.shard_us / ours.shard_us,
            ours.seconds / theirs.seconds,
        );
    }
}

#[test]
#[ignore = "a measurement: what a request costs the shard, native and Kafka's by turns"]
fn the_same_batches_through_either_listener() {
    let _guard = ONE_AT_A_TIME.lock();
    let broker = broker(1);
    let (mut kafka, mut raw) = (Kafka::connect(&broker), Raw::connect(broker.addr()));
    let topic = raw.create_topic("t", 1, &[]).id;
    for (records, requests, times) in [(10, 256, 160), (570, 8, 512)] {
        let set = records_of_100_bytes(records);
        let what = format!("produce of {} bytes", set.len());
        by_turns(&what, &mut raw, &mut kafka, &Load::produce(topic, &set, requests, times));
        // The last but some: in memory.
        let batches = total(&mut raw, "produce_requests") as usize;
        let newest = total(&mut raw, "produced_records") as usize - 100 * records;
        let what = format!("fetch of {} bytes, of {batches} batches", set.len());
        let load = Load::fetch(topic, newest as u64, set.len(), requests, times);
        by_turns(&what, &mut raw, &mut kafka, &load);
    }
}
