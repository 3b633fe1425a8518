//! Admin: topics made, changed, deleted, listed and described; offsets and counters asked for.
//!
//!     create_topic ▸ describe_topic ▸ list_topics ▸ delete_topic        any broker answers
//!     create_partitions ▸ alter_topic                                   the same
//!     list_offsets ▸ delete_records                                     the partition's leader answers
//!     stats                                                             the broker we are connected to
//!     groups                                                            `groups.rs`
//!
//! A request that may have been applied is not retried: a connection that was lost is made again, but
//! the request is the caller's to repeat.

use std::sync::Arc;

use protocol::api::{
    AlterTopicReply, AlterTopicRequest, ConfigChange, ConfigEntry, CreatePartitionsReply,
    CreatePartitionsRequest, CreateTopicReply, CreateTopicRequest, DeleteTopicReply, DeleteTopicRequest,
    MetadataReply, MetadataRequest, OffsetSpec, StatsReply, StatsRequest, TopicMetadata, TopicSelection,
};
use protocol::model::limits::{CONFIGS_PER_TOPIC_MAX, LONG_STRING_BYTES_MAX, SHORT_STRING_BYTES_MAX};
use protocol::model::{
    ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ShardId, Timestamp, TopicId, TopicName,
};

use crate::driver::cluster::Cluster;
use crate::error::AdminError;

mod groups;
pub use groups::{
    GroupDescription, GroupOffset, GroupState, GroupSummary, MemberDescription, MemberToRemove,
};

/// A topic to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a specification makes nothing by itself"]
pub struct TopicSpec {
    name: String,
    partitions: u32,
    replication_factor: u16,
    configs: Vec<(String, String)>,
    validate_only: bool,
}

impl TopicSpec {
    /// With the broker's defaults for everything else.
    pub fn new(name: impl Into<String>) -> TopicSpec {
        TopicSpec {
            name: name.into(),
            partitions: 0,
            replication_factor: 0,
            configs: Vec::new(),
            validate_only: false,
        }
    }

    pub fn partitions(mut self, partitions: u32) -> TopicSpec {
        self.partitions = partitions;
        self
    }

    pub fn replication_factor(mut self, replicas: u16) -> TopicSpec {
        self.replication_factor = replicas;
        self
    }

    /// One of Kafka's topic configurations: `retention.ms`, `max.message.bytes`, …
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> TopicSpec {
        self.configs.push((key.into(), value.into()));
        self
    }

    /// Asks what would happen, and changes nothing.
    pub fn validate_only(mut self, validate_only: bool) -> TopicSpec {
        self.validate_only = validate_only;
        self
    }

