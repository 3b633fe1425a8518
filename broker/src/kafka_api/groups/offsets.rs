//! OffsetCommit and OffsetFetch: what a group has read, in the layout in which it was asked.
//!
//!     OffsetCommit   topics ▸ partitions ─▶ entries one by one ─▶ errors, laid out again
//!     OffsetFetch    groups ▸ topics ▸ partitions ─▶ one question to each group's coordinator

use kafka::messages::{
    CommittedPartition, FetchedGroup, FetchedOffset, OfTopic, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use kafka::{ErrorCode as KafkaCode, Malformed};
use protocol::api::{
    OffsetCommitEntry, OffsetCommitRequest as NativeCommit, OffsetFetchRequest as NativeFetch,
    OffsetSelection,
};
use protocol::model::{ErrorCode, LeaderEpoch, Offset};

use super::super::data::epoch;
use super::super::layout::partition_index;
use super::super::{Asked, Call, Layout, Shape, Topic, code};
use crate::connection::Connection;
use crate::groups::{self, Generation, PartitionOutcome, Reply};
use crate::handlers;
use crate::shard::{GroupAsk, GroupCall, Waiting};

pub fn offset_commit(call: Call<'_>) -> Result<(), Malformed> {
    let request: OffsetCommitRequest<'_> = call.parse()?;
    let view = call.shard.view();
    let (mut layout, mut entries) = (Layout::default(), Vec::new());
    for topic in request.topics.iter() {
        layout.push_topic(Topic::find(&view, topic.name));
        for partition in topic.partitions.iter() {
            layout.push_partition(partition.index);
            entries.push(OffsetCommitEntry {
                topic: topic.name.to_owned(),
                partition: partition_index(partition.index),
                // Kafka stores what it is told; we have no place for less than nothing.
                offset: Offset::from_wire(partition.offset).unwrap_or(Offset::ZERO),
                leader_epoch: epoch(partition.leader_epoch),
                metadata: partition.metadata.map(str::to_owned),
            });
        }
    }
    let mut commit = NativeCommit {
        group: request.group.to_owned(),
        generation: request.generation,
        member_id: request.member_id.to_owned(),
        instance_id: request.instance_id.map(str::to_owned),
        entries,
    };
    let unknown = handlers::take_unknown(call.shard, &mut commit);
    let waiting = Waiting::Group { names: Vec::new(), unknown, replies: vec![None] };
    let asked = call.asked(Shape::Partitions(layout));
    handlers::ask_one(call.shard, call.connection, asked, waiting, request.group, GroupCall::Commit(commit));
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

/// The groups that were asked for.
pub struct OffsetFetchShape {
    groups: Vec<(Box<str>, Layout)>,
}

pub fn offset_fetch(call: Call<'_>) -> Result<(), Malformed> {
    let request: OffsetFetchRequest<'_> = call.parse()?;
    let (mut named, mut asks) = (Vec::new(), Vec::new());
    let view = call.shard.view();
    for group in request.groups.iter() {
        let mut layout = Layout::default();
        for topic in group.topics.into_iter().flatten() {
            layout.push_topic(Topic::find(&view, topic.name));
            topic.partitions.iter().for_each(|index| layout.push_partition(index));
        }
        let entries = group.topics.map_or(OffsetSelection::All, |topics| {
            let of_topic = |topic: kafka::messages::OffsetTopic<'_>| {
                let name = topic.name.to_owned();
                let partitions: Vec<i32> = topic.partitions.iter().collect();
                partitions.into_iter().map(move |index| (name.clone(), partition_index(index)))
            };
            OffsetSelection::Of(topics.iter().flat_map(of_topic).collect())
        });
        let fetch = NativeFetch {
            group: group.group.to_owned(),
            member_id: None,
            generation: Generation::NONE.0,
            require_stable: request.require_stable,
            entries,
        };
        named.push((group.group.into(), layout));
        asks.push(GroupAsk::new(group.group, call.connection.peer_host(), GroupCall::FetchOffsets(fetch)));
    }
    let waiting = Waiting::Group { names: Vec::new(), unknown: Vec::new(), replies: vec![None; asks.len()] };
    let asked = call.asked(Shape::OffsetFetch(OffsetFetchShape { groups: named }));
    handlers::begin_entries(call.shard, call.connection, asked, asks, waiting, |shard, origin, ask| {
        shard.ask_group(origin, ask);
    });
    Ok(())
}

pub fn reply_fetch(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = Reply>) {
    let Shape::OffsetFetch(shape) = &asked.shape else { panic!("BUG: it names groups") };
    let replies: Vec<Reply> = replies.collect();
    let groups =
        shape.groups.iter().zip(&replies).map(|(group, reply)| fetched_group(group, reply)).collect();
    asked.respond(connection, &OffsetFetchResponse { throttle_ms: 0, groups });
}

fn fetched_group<'a>((name, layout): &'a (Box<str>, Layout), reply: &'a Reply) -> FetchedGroup<'a> {
    let Reply::FetchOffsets(found) = reply else { panic!("BUG: not offsets") };
    let found = match found {
        Ok(found) => found,
        Err(error) => return refused_group(name, layout, code(*error)),
    };
    let mut topics: Vec<OfTopic<'_, FetchedOffset<'_>>> = Vec::new();
    for offset in found {
        if topics.last().is_none_or(|topic| topic.name != &*offset.topic) {
            topics.push(OfTopic { name: &offset.topic, partitions: Vec::new() });
        }
        let topic = topics.last_mut().expect("BUG: it was just pushed");
        topic.partitions.push(fetched_offset(offset));
    }
    FetchedGroup { group: name, topics, error: KafkaCode::NONE }
}

/// The first version has no place for the error but the partitions.
fn refused_group<'a>(group: &'a str, layout: &'a Layout, error: KafkaCode) -> FetchedGroup<'a> {
    let refused = |index: &i32| FetchedOffset {
        index: *index,
        offset: -1,
        leader_epoch: -1,
        metadata: Some(""),
        error,
    };
    let topics = layout
        .topics()
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
