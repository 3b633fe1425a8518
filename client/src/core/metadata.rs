//! What the client knows of the cluster: topics, their partitions' owners, brokers' addresses.
//!
//!     MetadataReply ─▶ apply ─▶ topic "orders" ─▶ partition 3 ─▶ node 1, shard 0 ─▶ 10.0.0.5:7070
//!
//! Topics are shared as `Arc<Topic>`: who holds one sees it as it was, and gets the newer one by
//! name. Only topics somebody asked for are kept.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::api::{MetadataReply, TopicMetadata};
use protocol::model::limits::{BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX};
use protocol::model::{ErrorCode, LeaderEpoch, NodeId, PartitionIndex, ShardId, TopicId};

/// Kafka's name of the limit on a batch.
const BATCH_BYTES_CONFIG: &str = "max.message.bytes";

/// Which connection a request for a partition belongs on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Route {
    /// Whatever shard accepts: the client was told not to route.
    Any,
    Owner {
        node: NodeId,
        shard: ShardId,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    /// By index: partition 3 is the fourth. `None` where the broker did not tell.
    partitions: Vec<Option<Owner>>,
    pub batch_bytes_max: usize,
}

/// Who leads a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    pub node: NodeId,
    pub shard: ShardId,
    pub epoch: LeaderEpoch,
}

impl Topic {
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("BUG: a reply bounds its partitions")
    }

    /// `None` if there is no such partition, or none that leads it at the moment.
    pub fn owner(&self, partition: PartitionIndex) -> Option<Owner> {
        self.partitions.get(partition.get() as usize).copied().flatten()
    }
}

#[derive(Debug, Default)]
pub struct Metadata {
    brokers: HashMap<NodeId, Arc<str>>,
    topics: HashMap<Arc<str>, Arc<Topic>>,
}

impl Metadata {
    /// Takes in a reply; topics it does not mention stay. Returns whether anything is new.
    pub fn apply(&mut self, reply: MetadataReply) -> bool {
        let mut changed = false;
        for broker in reply.brokers {
            let address = address(&broker.host, broker.port);
            changed |= self.brokers.insert(broker.node, Arc::clone(&address)) != Some(address);
        }
        for topic in reply.topics {
            let name: Arc<str> = topic.name.as_str().into();
            match topic.error {
                ErrorCode::None => {
                    let topic = Arc::new(read_topic(Arc::clone(&name), topic));
                    changed |= self.topics.get(&name) != Some(&topic);
                    self.topics.insert(name, topic);
                }
                ErrorCode::UnknownTopicOrPartition => changed |= self.topics.remove(&name).is_some(),
                // The broker cannot tell at the moment; what we know is better than nothing.
                _ => {}
            }
        }
        changed
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_names(&self) -> Vec<Arc<str>> {
        self.topics.keys().cloned().collect()
    }

    pub fn address(&self, node: NodeId) -> Option<&Arc<str>> {
        self.brokers.get(&node)
    }

    /// Some broker, the same one as long as there is no lower one.
    pub fn first_node(&self) -> Option<NodeId> {
        self.brokers.keys().min().copied()
    }

    pub fn addresses(&self) -> impl Iterator<Item = &Arc<str>> {
        self.brokers.values()
    }
}

/// `host:port`; an IPv6 address in brackets.
fn address(host: &str, port: u16) -> Arc<str> {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}").into()
    } else {
        format!("{host}:{port}").into()
    }
}

