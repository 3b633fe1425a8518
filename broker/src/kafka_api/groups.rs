//! Groups: Kafka's members ask the same coordinators as the native ones, and share their groups.
//!
//!     JoinGroup, SyncGroup     go to the coordinator's shard as they came, and are read there
//!     all others               become what the native protocol asks
//!
//! A group may have members of both protocols: to the coordinator they differ in nothing. Whether they
//! understand each other is up to their protocol type and to the assignors that they offer; a member that
//! does not fit is refused (InconsistentGroupProtocol).

use std::time::Duration;

use bytes::Bytes;
use kafka::messages::find_coordinator::{KEY_OF_GROUP, KEY_OF_TRANSACTION};
use kafka::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, FoundCoordinator, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, JoinedMember, LeaveGroupRequest, LeaveGroupResponse, LeftMember,
    Request, SyncGroupRequest, SyncGroupResponse,
};
use kafka::{Api, ErrorCode as KafkaCode, Malformed};
use protocol::api::{
    HeartbeatRequest as NativeHeartbeat, LeaveGroupRequest as NativeLeave, LeavingMember as NativeLeaving,
};
use protocol::model::ErrorCode;

use super::metadata::node;
use super::{Asked, Call, Shape, code};
use crate::connection::Connection;
use crate::groups::{
    Coordinator, Effects, Generation, Join, JoinRefused, Joined, Left, Now, Reply, ReplyTo, Sync, Synced,
};
use crate::handlers;
use crate::shard::{GroupCall, KafkaCall};

mod admin;
pub use admin::{Filter, delete, delete_offsets, describe, list};

mod offsets;
pub use offsets::{OffsetFetchShape, offset_commit, offset_fetch};
use offsets::{reply_commit, reply_fetch};

/// Member ids are given in an error first since this version (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;

/// A static leader may be told to skip its assignment since this version (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

pub fn find_coordinator(call: Call<'_>) -> Result<(), Malformed> {
    let request: FindCoordinatorRequest<'_> = call.parse()?;
    let view = call.shard.view();
    let (host, port) = &view.identity.kafka;
    let found = |key: &'_ str| match request.key_type {
        KEY_OF_GROUP => call.shard.coordinator_of(key).map_err(code),
        // Not one to try again: the application learns at once that there are no transactions yet.
        KEY_OF_TRANSACTION => Err(KafkaCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        _ => Err(KafkaCode::INVALID_REQUEST),
    };
    let coordinators = request
        .keys
        .iter()
        .map(|key| match found(key) {
            Ok(_) => FoundCoordinator {
                key,
                node_id: node(&view),
                host,
                port: i32::from(*port),
                error: KafkaCode::NONE,
                error_message: None,
            },
            Err(error) => FoundCoordinator::refused(key, error),
        })
        .collect();
    call.respond(&FindCoordinatorResponse { throttle_ms: 0, coordinators });
    Ok(())
}

impl Call<'_> {
    fn ask(self, group: &str, ask: GroupCall) {
        handlers::ask(self.shard, self.connection, self.asked(Shape::Plain), group, ask);
    }

    fn as_it_came(&self) -> KafkaCall {
        KafkaCall {
            body: Bytes::copy_from_slice(self.body),
            version: self.header.version,
            client_id: self.header.client_id.unwrap_or_default().into(),
        }
    }
}

pub fn join_group(call: Call<'_>) -> Result<(), Malformed> {
    let request: JoinGroupRequest<'_> = call.parse()?;
    call.ask(request.group, GroupCall::KafkaJoin(call.as_it_came()));
    Ok(())
}

pub fn sync_group(call: Call<'_>) -> Result<(), Malformed> {
    let request: SyncGroupRequest<'_> = call.parse()?;
    call.ask(request.group, GroupCall::KafkaSync(call.as_it_came()));
    Ok(())
}

pub fn heartbeat(call: Call<'_>) -> Result<(), Malformed> {
    let request: HeartbeatRequest<'_> = call.parse()?;
    let ask = NativeHeartbeat {
        group: request.group.to_owned(),
        generation: request.generation,
        member_id: request.member_id.to_owned(),
        instance_id: request.instance_id.map(str::to_owned),
    };
    call.ask(request.group, GroupCall::Heartbeat(ask));
    Ok(())
}

pub fn leave_group(call: Call<'_>) -> Result<(), Malformed> {
    let request: LeaveGroupRequest<'_> = call.parse()?;
    let members = request.members.iter().map(|member| NativeLeaving {
        member_id: member.member_id.to_owned(),
        instance_id: member.instance_id.map(str::to_owned),
        reason: member.reason.map(str::to_owned),
    });
    let ask = NativeLeave { group: request.group.to_owned(), members: members.collect() };
    call.ask(request.group, GroupCall::Leave(ask));
    Ok(())
}

