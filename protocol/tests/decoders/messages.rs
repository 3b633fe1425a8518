//! Arbitrary messages, for the tests of the decoders.
//!
//!     any value of a field that its type and its limit allow ─▶ message
//!
//! Strings are of any characters; a list is short, because its length is a number like another.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::api::{
    Acks, AlterTopicReply, AlterTopicRequest, BrokerMetadata, ConfigChange, ConfigEntry,
    CreatePartitionsReply, CreatePartitionsRequest, CreateTopicReply, CreateTopicRequest, DeleteRecordsEntry,
    DeleteRecordsReply, DeleteRecordsRequest, DeleteRecordsResult, DeleteTopicReply, DeleteTopicRequest,
    ErrorResponse, FetchEntry, FetchParams, FetchReply, FetchResult, FetchedPartition, HelloReply,
    HelloRequest, InitProducerIdReply, InitProducerIdRequest, ListOffsetsEntry, ListOffsetsReply,
    ListOffsetsRequest, ListOffsetsResult, MetadataReply, MetadataRequest, OffsetSpec, PartitionMetadata,
    ProduceReply, ProduceResult, ShardStats, StatsReply, TopicMetadata, TopicSelection,
};
use protocol::model::{
    ClusterId, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, ShardId,
    Timestamp, TopicId,
};

/// A Produce request is a view; this is what it was made of.
#[derive(Debug)]
pub struct ProduceParts {
    pub acks: Acks,
    pub timeout_ms: u32,
    pub sets: Vec<(TopicId, PartitionIndex, Vec<u8>)>,
}

/// As [`ProduceParts`].
#[derive(Debug)]
pub struct FetchParts {
    pub params: FetchParams,
    pub entries: Vec<FetchEntry>,
}

pub const ITEMS: std::ops::Range<usize> = 0..4;

pub fn string() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a-z.]{60}"]
}

pub fn error() -> impl Strategy<Value = ErrorCode> {
    any::<u16>().prop_map(ErrorCode::from_wire)
}

pub fn offset() -> impl Strategy<Value = Offset> {
    (0..=i64::MAX as u64).prop_map(Offset::new)
}

pub fn epoch() -> impl Strategy<Value = LeaderEpoch> {
    (0..=i32::MAX).prop_map(LeaderEpoch::new)
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<u32>().prop_map(NodeId::new)
}

pub fn shard() -> impl Strategy<Value = ShardId> {
    any::<u16>().prop_map(ShardId::new)
}

fn topic() -> impl Strategy<Value = TopicId> {
    any::<[u8; 16]>().prop_map(TopicId::from_bytes)
}

fn cluster() -> impl Strategy<Value = ClusterId> {
    any::<[u8; 16]>().prop_map(ClusterId::from_bytes)
}

pub fn partition() -> impl Strategy<Value = PartitionIndex> {
    any::<u32>().prop_map(PartitionIndex::new)
}

/// Short and long, random and regular: runs of one byte make plausible counts.
pub fn noise() -> impl Strategy<Value = Vec<u8>> {
    let runs = vec((any::<u8>(), 1..20usize), 0..20).prop_map(|runs| {
        runs.into_iter().flat_map(|(byte, count)| std::iter::repeat_n(byte, count)).collect()
    });
    let small = vec(0..4u8, 0..200);
    prop_oneof![vec(any::<u8>(), 0..300), runs, small]
}

pub fn hello_request() -> impl Strategy<Value = HelloRequest> {
    // 65535 on the wire is "any".
    let shard = option::of((0..u16::MAX).prop_map(ShardId::new));
    (any::<u8>(), any::<u8>(), shard, string()).prop_map(|(version_min, version_max, shard, client_id)| {
        HelloRequest { version_min, version_max, shard, client_id }
    })
}

pub fn hello_reply() -> impl Strategy<Value = HelloReply> {
    (error(), any::<u8>(), shard(), any::<u16>(), node(), cluster(), any::<u32>(), string()).prop_map(
        |(error, version, shard, shards, node, cluster, frame_body_bytes_max, broker)| HelloReply {
            error,
            version,
            shard,
            shards,
            node,
            cluster,
            frame_body_bytes_max,
            broker,
        },
    )
}

pub fn metadata_request() -> impl Strategy<Value = MetadataRequest> {
    let topics = prop_oneof![Just(TopicSelection::All), vec(string(), ITEMS).prop_map(TopicSelection::Named)];
    (topics, any::<bool>()).prop_map(|(topics, with_configs)| MetadataRequest { topics, with_configs })
}

