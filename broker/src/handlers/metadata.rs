//! Metadata: answered by any shard, from the view that all of them have.

use std::rc::Rc;

use protocol::api::{
    BrokerMetadata, ConfigEntry, Message, MetadataReply, MetadataRequest, PartitionMetadata, TopicMetadata,
    TopicSelection,
};
use protocol::frame::FrameHeader;
use protocol::model::{ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName};

use super::Refusal;
use crate::connection::Connection;
use crate::control::{ClusterView, TopicView};
use crate::shard::Shard;

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = MetadataRequest::read(body)?;
    let reply = describe(&shard.view(), &request);
    connection.reply(header.api, header.correlation, |out| reply.append_to(out));
    shard.touch(connection);
    Ok(())
}

fn describe(view: &ClusterView, request: &MetadataRequest) -> MetadataReply {
    let identity = &view.identity;
    let broker = BrokerMetadata {
        node: identity.node,
        host: identity.host.clone(),
        port: identity.port,
        shards: identity.shards,
    };
    let topics = match &request.topics {
        TopicSelection::All => {
            view.topics().map(|topic| describe_topic(view, topic, request.with_configs)).collect()
        }
        TopicSelection::Named(names) => {
            names.iter().map(|name| describe_named(view, name, request.with_configs)).collect()
        }
    };
    MetadataReply { cluster: identity.cluster, controller: identity.node, brokers: vec![broker], topics }
}

fn describe_named(view: &ClusterView, name: &str, with_configs: bool) -> TopicMetadata {
    if let Some(topic) = view.topic(name) {
        return describe_topic(view, topic, with_configs);
    }
    let error = match TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopic,
    };
    let id = TopicId::from_bytes([0; 16]);
    TopicMetadata { error, name: name.to_owned(), id, partitions: Vec::new(), configs: Vec::new() }
}

fn describe_topic(view: &ClusterView, topic: &TopicView, with_configs: bool) -> TopicMetadata {
    let node = view.identity.node;
    let partition = |index| PartitionMetadata {
        index,
        error: ErrorCode::None,
        leader: node,
        leader_epoch: LeaderEpoch::FIRST,
        shard: view.owner(topic, index),
        replicas: vec![node],
        in_sync: vec![node],
    };
    let config = |(key, value): (&str, String)| ConfigEntry {
        key: key.to_owned(),
        value,
        is_default: !topic.is_set(key),
    };
    TopicMetadata {
        error: ErrorCode::None,
        name: topic.name().to_string(),
        id: topic.id(),
        partitions: (0..topic.partitions()).map(PartitionIndex::new).map(partition).collect(),
        configs: if with_configs { topic.config().entries().map(config).collect() } else { Vec::new() },
    }
}
