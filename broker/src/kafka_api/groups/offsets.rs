//! OffsetCommit and OffsetFetch: what a group has read, in the layout in which it was asked.
//!
//!     OffsetCommit   topics ▸ partitions ─▶ entries one by one ─▶ errors, laid out again
//!     OffsetFetch    groups ▸ topics ▸ partitions ─▶ one question to each group's coordinator

use std::collections::{HashMap, HashSet};

use kafka::messages::list_offsets::EARLIEST;
use kafka::messages::{
    CommittedPartition, FetchedGroup, FetchedOffset, GroupOffsets, OfTopic, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka::{ErrorCode as KafkaCode, Malformed};
use protocol::api::{
    OffsetCommitEntry, OffsetCommitRequest as NativeCommit, OffsetFetchRequest as NativeFetch,
    OffsetSelection,
};
use protocol::model::limits::TOPIC_NAME_BYTES_MAX;
use protocol::model::{ErrorCode, LeaderEpoch, Offset};

use super::super::data::epoch;
use super::super::layout::partition_index;
use super::super::{Asked, Call, Layout, Shape, Topic, code};
use crate::connection::Connection;
use crate::control::ClusterView;
use crate::groups::{self, Generation, PartitionOutcome, Reply};
use crate::handlers;
use crate::shard::{GroupAsk, GroupCall, Waiting};

pub fn offset_commit(call: Call<'_>) -> Result<(), Malformed> {
    let request: OffsetCommitRequest<'_> = call.parse()?;
    let view = call.shard.view();
    let (mut layout, mut entries) = (Layout::default(), Vec::new());
    let (mut unknown, mut without) = (Vec::new(), Vec::new());
    let mut places = 0..;
    for topic in request.topics.iter() {
        let found = Topic::find(&view, topic.name);
        let count = found.partitions();
        layout.push_topic(found);
        for (partition, place) in topic.partitions.iter().zip(places.by_ref()) {
            layout.push_partition(partition.index);
            let index = partition_index(partition.index);
            // About these the coordinator is not asked, and a name of any length is not written down for each.
            if count <= index.get() {
                unknown.push(place);
                continue;
            }
            // Kafka stores any number. kafkajs commits what is asked of ListOffsets for the beginning, and takes
            // it for that; other clients take less than nothing for none.
            let offset = match partition.offset {
                EARLIEST => Some(Offset::ZERO),
                offset => Offset::from_wire(offset),
            };
            without.extend(offset.is_none().then_some(entries.len()));
            entries.push(OffsetCommitEntry {
                topic: topic.name.to_owned(),
                partition: index,
                offset: offset.unwrap_or(Offset::ZERO),
                leader_epoch: epoch(partition.leader_epoch),
                metadata: partition.metadata.map(str::to_owned),
            });
        }
    }
    let commit = NativeCommit {
        group: request.group.to_owned(),
        generation: request.generation,
        member_id: request.member_id.to_owned(),
        instance_id: request.instance_id.map(str::to_owned),
        entries,
    };
    let waiting = Waiting::Group { names: Vec::new(), unknown, replies: vec![None] };
    let asked = call.asked(Shape::Partitions(layout));
    let commit = GroupCall::Commit { request: commit, without };
    handlers::ask_one(call.shard, call.connection, asked, waiting, request.group, commit);
    Ok(())
}

pub fn reply_commit(
    connection: &Connection,
    asked: &Asked,
    unknown: &[usize],
    outcomes: &[PartitionOutcome],
) {
    let Shape::Partitions(layout) = &asked.shape else { panic!("BUG: it names partitions") };
    let mut errors = handlers::committed(unknown, outcomes).errors.into_iter();
    let mut committed = |index: &i32| CommittedPartition {
        index: *index,
        error: code(errors.next().expect("BUG: an outcome for each partition")),
    };
    let topics = layout
        .topics()
        .map(|(name, partitions)| OfTopic {
            name,
            partitions: partitions.iter().map(&mut committed).collect(),
        })
        .collect();
    asked.respond(connection, &OffsetCommitResponse { throttle_ms: 0, topics });
}

/// The groups that were asked for, each with the partitions that were; `None` for all that it has.
pub struct OffsetFetchShape {
    groups: Vec<(Box<str>, Option<Layout>)>,
}

pub fn offset_fetch(call: Call<'_>) -> Result<(), Malformed> {
    let request: OffsetFetchRequest<'_> = call.parse()?;
    let groups = named_once(&request, &call.shard.view());
    let ask = |(group, layout): &(Box<str>, Option<Layout>)| {
        let fetch = NativeFetch {
            group: group.to_string(),
            member_id: None,
            generation: Generation::NONE.0,
            require_stable: request.require_stable,
            entries: layout.as_ref().map_or(OffsetSelection::All, selection),
        };
        GroupAsk::new(group, call.connection.peer_host(), GroupCall::FetchOffsets(fetch))
    };
    let asks: Vec<GroupAsk> = groups.iter().map(ask).collect();
    let waiting = Waiting::Group { names: Vec::new(), unknown: Vec::new(), replies: vec![None; asks.len()] };
    let asked = call.asked(Shape::OffsetFetch(OffsetFetchShape { groups }));
    handlers::begin_entries(call.shard, call.connection, asked, asks, waiting, |shard, origin, ask| {
        shard.ask_group(origin, ask);
    });
    Ok(())
}

/// Each group and each of its partitions once, however often they are named: with an offset goes metadata of up
/// to 32 KiB, and to name a partition takes four bytes.
fn named_once(request: &OffsetFetchRequest<'_>, view: &ClusterView) -> Vec<(Box<str>, Option<Layout>)> {
    let mut groups: Vec<(Box<str>, Option<Layout>)> = Vec::new();
    let (mut places, mut seen) = (HashMap::new(), HashSet::new());
    for GroupOffsets { group, topics } in request.groups.iter() {
        let place = *places.entry(group).or_insert(groups.len());
        if place == groups.len() {
            groups.push((group.into(), Some(Layout::default())));
        }
        let Some((_, layout)) = groups.get_mut(place) else { continue };
        let (Some(topics), Some(known)) = (topics, layout.as_mut()) else {
            *layout = None;
            continue;
        };
        for topic in topics.iter() {
            known.push_topic(Topic::find(view, topic.name));
            let new = topic.partitions.iter().filter(|index| seen.insert((place, topic.name, *index)));
            new.for_each(|index| known.push_partition(index));
        }
    }
    groups
}

/// Offsets may be there of a topic that is not any more; of one that cannot be there are none, and its name,
/// which may be long, is not written down for each partition.
fn selection(layout: &Layout) -> OffsetSelection {
    let mut entries = Vec::new();
    for (name, partitions) in layout.topics() {
        let name = if TOPIC_NAME_BYTES_MAX < name.len() { "" } else { name };
        entries.extend(partitions.iter().map(|index| (name.to_owned(), partition_index(*index))));
    }
    OffsetSelection::Of(entries)
}

pub fn reply_fetch(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = Reply>) {
    let Shape::OffsetFetch(shape) = &asked.shape else { panic!("BUG: it names groups") };
    let replies: Vec<Reply> = replies.collect();
    let groups =
        shape.groups.iter().zip(&replies).map(|(group, reply)| fetched_group(group, reply)).collect();
    asked.respond(connection, &OffsetFetchResponse { throttle_ms: 0, groups });
}

fn fetched_group<'a>((name, layout): &'a (Box<str>, Option<Layout>), reply: &'a Reply) -> FetchedGroup<'a> {
    let Reply::FetchOffsets(found) = reply else { panic!("BUG: not offsets") };
    let topics = match (found, layout) {
        (Ok(found), Some(layout)) => as_asked(layout, found),
        (Ok(found), None) => by_topic(found),
        (Err(error), layout) => return refused_group(name, layout.as_ref(), code(*error)),
    };
    FetchedGroup { group: name, topics, error: KafkaCode::NONE }
}

/// One answer for each partition, in the order of the request.
fn as_asked<'a>(
    layout: &'a Layout,
    found: &'a [groups::FetchedOffset],
) -> Vec<OfTopic<'a, FetchedOffset<'a>>> {
    let mut found = found.iter();
    let mut partition = |index: &i32| FetchedOffset {
        index: *index,
        ..fetched_offset(found.next().expect("BUG: an answer for each partition"))
    };
    layout
        .topics()
        .map(|(name, partitions)| OfTopic {
            name,
            partitions: partitions.iter().map(&mut partition).collect(),
        })
        .collect()
}

