//! The example frames of the messages about groups.
//!
//!     one story: `a-1` reads partition 0 of `orders` in the group `billing`, generation 7

use bytes::Bytes;
use protocol::api::{
    Assignment, DeleteGroupsReply, DeleteGroupsRequest, DescribeGroupsReply, DescribeGroupsRequest,
    DescribedGroup, DescribedMember, FetchedOffset, FindCoordinatorReply, FindCoordinatorRequest,
    HeartbeatReply, HeartbeatRequest, JoinGroupReply, JoinGroupRequest, JoinedMember, LeaveGroupReply,
    LeaveGroupRequest, LeavingMember, LeftMember, ListGroupsReply, ListGroupsRequest, ListedGroup,
    OfferedProtocol, OffsetCommitEntry, OffsetCommitReply, OffsetCommitRequest, OffsetDeleteReply,
    OffsetDeleteRequest, OffsetFetchReply, OffsetFetchRequest, OffsetSelection, SyncGroupReply,
    SyncGroupRequest,
};
use protocol::frame::FrameKind;
use protocol::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, ShardId};

use super::examples::Example;

const GROUP: &str = "billing";
const MEMBER: &str = "a-1";
const RANGE: &str = "range";
const CONSUMER: &str = "consumer";
const GENERATION: i32 = 7;

/// As Kafka's consumers write it: version 0, the topic `orders`, no bytes of the user's.
const METADATA: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\0";

/// Version 0, partition 0 of `orders`, no bytes of the user's.
const ASSIGNMENT: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\0\0\0\0\0";

