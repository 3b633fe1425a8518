//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs: a topic's settings by Kafka's names.
//!
//!     AlterConfigs               the topic has what is named, and of the rest the defaults
//!     IncrementalAlterConfigs    set ▸ delete ▸ append and subtract, of a setting that is a list
//!
//! Both become one AlterTopic of the native protocol. A broker's settings are shown, not changed: they stand
//! in its configuration file.

use std::collections::{HashMap, HashSet};

use kafka::cold::StrBytes;
use kafka::cold::types::alter_configs_response::AlterConfigsResourceResponse;
use kafka::cold::types::describe_configs_request::DescribeConfigsResource;
use kafka::cold::types::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka::cold::types::incremental_alter_configs_request::AlterableConfig;
use kafka::cold::types::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka::cold::types::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use protocol::api::{AlterTopicReply, AlterTopicRequest, ConfigChange};
use protocol::model::{ErrorCode, TopicName};

use super::metadata::node;
use super::topics::{Part, message, times};
use super::{Asked, Call, Shape, code, text};
use crate::config::{Config, Kind, TopicConfig};
use crate::connection::Connection;
use crate::control::{ClusterView, ControlMessage, ControlReply, TopicView};

/// `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// `DescribeConfigsResponse.ConfigSource`: where a value comes from.
pub const OF_TOPIC: i8 = 1;
const OF_FILE: i8 = 4;
pub const DEFAULT: i8 = 5;

/// What is named of a resource; told with each answer about it.
pub type Resource = (i8, StrBytes);

/// A name or a kind of resource that there is nothing of.
type Refused = (ErrorCode, String);

/// What is named twice is told once: its settings are many times as long as its name.
pub fn describe(call: Call<'_>, request: &DescribeConfigsRequest) {
    let view = call.shard.view();
    let mut seen = HashSet::new();
    let describe = |resource: &DescribeConfigsResource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(&view, &call.shard.config, resource, request.include_synonyms) {
            Ok(configs) => result.with_configs(configs),
            Err((error, why)) => {
                result.with_error_code(code(error).to_wire()).with_error_message(message(error, why))
            }
        }
    };
    let resources =
        request.resources.iter().filter(|one| seen.insert((one.resource_type, &one.resource_name)));
    call.respond_cold(&DescribeConfigsResponse::default().with_results(resources.map(describe).collect()));
}

fn entries(
    view: &ClusterView,
    config: &Config,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    // Named none are all, as null are (`ConfigHelper.describeConfigs`).
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    let is_wanted = |name: &str| keys.is_empty() || keys.iter().any(|key| key.as_str() == name);
    match resource.resource_type {
        TOPIC => {
            let topic = find_topic(view, &resource.resource_name)?;
            let all = topic.config().entries().zip(config.topic_defaults.config.entries());
            let entry = |((name, value), (_, default))| {
                let source = if topic.is_set(name) { OF_TOPIC } else { DEFAULT };
                let values = [(value, source), (default, DEFAULT)];
                // The default stands behind what is set.
                let values = values.get(..if topic.is_set(name) { 2 } else { 1 }).unwrap_or(&values);
                let kind = TopicConfig::kind(name).expect("BUG: it is one of the entries");
                entry(name, kind, values, false, synonyms)
            };
            Ok(all.filter(|((name, _), _)| is_wanted(name)).map(entry).collect())
        }
        BROKER => {
            is_this_broker(view, &resource.resource_name)?;
            let all = of_broker(view, config).into_iter().filter(|(name, ..)| is_wanted(name));
            let entry = |(name, kind, value)| entry(name, kind, &[(value, OF_FILE)], true, synonyms);
            Ok(all.map(entry).collect())
        }
        other => Err((ErrorCode::InvalidRequest, format!("there are no settings of resource type {other}"))),
    }
}

/// A setting with its value and where that comes from, and behind it the values that it hides.
fn entry(
    name: &'static str,
    kind: Kind,
    values: &[(String, i8)],
    read_only: bool,
    synonyms: bool,
) -> DescribeConfigsResourceResult {
    let name = StrBytes::from_static_str(name);
    let synonym = |(value, source): &(String, i8)| {
        DescribeConfigsSynonym::default()
            .with_name(name.clone())
            .with_value(Some(text(value.as_str())))
            .with_source(*source)
    };
    let all: Vec<DescribeConfigsSynonym> = values.iter().map(synonym).collect();
    let (value, source) = all.first().map_or((None, DEFAULT), |first| (first.value.clone(), first.source));
    let synonyms = if synonyms { all } else { Vec::new() };
    DescribeConfigsResourceResult::default()
        .with_name(name)
        .with_value(value)
        .with_config_source(source)
        .with_config_type(config_type(kind))
        .with_read_only(read_only)
        .with_synonyms(synonyms)
}

