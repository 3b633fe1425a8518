//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords: several at once, one part for each.
//!
//!     CreateTopics [a, b, a]   a twice: refused here, told once    b ─▶ control thread
//!     reply                    when all parts have been answered, in the order of the request

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use kafka::cold::StrBytes;
use kafka::cold::types::create_partitions_request::CreatePartitionsTopic;
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
    DeleteRecordsEntry, DeleteRecordsResult, DeleteTopicReply,
};
use protocol::model::limits::LONG_STRING_BYTES_MAX;
use protocol::model::{ErrorCode, Offset, TopicId};

use super::configs::{DEFAULT, OF_TOPIC};
use super::data::wire;
use super::layout::partition_index;
use super::metadata::node;
use super::{Asked, Call, Layout, Shape, Topic, code, text};
use crate::connection::Connection;
use crate::control::{ClusterView, ControlMessage, ControlReply, TopicKey};
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

/// Why not, as it is answered; where Kafka has words for it they are Kafka's.
type Refused = (ErrorCode, String);

fn stopping() -> Refused {
    (ErrorCode::ShuttingDown, "the broker is shutting down".to_owned())
}

fn invalid(why: &str) -> Refused {
    (ErrorCode::InvalidRequest, why.to_owned())
}

const DUPLICATE_NAME: &str = "Duplicate topic name.";

/// How often each key is named.
pub fn times<K: Eq + Hash>(keys: impl IntoIterator<Item = K>) -> HashMap<K, usize> {
    let mut times = HashMap::new();
    keys.into_iter().for_each(|key| *times.entry(key).or_default() += 1);
    times
}

/// Each thing once, in the order of the request, and whether it is named again.
fn once<'a, T, K: Eq + Hash>(all: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<(&'a T, bool)> {
    let mut times = times(all.iter().map(&key));
    all.iter().filter_map(|one| times.remove(&key(one)).map(|times| (one, 1 < times))).collect()
}

/// Partitions that one request may add; Kafka's limit.
const NEW_PARTITIONS_MAX: u64 = 10_000;

/// Why a whole request is refused that adds so many partitions.
fn excess(counts: impl Iterator<Item = u64>, why: &str) -> Option<Refused> {
    (NEW_PARTITIONS_MAX < counts.sum()).then(|| (ErrorCode::PolicyViolation, why.to_owned()))
}

pub fn create(call: Call<'_>, request: &CreateTopicsRequest) {
    let node = node(&call.shard.view());
    let topics = once(&request.topics, |topic| topic.name.as_str());
    let names = topics.iter().map(|(topic, _)| topic.name.clone().0).collect();
    let default = call.shard.config.topic_defaults.partitions;
    let counts = topics.iter().filter(|(_, is_twice)| !is_twice).map(|(topic, _)| wanted(topic, default));
    let excess = excess(counts, "Excessively large number of partitions per request.");
    let part = |(topic, is_twice): (&CreatableTopic, bool)| {
        let checked = match &excess {
            _ if call.shard.is_stopping() => Err(stopping()),
            Some(refused) => Err(refused.clone()),
            None if is_twice => Err(invalid(DUPLICATE_NAME)),
            None => creation(topic, request.validate_only, node),
        };
        match checked {
            Ok(create) => Part::Ask(Box::new(|asker| ControlMessage::CreateTopic { asker, request: create })),
            Err((error, message)) => {
                let id = TopicId::from_bytes([0; 16]);
                Part::Refused(ControlReply::Created(CreateTopicReply { error, message, id, partitions: 0 }))
            }
        }
    };
    call.ask_control(Shape::Names(names), topics.into_iter().map(part).collect());
}

/// How many partitions a topic is to have; none where that is no number.
fn wanted(topic: &CreatableTopic, default: u32) -> u64 {
    match (topic.num_partitions, topic.assignments.len()) {
        (-1, 0) => default.into(),
        (count, 0) => u64::try_from(count).unwrap_or(0),
        (_, assigned) => assigned as u64,
    }
}

