//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords: several at once, one part for each.
//!
//!     CreateTopics [a, b, a]   a ─▶ control thread    b ─▶ control thread    a again: refused here
//!     reply                    when all parts have been answered, in the order of the request

use std::collections::HashMap;
use std::rc::Rc;

use kafka::cold::StrBytes;
use kafka::cold::types::create_partitions_response::CreatePartitionsTopicResult;
use kafka::cold::types::create_topics_request::CreatableTopic;
use kafka::cold::types::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka::cold::types::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka::cold::types::delete_topics_response::DeletableTopicResult;
use kafka::cold::types::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use protocol::api::{
    CreatePartitionsReply, CreatePartitionsRequest as NativeGrow, CreateTopicReply, CreateTopicRequest,
    DeleteRecordsEntry, DeleteRecordsResult, DeleteTopicReply, DeleteTopicRequest,
};
use protocol::model::limits::LONG_STRING_BYTES_MAX;
use protocol::model::{ErrorCode, Offset, TopicId};

use super::configs::{DEFAULT, OF_TOPIC};
use super::data::wire;
use super::layout::partition_index;
use super::metadata::node;
use super::{Asked, Call, Layout, Shape, Topic, code, text};
use crate::connection::Connection;
use crate::control::{ClusterView, ControlMessage, ControlReply};
use crate::handlers;
use crate::shard::{Origin, Shard, Waiting};

/// A part of a request for the control thread, or why it is refused here.
pub enum Part {
    Ask(Box<dyn FnOnce(Origin) -> ControlMessage>),
    Refused(ControlReply),
}

impl Call<'_> {
    /// Has the control thread answer each part.
    pub fn ask_control(self, shape: Shape, parts: Vec<Part>) {
        let waiting = Waiting::Control { replies: parts.iter().map(|_| None).collect() };
        let asked = self.asked(shape);
        handlers::begin_entries(self.shard, self.connection, asked, parts, waiting, |shard, origin, part| {
            match part {
                Part::Ask(message) => shard.send_to_control(message(origin)),
                Part::Refused(reply) => handlers::take_control_reply(shard, origin, reply),
            }
        });
    }
}

/// What a request for topics is refused with while the broker stops.
const STOPPING: &str = "the broker is shutting down";

pub fn create(call: Call<'_>, request: &CreateTopicsRequest) {
    let node = node(&call.shard.view());
    let mut named: HashMap<&str, usize> = HashMap::new();
    request.topics.iter().for_each(|topic| *named.entry(topic.name.as_str()).or_default() += 1);
    let is_twice = |topic: &CreatableTopic| named.get(topic.name.as_str()).is_some_and(|times| 1 < *times);
    let part = |topic: &CreatableTopic| {
        let checked = match () {
            () if call.shard.is_stopping() => Err((ErrorCode::ShuttingDown, STOPPING.to_owned())),
            () if is_twice(topic) => {
                Err((ErrorCode::InvalidRequest, format!("{:?} is named twice", topic.name.as_str())))
            }
            () => creation(topic, request.validate_only, node),
        };
        match checked {
            Ok(create) => Part::Ask(Box::new(|asker| ControlMessage::CreateTopic { asker, request: create })),
            Err((error, message)) => {
                let id = TopicId::from_bytes([0; 16]);
                Part::Refused(ControlReply::Created(CreateTopicReply { error, message, id, partitions: 0 }))
            }
        }
    };
    let parts = request.topics.iter().map(part).collect();
    let names = request.topics.iter().map(|topic| topic.name.clone().0).collect();
    call.ask_control(Shape::Names(names), parts);
}

/// One node leads and holds every partition: any assignment says that, or cannot be.
fn creation(
    topic: &CreatableTopic,
    validate_only: bool,
    node: i32,
) -> Result<CreateTopicRequest, (ErrorCode, String)> {
    if !topic.assignments.is_empty() {
        let mut indexes: Vec<i32> = topic.assignments.iter().map(|one| one.partition_index).collect();
        indexes.sort_unstable();
        let are_all = indexes.iter().zip(0..).all(|(index, expected)| *index == expected);
        let are_ours = topic.assignments.iter().all(|one| one.broker_ids == [BrokerId(node)]);
        if !are_all || !are_ours {
            let message = format!("each partition from 0 on is assigned to this broker, {node}, or to none");
            return Err((ErrorCode::InvalidRequest, message));
        }
    }
    let partitions = match (topic.num_partitions, topic.assignments.len()) {
        (-1, assigned) => u32::try_from(assigned).unwrap_or(u32::MAX),
        (count, 0) if 0 < count => count.unsigned_abs(),
        (count, _) => {
            return Err((ErrorCode::InvalidPartitions, format!("{count} is no number of partitions")));
        }
    };
    // −1 stands for the default, which is what one node can do.
    let replication_factor = match topic.replication_factor {
        -1 => 1,
        factor => u16::try_from(factor).ok().filter(|factor| 0 < *factor).ok_or_else(|| {
            (ErrorCode::InvalidReplicationFactor, format!("{factor} is no replication factor"))
        })?,
    };
    let mut configs = Vec::with_capacity(topic.configs.len());
    for config in &topic.configs {
        let value = config.value.as_ref().ok_or_else(|| {
            (ErrorCode::InvalidConfig, format!("{}: a setting has a value", config.name.as_str()))
        })?;
        configs.push((config.name.as_str().to_owned(), value.as_str().to_owned()));
    }
    Ok(CreateTopicRequest {
        name: topic.name.as_str().to_owned(),
        partitions,
        replication_factor,
        validate_only,
        timeout_ms: 0,
        configs,
    })
}

