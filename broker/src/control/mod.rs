//! The control thread: the only writer of the catalog, and what it tells the shards.
//!
//!     shards ─ CreateTopic, AlterTopic, … ─▶ a round: decided one by one, catalog (durable) by one append
//!     shards ◀── one view of all of it ─────┘
//!     shards ─ Applied: partitions are open ─▶ those who asked are answered
//!     shards ─ Freed: files are deleted ─▶ directories go ─▶ catalog forgets the topics, by one append
//!
//! A round takes what has come meanwhile, as a commit round does: thousands of topics cost as many syncs
//! as one. No clock, no socket. A topic is there for clients when every shard has it, and gone for them
//! when every shard has let go of it. Its files are deleted afterwards, in the background; a broker that
//! dies in between finishes at its next start, because the catalog remembers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};
use protocol::api::{
    AlterTopicReply, AlterTopicRequest, CreatePartitionsReply, CreatePartitionsRequest, CreateTopicReply,
    CreateTopicRequest, DeleteTopicReply, InitProducerIdReply, InitProducerIdRequest,
};
use protocol::model::{ShardId, TopicId, TopicName};
use storage::catalog::{Catalog, CatalogError, MetadataLog, MetadataRecord};
use storage::directory::DataDirectory;
use storage::mutants::Mutation;

mod round;
use round::{Answer, Decided, Round};

mod lifetime;

mod change;

mod producer_ids;
use producer_ids::ProducerIds;

mod view;
pub use view::{ClusterView, Identity, TopicView};

use crate::config::TopicDefaults;
use crate::shard::{Origin, ShardMessage};

/// Messages that are decided together, at most. Those that are left wait for two syncs and no more.
const ROUND_MESSAGES_MAX: usize = 4096;

/// What the control thread answers, in the words of the native protocol.
#[derive(Clone, Debug)]
pub enum ControlReply {
    Created(CreateTopicReply),
    Grown(CreatePartitionsReply),
    Altered(AlterTopicReply),
    /// And the topic that was meant, if there was one.
    Deleted(DeleteTopicReply, Option<(TopicName, TopicId)>),
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

pub struct Control {
    log: Box<dyn MetadataLog>,
    catalog: Catalog,
    directory: DataDirectory,
    defaults: TopicDefaults,
    producer_ids: ProducerIds,
    /// What the shards were told last.
    view: Arc<ClusterView>,
    shards: Vec<Sender<ShardMessage>>,
    /// By version: how many shards have yet to apply it, and who waits for that.
    waiting: BTreeMap<u64, (usize, Vec<Answer>)>,
    /// By the view that took them away: how many shards are deleting files, and whose files.
    freeing: BTreeMap<u64, (usize, Vec<TopicId>)>,
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
    finish_deletions(directory, log, &mut catalog, &deleting)?;
    report_strays(directory, &catalog);
    Ok(catalog)
}

/// Takes away what is left of deleted topics, and has the catalog forget them. What cannot be taken away
/// stays for the next start.
fn finish_deletions(
    directory: &DataDirectory,
    log: &mut dyn MetadataLog,
    catalog: &mut Catalog,
    topics: &[TopicId],
) -> Result<(), CatalogError> {
    let mut records = Vec::new();
    for &id in topics {
        match directory.remove_topic(&storage::id::topic_dir(id)) {
            Ok(()) => records.push(MetadataRecord::TopicRemoved { id }),
            Err(error) => tracing::warn!(topic = %id, %error, "{LEFT}"),
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    if let Err(error) = directory.sync_topics() {
        tracing::warn!(%error, "{LEFT}");
        return Ok(());
    }
    log.append(&records)?;
    records.iter().for_each(|record| catalog.apply(record));
    Ok(())
}

const LEFT: &str = "files of a deleted topic are still there; the next start tries again";

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
        let view = Arc::new(ClusterView::new(0, identity, &catalog, &defaults, None));
        Control {
            log,
            catalog,
            directory,
            defaults,
            producer_ids: ProducerIds::default(),
            view,
            shards,
            waiting: BTreeMap::new(),
            freeing: BTreeMap::new(),
        }
    }

    pub fn view(&self) -> Arc<ClusterView> {
        self.view.clone()
    }

    /// Starts the thread; it ends with [`ControlMessage::Stop`].
    pub fn start(mut self, inbox: Receiver<ControlMessage>) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("ringlog-control".to_owned()).spawn(move || {
            while let Some(messages) = next_messages(&inbox) {
                if self.run_round(messages).is_break() {
                    return;
                }
            }
        })
    }