/// Puts a JoinGroup to the coordinator, which is on this shard.
pub fn join(
    coordinator: &mut Coordinator,
    client_host: &str,
    call: &KafkaCall,
    to: ReplyTo,
    now: Now,
    effects: &mut Effects,
) {
    let request = JoinGroupRequest::parse(&call.body, call.version).expect("BUG: it was parsed when it came");
    let protocols: Vec<(&str, &[u8])> =
        request.protocols.iter().map(|protocol| (protocol.name, protocol.metadata)).collect();
    let join = Join {
        group: request.group,
        member: request.member_id,
        instance: request.instance_id,
        client_id: &call.client_id,
        client_host,
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type,
        protocols: &protocols,
        member_id_required: MEMBER_ID_REQUIRED_SINCE <= call.version,
        can_skip_assignment: SKIP_ASSIGNMENT_SINCE <= call.version,
    };
    coordinator.join(&join, to, now, effects);
}

/// Puts a SyncGroup to the coordinator, which is on this shard.
pub fn sync(coordinator: &mut Coordinator, call: &KafkaCall, to: ReplyTo, now: Now, effects: &mut Effects) {
    let request = SyncGroupRequest::parse(&call.body, call.version).expect("BUG: it was parsed when it came");
    let assignments: Vec<(&str, &[u8])> =
        request.assignments.iter().map(|assignment| (assignment.member_id, assignment.assignment)).collect();
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

/// A negative time is one that no group allows.
fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Queues the reply to a request about groups.
pub fn reply(connection: &Connection, asked: Asked, unknown: &[usize], replies: Vec<Option<Reply>>) {
    let mut replies = replies.into_iter().map(|reply| reply.expect("BUG: a part without an answer"));
    match asked.api {
        Api::OffsetFetch => return reply_fetch(connection, &asked, replies),
        Api::ListGroups => return admin::reply_list(connection, &asked, replies),
        Api::DescribeGroups => return admin::reply_describe(connection, &asked, replies),
        Api::DeleteGroups => return admin::reply_delete(connection, &asked, replies),
        _ => {}
    }
    match replies.next().expect("BUG: one part") {
        Reply::Join(Ok(joined)) => reply_joined(connection, &asked, &joined),
        Reply::Join(Err(JoinRefused { code: error, member })) => {
            asked.respond(connection, &JoinGroupResponse::refused(code(error), &member));
        }
        Reply::Sync(Ok(synced)) => reply_synced(connection, &asked, &synced),
        Reply::Sync(Err(error)) => asked.respond(connection, &SyncGroupResponse::refused(code(error))),
        Reply::Heartbeat(error) => {
            asked.respond(connection, &HeartbeatResponse { throttle_ms: 0, error: code(error) });
        }
        Reply::Leave(left) => reply_left(connection, &asked, left),
        Reply::Commit(outcomes) => reply_commit(connection, &asked, unknown, &outcomes),
        Reply::DeleteOffsets(outcome) => admin::reply_delete_offsets(connection, &asked, outcome),
        reply => panic!("BUG: {reply:?} is not an answer to {}", asked.api),
    }
}

fn reply_joined(connection: &Connection, asked: &Asked, joined: &Joined) {
    let members = joined.members.iter().map(|member| JoinedMember {
        member_id: &member.member,
        instance_id: member.instance.as_deref(),
        metadata: &member.metadata,
    });
    let response = JoinGroupResponse {
        throttle_ms: 0,
        error: KafkaCode::NONE,
        generation: joined.generation.0,
        protocol_type: Some(&joined.protocol_type),
        protocol: Some(&joined.protocol),
        leader: &joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: &joined.member,
        members: members.collect(),
    };
    asked.respond(connection, &response);
}

fn reply_synced(connection: &Connection, asked: &Asked, synced: &Synced) {
    let response = SyncGroupResponse {
        throttle_ms: 0,
        error: KafkaCode::NONE,
        protocol_type: Some(&synced.protocol_type),
        protocol: Some(&synced.protocol),
        assignment: &synced.assignment,
    };
    asked.respond(connection, &response);
}

fn reply_left(connection: &Connection, asked: &Asked, left: Result<Vec<Left>, ErrorCode>) {
    let (error, left) = match left {
        Ok(left) => (ErrorCode::None, left),
        Err(error) => (error, Vec::new()),
    };
    // The one member of an old request has the error of the request.
    let of_one = left.first().map_or(ErrorCode::None, |member| member.code);
    let error = if asked.version < 3 && error.is_ok() { of_one } else { error };
    let members = left.iter().map(|member| LeftMember {
        member_id: &member.member,
        instance_id: member.instance.as_deref(),
        error: code(member.code),
    });
    asked.respond(
        connection,
        &LeaveGroupResponse { throttle_ms: 0, error: code(error), members: members.collect() },
    );
}
