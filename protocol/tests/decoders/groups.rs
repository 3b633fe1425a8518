//! Arbitrary messages about groups, for the tests of the decoders; built like those beside it.
//!
//!     any value of a field that its type and its limit allow ─▶ message
//!
//! Requests that are views come as what they were made of, and `request()` borrows it.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::api::{
    Assignment, DescribeGroupsReply, DescribeGroupsRequest, DescribedGroup, DescribedMember, FetchedOffset,
    FindCoordinatorReply, FindCoordinatorRequest, HeartbeatReply, HeartbeatRequest, JoinGroupReply,
    JoinGroupRequest, JoinedMember, LeaveGroupReply, LeaveGroupRequest, LeavingMember, LeftMember,
    ListGroupsReply, ListGroupsRequest, ListedGroup, OfferedProtocol, OffsetCommitEntry, OffsetCommitReply,
    OffsetCommitRequest, OffsetDeleteReply, OffsetDeleteRequest, OffsetFetchReply, OffsetFetchRequest,
    OffsetSelection, SyncGroupReply, SyncGroupRequest,
};
use protocol::model::PartitionIndex;

use super::messages::{ITEMS, epoch, error, offset, partition, shard, string};

#[derive(Debug)]
pub struct JoinParts {
    group: String,
    member_id: String,
    instance_id: Option<String>,
    client_id: String,
    timeouts_ms: (u32, u32),
    protocol_type: String,
    protocols: Vec<(String, Vec<u8>)>,
    reason: Option<String>,
}

impl JoinParts {
    pub fn request(&self) -> JoinGroupRequest<'_> {
        let protocols = self.protocols.iter();
        JoinGroupRequest {
            group: &self.group,
            member_id: &self.member_id,
            instance_id: self.instance_id.as_deref(),
            client_id: &self.client_id,
            session_timeout_ms: self.timeouts_ms.0,
            rebalance_timeout_ms: self.timeouts_ms.1,
            protocol_type: &self.protocol_type,
            protocols: protocols.map(|(name, metadata)| OfferedProtocol { name, metadata }).collect(),
            reason: self.reason.as_deref(),
        }
    }
}

#[derive(Debug)]
pub struct SyncParts {
    group: String,
    generation: i32,
    member_id: String,
    instance_id: Option<String>,
    protocol_type: Option<String>,
    protocol: Option<String>,
    assignments: Vec<(String, Vec<u8>)>,
}

impl SyncParts {
    pub fn request(&self) -> SyncGroupRequest<'_> {
        let assignments = self.assignments.iter();
        SyncGroupRequest {
            group: &self.group,
            generation: self.generation,
            member_id: &self.member_id,
            instance_id: self.instance_id.as_deref(),
            protocol_type: self.protocol_type.as_deref(),
            protocol: self.protocol.as_deref(),
            assignments: assignments.map(|(member_id, bytes)| Assignment { member_id, bytes }).collect(),
        }
    }
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    option::of(string())
}

fn bulk() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn partitions() -> impl Strategy<Value = Vec<(String, PartitionIndex)>> {
    vec((string(), partition()), ITEMS)
}

pub fn find_coordinator_request() -> impl Strategy<Value = FindCoordinatorRequest> {
    string().prop_map(|group| FindCoordinatorRequest { group })
}

pub fn find_coordinator_reply() -> impl Strategy<Value = FindCoordinatorReply> {
    (error(), shard()).prop_map(|(error, shard)| FindCoordinatorReply { error, shard })
}

pub fn join_group_request() -> impl Strategy<Value = JoinParts> {
    let who = (string(), string(), maybe(), string());
    (who, any::<(u32, u32)>(), string(), vec((string(), bulk()), ITEMS), maybe()).prop_map(
        |((group, member_id, instance_id, client_id), timeouts_ms, protocol_type, protocols, reason)| {
            JoinParts {
                group,
                member_id,
                instance_id,
                client_id,
                timeouts_ms,
                protocol_type,
                protocols,
                reason,
            }
        },
    )
}

pub fn join_group_reply() -> impl Strategy<Value = JoinGroupReply> {
    let member = (string(), maybe(), bulk()).prop_map(|(member_id, instance_id, metadata)| JoinedMember {
        member_id,
        instance_id,
        metadata: Bytes::from(metadata),
    });
    (error(), any::<i32>(), maybe(), maybe(), string(), string(), any::<bool>(), vec(member, ITEMS)).prop_map(
        |(error, generation, protocol_type, protocol, leader, member_id, skip_assignment, members)| {
            JoinGroupReply {
                error,
                generation,
                protocol_type,
                protocol,
                leader,
                member_id,
                skip_assignment,
                members,
            }
        },
    )
}

pub fn sync_group_request() -> impl Strategy<Value = SyncParts> {
    let assignments = vec((string(), bulk()), ITEMS);
    (string(), any::<i32>(), string(), maybe(), maybe(), maybe(), assignments).prop_map(
        |(group, generation, member_id, instance_id, protocol_type, protocol, assignments)| SyncParts {
            group,
            generation,
            member_id,
            instance_id,
            protocol_type,
            protocol,
            assignments,
        },
    )
}