    /// Does what the messages ask for, in their order; breaks if the thread is to end.
    fn run_round(&mut self, messages: Vec<ControlMessage>) -> ControlFlow<()> {
        let mut round = Round::new(&self.catalog, &self.defaults, &mut self.producer_ids);
        let (mut applied, mut freed, mut flow) = (Vec::new(), Vec::new(), ControlFlow::Continue(()));
        for message in messages {
            match message {
                ControlMessage::Applied { version } => applied.push(version),
                ControlMessage::Freed { version } => freed.push(version),
                ControlMessage::Stop => {
                    flow = ControlFlow::Break(());
                    break;
                }
                message => round.decide(message),
            }
        }
        let decided = round.finish();
        applied.into_iter().for_each(|version| self.handle_applied(version));
        self.carry_out(decided);
        self.handle_freed(&freed);
        flow
    }

    /// Makes the records of a round durable and tells everybody.
    fn carry_out(&mut self, decided: Decided) {
        self.answer(decided.at_once);
        if !decided.records.is_empty()
            && let Err(error) = self.log.append(&decided.records)
        {
            tracing::error!(%error, "a change of the catalog failed");
            self.producer_ids.forget();
            let (why, waited) =
                (error.to_string(), decided.when_durable.into_iter().chain(decided.when_applied));
            return self.answer(waited.map(|answer| answer.unstored(&why)));
        }
        self.catalog = decided.catalog;
        self.answer(decided.when_durable);
        if decided.is_seen {
            self.publish(decided.when_applied, decided.deleted);
        }
    }

    fn send(&self, to: ShardId, message: ShardMessage) {
        let sender = self.shards.get(usize::from(to.get())).expect("BUG: a shard that does not exist");
        // A shard that has stopped needs no answer.
        let _ = sender.try_send(message);
    }

    fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        for Answer { to, reply } in answers {
            self.send(to.shard, ShardMessage::ControlDone { origin: to, reply });
        }
    }

    fn publish(&mut self, answers: Vec<Answer>, deleted: Vec<TopicId>) {
        let (version, identity) = (self.view.version + 1, self.view.identity.clone());
        self.view =
            Arc::new(ClusterView::new(version, identity, &self.catalog, &self.defaults, Some(&self.view)));
        self.waiting.insert(version, (self.shards.len(), answers));
        if !deleted.is_empty() {
            self.freeing.insert(version, (self.shards.len(), deleted));
        }
        for shard in &self.shards {
            let _ = shard.try_send(ShardMessage::View(self.view.clone())); // a stopped shard needs no view
        }
    }

    fn handle_applied(&mut self, version: u64) {
        if let Some(answers) = last_of(&mut self.waiting, version) {
            self.answer(answers);
        }
    }

    /// Once every shard has deleted its files, the topics' directories go, and the catalog forgets them.
    fn handle_freed(&mut self, versions: &[u64]) {
        let freed = versions.iter().filter_map(|version| last_of(&mut self.freeing, *version));
        let topics: Vec<TopicId> = freed.flatten().collect();
        if let Err(error) = finish_deletions(&self.directory, &mut *self.log, &mut self.catalog, &topics) {
            tracing::warn!(%error, "deleted topics are not forgotten yet; the next start tries again");
        }
    }
}

/// The next message and those behind it, or nothing if nobody is left to send any.
fn next_messages(inbox: &Receiver<ControlMessage>) -> Option<Vec<ControlMessage>> {
    let mut messages = vec![inbox.recv_blocking().ok()?];
    while messages.len() < ROUND_MESSAGES_MAX
        && let Ok(message) = inbox.try_recv()
    {
        messages.push(message);
    }
    Some(messages)
}

/// A shard has done its part of a version; the last one to do so ends the wait of what is given.
fn last_of<T>(waiting: &mut BTreeMap<u64, (usize, T)>, version: u64) -> Option<T> {
    let (shards, _) = waiting.get_mut(&version)?;
    *shards -= 1;
    if 0 < *shards {
        return None;
    }
    waiting.remove(&version).map(|(_, waited)| waited)
}

#[cfg(test)]
mod tests;
