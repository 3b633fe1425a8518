//! Groups: every request goes to the coordinator of its group, which may be on another shard, and its
//! reply is encoded here, where the connection is.
//!
//!     body ─ read ─▶ GroupAsk { group, call } ─ ask_group ─▶ coordinator
//!     body ◀─ write ─ Waiting::Group { replies } ◀─ take_group_reply ─┘
//!
//! One request has one part for each group it names; ListGroups has one for each shard.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use protocol::api::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorReply, FindCoordinatorRequest,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, Message, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetSelection, SyncGroupRequest,
};
use protocol::frame::FrameHeader;
use protocol::model::{ErrorCode, PartitionIndex, ShardId};

use super::{Refusal, begin_entries};
use crate::connection::Connection;
use crate::groups::{
    Commit, CommitPartition, Coordinator, Effects, Generation, Heartbeat, Join, Leave, Leaving, Now, Reply,
    ReplyTo, Sync,
};
use crate::kafka_api;
use crate::shard::{Asked, GroupAsk, GroupCall, Origin, Shard, ShardMessage, Waiting};

mod reply;
pub use reply::{committed, reply_group};

type Answer = Result<(), Refusal>;

/// Asks one coordinator.
pub fn ask(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    group: &str,
    call: GroupCall,
) {
    let waiting = Waiting::Group { names: Vec::new(), unknown: Vec::new(), replies: vec![None] };
    ask_one(shard, connection, asked, waiting, group, call);
}

pub fn ask_one(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    waiting: Waiting,
    group: &str,
    call: GroupCall,
) {
    let ask = GroupAsk::new(group, connection.peer_host(), call);
    begin_entries(shard, connection, asked, vec![ask], waiting, |shard, origin, ask| {
        shard.ask_group(origin, ask);
    });
}

/// Asks the coordinator of each group.
fn ask_each(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    groups: Vec<String>,
    call: impl Fn() -> GroupCall,
) -> Answer {
    let asks = groups.iter().map(|group| GroupAsk::new(group, connection.peer_host(), call())).collect();
    let waiting = Waiting::Group { replies: vec![None; groups.len()], unknown: Vec::new(), names: groups };
    begin_entries(shard, connection, asked, asks, waiting, |shard, origin, ask| shard.ask_group(origin, ask));
    Ok(())
}

pub fn handle_join(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = JoinGroupRequest::parse(body)?;
    ask(shard, connection, header, request.group, GroupCall::Join(Bytes::copy_from_slice(body)));
    Ok(())
}

pub fn handle_sync(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = SyncGroupRequest::parse(body)?;
    ask(shard, connection, header, request.group, GroupCall::Sync(Bytes::copy_from_slice(body)));
    Ok(())
}

pub fn handle_heartbeat(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = HeartbeatRequest::read(body)?;
    ask(shard, connection, header, &request.group.clone(), GroupCall::Heartbeat(request));
    Ok(())
}

pub fn handle_leave(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = LeaveGroupRequest::read(body)?;
    ask(shard, connection, header, &request.group.clone(), GroupCall::Leave(request));
    Ok(())
}

pub fn handle_commit(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let mut request = OffsetCommitRequest::read(body)?;
    let unknown = take_unknown(shard, &mut request);
    let waiting = Waiting::Group { names: Vec::new(), unknown, replies: vec![None] };
    let group = request.group.clone();
    let call = GroupCall::Commit { request, without: Vec::new() };
    ask_one(shard, connection, header, waiting, &group, call);
    Ok(())
}

/// Takes out the partitions that do not exist, about which the coordinator is not asked. Returns their
/// places in the request.
fn take_unknown(shard: &Shard, request: &mut OffsetCommitRequest) -> Vec<usize> {
    let view = shard.view();
    let mut unknown = Vec::new();
    let mut at = 0;
    request.entries.retain(|entry| {
        let topic = view.topic(&entry.topic);
        let exists = topic.is_some_and(|topic| entry.partition.get() < topic.partitions());
        unknown.extend((!exists).then_some(at));
        at += 1;
        exists
    });
    unknown
}