fn creation(topic: &CreatableTopic, validate_only: bool, node: i32) -> Result<CreateTopicRequest, Refused> {
    if !topic.assignments.is_empty() {
        check_assignments(topic, node)?;
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
            let name = config.name.as_str();
            (ErrorCode::InvalidConfig, format!("Null value not supported for topic configs: {name}"))
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

/// One node leads and holds every partition: assignments say that, or cannot be.
fn check_assignments(topic: &CreatableTopic, node: i32) -> Result<(), Refused> {
    let unset =
        [("replication factor", topic.replication_factor.into()), ("numPartitions", topic.num_partitions)];
    if let Some((what, _)) = unset.into_iter().find(|(_, value)| *value != -1) {
        let why = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        return Err(invalid(&why));
    }
    let mut indexes = BTreeSet::new();
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if !indexes.insert(index) {
            let why = format!("Found multiple manual partition assignments for partition {index}");
            return Err((ErrorCode::InvalidReplicaAssignment, why));
        }
        check_replicas(&assignment.broker_ids, node)?;
    }
    if indexes.iter().zip(0..).any(|(index, expected)| *index != expected) {
        let why = "partitions should be a consecutive 0-based integer sequence".to_owned();
        return Err((ErrorCode::InvalidReplicaAssignment, why));
    }
    Ok(())
}

/// The brokers that are to hold a partition: this one.
fn check_replicas(brokers: &[BrokerId], node: i32) -> Result<(), Refused> {
    let includes = match brokers {
        [BrokerId(only)] if *only == node => return Ok(()),
        [] => "an empty replica list.".to_owned(),
        all => match all.iter().find(|broker| broker.0 != node) {
            Some(other) => format!("broker {}, but no such broker is registered.", other.0),
            None => format!("the broker {node} more than once."),
        },
    };
    Err((ErrorCode::InvalidReplicaAssignment, format!("The manual partition assignment includes {includes}")))
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

/// A topic by its name, by its id, or wrongly by both or neither.
pub type Named = (Option<StrBytes>, uuid::Uuid);

/// What is named twice, in either way, is told once and stays.
pub fn delete(call: Call<'_>, request: &DeleteTopicsRequest) {
    let view = call.shard.view();
    let by_name = request.topic_names.iter().map(|name| (Some(name.clone().0), uuid::Uuid::nil()));
    let by_either =
        request.topics.iter().map(|topic| (topic.name.clone().map(|name| name.0), topic.topic_id));
    let named: Vec<Named> = by_name.chain(by_either).collect();
    let key = |(name, id): &Named| match view.topic(name.as_deref().unwrap_or_default()) {
        Some(topic) if id.is_nil() => (None, uuid::Uuid::from_bytes(topic.id().to_bytes())),
        _ => (name.clone(), *id),
    };
    let once = once(&named, key);
    let part = |(named, is_twice): &(&Named, bool)| {
        let checked = if call.shard.is_stopping() { Err(stopping()) } else { deletion(named, *is_twice) };
        match checked {
            Ok(topic) => Part::Ask(Box::new(|asker| ControlMessage::DeleteTopic { asker, topic })),
            Err((error, message)) => {
                Part::Refused(ControlReply::Deleted(DeleteTopicReply { error, message }, None))
            }
        }
    };
    let parts = once.iter().map(part).collect();
    call.ask_control(Shape::Deleted(once.into_iter().map(|(named, _)| named.clone()).collect()), parts);
}

fn deletion(named: &Named, is_twice: bool) -> Result<TopicKey, Refused> {
    match named {
        (Some(_), id) if !id.is_nil() => Err(invalid("You may not specify both topic name and topic id.")),
        (None, id) if id.is_nil() => Err(invalid("Neither topic name nor id were specified.")),
        (Some(_), _) if is_twice => Err(invalid(DUPLICATE_NAME)),
        (None, _) if is_twice => Err(invalid("Duplicate topic id.")),
        (Some(name), _) => Ok(TopicKey::Name(name.as_str().to_owned())),
        (None, id) => Ok(TopicKey::Id(TopicId::from_bytes(id.into_bytes()))),
    }
}

pub fn reply_delete(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = ControlReply>) {
    let Shape::Deleted(wanted) = &asked.shape else { panic!("BUG: it names topics") };
    let result = |((name, id), reply): (&Named, ControlReply)| {
        let ControlReply::Deleted(reply, topic) = reply else { panic!("BUG: not a deletion") };
        // By id Kafka has a code of its own for what is not there.
        let error = match reply.error {
            ErrorCode::UnknownTopicId if !id.is_nil() => kafka::ErrorCode::UNKNOWN_TOPIC_ID,
            error => code(error),
        };
        let why = if asked.version < 5 { None } else { message(reply.error, reply.message) };
        // Of a topic that is there both are told, whichever it was named by.
        let (name, id) = match topic {
            Some((name, id)) => (Some(text(name.as_str())), uuid::Uuid::from_bytes(id.to_bytes())),
            None => (name.clone(), *id),
        };
        DeletableTopicResult::default()
            .with_name(name.map(TopicName))
            .with_topic_id(id)
            .with_error_code(error.to_wire())
            .with_error_message(why)
    };
    let responses = wanted.iter().zip(replies).map(result).collect();
    asked.respond_cold(connection, &DeleteTopicsResponse::default().with_responses(responses));
}

pub fn grow(call: Call<'_>, request: &CreatePartitionsRequest) {
    let view = call.shard.view();
    let topics = once(&request.topics, |topic| topic.name.as_str());
    let names = topics.iter().map(|(topic, _)| topic.name.clone().0).collect();
    let counts = topics.iter().filter(|(_, is_twice)| !is_twice).map(|(topic, _)| added(&view, topic));
    let excess = excess(counts, "Unable to perform excessively large batch operation.");
    let part = |(topic, is_twice): (&CreatePartitionsTopic, bool)| {
        let checked = match &excess {
            _ if call.shard.is_stopping() => Err(stopping()),
            Some(refused) => Err(refused.clone()),
            None if is_twice => Err(invalid(DUPLICATE_NAME)),
            None => growth(&view, topic),
        };
        match checked {
            Ok(total) => {
                let (name, validate_only) = (topic.name.as_str().to_owned(), request.validate_only);
                let request = NativeGrow { name, total, validate_only, timeout_ms: 0 };
                Part::Ask(Box::new(|asker| ControlMessage::CreatePartitions { asker, request }))
            }
            Err((error, message)) => {
                Part::Refused(ControlReply::Grown(CreatePartitionsReply { error, message }))
            }
        }
    };
    call.ask_control(Shape::Names(names), topics.into_iter().map(part).collect());
}

/// How many partitions a topic is to have more than now; none if there is no such topic.
fn added(view: &ClusterView, topic: &CreatePartitionsTopic) -> u64 {
    let total = u64::try_from(topic.count).unwrap_or(0);
    view.topic(topic.name.as_str()).map_or(0, |found| total.saturating_sub(found.partitions().into()))
}

/// The total that is wanted. Whether there is such a topic, and whether that is more than it has, is the
/// control thread's to tell.
fn growth(view: &ClusterView, topic: &CreatePartitionsTopic) -> Result<u32, Refused> {
    let total = u32::try_from(topic.count).ok().filter(|total| 0 < *total).ok_or_else(|| {
        (ErrorCode::InvalidPartitions, format!("{} is no number of partitions", topic.count))
    })?;
    let has = view.topic(topic.name.as_str()).map_or(total, |found| found.partitions());
    let (Some(assignments), Some(more @ 1..)) = (&topic.assignments, total.checked_sub(has)) else {
        return Ok(total);
    };
    if u32::try_from(assignments.len()) != Ok(more) {
        let why = format!(
            "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err((ErrorCode::InvalidReplicaAssignment, why));
    }
    assignments.iter().try_for_each(|one| check_replicas(&one.broker_ids, node(view)))?;
    Ok(total)
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
