//! The messages about groups, for the target of all messages.
//!
//!     JoinGroup, SyncGroup     views: what they borrow is written again as it was read
//!     the others               read whole

use bytes::Bytes;
use protocol::api::{
    Assignment, DecodeError, DeleteGroupsReply, DeleteGroupsRequest, DescribeGroupsReply,
    DescribeGroupsRequest, FindCoordinatorReply, FindCoordinatorRequest, HeartbeatReply, HeartbeatRequest,
    JoinGroupReply, JoinGroupRequest, JoinedMember, LeaveGroupReply, LeaveGroupRequest, LeavingMember,
    ListGroupsReply, ListGroupsRequest, Message, OfferedProtocol, OffsetCommitEntry, OffsetCommitReply,
    OffsetCommitRequest, OffsetDeleteReply, OffsetDeleteRequest, OffsetFetchReply, OffsetFetchRequest,
    OffsetSelection, SyncGroupReply, SyncGroupRequest, Writer,
};
use protocol::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

use super::wire::{Reader, whole};

pub const READERS: [Reader; 22] = [
    read_join,
    read_sync,
    whole::<FindCoordinatorRequest>,
    whole::<HeartbeatRequest>,
    whole::<LeaveGroupRequest>,
    whole::<OffsetCommitRequest>,
    whole::<OffsetFetchRequest>,
    whole::<OffsetDeleteRequest>,
    whole::<ListGroupsRequest>,
    whole::<DescribeGroupsRequest>,
    whole::<DeleteGroupsRequest>,
    whole::<FindCoordinatorReply>,
    whole::<JoinGroupReply>,
    whole::<SyncGroupReply>,
    whole::<HeartbeatReply>,
    whole::<LeaveGroupReply>,
    whole::<OffsetCommitReply>,
    whole::<OffsetFetchReply>,
    whole::<OffsetDeleteReply>,
    whole::<ListGroupsReply>,
    whole::<DescribeGroupsReply>,
    whole::<DeleteGroupsReply>,
];

fn read_join(body: &Bytes) -> Result<(), DecodeError> {
    let request = JoinGroupRequest::parse(body)?;
    let mut again = Vec::new();
    request.write(&mut Writer::new(&mut again));
    assert_eq!(again, body[..], "every byte of a JoinGroup says something");
    Ok(())
}

fn read_sync(body: &Bytes) -> Result<(), DecodeError> {
    let request = SyncGroupRequest::parse(body)?;
    let mut again = Vec::new();
    request.write(&mut Writer::new(&mut again));
    assert_eq!(again, body[..], "every byte of a SyncGroup says something");
    Ok(())
}

/// Bodies of the messages that have lists of structs, and which reader each is for.
pub fn seeds() -> Vec<(usize, Vec<u8>)> {
    let mut seeds = joins();
    seeds.extend(offsets());
    seeds
}

fn joins() -> Vec<(usize, Vec<u8>)> {
    let join = JoinGroupRequest {
        group: "billing",
        member_id: "a-1",
        instance_id: Some("a"),
        client_id: "a",
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: "consumer",
        protocols: vec![OfferedProtocol { name: "range", metadata: &[0; 10] }; 2],
        reason: None,
    };
    let sync = SyncGroupRequest {
        group: "billing",
        generation: 7,
        member_id: "a-1",
        instance_id: None,
        protocol_type: Some("consumer"),
        protocol: Some("range"),
        assignments: vec![Assignment { member_id: "a-1", bytes: &[1; 10] }; 2],
    };
    let leaving = LeavingMember { member_id: "a-1".to_owned(), instance_id: None, reason: None };
    let leave = LeaveGroupRequest { group: "billing".to_owned(), members: vec![leaving; 2] };
    let member = JoinedMember {
        member_id: "a-1".to_owned(),
        instance_id: None,
        metadata: Bytes::from_static(&[0; 10]),
    };
    let joined =
        JoinGroupReply { members: vec![member; 2], ..JoinGroupReply::refused(ErrorCode::None, "a-1") };
    vec![
        (0, body(|out| join.write(&mut Writer::new(out)))),
        (1, body(|out| sync.write(&mut Writer::new(out)))),
        (4, body(|out| leave.append_to(out))),
        (12, body(|out| joined.append_to(out))),
    ]
}

fn offsets() -> Vec<(usize, Vec<u8>)> {
    let entry = OffsetCommitEntry {
        topic: "orders".to_owned(),
        partition: PartitionIndex::new(0),
        offset: Offset::new(1000),
        leader_epoch: Some(LeaderEpoch::FIRST),
        metadata: Some("m".to_owned()),
    };
    let commit = OffsetCommitRequest {
        group: "billing".to_owned(),
        generation: 7,
        member_id: "a-1".to_owned(),
        instance_id: None,
        entries: vec![entry; 2],
    };
    let partitions = vec![("orders".to_owned(), PartitionIndex::new(0)); 2];
    let fetch = OffsetFetchRequest {
        group: "billing".to_owned(),
        member_id: None,
        generation: -1,
        require_stable: true,
        entries: OffsetSelection::Of(partitions.clone()),
    };
    let delete = OffsetDeleteRequest { group: "billing".to_owned(), entries: partitions };
    vec![
        (5, body(|out| commit.append_to(out))),
        (6, body(|out| fetch.append_to(out))),
        (7, body(|out| delete.append_to(out))),
    ]
}

fn body(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}
