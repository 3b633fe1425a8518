//! ApiVersions and Metadata: who is there and what there is, from the view that all shards have.
//!
//!     Metadata ─ all exist, or none may be made ─▶ answered at once
//!        └ topics are missing, and `kafka.auto_create_topics` ─▶ control thread makes them ─▶ answered then

use std::collections::{BTreeSet, HashSet};

use kafka::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataBroker, MetadataPartition, MetadataRequest,
    MetadataResponse, MetadataTopic,
};
use kafka::wire::Uuid;
use kafka::{ErrorCode as KafkaCode, Malformed};
use protocol::api::CreateTopicRequest;
use protocol::model::{ErrorCode, LeaderEpoch, TopicId, TopicName};

use super::{Asked, Call, Shape, operations};
use crate::connection::Connection;
use crate::control::{ClusterView, ControlMessage, ControlReply, TopicView};
use crate::handlers;
use crate::shard::{OFFSETS_TOPIC, Waiting};

pub fn api_versions(call: Call<'_>) -> Result<(), Malformed> {
    let request: ApiVersionsRequest<'_> = call.parse()?;
    if !request.is_named_well() {
        call.respond(&ApiVersionsResponse::refused(KafkaCode::INVALID_REQUEST));
        return Ok(());
    }
    tracing::debug!(
        client = call.header.client_id,
        software = request.client_software_name,
        version = request.client_software_version,
        "a Kafka client connected"
    );
    call.respond(&ApiVersionsResponse::ours());
    Ok(())
}

/// What a request asks for.
pub struct Wanted {
    topics: Topics,
    /// Names that topics are made of first.
    missing: Vec<String>,
    /// To be told what the client may do with the cluster, and with each topic.
    operations: (bool, bool),
}

enum Topics {
    All,
    /// By name, or by id where that is not zero.
    These(Vec<(Uuid, Option<Box<str>>)>),
}

pub fn metadata(call: Call<'_>) -> Result<(), Malformed> {
    let request: MetadataRequest<'_> = call.parse()?;
    let topics = match request.topics {
        None => Topics::All,
        Some(topics) => {
            // What is named twice is told once, as by Kafka: a topic may have many partitions.
            let mut seen = HashSet::new();
            let topics = topics.iter().filter(|topic| {
                // A name is looked up whatever id stands with it.
                let id = if topic.name.is_some() { Uuid::default() } else { topic.id };
                seen.insert((id, topic.name))
            });
            Topics::These(topics.map(|topic| (topic.id, topic.name.map(Into::into))).collect())
        }
    };
    let may_create = request.allow_auto_topic_creation
        && call.shard.config.kafka.auto_create_topics
        && !call.shard.is_stopping();
    let missing = if may_create { missing(&call.shard.view(), &topics) } else { Vec::new() };
    let waiting = Waiting::Control { replies: missing.iter().map(|_| None).collect() };
    let operations =
        (request.include_cluster_authorized_operations, request.include_topic_authorized_operations);
    let asked = call.asked(Shape::Metadata(Wanted { topics, missing: missing.clone(), operations }));
    // Without a missing topic this answers at once. Whether a topic could be made is told by the view; a
    // name that it may never have, by the control thread.
    handlers::begin_entries(call.shard, call.connection, asked, missing, waiting, |shard, origin, name| {
        let request = CreateTopicRequest {
            name,
            partitions: 0,
            replication_factor: 0,
            validate_only: false,
            timeout_ms: 0,
            configs: Vec::new(),
        };
        shard.send_to_control(ControlMessage::CreateTopic { asker: origin, request });
    });
    Ok(())
}

