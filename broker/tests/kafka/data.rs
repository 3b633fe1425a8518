//! Records in and out: what one protocol writes the other reads, byte for byte, over both shards.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{MetadataRequest, ProduceRequest};
use protocol::api::FetchParams;
use protocol::model::{ErrorCode, Offset};

use crate::client::{Kafka, broker, fetch_of, fetched, produce_of};
use crate::raw::{Raw, batch};

const PARTITIONS: i32 = 6;

#[test]
fn one_produce_over_both_shards_is_split_and_gathered() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", PARTITIONS);
    let set = |n: i32, round: i32| batch(&[format!("{n} {round}").as_bytes(), b"second"]);
    for round in 0..3 {
        // Backwards, so that places in the reply are not those of partitions.
        let sets: Vec<_> = (0..PARTITIONS).rev().map(|n| (n, Some(set(n, round)))).collect();
        let response = kafka.call(9, &produce_of("t", &sets));
        let found: Vec<_> = response.responses[0]
            .partition_responses
            .iter()
            .map(|one| (one.index, one.error_code, one.base_offset, one.log_start_offset))
            .collect();
        let expected: Vec<_> = (0..PARTITIONS).rev().map(|n| (n, 0, i64::from(round) * 2, 0)).collect();
        assert_eq!(found, expected);
    }
    let from: Vec<_> = (0..PARTITIONS).map(|n| (n, 2)).collect();
    let response = kafka.fetch(&fetch_of("t", &from));
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.topic_id("t");
    for (n, (error, records)) in (0..PARTITIONS).zip(fetched(&response)) {
        let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
        raw.send_fetch(params, &[(topic, n as u32, 2)]);
        let native = raw.fetched().partitions.remove(0);
        assert_eq!((error, native.result.error), (0, ErrorCode::None));
        assert_eq!(records, native.records, "partition {n}: the bytes are those that are stored");
        // Two batches, of which only offset and epoch differ from what was sent.
        assert_eq!(records.len(), set(n, 1).len() + set(n, 2).len());
        assert_eq!(records[16..set(n, 1).len()], set(n, 1)[16..]);
        assert_eq!(records[..8], 2i64.to_be_bytes());
    }
}

#[test]
fn every_version_of_produce_and_fetch_carries_the_same_bytes() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let set = batch(&[b"one"]);
    for version in 3..=11 {
        let response =
            kafka.call(version, &produce_of("t", &[(0, Some(set.clone())), (1, Some(set.clone()))]));
        for one in &response.responses[0].partition_responses {
            assert_eq!((one.error_code, one.base_offset), (0, i64::from(version) - 3), "version {version}");
        }
    }
    for version in 4..=12 {
        let response = kafka.call(version, &fetch_of("t", &[(0, 3), (1, 3)]));
        for one in &response.responses[0].partitions {
            assert_eq!((one.error_code, one.high_watermark, one.last_stable_offset), (0, 9, 9));
            let records = one.records.clone().unwrap();
            assert_eq!(records.len(), 6 * set.len(), "version {version}");
        }
    }
}

#[test]
fn a_native_produce_is_read_by_kafka_and_the_other_way() {
    let broker = broker(2);
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[]).id;
    let mut kafka = Kafka::connect(&broker);
    let (native, kafkas) = (batch(&[b"native"]), batch(&[b"kafka"]));
    assert_eq!(raw.produce(topic, 0, &native), (ErrorCode::None, Some(Offset::ZERO)));
    assert_eq!(kafka.produce("t", 0, &kafkas).base_offset, 1);
    let response = kafka.fetch(&fetch_of("t", &[(0, 0)]));
    let (_, records) = fetched(&response).remove(0);
    let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
    raw.send_fetch(params, &[(topic, 0, 0)]);
    assert_eq!(raw.fetched().partitions.remove(0).records, records, "both get the same");
    // What was sent, but for what the broker stamps: the base offset, and the leader's epoch.
    let stamped = |set: &Bytes, base: i64| {
        Bytes::from([&base.to_be_bytes(), &set[8..12], &0i32.to_be_bytes(), &set[16..]].concat())
    };
    assert_eq!(records, [stamped(&native, 0), stamped(&kafkas, 1)].concat());
    let values = |set: &Bytes| -> Vec<Bytes> {
        let batches = protocol::batch::batches(set).map(|batch| batch.unwrap());
        let decoded = batches
            .map(|batch| protocol::batch::decode_batch(Bytes::copy_from_slice(batch.as_bytes()), 1 << 20));
        decoded.flat_map(|batch| batch.unwrap().map(|record| record.value.unwrap())).collect()
    };
    assert_eq!(values(&records), ["native", "kafka"]);
}

