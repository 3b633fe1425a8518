//! The control thread: the only writer of the catalog, and what it tells the shards.
//!
//!     shard ─ CreateTopic ─▶ check ─▶ catalog (durable) ─▶ new view to every shard
//!     shard ◀─ TopicCreated ──────── every shard has opened its partitions ◀─┘
//!     shard ─ CreatePartitions, AlterTopic ─▶ the same way (change.rs)
//!     shard ─ InitProducerId ─▶ block of ids (durable) ─▶ one of them
//!
//! One message after another, no clock, no socket. A topic is there for clients when every shard has
//! it, and gone for them when every shard has let go of it. Its files are deleted afterwards, in the
//! background; a broker that dies in between finishes at its next start, because the catalog remembers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};
use protocol::api::{
    AlterTopicReply, AlterTopicRequest, CreatePartitionsReply, CreatePartitionsRequest, CreateTopicReply,
    CreateTopicRequest, DeleteTopicReply, InitProducerIdReply, InitProducerIdRequest,
};
use protocol::model::{ErrorCode, ShardId, TopicId, TopicName};
use storage::catalog::{Catalog, CatalogError, MetadataLog, MetadataRecord, NewTopic, TopicRefusal};
use storage::directory::DataDirectory;
use storage::mutants::Mutation;

mod change;

mod producer_ids;
use producer_ids::ProducerIds;

mod view;
pub use view::{ClusterView, Identity, TopicView};

use crate::config::{TopicConfig, TopicDefaults};
use crate::shard::{OFFSETS_TOPIC, Origin, ShardMessage};

/// Kafka's, but for the largest batch: a generation's record holds what all members sent.
const OFFSETS_TOPIC_CONFIG: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "104857600"), ("max.message.bytes", "8388608")];

/// What the control thread answers, in the words of the native protocol.
#[derive(Clone, Debug)]
pub enum ControlReply {
    Created(CreateTopicReply),
    Grown(CreatePartitionsReply),
    Altered(AlterTopicReply),
    Deleted(DeleteTopicReply),
    ProducerId(InitProducerIdReply),
}

pub enum ControlMessage {
    CreateTopic {
        asker: Origin,
        request: CreateTopicRequest,
    },
    CreatePartitions {
        asker: Origin,
        request: CreatePartitionsRequest,
    },
    AlterTopic {
        asker: Origin,
        request: AlterTopicRequest,
    },
    /// The topic that holds groups, unless it is there; nobody waits for an answer.
    CreateOffsetsTopic {
        partitions: u32,
    },
    DeleteTopic {
        asker: Origin,
        topic: TopicKey,
    },
    InitProducerId {
        asker: Origin,
        request: InitProducerIdRequest,
    },
    /// A shard has done what a view asked of it, but for files that nobody can see any more.
    Applied {
        version: u64,
    },
    /// A shard has deleted the files of what a view took away.
    Freed {
        version: u64,
    },
    Stop,
}

/// Which topic is meant.
pub enum TopicKey {
    /// The one that has the name when its turn comes.
    Name(String),
    /// This one, and none that has got its name meanwhile.
    Id(TopicId),
}

/// An answer that waits until every shard has applied a view; `None` if nobody asked.
type Outcome = Option<(Origin, ControlReply)>;

pub struct Control {
    log: Box<dyn MetadataLog>,
    catalog: Catalog,
    directory: DataDirectory,
    defaults: TopicDefaults,
    identity: Identity,
    producer_ids: ProducerIds,
    version: u64,
    shards: Vec<Sender<ShardMessage>>,
    /// By version: how many shards have yet to apply it.
    waiting: BTreeMap<u64, (usize, Outcome)>,
    /// Deleted topics whose files are going, by the view that took them away, and how many shards are at it.
    freeing: BTreeMap<u64, (usize, TopicId)>,
}

/// Opens the catalog, gives the cluster its name at the first start, and finishes deletions that a
/// crash had interrupted.
pub fn open_catalog(directory: &DataDirectory, log: &mut dyn MetadataLog) -> Result<Catalog, CatalogError> {
    let mut catalog = Catalog::from_records(&log.replay()?);
    if catalog.cluster().is_none() {
        let id = protocol::model::ClusterId::from_bytes(uuid::Uuid::new_v4().into_bytes());
        let record = MetadataRecord::ClusterCreated { id };
        log.append(std::slice::from_ref(&record))?;
        catalog.apply(&record);
    }
    let deleting: Vec<TopicId> = catalog.deleting().map(|topic| topic.id).collect();
    for id in deleting {
        finish_deletion(directory, log, &mut catalog, id)?;
    }
    report_strays(directory, &catalog);
    Ok(catalog)
}

fn finish_deletion(
    directory: &DataDirectory,
    log: &mut dyn MetadataLog,
    catalog: &mut Catalog,
    id: TopicId,
) -> Result<(), CatalogError> {
    if let Err(error) = directory.remove_topic(&storage::id::topic_dir(id)) {
        tracing::warn!(topic = %id, %error, "files of a deleted topic are still there; the next start tries again");
        return Ok(());
    }
    let record = MetadataRecord::TopicRemoved { id };
    log.append(std::slice::from_ref(&record))?;
    catalog.apply(&record);
    Ok(())
}

