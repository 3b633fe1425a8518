//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords: where logs begin and end, and in which epoch.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, FindCoordinatorRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};
use protocol::api::{
    DeleteRecordsEntry, DeleteRecordsReply, DeleteRecordsRequest as NativeRequest, ListOffsetsEntry,
    ListOffsetsReply, ListOffsetsRequest as NativeListOffsets, Message, OffsetSpec,
};
use protocol::batch::{BatchBuilder, Codec, stamp_max_timestamp};
use protocol::model::{ErrorCode, PartitionIndex, Timestamp};

use crate::client::{Kafka, broker, broker_with, fetch_of, fetched, text, topic_name};
use crate::raw::{Answer, Raw};
use crate::refusals::sealed;

pub fn list_of(topic: &str, at: &[(i32, i64)]) -> ListOffsetsRequest {
    let partition = |(index, timestamp): &(i32, i64)| {
        ListOffsetsPartition::default().with_partition_index(*index).with_timestamp(*timestamp)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(at.iter().map(partition).collect());
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

/// Error, offset and timestamp of each partition; one that is asked about more than once is asked about in
/// more than one request.
fn list(kafka: &mut Kafka, version: i16, at: &[(i32, i64)]) -> Vec<(i16, i64, i64)> {
    let is_new = |place: usize| at[..place].iter().all(|(index, _)| *index != at[place].0);
    let new = (0..at.len()).take_while(|place| is_new(*place)).count();
    let (first, rest) = at.split_at(new);
    let mut found = list_at_once(kafka, version, first);
    if !rest.is_empty() {
        found.extend(list(kafka, version, rest));
    }
    found
}

fn list_at_once(kafka: &mut Kafka, version: i16, at: &[(i32, i64)]) -> Vec<(i16, i64, i64)> {
    let response = kafka.call(version, &list_of("t", at));
    let partitions = &response.topics[0].partitions;
    assert!(partitions.iter().zip(at).all(|(one, (index, _))| one.partition_index == *index));
    partitions.iter().map(|one| (one.error_code, one.offset, one.timestamp)).collect()
}

/// Puts one batch with records of these times in.
fn produce_at(kafka: &mut Kafka, partition: i32, times: &[i64]) {
    let mut builder = BatchBuilder::new(Codec::None);
    for time in times {
        builder.try_append(Timestamp::from_millis(*time), None, Some(b"x"), &[]).unwrap();
    }
    assert_eq!(kafka.produce("t", partition, &builder.finish()).error_code, 0);
}

fn delete_records(kafka: &mut Kafka, version: i16, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let one = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let of = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![one]);
    let request = DeleteRecordsRequest::default().with_topics(vec![of]).with_timeout_ms(1000);
    let response = kafka.call(version, &request);
    let one = &response.topics[0].partitions[0];
    (one.error_code, one.low_watermark)
}

/// As Sarama sent them for years: Kafka's broker writes the largest timestamp into each batch itself.
#[test]
fn times_are_found_in_batches_that_leave_out_their_largest() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 5);
    for (partition, codec) in (0..).zip(Codec::ALL) {
        let mut builder = BatchBuilder::new(codec);
        for time in [100, 300, 200] {
            builder.try_append(Timestamp::from_millis(time), None, Some(b"x"), &[]).unwrap();
        }
        let said = builder.finish();
        let mut unsaid = said.to_vec();
        stamp_max_timestamp(&mut unsaid, Timestamp::NONE);
        assert_eq!(kafka.produce("t", partition, &unsaid.into()).error_code, 0, "{codec}");
        let found = [150, 301, MAX].map(|time| list(&mut kafka, 7, &[(partition, time)])[0]);
        assert_eq!(found, [(0, 1, 300), (0, -1, -1), (0, 1, 300)], "{codec}");
        let stored = &fetched(&kafka.fetch(&fetch_of("t", &[(partition, 0)])))[0].1;
        assert_eq!(stored[16..], said[16..], "{codec}: all that is the producer's");
    }
}

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX: i64 = -3;

