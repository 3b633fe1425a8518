//! Records: every codec and level of acks, keys, headers, timestamps; what is refused.

use std::collections::BTreeSet;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::client::{
    assert_refused, consumer, errors_of_a_client, kafka, read, read_from, read_values, send, take, try_send,
};
use crate::harness::*;
use crate::{Feature, feature};

pub fn features() -> Vec<Feature> {
    let mut features: Vec<Feature> = CODECS
        .iter()
        .map(|codec| feature(format!("codec {codec}, acks 1 and all"), || check_codec(codec)))
        .collect();
    features.extend([
        feature("acks 0, with every codec", acks_0),
        feature("keys and tombstones", keys_and_tombstones),
        feature("headers", headers),
        feature("timestamps", timestamps),
        feature("idempotent producer, 5 in flight", idempotent_producer),
        feature("isolation.level=read_committed", read_committed),
        feature("message too large", message_too_large),
        feature("auth is not asked for, and SASL refused in words", no_auth),
        feature("unknown topic", unknown_topic),
        feature("unknown topic is created (kafka.auto_create_topics)", auto_create),
        feature("reads what ringlog produces", reads_native),
    ]);
    features
}

fn check_codec(codec: &str) {
    let (name, mut sent) = (topic(1, &[]), Vec::new());
    for acks in ["1", "all"] {
        let batch = compressible(20, &format!("acks={acks} "));
        send(&name, &records(&batch), &[("acks", acks), ("compression.type", codec)]);
        sent.extend(batch);
        assert_eq!(read_values(&name, sent.len()), sent);
    }
    assert_eq!(stored_codecs(&name), BTreeSet::from([codec.to_owned()]));
    assert_eq!(native_values(&name), sent);
}

fn acks_0() {
    let (name, mut sent) = (topic(1, &[]), Vec::new());
    for codec in CODECS {
        let batch = compressible(20, codec);
        send(&name, &records(&batch), &[("acks", "0"), ("compression.type", codec)]);
        sent.extend(batch);
        assert_eq!(read_values(&name, sent.len()), sent);
    }
    assert_eq!(native_values(&name), sent);
}

fn keys_and_tombstones() {
    let name = topic(1, &[]);
    let every = every_byte();
    let record = |key: Option<&[u8]>, value: Option<&[u8]>| Record {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        ..Record::default()
    };
    let sent = [
        record(Some(b"k"), Some(b"v")),
        record(None, Some(b"v")),
        record(Some(b""), Some(b"")),
        record(Some(b"k"), None),
        record(Some(&every), Some(&every)),
    ];
    send(&name, &sent, &[]);
    for found in [read(&name, sent.len(), &[]), native_records(&name)] {
        let found: Vec<Record> = found.into_iter().map(|found| Record { timestamp: None, ..found }).collect();
        assert_eq!(found, sent);
    }
}

fn headers() {
    let name = topic(1, &[]);
    let header = |key: &str, value: Option<&[u8]>| (key.to_owned(), value.map(<[u8]>::to_vec));
    let wanted = vec![
        header("again", Some(b"1")),
        header("other", Some(b"")),
        header("again", Some(b"2")),
        header("null", None),
        header("bytes", Some(&every_byte())),
    ];
    send(&name, &[Record { headers: wanted.clone(), ..Record::of("v") }], &[]);
    assert_eq!(read(&name, 1, &[])[0].headers, wanted);
    assert_eq!(native_records(&name)[0].headers, wanted);
}

fn timestamps() {
    let name = topic(1, &[]);
    let wanted = [1_700_000_000_123, 1_700_000_000_001, 1_600_000_000_999].map(Some);
    let sent = wanted.map(|timestamp| Record { timestamp, ..Record::of("v") });
    send(&name, &sent, &[]);
    let timestamps = |records: Vec<Record>| records.iter().map(|record| record.timestamp).collect::<Vec<_>>();
    assert_eq!(timestamps(read(&name, 3, &[])), wanted);
    assert_eq!(timestamps(native_records(&name)), wanted);
}