pub fn handle_fetch(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = OffsetFetchRequest::read(body)?;
    ask(shard, connection, header, &request.group.clone(), GroupCall::FetchOffsets(request));
    Ok(())
}

pub fn handle_delete_offsets(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = OffsetDeleteRequest::read(body)?;
    ask(shard, connection, header, &request.group.clone(), GroupCall::DeleteOffsets(request));
    Ok(())
}

pub fn handle_describe(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = DescribeGroupsRequest::read(body)?;
    ask_each(shard, connection, header, request.groups, || GroupCall::Describe)
}

pub fn handle_delete(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = DeleteGroupsRequest::read(body)?;
    ask_each(shard, connection, header, request.groups, || GroupCall::Delete)
}

pub fn handle_list(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = ListGroupsRequest::read(body)?;
    list_groups(shard, connection, header, request.states);
    Ok(())
}

/// Asks every shard for its groups. `states` are those that the native reply tells.
pub fn list_groups(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    states: Vec<String>,
) {
    let shards: Vec<ShardId> = shard.view().shards().collect();
    let waiting = Waiting::Group { names: states, unknown: Vec::new(), replies: vec![None; shards.len()] };
    begin_entries(shard, connection, asked, shards, waiting, |shard, origin, of| match of == shard.id {
        true => shard.answer_group(origin, shard.list_groups()),
        false => shard.send(of, ShardMessage::ListGroups { origin }),
    });
}

