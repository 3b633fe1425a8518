//! Random responses about groups, written by us and by `kafka-protocol`.
//!
//!     join, sync, heartbeat, leave ▸ find_coordinator ▸ offset_commit, offset_fetch

use bytes::Bytes;
use kafka::Api;
use kafka::messages::{self as ours, OfTopic};
use kafka_protocol::messages::*;

use crate::frame;
use crate::responses::{Frames, error, written};
use crate::tape::{Tape, str_bytes};

pub fn heartbeat(v: i16, t: &mut Tape) -> Frames {
    let response = ours::HeartbeatResponse { throttle_ms: t.i32(), error: error(t) };
    let mut theirs = HeartbeatResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    theirs.error_code = response.error.to_wire();
    (written(v, &response), frame(Api::Heartbeat, v, &theirs))
}

pub fn join_group(v: i16, t: &mut Tape) -> Frames {
    let blobs = t.list(Tape::blob);
    let response = ours::JoinGroupResponse {
        throttle_ms: t.i32(),
        generation: t.i32(),
        protocol_type: t.maybe_text(),
        protocol: if v >= 7 { t.maybe_text() } else { Some(t.text()) },
        leader: t.text(),
        skip_assignment: v >= 9 && t.bool(),
        members: blobs
            .iter()
            .map(|metadata| ours::JoinedMember { member_id: t.text(), instance_id: t.maybe_text(), metadata })
            .collect(),
        ..ours::JoinGroupResponse::refused(error(t), t.text())
    };
    let mut theirs = JoinGroupResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    theirs.error_code = response.error.to_wire();
    theirs.generation_id = response.generation;
    theirs.protocol_type = response.protocol_type.map(str_bytes);
    theirs.protocol_name = response.protocol.map(str_bytes);
    theirs.leader = str_bytes(response.leader);
    theirs.skip_assignment = response.skip_assignment;
    theirs.member_id = str_bytes(response.member_id);
    for of in &response.members {
        let mut member = join_group_response::JoinGroupResponseMember::default();
        member.member_id = str_bytes(of.member_id);
        member.group_instance_id = of.instance_id.map(str_bytes);
        member.metadata = Bytes::copy_from_slice(of.metadata);
        theirs.members.push(member);
    }
    (written(v, &response), frame(Api::JoinGroup, v, &theirs))
}

pub fn sync_group(v: i16, t: &mut Tape) -> Frames {
    let assignment = t.blob();
    let response = ours::SyncGroupResponse {
        throttle_ms: t.i32(),
        protocol_type: t.maybe_text(),
        protocol: t.maybe_text(),
        assignment: &assignment,
        ..ours::SyncGroupResponse::refused(error(t))
    };
    let mut theirs = SyncGroupResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    theirs.error_code = response.error.to_wire();
    theirs.protocol_type = response.protocol_type.map(str_bytes);
    theirs.protocol_name = response.protocol.map(str_bytes);
    theirs.assignment = Bytes::copy_from_slice(response.assignment);
    (written(v, &response), frame(Api::SyncGroup, v, &theirs))
}

pub fn leave_group(v: i16, t: &mut Tape) -> Frames {
    let response = ours::LeaveGroupResponse {
        throttle_ms: t.i32(),
        error: error(t),
        members: t.list(|t| ours::LeftMember {
            member_id: t.text(),
            instance_id: t.maybe_text(),
            error: error(t),
        }),
    };
    let mut theirs = LeaveGroupResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    theirs.error_code = response.error.to_wire();
    for of in response.members.iter().filter(|_| v >= 3) {
        let mut member = leave_group_response::MemberResponse::default();
        member.member_id = str_bytes(of.member_id);
        member.group_instance_id = of.instance_id.map(str_bytes);
        member.error_code = of.error.to_wire();
        theirs.members.push(member);
    }
    (written(v, &response), frame(Api::LeaveGroup, v, &theirs))
}