/// `DescribeConfigsResponse.ConfigType`.
fn config_type(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
    }
}

/// What Kafka's tools look for in a broker's settings. What is a list is one since Kafka 4.2 (KIP-1161).
fn of_broker(view: &ClusterView, config: &Config) -> Vec<(&'static str, Kind, String)> {
    let (host, port) = &view.identity.kafka;
    vec![
        ("advertised.listeners", Kind::List, format!("PLAINTEXT://{host}:{port}")),
        ("auto.create.topics.enable", Kind::Boolean, config.kafka.auto_create_topics.to_string()),
        ("broker.id", Kind::Int, node(view).to_string()),
        ("connections.max.idle.ms", Kind::Long, config.kafka.connections_idle_max.as_millis().to_string()),
        ("default.replication.factor", Kind::Int, "1".to_owned()),
        ("log.dirs", Kind::List, config.data_dir.display().to_string()),
        ("min.insync.replicas", Kind::Int, "1".to_owned()),
        ("node.id", Kind::Int, node(view).to_string()),
        ("num.partitions", Kind::Int, config.topic_defaults.partitions.to_string()),
        ("offsets.topic.num.partitions", Kind::Int, config.offsets_partitions.to_string()),
        ("socket.request.max.bytes", Kind::Int, config.frame_bytes_max.to_string()),
    ]
}

fn find_topic<'a>(view: &'a ClusterView, name: &str) -> Result<&'a TopicView, Refused> {
    if let Err(why) = TopicName::new(name) {
        return Err((ErrorCode::InvalidTopic, why.to_string()));
    }
    let unknown = || (ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name:?}"));
    view.topic(name).map(|topic| &**topic).ok_or_else(unknown)
}

/// Empty stands for all brokers, of which there is one.
fn is_this_broker(view: &ClusterView, name: &str) -> Result<(), Refused> {
    let node = node(view);
    match name.is_empty() || name.parse() == Ok(node) {
        true => Ok(()),
        false => Err((ErrorCode::InvalidRequest, format!("this is broker {node}, not {name}"))),
    }
}

pub fn alter(call: Call<'_>, request: &AlterConfigsRequest) {
    let view = call.shard.view();
    let resources: Vec<Resource> =
        request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())).collect();
    let times = times(&resources);
    let parts = request.resources.iter().zip(&resources).map(|(resource, named_as)| {
        let named: Vec<(&str, Option<&str>)> = resource
            .configs
            .iter()
            .map(|config| (config.name.as_str(), config.value.as_ref().map(StrBytes::as_str)))
            .collect();
        let changes = of_topic(&view, &times, named_as).and_then(|topic| replacement(topic, &named));
        part(call, &resource.resource_name, request.validate_only, changes)
    });
    let parts = parts.collect();
    call.ask_control(Shape::Resources(resources), parts);
}

pub fn alter_incrementally(call: Call<'_>, request: &IncrementalAlterConfigsRequest) {
    let view = call.shard.view();
    let resources: Vec<Resource> =
        request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())).collect();
    let times = times(&resources);
    let parts = request.resources.iter().zip(&resources).map(|(resource, named_as)| {
        let changes = of_topic(&view, &times, named_as).and_then(|topic| changes(topic, &resource.configs));
        part(call, &resource.resource_name, request.validate_only, changes)
    });
    let parts = parts.collect();
    call.ask_control(Shape::Resources(resources), parts);
}

fn part(
    call: Call<'_>,
    name: &str,
    validate_only: bool,
    changes: Result<Vec<(String, ConfigChange)>, Refused>,
) -> Part {
    let changes = match call.shard.is_stopping() {
        true => Err((ErrorCode::ShuttingDown, String::new())),
        false => changes,
    };
    match changes {
        Ok(changes) => {
            let request = AlterTopicRequest { name: name.to_owned(), validate_only, changes };
            Part::Ask(Box::new(|asker| ControlMessage::AlterTopic { asker, request }))
        }
        Err((error, message)) => Part::Refused(ControlReply::Altered(AlterTopicReply { error, message })),
    }
}

/// The topic that is to change, once: of two changes of it neither can be meant.
fn of_topic<'a>(
    view: &'a ClusterView,
    times: &HashMap<&Resource, usize>,
    resource: &Resource,
) -> Result<&'a TopicView, Refused> {
    if times.get(resource).is_some_and(|times| 1 < *times) {
        return Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned()));
    }
    let (kind, name) = resource;
    match *kind {
        TOPIC => find_topic(view, name),
        BROKER => {
            let message = "a broker's settings stand in its configuration file".to_owned();
            Err((ErrorCode::InvalidRequest, message))
        }
        other => Err((ErrorCode::InvalidRequest, format!("there are no settings of resource type {other}"))),
    }
}

