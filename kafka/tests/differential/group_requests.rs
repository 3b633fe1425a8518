//! Random requests about groups, of the crate `kafka-protocol`.
//!
//!     join, sync, heartbeat, leave ▸ find_coordinator ▸ offset_commit, offset_fetch

use kafka_protocol::messages::*;

use crate::requests::topic;
use crate::tape::{Tape, str_bytes};

fn group(t: &mut Tape) -> GroupId {
    GroupId(str_bytes(t.text()))
}

pub fn heartbeat(v: i16, t: &mut Tape) -> HeartbeatRequest {
    let mut request = HeartbeatRequest::default();
    request.group_id = group(t);
    request.generation_id = t.i32();
    request.member_id = str_bytes(t.text());
    if v >= 3 {
        request.group_instance_id = t.maybe_text().map(str_bytes);
    }
    request
}

pub fn join_group(v: i16, t: &mut Tape) -> JoinGroupRequest {
    let mut request = JoinGroupRequest::default();
    request.group_id = group(t);
    request.session_timeout_ms = t.i32();
    if v >= 1 {
        request.rebalance_timeout_ms = t.i32();
    }
    request.member_id = str_bytes(t.text());
    if v >= 5 {
        request.group_instance_id = t.maybe_text().map(str_bytes);
    }
    request.protocol_type = str_bytes(t.text());
    request.protocols = t.list(|t| {
        let mut protocol = join_group_request::JoinGroupRequestProtocol::default();
        protocol.name = str_bytes(t.text());
        protocol.metadata = t.blob().into();
        protocol
    });
    if v >= 8 {
        request.reason = t.maybe_text().map(str_bytes);
    }
    request
}

pub fn sync_group(v: i16, t: &mut Tape) -> SyncGroupRequest {
    let mut request = SyncGroupRequest::default();
    request.group_id = group(t);
    request.generation_id = t.i32();
    request.member_id = str_bytes(t.text());
    if v >= 3 {
        request.group_instance_id = t.maybe_text().map(str_bytes);
    }
    if v >= 5 {
        request.protocol_type = t.maybe_text().map(str_bytes);
        request.protocol_name = t.maybe_text().map(str_bytes);
    }
    request.assignments = t.list(|t| {
        let mut assignment = sync_group_request::SyncGroupRequestAssignment::default();
        assignment.member_id = str_bytes(t.text());
        assignment.assignment = t.blob().into();
        assignment
    });
    request
}

pub fn leave_group(v: i16, t: &mut Tape) -> LeaveGroupRequest {
    let mut request = LeaveGroupRequest::default();
    request.group_id = group(t);
    if v <= 2 {
        request.member_id = str_bytes(t.text());
        return request;
    }
    request.members = t.list(|t| {
        let mut member = leave_group_request::MemberIdentity::default();
        member.member_id = str_bytes(t.text());
        member.group_instance_id = t.maybe_text().map(str_bytes);
        if v >= 5 {
            member.reason = t.maybe_text().map(str_bytes);
        }
        member
    });
    request
}

pub fn find_coordinator(v: i16, t: &mut Tape) -> FindCoordinatorRequest {
    let mut request = FindCoordinatorRequest::default();
    request.key_type = if v >= 1 { t.i8() } else { 0 };
    match v {
        0..=3 => request.key = str_bytes(t.text()),
        _ => request.coordinator_keys = t.list(|t| str_bytes(t.text())),
    }
    request
}

pub fn offset_commit(v: i16, t: &mut Tape) -> OffsetCommitRequest {
    let mut request = OffsetCommitRequest::default();
    request.group_id = group(t);
    request.generation_id_or_member_epoch = t.i32();
    request.member_id = str_bytes(t.text());
    if v >= 7 {
        request.group_instance_id = t.maybe_text().map(str_bytes);
    }
    if v <= 4 {
        request.retention_time_ms = t.i64();
    }
    request.topics = t.list(|t| {
        let mut of = offset_commit_request::OffsetCommitRequestTopic::default();
        of.name = topic(t);
        of.partitions = t.list(|t| {
            let mut partition = offset_commit_request::OffsetCommitRequestPartition::default();
            partition.partition_index = t.i32();
            partition.committed_offset = t.i64();
            partition.committed_leader_epoch = if v >= 6 { t.i32() } else { -1 };
            partition.committed_metadata = t.maybe_text().map(str_bytes);
            partition
        });
        of
    });
    request
}

pub fn offset_fetch(v: i16, t: &mut Tape) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest::default();
    request.require_stable = v >= 7 && t.bool();
    if v <= 7 {
        request.group_id = group(t);
        let topics = t.list(|t| {
            let mut of = offset_fetch_request::OffsetFetchRequestTopic::default();
            of.name = topic(t);
            of.partition_indexes = t.list(Tape::i32);
            of
        });
        request.topics = if v < 2 || t.bool() { Some(topics) } else { None };
        return request;
    }
    request.groups = t.list(|t| {
        let mut of_group = offset_fetch_request::OffsetFetchRequestGroup::default();
        of_group.group_id = group(t);
        of_group.topics = t.maybe(|t| {
            t.list(|t| {
                let mut of = offset_fetch_request::OffsetFetchRequestTopics::default();
                of.name = topic(t);
                of.partition_indexes = t.list(Tape::i32);
                of
            })
        });
        of_group
    });
    request
}
