//! What a coordinator said, in the words of the native protocol.
//!
//!     Reply::Join(Ok(Joined { … })) ──▶ JoinGroupReply ──▶ the connection's outbox

use protocol::api::{
    Api, DeleteGroupsReply, DescribeGroupsReply, DescribedGroup, DescribedMember, FetchedOffset,
    HeartbeatReply, JoinGroupReply, JoinedMember, LeaveGroupReply, LeftMember, ListGroupsReply, ListedGroup,
    Message, OffsetCommitReply, OffsetDeleteReply, OffsetFetchReply, SyncGroupReply,
};
use protocol::frame::FrameHeader;
use protocol::model::ErrorCode;

use crate::connection::Connection;
use crate::groups::{self, JoinRefused, Joined, PartitionOutcome, Reply, Synced};

/// Queues the reply to a request about groups, all of whose parts have been answered.
pub fn reply_group(
    connection: &Connection,
    header: FrameHeader,
    names: Vec<String>,
    unknown: &[usize],
    replies: Vec<Option<Reply>>,
) {
    let mut replies = replies.into_iter().map(|reply| reply.expect("BUG: a part without an answer"));
    match header.api {
        Api::ListGroups => return send(connection, header, &list(&names, replies)),
        Api::DescribeGroups => {
            let groups = names.into_iter().zip(replies).map(|(name, reply)| describe(name, reply)).collect();
            return send(connection, header, &DescribeGroupsReply { groups });
        }
        Api::DeleteGroups => {
            let errors = replies.map(deleted).collect();
            return send(connection, header, &DeleteGroupsReply { errors });
        }
        _ => {}
    }
    match replies.next().expect("BUG: one part") {
        Reply::Join(join) => send(connection, header, &joined(join)),
        Reply::Sync(sync) => send(connection, header, &synced(sync)),
        Reply::Heartbeat(error) => send(connection, header, &HeartbeatReply { error }),
        Reply::Leave(leave) => send(connection, header, &left(leave)),
        Reply::Commit(outcomes) => send(connection, header, &committed(unknown, &outcomes)),
        Reply::FetchOffsets(found) => send(connection, header, &fetched(found)),
        Reply::DeleteOffsets(outcome) => send(connection, header, &offsets_deleted(outcome)),
        Reply::DeleteGroup(_) | Reply::List(_) | Reply::Describe(_) => panic!("BUG: answered above"),
    }
}

fn send(connection: &Connection, header: FrameHeader, reply: &impl Message) {
    connection.reply(header.api, header.correlation, |out| reply.append_to(out));
}

fn joined(join: Result<Joined, JoinRefused>) -> JoinGroupReply {
    let join = match join {
        Ok(join) => join,
        Err(JoinRefused { code, member }) => return JoinGroupReply::refused(code, &member),
    };
    let member = |member: groups::JoinedMember| JoinedMember {
        member_id: member.member.to_string(),
        instance_id: member.instance.map(|instance| instance.to_string()),
        metadata: member.metadata,
    };
    JoinGroupReply {
        error: ErrorCode::None,
        generation: join.generation.0,
        protocol_type: Some(join.protocol_type.to_string()),
        protocol: Some(join.protocol.to_string()),
        leader: join.leader.to_string(),
        member_id: join.member.to_string(),
        skip_assignment: join.skip_assignment,
        members: join.members.into_iter().map(member).collect(),
    }
}

fn synced(sync: Result<Synced, ErrorCode>) -> SyncGroupReply {
    match sync {
        Ok(sync) => SyncGroupReply {
            error: ErrorCode::None,
            protocol_type: Some(sync.protocol_type.to_string()),
            protocol: Some(sync.protocol.to_string()),
            assignment: sync.assignment,
        },
        Err(code) => SyncGroupReply::refused(code),
    }
}

