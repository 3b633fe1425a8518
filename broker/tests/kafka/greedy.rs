//! One connection that takes more than its part: others are served all the while, and memory stays bounded.
//!
//!     greedy connection ─ a name many times · many large fetches · frames without an end ─▶ broker
//!     another one ─ small requests ─▶ answered soon

use std::time::{Duration, Instant};

use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest};
use protocol::batch::{BatchBuilder, Codec};
use protocol::model::Timestamp;

use crate::client::{Kafka, broker, broker_with, fetch_of, fetched, frame, produce_of, versions};
use crate::hostile::memory;
use crate::offsets::list_of;
use crate::raw::{Raw, batch};

const SOON: Duration = Duration::from_secs(2);

/// Looked at by each commit once, and not once for each time that it is named.
#[test]
fn a_waiting_fetch_that_names_a_partition_often_costs_no_more_than_one() {
    let broker = broker(2);
    let (mut greedy, mut kafka) = (Kafka::connect(&broker), Kafka::connect(&broker));
    kafka.create_topic("t", 2);
    let request =
        fetch_of("t", &[(0, 0), (1, 0)].repeat(10_000)).with_max_wait_ms(10_000).with_min_bytes(500);
    let correlation = greedy.send(12, &request);
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(kafka.produce("t", 0, &batch(&[b"x"])).error_code, 0);
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let found = greedy.receive::<FetchRequest>(12, correlation);
    let found: Vec<usize> = fetched(&found).iter().map(|(_, records)| records.len()).collect();
    assert!(found.len() == 2 && 500 <= found[0] + found[1], "{found:?}");
}

/// What two shards have found fits into one reply, though each was told all of the limit.
#[test]
fn the_limit_of_a_fetch_is_that_of_all_shards() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 8);
    for partition in 0..8 {
        assert_eq!(kafka.produce("t", partition, &batch(&[&[7; 5000]])).error_code, 0);
    }
    let all: Vec<(i32, i64)> = (0..8).map(|partition| (partition, 0)).collect();
    for (limit, batches) in [(1, 1), (5500, 1), (11_500, 2), (1 << 20, 8)] {
        let response = kafka.fetch(&fetch_of("t", &all).with_max_bytes(limit));
        let full = fetched(&response).iter().filter(|(_, records)| !records.is_empty()).count();
        assert_eq!(full, batches, "{limit} bytes");
    }
}

/// 300 x 8 MiB are asked for by one connection that reads nothing. Half of the partitions are another shard's,
/// whose records are copied, and most records are on disk.
#[test]
fn fetches_that_are_not_read_do_not_fill_the_memory() {
    let broker = broker_with(2, |config| config.cache_bytes = 1 << 20);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let large = batch(&[&[7; 500_000]]);
    for round in 0..17 {
        for partition in [0, 1] {
            assert_eq!(kafka.produce("t", partition, &large).error_code, 0, "{round}");
        }
    }
    let mut request = fetch_of("t", &[(0, 0), (1, 0)]).with_max_bytes(8 << 20);
    for partition in &mut request.topics[0].partitions {
        partition.partition_max_bytes = 8 << 20;
    }
    let before = memory();
    let mut greedy = Kafka::connect(&broker);
    greedy.send_bytes(&frame(12, 7, &request).repeat(300));
    let until = Instant::now() + SOON;
    let mut most = 0;
    while Instant::now() < until {
        kafka.call(3, &versions());
        most = most.max(memory().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(most < 128 << 20, "{} MiB", most >> 20);
    // They are all answered, once somebody takes the answers.
    for _ in 0..300 {
        let found = greedy.receive::<FetchRequest>(12, 7);
        let bytes: usize = fetched(&found).iter().map(|(_, records)| records.len()).sum();
        assert!((1..=8 << 20).contains(&bytes), "{bytes}");
    }
}

/// Their memory is promised to them, and more is asked for than there is.
#[test]
fn frames_that_do_not_end_keep_nobody_from_being_heard() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let mut begun_frame = ((1_i32 << 20) - 4).to_be_bytes().to_vec();
    begun_frame.resize(600 << 10, 0);
    let mut halves: Vec<Kafka> = (0..160).map(|_| Kafka::connect(&broker)).collect();
    for half in &mut halves {
        half.send_bytes(&begun_frame);
    }
    for _ in 0..20 {
        let begun = Instant::now();
        let mut another = Kafka::connect(&broker);
        another.call(3, &versions());
        for partition in [0, 1] {
            assert_eq!(another.produce("t", partition, &batch(&[b"x"])).error_code, 0);
        }
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a frame needed is given back: connections that each sent a large one are no load when they are idle.
#[test]
fn large_frames_of_the_past_take_no_room() {
    let broker = broker_with(1, |config| config.request_bytes = 16 << 20);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let large = batch(&[&[7; 700_000]]);
    let mut idle = Vec::new();
    for _ in 0..40 {
        let begun = Instant::now();
        let mut another = Kafka::connect(&broker);
        assert_eq!(another.produce("t", 0, &large).error_code, 0);
        idle.push(another);
        assert!(begun.elapsed() < SOON, "{} idle, {:?}", idle.len(), begun.elapsed());
    }
    for mut another in idle {
        assert_eq!(another.produce("t", 0, &large).error_code, 0);
    }
}

/// Forty producers that never pause need more than there is: each gets its turn.
#[test]
fn many_busy_producers_of_large_frames_are_all_served() {
    let broker = broker_with(1, |config| config.request_bytes = 16 << 20);
    Kafka::connect(&broker).create_topic("t", 1);
    let large = batch(&[&[7; 900_000]]);
    let frame = frame(7, 7, &produce_of("t", &[(0, Some(large))]));
    let addr = broker.kafka_addr().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut producer = Kafka::to(addr);
                // Four at a time: the next one has always begun when one ends.
                producer.send_bytes(&frame.repeat(4));
                for _ in 0..4 {
                    let response = producer.receive::<ProduceRequest>(7, 7);
                    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
                }
            });
        }
    });
    let end = Kafka::connect(&broker).call(7, &list_of("t", &[(0, -1)]));
    assert_eq!(end.topics[0].partitions[0].offset, 160);
}