pub fn metadata_reply() -> impl Strategy<Value = MetadataReply> {
    let broker = (node(), string(), any::<u16>(), any::<u16>())
        .prop_map(|(node, host, port, shards)| BrokerMetadata { node, host, port, shards });
    (cluster(), node(), vec(broker, ITEMS), vec(topic_metadata(), ITEMS)).prop_map(
        |(cluster, controller, brokers, topics)| MetadataReply { cluster, controller, brokers, topics },
    )
}

fn topic_metadata() -> impl Strategy<Value = TopicMetadata> {
    let partition =
        (partition(), error(), node(), any::<i32>(), shard(), vec(node(), ITEMS), vec(node(), ITEMS))
            .prop_map(|(index, error, leader, epoch, shard, replicas, in_sync)| PartitionMetadata {
                index,
                error,
                leader,
                leader_epoch: LeaderEpoch::new(epoch),
                shard,
                replicas,
                in_sync,
            });
    let config = (string(), string(), any::<bool>()).prop_map(|(key, value, is_default)| ConfigEntry {
        key,
        value,
        is_default,
    });
    (error(), string(), topic(), vec(partition, ITEMS), vec(config, ITEMS)).prop_map(
        |(error, name, id, partitions, configs)| TopicMetadata { error, name, id, partitions, configs },
    )
}

pub fn create_topic_request() -> impl Strategy<Value = CreateTopicRequest> {
    let configs = vec((string(), string()), ITEMS);
    (string(), any::<u32>(), any::<u16>(), any::<bool>(), any::<u32>(), configs).prop_map(
        |(name, partitions, replication_factor, validate_only, timeout_ms, configs)| CreateTopicRequest {
            name,
            partitions,
            replication_factor,
            validate_only,
            timeout_ms,
            configs,
        },
    )
}

pub fn create_topic_reply() -> impl Strategy<Value = CreateTopicReply> {
    (error(), string(), topic(), any::<u32>()).prop_map(|(error, message, id, partitions)| CreateTopicReply {
        error,
        message,
        id,
        partitions,
    })
}

pub fn delete_topic_request() -> impl Strategy<Value = DeleteTopicRequest> {
    (string(), any::<u32>()).prop_map(|(name, timeout_ms)| DeleteTopicRequest { name, timeout_ms })
}

pub fn delete_topic_reply() -> impl Strategy<Value = DeleteTopicReply> {
    (error(), string()).prop_map(|(error, message)| DeleteTopicReply { error, message })
}

pub fn create_partitions_request() -> impl Strategy<Value = CreatePartitionsRequest> {
    (string(), any::<u32>(), any::<bool>(), any::<u32>()).prop_map(
        |(name, total, validate_only, timeout_ms)| CreatePartitionsRequest {
            name,
            total,
            validate_only,
            timeout_ms,
        },
    )
}

pub fn create_partitions_reply() -> impl Strategy<Value = CreatePartitionsReply> {
    (error(), string()).prop_map(|(error, message)| CreatePartitionsReply { error, message })
}

pub fn alter_topic_request() -> impl Strategy<Value = AlterTopicRequest> {
    let change = prop_oneof![Just(ConfigChange::Reset), string().prop_map(ConfigChange::Set)];
    (string(), any::<bool>(), vec((string(), change), ITEMS))
        .prop_map(|(name, validate_only, changes)| AlterTopicRequest { name, validate_only, changes })
}

pub fn alter_topic_reply() -> impl Strategy<Value = AlterTopicReply> {
    (error(), string()).prop_map(|(error, message)| AlterTopicReply { error, message })
}

pub fn error_response() -> impl Strategy<Value = ErrorResponse> {
    (error(), string()).prop_map(|(error, message)| ErrorResponse { error, message })
}

pub fn produce_request() -> impl Strategy<Value = ProduceParts> {
    let acks = prop_oneof![Just(Acks::None), Just(Acks::Leader), Just(Acks::All)];
    let set = (topic(), partition(), vec(any::<u8>(), 0..80));
    (acks, any::<u32>(), vec(set, ITEMS)).prop_map(|(acks, timeout_ms, sets)| ProduceParts {
        acks,
        timeout_ms,
        sets,
    })
}

pub fn produce_reply() -> impl Strategy<Value = ProduceReply> {
    let result = (error(), option::of(offset()), option::of(offset())).prop_map(
        |(error, base_offset, log_start_offset)| ProduceResult { error, base_offset, log_start_offset },
    );
    (any::<u32>(), vec(result, ITEMS))
        .prop_map(|(throttle_ms, partitions)| ProduceReply { throttle_ms, partitions })
}