#[test]
fn acks_0_has_no_response_and_its_records_are_there() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    for n in 0..10 {
        let sets = [(0, Some(batch(&[b"x"]))), (1, Some(batch(&[b"y"])))];
        let request: ProduceRequest = produce_of("t", &sets).with_acks(0);
        kafka.send(3 + n % 9, &request);
    }
    // The first response is that of the next request.
    let response = kafka.call(12, &MetadataRequest::default().with_topics(None));
    assert!(response.topics.iter().any(|topic| topic.name.as_ref().unwrap().as_str() == "t"));
    let begun = Instant::now();
    while fetched(&kafka.fetch(&fetch_of("t", &[(0, 9), (1, 9)]))).iter().any(|(_, set)| set.is_empty()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the records of acks 0 are lost");
    }
}

#[test]
fn limits_of_a_fetch_hold_but_for_its_first_batch() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let large = batch(&[&[7; 5000]]);
    for partition in [0, 0, 1] {
        assert_eq!(kafka.produce("t", partition, &large).error_code, 0);
    }
    let lens = |kafka: &mut Kafka, of_all: i32, of_one: i32| -> Vec<usize> {
        let mut request = fetch_of("t", &[(0, 0), (1, 0)]).with_max_bytes(of_all);
        for partition in &mut request.topics[0].partitions {
            partition.partition_max_bytes = of_one;
        }
        fetched(&kafka.fetch(&request)).iter().map(|(_, records)| records.len() / 5000).collect()
    };
    assert_eq!(lens(&mut kafka, 10 << 20, 1 << 20), [2, 1], "all there is");
    assert_eq!(lens(&mut kafka, 10 << 20, 6000), [1, 1], "one batch of each");
    assert_eq!(lens(&mut kafka, 100, 100), [1, 0], "the first batch is larger than what is asked for");
    assert_eq!(lens(&mut kafka, 0, 0), [1, 0]);
    assert_eq!(lens(&mut kafka, -1, -5), [1, 0], "less than nothing is nothing");
}

#[test]
fn an_offset_that_is_not_there_is_out_of_range() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    for partition in [0, 1] {
        kafka.produce("t", partition, &batch(&[b"x"]));
        for (offset, error) in [(0, 0), (1, 0), (2, 1), (-1, 1), (-2, 1), (i64::MIN, 1), (i64::MAX, 1)] {
            let response = kafka.fetch(&fetch_of("t", &[(partition, offset)]));
            assert_eq!(fetched(&response)[0].0, error, "offset {offset}");
        }
    }
    for (topic, partition) in [("nope", 0), ("t", 2), ("t", -1), ("t", i32::MIN), ("", 0)] {
        let response = kafka.fetch(&fetch_of(topic, &[(partition, 0)]).with_max_wait_ms(5000));
        assert_eq!(response.responses[0].topic.as_str(), topic);
        assert_eq!(response.responses[0].partitions[0].partition_index, partition);
        assert_eq!(fetched(&response)[0].0, 3, "{topic} {partition}");
    }
}

/// Sessions are never given out, so an incremental fetch is of another broker; a full one is answered,
/// whichever session it ends.
#[test]
fn a_fetch_session_is_not_found_but_a_full_fetch_is_served() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    kafka.produce("t", 0, &batch(&[b"x"]));
    for (id, epoch, error) in [(0, 0, 0), (0, -1, 0), (7, 0, 0), (7, -1, 0), (7, 1, 70), (0, 1, 70)] {
        let request = fetch_of("t", &[(0, 0)]).with_session_id(id).with_session_epoch(epoch);
        let response = kafka.fetch(&request);
        assert_eq!((response.error_code, response.session_id), (error, 0), "session {id}, epoch {epoch}");
        let has_records = fetched(&response).iter().any(|(_, records)| !records.is_empty());
        assert_eq!(has_records, error == 0);
    }
}