fn left(leave: Result<Vec<groups::Left>, ErrorCode>) -> LeaveGroupReply {
    let member = |left: groups::Left| LeftMember {
        member_id: left.member.to_string(),
        instance_id: left.instance.map(|instance| instance.to_string()),
        error: left.code,
    };
    match leave {
        Ok(members) => {
            LeaveGroupReply { error: ErrorCode::None, members: members.into_iter().map(member).collect() }
        }
        Err(error) => LeaveGroupReply { error, members: Vec::new() },
    }
}

/// `unknown` are the places of partitions that do not exist, about which the coordinator was not asked.
pub fn committed(unknown: &[usize], outcomes: &[PartitionOutcome]) -> OffsetCommitReply {
    let mut errors: Vec<ErrorCode> = outcomes.iter().map(|outcome| outcome.code).collect();
    for at in unknown {
        errors.insert(*at, ErrorCode::UnknownTopicOrPartition);
    }
    OffsetCommitReply { errors }
}

fn fetched(found: Result<Vec<groups::FetchedOffset>, ErrorCode>) -> OffsetFetchReply {
    let entry = |found: groups::FetchedOffset| {
        let committed = found.committed.as_ref();
        FetchedOffset {
            topic: found.topic.to_string(),
            partition: found.partition,
            offset: committed.map(|committed| committed.offset),
            leader_epoch: committed.and_then(|committed| committed.leader_epoch),
            metadata: committed.map(|committed| committed.metadata.to_string()),
            error: ErrorCode::None,
        }
    };
    match found {
        Ok(found) => {
            OffsetFetchReply { error: ErrorCode::None, entries: found.into_iter().map(entry).collect() }
        }
        Err(code) => OffsetFetchReply::refused(code),
    }
}

fn offsets_deleted(outcome: Result<Vec<PartitionOutcome>, ErrorCode>) -> OffsetDeleteReply {
    match outcome {
        Ok(outcomes) => OffsetDeleteReply {
            error: ErrorCode::None,
            errors: outcomes.iter().map(|outcome| outcome.code).collect(),
        },
        Err(code) => OffsetDeleteReply::refused(code),
    }
}

fn deleted(reply: Reply) -> ErrorCode {
    let Reply::DeleteGroup(code) = reply else { panic!("BUG: not a deletion") };
    code
}

fn describe(group: String, reply: Reply) -> DescribedGroup {
    let Reply::Describe(described) = reply else { panic!("BUG: not a description") };
    let member = |member: groups::DescribedMember| DescribedMember {
        member_id: member.member.to_string(),
        instance_id: member.instance.map(|instance| instance.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        metadata: member.metadata,
        assignment: member.assignment,
    };
    match described {
        Ok(found) => DescribedGroup {
            error: ErrorCode::None,
            group,
            state: found.state.name().to_owned(),
            protocol_type: found.protocol_type.to_string(),
            protocol: found.protocol.to_string(),
            generation: found.generation.0,
            members: found.members.into_iter().map(member).collect(),
        },
        Err(error) => DescribedGroup {
            error,
            group,
            state: groups::State::Dead.name().to_owned(),
            protocol_type: String::new(),
            protocol: String::new(),
            generation: groups::Generation::NONE.0,
            members: Vec::new(),
        },
    }
}

/// All shards' groups, those in one of the states if any are named.
fn list(states: &[String], replies: impl Iterator<Item = Reply>) -> ListGroupsReply {
    let mut groups = Vec::new();
    for reply in replies {
        let Reply::List(listed) = reply else { panic!("BUG: not a list") };
        match listed {
            Ok(listed) => groups.extend(listed),
            Err(code) => return ListGroupsReply::refused(code),
        }
    }
    let is_wanted = |group: &groups::ListedGroup| {
        states.is_empty() || states.iter().any(|state| state.eq_ignore_ascii_case(group.state.name()))
    };
    groups.retain(is_wanted);
    groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    let entry = |group: groups::ListedGroup| ListedGroup {
        group: group.group.to_string(),
        protocol_type: group.protocol_type.to_string(),
        state: group.state.name().to_owned(),
    };
    ListGroupsReply { error: ErrorCode::None, groups: groups.into_iter().map(entry).collect() }
}
