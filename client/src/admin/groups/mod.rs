//! Groups, as an operator sees them: who is in them, how far they have read, and how to change that.
//!
//!     list_groups ▸ describe_groups ▸ group_offsets                     looks
//!     alter_group_offsets ▸ delete_group_offsets ▸ delete_groups        while nobody reads
//!     remove_members                                                    the others rebalance at once
//!
//! Any broker passes these on to the group's coordinator, which may not be ready yet: `ask.rs`.

use std::fmt;
use std::sync::Arc;

use protocol::api::{
    DeleteGroupsReply, DeleteGroupsRequest, DescribeGroupsReply, DescribeGroupsRequest, DescribedGroup,
    DescribedMember, FetchedOffset, LeaveGroupReply, LeaveGroupRequest, LeavingMember, ListGroupsReply,
    ListGroupsRequest, ListedGroup, OffsetCommitEntry, OffsetCommitReply, OffsetCommitRequest,
    OffsetDeleteReply, OffsetDeleteRequest, OffsetFetchReply, OffsetFetchRequest, OffsetSelection,
};
use protocol::model::limits::{
    GROUP_ID_BYTES_MAX, LONG_STRING_BYTES_MAX, MEMBERS_PER_GROUP_MAX, OFFSET_METADATA_BYTES_MAX,
    PARTITIONS_PER_REQUEST_MAX,
};
use protocol::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

use super::{Admin, check_len, check_name, refuse};
use crate::core::assign::TopicPartition;
use crate::core::assign::wire::read_assignment;
use crate::error::AdminError;

mod ask;
use ask::{is_not_ready, not_ready_of};

/// What a group is doing. The names are Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Members wait for what their leader assigns.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
    Dead,
    /// A state of a later broker.
    Unknown,
}

impl GroupState {
    const ALL: [GroupState; 5] = [
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
        GroupState::Dead,
    ];

    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Unknown => "Unknown",
        }
    }

    /// In upper or lower case; `None` for what is no state.
    pub fn from_name(name: &str) -> Option<GroupState> {
        GroupState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSummary {
    pub group: String,
    /// `consumer` for groups that read topics; empty for one that never had members.
    pub protocol_type: String,
    pub state: GroupState,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDescription {
    pub group: String,
    pub state: GroupState,
    pub protocol_type: String,
    /// The assignor that the members agreed on; empty while there is none.
    pub protocol: String,
    /// Counts rebalances.
    pub generation: i32,
    pub members: Vec<MemberDescription>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberDescription {
    pub member_id: String,
    /// Of a static member (KIP-345).
    pub instance_id: Option<String>,
    pub client_id: String,
    /// Address it connected from.
    pub host: String,
    /// Sorted. `None` if it has none that Kafka's consumer protocol could say: the group does something
    /// else than read topics, or the leader wrote what nobody can read.
    pub assignment: Option<Vec<TopicPartition>>,
}

/// How far a group has read a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOffset {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    /// Of the next record to read.
    pub offset: Offset,
    /// Of the last record that was read, if that is known (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the group keeps beside the offset.
    pub metadata: Option<String>,
}

impl GroupOffset {
    /// Without epoch and metadata, as an operator sets it.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionIndex, offset: Offset) -> GroupOffset {
        GroupOffset { topic: topic.into(), partition, offset, leader_epoch: None, metadata: None }
    }
}

/// Whom to send away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberToRemove {
    Member(String),
    /// A static member, by its `group.instance.id`, whatever its member id is.
    Instance(String),
}

impl MemberToRemove {
    fn id(&self) -> &str {
        match self {
            MemberToRemove::Member(id) | MemberToRemove::Instance(id) => id,
        }
    }

    fn leaving(&self) -> LeavingMember {
        let (member_id, instance_id) = match self {
            MemberToRemove::Member(id) => (id.clone(), None),
            MemberToRemove::Instance(id) => (String::new(), Some(id.clone())),
        };
        LeavingMember { member_id, instance_id, reason: Some("removed by an administrator".to_owned()) }
    }
}

impl fmt::Display for MemberToRemove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemberToRemove::Member(id) => write!(f, "member {id:?}"),
            MemberToRemove::Instance(id) => write!(f, "instance {id:?}"),
        }
    }
}