#[test]
fn offsets_are_listed_by_place_and_by_time_in_every_version() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    assert_eq!(list(&mut kafka, 7, &[(0, LATEST), (1, EARLIEST)]), [(0, 0, -1), (0, 0, -1)]);
    assert_eq!(list(&mut kafka, 7, &[(0, MAX), (1, 5)]), [(0, -1, -1), (0, -1, -1)], "nothing is there");
    for partition in [0, 1] {
        produce_at(&mut kafka, partition, &[1000, 3000]);
        produce_at(&mut kafka, partition, &[2000]);
    }
    for version in 1..=7 {
        let at = [(1, LATEST), (0, EARLIEST), (1, 1000), (0, 1001), (1, 0), (0, 3001)];
        let expected = [(0, 3, -1), (0, 0, -1), (0, 0, 1000), (0, 1, 3000), (0, 0, 1000), (0, -1, -1)];
        assert_eq!(list(&mut kafka, version, &at), expected, "version {version}");
    }
    assert_eq!(list(&mut kafka, 7, &[(0, MAX), (1, MAX)]), [(0, 1, 3000), (0, 1, 3000)]);
    // Kafka's answer to a time that has no meaning in the version.
    assert_eq!(list(&mut kafka, 6, &[(0, MAX)]), [(35, -1, -1)]);
    assert_eq!(list(&mut kafka, 7, &[(0, -4), (1, i64::MIN)]), [(35, -1, -1), (35, -1, -1)]);
    let response = kafka.call(7, &list_of("nope", &[(0, LATEST)]));
    assert_eq!(response.topics[0].partitions[0].error_code, 3);
    assert_eq!(
        list(&mut kafka, 7, &[(2, LATEST), (-1, EARLIEST), (0, LATEST)]),
        [(3, -1, -1), (3, -1, -1), (0, 3, -1)]
    );
}

/// As with Kafka, which answers 42 to each copy; here it also spares taking the same batch apart once for
/// each.
#[test]
fn a_partition_that_is_named_twice_is_refused_and_the_others_are_not() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 3);
    (0..3).for_each(|partition| produce_at(&mut kafka, partition, &[1000]));
    let twice = (42, -1, -1);
    for version in 1..=7 {
        let at = [(0, 5), (1, 5), (0, LATEST), (2, LATEST), (0, 5), (9, 5)];
        let expected = [twice, (0, 0, 1000), twice, (0, 1, -1), twice, (3, -1, -1)];
        assert_eq!(list_at_once(&mut kafka, version, &at), expected, "version {version}");
    }
    // Also if the topic is named twice, and not its partition.
    let mut request = list_of("t", &[(0, 5), (1, 5)]);
    request.topics.extend(list_of("t", &[(1, LATEST)]).topics);
    let response = kafka.call(7, &request);
    let errors = response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
    assert_eq!(errors.collect::<Vec<_>>(), [0, 42, 42]);

    let mut raw = Raw::connect(broker.addr());
    let topic = raw.topic_id("t");
    let entry = |partition, spec| {
        let partition = PartitionIndex::new(partition);
        ListOffsetsEntry { topic, partition, leader_epoch: None, spec }
    };
    let partitions = [0, 1, 0].map(|partition| entry(partition, OffsetSpec::MaxTimestamp)).to_vec();
    let answer = raw.call(&NativeListOffsets { partitions });
    let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
    let reply = ListOffsetsReply::read(&body).unwrap();
    let errors: Vec<_> = reply.partitions.iter().map(|one| one.error).collect();
    assert_eq!(errors, [ErrorCode::InvalidRequest, ErrorCode::None, ErrorCode::InvalidRequest]);
}

