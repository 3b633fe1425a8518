//! What a broker answers to what it should never get: a typed error, and everybody else goes on.

mod raw;

use std::time::{Duration, Instant};

use broker::EmbeddedBroker;
use protocol::api::{Acks, Api, DeleteTopicReply, DeleteTopicRequest, FetchParams, Message, VERSION};
use protocol::batch::{BatchBuilder, Codec};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{CorrelationId, ErrorCode, Offset, Timestamp, TopicId};
use raw::{Answer, Raw, batch, scratch};

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.hello_timeout = Duration::from_millis(500);
        config
    })
    .unwrap()
}

/// The connection still works: it can create a topic, produce to it and fetch from it.
fn check_works(raw: &mut Raw, name: &str) {
    let topic = raw.create_topic(name, 1, &[]);
    assert_eq!(topic.error, ErrorCode::None, "{}", topic.message);
    assert_eq!(raw.produce(topic.id, 0, &batch(&[b"good"])), (ErrorCode::None, Some(Offset::ZERO)));
}

fn header(api: Api, version: u8, kind: FrameKind, body_len: u32) -> [u8; FRAME_HEADER_LEN] {
    FrameHeader { body_len, api, version, kind, correlation: CorrelationId::new(77) }.to_bytes()
}

#[track_caller]
fn refused(answer: Answer, expected: ErrorCode) {
    match answer {
        Answer::Refused(error, message) => {
            assert_eq!(error, expected, "{message}");
            assert!(!message.is_empty());
        }
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_before_its_first_byte() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    raw.send(&header(Api::Produce, VERSION, FrameKind::Request, FRAME_BODY_BYTES_MAX as u32 + 1));
    refused(raw.answer(), ErrorCode::FrameTooLarge);
    assert!(matches!(raw.answer(), Answer::Closed));
    // Two gigabytes announced by a peer that has not even said Hello.
    let mut raw = Raw::silent(broker.addr());
    raw.send(&header(Api::Hello, VERSION, FrameKind::Request, 2_000_000_000));
    refused(raw.answer(), ErrorCode::FrameTooLarge);
    check_works(&mut Raw::connect(broker.addr()), "after");
}

#[test]
fn other_protocols_are_turned_away() {
    let broker = broker();
    let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 9, 9, 9, 9, 9, 9, 9];
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &tls] {
        let mut raw = Raw::silent(broker.addr());
        raw.send(bytes);
        refused(raw.answer(), ErrorCode::FrameTooLarge);
        assert!(matches!(raw.answer(), Answer::Closed));
    }
    let mut raw = Raw::silent(broker.addr());
    let mut frame = header(Api::Hello, VERSION, FrameKind::Request, 8).to_vec();
    frame.extend_from_slice(b"NOPE\x01\x01\xff\xff");
    raw.send(&frame);
    refused(raw.answer(), ErrorCode::InvalidRequest);
    // Requests before a Hello, and peers that say nothing at all.
    let mut raw = Raw::silent(broker.addr());
    raw.request(Api::Stats, VERSION, &[]);
    refused(raw.answer(), ErrorCode::InvalidRequest);
    let begun = Instant::now();
    assert!(matches!(Raw::silent(broker.addr()).answer(), Answer::Closed));
    assert!(begun.elapsed() < Duration::from_secs(5), "a silent peer is let go");
    check_works(&mut Raw::connect(broker.addr()), "after");
}

#[test]
fn requests_that_make_no_sense_are_answered_and_the_connection_goes_on() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    raw.request(Api::from_wire(999), VERSION, b"whatever");
    refused(raw.answer(), ErrorCode::UnknownApi);
    raw.request(Api::Produce, 9, b"");
    refused(raw.answer(), ErrorCode::UnsupportedVersion);
    raw.request(Api::Hello, VERSION, b"");
    refused(raw.answer(), ErrorCode::InvalidRequest);
    let topics = [Api::Metadata, Api::CreateTopic, Api::CreatePartitions, Api::AlterTopic, Api::DeleteTopic];
    for api in topics.into_iter().chain([Api::Produce, Api::Fetch, Api::ListOffsets]) {
        raw.request(api, VERSION, &[0xff; 3]);
        refused(raw.answer(), ErrorCode::InvalidRequest);
        raw.request(api, VERSION, &[0xff; 200]);
        refused(raw.answer(), ErrorCode::InvalidRequest);
    }
    raw.send(&header(Api::Stats, VERSION, FrameKind::Reply, 0));
    refused(raw.answer(), ErrorCode::InvalidRequest);
    check_works(&mut raw, "after");
}

