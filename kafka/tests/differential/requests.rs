//! Random requests of every api and version that is served, encoded by `kafka-protocol`.
//!
//!     api, version, tape ─▶ a request of the crate, with what the version has room for ─▶ body

use bytes::{Bytes, BytesMut};
use kafka::Api;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Encodable;

use crate::tape::{Tape, str_bytes};

/// Every api with every version that is served.
pub fn served() -> impl Iterator<Item = (Api, i16)> {
    Api::ALL.iter().flat_map(|api| api.versions().map(|version| (*api, version)))
}

/// A valid body.
pub fn random(api: Api, v: i16, t: &mut Tape) -> Bytes {
    match api {
        Api::Produce => encode(v, &produce(t)),
        Api::Fetch => encode(v, &fetch(v, t)),
        Api::ListOffsets => encode(v, &list_offsets(v, t)),
        Api::Metadata => encode(v, &metadata(v, t)),
        Api::ApiVersions => encode(v, &api_versions(v, t)),
        Api::InitProducerId => encode(v, &init_producer_id(v, t)),
        Api::OffsetCommit => encode(v, &super::group_requests::offset_commit(v, t)),
        Api::OffsetFetch => encode(v, &super::group_requests::offset_fetch(v, t)),
        Api::FindCoordinator => encode(v, &super::group_requests::find_coordinator(v, t)),
        Api::JoinGroup => encode(v, &super::group_requests::join_group(v, t)),
        Api::SyncGroup => encode(v, &super::group_requests::sync_group(v, t)),
        Api::Heartbeat => encode(v, &super::group_requests::heartbeat(v, t)),
        Api::LeaveGroup => encode(v, &super::group_requests::leave_group(v, t)),
        cold => super::cold_requests::random(cold, v, t),
    }
}

pub fn encode(version: i16, request: &impl Encodable) -> Bytes {
    let mut out = BytesMut::new();
    request.encode(&mut out, version).expect("the version has room for all that is set");
    out.freeze()
}

pub fn topic(t: &mut Tape) -> TopicName {
    TopicName(str_bytes(t.text()))
}

fn api_versions(v: i16, t: &mut Tape) -> ApiVersionsRequest {
    let mut request = ApiVersionsRequest::default();
    if v >= 3 {
        request.client_software_name = str_bytes(t.text());
        request.client_software_version = str_bytes(t.text());
    }
    request
}

fn metadata(v: i16, t: &mut Tape) -> MetadataRequest {
    let topics = t.list(|t| {
        let mut of = metadata_request::MetadataRequestTopic::default();
        of.name = Some(topic(t));
        if v >= 10 {
            of.topic_id = uuid::Uuid::from_bytes(t.uuid());
            of.name = t.maybe(topic);
        }
        of
    });
    let mut request = MetadataRequest::default();
    request.topics = if v == 0 || t.bool() { Some(topics) } else { None };
    request.allow_auto_topic_creation = v < 4 || t.bool();
    request.include_cluster_authorized_operations = (8..=10).contains(&v) && t.bool();
    request.include_topic_authorized_operations = v >= 8 && t.bool();
    request
}

fn produce(t: &mut Tape) -> ProduceRequest {
    let mut request = ProduceRequest::default();
    request.transactional_id = t.maybe_text().map(|id| TransactionalId(str_bytes(id)));
    request.acks = t.i16();
    request.timeout_ms = t.i32();
    request.topic_data = t.list(|t| {
        let mut of = produce_request::TopicProduceData::default();
        of.name = topic(t);
        of.partition_data = t.list(|t| {
            let mut partition = produce_request::PartitionProduceData::default();
            partition.index = t.i32();
            partition.records = t.maybe(|t| t.blob().into());
            partition
        });
        of
    });
    request
}

fn fetch(v: i16, t: &mut Tape) -> FetchRequest {
    let mut request = FetchRequest::default();
    request.replica_id = BrokerId(t.i32());
    request.max_wait_ms = t.i32();
    request.min_bytes = t.i32();
    request.max_bytes = t.i32();
    request.isolation_level = t.i8();
    request.topics = t.list(|t| {
        let mut of = fetch_request::FetchTopic::default();
        of.topic = topic(t);
        of.partitions = t.list(|t| fetch_partition(v, t));
        of
    });
    if v >= 7 {
        request.session_id = t.i32();
        request.session_epoch = t.i32();
        request.forgotten_topics_data = t.list(|t| {
            let mut of = fetch_request::ForgottenTopic::default();
            of.topic = topic(t);
            of.partitions = t.list(Tape::i32);
            of
        });
    }
    if v >= 11 {
        request.rack_id = str_bytes(t.text());
    }
    if v >= 12 {
        // A tagged field, which we skip.
        request.cluster_id = t.maybe_text().map(str_bytes);
    }
    request
}

fn fetch_partition(v: i16, t: &mut Tape) -> fetch_request::FetchPartition {
    let mut partition = fetch_request::FetchPartition::default();
    partition.partition = t.i32();
    partition.fetch_offset = t.i64();
    partition.partition_max_bytes = t.i32();
    if v >= 5 {
        partition.log_start_offset = t.i64();
    }
    if v >= 9 {
        partition.current_leader_epoch = t.i32();
    }
    if v >= 12 {
        partition.last_fetched_epoch = t.i32();
    }
    partition
}

fn list_offsets(v: i16, t: &mut Tape) -> ListOffsetsRequest {
    let mut request = ListOffsetsRequest::default();
    request.replica_id = BrokerId(t.i32());
    request.isolation_level = if v >= 2 { t.i8() } else { 0 };
    request.topics = t.list(|t| {
        let mut of = list_offsets_request::ListOffsetsTopic::default();
        of.name = topic(t);
        of.partitions = t.list(|t| {
            let mut partition = list_offsets_request::ListOffsetsPartition::default();
            partition.partition_index = t.i32();
            partition.timestamp = t.i64();
            partition.current_leader_epoch = if v >= 4 { t.i32() } else { -1 };
            partition
        });
        of
    });
    request
}

fn init_producer_id(v: i16, t: &mut Tape) -> InitProducerIdRequest {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = t.maybe_text().map(|id| TransactionalId(str_bytes(id)));
    request.transaction_timeout_ms = t.i32();
    if v >= 3 {
        request.producer_id = ProducerId(t.i64());
        request.producer_epoch = t.i16();
    }
    request
}