/// A batch whose compressed records are not records is its producer's business; a time is found behind it, and
/// in it by what its header says.
#[test]
fn a_time_is_found_in_and_behind_a_batch_that_nobody_can_unpack() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    for partition in [0, 1] {
        produce_at(&mut kafka, partition, &[1000]);
        let mut builder = BatchBuilder::new(Codec::Lz4);
        for time in [2000, 3000] {
            builder.try_append(Timestamp::from_millis(time), None, Some(&[7; 100]), &[]).unwrap();
        }
        let mut bad = builder.finish().to_vec();
        bad[61..].fill(0xff);
        assert_eq!(kafka.produce("t", partition, &sealed(bad)).error_code, 0, "it is not looked into");
        produce_at(&mut kafka, partition, &[4000]);
        let at = [500, 1000, 1001, 2000, 3000, 3001, 4000, 4001, MAX].map(|time| (partition, time));
        let in_it = (0, 1, 3000);
        let behind = (0, 3, 4000);
        let expected = [(0, 0, 1000), (0, 0, 1000), in_it, in_it, in_it, behind, behind, (0, -1, -1), behind];
        assert_eq!(list(&mut kafka, 7, &at), expected);
        assert_eq!(delete_records(&mut kafka, 2, "t", partition, 2), (0, 2));
        assert_eq!(list(&mut kafka, 7, &[(partition, 0)]), [(0, 2, 3000)], "of what is left of it");
    }
}

#[test]
fn deleted_records_are_gone_for_every_question() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    for (version, partition) in [(0, 0), (2, 1)] {
        produce_at(&mut kafka, partition, &[3000]);
        produce_at(&mut kafka, partition, &[1000, 2000]);
        assert_eq!(delete_records(&mut kafka, version, "t", partition, 4), (1, -1), "beyond the end");
        assert_eq!(delete_records(&mut kafka, version, "t", partition, -2), (1, -1));
        assert_eq!(delete_records(&mut kafka, version, "t", partition, 2), (0, 2));
        let found = list(&mut kafka, 7, &[(partition, EARLIEST), (partition, 0), (partition, MAX)]);
        assert_eq!(found, [(0, 2, -1), (0, 2, 2000), (0, 2, 2000)], "the newest of what is left");
        let fetch =
            |kafka: &mut Kafka, from| fetched(&kafka.fetch(&fetch_of("t", &[(partition, from)])))[0].0;
        assert_eq!((fetch(&mut kafka, 1), fetch(&mut kafka, 2)), (1, 0));
        assert_eq!(delete_records(&mut kafka, version, "t", partition, 1), (0, 2), "deleted before");
        assert_eq!(delete_records(&mut kafka, version, "t", partition, -1), (0, 3), "all there is");
        let found = list(&mut kafka, 7, &[(partition, EARLIEST), (partition, LATEST), (partition, MAX)]);
        assert_eq!(found, [(0, 3, -1), (0, 3, -1), (0, -1, -1)]);
    }
    assert_eq!(delete_records(&mut kafka, 1, "nope", 0, 0).0, 3);
    assert_eq!(delete_records(&mut kafka, 1, "t", 7, 0).0, 3);
}

/// Records are deleted where nothing else decides which are kept.
#[test]
fn what_is_compacted_or_the_brokers_own_is_not_deleted_from() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let find = FindCoordinatorRequest::default().with_key(text("g"));
    while kafka.call(1, &find).error_code != 0 {}
    let mut raw = Raw::connect(broker.addr());
    raw.create_topic("compacted", 2, &[("cleanup.policy", "compact")]);
    raw.create_topic("both", 2, &[("cleanup.policy", "compact,delete")]);
    let offsets = raw.topic_id("__consumer_offsets");
    for partition in 0..2 {
        // Its shard may be about to open the partition.
        while delete_records(&mut kafka, 2, "__consumer_offsets", partition, 0).0 == 3 {}
        for before in [-1, 0] {
            let mut delete = |topic| delete_records(&mut kafka, 2, topic, partition, before);
            assert_eq!(delete("__consumer_offsets"), (17, -1), "partition {partition}");
            assert_eq!(delete("compacted"), (44, -1), "partition {partition}");
            assert_eq!(delete("both"), (0, 0), "partition {partition}");
        }
        let entry = DeleteRecordsEntry {
            topic: offsets,
            partition: PartitionIndex::new(partition as u32),
            before: None,
        };
        let answer = raw.call(&NativeRequest { timeout_ms: 5000, partitions: vec![entry] });
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        let reply = DeleteRecordsReply::read(&body).unwrap();
        assert_eq!(reply.partitions[0].error, ErrorCode::InvalidTopic, "by the native protocol neither");
    }
}