#[test]
fn a_truncated_frame_harms_nobody() {
    let broker = broker();
    let mut half = Raw::connect(broker.addr());
    half.send(&header(Api::Produce, VERSION, FrameKind::Request, 1 << 20));
    half.send(&[0; 1000]);
    let mut other = Raw::connect(broker.addr());
    check_works(&mut other, "meanwhile");
    drop(half);
    check_works(&mut other, "after");
}

#[test]
fn bad_batches_are_refused_and_take_no_offset() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[("max.message.bytes", "2000")]).id;
    let good = batch(&[b"one", b"two"]);
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        bytes
    };
    let with_crc = |mut bytes: Vec<u8>| {
        let crc = crc32c_of(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let last = good.len() - 1;
    let twice: Vec<u8> = [&good[..], &changed(last, 0xff)].concat();
    let cases: [(&str, Vec<u8>, ErrorCode); 9] = [
        ("wrong CRC", changed(last, 0xff), ErrorCode::CorruptMessage),
        ("a count that lies", with_crc(counts(&good, 9)), ErrorCode::InvalidRecord),
        ("wrong magic", changed(16, 1), ErrorCode::InvalidRecord),
        ("cut off", good[..good.len() - 1].to_vec(), ErrorCode::CorruptMessage),
        ("not a batch", vec![0xab; 100], ErrorCode::CorruptMessage),
        ("nothing", Vec::new(), ErrorCode::InvalidRecord),
        ("a control batch", with_crc(changed(22, 0x20)), ErrorCode::InvalidRecord),
        ("over max.message.bytes", batch(&[&[7; 3000]]).to_vec(), ErrorCode::MessageTooLarge),
        ("a good batch before a bad one", twice, ErrorCode::CorruptMessage),
    ];
    for (what, set, expected) in cases {
        assert_eq!(raw.produce(topic, 0, &set), (expected, None), "{what}");
    }
    assert_eq!(raw.produce(topic, 0, &good), (ErrorCode::None, Some(Offset::ZERO)));
}

/// The batch with another record count, and a last offset delta to match.
fn counts(batch: &[u8], count: u32) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes
}

/// CRC-32C bit by bit: an opinion of its own.
fn crc32c_of(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

#[test]
fn unknown_places_and_offsets_have_their_codes() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 2, &[]).id;
    let nowhere = TopicId::from_bytes([9; 16]);
    assert_eq!(raw.produce(nowhere, 0, &batch(&[b"x"])).0, ErrorCode::UnknownTopicId);
    assert_eq!(raw.produce(topic, 5, &batch(&[b"x"])).0, ErrorCode::UnknownTopicOrPartition);
    for partition in [0, 1] {
        assert_eq!(raw.produce(topic, partition, &batch(&[b"x"])).0, ErrorCode::None);
    }
    let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
    raw.send_fetch(params, &[(topic, 0, 2), (nowhere, 0, 0), (topic, 7, 0), (topic, 1, 0)]);
    let reply = raw.fetched();
    let errors: Vec<ErrorCode> = reply.partitions.iter().map(|partition| partition.result.error).collect();
    let expected = [
        ErrorCode::OffsetOutOfRange,
        ErrorCode::UnknownTopicId,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::None,
    ];
    assert_eq!(errors, expected);
    assert_eq!(
        reply.partitions[0].result.high_watermark,
        Some(Offset::new(1)),
        "the error says what there is"
    );
    assert!(!reply.partitions[3].records.is_empty());
    raw.send_fetch(params, &[(topic, 0, 0), (topic, 1, 0), (topic, 0, 1)]);
    let answer = raw.answer();
    assert!(matches!(answer, Answer::Refused(ErrorCode::InvalidRequest, _)), "named twice: {answer:?}");
}