/// A poll may last for minutes. What stands behind a thousand of them is not received meanwhile.
#[test]
fn polls_hold_no_memory_for_the_frames_behind_them() {
    let broker = broker_with(1, |config| config.request_bytes = 16 << 20);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let poll = fetch_of("t", &[(0, 0)]).with_max_wait_ms(60_000).with_max_bytes(1);
    let polls = frame(12, 7, &poll).repeat(1024);
    let large = frame(7, 7, &produce_of("t", &[(0, Some(vec![7; 4 << 20].into()))]));
    let addr = broker.kafka_addr().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut greedy = Kafka::to(addr);
                greedy.try_send(&polls);
                greedy.try_send(&large); // is not taken, and fails when the broker stops
            });
        }
        Raw::connect(broker.addr()).wait_for_polls(4 * 1024);
        for _ in 0..10 {
            let begun = Instant::now();
            kafka.send_bytes(&large);
            kafka.receive::<ProduceRequest>(7, 7);
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
        broker.stop().unwrap();
    });
}

/// A connection that says nothing is closed in time, one that waits for records is not.
#[test]
fn idle_connections_end_and_waiting_ones_do_not() {
    let broker = broker_with(1, |config| config.kafka.connections_idle_max = Duration::from_secs(1));
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let mut waiting = Kafka::connect(&broker);
    let request = fetch_of("t", &[(0, 0)]).with_max_wait_ms(4000).with_min_bytes(1);
    let correlation = waiting.send(12, &request);
    let mut silent = Kafka::connect(&broker);
    assert!(kafka.is_closed());
    assert!(silent.is_closed(), "who has never said anything");
    waiting.receive::<FetchRequest>(12, correlation);
    // It is idle from now on, and not since it asked.
    waiting.call(3, &versions());
}

/// Each of 300 searches takes 7 MB apart; one of somebody else does not wait for all of them.
#[test]
fn many_searches_for_a_time_do_not_hold_up_another() {
    let broker = broker(1);
    let mut greedy = Kafka::connect(&broker);
    greedy.create_topic("many", 300);
    greedy.create_topic("one", 1);
    let mut builder = BatchBuilder::new(Codec::Gzip);
    builder.try_append(Timestamp::from_millis(1), None, Some(&[0; 7_000_000]), &[]).unwrap();
    builder.try_append(Timestamp::from_millis(3), None, Some(b"x"), &[]).unwrap();
    let packed = builder.finish();
    for partition in 0..300 {
        assert_eq!(greedy.produce("many", partition, &packed).error_code, 0);
    }
    assert_eq!(greedy.produce("one", 0, &packed).error_code, 0);
    let all: Vec<(i32, i64)> = (0..300).map(|partition| (partition, 2)).collect();
    let correlation = greedy.send(7, &list_of("many", &all));
    let begun = Instant::now();
    let mut kafka = Kafka::connect(&broker);
    let found = kafka.call(7, &list_of("one", &[(0, 2)]));
    let one = begun.elapsed();
    assert_eq!(found.topics[0].partitions[0].offset, 1);
    let found = greedy.receive::<ListOffsetsRequest>(7, correlation);
    assert!(found.topics[0].partitions.iter().all(|partition| partition.offset == 1));
    assert!(one < begun.elapsed() / 4, "{one:?} of {:?}", begun.elapsed());
}