fn by_topic(found: &[groups::FetchedOffset]) -> Vec<OfTopic<'_, FetchedOffset<'_>>> {
    let mut topics: Vec<OfTopic<'_, FetchedOffset<'_>>> = Vec::new();
    for offset in found {
        if topics.last().is_none_or(|topic| topic.name != &*offset.topic) {
            topics.push(OfTopic { name: &offset.topic, partitions: Vec::new() });
        }
        let topic = topics.last_mut().expect("BUG: it was just pushed");
        topic.partitions.push(fetched_offset(offset));
    }
    topics
}

/// The first version has no place for the error but the partitions.
fn refused_group<'a>(group: &'a str, layout: Option<&'a Layout>, error: KafkaCode) -> FetchedGroup<'a> {
    let refused = |index: &i32| FetchedOffset {
        index: *index,
        offset: -1,
        leader_epoch: -1,
        metadata: Some(""),
        error,
    };
    let topics = layout
        .into_iter()
        .flat_map(Layout::topics)
        .map(|(name, partitions)| OfTopic { name, partitions: partitions.iter().map(refused).collect() })
        .collect();
    FetchedGroup { group, topics, error }
}

fn fetched_offset(found: &groups::FetchedOffset) -> FetchedOffset<'_> {
    let committed = found.committed.as_ref();
    FetchedOffset {
        index: found.partition.get().cast_signed(),
        offset: committed.map_or(-1, |committed| committed.offset.to_wire()),
        leader_epoch: committed.and_then(|committed| committed.leader_epoch).map_or(-1, LeaderEpoch::get),
        metadata: Some(committed.map_or("", |committed| &committed.metadata)),
        error: code(ErrorCode::None),
    }
}
