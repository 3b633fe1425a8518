//! Metadata: which topics there are, where each partition lives, and how a topic is configured.
//!
//!     orders ── id 3f… ── partition 0 ── node 1, shard 0, epoch 0, in sync {1}
//!                      └─ partition 1 ── node 1, shard 1, epoch 0, in sync {1}
//!
//! Clients keep the answer, ask again when a broker says it is stale, and connect to the shard that
//! owns the partition.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::{
    CONFIGS_PER_TOPIC_MAX, LONG_STRING_BYTES_MAX, PARTITIONS_PER_TOPIC_MAX, SHORT_STRING_BYTES_MAX,
    TOPICS_PER_REQUEST_MAX,
};
use crate::model::{ClusterId, ErrorCode, LeaderEpoch, NodeId, PartitionIndex, ShardId, TopicId};

const FLAG_ALL_TOPICS: u8 = 1 << 0;
const FLAG_CONFIGS: u8 = 1 << 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicSelection {
    All,
    /// Names as the user wrote them: an illegal one is answered with its error, not refused whole.
    Named(Vec<String>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataRequest {
    pub topics: TopicSelection,
    /// Whether the answer shall hold each topic's configuration.
    pub with_configs: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataReply {
    pub cluster: ClusterId,
    pub controller: NodeId,
    pub brokers: Vec<BrokerMetadata>,
    pub topics: Vec<TopicMetadata>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerMetadata {
    pub node: NodeId,
    pub host: String,
    pub port: u16,
    pub shards: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicMetadata {
    /// `UnknownTopicOrPartition` or `InvalidTopic` for a name that was asked for in vain.
    pub error: ErrorCode,
    pub name: String,
    pub id: TopicId,
    pub partitions: Vec<PartitionMetadata>,
    pub configs: Vec<ConfigEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionMetadata {
    pub index: PartitionIndex,
    pub error: ErrorCode,
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub shard: ShardId,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    pub key: String,
    pub value: String,
    /// Whether the value is the broker's default rather than the topic's own.
    pub is_default: bool,
}

impl Message for MetadataRequest {
    const API: Api = Api::Metadata;

    fn write(&self, w: &mut Writer<'_>) {
        let (all, names): (u8, &[String]) = match &self.topics {
            TopicSelection::All => (FLAG_ALL_TOPICS, &[]),
            TopicSelection::Named(names) => (0, names),
        };
        w.u8("flags", all | if self.with_configs { FLAG_CONFIGS } else { 0 });
        w.list("topics", names, |w, name| w.string("name", name));
    }

    fn read(body: &[u8]) -> Result<MetadataRequest, DecodeError> {
        let mut r = Reader::new(body);
        let flags = r.u8("flags")?;
        if flags & !(FLAG_ALL_TOPICS | FLAG_CONFIGS) != 0 {
            return Err(DecodeError::Invalid { field: "flags", why: "only bits 0 and 1 are defined" });
        }
        let named = r.list("topics", TOPICS_PER_REQUEST_MAX, 2, |r| {
            r.string("name", LONG_STRING_BYTES_MAX).map(str::to_owned)
        })?;
        r.finish()?;
        let topics =
            if flags & FLAG_ALL_TOPICS != 0 { TopicSelection::All } else { TopicSelection::Named(named) };
        Ok(MetadataRequest { topics, with_configs: flags & FLAG_CONFIGS != 0 })
    }
}

impl Message for MetadataReply {
    const API: Api = Api::Metadata;

    fn write(&self, w: &mut Writer<'_>) {
        w.uuid("cluster", &self.cluster, self.cluster.to_bytes());
        w.u32("controller", self.controller.get());
        w.list("brokers", &self.brokers, |w, broker| broker.write(w));
        w.list("topics", &self.topics, |w, topic| topic.write(w));
    }

    fn read(body: &[u8]) -> Result<MetadataReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = MetadataReply {
            cluster: ClusterId::from_bytes(r.uuid("cluster")?),
            controller: NodeId::new(r.u32("controller")?),
            brokers: r.list("brokers", usize::MAX, BrokerMetadata::LEN_MIN, BrokerMetadata::read)?,
            topics: r.list("topics", usize::MAX, TopicMetadata::LEN_MIN, TopicMetadata::read)?,
        };
        r.finish()?;
        Ok(reply)
    }
}

impl BrokerMetadata {
    const LEN_MIN: usize = 10;

    fn write(&self, w: &mut Writer<'_>) {
        w.u32("node", self.node.get());
        w.string("host", &self.host);
        w.u16("port", self.port);
        w.u16("shards", self.shards);
    }

    fn read(r: &mut Reader<'_>) -> Result<BrokerMetadata, DecodeError> {
        Ok(BrokerMetadata {
            node: NodeId::new(r.u32("node")?),
            host: r.string("host", SHORT_STRING_BYTES_MAX)?.to_owned(),
            port: r.u16("port")?,
            shards: r.u16("shards")?,
        })
    }
}

impl TopicMetadata {
    const LEN_MIN: usize = 28;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.string("name", &self.name);
        w.uuid("id", &self.id, self.id.to_bytes());
        w.list("partitions", &self.partitions, |w, partition| partition.write(w));
        w.list("configs", &self.configs, |w, entry| entry.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<TopicMetadata, DecodeError> {
        Ok(TopicMetadata {
            error: ErrorCode::from_wire(r.u16("error")?),
            name: r.string("name", LONG_STRING_BYTES_MAX)?.to_owned(),
            id: TopicId::from_bytes(r.uuid("id")?),
            partitions: r.list(
                "partitions",
                PARTITIONS_PER_TOPIC_MAX as usize,
                PartitionMetadata::LEN_MIN,
                PartitionMetadata::read,
            )?,
            configs: r.list("configs", CONFIGS_PER_TOPIC_MAX, ConfigEntry::LEN_MIN, ConfigEntry::read)?,
        })
    }
}

impl PartitionMetadata {
    const LEN_MIN: usize = 24;

    fn write(&self, w: &mut Writer<'_>) {
        w.u32("index", self.index.get());
        w.u16("error", self.error.to_wire());
        w.u32("leader", self.leader.get());
        w.i32("leader_epoch", self.leader_epoch.get());
        w.u16("shard", self.shard.get());
        w.list("replicas", &self.replicas, |w, node| w.u32("node", node.get()));
        w.list("in_sync", &self.in_sync, |w, node| w.u32("node", node.get()));
    }

    fn read(r: &mut Reader<'_>) -> Result<PartitionMetadata, DecodeError> {
        let node = |r: &mut Reader<'_>| r.u32("node").map(NodeId::new);
        Ok(PartitionMetadata {
            index: PartitionIndex::new(r.u32("index")?),
            error: ErrorCode::from_wire(r.u16("error")?),
            leader: NodeId::new(r.u32("leader")?),
            leader_epoch: LeaderEpoch::new(r.i32("leader_epoch")?),
            shard: ShardId::new(r.u16("shard")?),
            replicas: r.list("replicas", usize::MAX, 4, node)?,
            in_sync: r.list("in_sync", usize::MAX, 4, node)?,
        })
    }
}

impl ConfigEntry {
    pub(super) const LEN_MIN: usize = 5;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("key", &self.key);
        w.string("value", &self.value);
        w.u8("is_default", u8::from(self.is_default));
    }

    fn read(r: &mut Reader<'_>) -> Result<ConfigEntry, DecodeError> {
        Ok(ConfigEntry {
            key: r.string("key", SHORT_STRING_BYTES_MAX)?.to_owned(),
            value: r.string("value", LONG_STRING_BYTES_MAX)?.to_owned(),
            is_default: r.u8("is_default")? != 0,
        })
    }
}
