//! Metadata records: what happened to the catalog, in the order it happened.
//!
//!     {"type":"topic_created","name":"orders","id":"3f…","number":0,"partitions":3,"configs":{…}}
//!     {"type":"partitions_created","id":"3f…","total":6}
//!     {"type":"topic_configured","id":"3f…","configs":{…}}      all that the topic has of its own
//!     {"type":"topic_deleted","id":"3f…"}        gone for clients
//!     {"type":"topic_removed","id":"3f…"}        its files are gone too
//!     {"type":"producer_ids_reserved","next":1000}
//!
//! JSON, because a person may have to read it when things went wrong, and there is one per topic, and
//! one per thousand producers.

use std::collections::BTreeMap;

use protocol::model::{ClusterId, ProducerId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataRecord {
    ClusterCreated {
        id: ClusterId,
    },
    TopicCreated(TopicRecord),
    /// The topic has `total` partitions.
    PartitionsCreated {
        id: TopicId,
        total: u32,
    },
    /// The topic was given these settings, and has no others.
    TopicConfigured {
        id: TopicId,
        configs: BTreeMap<String, String>,
    },
    /// The topic is gone for clients; its files are to be deleted.
    TopicDeleted {
        id: TopicId,
    },
    /// Its files are gone.
    TopicRemoved {
        id: TopicId,
    },
    /// Producer ids below `next` may have been given out.
    ProducerIdsReserved {
        next: ProducerId,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicRecord {
    pub name: TopicName,
    pub id: TopicId,
    /// Counts topics from 0; partitions are dealt to shards beginning at a shard chosen by it.
    pub number: u64,
    pub partitions: u32,
    /// What the topic was given; everything else comes from the broker's defaults.
    pub configs: BTreeMap<String, String>,
}

/// The form on disk: ids and names are text, checked when they are read.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Stored {
    ClusterCreated { id: String },
    TopicCreated { name: String, id: String, number: u64, partitions: u32, configs: BTreeMap<String, String> },
    PartitionsCreated { id: String, total: u32 },
    TopicConfigured { id: String, configs: BTreeMap<String, String> },
    TopicDeleted { id: String },
    TopicRemoved { id: String },
    ProducerIdsReserved { next: i64 },
}

impl MetadataRecord {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let stored = match self {
            MetadataRecord::ClusterCreated { id } => Stored::ClusterCreated { id: id.to_string() },
            MetadataRecord::TopicCreated(topic) => Stored::TopicCreated {
                name: topic.name.to_string(),
                id: topic.id.to_string(),
                number: topic.number,
                partitions: topic.partitions,
                configs: topic.configs.clone(),
            },
            MetadataRecord::PartitionsCreated { id, total } => {
                Stored::PartitionsCreated { id: id.to_string(), total: *total }
            }
            MetadataRecord::TopicConfigured { id, configs } => {
                Stored::TopicConfigured { id: id.to_string(), configs: configs.clone() }
            }
            MetadataRecord::TopicDeleted { id } => Stored::TopicDeleted { id: id.to_string() },
            MetadataRecord::TopicRemoved { id } => Stored::TopicRemoved { id: id.to_string() },
            MetadataRecord::ProducerIdsReserved { next } => Stored::ProducerIdsReserved { next: next.get() },
        };
        serde_json::to_vec(&stored).expect("BUG: strings and numbers are JSON")
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<MetadataRecord, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let topic_id = |id: String| id.parse::<TopicId>().map_err(|error| format!("{id:?}: {error}"));
        Ok(match stored {
            Stored::ClusterCreated { id } => {
                MetadataRecord::ClusterCreated { id: id.parse().map_err(|error| format!("{id:?}: {error}"))? }
            }
            Stored::TopicCreated { name, id, number, partitions, configs } => {
                let name = TopicName::new(&name).map_err(|error| format!("{name:?}: {error}"))?;
                MetadataRecord::TopicCreated(TopicRecord {
                    name,
                    id: topic_id(id)?,
                    number,
                    partitions,
                    configs,
                })
            }
            Stored::PartitionsCreated { id, total } => {
                MetadataRecord::PartitionsCreated { id: topic_id(id)?, total }
            }
            Stored::TopicConfigured { id, configs } => {
                MetadataRecord::TopicConfigured { id: topic_id(id)?, configs }
            }
            Stored::TopicDeleted { id } => MetadataRecord::TopicDeleted { id: topic_id(id)? },
            Stored::TopicRemoved { id } => MetadataRecord::TopicRemoved { id: topic_id(id)? },
            Stored::ProducerIdsReserved { next } if 0 <= next => {
                MetadataRecord::ProducerIdsReserved { next: ProducerId::new(next) }
            }
            Stored::ProducerIdsReserved { next } => return Err(format!("{next} is no producer id")),
        })
    }
}