/// Files that no topic owns are reported and left alone: missing metadata is no permission to delete.
fn report_strays(directory: &DataDirectory, catalog: &Catalog) {
    let known: Vec<String> =
        catalog.topics().chain(catalog.deleting()).map(|topic| topic.id.to_string()).collect();
    if let Err(error) = directory.report_strays(&known, Mutation::default()) {
        tracing::warn!(%error, "cannot list topics/");
    }
}

impl Control {
    pub fn new(
        log: Box<dyn MetadataLog>,
        catalog: Catalog,
        directory: DataDirectory,
        defaults: TopicDefaults,
        identity: Identity,
        shards: Vec<Sender<ShardMessage>>,
    ) -> Control {
        Control {
            log,
            catalog,
            directory,
            defaults,
            identity,
            producer_ids: ProducerIds::default(),
            version: 0,
            shards,
            waiting: BTreeMap::new(),
            freeing: BTreeMap::new(),
        }
    }

    pub fn view(&self) -> Arc<ClusterView> {
        let identity = self.identity.clone();
        Arc::new(ClusterView::new(self.version, identity, &self.catalog, &self.defaults))
    }

    /// Starts the thread; it ends with [`ControlMessage::Stop`].
    pub fn start(mut self, inbox: Receiver<ControlMessage>) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("ringlog-control".to_owned()).spawn(move || {
            while let Ok(message) = inbox.recv_blocking() {
                match message {
                    ControlMessage::CreateTopic { asker, request } => self.create_topic(asker, request),
                    ControlMessage::CreatePartitions { asker, request } => {
                        self.create_partitions(asker, &request)
                    }
                    ControlMessage::AlterTopic { asker, request } => self.alter_topic(asker, request),
                    ControlMessage::CreateOffsetsTopic { partitions } => {
                        self.create_offsets_topic(partitions)
                    }
                    ControlMessage::DeleteTopic { asker, topic } => self.delete_topic(asker, &topic),
                    ControlMessage::InitProducerId { asker, request } => {
                        self.init_producer_id(asker, request)
                    }
                    ControlMessage::Applied { version } => self.handle_applied(version),
                    ControlMessage::Freed { version } => self.handle_freed(version),
                    ControlMessage::Stop => return,
                }
            }
        })
    }

    fn send(&self, to: ShardId, message: ShardMessage) {
        let sender = self.shards.get(usize::from(to.get())).expect("BUG: a shard that does not exist");
        // A shard that has stopped needs no answer.
        let _ = sender.try_send(message);
    }

    fn answer(&self, origin: Origin, reply: ControlReply) {
        self.send(origin.shard, ShardMessage::ControlDone { origin, reply });
    }

    fn create_topic(&mut self, asker: Origin, request: CreateTopicRequest) {
        let reply = match self.try_create(asker, request) {
            Ok(None) => return,
            Ok(Some(reply)) => reply,
            Err((error, message)) => {
                CreateTopicReply { error, message, id: TopicId::from_bytes([0; 16]), partitions: 0 }
            }
        };
        self.answer(asker, ControlReply::Created(reply));
    }

    /// `Ok(None)` if the answer waits for the shards.
    fn try_create(
        &mut self,
        asker: Origin,
        request: CreateTopicRequest,
    ) -> Result<Option<CreateTopicReply>, (ErrorCode, String)> {
        let name = TopicName::new(&request.name).map_err(|why| (ErrorCode::InvalidTopic, why.to_string()))?;
        let configs: BTreeMap<String, String> = request.configs.into_iter().collect();
        let given = configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = TopicConfig::resolve(&self.defaults, given)
            .map_err(|why| (ErrorCode::InvalidConfig, why.to_string()))?;
        change::check_own(&name, &config)?;
        let id = TopicId::from_bytes(uuid::Uuid::new_v4().into_bytes());
        let or_default = |value: u32, default: u32| if value == 0 { default } else { value };
        let partitions = or_default(request.partitions, self.defaults.partitions);
        let replication_factor = request.replication_factor.max(1);
        let topic = NewTopic { name: name.clone(), id, partitions, replication_factor, configs };
        let refused = |why: TopicRefusal| (why.code(), why.to_string());
        let record = self.catalog.plan_create(topic).map_err(refused)?;
        self.check_collision(&name)?;
        let reply = CreateTopicReply { error: ErrorCode::None, message: String::new(), id, partitions };
        if request.validate_only {
            return Ok(Some(reply));
        }
        self.write(record)?;
        self.publish(Some((asker, ControlReply::Created(reply))));
        Ok(None)
    }

    /// Kafka's rule and words: names are told apart even where `.` is written as `_`. The broker's own
    /// topic has its name before it is there.
    fn check_collision(&self, name: &TopicName) -> Result<(), (ErrorCode, String)> {
        let mut others = self.catalog.topics().map(|topic| topic.name.as_str()).chain([OFFSETS_TOPIC]);
        match others.find(|other| name.collides_with(other)) {
            Some(other) => {
                let message = format!("Topic '{name}' collides with existing topic: {other}");
                Err((ErrorCode::InvalidTopic, message))
            }
            None => Ok(()),
        }
    }

    fn create_offsets_topic(&mut self, partitions: u32) {
        if self.catalog.topic(OFFSETS_TOPIC).is_some() {
            return;
        }
        let configs = OFFSETS_TOPIC_CONFIG.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let topic = NewTopic {
            name: TopicName::new(OFFSETS_TOPIC).expect("BUG: a name that is allowed"),
            id: TopicId::from_bytes(uuid::Uuid::new_v4().into_bytes()),
            partitions,
            replication_factor: 1,
            configs: configs.into(),
        };
        let record = self.catalog.plan_create(topic).map_err(|why| (why.code(), why.to_string()));
        match record.and_then(|record| self.write(record)) {
            Ok(()) => self.publish(None),
            Err((_, why)) => {
                tracing::error!(why, "the topic of groups cannot be made; they are not available")
            }
        }
    }

    fn delete_topic(&mut self, asker: Origin, topic: &TopicKey) {
        if let Err((error, message)) = self.try_delete(asker, topic) {
            self.answer(asker, ControlReply::Deleted(DeleteTopicReply { error, message }));
        }
    }

    fn try_delete(&mut self, asker: Origin, topic: &TopicKey) -> Result<(), (ErrorCode, String)> {
        let name = self.name_of(topic)?;
        if name.as_str() == OFFSETS_TOPIC {
            return Err((ErrorCode::InvalidTopic, "the broker keeps its groups there".to_owned()));
        }
        let record = self.catalog.plan_delete(&name).map_err(|why| (why.code(), why.to_string()))?;
        let topic = self.catalog.topic(name.as_str()).expect("BUG: plan_delete has seen it").id;
        self.write(record)?;
        let reply = DeleteTopicReply { error: ErrorCode::None, message: String::new() };
        self.publish(Some((asker, ControlReply::Deleted(reply))));
        self.freeing.insert(self.version, (self.shards.len(), topic));
        Ok(())
    }

    fn name_of(&self, topic: &TopicKey) -> Result<TopicName, (ErrorCode, String)> {
        match topic {
            TopicKey::Name(name) => {
                TopicName::new(name).map_err(|why| (ErrorCode::InvalidTopic, why.to_string()))
            }
            TopicKey::Id(id) => {
                let found = self.catalog.topics().find(|topic| topic.id == *id);
                let unknown = ErrorCode::UnknownTopicId;
                found.map(|topic| topic.name.clone()).ok_or_else(|| (unknown, unknown.text().to_owned()))
            }
        }
    }

    fn init_producer_id(&mut self, asker: Origin, request: InitProducerIdRequest) {
        let log = &mut self.log;
        let reply = self.producer_ids.answer(request, &mut self.catalog, |catalog, record| {
            log.append(std::slice::from_ref(&record))?;
            catalog.apply(&record);
            Ok(())
        });
        self.answer(asker, ControlReply::ProducerId(reply));
    }

    fn write(&mut self, record: MetadataRecord) -> Result<(), (ErrorCode, String)> {
        self.log.append(std::slice::from_ref(&record)).map_err(|error| {
            tracing::error!(%error, "a change of the catalog failed");
            (ErrorCode::StorageError, error.to_string())
        })?;
        self.catalog.apply(&record);
        Ok(())
    }

    fn publish(&mut self, outcome: Outcome) {
        self.version += 1;
        self.waiting.insert(self.version, (self.shards.len(), outcome));
        let view = self.view();
        for shard in &self.shards {
            let _ = shard.try_send(ShardMessage::View(view.clone())); // a stopped shard needs no view
        }
    }

    fn handle_applied(&mut self, version: u64) {
        let Some((remaining, _)) = self.waiting.get_mut(&version) else { return };
        *remaining -= 1;
        if 0 < *remaining {
            return;
        }
        let Some((_, outcome)) = self.waiting.remove(&version) else { return };
        if let Some((asker, reply)) = outcome {
            self.answer(asker, reply);
        }
    }

    /// Once every shard has deleted its files, the topic's directory goes, and the catalog forgets it.
    fn handle_freed(&mut self, version: u64) {
        let Some((remaining, topic)) = self.freeing.get_mut(&version) else { return };
        let topic = *topic;
        *remaining -= 1;
        if 0 < *remaining {
            return;
        }
        self.freeing.remove(&version);
        if let Err(error) = finish_deletion(&self.directory, &mut *self.log, &mut self.catalog, topic) {
            tracing::warn!(%topic, %error, "a deleted topic is not forgotten yet; the next start tries again");
        }
    }
}
