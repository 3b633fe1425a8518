//! The catalog: which topics there are, which producer ids were given out. Every change is a record, written first, then applied.
//!
//!     plan_create ─▶ MetadataRecord ─ MetadataLog::append (durable) ─▶ Catalog::apply ─▶ what shards see
//!
//! `apply` is deterministic and cannot fail, and a start is the replay of all records: the same shape
//! that a Raft log will have (design D13), which is why nothing writes to the catalog but through
//! [`MetadataLog`].

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::model::{ClusterId, ErrorCode, ProducerId, TopicId, TopicName};

mod record;
pub use record::{MetadataRecord, TopicRecord};

mod topics;
use topics::Topics;

mod redb_log;
pub use redb_log::{FILE, RedbLog, read_copy};

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalog cannot be opened: {0}")]
    Open(String),
    #[error("the catalog cannot be written: {0}")]
    Write(String),
    #[error("record {number} of the catalog cannot be read: {error}")]
    Record { number: u64, error: String },
}

/// Where metadata records are kept, in order.
pub trait MetadataLog: Send {
    /// Every record so far.
    fn replay(&self) -> Result<Vec<MetadataRecord>, CatalogError>;

    /// Adds records. All of them are durable when it returns, or none is.
    fn append(&mut self, records: &[MetadataRecord]) -> Result<(), CatalogError>;
}

/// What all records add up to. A clone costs little until one of the two is changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalog {
    cluster: Option<ClusterId>,
    topics: Arc<Topics>,
    next_number: u64,
    producer_ids_next: ProducerId,
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog {
            cluster: None,
            topics: Arc::default(),
            next_number: 0,
            producer_ids_next: ProducerId::new(0),
        }
    }
}

/// Producer ids that one record reserves.
const PRODUCER_IDS_PER_RECORD: i64 = 1000;

/// Why a topic is not made, changed or deleted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicRefusal {
    #[error("topic `{0}` exists already")]
    Exists(TopicName),
    #[error("there is no topic `{0}`")]
    Unknown(TopicName),
    #[error("a topic has 1 to {max} partitions, not {partitions}", max = protocol::model::limits::PARTITIONS_PER_TOPIC_MAX)]
    Partitions { partitions: u32 },
    #[error("topic `{name}` has {has} partitions, and {total} are no more: their number only grows")]
    Shrinks { name: TopicName, has: u32, total: u32 },
    #[error("the partitions of `{0}` are counted on by what is stored in it; their number stays")]
    Fixed(TopicName),
    #[error("the replication factor is {factor}, but there is 1 broker")]
    ReplicationFactor { factor: u16 },
}

/// Topics whose number of partitions says where a group or a transaction is kept.
const FIXED: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

impl TopicRefusal {
    pub fn code(&self) -> ErrorCode {
        match self {
            TopicRefusal::Exists(_) => ErrorCode::TopicAlreadyExists,
            TopicRefusal::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
            TopicRefusal::Partitions { .. } | TopicRefusal::Shrinks { .. } => ErrorCode::InvalidPartitions,
            TopicRefusal::Fixed(_) => ErrorCode::InvalidTopic,
            TopicRefusal::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        }
    }
}

/// A topic that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    pub name: TopicName,
    pub id: TopicId,
    pub partitions: u32,
    pub replication_factor: u16,
    pub configs: BTreeMap<String, String>,
}

impl Catalog {
    pub fn from_records(records: &[MetadataRecord]) -> Catalog {
        let mut catalog = Catalog::default();
        for record in records {
            catalog.apply(record);
        }
        catalog
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// A topic's record is the same one for as long as nothing about the topic changes.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicRecord>> {
        self.topics.all()
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<TopicRecord>> {
        self.topics.get(name)
    }

    pub fn name_of(&self, id: TopicId) -> Option<&TopicName> {
        self.topics.name_of(id)
    }

    /// A topic of another name that [collides](TopicName::collides_with) with this one.
    pub fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        self.topics.colliding(name)
    }

    pub fn deleting(&self) -> impl Iterator<Item = &Arc<TopicRecord>> {
        self.topics.deleting()
    }

    /// Ids from this one on have been given to nobody.
    pub fn producer_ids_next(&self) -> ProducerId {
        self.producer_ids_next
    }

