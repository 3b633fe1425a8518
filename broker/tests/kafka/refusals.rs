//! What a produce is refused with, in Kafka's codes, and what an idempotent producer is told.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, ProduceRequest, ProducerId, TransactionalId,
};
use protocol::api::Acks;
use protocol::batch::{BatchBuilder, Codec};
use protocol::model::{ErrorCode, ProducerEpoch, ProducerId as NativeId, Sequence, Timestamp};

use ringlog_client::{Client, Offset, Record};

use crate::client::{Kafka, broker, broker_with, fetch_of, fetched, produce_of, text};
use crate::raw::{Raw, batch};

/// The batch with a byte changed, and its checksum true again.
fn changed(set: &Bytes, at: usize, byte: u8) -> Bytes {
    let mut bytes = set.to_vec();
    bytes[at] = byte;
    sealed(bytes)
}

/// The batch with a checksum that is true.
pub fn sealed(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

#[test]
fn a_bad_set_is_refused_with_kafkas_code_and_nothing_of_it_is_stored() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let good = batch(&[b"good"]);
    let mut corrupt = good.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let two = Bytes::from([&good[..], &good[..]].concat());
    let mut no_record = good.to_vec();
    no_record[62..].fill(0xff);
    let cases: [(&str, Option<Bytes>, i16); 11] = [
        ("corrupt", Some(corrupt.into()), 2),
        ("too large", Some(batch(&[&vec![1; 2 << 20]])), 10),
        ("null", None, 87),
        ("empty", Some(Bytes::new()), 87),
        ("cut off", Some(good.slice(..good.len() - 1)), 2),
        ("magic 1", Some(changed(&good, 16, 1)), 87),
        ("control", Some(changed(&good, 22, 0x20)), 87),
        ("control and transactional", Some(changed(&good, 22, 0x30)), 53),
        ("a record of ff", Some(sealed(no_record)), 87),
        ("a count that lies", Some(changed(&good, 60, 9)), 87),
        ("two batches", Some(two), 87),
    ];
    for (what, records, error) in cases {
        for partition in [0, 1] {
            let response = kafka.call(9, &produce_of("t", &[(partition, records.clone())]));
            let refused = &response.responses[0].partition_responses[0];
            assert_eq!((refused.error_code, refused.base_offset), (error, -1), "{what}");
        }
    }
    for partition in [0, 1] {
        assert_eq!(kafka.produce("t", partition, &good).base_offset, 0, "nothing of them was stored");
    }
}

#[test]
fn a_place_that_is_not_there_or_not_for_clients_is_refused() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    make_offsets_topic(&mut kafka);
    let good = batch(&[b"good"]);
    let cases = [("nope", 0, 3), ("t", 1, 3), ("t", -1, 3), ("", 0, 3), ("__consumer_offsets", 0, 17)];
    for (topic, partition, error) in cases {
        let refused = kafka.produce(topic, partition, &good);
        assert_eq!((refused.index, refused.error_code), (partition, error), "{topic} {partition}");
    }
    for acks in [7, 2, -2, i16::MAX] {
        let response = kafka.call(9, &produce_of("t", &[(0, Some(good.clone()))]).with_acks(acks));
        assert_eq!(response.responses[0].partition_responses[0].error_code, 21, "acks {acks}");
    }
    for acks in [-1, 1, 7] {
        let response = kafka.call(9, &ProduceRequest::default().with_acks(acks));
        assert!(response.responses.is_empty());
        let response = kafka.call(9, &produce_of("t", &[]).with_acks(acks));
        assert!(response.responses[0].partition_responses.is_empty());
    }
}

fn make_offsets_topic(kafka: &mut Kafka) {
    let find = kafka_protocol::messages::FindCoordinatorRequest::default().with_key(text("g"));
    while kafka.call(1, &find).error_code != 0 {}
}

/// One part is refused, the other taken: each has its own answer.
#[test]
fn parts_of_a_produce_are_judged_one_by_one() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 4);
    let good = batch(&[b"good"]);
    let sets = [(0, Some(good.clone())), (1, None), (9, Some(good.clone())), (3, Some(good))];
    let response = kafka.call(9, &produce_of("t", &sets));
    let answers: Vec<_> = response.responses[0]
        .partition_responses
        .iter()
        .map(|one| (one.index, one.error_code, one.base_offset))
        .collect();
    assert_eq!(answers, [(0, 0, 0), (1, 87, -1), (9, 3, -1), (3, 0, 0)]);
}