impl Admin {
    /// Groups in one of `states`, in any with none; in the order of their names.
    pub async fn list_groups(&self, states: &[GroupState]) -> Result<Vec<GroupSummary>, AdminError> {
        let states = states.iter().map(|state| state.name().to_owned()).collect();
        let request = ListGroupsRequest { states };
        let reply = self.ask_coordinator(&request, |reply: &ListGroupsReply| reply.error).await?;
        refuse(reply.error, String::new())?;
        let mut groups: Vec<GroupSummary> = reply.groups.into_iter().map(summary).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// One answer for each, in their order.
    pub async fn describe_groups(
        &self,
        groups: &[&str],
    ) -> Result<Vec<Result<GroupDescription, AdminError>>, AdminError> {
        let request = |groups| DescribeGroupsRequest { groups };
        let entries = |reply: DescribeGroupsReply| reply.groups;
        let answers = self.ask_each(groups, request, entries, |group| group.error).await?;
        let describe = |(group, answer): (&&str, DescribedGroup)| match answer.error {
            ErrorCode::None => Ok(description(answer)),
            code => Err(about_group(group, code)),
        };
        Ok(groups.iter().zip(answers).map(describe).collect())
    }

    /// Every offset that the group has committed, in the order of topics and partitions. A group that
    /// does not exist has none.
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<GroupOffset>, AdminError> {
        check_group(group)?;
        let request = OffsetFetchRequest {
            group: group.to_owned(),
            member_id: None,
            generation: -1,
            require_stable: false,
            entries: OffsetSelection::All,
        };
        let reply: OffsetFetchReply = self.ask_coordinator(&request, fetch_error).await?;
        match reply.error {
            ErrorCode::None => {}
            code => return Err(about_group(group, code)),
        }
        let refused = reply.entries.iter().filter(|entry| !entry.error.is_ok());
        refuse_partitions(
            group,
            refused.map(|entry| (named(&entry.topic, entry.partition), entry.error)).collect(),
        )?;
        let mut offsets: Vec<GroupOffset> = reply.entries.into_iter().filter_map(committed).collect();
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(offsets)
    }

    /// Sets how far a group without members has read; durable when this returns. Makes the group if there
    /// is none. After [`AdminError::OffsetsRefused`] those that are not named in it are set.
    pub async fn alter_group_offsets(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), AdminError> {
        check_group(group)?;
        for offset in offsets {
            check_name(&offset.topic)?;
            let metadata = offset.metadata.as_deref().unwrap_or("");
            check_len("an offset's metadata", metadata.len(), OFFSET_METADATA_BYTES_MAX)?;
        }
        let mut refused = Vec::new();
        for offsets in offsets.chunks(PARTITIONS_PER_REQUEST_MAX) {
            let request = OffsetCommitRequest {
                group: group.to_owned(),
                generation: -1,
                member_id: String::new(),
                instance_id: None,
                entries: offsets.iter().map(commit_entry).collect(),
            };
            let reply = self
                .ask_coordinator(&request, |reply: &OffsetCommitReply| not_ready_of(&reply.errors))
                .await?;
            let partitions = offsets.iter().map(|offset| named(&offset.topic, offset.partition));
            refused.extend(pair(partitions, reply.errors));
        }
        refuse_partitions(group, refused)
    }

    /// The group forgets how far it has read these partitions; of some it may have known nothing. Members
    /// may not subscribe to their topics. After [`AdminError::OffsetsRefused`] those that are not named
    /// in it are forgotten.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<(), AdminError> {
        check_group(group)?;
        partitions.iter().try_for_each(|named| check_name(&named.topic))?;
        let mut refused = Vec::new();
        for partitions in partitions.chunks(PARTITIONS_PER_REQUEST_MAX) {
            let entries = partitions.iter().map(|named| (named.topic.to_string(), named.partition)).collect();
            let request = OffsetDeleteRequest { group: group.to_owned(), entries };
            let code = |reply: &OffsetDeleteReply| match reply.error {
                ErrorCode::None => not_ready_of(&reply.errors),
                code => code,
            };
            let reply = self.ask_coordinator(&request, code).await?;
            if !reply.error.is_ok() {
                return Err(about_group(group, reply.error));
            }
            refused.extend(pair(partitions.iter().cloned(), reply.errors));
        }
        refuse_partitions(group, refused)
    }