    fn check(&self) -> Result<(), AdminError> {
        check_name(&self.name)?;
        check_configs(self.configs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// Changes of a topic's configuration, made all or none.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "changes change nothing by themselves"]
pub struct TopicChanges {
    name: String,
    changes: Vec<(String, ConfigChange)>,
    validate_only: bool,
}

impl TopicChanges {
    /// None yet.
    pub fn new(name: impl Into<String>) -> TopicChanges {
        TopicChanges { name: name.into(), changes: Vec::new(), validate_only: false }
    }

    /// One of Kafka's topic configurations: `retention.ms`, `max.message.bytes`, …
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> TopicChanges {
        self.changes.push((key.into(), ConfigChange::Set(value.into())));
        self
    }

    /// The broker's default again.
    pub fn reset(mut self, key: impl Into<String>) -> TopicChanges {
        self.changes.push((key.into(), ConfigChange::Reset));
        self
    }

    /// Asks what would happen, and changes nothing.
    pub fn validate_only(mut self, validate_only: bool) -> TopicChanges {
        self.validate_only = validate_only;
        self
    }

    fn check(&self) -> Result<(), AdminError> {
        check_name(&self.name)?;
        check_configs(self.changes.iter().map(|(key, change)| (key.as_str(), change.value().unwrap_or(""))))
    }
}

/// The broker refuses what it does not like, but a frame it cannot read costs the connection.
fn check_configs<'a>(configs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> Result<(), AdminError> {
    check_len("the list of configurations", configs.len(), CONFIGS_PER_TOPIC_MAX)?;
    for (key, value) in configs {
        check_len("a configuration key", key.len(), SHORT_STRING_BYTES_MAX)?;
        check_len("a configuration value", value.len(), LONG_STRING_BYTES_MAX)?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), AdminError> {
    let invalid = |why| AdminError::InvalidTopic { topic: name.into(), why };
    TopicName::new(name).map(|_| ()).map_err(invalid)
}

fn check_len(what: &'static str, bytes: usize, limit: usize) -> Result<(), AdminError> {
    if bytes <= limit { Ok(()) } else { Err(AdminError::TooLong { what, bytes, limit }) }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSummary {
    pub name: String,
    pub id: TopicId,
    pub partitions: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDescription {
    pub name: String,
    pub id: TopicId,
    /// In the order of their indexes; empty after `validate_only`.
    pub partitions: Vec<PartitionDescription>,
    /// Every configuration that is in force, defaults among them.
    pub configs: Vec<ConfigEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDescription {
    pub index: PartitionIndex,
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    /// The shard of the leader that owns the partition.
    pub shard: ShardId,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedOffset {
    /// `None` where no record is as late as the time asked for.
    pub offset: Option<Offset>,
    /// Timestamp of the record found; [`Timestamp::NONE`] for earliest and latest.
    pub timestamp: Timestamp,
}

#[derive(Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Admin {
        Admin { cluster }
    }

    /// Returns when every partition takes records.
    pub async fn create_topic(&self, spec: TopicSpec) -> Result<TopicDescription, AdminError> {
        spec.check()?;
        let request = CreateTopicRequest {
            name: spec.name.clone(),
            partitions: spec.partitions,
            replication_factor: spec.replication_factor,
            validate_only: spec.validate_only,
            timeout_ms: self.cluster.request_timeout_ms(),
            configs: spec.configs,
        };
        let reply: CreateTopicReply = self.cluster.call_control(&request).await?;
        refuse(reply.error, reply.message)?;
        if spec.validate_only {
            let (name, id) = (spec.name, reply.id);
            return Ok(TopicDescription { name, id, partitions: Vec::new(), configs: Vec::new() });
        }
        self.describe_topic(&spec.name).await
    }

    /// Gives a topic more partitions, `total` with those it has; returns when they take records. With
    /// `validate_only` nothing changes. This client knows them then, so that its producers use them; others
    /// do within five minutes. Readers go on with the partitions that there were when
    /// they were built.
    pub async fn create_partitions(
        &self,
        name: &str,
        total: u32,
        validate_only: bool,
    ) -> Result<(), AdminError> {
        check_name(name)?;
        let timeout_ms = self.cluster.request_timeout_ms();
        let request = CreatePartitionsRequest { name: name.to_owned(), total, validate_only, timeout_ms };
        let reply: CreatePartitionsReply = self.cluster.call_control(&request).await?;
        self.changed(name, reply.error, reply.message).await
    }

    /// Returns when every shard goes by the changes.
    pub async fn alter_topic(&self, changes: TopicChanges) -> Result<(), AdminError> {
        changes.check()?;
        let TopicChanges { name, changes, validate_only } = changes;
        let request = AlterTopicRequest { name, validate_only, changes };
        let reply: AlterTopicReply = self.cluster.call_control(&request).await?;
        self.changed(&request.name, reply.error, reply.message).await
    }

    async fn changed(&self, name: &str, error: ErrorCode, message: String) -> Result<(), AdminError> {
        if error == ErrorCode::UnknownTopicOrPartition {
            return Err(AdminError::UnknownTopic { topic: name.into() });
        }
        refuse(error, message)?;
        if let Some(topic) = self.cluster.topic(name) {
            let refreshed = self.cluster.refresh_topics(std::slice::from_ref(&topic.name)).await;
            // The change is made all the same, and known here five minutes later at the most.
            refreshed.unwrap_or_else(|error| tracing::warn!(%error, "metadata could not be refreshed"));
        }
        Ok(())
    }

    /// The topic is gone when this returns; its files follow.
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        check_name(name)?;
        let request =
            DeleteTopicRequest { name: name.to_owned(), timeout_ms: self.cluster.request_timeout_ms() };
        let reply: DeleteTopicReply = self.cluster.call_control(&request).await?;
        if reply.error == ErrorCode::UnknownTopicOrPartition {
            return Err(AdminError::UnknownTopic { topic: name.into() });
        }
        refuse(reply.error, reply.message)
    }

    /// In the order of their names.
    pub async fn list_topics(&self) -> Result<Vec<TopicSummary>, AdminError> {
        let request = MetadataRequest { topics: TopicSelection::All, with_configs: false };
        let reply: MetadataReply = self.cluster.call_control(&request).await?;
        let summary = |topic: TopicMetadata| TopicSummary {
            partitions: u32::try_from(topic.partitions.len()).expect("BUG: read() bounds the list"),
            name: topic.name,
            id: topic.id,
        };
        let mut topics: Vec<TopicSummary> =
            reply.topics.into_iter().filter(|topic| topic.error.is_ok()).map(summary).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription, AdminError> {
        check_name(name)?;
        let topics = TopicSelection::Named(vec![name.to_owned()]);
        let reply: MetadataReply =
            self.cluster.call_control(&MetadataRequest { topics, with_configs: true }).await?;
        let unknown = || AdminError::UnknownTopic { topic: name.into() };
        let topic = reply.topics.into_iter().find(|topic| topic.name == name).ok_or_else(unknown)?;
        match topic.error {
            ErrorCode::None => Ok(describe(topic)),
            ErrorCode::UnknownTopicOrPartition => Err(unknown()),
            code => Err(AdminError::Refused { code, message: String::new() }),
        }
    }

    pub async fn list_offsets(
        &self,
        topic: &str,
        partition: PartitionIndex,
        spec: OffsetSpec,
    ) -> Result<ListedOffset, AdminError> {
        check_name(topic)?;
        let topic = self.cluster.look_up_anew(&Arc::from(topic)).await?;
        let mut found = self.cluster.list_offsets(&topic, &[partition], spec).await?;
        Ok(found.pop().expect("BUG: one answer per partition asked for"))
    }

    /// The same for every partition of the topic, in their order, asked for at once.
    pub async fn list_topic_offsets(
        &self,
        topic: &str,
        spec: OffsetSpec,
    ) -> Result<Vec<ListedOffset>, AdminError> {
        check_name(topic)?;
        let topic = self.cluster.look_up_anew(&Arc::from(topic)).await?;
        let all: Vec<PartitionIndex> = (0..topic.partition_count()).map(PartitionIndex::new).collect();
        self.cluster.list_offsets(&topic, &all, spec).await
    }

    /// Deletes the records below `before`, or all that are committed if it is `None`, durably. Returns
    /// the first offset that the partition has now. Offsets are not used again.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: PartitionIndex,
        before: Option<Offset>,
    ) -> Result<Offset, AdminError> {
        check_name(topic)?;
        let topic = self.cluster.look_up_anew(&Arc::from(topic)).await?;
        self.cluster.delete_records(&topic, partition, before).await
    }

    /// Counters of the broker that the client's first connection leads to.
    pub async fn stats(&self) -> Result<StatsReply, AdminError> {
        self.cluster.call_control(&StatsRequest).await
    }
}

fn refuse(code: ErrorCode, message: String) -> Result<(), AdminError> {
    if code.is_ok() { Ok(()) } else { Err(AdminError::Refused { code, message }) }
}

fn describe(topic: TopicMetadata) -> TopicDescription {
    let mut partitions: Vec<PartitionDescription> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionDescription {
            index: partition.index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            shard: partition.shard,
            replicas: partition.replicas,
            in_sync: partition.in_sync,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicDescription { name: topic.name, id: topic.id, partitions, configs: topic.configs }
}