#[test]
fn records_that_a_topic_does_not_take_are_refused() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let of = |time: i64, key: Option<&[u8]>, codec| {
        let mut builder = BatchBuilder::new(codec);
        builder.try_append(Timestamp::from_millis(time), key, Some(b"x"), &[]).unwrap();
        builder.finish()
    };
    let plain = |time| of(time, None, Codec::None);
    let limits = [("message.timestamp.after.max.ms", "60000"), ("message.timestamp.before.max.ms", "60000")];
    let strict = raw.create_topic("strict", 1, &limits).id;
    for (time, code) in [
        (now, ErrorCode::None),
        (-1, ErrorCode::None), // no time at all
        (now - 3_600_000, ErrorCode::InvalidTimestamp),
        (now + 3_600_000, ErrorCode::InvalidTimestamp),
    ] {
        assert_eq!(raw.produce(strict, 0, &plain(time)).0, code, "{} ms from now", time - now);
    }
    let compacted = raw.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).id;
    for codec in [Codec::None, Codec::Lz4] {
        assert_eq!(raw.produce(compacted, 0, &of(now, Some(b"k"), codec)).0, ErrorCode::None);
        assert_eq!(raw.produce(compacted, 0, &of(now, None, codec)).0, ErrorCode::InvalidRecord);
    }
}

#[test]
fn bad_topics_are_not_made() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    for name in ["../x", "", "a/b", ".", "..", &"x".repeat(250)] {
        assert_eq!(raw.create_topic(name, 1, &[]).error, ErrorCode::InvalidTopic, "{name:?}");
    }
    assert_eq!(raw.create_topic("t", 1, &[]).error, ErrorCode::None);
    assert_eq!(raw.create_topic("t", 1, &[]).error, ErrorCode::TopicAlreadyExists);
    assert_eq!(raw.create_topic("u", 1_000_000, &[]).error, ErrorCode::InvalidPartitions);
    let unknown = raw.create_topic("u", 1, &[("segment.byte", "1")]);
    assert_eq!(unknown.error, ErrorCode::InvalidConfig);
    assert!(unknown.message.contains("segment.bytes"), "names the nearest key: {}", unknown.message);
    let gone = DeleteTopicRequest { name: "nothing".to_owned(), timeout_ms: 1000 };
    let Answer::Reply(_, body) = raw.call(&gone) else { panic!("an answer was expected") };
    assert!(
        DeleteTopicReply::read(&body).is_ok_and(|reply| reply.error == ErrorCode::UnknownTopicOrPartition)
    );
}

#[test]
fn a_deleted_topic_is_gone_with_its_files_and_its_waiters() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[]).id;
    assert_eq!(raw.produce(topic, 0, &batch(&[b"x"])).0, ErrorCode::None);
    let dir = broker.data_dir().join("topics").join(topic.to_string());
    assert!(dir.is_dir());
    let mut waiting = Raw::connect(broker.addr());
    waiting.send_fetch(FetchParams { max_wait_ms: 20_000, min_bytes: 1, max_bytes: 1000 }, &[(topic, 0, 1)]);
    let delete = DeleteTopicRequest { name: "t".to_owned(), timeout_ms: 1000 };
    let begun = Instant::now();
    assert!(matches!(raw.call(&delete), Answer::Reply(..)));
    assert!(!waiting.fetched().partitions[0].result.error.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(10), "a waiter is told at once");
    while dir.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the files go in the background");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(raw.produce(topic, 0, &batch(&[b"x"])).0, ErrorCode::UnknownTopicId);
    let again = raw.create_topic("t", 1, &[]).id;
    assert_ne!(again, topic);
    assert_eq!(raw.produce(again, 0, &batch(&[b"x"])), (ErrorCode::None, Some(Offset::ZERO)));
}

#[test]
fn a_long_poll_is_answered_by_a_produce_and_by_its_deadline() {
    let broker = broker();
    let (mut producer, mut poller) = (Raw::connect(broker.addr()), Raw::connect(broker.addr()));
    let topic = producer.create_topic("t", 1, &[]).id;
    let params = FetchParams { max_wait_ms: 10_000, min_bytes: 1, max_bytes: 1 << 20 };
    poller.send_fetch(params, &[(topic, 0, 0)]);
    producer.wait_for_polls(1);
    let begun = Instant::now();
    producer.send_produce(Acks::None, &[(topic, 0, &batch(&[b"x"]))]);
    assert!(!poller.fetched().partitions[0].records.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5));
    let begun = Instant::now();
    poller.send_fetch(FetchParams { max_wait_ms: 200, ..params }, &[(topic, 0, 1)]);
    assert!(poller.fetched().partitions[0].records.is_empty());
    assert!(Duration::from_millis(190) <= begun.elapsed());
}
