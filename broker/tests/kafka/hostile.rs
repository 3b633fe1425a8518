//! Bytes that no client of Kafka sends, while others go on working: no shard ends, nobody else notices,
//! and what is answered is an answer.
//!
//!     random bytes, mutated requests of every api and version ─▶ broker ◀─ a native and a Kafka client
//!
//! `RINGLOG_HOSTILE_SECS` makes it longer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka::Api;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, FetchRequest, GroupId,
    HeartbeatRequest, JoinGroupRequest, MetadataRequest, ProduceRequest, RequestHeader,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use protocol::model::ErrorCode;

use crate::client::{Kafka, broker, fetch_of, fetched, frame, produce_of, text, topic_name, versions};
use crate::groups::wait_for_groups;
use crate::offsets::list_of;
use crate::raw::{Answer, Raw, batch};
use crate::requests;
use crate::tape::Tape;

/// What the process may grow by: buffers of connections, and what shards promise to requests.
const GROWTH_MAX: u64 = 512 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Valid requests of every api, in every version that is served.
fn seeds(random: &mut Random) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let set = Some(batch(&[b"hostile"]));
    let produce = produce_of("hostile", &[(0, set.clone()), (1, set)]);
    let unanswered = produce.clone().with_acks(0);
    seeds.extend((3..=11).flat_map(|version| [&produce, &unanswered].map(|one| frame(version, 7, one))));
    let fetch = fetch_of("hostile", &[(0, 0), (1, 0)]).with_max_wait_ms(5);
    seeds.extend((4..=12).map(|version| frame(version, 7, &fetch)));
    seeds.extend((1..=7).map(|version| frame(version, 7, &list_of("hostile", &[(0, -1), (1, 5)]))));
    let topic = CreatableTopic::default().with_name(topic_name("hostile")).with_num_partitions(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(true);
    seeds.extend((2..=7).map(|version| frame(version, 7, &create)));
    let group = GroupId(text("hostile"));
    let join = JoinGroupRequest::default().with_group_id(group.clone()).with_session_timeout_ms(6000);
    seeds.extend((0..=9).map(|version| frame(version, 7, &join)));
    seeds.extend(
        (0..=4).map(|version| frame(version, 7, &HeartbeatRequest::default().with_group_id(group.clone()))),
    );
    let grow = CreatePartitionsTopic::default().with_name(topic_name("hostile")).with_count(3);
    let grow = CreatePartitionsRequest::default().with_topics(vec![grow]).with_validate_only(true);
    seeds.extend((0..=3).map(|version| frame(version, 7, &grow)));
    seeds.extend(any_contents(random));
    seeds.extend(every_api());
    seeds
}

/// Random contents, some of them about topics that exist. None that make partitions, or fetches that wait for
/// days: those above make few, and wait a little.
fn any_contents(random: &mut Random) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (api, version) in requests::served() {
        if matches!(api, Api::CreateTopics | Api::CreatePartitions | Api::Fetch) {
            continue;
        }
        let key = ApiKey::iter().find(|key| *key as i16 == api.key()).expect("it is one of Kafka's");
        for _ in 0..3 {
            let mut tape = Tape::new((0..400).map(|_| random.next() as u8).collect());
            frames.push(framed(key, version, &requests::random(api, version, &mut tape)));
        }
    }
    frames
}

fn framed(key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut out = bytes::BytesMut::from(&[0; 4][..]);
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(text("hostile")));
    header.encode(&mut out, key.request_header_version(version)).unwrap();
    out.extend_from_slice(body);
    let len = i32::try_from(out.len() - 4).unwrap();
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.to_vec()
}

/// A header of every api and version, and bytes that may be its body.
fn every_api() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for key in ApiKey::iter() {
        for version in 0..=14 {
            let body = b"\0\0\0\x01\0\x07hostile\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0";
            frames.push(framed(key, version, body));
        }
    }
    frames
}

/// A frame with some of its bytes changed behind its length, which stays true or does not.
fn mutated(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let mut frame = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = 4 + random.below(frame.len() - 4);
        match random.below(5) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = [0, 0xff, 0x7f, 0x80][random.below(4)],
            2 => frame.truncate(at.max(5)),
            3 => frame.insert(at, random.next() as u8),
            _ => {
                let count = [i32::MAX, -1, i32::MIN, 1 << 20, 0][random.below(5)].to_be_bytes();
                let end = (at + 4).min(frame.len());
                frame[at..end].copy_from_slice(&count[..end - at]);
            }
        }
    }
    if 0 < random.below(10) {
        let len = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&len.to_be_bytes());
    }
    frame
}