/// Names that a topic may have and none has.
fn missing(view: &ClusterView, wanted: &Topics) -> Vec<String> {
    let Topics::These(topics) = wanted else { return Vec::new() };
    let names = topics.iter().filter_map(|(_, name)| name.as_deref());
    let mut missing: Vec<String> = names
        .filter(|name| view.topic(name).is_none() && TopicName::new(name).is_ok() && *name != OFFSETS_TOPIC)
        .map(str::to_owned)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

pub fn reply(
    connection: &Connection,
    view: &ClusterView,
    asked: &Asked,
    replies: impl Iterator<Item = ControlReply>,
) {
    let Shape::Metadata(wanted) = &asked.shape else { panic!("BUG: it names topics") };
    let made = wanted.missing.iter().map(String::as_str).zip(replies);
    let invalid: BTreeSet<&str> =
        made.filter(|(_, reply)| is_invalid_name(reply)).map(|(name, _)| name).collect();
    let identity = &view.identity;
    let (host, port) = &identity.kafka;
    let node_id = node(view);
    let cluster_id = identity.cluster.to_string();
    let (of_cluster, of_topic) = wanted.operations;
    let mut topics: Vec<MetadataTopic<'_>> = match &wanted.topics {
        Topics::All => view.topics().map(|topic| describe(view, topic)).collect(),
        Topics::These(topics) => {
            topics.iter().map(|(id, name)| find(view, &invalid, id, name.as_deref())).collect()
        }
    };
    for topic in &mut topics {
        topic.authorized_operations = operations::told(of_topic, operations::TOPIC);
    }
    asked.respond(
        connection,
        &MetadataResponse {
            throttle_ms: 0,
            brokers: vec![MetadataBroker { node_id, host, port: i32::from(*port), rack: None }],
            cluster_id: Some(&cluster_id),
            controller_id: node_id,
            topics,
            cluster_authorized_operations: operations::told(of_cluster, operations::CLUSTER),
        },
    );
}

/// This broker's number, as Kafka's clients know it; the configuration keeps it in 31 bits.
pub fn node(view: &ClusterView) -> i32 {
    view.identity.node.get().cast_signed()
}

/// Whether no topic can be made of the name: it is not legal, or collides with another's.
fn is_invalid_name(reply: &ControlReply) -> bool {
    let ControlReply::Created(reply) = reply else { panic!("BUG: not a creation") };
    reply.error == ErrorCode::InvalidTopic
}

fn find<'a>(
    view: &'a ClusterView,
    invalid: &BTreeSet<&str>,
    id: &Uuid,
    name: Option<&'a str>,
) -> MetadataTopic<'a> {
    let (found, error) = match name {
        Some(name) if TopicName::new(name).is_err() => (None, KafkaCode::INVALID_TOPIC_EXCEPTION),
        Some(name) if invalid.contains(name) => (view.topic(name), KafkaCode::INVALID_TOPIC_EXCEPTION),
        Some(name) => (view.topic(name), KafkaCode::UNKNOWN_TOPIC_OR_PARTITION),
        None => (view.topic_by_id(TopicId::from_bytes(*id)), KafkaCode::UNKNOWN_TOPIC_ID),
    };
    match found {
        Some(topic) => describe(view, topic),
        None => MetadataTopic {
            error,
            name,
            id: *id,
            is_internal: false,
            partitions: Vec::new(),
            authorized_operations: operations::NO_OPERATIONS,
        },
    }
}

fn describe<'a>(view: &ClusterView, topic: &'a TopicView) -> MetadataTopic<'a> {
    let node = node(view);
    let partition = |index: u32| MetadataPartition {
        error: KafkaCode::NONE,
        index: index.cast_signed(),
        leader_id: node,
        leader_epoch: LeaderEpoch::FIRST.get(),
        replicas: vec![node],
        in_sync: vec![node],
        offline: Vec::new(),
    };
    let name = topic.name().as_str();
    MetadataTopic {
        error: KafkaCode::NONE,
        name: Some(name),
        id: topic.id().to_bytes(),
        is_internal: name == OFFSETS_TOPIC,
        partitions: (0..topic.partitions()).map(partition).collect(),
        authorized_operations: operations::NO_OPERATIONS,
    }
}