pub fn find_coordinator(v: i16, t: &mut Tape) -> Frames {
    let found = |t: &mut Tape| ours::FoundCoordinator {
        node_id: t.i32(),
        host: t.text(),
        port: t.i32(),
        error_message: t.maybe_text(),
        ..ours::FoundCoordinator::refused(t.text(), error(t))
    };
    let coordinators = if v >= 4 { t.list(found) } else { vec![found(t)] };
    let response = ours::FindCoordinatorResponse { throttle_ms: t.i32(), coordinators };
    let mut theirs = FindCoordinatorResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    for of in &response.coordinators {
        if v >= 4 {
            let mut coordinator = find_coordinator_response::Coordinator::default();
            coordinator.key = str_bytes(of.key);
            coordinator.node_id = BrokerId(of.node_id);
            coordinator.host = str_bytes(of.host);
            coordinator.port = of.port;
            coordinator.error_code = of.error.to_wire();
            coordinator.error_message = of.error_message.map(str_bytes);
            theirs.coordinators.push(coordinator);
        } else {
            theirs.node_id = BrokerId(of.node_id);
            theirs.host = str_bytes(of.host);
            theirs.port = of.port;
            theirs.error_code = of.error.to_wire();
            theirs.error_message = of.error_message.map(str_bytes);
        }
    }
    (written(v, &response), frame(Api::FindCoordinator, v, &theirs))
}

pub fn offset_commit(v: i16, t: &mut Tape) -> Frames {
    let response = ours::OffsetCommitResponse {
        throttle_ms: t.i32(),
        topics: t.list(|t| OfTopic {
            name: t.text(),
            partitions: t.list(|t| ours::CommittedPartition { index: t.i32(), error: error(t) }),
        }),
    };
    let mut theirs = OffsetCommitResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    for of in &response.topics {
        let mut topic = offset_commit_response::OffsetCommitResponseTopic::default();
        topic.name = TopicName(str_bytes(of.name));
        for of in &of.partitions {
            let mut partition = offset_commit_response::OffsetCommitResponsePartition::default();
            partition.partition_index = of.index;
            partition.error_code = of.error.to_wire();
            topic.partitions.push(partition);
        }
        theirs.topics.push(topic);
    }
    (written(v, &response), frame(Api::OffsetCommit, v, &theirs))
}

fn fetched_group(v: i16, t: &mut Tape) -> ours::FetchedGroup<'static> {
    ours::FetchedGroup {
        group: t.text(),
        topics: t.list(|t| OfTopic {
            name: t.text(),
            partitions: t.list(|t| ours::FetchedOffset {
                index: t.i32(),
                offset: t.i64(),
                leader_epoch: if v >= 5 { t.i32() } else { -1 },
                metadata: t.maybe_text(),
                error: error(t),
            }),
        }),
        error: if v >= 2 { error(t) } else { kafka::ErrorCode::NONE },
    }
}

/// One group, as versions before 8 have it.
fn their_topic(of: &OfTopic<'_, ours::FetchedOffset<'_>>) -> offset_fetch_response::OffsetFetchResponseTopic {
    let mut topic = offset_fetch_response::OffsetFetchResponseTopic::default();
    topic.name = TopicName(str_bytes(of.name));
    for of in &of.partitions {
        let mut partition = offset_fetch_response::OffsetFetchResponsePartition::default();
        partition.partition_index = of.index;
        partition.committed_offset = of.offset;
        partition.committed_leader_epoch = of.leader_epoch;
        partition.metadata = of.metadata.map(str_bytes);
        partition.error_code = of.error.to_wire();
        topic.partitions.push(partition);
    }
    topic
}

fn their_group(of: &ours::FetchedGroup<'_>) -> offset_fetch_response::OffsetFetchResponseGroup {
    let mut group = offset_fetch_response::OffsetFetchResponseGroup::default();
    group.group_id = GroupId(str_bytes(of.group));
    group.error_code = of.error.to_wire();
    for of in &of.topics {
        let mut topic = offset_fetch_response::OffsetFetchResponseTopics::default();
        topic.name = TopicName(str_bytes(of.name));
        for of in &of.partitions {
            let mut partition = offset_fetch_response::OffsetFetchResponsePartitions::default();
            partition.partition_index = of.index;
            partition.committed_offset = of.offset;
            partition.committed_leader_epoch = of.leader_epoch;
            partition.metadata = of.metadata.map(str_bytes);
            partition.error_code = of.error.to_wire();
            topic.partitions.push(partition);
        }
        group.topics.push(topic);
    }
    group
}

pub fn offset_fetch(v: i16, t: &mut Tape) -> Frames {
    let groups = if v >= 8 { t.list(|t| fetched_group(v, t)) } else { vec![fetched_group(v, t)] };
    let response = ours::OffsetFetchResponse { throttle_ms: t.i32(), groups };
    let mut theirs = OffsetFetchResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    if v >= 8 {
        theirs.groups = response.groups.iter().map(their_group).collect();
    } else {
        theirs.topics = response.groups[0].topics.iter().map(their_topic).collect();
        theirs.error_code = response.groups[0].error.to_wire();
    }
    (written(v, &response), frame(Api::OffsetFetch, v, &theirs))
}