/// As with Kafka: a client that asked for no answer learns by the end of its connection that something was
/// wrong. The answers that it was owed before come first.
#[test]
fn a_refused_produce_without_acks_ends_its_connection() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let good = batch(&[b"good"]);
    let two = Bytes::from([&good[..], &good[..]].concat());
    let too_large = batch(&[&vec![1; 2 << 20]]);
    let cases = [
        ("nope", 0, Some(good.clone())),
        ("t", 9, Some(good.clone())),
        ("t", 0, Some(too_large.clone())),
        ("t", 1, Some(too_large)),
        ("t", 0, Some(changed(&good, 22, 0x20))),
        ("t", 1, Some(changed(&good, 22, 0x20))),
        ("t", 1, Some(two)),
        ("t", 1, None),
    ];
    for (case, (topic, partition, records)) in cases.into_iter().enumerate() {
        let mut producer = Kafka::connect(&broker);
        producer.send(12, &MetadataRequest::default().with_topics(None));
        producer.send(9, &produce_of(topic, &[(partition, records)]).with_acks(0));
        assert!(producer.next_frame().is_some(), "case {case}: the answer before it");
        assert!(producer.is_closed(), "case {case}");
    }
    let mut producer = Kafka::connect(&broker);
    let parts = [(0, Some(good.clone())), (1, Some(good.clone())), (9, Some(good.clone()))];
    producer.send(9, &produce_of("t", &parts).with_acks(0));
    assert!(producer.is_closed(), "one part of three is refused");
    for partition in [0, 1] {
        assert_eq!(kafka.produce("t", partition, &good).base_offset, 1, "the other parts are stored");
    }
    let mut producer = Kafka::connect(&broker);
    for _ in 0..20 {
        producer.send(9, &produce_of("t", &parts[..2]).with_acks(0));
    }
    let all = MetadataRequest::default().with_topics(None);
    assert!(!producer.call(12, &all).topics.is_empty(), "nothing was refused: the connection goes on");
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.topic_id("t");
    raw.send_produce(Acks::None, &[(topic, 9, &good)]);
    assert_eq!(raw.produce(topic, 0, &good).0, ErrorCode::None, "the native protocol does not tell");
}

/// KIP-110: who asks in a version from before zstd does not know what it is.
#[test]
fn zstd_is_refused_in_versions_that_are_older() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let set = |codec| {
        let mut builder = BatchBuilder::new(codec);
        builder.try_append(Timestamp::from_millis(1), None, Some(&[7; 1000]), &[]).unwrap();
        Some(builder.finish())
    };
    for version in 3..=11 {
        let sets = [(0, set(Codec::Zstd)), (1, set(Codec::Lz4)), (9, set(Codec::Zstd))];
        let response = kafka.call(version, &produce_of("t", &sets));
        let errors = response.responses[0].partition_responses.iter().map(|one| one.error_code);
        let of_zstd = if version < 7 { 76 } else { 0 };
        assert_eq!(errors.collect::<Vec<_>>(), [of_zstd, 0, 3], "version {version}");
    }
}

fn init(kafka: &mut Kafka, version: i16, id: i64, epoch: i16) -> (i16, i64, i16) {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let request = match version {
        3.. => request.with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
        _ => request,
    };
    let response = kafka.call(version, &request);
    (response.error_code, *response.producer_id, response.producer_epoch)
}

fn sequenced(id: i64, epoch: i16, sequence: i32, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..records {
        builder.try_append(Timestamp::from_millis(1), None, Some(b"x"), &[]).unwrap();
    }
    builder.set_producer(NativeId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
    builder.finish()
}

#[test]
fn an_idempotent_producer_is_told_what_kafka_tells_it() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let mut ids: Vec<i64> = (0..=4)
        .map(|version| {
            let (error, id, epoch) = init(&mut kafka, version, -1, -1);
            assert_eq!((error, epoch), (0, 0), "version {version}");
            id
        })
        .collect();
    let id = ids[0];
    ids.dedup();
    assert_eq!(ids.len(), 5, "no id is given out twice");
    for partition in [0, 1] {
        let mut send = |epoch, sequence, records| {
            let answer = kafka.produce("t", partition, &sequenced(id, epoch, sequence, records));
            (answer.error_code, answer.base_offset)
        };
        assert_eq!(send(0, 0, 3), (0, 0));
        assert_eq!(send(0, 3, 2), (0, 3));
        assert_eq!(send(0, 0, 3), (0, 0), "a duplicate has the offset it got");
        assert_eq!(send(0, 3, 2), (0, 3));
        assert_eq!(send(0, 7, 1), (45, -1), "a gap");
        assert_eq!(send(1, 5, 1), (45, -1), "a new epoch begins at 0");
        assert_eq!(send(1, 0, 1), (0, 5));
        assert_eq!(send(0, 5, 1), (47, -1), "an old epoch");
        // It wrote nothing here, or that was forgotten. Where the log begins must be told with it: else Kafka's
        // own client sends the same again.
        let unknown = kafka.produce("t", partition, &sequenced(ids[1], 0, 5, 1));
        assert_eq!((unknown.error_code, unknown.base_offset, unknown.log_start_offset), (59, -1, 0));
        let answer = kafka.produce("t", partition, &sequenced(ids[1], 1, 0, 1));
        assert_eq!((answer.error_code, answer.base_offset), (0, 6), "its next epoch");
    }
    // Without a transaction Kafka looks at neither, whosever the id is, and gives a new one.
    let mut given = std::collections::HashSet::from([id]);
    for (version, id, epoch) in [(3, id, 1), (4, id, 1), (3, i64::MAX, 0), (4, 0, i16::MAX)] {
        let (error, new, epoch) = init(&mut kafka, version, id, epoch);
        assert_eq!((error, epoch), (0, 0));
        assert!(given.insert(new), "{new} was given before");
    }
    for (id, epoch) in [(id, -1), (-1, 0)] {
        assert_eq!(init(&mut kafka, 4, id, epoch), (42, -1, -1), "one without the other");
    }
    assert_eq!(fetched(&kafka.fetch(&fetch_of("t", &[(0, 5)])))[0].0, 0);
}

