//! ListGroups, DescribeGroups, DeleteGroups, OffsetDelete: what an operator asks about groups.
//!
//!     ListGroups                      every shard ─▶ its groups ─▶ one list
//!     DescribeGroups, DeleteGroups    one part for each group, at its coordinator
//!     OffsetDelete                    one group, its partitions one by one

use std::collections::HashSet;

use kafka::cold::StrBytes;
use kafka::cold::types::delete_groups_response::DeletableGroupResult;
use kafka::cold::types::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka::cold::types::list_groups_response::ListedGroup;
use kafka::cold::types::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka::cold::types::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse, TopicName,
};
use protocol::api::OffsetDeleteRequest as NativeDelete;
use protocol::model::ErrorCode;

use super::super::layout::partition_index;
use super::super::{Asked, Call, Layout, Shape, Topic, code, operations, text};
use crate::connection::Connection;
use crate::groups::{self, PartitionOutcome, Reply, State};
use crate::handlers;
use crate::shard::{GroupAsk, GroupCall, Waiting};

/// The only type of groups there is (KIP-848 has another).
const CLASSIC: &str = "classic";

/// States and types of the groups that are to be listed; none named is all.
pub struct Filter {
    states: HashSet<String>,
    types: HashSet<String>,
}

pub fn list(call: Call<'_>, request: &ListGroupsRequest) {
    let owned = |names: &[StrBytes]| names.iter().map(|name| name.as_str().to_ascii_lowercase()).collect();
    let filter = Filter { states: owned(&request.states_filter), types: owned(&request.types_filter) };
    handlers::list_groups(call.shard, call.connection, call.asked(Shape::ListGroups(filter)), Vec::new());
}

pub fn reply_list(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = Reply>) {
    let Shape::ListGroups(filter) = &asked.shape else { panic!("BUG: a list of groups") };
    let (mut error, mut groups) = (ErrorCode::None, Vec::new());
    for reply in replies {
        let Reply::List(listed) = reply else { panic!("BUG: not a list") };
        match listed {
            Ok(listed) => groups.extend(listed),
            // What the others have is told nevertheless, as by Kafka's clients of many brokers.
            Err(code) => error = code,
        }
    }
    let is_named =
        |names: &HashSet<String>, name: &str| names.is_empty() || names.contains(&name.to_ascii_lowercase());
    groups.retain(|group| is_named(&filter.states, group.state.name()) && is_named(&filter.types, CLASSIC));
    groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    let listed = groups.iter().map(|group| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(&*group.group)))
            .with_protocol_type(text(&*group.protocol_type));
        let listed = match 4 <= asked.version {
            true => listed.with_group_state(StrBytes::from_static_str(group.state.name())),
            false => listed,
        };
        if 5 <= asked.version { listed.with_group_type(StrBytes::from_static_str(CLASSIC)) } else { listed }
    });
    let response =
        ListGroupsResponse::default().with_error_code(code(error).to_wire()).with_groups(listed.collect());
    asked.respond_cold(connection, &response);
}

fn names(groups: &[GroupId]) -> Vec<StrBytes> {
    groups.iter().map(|group| group.clone().0).collect()
}

fn ask_each(call: Call<'_>, groups: &[GroupId], shape: Shape, ask: impl Fn() -> GroupCall) {
    let host = call.connection.peer_host();
    let asks = groups.iter().map(|group| GroupAsk::new(group.as_str(), host.clone(), ask())).collect();
    let asked = call.asked(shape);
    let waiting =
        Waiting::Group { names: Vec::new(), unknown: Vec::new(), replies: vec![None; groups.len()] };
    handlers::begin_entries(call.shard, call.connection, asked, asks, waiting, |shard, origin, ask| {
        shard.ask_group(origin, ask);
    });
}

/// What is named twice is told once: of a large group, a short request could ask for any number of bytes.
pub fn describe(call: Call<'_>, request: &DescribeGroupsRequest) {
    let mut seen = HashSet::new();
    let groups: Vec<GroupId> = request.groups.iter().filter(|group| seen.insert(*group)).cloned().collect();
    let shape = Shape::DescribedGroups(names(&groups), request.include_authorized_operations);
    ask_each(call, &groups, shape, || GroupCall::Describe);
}