pub fn sync_group_reply() -> impl Strategy<Value = SyncGroupReply> {
    (error(), maybe(), maybe(), bulk()).prop_map(|(error, protocol_type, protocol, assignment)| {
        SyncGroupReply { error, protocol_type, protocol, assignment: Bytes::from(assignment) }
    })
}

pub fn heartbeat_request() -> impl Strategy<Value = HeartbeatRequest> {
    (string(), any::<i32>(), string(), maybe()).prop_map(|(group, generation, member_id, instance_id)| {
        HeartbeatRequest { group, generation, member_id, instance_id }
    })
}

pub fn heartbeat_reply() -> impl Strategy<Value = HeartbeatReply> {
    error().prop_map(|error| HeartbeatReply { error })
}

pub fn leave_group_request() -> impl Strategy<Value = LeaveGroupRequest> {
    let member = (string(), maybe(), maybe()).prop_map(|(member_id, instance_id, reason)| LeavingMember {
        member_id,
        instance_id,
        reason,
    });
    (string(), vec(member, ITEMS)).prop_map(|(group, members)| LeaveGroupRequest { group, members })
}

pub fn leave_group_reply() -> impl Strategy<Value = LeaveGroupReply> {
    let member = (string(), maybe(), error()).prop_map(|(member_id, instance_id, error)| LeftMember {
        member_id,
        instance_id,
        error,
    });
    (error(), vec(member, ITEMS)).prop_map(|(error, members)| LeaveGroupReply { error, members })
}

pub fn offset_commit_request() -> impl Strategy<Value = OffsetCommitRequest> {
    let entry = (string(), partition(), offset(), option::of(epoch()), maybe()).prop_map(
        |(topic, partition, offset, leader_epoch, metadata)| OffsetCommitEntry {
            topic,
            partition,
            offset,
            leader_epoch,
            metadata,
        },
    );
    (string(), any::<i32>(), string(), maybe(), vec(entry, ITEMS)).prop_map(
        |(group, generation, member_id, instance_id, entries)| OffsetCommitRequest {
            group,
            generation,
            member_id,
            instance_id,
            entries,
        },
    )
}

pub fn offset_commit_reply() -> impl Strategy<Value = OffsetCommitReply> {
    vec(error(), ITEMS).prop_map(|errors| OffsetCommitReply { errors })
}

pub fn offset_fetch_request() -> impl Strategy<Value = OffsetFetchRequest> {
    let entries = prop_oneof![Just(OffsetSelection::All), partitions().prop_map(OffsetSelection::Of)];
    (string(), maybe(), any::<i32>(), any::<bool>(), entries).prop_map(
        |(group, member_id, generation, require_stable, entries)| OffsetFetchRequest {
            group,
            member_id,
            generation,
            require_stable,
            entries,
        },
    )
}

pub fn offset_fetch_reply() -> impl Strategy<Value = OffsetFetchReply> {
    let at = (option::of(offset()), option::of(epoch()));
    let entry = (string(), partition(), at, maybe(), error()).prop_map(
        |(topic, partition, (offset, leader_epoch), metadata, error)| FetchedOffset {
            topic,
            partition,
            offset,
            leader_epoch,
            metadata,
            error,
        },
    );
    (error(), vec(entry, ITEMS)).prop_map(|(error, entries)| OffsetFetchReply { error, entries })
}

pub fn offset_delete_request() -> impl Strategy<Value = OffsetDeleteRequest> {
    (string(), partitions()).prop_map(|(group, entries)| OffsetDeleteRequest { group, entries })
}

pub fn offset_delete_reply() -> impl Strategy<Value = OffsetDeleteReply> {
    (error(), vec(error(), ITEMS)).prop_map(|(error, errors)| OffsetDeleteReply { error, errors })
}

pub fn list_groups_request() -> impl Strategy<Value = ListGroupsRequest> {
    vec(string(), ITEMS).prop_map(|states| ListGroupsRequest { states })
}

pub fn list_groups_reply() -> impl Strategy<Value = ListGroupsReply> {
    let group = (string(), string(), string()).prop_map(|(group, protocol_type, state)| ListedGroup {
        group,
        protocol_type,
        state,
    });
    (error(), vec(group, ITEMS)).prop_map(|(error, groups)| ListGroupsReply { error, groups })
}

pub fn describe_groups_request() -> impl Strategy<Value = DescribeGroupsRequest> {
    vec(string(), ITEMS).prop_map(|groups| DescribeGroupsRequest { groups })
}

pub fn describe_groups_reply() -> impl Strategy<Value = DescribeGroupsReply> {
    let member = (string(), maybe(), string(), string(), bulk(), bulk()).prop_map(
        |(member_id, instance_id, client_id, client_host, metadata, assignment)| DescribedMember {
            member_id,
            instance_id,
            client_id,
            client_host,
            metadata: Bytes::from(metadata),
            assignment: Bytes::from(assignment),
        },
    );
    let group = (error(), string(), string(), string(), string(), any::<i32>(), vec(member, ITEMS)).prop_map(
        |(error, group, state, protocol_type, protocol, generation, members)| DescribedGroup {
            error,
            group,
            state,
            protocol_type,
            protocol,
            generation,
            members,
        },
    );
    vec(group, ITEMS).prop_map(|groups| DescribeGroupsReply { groups })
}