fn idempotent_producer() {
    let name = topic(1, &[]);
    let sent = numbers(0..5000);
    let settings = [("enable.idempotence", "true"), ("max.in.flight", "5"), ("batch.num.messages", "20")];
    send(&name, &records(&sent), &settings);
    assert_eq!(read_values(&name, sent.len()), sent);
    assert_eq!(native_values(&name), sent);
    let batches = stored_batches(&name);
    assert!(50 < batches.len(), "{} batches", batches.len());
    let has_producer = |batch: &serde_json::Value| batch["producer_id"].as_i64().is_some_and(|id| 0 <= id);
    assert!(batches.iter().all(has_producer), "{}", batches[0]);
}

fn read_committed() {
    let name = topic(1, &[]);
    send(&name, &records(&["1", "2"]), &[]);
    let found = read(&name, 2, &[("isolation.level", "read_committed")]);
    assert_eq!(values(&found), numbers(1..3));
}

fn message_too_large() {
    let name = topic(1, &[("max.message.bytes", "2000")]);
    let refused = try_send(&kafka(), &name, 0, &[Record::of("x".repeat(5000))], &[]);
    assert_refused(refused, RDKafkaErrorCode::MessageSizeTooLarge);
    send(&name, &records(&["small"]), &[]);
    assert_eq!(native_values(&name), [b"small"]);
}

fn no_auth() {
    let sasl = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "me"),
        ("sasl.password", "mine"),
    ];
    let told = errors_of_a_client(&sasl);
    let is_auth = |error: &&(KafkaError, String)| {
        error.0.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication)
    };
    let why = &told.iter().find(is_auth).unwrap_or_else(|| panic!("{told:?}")).1;
    assert!(why.contains("SASL Handshake not supported by broker"), "{why}");
    assert!(errors_of_a_client(&[("security.protocol", "PLAINTEXT")]).is_empty());
}

fn unknown_topic() {
    let name = unused_name("missing");
    let soon = [("topic.metadata.propagation.max.ms", "500")];
    let refused = try_send(&kafka(), &name, 0, &records(&["x"]), &soon);
    // The second is told of what waited until the client knew.
    let code = refused.as_ref().err().and_then(KafkaError::rdkafka_error_code);
    let is_named =
        matches!(code, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic));
    assert!(is_named, "{refused:?}");
    let reader = consumer(&unused_name("group"), &soon);
    reader.subscribe(&[&name]).expect("a name can be subscribed to");
    assert_refused(take(&reader, 1), RDKafkaErrorCode::UnknownTopicOrPartition);
    drop(reader);
    assert!(!topic_exists(&name));
}

fn auto_create() {
    let (name, other) = (unused_name("made"), env("KAFKA_AUTO_CREATE_BOOTSTRAP"));
    try_send(&other, &name, 0, &records(&["x"]), &[]).expect("the topic is made");
    assert_eq!(values(&read_from(&other, &name, 1, &[])), [b"x"]);
}

fn reads_native() {
    let (name, mut sent) = (topic(1, &[]), Vec::new());
    for codec in CODECS {
        let batch = [vec![every_byte()], compressible(20, codec)].concat();
        let lines: Vec<u8> =
            batch.iter().flat_map(|value| [b"key=", value.as_slice(), b"\n"].concat()).collect();
        let compression = format!("--compression={codec}");
        let arguments = ["produce", &name, "--key-separator==", "--header=h=1", "--header=h=2", &compression];
        ringlog(&arguments, &lines);
        sent.extend(batch);
    }
    let found = read(&name, sent.len(), &[]);
    assert_eq!(values(&found), sent);
    let wanted = ["1", "2"].map(|value| ("h".to_owned(), Some(value.into())));
    for record in found {
        assert_eq!((record.key.as_deref(), record.headers.as_slice()), (Some(&b"key"[..]), &wanted[..]));
    }
    assert_eq!(stored_codecs(&name), CODECS.map(str::to_owned).into());
}