pub fn reply_create(
    view: &ClusterView,
    connection: &Connection,
    asked: &Asked,
    replies: impl Iterator<Item = ControlReply>,
) {
    let result = |(name, reply): (&StrBytes, ControlReply)| {
        let ControlReply::Created(reply) = reply else { panic!("BUG: not a creation") };
        let result = CreatableTopicResult::default()
            .with_name(TopicName(name.clone()))
            .with_error_code(code(reply.error).to_wire())
            .with_error_message(message(reply.error, reply.message));
        if !reply.error.is_ok() {
            return result.with_configs(Some(Vec::new()));
        }
        let partitions = i32::try_from(reply.partitions).unwrap_or(i32::MAX);
        let configs = if asked.version < 5 { None } else { Some(configs_of(view, name)) };
        result
            .with_topic_id(uuid::Uuid::from_bytes(reply.id.to_bytes()))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs)
    };
    let topics = asked.names().iter().zip(replies).map(result).collect();
    asked.respond_cold(connection, &CreateTopicsResponse::default().with_topics(topics));
}

fn configs_of(view: &ClusterView, name: &str) -> Vec<CreatableTopicConfigs> {
    let Some(topic) = view.topic(name) else { return Vec::new() };
    let entry = |(key, value): (&'static str, String)| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(text(value)))
            .with_config_source(if topic.is_set(key) { OF_TOPIC } else { DEFAULT })
    };
    topic.config().entries().map(entry).collect()
}

pub fn delete(call: Call<'_>, request: &DeleteTopicsRequest) {
    let view = call.shard.view();
    let by_name = request.topic_names.iter().map(|name| (Some(name.clone().0), uuid::Uuid::nil()));
    let by_either =
        request.topics.iter().map(|topic| (topic.name.clone().map(|name| name.0), topic.topic_id));
    // Of one that is named by its id, the reply tells the name.
    let named = |(name, id): (Option<StrBytes>, uuid::Uuid)| {
        let of_id = || view.topic_by_id(TopicId::from_bytes(id.into_bytes()));
        (name.or_else(|| Some(text(of_id()?.name().as_str()))), id)
    };
    let wanted: Vec<(Option<StrBytes>, uuid::Uuid)> = by_name.chain(by_either).map(named).collect();
    let part = |(name, _): &(Option<StrBytes>, uuid::Uuid)| {
        let refused = |error: ErrorCode| {
            Part::Refused(ControlReply::Deleted(DeleteTopicReply { error, message: error.text().to_owned() }))
        };
        match name {
            _ if call.shard.is_stopping() => refused(ErrorCode::ShuttingDown),
            None => refused(ErrorCode::UnknownTopicId),
            Some(name) => {
                let request = DeleteTopicRequest { name: name.as_str().to_owned(), timeout_ms: 0 };
                Part::Ask(Box::new(|asker| ControlMessage::DeleteTopic { asker, request }))
            }
        }
    };
    let parts = wanted.iter().map(part).collect();
    call.ask_control(Shape::Deleted(wanted), parts);
}

pub fn reply_delete(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = ControlReply>) {
    let Shape::Deleted(wanted) = &asked.shape else { panic!("BUG: it names topics") };
    let result = |((name, id), reply): (&(Option<StrBytes>, uuid::Uuid), ControlReply)| {
        let ControlReply::Deleted(reply) = reply else { panic!("BUG: not a deletion") };
        // By id Kafka has a code of its own for what is not there.
        let error = match reply.error {
            ErrorCode::UnknownTopicId if !id.is_nil() => kafka::ErrorCode::UNKNOWN_TOPIC_ID,
            error => code(error),
        };
        let why = if asked.version < 5 { None } else { message(reply.error, reply.message) };
        DeletableTopicResult::default()
            .with_name(name.clone().map(TopicName))
            .with_topic_id(*id)
            .with_error_code(error.to_wire())
            .with_error_message(why)
    };
    let responses = wanted.iter().zip(replies).map(result).collect();
    asked.respond_cold(connection, &DeleteTopicsResponse::default().with_responses(responses));
}

