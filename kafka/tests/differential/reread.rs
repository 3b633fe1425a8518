//! What we read of a request, put into the types of `kafka-protocol` to be compared.
//!
//!     body ─ our parse ─▶ borrowed values ─▶ a request of the crate ◀─ compare ─▶ what the crate reads

use bytes::Bytes;
use kafka::messages::{self as ours, Request};
use kafka_protocol::messages::*;

use crate::tape::str_bytes;

fn topic(name: &str) -> TopicName {
    TopicName(str_bytes(name))
}

fn group(name: &str) -> GroupId {
    GroupId(str_bytes(name))
}

pub fn api_versions(body: &[u8], v: i16) -> ApiVersionsRequest {
    let read = ours::ApiVersionsRequest::parse(body, v).unwrap();
    let mut request = ApiVersionsRequest::default();
    request.client_software_name = str_bytes(read.client_software_name.unwrap_or_default());
    request.client_software_version = str_bytes(read.client_software_version.unwrap_or_default());
    request
}

pub fn metadata(body: &[u8], v: i16) -> MetadataRequest {
    let read = ours::MetadataRequest::parse(body, v).unwrap();
    let mut request = MetadataRequest::default();
    request.topics = read.topics.map(|topics| {
        let of = |of: ours::RequestedTopic<'_>| {
            let mut topic = metadata_request::MetadataRequestTopic::default();
            topic.topic_id = uuid::Uuid::from_bytes(of.id);
            topic.name = of.name.map(|name| TopicName(str_bytes(name)));
            topic
        };
        topics.iter().map(of).collect()
    });
    if v == 0 && request.topics.is_none() {
        request.topics = Some(Vec::new());
    }
    request.allow_auto_topic_creation = read.allow_auto_topic_creation;
    request.include_cluster_authorized_operations = read.include_cluster_authorized_operations;
    request.include_topic_authorized_operations = read.include_topic_authorized_operations;
    request
}

pub fn produce(body: &[u8], v: i16) -> ProduceRequest {
    let read = ours::ProduceRequest::parse(body, v).unwrap();
    let mut request = ProduceRequest::default();
    request.transactional_id = read.transactional_id.map(|id| TransactionalId(str_bytes(id)));
    request.acks = read.acks;
    request.timeout_ms = read.timeout_ms;
    for of in read.topics {
        let mut data = produce_request::TopicProduceData::default();
        data.name = topic(of.name);
        for partition in of.partitions {
            let mut records = produce_request::PartitionProduceData::default();
            records.index = partition.index;
            records.records = partition.records.map(|part| {
                let range = kafka::frame::range_in(body, part);
                Bytes::copy_from_slice(&body[range])
            });
            data.partition_data.push(records);
        }
        request.topic_data.push(data);
    }
    request
}

/// Without the cluster id, a tagged field that we skip.
pub fn fetch(body: &[u8], v: i16) -> FetchRequest {
    let read = ours::FetchRequest::parse(body, v).unwrap();
    let mut request = FetchRequest::default();
    request.replica_id = BrokerId(read.replica_id);
    request.max_wait_ms = read.max_wait_ms;
    request.min_bytes = read.min_bytes;
    request.max_bytes = read.max_bytes;
    request.isolation_level = read.isolation_level;
    request.session_id = read.session_id;
    request.session_epoch = read.session_epoch;
    request.rack_id = str_bytes(read.rack_id);
    for of in read.topics {
        let mut fetch = fetch_request::FetchTopic::default();
        fetch.topic = topic(of.name);
        for of in of.partitions {
            let mut partition = fetch_request::FetchPartition::default();
            partition.partition = of.index;
            partition.current_leader_epoch = of.current_leader_epoch;
            partition.fetch_offset = of.fetch_offset;
            partition.last_fetched_epoch = of.last_fetched_epoch;
            partition.log_start_offset = of.log_start_offset;
            partition.partition_max_bytes = of.max_bytes;
            fetch.partitions.push(partition);
        }
        request.topics.push(fetch);
    }
    for of in read.forgotten.into_iter().flatten() {
        let mut forgotten = fetch_request::ForgottenTopic::default();
        forgotten.topic = topic(of.name);
        forgotten.partitions = of.partitions.iter().collect();
        request.forgotten_topics_data.push(forgotten);
    }
    request
}

pub fn list_offsets(body: &[u8], v: i16) -> ListOffsetsRequest {
    let read = ours::ListOffsetsRequest::parse(body, v).unwrap();
    let mut request = ListOffsetsRequest::default();
    request.replica_id = BrokerId(read.replica_id);
    request.isolation_level = read.isolation_level;
    for of in read.topics {
        let mut list = list_offsets_request::ListOffsetsTopic::default();
        list.name = topic(of.name);
        for of in of.partitions {
            let mut partition = list_offsets_request::ListOffsetsPartition::default();
            partition.partition_index = of.index;
            partition.current_leader_epoch = of.current_leader_epoch;
            partition.timestamp = of.timestamp;
            list.partitions.push(partition);
        }
        request.topics.push(list);
    }
    request
}

pub fn init_producer_id(body: &[u8], v: i16) -> InitProducerIdRequest {
    let read = ours::InitProducerIdRequest::parse(body, v).unwrap();
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = read.transactional_id.map(|id| TransactionalId(str_bytes(id)));
    request.transaction_timeout_ms = read.transaction_timeout_ms;
    request.producer_id = ProducerId(read.producer_id);
    request.producer_epoch = read.producer_epoch;
    request
}