/// What is named is set, what was set and is not named is so no longer.
fn replacement(
    topic: &TopicView,
    named: &[(&str, Option<&str>)],
) -> Result<Vec<(String, ConfigChange)>, Refused> {
    let mut changes = Vec::new();
    for (name, value) in named {
        let value =
            value.ok_or_else(|| (ErrorCode::InvalidRequest, format!("{name}: a setting has a value")))?;
        changes.push(((*name).to_owned(), ConfigChange::Set(value.to_owned())));
    }
    let is_named = |name: &str| named.iter().any(|(named, _)| *named == name);
    let others = topic.config().entries().filter(|(name, _)| topic.is_set(name) && !is_named(name));
    changes.extend(others.map(|(name, _)| (name.to_owned(), ConfigChange::Reset)));
    Ok(changes)
}

/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn changes(topic: &TopicView, configs: &[AlterableConfig]) -> Result<Vec<(String, ConfigChange)>, Refused> {
    let mut seen = HashSet::new();
    let change = |config: &AlterableConfig| match seen.insert(config.name.clone()) {
        true => change(topic, config),
        false => Err((ErrorCode::InvalidRequest, format!("{}: is named twice", config.name.as_str()))),
    };
    configs.iter().map(change).collect()
}

fn change(topic: &TopicView, config: &AlterableConfig) -> Result<(String, ConfigChange), Refused> {
    let name = config.name.as_str();
    let value = || {
        let value = config.value.as_ref().map(StrBytes::as_str);
        value.ok_or_else(|| (ErrorCode::InvalidRequest, format!("{name}: a setting has a value")))
    };
    let change = match config.config_operation {
        SET => ConfigChange::Set(value()?.to_owned()),
        DELETE => ConfigChange::Reset,
        op @ (APPEND | SUBTRACT) if TopicConfig::kind(name) == Some(Kind::List) => {
            let now = topic
                .config()
                .entries()
                .find(|(entry, _)| *entry == name)
                .map_or(String::new(), |(_, now)| now);
            ConfigChange::Set(changed_list(&now, op == APPEND, value()?))
        }
        op @ (APPEND | SUBTRACT) => {
            let op = if op == APPEND { "APPEND" } else { "SUBTRACT" };
            let why = format!("Can't {op} to key {name} because its type is not LIST.");
            return Err((ErrorCode::InvalidConfig, why));
        }
        op => return Err((ErrorCode::InvalidRequest, format!("there is no operation {op}"))),
    };
    Ok((name.to_owned(), change))
}

fn changed_list(now: &str, append: bool, items: &str) -> String {
    let split = |list: &'_ str| -> Vec<String> {
        list.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    let (mut list, items) = (split(now), split(items));
    list.retain(|item| !items.contains(item));
    if append {
        list.extend(items);
    }
    list.join(",")
}

pub fn reply_alter(connection: &Connection, asked: &Asked, replies: impl Iterator<Item = ControlReply>) {
    let responses = outcomes(asked, replies).map(|(kind, name, error, why)| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_error_code(error)
            .with_error_message(why)
    });
    asked.respond_cold(connection, &AlterConfigsResponse::default().with_responses(responses.collect()));
}

pub fn reply_incrementally(
    connection: &Connection,
    asked: &Asked,
    replies: impl Iterator<Item = ControlReply>,
) {
    let responses = outcomes(asked, replies).map(|(kind, name, error, why)| {
        IncrementalResponse::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_error_code(error)
            .with_error_message(why)
    });
    let response = IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
    asked.respond_cold(connection, &response);
}

fn outcomes(
    asked: &Asked,
    replies: impl Iterator<Item = ControlReply>,
) -> impl Iterator<Item = (i8, StrBytes, i16, Option<StrBytes>)> {
    let Shape::Resources(resources) = &asked.shape else { panic!("BUG: it names resources") };
    resources.iter().zip(replies).map(|((kind, name), reply)| {
        let ControlReply::Altered(reply) = reply else { panic!("BUG: not a change of settings") };
        (*kind, name.clone(), code(reply.error).to_wire(), message(reply.error, reply.message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_appended_to_and_subtracted_from() {
        assert_eq!(changed_list("delete", true, "compact"), "delete,compact");
        assert_eq!(changed_list("compact,delete", true, "compact"), "delete,compact");
        assert_eq!(changed_list("compact, delete", false, "delete"), "compact");
        assert_eq!(changed_list("delete", false, "delete"), "");
    }
}
