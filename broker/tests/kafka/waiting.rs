//! Requests that wait, and the order of replies.

use std::time::{Duration, Instant};

use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, HeartbeatRequest, InitProducerIdRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest,
};
use protocol::api::{DeleteTopicRequest, FetchParams};

use crate::client::{Kafka, broker, decode, fetch_of, fetched, produce_of, versions};
use crate::offsets::list_of;
use crate::raw::{Answer, Raw, batch};

/// Long enough to be told apart from an answer.
const LONG_MS: i32 = 15_000;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_long_poll_is_woken_by_a_produce_on_another_connection() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.topic_id("t");
    let mut polls = 0;
    for (round, partition) in [(0, 0), (0, 1), (1, 1), (1, 0)] {
        let mut poller = Kafka::connect(&broker);
        let request = fetch_of("t", &[(partition, round)]).with_max_wait_ms(LONG_MS);
        let correlation = poller.send(12, &request);
        polls += 1;
        raw.wait_for_polls(polls);
        let begun = Instant::now();
        match round {
            0 => assert_eq!(kafka.produce("t", partition, &batch(&[b"x"])).error_code, 0),
            // The other protocol wakes it too.
            _ => drop(raw.produce(topic, partition as u32, &batch(&[b"x"]))),
        }
        let response = poller.receive::<FetchRequest>(12, correlation);
        assert!(begun.elapsed() < SOON);
        assert!(!fetched(&response)[0].1.is_empty());
    }
    // And a native poll is woken by a Kafka produce.
    raw.send_fetch(
        FetchParams { max_wait_ms: LONG_MS as u32, min_bytes: 1, max_bytes: 1 << 20 },
        &[(topic, 0, 2)],
    );
    Raw::connect(broker.addr()).wait_for_polls(polls + 1);
    assert_eq!(kafka.produce("t", 0, &batch(&[b"x"])).error_code, 0);
    assert!(!raw.fetched().partitions[0].records.is_empty());
}

/// A part of the fetch waits on each shard; the one with records ends the other's wait.
#[test]
fn a_long_poll_over_both_shards_ends_when_either_has_records() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let mut raw = Raw::connect(broker.addr());
    for partition in [0, 1] {
        let mut poller = Kafka::connect(&broker);
        let from = [(0, i64::from(partition)), (1, 0)];
        let correlation = poller.send(12, &fetch_of("t", &from).with_max_wait_ms(LONG_MS));
        raw.wait_for_polls(2 * partition as u64 + 2);
        let begun = Instant::now();
        kafka.produce("t", partition, &batch(&[b"x"]));
        let response = poller.receive::<FetchRequest>(12, correlation);
        assert!(begun.elapsed() < SOON);
        let full: Vec<bool> = fetched(&response).iter().map(|(_, set)| !set.is_empty()).collect();
        assert_eq!(full, [partition == 0, partition == 1]);
    }
}

#[test]
fn a_fetch_waits_for_its_bytes_and_no_longer_than_it_says() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let set = batch(&[b"x"]);
    kafka.produce("t", 0, &set);
    let begun = Instant::now();
    let request = fetch_of("t", &[(0, 1)]).with_max_wait_ms(300);
    assert!(fetched(&kafka.fetch(&request))[0].1.is_empty());
    assert!(Duration::from_millis(290) <= begun.elapsed() && begun.elapsed() < SOON);
    // Two batches are asked for, one is there: it waits, and then gives what there is.
    let two = 2 * set.len() as i32;
    let begun = Instant::now();
    let request = fetch_of("t", &[(0, 0)]).with_max_wait_ms(300).with_min_bytes(two);
    assert_eq!(fetched(&kafka.fetch(&request))[0].1.len(), set.len());
    assert!(Duration::from_millis(290) <= begun.elapsed());
    let mut poller = Kafka::connect(&broker);
    let correlation = poller.send(12, &request.with_max_wait_ms(LONG_MS));
    Raw::connect(broker.addr()).wait_for_polls(3);
    let begun = Instant::now();
    kafka.produce("t", 0, &set);
    let response = poller.receive::<FetchRequest>(12, correlation);
    assert_eq!(fetched(&response)[0].1.len(), 2 * set.len());
    assert!(begun.elapsed() < SOON);
    // Less than nothing to wait for, and for no time.
    let request = fetch_of("t", &[(0, 2)]).with_max_wait_ms(-1).with_min_bytes(-1);
    assert_eq!(fetched(&kafka.fetch(&request))[0].0, 0);
}