pub fn heartbeat(body: &[u8], v: i16) -> HeartbeatRequest {
    let read = ours::HeartbeatRequest::parse(body, v).unwrap();
    let mut request = HeartbeatRequest::default();
    request.group_id = group(read.group);
    request.generation_id = read.generation;
    request.member_id = str_bytes(read.member_id);
    request.group_instance_id = read.instance_id.map(str_bytes);
    request
}

pub fn join_group(body: &[u8], v: i16) -> JoinGroupRequest {
    let read = ours::JoinGroupRequest::parse(body, v).unwrap();
    let mut request = JoinGroupRequest::default();
    request.group_id = group(read.group);
    request.session_timeout_ms = read.session_timeout_ms;
    request.rebalance_timeout_ms = if v >= 1 { read.rebalance_timeout_ms } else { -1 };
    request.member_id = str_bytes(read.member_id);
    request.group_instance_id = read.instance_id.map(str_bytes);
    request.protocol_type = str_bytes(read.protocol_type);
    request.reason = read.reason.map(str_bytes);
    for of in read.protocols {
        let mut protocol = join_group_request::JoinGroupRequestProtocol::default();
        protocol.name = str_bytes(of.name);
        protocol.metadata = Bytes::copy_from_slice(of.metadata);
        request.protocols.push(protocol);
    }
    request
}

pub fn sync_group(body: &[u8], v: i16) -> SyncGroupRequest {
    let read = ours::SyncGroupRequest::parse(body, v).unwrap();
    let mut request = SyncGroupRequest::default();
    request.group_id = group(read.group);
    request.generation_id = read.generation;
    request.member_id = str_bytes(read.member_id);
    request.group_instance_id = read.instance_id.map(str_bytes);
    request.protocol_type = read.protocol_type.map(str_bytes);
    request.protocol_name = read.protocol.map(str_bytes);
    for of in read.assignments {
        let mut assignment = sync_group_request::SyncGroupRequestAssignment::default();
        assignment.member_id = str_bytes(of.member_id);
        assignment.assignment = Bytes::copy_from_slice(of.assignment);
        request.assignments.push(assignment);
    }
    request
}

pub fn leave_group(body: &[u8], v: i16) -> LeaveGroupRequest {
    let read = ours::LeaveGroupRequest::parse(body, v).unwrap();
    let mut request = LeaveGroupRequest::default();
    request.group_id = group(read.group);
    for of in read.members.iter() {
        if v <= 2 {
            request.member_id = str_bytes(of.member_id);
            continue;
        }
        let mut member = leave_group_request::MemberIdentity::default();
        member.member_id = str_bytes(of.member_id);
        member.group_instance_id = of.instance_id.map(str_bytes);
        member.reason = of.reason.map(str_bytes);
        request.members.push(member);
    }
    request
}

pub fn find_coordinator(body: &[u8], v: i16) -> FindCoordinatorRequest {
    let read = ours::FindCoordinatorRequest::parse(body, v).unwrap();
    let mut request = FindCoordinatorRequest::default();
    request.key_type = read.key_type;
    for key in read.keys.iter().map(str_bytes) {
        match v {
            0..=3 => request.key = key,
            _ => request.coordinator_keys.push(key),
        }
    }
    request
}

pub fn offset_commit(body: &[u8], v: i16) -> OffsetCommitRequest {
    let read = ours::OffsetCommitRequest::parse(body, v).unwrap();
    let mut request = OffsetCommitRequest::default();
    request.group_id = group(read.group);
    request.generation_id_or_member_epoch = read.generation;
    request.member_id = str_bytes(read.member_id);
    request.group_instance_id = read.instance_id.map(str_bytes);
    request.retention_time_ms = read.retention_time_ms;
    for of in read.topics {
        let mut commit = offset_commit_request::OffsetCommitRequestTopic::default();
        commit.name = topic(of.name);
        for of in of.partitions {
            let mut partition = offset_commit_request::OffsetCommitRequestPartition::default();
            partition.partition_index = of.index;
            partition.committed_offset = of.offset;
            partition.committed_leader_epoch = of.leader_epoch;
            partition.committed_metadata = of.metadata.map(str_bytes);
            commit.partitions.push(partition);
        }
        request.topics.push(commit);
    }
    request
}

pub fn offset_fetch(body: &[u8], v: i16) -> OffsetFetchRequest {
    let read = ours::OffsetFetchRequest::parse(body, v).unwrap();
    let mut request = OffsetFetchRequest::default();
    request.require_stable = read.require_stable;
    for of_group in read.groups.iter() {
        if v <= 7 {
            request.group_id = group(of_group.group);
            request.topics = of_group.topics.map(|topics| {
                let of = |of: ours::OffsetTopic<'_>| {
                    let mut offsets = offset_fetch_request::OffsetFetchRequestTopic::default();
                    offsets.name = topic(of.name);
                    offsets.partition_indexes = of.partitions.iter().collect();
                    offsets
                };
                topics.iter().map(of).collect()
            });
            continue;
        }
        let mut offsets = offset_fetch_request::OffsetFetchRequestGroup::default();
        offsets.group_id = group(of_group.group);
        offsets.topics = of_group.topics.map(|topics| {
            let of = |of: ours::OffsetTopic<'_>| {
                let mut offsets = offset_fetch_request::OffsetFetchRequestTopics::default();
                offsets.name = topic(of.name);
                offsets.partition_indexes = of.partitions.iter().collect();
                offsets
            };
            topics.iter().map(of).collect()
        });
        request.groups.push(offsets);
    }
    request
}