    /// Groups without members go, and their offsets with them. One answer for each, in their order.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Vec<Result<(), AdminError>>, AdminError> {
        let request = |groups| DeleteGroupsRequest { groups };
        let entries = |reply: DeleteGroupsReply| reply.errors;
        let codes = self.ask_each(groups, request, entries, |code| *code).await?;
        let outcome = |(group, code): (&&str, ErrorCode)| {
            if code.is_ok() { Ok(()) } else { Err(about_group(group, code)) }
        };
        Ok(groups.iter().zip(codes).map(outcome).collect())
    }

    /// Sends members away; the others share what they had at once. A member that still runs joins again.
    /// One answer for each, in their order.
    pub async fn remove_members(
        &self,
        group: &str,
        members: &[MemberToRemove],
    ) -> Result<Vec<Result<(), AdminError>>, AdminError> {
        check_group(group)?;
        check_len("the list of members", members.len(), MEMBERS_PER_GROUP_MAX)?;
        members
            .iter()
            .try_for_each(|member| check_len("a member", member.id().len(), LONG_STRING_BYTES_MAX))?;
        let members_leaving = members.iter().map(MemberToRemove::leaving).collect();
        let request = LeaveGroupRequest { group: group.to_owned(), members: members_leaving };
        let reply = self.ask_coordinator(&request, |reply: &LeaveGroupReply| reply.error).await?;
        if !reply.error.is_ok() {
            return Err(about_group(group, reply.error));
        }
        let outcome = |(member, code): (MemberToRemove, ErrorCode)| match code {
            ErrorCode::None => Ok(()),
            ErrorCode::UnknownMemberId => {
                Err(AdminError::UnknownMember { group: group.into(), member: member.id().into() })
            }
            code => Err(about_group(group, code)),
        };
        let codes = reply.members.into_iter().map(|left| left.error).collect();
        Ok(answers(members.iter().cloned(), codes).map(outcome).collect())
    }
}

fn fetch_error(reply: &OffsetFetchReply) -> ErrorCode {
    match reply.error {
        ErrorCode::None => {
            let codes: Vec<ErrorCode> = reply.entries.iter().map(|entry| entry.error).collect();
            not_ready_of(&codes)
        }
        code => code,
    }
}

/// The broker refuses a group id that it does not allow; one that is too long it could not even read.
fn check_group(group: &str) -> Result<(), AdminError> {
    check_len("a group id", group.len(), GROUP_ID_BYTES_MAX)
}

fn about_group(group: &str, code: ErrorCode) -> AdminError {
    match code {
        ErrorCode::GroupIdNotFound => AdminError::UnknownGroup { group: group.into() },
        // To a coordinator, whoever commits while a group has members must be one of them.
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId => {
            AdminError::GroupNotEmpty { group: group.into() }
        }
        code => AdminError::Refused { code, message: String::new() },
    }
}

/// Codes that say something of the group as a whole come for each of its partitions alike.
fn refuse_partitions(group: &str, refused: Vec<(TopicPartition, ErrorCode)>) -> Result<(), AdminError> {
    let about_all = |code: &ErrorCode| !matches!(about_group(group, *code), AdminError::Refused { .. });
    match refused.iter().find(|(_, code)| about_all(code) || is_not_ready(*code)) {
        Some((_, code)) => Err(about_group(group, *code)),
        None if refused.is_empty() => Ok(()),
        None => Err(AdminError::OffsetsRefused { group: group.into(), refused }),
    }
}

/// Each with its code. Where there is none, nobody knows what was done.
fn answers<T>(asked: impl Iterator<Item = T>, codes: Vec<ErrorCode>) -> impl Iterator<Item = (T, ErrorCode)> {
    asked.zip(codes.into_iter().chain(std::iter::repeat(ErrorCode::RequestTimedOut)))
}

fn pair(
    partitions: impl Iterator<Item = TopicPartition>,
    codes: Vec<ErrorCode>,
) -> impl Iterator<Item = (TopicPartition, ErrorCode)> {
    answers(partitions, codes).filter(|(_, code)| !code.is_ok())
}

fn named(topic: &str, partition: PartitionIndex) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn commit_entry(offset: &GroupOffset) -> OffsetCommitEntry {
    OffsetCommitEntry {
        topic: offset.topic.to_string(),
        partition: offset.partition,
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
    }
}

fn committed(fetched: FetchedOffset) -> Option<GroupOffset> {
    Some(GroupOffset {
        topic: fetched.topic.into(),
        partition: fetched.partition,
        offset: fetched.offset?,
        leader_epoch: fetched.leader_epoch,
        metadata: fetched.metadata,
    })
}

fn state(name: &str) -> GroupState {
    GroupState::from_name(name).unwrap_or(GroupState::Unknown)
}

fn summary(listed: ListedGroup) -> GroupSummary {
    GroupSummary { state: state(&listed.state), group: listed.group, protocol_type: listed.protocol_type }
}

fn description(group: DescribedGroup) -> GroupDescription {
    let reads_topics = group.protocol_type == CONSUMER;
    let member = |member: DescribedMember| MemberDescription {
        assignment: reads_topics.then(|| read_assignment(&member.assignment).ok()).flatten(),
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
    };
    GroupDescription {
        state: state(&group.state),
        members: group.members.into_iter().map(member).collect(),
        group: group.group,
        protocol_type: group.protocol_type,
        protocol: group.protocol,
        generation: group.generation,
    }
}

/// The protocol type of Kafka's consumers.
const CONSUMER: &str = "consumer";