/// A batch with a gap tells which of the two it is, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_was_silent_too_long_goes_on_in_its_next_epoch() {
    let broker = broker_with(2, |config| config.topic_defaults.config.producer_expiration_ms = 1000);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    let native = client.producer().build().unwrap();
    let record = || Record::to("t").partition(0).value("native");
    for offset in [0, 1] {
        let delivery = native.send(record()).await.unwrap();
        assert_eq!(delivery.offset, Some(Offset::new(offset)));
    }
    let (_, id, _) = init(&mut kafka, 4, -1, -1);
    assert_eq!(kafka.produce("t", 0, &sequenced(id, 0, 0, 1)).base_offset, 2);
    let begun = Instant::now();
    let gap = sequenced(id, 0, 9, 1);
    while kafka.produce("t", 0, &gap).error_code == 45 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is forgotten");
        std::thread::sleep(Duration::from_millis(50));
    }
    let forgotten = kafka.produce("t", 0, &sequenced(id, 0, 1, 1));
    assert_eq!((forgotten.error_code, forgotten.log_start_offset), (59, 0));
    // As Java's client, which begins an epoch by itself; librdkafka asks for a new id.
    assert_eq!(kafka.produce("t", 0, &sequenced(id, 1, 0, 1)).base_offset, 3);
    let delivery = native.send(record()).await.expect("ours does so by itself");
    assert_eq!(delivery.offset, Some(Offset::new(4)));
}

/// There is nobody who would commit or abort them; those beside them are taken.
#[test]
fn records_of_a_transaction_are_refused() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let (_, id, _) = init(&mut kafka, 4, -1, -1);
    let good = batch(&[b"good"]);
    let of_transaction = changed(&sequenced(id, 0, 0, 1), 22, 0x10);
    let errors = |kafka: &mut Kafka, version, request: &ProduceRequest| -> Vec<i16> {
        let response = kafka.call(version, request);
        response.responses[0].partition_responses.iter().map(|one| one.error_code).collect()
    };
    for version in 3..=11 {
        let sets = [(0, Some(of_transaction.clone())), (1, Some(good.clone())), (9, Some(good.clone()))];
        assert_eq!(errors(&mut kafka, version, &produce_of("t", &sets)), [53, 0, 3], "version {version}");
        let sets = [(0, Some(good.clone())), (1, Some(of_transaction.clone()))];
        let request = produce_of("t", &sets).with_transactional_id(Some(TransactionalId(text("tx"))));
        assert_eq!(errors(&mut kafka, version, &request), [53, 53], "version {version}");
    }
    assert_eq!(kafka.produce("t", 0, &good).base_offset, 0, "nothing of them was stored");
    assert_eq!(kafka.produce("t", 1, &good).base_offset, 9);
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.topic_id("t");
    assert_eq!(raw.produce(topic, 0, &of_transaction), (ErrorCode::InvalidRecord, None));
    kafka.send(9, &produce_of("t", &[(0, Some(of_transaction))]).with_acks(0));
    assert!(kafka.is_closed(), "without acks, the connection ends");
}

/// Neither retried for a minute nor taken for a missing coordinator: the application learns at once.
#[test]
fn transactions_are_refused_for_good() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    for version in 0..=4 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text("tx"))))
            .with_transaction_timeout_ms(1000);
        let refused = kafka.call(version, &request);
        assert_eq!((refused.error_code, *refused.producer_id, refused.producer_epoch), (53, -1, -1));
    }
    for version in 1..=4 {
        let request = kafka_protocol::messages::FindCoordinatorRequest::default().with_key_type(1);
        let (error, node) = match version {
            4 => {
                let response = kafka.call(version, &request.with_coordinator_keys(vec![text("tx")]));
                (response.coordinators[0].error_code, response.coordinators[0].node_id)
            }
            _ => {
                let response = kafka.call(version, &request.with_key(text("tx")));
                (response.error_code, response.node_id)
            }
        };
        assert_eq!((error, *node), (53, -1), "version {version}");
    }
}
