//! How a topic comes to be and ends.
//!
//!     name ─ allowed? free? like none that is there? ─▶ settings, with the defaults ─▶ TopicCreated
//!     name or id ─ there? not the broker's own? ──────────────────────────────────▶ TopicDeleted

use std::collections::BTreeMap;

use protocol::api::{CreateTopicReply, CreateTopicRequest};
use protocol::model::{ErrorCode, TopicId, TopicName};
use storage::catalog::{MetadataRecord, NewTopic, TopicRecord, TopicRefusal};

use super::TopicKey;
use super::change::check_own;
use super::round::{Planned, Refused, Round, invalid_config, refused, topic_name};
use crate::config::TopicConfig;
use crate::shard::OFFSETS_TOPIC;

/// Kafka's, but for the largest batch: a generation's record holds what all members sent.
const OFFSETS_TOPIC_CONFIG: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "104857600"), ("max.message.bytes", "8388608")];

impl Round<'_> {
    /// The reply if the topic is made, and its record unless it is only to be checked.
    pub(super) fn plan_creation(
        &self,
        request: CreateTopicRequest,
    ) -> Result<(CreateTopicReply, Option<MetadataRecord>), Refused> {
        let name = topic_name(&request.name)?;
        let configs: BTreeMap<String, String> = request.configs.into_iter().collect();
        let given = configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = TopicConfig::resolve(self.defaults(), given).map_err(invalid_config)?;
        check_own(&name, &config)?;
        let id = new_id();
        let or_default = |value: u32, default: u32| if value == 0 { default } else { value };
        let partitions = or_default(request.partitions, self.defaults().partitions);
        let replication_factor = request.replication_factor.max(1);
        let topic = NewTopic { name: name.clone(), id, partitions, replication_factor, configs };
        let record = self.catalog().plan_create(topic).map_err(refused)?;
        self.check_collision(&name)?;
        let reply = CreateTopicReply { error: ErrorCode::None, message: String::new(), id, partitions };
        Ok((reply, (!request.validate_only).then_some(record)))
    }

    /// Kafka's rule and words: names are told apart even where `.` is written as `_`. The broker's own
    /// topic has its name before it is there.
    fn check_collision(&self, name: &TopicName) -> Result<(), Refused> {
        let own = name.collides_with(OFFSETS_TOPIC).then_some(OFFSETS_TOPIC);
        match self.catalog().colliding(name).map(TopicName::as_str).or(own) {
            Some(other) => {
                let message = format!("Topic '{name}' collides with existing topic: {other}");
                Err((ErrorCode::InvalidTopic, message))
            }
            None => Ok(()),
        }
    }

    /// Nothing if the topic is there.
    pub(super) fn plan_offsets_topic(&self, partitions: u32) -> Planned {
        if self.catalog().topic(OFFSETS_TOPIC).is_some() {
            return Ok(None);
        }
        let configs = OFFSETS_TOPIC_CONFIG.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let topic = NewTopic {
            name: topic_name(OFFSETS_TOPIC)?,
            id: new_id(),
            partitions,
            replication_factor: 1,
            configs: configs.into(),
        };
        self.catalog().plan_create(topic).map(Some).map_err(refused)
    }

    /// The topic that is meant.
    pub(super) fn find(&self, topic: &TopicKey) -> Result<&TopicRecord, Refused> {
        let name = match topic {
            TopicKey::Name(name) => topic_name(name)?,
            TopicKey::Id(id) => {
                let unknown = ErrorCode::UnknownTopicId;
                self.catalog().name_of(*id).cloned().ok_or_else(|| (unknown, unknown.text().to_owned()))?
            }
        };
        let unknown = || refused(TopicRefusal::Unknown(name.clone()));
        self.catalog().topic(name.as_str()).map(|topic| &**topic).ok_or_else(unknown)
    }

    pub(super) fn plan_deletion(&self, name: &TopicName) -> Planned {
        if name.as_str() == OFFSETS_TOPIC {
            return Err((ErrorCode::InvalidTopic, "the broker keeps its groups there".to_owned()));
        }
        self.catalog().plan_delete(name).map(Some).map_err(refused)
    }
}

fn new_id() -> TopicId {
    TopicId::from_bytes(uuid::Uuid::new_v4().into_bytes())
}