pub fn fetch_request() -> impl Strategy<Value = FetchParts> {
    let params = (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(max_wait_ms, min_bytes, max_bytes)| FetchParams { max_wait_ms, min_bytes, max_bytes });
    let entry = (topic(), partition(), option::of(epoch()), offset(), any::<u32>()).prop_map(
        |(topic, partition, leader_epoch, fetch_offset, max_bytes)| FetchEntry {
            topic,
            partition,
            leader_epoch,
            fetch_offset,
            max_bytes,
        },
    );
    (params, vec(entry, ITEMS)).prop_map(|(params, entries)| FetchParts { params, entries })
}

pub fn fetch_reply() -> impl Strategy<Value = FetchReply> {
    let at = || option::of(offset());
    let partition = (error(), at(), at(), at(), vec(any::<u8>(), 0..80)).prop_map(
        |(error, high_watermark, last_stable_offset, log_start_offset, records)| FetchedPartition {
            result: FetchResult {
                error,
                high_watermark,
                last_stable_offset,
                log_start_offset,
                records_len: records.len() as u32,
            },
            records: Bytes::from(records),
        },
    );
    (any::<u32>(), vec(partition, ITEMS))
        .prop_map(|(throttle_ms, partitions)| FetchReply { throttle_ms, partitions })
}

pub fn list_offsets_request() -> impl Strategy<Value = ListOffsetsRequest> {
    let time = (0..=i64::MAX).prop_map(|millis| OffsetSpec::AtOrAfter(Timestamp::from_millis(millis)));
    let spec = prop_oneof![Just(OffsetSpec::Earliest), Just(OffsetSpec::Latest), time];
    let entry = (topic(), partition(), option::of(epoch()), spec).prop_map(
        |(topic, partition, leader_epoch, spec)| ListOffsetsEntry { topic, partition, leader_epoch, spec },
    );
    vec(entry, ITEMS).prop_map(|partitions| ListOffsetsRequest { partitions })
}

pub fn list_offsets_reply() -> impl Strategy<Value = ListOffsetsReply> {
    let result = (error(), option::of(epoch()), option::of(offset()), any::<i64>()).prop_map(
        |(error, leader_epoch, offset, millis)| ListOffsetsResult {
            error,
            leader_epoch,
            offset,
            timestamp: Timestamp::from_millis(millis),
        },
    );
    vec(result, ITEMS).prop_map(|partitions| ListOffsetsReply { partitions })
}

pub fn init_producer_id_request() -> impl Strategy<Value = InitProducerIdRequest> {
    let producer =
        (0..=i64::MAX, 0..=i16::MAX).prop_map(|(id, epoch)| (ProducerId::new(id), ProducerEpoch::new(epoch)));
    (any::<u32>(), option::of(producer))
        .prop_map(|(timeout_ms, producer)| InitProducerIdRequest { timeout_ms, producer })
}

pub fn init_producer_id_reply() -> impl Strategy<Value = InitProducerIdReply> {
    (error(), any::<i64>(), any::<i16>()).prop_map(|(error, id, epoch)| InitProducerIdReply {
        error,
        producer_id: ProducerId::new(id),
        producer_epoch: ProducerEpoch::new(epoch),
    })
}

pub fn delete_records_request() -> impl Strategy<Value = DeleteRecordsRequest> {
    let entry = (topic(), partition(), option::of(offset()))
        .prop_map(|(topic, partition, before)| DeleteRecordsEntry { topic, partition, before });
    (any::<u32>(), vec(entry, ITEMS))
        .prop_map(|(timeout_ms, partitions)| DeleteRecordsRequest { timeout_ms, partitions })
}

pub fn delete_records_reply() -> impl Strategy<Value = DeleteRecordsReply> {
    let result = (error(), option::of(offset()))
        .prop_map(|(error, low_watermark)| DeleteRecordsResult { error, low_watermark });
    vec(result, ITEMS).prop_map(|partitions| DeleteRecordsReply { partitions })
}

pub fn stats_reply() -> impl Strategy<Value = StatsReply> {
    let stats = (shard(), vec((string(), any::<u64>()), ITEMS))
        .prop_map(|(shard, counters)| ShardStats { shard, counters });
    vec(stats, ITEMS).prop_map(|shards| StatsReply { shards })
}
