//! What every shard knows of the cluster: immutable, shared, replaced whole when something changes.
//!
//!     Catalog ─▶ ClusterView { topics by name, topics by id } ─ Arc ─▶ every shard
//!
//! Which shard owns a partition is computed, not stored: topics begin at a shard chosen by their
//! number and deal their partitions out in turn, so the load is even and a change of the number of
//! cores moves partitions without touching a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::model::{ClusterId, NodeId, PartitionIndex, ShardId, TopicId, TopicName};
use storage::catalog::{Catalog, TopicRecord};

use crate::config::{TopicConfig, TopicDefaults};

pub struct TopicView {
    record: Arc<TopicRecord>,
    config: TopicConfig,
}

impl TopicView {
    fn new(record: Arc<TopicRecord>, defaults: &TopicDefaults) -> TopicView {
        let given = record.configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = TopicConfig::resolve(defaults, given).unwrap_or_else(|error| {
            // Checked when the topic was made; a later version may know settings we do not.
            tracing::error!(topic = %record.name, %error, "the topic has the broker's defaults");
            TopicConfig::resolve(defaults, []).expect("BUG: the defaults are a configuration")
        });
        TopicView { record, config }
    }

    pub fn name(&self) -> &TopicName {
        &self.record.name
    }

    pub fn id(&self) -> TopicId {
        self.record.id
    }

    pub fn partitions(&self) -> u32 {
        self.record.partitions
    }

    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// Whether the topic was given this setting, rather than the broker's default.
    pub fn is_set(&self, key: &str) -> bool {
        self.record.configs.contains_key(key)
    }

    fn owner(&self, partition: PartitionIndex, shards: u16) -> ShardId {
        let turn = self.record.number.wrapping_add(u64::from(partition.get()));
        ShardId::new((turn % u64::from(shards)) as u16)
    }
}

/// Fixed facts of this broker.
#[derive(Clone)]
pub struct Identity {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// What clients are told to connect to.
    pub host: String,
    pub port: u16,
    /// What Kafka's clients are told to connect to; of no use if there is no listener for them.
    pub kafka: (String, u16),
    pub shards: u16,
}

pub struct ClusterView {
    /// Grows with every change.
    pub version: u64,
    pub identity: Identity,
    by_name: BTreeMap<TopicName, Arc<TopicView>>,
    by_id: HashMap<TopicId, Arc<TopicView>>,
}

impl ClusterView {
    /// What the catalog says. A topic of which nothing has changed since `before` is the same as there.
    pub fn new(
        version: u64,
        identity: Identity,
        catalog: &Catalog,
        defaults: &TopicDefaults,
        before: Option<&ClusterView>,
    ) -> ClusterView {
        let mut view = ClusterView { version, identity, by_name: BTreeMap::new(), by_id: HashMap::new() };
        for record in catalog.topics() {
            let same = before.and_then(|before| before.topic_by_id(record.id));
            let topic = match same.filter(|topic| topic.record == *record) {
                Some(topic) => topic.clone(),
                None => Arc::new(TopicView::new(record.clone(), defaults)),
            };
            view.by_name.insert(record.name.clone(), topic.clone());
            view.by_id.insert(record.id, topic);
        }
        view
    }

    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.identity.shards).map(ShardId::new)
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<TopicView>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicView>> {
        self.by_id.get(&id)
    }

    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicView>> {
        self.by_name.values()
    }

    pub fn owner(&self, topic: &TopicView, partition: PartitionIndex) -> ShardId {
        topic.owner(partition, self.identity.shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn partitions_are_dealt_out_evenly_whatever_the_topic() {
        for number in 0..5 {
            let record = TopicRecord {
                name: TopicName::new("t").unwrap(),
                id: TopicId::from_bytes([0; 16]),
                number,
                partitions: 12,
                configs: BTreeMap::new(),
            };
            let defaults = Config::ephemeral(std::path::PathBuf::from("/tmp")).topic_defaults;
            let topic = TopicView::new(Arc::new(record), &defaults);
            let mut per_shard = [0; 3];
            for partition in 0..12 {
                per_shard[usize::from(topic.owner(PartitionIndex::new(partition), 3).get())] += 1;
            }
            assert_eq!(per_shard, [4, 4, 4]);
        }
    }
}