#[test]
fn a_topic_that_goes_away_ends_the_polls_that_wait_on_it() {
    let broker = broker(2);
    let mut raw = Raw::connect(broker.addr());
    for n in 0..4 {
        let name = format!("t{n}");
        raw.create_topic(&name, 2, &[]);
        let mut poller = Kafka::connect(&broker);
        let request = fetch_of(&name, &[(n % 2, 0)]).with_max_wait_ms(LONG_MS);
        let correlation = poller.send(12, &request);
        raw.wait_for_polls(n as u64 + 1);
        let begun = Instant::now();
        let answer = raw.call(&DeleteTopicRequest { name, timeout_ms: 1000 });
        assert!(matches!(answer, Answer::Reply(..)), "{answer:?}");
        let response = poller.receive::<FetchRequest>(12, correlation);
        assert_eq!(fetched(&response)[0].0, 3);
        assert!(begun.elapsed() < SOON);
    }
}

/// What the i-th of many requests is, and a check of its answer.
fn mixed(kafka: &mut Kafka, n: i32) -> i32 {
    match n % 8 {
        0 => kafka.send(9, &produce_of("t", &[(n % 4, Some(batch(&[b"x"])))])),
        1 => kafka.send(12, &fetch_of("t", &[(0, 0), (1, 0), (2, 0), (3, 0)])),
        2 => kafka.send(3, &versions()),
        3 => kafka.send(12, &MetadataRequest::default().with_topics(None)),
        4 => kafka.send(6, &list_of("t", &[(0, -1), (3, -2)])),
        5 => kafka.send(4, &InitProducerIdRequest::default().with_transactional_id(None)),
        6 => kafka.send(4, &HeartbeatRequest::default()),
        _ => kafka.send(3, &FindCoordinatorRequest::default()),
    }
}

fn check_mixed(n: i32, correlation: i32, frame: bytes::Bytes) {
    match n % 8 {
        0 => {
            let response = decode::<ProduceRequest>(9, correlation, frame);
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        }
        1 => assert_eq!(fetched(&decode::<FetchRequest>(12, correlation, frame)).len(), 4),
        2 => drop(decode::<ApiVersionsRequest>(3, correlation, frame)),
        3 => drop(decode::<MetadataRequest>(12, correlation, frame)),
        4 => drop(decode::<ListOffsetsRequest>(6, correlation, frame)),
        5 => assert_eq!(decode::<InitProducerIdRequest>(4, correlation, frame).error_code, 0),
        6 => drop(decode::<HeartbeatRequest>(4, correlation, frame)),
        _ => drop(decode::<FindCoordinatorRequest>(3, correlation, frame)),
    }
}

/// What takes long stands in front; all that is ready behind it waits, and leaves in the order it came.
#[test]
fn two_hundred_requests_of_all_kinds_are_answered_in_their_order() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 4);
    kafka.create_topic("quiet", 2);
    let poll = kafka.send(12, &fetch_of("quiet", &[(0, 0), (1, 0)]).with_max_wait_ms(700));
    let begun = Instant::now();
    let sent: Vec<(i32, i32)> = (0..200).map(|n| (n, mixed(&mut kafka, n))).collect();
    assert_eq!(fetched(&kafka.receive::<FetchRequest>(12, poll)).len(), 2);
    assert!(Duration::from_millis(650) <= begun.elapsed());
    for (n, correlation) in sent {
        check_mixed(n, correlation, kafka.next_frame().expect("an answer"));
    }
}

/// More requests than may wait at once: the broker stops reading, and goes on when the first is answered.
#[test]
fn a_client_that_sends_too_far_ahead_is_read_later() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 4);
    kafka.create_topic("quiet", 1);
    let poll = kafka.send(12, &fetch_of("quiet", &[(0, 0)]).with_max_wait_ms(500));
    let sent: Vec<(i32, i32)> = (0..2000).map(|n| (n, mixed(&mut kafka, n))).collect();
    kafka.receive::<FetchRequest>(12, poll);
    for (n, correlation) in sent {
        check_mixed(n, correlation, kafka.next_frame().expect("an answer"));
    }
}

/// Its polls end with the broker, not with their time.
#[test]
fn a_broker_stops_although_clients_wait() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let request = fetch_of("t", &[(0, 0), (1, 0)]).with_max_wait_ms(LONG_MS);
    let correlation = kafka.send(12, &request);
    Raw::connect(broker.addr()).wait_for_polls(2);
    let begun = Instant::now();
    let stopping = std::thread::spawn(move || broker.stop());
    let response = kafka.receive::<FetchRequest>(12, correlation);
    assert_eq!(fetched(&response).len(), 2);
    assert!(begun.elapsed() < SOON);
    stopping.join().unwrap().unwrap();
}