pub fn grow(call: Call<'_>, request: &CreatePartitionsRequest) {
    let part = |topic: &kafka::cold::types::create_partitions_request::CreatePartitionsTopic| {
        let refused =
            |error, message| Part::Refused(ControlReply::Grown(CreatePartitionsReply { error, message }));
        let Some(total) = u32::try_from(topic.count).ok().filter(|total| 0 < *total) else {
            let message = format!("{} is no number of partitions", topic.count);
            return refused(ErrorCode::InvalidPartitions, message);
        };
        if call.shard.is_stopping() {
            return refused(ErrorCode::ShuttingDown, STOPPING.to_owned());
        }
        let name = topic.name.as_str().to_owned();
        let request = NativeGrow { name, total, validate_only: request.validate_only, timeout_ms: 0 };
        Part::Ask(Box::new(|asker| ControlMessage::CreatePartitions { asker, request }))
    };
    let parts = request.topics.iter().map(part).collect();
    let names = request.topics.iter().map(|topic| topic.name.clone().0).collect();
    call.ask_control(Shape::Names(names), parts);
}

pub fn reply_grow(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = ControlReply>) {
    let result = |(name, reply): (&StrBytes, ControlReply)| {
        let ControlReply::Grown(reply) = reply else { panic!("BUG: not a growth") };
        CreatePartitionsTopicResult::default()
            .with_name(TopicName(name.clone()))
            .with_error_code(code(reply.error).to_wire())
            .with_error_message(message(reply.error, reply.message))
    };
    let results = asked.names().iter().zip(replies).map(result).collect();
    asked.respond_cold(connection, &CreatePartitionsResponse::default().with_results(results));
}

pub fn delete_records(call: Call<'_>, request: &DeleteRecordsRequest) {
    let view = call.shard.view();
    let (mut layout, mut entries) = (Layout::default(), Vec::new());
    for topic in &request.topics {
        let found = Topic::find(&view, topic.name.as_str());
        let id = found.id();
        layout.push_topic(found);
        for partition in &topic.partitions {
            layout.push_partition(partition.partition_index);
            // −1 is all there is.
            let before = match partition.offset {
                -1 => Ok(None),
                offset => Offset::from_wire(offset).map(Some).ok_or(ErrorCode::OffsetOutOfRange),
            };
            let partition = partition_index(partition.partition_index);
            entries.push(before.map(|before| DeleteRecordsEntry { topic: id, partition, before }));
        }
    }
    let results = vec![DeleteRecordsResult::refused(ErrorCode::RequestTimedOut); entries.len()];
    let (asked, waiting) = (call.asked(Shape::Partitions(layout)), Waiting::DeleteRecords { results });
    handlers::begin_entries(call.shard, call.connection, asked, entries, waiting, delete_one);
}

fn delete_one(shard: &Rc<Shard>, origin: Origin, entry: Result<DeleteRecordsEntry, ErrorCode>) {
    match entry {
        Ok(entry) => handlers::delete_records(shard, origin, entry),
        Err(error) => handlers::take_deleted(shard, origin, DeleteRecordsResult::refused(error)),
    }
}

pub fn reply_delete_records(connection: &Connection, asked: &Asked, results: &[DeleteRecordsResult]) {
    let Shape::Partitions(layout) = &asked.shape else { panic!("BUG: it names partitions") };
    let mut results = results.iter();
    let mut partition = |index: &i32| {
        let result = results.next().expect("BUG: a result for each partition");
        DeleteRecordsPartitionResult::default()
            .with_partition_index(*index)
            .with_low_watermark(wire(result.low_watermark))
            .with_error_code(code(result.error).to_wire())
    };
    let topic = |(name, partitions): (&str, &[i32])| {
        DeleteRecordsTopicResult::default()
            .with_name(TopicName(text(name)))
            .with_partitions(partitions.iter().map(&mut partition).collect())
    };
    let topics = layout.topics().map(topic).collect();
    asked.respond_cold(connection, &DeleteRecordsResponse::default().with_topics(topics));
}

/// What a person is told beside the code; nothing if there is none.
pub fn message(error: ErrorCode, message: String) -> Option<StrBytes> {
    if error.is_ok() {
        return None;
    }
    // It may quote what a client has named, and no string of Kafka's is longer than 32 KiB.
    let end = message.floor_char_boundary(LONG_STRING_BYTES_MAX);
    Some(match message.get(..end) {
        None | Some("") => StrBytes::from_static_str(error.text()),
        Some(message) => text(message),
    })
}