pub fn examples() -> Vec<Vec<Example>> {
    vec![
        find_coordinator(),
        join_group(),
        sync_group(),
        heartbeat(),
        leave_group(),
        offset_commit(),
        offset_fetch(),
        offset_delete(),
        list_groups(),
        describe_groups(),
        delete_groups(),
    ]
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn find_coordinator() -> Vec<Example> {
    let request = FindCoordinatorRequest { group: GROUP.to_owned() };
    let reply = FindCoordinatorReply { error: ErrorCode::None, shard: ShardId::new(1) };
    vec![
        Example::whole("FindCoordinator request", FrameKind::Request, &request),
        Example::whole("FindCoordinator reply", FrameKind::Reply, &reply),
    ]
}

fn join_group() -> Vec<Example> {
    let asked = JoinGroupRequest {
        group: GROUP,
        member_id: MEMBER,
        instance_id: None,
        client_id: "a",
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: CONSUMER,
        protocols: vec![OfferedProtocol { name: RANGE, metadata: METADATA }],
        reason: None,
    };
    let request = Example::new("JoinGroup request", JoinGroupRequest::API, FrameKind::Request, &[], |w| {
        asked.write(w);
    });
    assert_eq!(JoinGroupRequest::parse(request.body()), Ok(asked));
    let member = JoinedMember {
        member_id: MEMBER.to_owned(),
        instance_id: None,
        metadata: Bytes::from_static(METADATA),
    };
    let reply = JoinGroupReply {
        error: ErrorCode::None,
        generation: GENERATION,
        protocol_type: some(CONSUMER),
        protocol: some(RANGE),
        leader: MEMBER.to_owned(),
        member_id: MEMBER.to_owned(),
        skip_assignment: false,
        members: vec![member],
    };
    vec![request, Example::whole("JoinGroup reply", FrameKind::Reply, &reply)]
}

fn sync_group() -> Vec<Example> {
    let asked = SyncGroupRequest {
        group: GROUP,
        generation: GENERATION,
        member_id: MEMBER,
        instance_id: None,
        protocol_type: Some(CONSUMER),
        protocol: Some(RANGE),
        assignments: vec![Assignment { member_id: MEMBER, bytes: ASSIGNMENT }],
    };
    let request = Example::new("SyncGroup request", SyncGroupRequest::API, FrameKind::Request, &[], |w| {
        asked.write(w);
    });
    assert_eq!(SyncGroupRequest::parse(request.body()), Ok(asked));
    let reply = SyncGroupReply {
        error: ErrorCode::None,
        protocol_type: some(CONSUMER),
        protocol: some(RANGE),
        assignment: Bytes::from_static(ASSIGNMENT),
    };
    vec![request, Example::whole("SyncGroup reply", FrameKind::Reply, &reply)]
}

fn heartbeat() -> Vec<Example> {
    let request = HeartbeatRequest {
        group: GROUP.to_owned(),
        generation: GENERATION,
        member_id: MEMBER.to_owned(),
        instance_id: None,
    };
    let reply = HeartbeatReply { error: ErrorCode::RebalanceInProgress };
    vec![
        Example::whole("Heartbeat request", FrameKind::Request, &request),
        Example::whole("Heartbeat reply", FrameKind::Reply, &reply),
    ]
}

fn leave_group() -> Vec<Example> {
    let leaving = LeavingMember {
        member_id: MEMBER.to_owned(),
        instance_id: None,
        reason: some("the consumer is being closed"),
    };
    let request = LeaveGroupRequest { group: GROUP.to_owned(), members: vec![leaving] };
    let left = LeftMember { member_id: MEMBER.to_owned(), instance_id: None, error: ErrorCode::None };
    let reply = LeaveGroupReply { error: ErrorCode::None, members: vec![left] };
    vec![
        Example::whole("LeaveGroup request", FrameKind::Request, &request),
        Example::whole("LeaveGroup reply", FrameKind::Reply, &reply),
    ]
}

fn offset_commit() -> Vec<Example> {
    let entry = OffsetCommitEntry {
        topic: "orders".to_owned(),
        partition: PartitionIndex::new(0),
        offset: Offset::new(1000),
        leader_epoch: Some(LeaderEpoch::FIRST),
        metadata: None,
    };
    let request = OffsetCommitRequest {
        group: GROUP.to_owned(),
        generation: GENERATION,
        member_id: MEMBER.to_owned(),
        instance_id: None,
        entries: vec![entry],
    };
    let reply = OffsetCommitReply { errors: vec![ErrorCode::None] };
    vec![
        Example::whole("OffsetCommit request", FrameKind::Request, &request),
        Example::whole("OffsetCommit reply", FrameKind::Reply, &reply),
    ]
}

fn offset_fetch() -> Vec<Example> {
    let request = OffsetFetchRequest {
        group: GROUP.to_owned(),
        member_id: None,
        generation: -1,
        require_stable: true,
        entries: OffsetSelection::Of(vec![("orders".to_owned(), PartitionIndex::new(0))]),
    };
    let fetched = FetchedOffset {
        topic: "orders".to_owned(),
        partition: PartitionIndex::new(0),
        offset: Some(Offset::new(1000)),
        leader_epoch: Some(LeaderEpoch::FIRST),
        metadata: None,
        error: ErrorCode::None,
    };
    let reply = OffsetFetchReply { error: ErrorCode::None, entries: vec![fetched] };
    vec![
        Example::whole("OffsetFetch request", FrameKind::Request, &request),
        Example::whole("OffsetFetch reply", FrameKind::Reply, &reply),
    ]
}

fn offset_delete() -> Vec<Example> {
    let entries = vec![("orders".to_owned(), PartitionIndex::new(0))];
    let request = OffsetDeleteRequest { group: GROUP.to_owned(), entries };
    let reply = OffsetDeleteReply { error: ErrorCode::None, errors: vec![ErrorCode::GroupSubscribedToTopic] };
    vec![
        Example::whole("OffsetDelete request", FrameKind::Request, &request),
        Example::whole("OffsetDelete reply", FrameKind::Reply, &reply),
    ]
}

fn list_groups() -> Vec<Example> {
    let request = ListGroupsRequest { states: vec!["Stable".to_owned()] };
    let group = ListedGroup {
        group: GROUP.to_owned(),
        protocol_type: CONSUMER.to_owned(),
        state: "Stable".to_owned(),
    };
    let reply = ListGroupsReply { error: ErrorCode::None, groups: vec![group] };
    vec![
        Example::whole("ListGroups request", FrameKind::Request, &request),
        Example::whole("ListGroups reply", FrameKind::Reply, &reply),
    ]
}

fn describe_groups() -> Vec<Example> {
    let request = DescribeGroupsRequest { groups: vec![GROUP.to_owned()] };
    let member = DescribedMember {
        member_id: MEMBER.to_owned(),
        instance_id: None,
        client_id: "a".to_owned(),
        client_host: "127.0.0.1".to_owned(),
        metadata: Bytes::from_static(METADATA),
        assignment: Bytes::from_static(ASSIGNMENT),
    };
    let group = DescribedGroup {
        error: ErrorCode::None,
        group: GROUP.to_owned(),
        state: "Stable".to_owned(),
        protocol_type: CONSUMER.to_owned(),
        protocol: RANGE.to_owned(),
        generation: GENERATION,
        members: vec![member],
    };
    vec![
        Example::whole("DescribeGroups request", FrameKind::Request, &request),
        Example::whole(
            "DescribeGroups reply",
            FrameKind::Reply,
            &DescribeGroupsReply { groups: vec![group] },
        ),
    ]
}

fn delete_groups() -> Vec<Example> {
    let request = DeleteGroupsRequest { groups: vec![GROUP.to_owned()] };
    let reply = DeleteGroupsReply { errors: vec![ErrorCode::NonEmptyGroup] };
    vec![
        Example::whole("DeleteGroups request", FrameKind::Request, &request),
        Example::whole("DeleteGroups reply", FrameKind::Reply, &reply),
    ]
}