fn read_topic(name: Arc<str>, topic: TopicMetadata) -> Topic {
    let count =
        topic.partitions.iter().map(|partition| partition.index.get() as usize + 1).max().unwrap_or(0);
    // Indexes have no gaps; a reply that claims otherwise must not make us allocate by it.
    let mut partitions = vec![None; count.min(topic.partitions.len())];
    for partition in &topic.partitions {
        if let Some(slot) = partitions.get_mut(partition.index.get() as usize) {
            *slot = partition.error.is_ok().then_some(Owner {
                node: partition.leader,
                shard: partition.shard,
                epoch: partition.leader_epoch,
            });
        }
    }
    let limit = topic.configs.iter().find(|entry| entry.key == BATCH_BYTES_CONFIG);
    let batch_bytes_max = limit.and_then(|entry| entry.value.parse().ok()).unwrap_or(BATCH_BYTES_DEFAULT);
    Topic { name, id: topic.id, partitions, batch_bytes_max: batch_bytes_max.min(BATCH_BYTES_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::api::{BrokerMetadata, ConfigEntry, PartitionMetadata};
    use protocol::model::ClusterId;

    fn partition(index: u32, node: u32, shard: u16) -> PartitionMetadata {
        PartitionMetadata {
            index: PartitionIndex::new(index),
            error: ErrorCode::None,
            leader: NodeId::new(node),
            leader_epoch: LeaderEpoch::FIRST,
            shard: ShardId::new(shard),
            replicas: vec![NodeId::new(node)],
            in_sync: vec![NodeId::new(node)],
        }
    }

    fn topic(name: &str, error: ErrorCode, partitions: Vec<PartitionMetadata>) -> TopicMetadata {
        let key = BATCH_BYTES_CONFIG.to_owned();
        let configs = vec![ConfigEntry { key, value: "1000".to_owned(), is_default: false }];
        TopicMetadata { error, name: name.to_owned(), id: TopicId::from_bytes([7; 16]), partitions, configs }
    }

    fn reply(topics: Vec<TopicMetadata>) -> MetadataReply {
        let broker = BrokerMetadata { node: NodeId::new(1), host: "::1".to_owned(), port: 7070, shards: 2 };
        let cluster = ClusterId::from_bytes([0; 16]);
        MetadataReply { cluster, controller: NodeId::new(1), brokers: vec![broker], topics }
    }

    #[test]
    fn a_partition_is_found_by_its_index_whatever_the_order_of_the_reply() {
        let mut metadata = Metadata::default();
        let partitions = vec![partition(1, 1, 1), partition(0, 1, 0)];
        assert!(metadata.apply(reply(vec![topic("t", ErrorCode::None, partitions)])));
        let topic = metadata.topic("t").unwrap();
        assert_eq!((topic.partition_count(), topic.batch_bytes_max), (2, 1000));
        assert_eq!(topic.owner(PartitionIndex::new(1)).unwrap().shard, ShardId::new(1));
        assert_eq!(topic.owner(PartitionIndex::new(2)), None);
        assert_eq!(metadata.address(NodeId::new(1)).unwrap().as_ref(), "[::1]:7070");
    }

    #[test]
    fn only_what_is_new_counts_as_a_change() {
        let mut metadata = Metadata::default();
        let same = || reply(vec![topic("t", ErrorCode::None, vec![partition(0, 1, 0)])]);
        assert!(metadata.apply(same()));
        assert!(!metadata.apply(same()));
        assert!(!metadata.apply(reply(vec![])), "a topic that is not mentioned stays");
        assert!(metadata.apply(reply(vec![topic("t", ErrorCode::None, vec![partition(0, 1, 1)])])), "moved");
        assert!(!metadata.apply(reply(vec![topic("t", ErrorCode::RequestTimedOut, vec![])])));
        assert!(metadata.topic("t").is_some());
        assert!(metadata.apply(reply(vec![topic("t", ErrorCode::UnknownTopicOrPartition, vec![])])));
        assert!(metadata.topic("t").is_none());
    }

    #[test]
    fn an_absurd_index_allocates_nothing() {
        let mut metadata = Metadata::default();
        metadata.apply(reply(vec![topic("t", ErrorCode::None, vec![partition(u32::MAX, 1, 0)])]));
        assert_eq!(metadata.topic("t").unwrap().partition_count(), 1);
    }
}