    /// Reserves the next block of producer ids: once the record is applied, those below
    /// `producer_ids_next` may be given out.
    pub fn plan_producer_ids(&self) -> MetadataRecord {
        let next = self.producer_ids_next.get().checked_add(PRODUCER_IDS_PER_RECORD);
        let next = next.expect("BUG: at a million a second, 2^63 ids last for 292,000 years");
        MetadataRecord::ProducerIdsReserved { next: ProducerId::new(next) }
    }

    pub fn plan_create(&self, topic: NewTopic) -> Result<MetadataRecord, TopicRefusal> {
        let NewTopic { name, id, partitions, replication_factor, configs } = topic;
        if self.topic(name.as_str()).is_some() {
            return Err(TopicRefusal::Exists(name));
        }
        if partitions == 0 || protocol::model::limits::PARTITIONS_PER_TOPIC_MAX < partitions {
            return Err(TopicRefusal::Partitions { partitions });
        }
        if replication_factor != 1 {
            return Err(TopicRefusal::ReplicationFactor { factor: replication_factor });
        }
        Ok(MetadataRecord::TopicCreated(TopicRecord {
            name,
            id,
            number: self.next_number,
            partitions,
            configs,
        }))
    }

    /// `total` partitions for a topic, those it has included.
    pub fn plan_partitions(&self, name: &TopicName, total: u32) -> Result<MetadataRecord, TopicRefusal> {
        let topic = self.topic(name.as_str()).ok_or_else(|| TopicRefusal::Unknown(name.clone()))?;
        if FIXED.contains(&name.as_str()) {
            return Err(TopicRefusal::Fixed(name.clone()));
        }
        if total <= topic.partitions {
            return Err(TopicRefusal::Shrinks { name: name.clone(), has: topic.partitions, total });
        }
        if protocol::model::limits::PARTITIONS_PER_TOPIC_MAX < total {
            return Err(TopicRefusal::Partitions { partitions: total });
        }
        Ok(MetadataRecord::PartitionsCreated { id: topic.id, total })
    }

    /// A topic's own settings, all of them; the caller has checked that they are allowed.
    pub fn plan_configs(
        &self,
        name: &TopicName,
        configs: BTreeMap<String, String>,
    ) -> Result<MetadataRecord, TopicRefusal> {
        let topic = self.topic(name.as_str()).ok_or_else(|| TopicRefusal::Unknown(name.clone()))?;
        Ok(MetadataRecord::TopicConfigured { id: topic.id, configs })
    }

    pub fn plan_delete(&self, name: &TopicName) -> Result<MetadataRecord, TopicRefusal> {
        match self.topic(name.as_str()) {
            Some(topic) => Ok(MetadataRecord::TopicDeleted { id: topic.id }),
            None => Err(TopicRefusal::Unknown(name.clone())),
        }
    }