/// Which shard coordinates a group; asked by clients that want to spare the way over another one.
pub fn handle_find(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Answer {
    let request = FindCoordinatorRequest::read(body)?;
    let reply = match shard.coordinator_of(&request.group) {
        Ok(shard) => FindCoordinatorReply { error: ErrorCode::None, shard },
        Err(error) => FindCoordinatorReply { error, shard: shard.id },
    };
    connection.reply(header.api, header.correlation, |out| reply.append_to(out));
    shard.touch(connection);
    Ok(())
}

/// One part of a request of this shard has been answered.
pub fn take_group_reply(shard: &Shard, origin: Origin, reply: Reply) {
    shard.complete(origin, |waiting| {
        let Waiting::Group { replies, .. } = waiting else { panic!("BUG: not about a group") };
        *replies.get_mut(origin.part as usize).expect("BUG: no such part") = Some(reply);
    });
}

/// Puts the question to the coordinator, which is on this shard.
pub fn ask_coordinator(
    coordinator: &mut Coordinator,
    ask: &GroupAsk,
    to: ReplyTo,
    now: Now,
    effects: &mut Effects,
) {
    let group = ask.group();
    match ask.call() {
        GroupCall::Join(body) => join(coordinator, ask.client_host(), body, to, now, effects),
        GroupCall::Sync(body) => sync(coordinator, body, to, now, effects),
        GroupCall::KafkaJoin(call) => {
            kafka_api::join(coordinator, ask.client_host(), call, to, now, effects);
        }
        GroupCall::KafkaSync(call) => kafka_api::sync(coordinator, call, to, now, effects),
        GroupCall::Heartbeat(request) => {
            let heartbeat = Heartbeat {
                group,
                generation: Generation(request.generation),
                member: &request.member_id,
                instance: request.instance_id.as_deref(),
            };
            coordinator.heartbeat(&heartbeat, to, now, effects);
        }
        GroupCall::Leave(request) => {
            let mut members = Vec::with_capacity(request.members.len());
            for member in &request.members {
                members.push(Leaving { member: &member.member_id, instance: member.instance_id.as_deref() });
            }
            coordinator.leave(&Leave { group, members: &members }, to, now, effects);
        }
        GroupCall::Commit { request, without } => commit(coordinator, request, without, to, now, effects),
        GroupCall::FetchOffsets(request) => match &request.entries {
            OffsetSelection::All => coordinator.fetch_offsets(group, None, to, effects),
            OffsetSelection::Of(entries) => {
                let each = one_by_one(entries);
                coordinator.fetch_offsets(group, Some(&borrow(&each)), to, effects);
            }
        },
        GroupCall::DeleteOffsets(request) => {
            let each = one_by_one(&request.entries);
            coordinator.delete_offsets(group, &borrow(&each), to, effects);
        }
        GroupCall::Describe => coordinator.describe(group, to, effects),
        GroupCall::Delete => coordinator.delete_group(group, to, effects),
    }
}

/// Replies name partitions in the order of the request: each entry is a topic of its own to the coordinator.
fn one_by_one(entries: &[(String, PartitionIndex)]) -> Vec<(&str, [PartitionIndex; 1])> {
    entries.iter().map(|(topic, partition)| (topic.as_str(), [*partition])).collect()
}

fn borrow<'a>(each: &'a [(&'a str, [PartitionIndex; 1])]) -> Vec<(&'a str, &'a [PartitionIndex])> {
    each.iter().map(|(topic, partition)| (*topic, partition.as_slice())).collect()
}

fn join(
    coordinator: &mut Coordinator,
    client_host: &str,
    body: &[u8],
    to: ReplyTo,
    now: Now,
    effects: &mut Effects,
) {
    let request = JoinGroupRequest::parse(body).expect("BUG: it was parsed when it came");
    let protocols: Vec<(&str, &[u8])> =
        request.protocols.iter().map(|protocol| (protocol.name, protocol.metadata)).collect();
    let join = Join {
        group: request.group,
        member: request.member_id,
        instance: request.instance_id,
        client_id: request.client_id,
        client_host,
        session_timeout: Duration::from_millis(request.session_timeout_ms.into()),
        rebalance_timeout: Duration::from_millis(request.rebalance_timeout_ms.into()),
        protocol_type: request.protocol_type,
        protocols: &protocols,
        member_id_required: true,
        can_skip_assignment: true,
    };
    coordinator.join(&join, to, now, effects);
}

fn sync(coordinator: &mut Coordinator, body: &[u8], to: ReplyTo, now: Now, effects: &mut Effects) {
    let request = SyncGroupRequest::parse(body).expect("BUG: it was parsed when it came");
    let assignments: Vec<(&str, &[u8])> =
        request.assignments.iter().map(|assignment| (assignment.member_id, assignment.bytes)).collect();
    let sync = Sync {
        group: request.group,
        generation: Generation(request.generation),
        member: request.member_id,
        instance: request.instance_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol,
        assignments: &assignments,
    };
    coordinator.sync(&sync, to, now, effects);
}

fn commit(
    coordinator: &mut Coordinator,
    request: &OffsetCommitRequest,
    without: &[usize],
    to: ReplyTo,
    now: Now,
    effects: &mut Effects,
) {
    let partitions: Vec<(&str, [CommitPartition<'_>; 1])> = request
        .entries
        .iter()
        .enumerate()
        .map(|(place, entry)| {
            let partition = CommitPartition {
                partition: entry.partition,
                offset: without.binary_search(&place).is_err().then_some(entry.offset),
                leader_epoch: entry.leader_epoch,
                metadata: entry.metadata.as_deref().unwrap_or_default(),
            };
            (entry.topic.as_str(), [partition])
        })
        .collect();
    let topics: Vec<(&str, &[CommitPartition<'_>])> =
        partitions.iter().map(|(topic, partition)| (*topic, partition.as_slice())).collect();
    let commit = Commit {
        group: &request.group,
        generation: Generation(request.generation),
        member: &request.member_id,
        instance: request.instance_id.as_deref(),
        topics: &topics,
    };
    coordinator.commit_offsets(&commit, to, now, effects);
}