pub fn reply_describe(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = Reply>) {
    let tells = matches!(asked.shape, Shape::DescribedGroups(_, true));
    let described = |(name, reply): (&StrBytes, Reply)| {
        let Reply::Describe(described) = reply else { panic!("BUG: not a description") };
        let group = DescribedGroup::default()
            .with_group_id(GroupId(name.clone()))
            .with_authorized_operations(operations::told(tells, operations::GROUP));
        match described {
            Ok(found) => group
                .with_group_state(StrBytes::from_static_str(found.state.name()))
                .with_protocol_type(text(&*found.protocol_type))
                .with_protocol_data(text(&*found.protocol))
                .with_members(found.members.iter().map(|member| describe_member(asked, member)).collect()),
            // Kafka's answer about a group that is not there; an error only since version 6.
            Err(ErrorCode::GroupIdNotFound) => {
                group.with_group_state(StrBytes::from_static_str(State::Dead.name()))
            }
            Err(error) => group.with_error_code(code(error).to_wire()),
        }
    };
    let groups = asked.names().iter().zip(replies).map(described).collect();
    asked.respond_cold(connection, &DescribeGroupsResponse::default().with_groups(groups));
}

fn describe_member(asked: &Asked, member: &groups::DescribedMember) -> DescribedGroupMember {
    let instance = member.instance.as_deref().filter(|_| 4 <= asked.version);
    DescribedGroupMember::default()
        .with_member_id(text(&*member.member))
        .with_group_instance_id(instance.map(text))
        .with_client_id(text(&*member.client_id))
        .with_client_host(text(format!("/{}", member.client_host)))
        .with_member_metadata(member.metadata.clone())
        .with_member_assignment(member.assignment.clone())
}

pub fn delete(call: Call<'_>, request: &DeleteGroupsRequest) {
    ask_each(call, &request.groups_names, Shape::Names(names(&request.groups_names)), || GroupCall::Delete);
}

pub fn reply_delete(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = Reply>) {
    let deleted = |(name, reply): (&StrBytes, Reply)| {
        let Reply::DeleteGroup(error) = reply else { panic!("BUG: not a deletion") };
        DeletableGroupResult::default()
            .with_group_id(GroupId(name.clone()))
            .with_error_code(code(error).to_wire())
    };
    let results = asked.names().iter().zip(replies).map(deleted).collect();
    asked.respond_cold(connection, &DeleteGroupsResponse::default().with_results(results));
}

pub fn delete_offsets(call: Call<'_>, request: &OffsetDeleteRequest) {
    let view = call.shard.view();
    let (mut layout, mut entries) = (Layout::default(), Vec::new());
    for topic in &request.topics {
        let found = Topic::find(&view, topic.name.as_str());
        let is_known = found.is_known();
        layout.push_topic(found);
        for partition in &topic.partitions {
            layout.push_partition(partition.partition_index);
            if is_known {
                entries.push((topic.name.as_str().to_owned(), partition_index(partition.partition_index)));
            }
        }
    }
    let group = request.group_id.as_str();
    let ask = GroupCall::DeleteOffsets(NativeDelete { group: group.to_owned(), entries });
    handlers::ask(call.shard, call.connection, call.asked(Shape::Partitions(layout)), group, ask);
}

pub fn reply_delete_offsets(
    connection: &Connection,
    asked: &Asked,
    outcome: Result<Vec<PartitionOutcome>, ErrorCode>,
) {
    let Shape::Partitions(layout) = &asked.shape else { panic!("BUG: it names partitions") };
    let outcomes = match outcome {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let response = OffsetDeleteResponse::default().with_error_code(code(error).to_wire());
            return asked.respond_cold(connection, &response);
        }
    };
    let mut outcomes = outcomes.iter();
    let mut partition = |index: i32, is_known: bool| {
        let error = match is_known {
            true => outcomes.next().expect("BUG: an outcome for each partition").code,
            false => ErrorCode::UnknownTopicOrPartition,
        };
        OffsetDeleteResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(code(error).to_wire())
    };
    let topic = |(topic, partitions): (&Topic, &[i32])| {
        let is_known = topic.is_known();
        OffsetDeleteResponseTopic::default()
            .with_name(TopicName(text(topic.name())))
            .with_partitions(partitions.iter().map(|index| partition(*index, is_known)).collect())
    };
    let topics = layout.found().map(topic).collect();
    asked.respond_cold(connection, &OffsetDeleteResponse::default().with_topics(topics));
}
