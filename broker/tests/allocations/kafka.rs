//! The same through Kafka's listener: a request there allocates no more than a native one.

use broker::EmbeddedBroker;

use crate::client::{Kafka, broker, fetch_of, frame, produce_of};
use crate::raw::Raw;
use crate::{
    BLOCK, BLOCKS_AHEAD, ONE_AT_A_TIME, PER_BATCH_MAX, PER_ROUND_MAX, print_sites, sys, ten_records, total,
};

pub fn drive(kafka: &mut Kafka, block: &[u8], requests: usize, times: usize) {
    let take = |kafka: &mut Kafka, count: usize| {
        (0..count).for_each(|_| drop(kafka.next_frame().expect("an answer")));
    };
    for n in 0..times {
        kafka.send_bytes(block);
        if BLOCKS_AHEAD <= n {
            take(kafka, requests);
        }
    }
    take(kafka, requests * times.min(BLOCKS_AHEAD));
}

/// Allocations of `work`, and how many commit rounds there were meanwhile.
fn measure(broker: &EmbeddedBroker, work: impl FnOnce()) -> (f64, f64) {
    let mut raw = Raw::connect(broker.addr());
    let before = total(&mut raw, "commits");
    let allocations = sys::count_in_shards(work) as f64;
    (allocations, total(&mut raw, "commits") - before)
}

#[test]
fn kafka_allocates_no_more_than_native() {
    let _guard = ONE_AT_A_TIME.lock();
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let set = ten_records();
    let block = frame(9, 1, &produce_of("t", &[(0, Some(set.clone()))])).repeat(BLOCK);
    drive(&mut kafka, &block, BLOCK, 160);
    let times = 160;
    let batches = (times * BLOCK) as f64;
    let (many, rounds) = measure(&broker, || drive(&mut kafka, &block, BLOCK, times));
    print_sites("kafka produce");
    let per_batch = (many - 43.0 * rounds) / batches;
    println!(
        "kafka produce: {:.4} allocations per batch with {:.0} batches per round; {per_batch:.4} beside rounds of 43",
        many / batches,
        batches / rounds
    );
    assert!(many <= PER_ROUND_MAX * rounds + PER_BATCH_MAX * batches, "{many} for {batches} batches");

    // The newest are in memory; a batch a fetch.
    let newest = ((320 - 16) * BLOCK * 10) as i64;
    let mut request = fetch_of("t", &[(0, newest)]);
    request.topics[0].partitions[0].partition_max_bytes = set.len() as i32;
    let fetches = frame(12, 1, &request).repeat(BLOCK);
    drive(&mut kafka, &fetches, BLOCK, 16);
    let (many, _) = measure(&broker, || drive(&mut kafka, &fetches, BLOCK, times));
    print_sites("kafka fetch");
    println!("kafka hot fetch: {:.4} allocations per batch, one batch a fetch", many / batches);
    assert!(many <= PER_BATCH_MAX * batches, "{many} allocations for {batches} fetched batches");
}