/// Sends until the time is over; each connection as long as the broker wants it.
fn attack(addr: SocketAddr, seed: u64, until: Instant, sent: &AtomicU64) {
    let mut random = Random(seed);
    let seeds = seeds(&mut random);
    while Instant::now() < until {
        let mut kafka = Kafka::to(addr);
        for _ in 0..=random.below(30) {
            let frame = match random.below(20) {
                0 => (0..random.below(300)).map(|_| random.next() as u8).collect(),
                _ => {
                    let at = random.below(seeds.len());
                    mutated(&mut random, &seeds[at])
                }
            };
            sent.fetch_add(1, Ordering::Relaxed);
            if !kafka.try_send(&frame) {
                break;
            }
        }
        // Answers to what was sent, each a whole frame; then the end, which the broker may bring about.
        kafka.shut_down_write();
        while let Some(frame) = kafka.next_frame() {
            assert!(4 <= frame.len(), "an answer has a correlation id");
        }
    }
}

/// The native protocol and Kafka's in turn, one record each; nothing is lost and nothing takes long.
fn work(native: SocketAddr, kafka: SocketAddr, done: &AtomicBool) -> u64 {
    let mut raw = Raw::connect(native);
    let topic = raw.topic_id("good");
    let mut kafka = Kafka::to(kafka);
    let mut next = 0;
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let (error, offset) = raw.produce(topic, 0, &batch(&[b"native"]));
        assert_eq!((error, offset.map(|offset| offset.get())), (ErrorCode::None, Some(next)));
        let answer = kafka.produce("good", 0, &batch(&[b"kafka"]));
        assert_eq!((answer.error_code, answer.base_offset), (0, next as i64 + 1));
        let found = fetched(&kafka.fetch(&fetch_of("good", &[(0, next as i64)])));
        assert!(found[0].0 == 0 && !found[0].1.is_empty());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        next += 2;
    }
    next
}

pub fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_storm_of_bad_requests_hurts_nobody() {
    let secs = std::env::var("RINGLOG_HOSTILE_SECS").map_or(3, |secs| secs.parse().unwrap());
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("good", 1);
    // What the tape of random contents calls its topics, too.
    for name in ["hostile", "orders", "a"] {
        kafka.create_topic(name, 2);
    }
    wait_for_groups(&mut kafka);
    let before = memory();
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(secs);
    let (native, addr) = (broker.addr(), broker.kafka_addr().unwrap());
    let (done, sent) = (&done, &sent);
    let worked = std::thread::scope(|scope| {
        let working = scope.spawn(move || work(native, addr, done));
        let attacks: Vec<_> =
            (1..=4).map(|seed| scope.spawn(move || attack(addr, seed * 0x9e37_79b9, until, sent))).collect();
        attacks.into_iter().for_each(|attack| attack.join().unwrap());
        done.store(true, Ordering::Relaxed);
        working.join().unwrap()
    });
    let (grown, sent) = (memory().saturating_sub(before), sent.load(Ordering::Relaxed));
    println!("{sent} bad requests, {worked} good records, {grown} bytes of memory more");
    assert!(100 < sent && 10 < worked);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    assert_eq!(Raw::connect(broker.addr()).stats().shards.len(), 2, "both shards are there");
}

#[test]
fn other_protocols_and_lengths_that_lie_are_turned_away() {
    let broker = broker(2);
    let tls = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat();
    let http = b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n".to_vec();
    let two_gib = [&i32::MAX.to_be_bytes()[..], b"\0\x03\0\x0c\0\0\0\x01"].concat();
    let negative = (-5i32).to_be_bytes().to_vec();
    let empty = 0i32.to_be_bytes().to_vec();
    let before = memory();
    for bytes in [tls, http, two_gib, negative, empty, vec![0; 64], vec![0xff; 64]] {
        let mut kafka = Kafka::connect(&broker);
        kafka.send_bytes(&bytes);
        assert!(kafka.is_closed(), "{bytes:?}");
    }
    assert!(memory() - before < 64 << 20);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
}