/// A checkpoint tells of all logs of a shard: a request with many entries must not write one for each.
#[test]
fn a_deletion_that_moves_nothing_writes_nothing() {
    let broker = broker_with(1, |config| config.checkpoint_interval = Duration::from_secs(3600));
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    produce_at(&mut kafka, 0, &[1000, 2000]);
    // Each write is a file of its own, which takes the place of the one before.
    let checkpoints = || -> Vec<u64> {
        let files = std::fs::read_dir(broker.data_dir().join("checkpoints")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().ino()).collect()
    };
    let before = checkpoints();
    assert_eq!(delete_records(&mut kafka, 2, "t", 0, 0), (0, 0), "it begins there");
    assert_eq!(checkpoints(), before);
    assert_eq!(delete_records(&mut kafka, 2, "t", 0, 2), (0, 2));
    let moved = checkpoints();
    assert_ne!(moved, before, "it is durable when it is answered");
    for offset in [2, 1, -1, 0] {
        assert_eq!(delete_records(&mut kafka, 2, "t", 0, offset), (0, 2));
    }
    assert_eq!(checkpoints(), moved);
}

#[test]
fn a_client_of_another_epoch_is_told_so() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    produce_at(&mut kafka, 0, &[1]);
    produce_at(&mut kafka, 1, &[1]);
    for partition in [0, 1] {
        // Epoch 0 is the first there can be: only a later one is unknown, and none is fenced.
        for (epoch, error) in [(-1, 0), (0, 0), (1, 75), (i32::MAX, 75)] {
            for version in 9..=12 {
                let mut request = fetch_of("t", &[(partition, 0)]);
                request.topics[0].partitions[0].current_leader_epoch = epoch;
                let response = kafka.call(version, &request);
                assert_eq!(fetched(&response)[0].0, error, "fetch {version}, epoch {epoch}");
            }
            for version in 4..=7 {
                let mut request = list_of("t", &[(partition, LATEST)]);
                request.topics[0].partitions[0].current_leader_epoch = epoch;
                let response = kafka.call(version, &request);
                assert_eq!(
                    response.topics[0].partitions[0].error_code, error,
                    "list {version}, epoch {epoch}"
                );
            }
        }
    }
}

#[test]
fn the_end_of_an_epoch_is_that_of_the_log() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    produce_at(&mut kafka, 0, &[1, 2, 3]);
    for version in 2..=4 {
        for (epoch, current, expected) in [
            (0, -1, (0, 0, 3)),
            (0, 0, (0, 0, 3)),
            (5, 0, (0, -1, -1)),
            (-1, -1, (0, -1, -1)),
            (0, 3, (75, -1, -1)),
        ] {
            let partition = |index| {
                OffsetForLeaderPartition::default()
                    .with_partition(index)
                    .with_leader_epoch(epoch)
                    .with_current_leader_epoch(current)
            };
            let topic = OffsetForLeaderTopic::default()
                .with_topic(topic_name("t"))
                .with_partitions(vec![partition(0), partition(9)]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            let response = kafka.call(version, &request);
            let found = &response.topics[0].partitions;
            let one = (found[0].error_code, found[0].leader_epoch, found[0].end_offset);
            assert_eq!(one, expected, "version {version}, epoch {epoch}");
            assert_eq!((found[1].partition, found[1].error_code), (9, 3));
        }
    }
}