    pub fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::ClusterCreated { id } => self.cluster = Some(*id),
            MetadataRecord::TopicCreated(topic) => {
                self.next_number = self.next_number.max(topic.number + 1);
                self.topics_mut().insert(topic.clone());
            }
            MetadataRecord::PartitionsCreated { id, total } => {
                self.topics_mut().change(*id, |topic| topic.partitions = topic.partitions.max(*total));
            }
            MetadataRecord::TopicConfigured { id, configs } => {
                self.topics_mut().change(*id, |topic| topic.configs.clone_from(configs));
            }
            MetadataRecord::TopicDeleted { id } => self.topics_mut().delete(*id),
            MetadataRecord::TopicRemoved { id } => self.topics_mut().remove(*id),
            MetadataRecord::ProducerIdsReserved { next } => {
                self.producer_ids_next = self.producer_ids_next.max(*next);
            }
        }
    }

    fn topics_mut(&mut self) -> &mut Topics {
        Arc::make_mut(&mut self.topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_topic(name: &str, id: u8) -> NewTopic {
        NewTopic {
            name: TopicName::new(name).unwrap(),
            id: TopicId::from_bytes([id; 16]),
            partitions: 3,
            replication_factor: 1,
            configs: BTreeMap::from([("segment.bytes".to_owned(), "1048576".to_owned())]),
        }
    }

    #[test]
    fn a_topic_lives_dies_and_leaves_its_name_free() {
        let mut catalog = Catalog::default();
        let created = catalog.plan_create(new_topic("orders", 1)).unwrap();
        catalog.apply(&created);
        let again = catalog.plan_create(new_topic("orders", 2)).unwrap_err();
        assert_eq!(again.code(), ErrorCode::TopicAlreadyExists);
        let name = TopicName::new("orders").unwrap();
        let deleted = catalog.plan_delete(&name).unwrap();
        catalog.apply(&deleted);
        assert_eq!(
            catalog.deleting().map(|topic| topic.id).collect::<Vec<_>>(),
            [TopicId::from_bytes([1; 16])]
        );
        let second = catalog.plan_create(new_topic("orders", 2)).unwrap();
        assert!(matches!(&second, MetadataRecord::TopicCreated(topic) if topic.number == 1));
        catalog.apply(&MetadataRecord::TopicRemoved { id: TopicId::from_bytes([1; 16]) });
        assert_eq!((catalog.topics().count(), catalog.deleting().count()), (0, 0));
    }

    #[test]
    fn bad_wishes_are_refused_with_kafkas_codes() {
        let catalog = Catalog::default();
        let refused = |change: fn(&mut NewTopic)| {
            let mut topic = new_topic("orders", 1);
            change(&mut topic);
            catalog.plan_create(topic).unwrap_err().code()
        };
        assert_eq!(refused(|topic| topic.partitions = 0), ErrorCode::InvalidPartitions);
        assert_eq!(refused(|topic| topic.partitions = 100_001), ErrorCode::InvalidPartitions);
        assert_eq!(refused(|topic| topic.replication_factor = 3), ErrorCode::InvalidReplicationFactor);
        let unknown = catalog.plan_delete(&TopicName::new("none").unwrap()).unwrap_err();
        assert_eq!(unknown.code(), ErrorCode::UnknownTopicOrPartition);
    }

    #[test]
    fn partitions_grow_and_settings_are_replaced_until_the_topic_is_gone() {
        let mut catalog = Catalog::default();
        catalog.apply(&catalog.plan_create(new_topic("orders", 1)).unwrap());
        catalog.apply(&catalog.plan_create(new_topic("invoices", 2)).unwrap());
        let orders = TopicName::new("orders").unwrap();
        let grown = catalog.plan_partitions(&orders, 5).unwrap();
        let configs = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
        let configured = catalog.plan_configs(&orders, configs.clone()).unwrap();
        catalog.apply(&grown);
        catalog.apply(&configured);
        let topic = catalog.topic("orders").unwrap();
        assert_eq!((topic.partitions, &topic.configs, topic.number), (5, &configs, 0));
        assert_eq!(catalog.topic("invoices").unwrap().partitions, 3, "another topic is as it was");
        for total in [0, 3, 5, 100_001] {
            let refused = catalog.plan_partitions(&orders, total).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidPartitions, "{total}");
        }
        catalog.apply(&catalog.plan_delete(&orders).unwrap());
        let gone = catalog.plan_partitions(&orders, 9).unwrap_err();
        assert_eq!(gone.code(), ErrorCode::UnknownTopicOrPartition);
        let before = catalog.clone();
        catalog.apply(&grown); // a record about a topic that is gone changes nothing
        catalog.apply(&configured);
        assert_eq!(catalog, before);
    }

    #[test]
    fn the_partitions_that_groups_are_hashed_to_are_fixed() {
        let mut catalog = Catalog::default();
        catalog.apply(&catalog.plan_create(new_topic("__consumer_offsets", 1)).unwrap());
        let name = TopicName::new("__consumer_offsets").unwrap();
        assert_eq!(catalog.plan_partitions(&name, 60).unwrap_err(), TopicRefusal::Fixed(name));
    }

    #[test]
    fn a_reopened_log_adds_up_to_the_same_catalog() {
        let temp = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::default();
        {
            let mut log = RedbLog::open(temp.path()).unwrap();
            for n in 0..20 {
                let record = catalog.plan_create(new_topic(&format!("topic-{n}"), n)).unwrap();
                log.append(std::slice::from_ref(&record)).unwrap();
                catalog.apply(&record);
            }
            let name = |name: &str| TopicName::new(name).unwrap();
            let configs = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
            let records = [
                catalog.plan_delete(&name("topic-7")).unwrap(),
                catalog.plan_producer_ids(),
                catalog.plan_partitions(&name("topic-8"), 5).unwrap(),
                catalog.plan_configs(&name("topic-9"), configs).unwrap(),
            ];
            log.append(&records).unwrap();
            records.iter().for_each(|record| catalog.apply(record));
        }
        let log = RedbLog::open(temp.path()).unwrap();
        assert_eq!(catalog.producer_ids_next(), ProducerId::new(1000));
        assert_eq!(Catalog::from_records(&log.replay().unwrap()), catalog);
    }
}