/// A request that is cut off costs its own connection, and what came before it is answered.
#[test]
fn a_stream_that_ends_amid_a_request_is_closed() {
    let broker = broker(2);
    let whole = frame(12, 1, &MetadataRequest::default().with_topics(None));
    for cut in [1, 3, 4, 5, whole.len() - 1] {
        let mut kafka = Kafka::connect(&broker);
        kafka.send_bytes(&whole);
        assert!(kafka.next_frame().is_some());
        kafka.send_bytes(&whole[..cut]);
        kafka.shut_down_write();
        assert!(kafka.is_closed());
    }
}

#[test]
fn a_version_of_the_future_is_answered_with_those_of_today() {
    let broker = broker(1);
    for version in [5, 100, i16::MAX] {
        let mut kafka = Kafka::connect(&broker);
        let header = RequestHeader::default()
            .with_request_api_key(18)
            .with_request_api_version(version)
            .with_correlation_id(9);
        let mut out = bytes::BytesMut::from(&[0; 4][..]);
        header.encode(&mut out, ApiVersionsRequest::header_version(3)).unwrap();
        out.extend_from_slice(b"what the future has");
        let len = i32::try_from(out.len() - 4).unwrap();
        out[..4].copy_from_slice(&len.to_be_bytes());
        kafka.send_bytes(&out);
        let response = kafka.receive::<ApiVersionsRequest>(0, 9);
        assert_eq!((response.error_code, response.api_keys[0].api_key), (35, 18));
        assert!(!kafka.call(3, &versions()).api_keys.is_empty(), "and it goes on");
    }
}

/// Connections that are opened and say nothing hold little, and hold nobody up.
#[test]
fn many_silent_connections_are_little_trouble() {
    let broker = broker(2);
    let before = memory();
    let mut silent: Vec<Kafka> = (0..400).map(|_| Kafka::connect(&broker)).collect();
    let whole = frame(12, 1, &MetadataRequest::default().with_topics(None));
    silent.iter_mut().step_by(2).for_each(|kafka| kafka.send_bytes(&whole[..6]));
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    assert_eq!(kafka.produce("t", 0, &batch(&[b"x"])).error_code, 0);
    assert!(memory().saturating_sub(before) < 64 << 20);
    silent.iter_mut().step_by(2).for_each(|kafka| kafka.send_bytes(&whole[6..]));
    assert!(silent.iter_mut().step_by(2).all(|kafka| kafka.next_frame().is_some()), "late, but whole");
}

/// Says nothing within a request for as long as it may. The native listener has that rule too; who says nothing
/// between its requests, or before the first one, stays.
#[test]
fn who_says_nothing_for_too_long_is_closed() {
    let broker = broker(1);
    let begun = Instant::now();
    let mut half = Kafka::connect(&broker);
    half.send_bytes(&frame(12, 1, &MetadataRequest::default().with_topics(None))[..20]);
    let mut nothing = Kafka::connect(&broker);
    let mut known = Kafka::connect(&broker);
    known.call(3, &versions());
    // Has said all it has to say, and waits for an answer that is not due yet; its buffer is large by now.
    let mut waiting = Kafka::connect(&broker);
    waiting.create_topic("t", 1);
    let (small, large) = (batch(&[&[7; 30_000]]), batch(&[&[7; 500_000]]));
    waiting.send_bytes(&frame(7, 2, &produce_of("t", &[(0, Some(large))])));
    let mut poll = fetch_of("t", &[(0, 0)]).with_max_wait_ms(36_000).with_min_bytes(40 << 20);
    poll.max_bytes = 50 << 20;
    poll.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    waiting.send_bytes(&[frame(12, 3, &poll), frame(7, 4, &produce_of("t", &[(0, Some(small))]))].concat());
    let (mut native_half, mut native) = (Raw::connect(broker.addr()), Raw::connect(broker.addr()));
    native_half.send(&[0; 3]);
    std::thread::sleep(Duration::from_secs(33).saturating_sub(begun.elapsed()));
    assert!(half.is_closed());
    let asked = Instant::now();
    assert!(matches!(native_half.answer(), Answer::Closed));
    assert!(asked.elapsed() < Duration::from_secs(5), "that was the socket's own timeout");
    known.call(3, &versions());
    nothing.call(3, &versions());
    native.stats();
    waiting.receive::<ProduceRequest>(7, 2);
    waiting.receive::<FetchRequest>(12, 3);
    waiting.receive::<ProduceRequest>(7, 4);
}
