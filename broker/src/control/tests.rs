//! The control thread without a thread: what a round writes, and who is told what, when.
//!
//!     messages ─▶ run_round ─▶ log that counts and can fail
//!                     └▶ inboxes of two shards: views, replies

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_channel::Receiver;
use protocol::api::{
    AlterTopicRequest, ConfigChange, CreatePartitionsRequest, CreateTopicRequest, InitProducerIdRequest,
};
use protocol::model::{ErrorCode, NodeId, ShardId, TopicId};
use storage::catalog::{Catalog, CatalogError, MetadataLog, MetadataRecord};
use storage::directory::DataDirectory;

use super::{Control, ControlMessage, ControlReply, Identity, TopicKey, open_catalog};
use crate::config::Config;
use crate::shard::{Origin, RequestKey, ShardMessage};

/// What was appended, one list for each append, and whether the next one fails.
#[derive(Default)]
struct Written {
    appends: Vec<Vec<MetadataRecord>>,
    is_full: bool,
}

struct Log(Arc<Mutex<Written>>);

impl MetadataLog for Log {
    fn replay(&self) -> Result<Vec<MetadataRecord>, CatalogError> {
        Ok(self.0.lock().unwrap().appends.concat())
    }

    fn append(&mut self, records: &[MetadataRecord]) -> Result<(), CatalogError> {
        let mut written = self.0.lock().unwrap();
        if written.is_full {
            return Err(CatalogError::Write("full".to_owned()));
        }
        written.appends.push(records.to_vec());
        Ok(())
    }
}

struct Bench {
    control: Control,
    written: Arc<Mutex<Written>>,
    inboxes: Vec<Receiver<ShardMessage>>,
    asked: usize,
    temp: tempfile::TempDir,
}

/// A reply by the number of its question: the error, and what else it tells.
type Told = (usize, ErrorCode, String);

impl Bench {
    fn new() -> Bench {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(&temp.path().join("data")).unwrap();
        let written = Arc::new(Mutex::new(Written::default()));
        let mut log = Log(written.clone());
        let catalog = open_catalog(&directory, &mut log).unwrap();
        written.lock().unwrap().appends.clear();
        let (shards, inboxes) = (0..2).map(|_| async_channel::unbounded()).unzip();
        let identity = Identity {
            cluster: catalog.cluster().unwrap(),
            node: NodeId::new(1),
            host: String::new(),
            port: 0,
            kafka: (String::new(), 0),
            shards: 2,
        };
        let defaults = Config::ephemeral(Path::new("/tmp").to_owned()).topic_defaults;
        let control = Control::new(Box::new(log), catalog, directory, defaults, identity, shards);
        Bench { control, written, inboxes, asked: 0, temp }
    }

    /// Has the messages decided in one round; each asker is numbered from 0 on, over all rounds.
    fn round(&mut self, messages: Vec<fn(Origin) -> ControlMessage>) -> Vec<Told> {
        let first = self.asked;
        self.asked += messages.len();
        let origin = |number| Origin { shard: ShardId::new(0), request: RequestKey(number), part: 0 };
        let messages = messages.into_iter().enumerate().map(|(n, message)| message(origin(first + n)));
        let flow = self.control.run_round(messages.collect());
        assert_eq!(flow, ControlFlow::Continue(()));
        self.told()
    }

    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Ok(message) = self.inboxes[0].try_recv() {
            match message {
                ShardMessage::ControlDone { origin, reply } => told.push(in_words(origin, reply)),
                ShardMessage::View(_) => told.push((usize::MAX, ErrorCode::None, "view".to_owned())),
                _ => panic!("nobody else is told anything"),
            }
        }
        told
    }

    /// Both shards have applied the last view.
    fn applied(&mut self) -> Vec<Told> {
        let version = self.control.view().version;
        for _ in 0..2 {
            assert_eq!(self.told(), [], "not before every shard has it");
            let _ = self.control.run_round(vec![ControlMessage::Applied { version }]);
        }
        self.told()
    }

    fn appends(&self) -> Vec<usize> {
        self.written.lock().unwrap().appends.iter().map(Vec::len).collect()
    }

    fn fill(&self, is_full: bool) {
        self.written.lock().unwrap().is_full = is_full;
    }

    fn names(&self) -> Vec<String> {
        let names = |catalog: &Catalog| catalog.topics().map(|topic| topic.name.to_string()).collect();
        let names: Vec<String> = names(&self.control.catalog);
        let shown: Vec<String> = self.control.view().topics().map(|topic| topic.name().to_string()).collect();
        assert_eq!(names, shown, "the view is that of the catalog");
        names
    }
}

fn in_words(origin: Origin, reply: ControlReply) -> Told {
    let (error, words) = match reply {
        ControlReply::Created(reply) => (reply.error, format!("created {}", reply.partitions)),
        ControlReply::Grown(reply) => (reply.error, "grown".to_owned()),
        ControlReply::Altered(reply) => (reply.error, "altered".to_owned()),
        ControlReply::Deleted(reply, _) => (reply.error, "deleted".to_owned()),
        ControlReply::ProducerId(reply) => (reply.error, format!("producer {}", reply.producer_id.get())),
    };
    (origin.request.0, error, words)
}

fn create(asker: Origin, name: &str) -> ControlMessage {
    let request = CreateTopicRequest {
        name: name.to_owned(),
        partitions: 3,
        replication_factor: 1,
        validate_only: false,
        timeout_ms: 0,
        configs: Vec::new(),
    };
    ControlMessage::CreateTopic { asker, request }
}

fn grow(asker: Origin, name: &str, total: u32) -> ControlMessage {
    let request =
        CreatePartitionsRequest { name: name.to_owned(), total, validate_only: false, timeout_ms: 0 };
    ControlMessage::CreatePartitions { asker, request }
}

fn alter(asker: Origin, name: &str, retention_ms: &str) -> ControlMessage {
    let changes = vec![("retention.ms".to_owned(), ConfigChange::Set(retention_ms.to_owned()))];
    let request = AlterTopicRequest { name: name.to_owned(), changes, validate_only: false };
    ControlMessage::AlterTopic { asker, request }
}

fn delete(asker: Origin, name: &str) -> ControlMessage {
    ControlMessage::DeleteTopic { asker, topic: TopicKey::Name(name.to_owned()) }
}

fn producer(asker: Origin) -> ControlMessage {
    let request = InitProducerIdRequest { timeout_ms: 0, producer: None };
    ControlMessage::InitProducerId { asker, request }
}

fn told(number: usize, words: &str) -> Told {
    (number, ErrorCode::None, words.to_owned())
}

fn view() -> Told {
    told(usize::MAX, "view")
}

#[test]
fn a_round_is_one_append_and_one_view() {
    let mut bench = Bench::new();
    let round = bench.round(vec![
        |asker| create(asker, "a"),
        |asker| create(asker, "b"),
        |asker| grow(asker, "a", 5),
        |asker| alter(asker, "b", "1000"),
        |_| ControlMessage::CreateOffsetsTopic { partitions: 4 },
        |_| ControlMessage::CreateOffsetsTopic { partitions: 4 },
    ]);
    assert_eq!(round, [view()]);
    assert_eq!(bench.appends(), [5]);
    assert_eq!(bench.names(), ["__consumer_offsets", "a", "b"]);
    let view = bench.control.view();
    assert_eq!((view.version, view.topic("a").unwrap().partitions()), (1, 5));
    assert!(view.topic("b").unwrap().is_set("retention.ms"));
    let answers = [told(0, "created 3"), told(1, "created 3"), told(2, "grown"), told(3, "altered")];
    assert_eq!(bench.applied(), answers);
    let replayed = Catalog::from_records(&bench.written.lock().unwrap().appends.concat());
    assert_eq!(replayed.topics().collect::<Vec<_>>(), bench.control.catalog.topics().collect::<Vec<_>>());
}

#[test]
fn each_message_sees_what_those_before_it_did() {
    let mut bench = Bench::new();
    let round = bench.round(vec![
        |asker| delete(asker, "a.b"),
        |asker| create(asker, "a.b"),
        |asker| create(asker, "a.b"),
        |asker| create(asker, "a_b"),
        |asker| delete(asker, "a.b"),
        |asker| grow(asker, "a.b", 9),
        |asker| create(asker, "a_b"),
        |asker| delete(asker, "a_b"),
        |asker| create(asker, "a_b"),
    ]);
    let refused = |number, error, words: &str| (number, error, words.to_owned());
    let expected = [
        refused(0, ErrorCode::UnknownTopicOrPartition, "deleted"),
        refused(2, ErrorCode::TopicAlreadyExists, "created 0"),
        refused(3, ErrorCode::InvalidTopic, "created 0"),
        refused(5, ErrorCode::UnknownTopicOrPartition, "grown"),
        view(),
    ];
    assert_eq!(round, expected);
    assert_eq!((bench.appends(), bench.names()), (vec![5], vec!["a_b".to_owned()]));
    let number = bench.control.catalog.topic("a_b").unwrap().number;
    assert_eq!(number, 2, "the third that was made");
    let (done, gone) = ("created 3", "deleted");
    assert_eq!(bench.applied(), [told(1, done), told(4, gone), told(6, done), told(7, gone), told(8, done)]);
}

/// Who was refused only for what was to be stored would have been told of a topic that is not there.
#[test]
fn an_append_that_fails_refuses_all_who_waited_for_it_and_leaves_the_catalog() {
    let mut bench = Bench::new();
    let messages: Vec<fn(Origin) -> ControlMessage> = vec![
        producer,
        |asker| delete(asker, "a"),
        |asker| create(asker, "a"),
        |asker| create(asker, "a"),
        |asker| grow(asker, "a", 5),
        |asker| delete(asker, "a"),
        |_| ControlMessage::CreateOffsetsTopic { partitions: 4 },
    ];
    bench.round(vec![producer]);
    let before = bench.control.catalog.clone();
    bench.fill(true);
    let round = bench.round(messages.clone());
    let storage = |number, words: &str| (number, ErrorCode::StorageError, words.to_owned());
    let expected = [
        told(1, "producer 1"),
        (2, ErrorCode::UnknownTopicOrPartition, "deleted".to_owned()),
        storage(4, "created 0"),
        storage(3, "created 0"),
        storage(5, "grown"),
        storage(6, "deleted"),
    ];
    assert_eq!(round, expected);
    assert_eq!((bench.control.catalog == before, bench.control.view().version), (true, 0));
    assert!(bench.control.waiting.is_empty() && bench.control.freeing.is_empty());
    bench.fill(false);
    bench.round(messages);
    assert_eq!((bench.names(), bench.control.view().version), (vec!["__consumer_offsets".to_owned()], 1));
}

#[test]
fn a_producers_id_waits_for_its_block_and_for_nothing_else() {
    let mut bench = Bench::new();
    let round = bench.round(vec![producer, producer]);
    assert_eq!(round, [told(0, "producer 0"), told(1, "producer 1")], "no view");
    assert_eq!(bench.appends(), [1]);
    let round = bench.round(vec![producer]);
    assert_eq!((round, bench.appends()), (vec![told(2, "producer 2")], vec![1]), "no record");
    // Told before the append that the topic waits for.
    let round = bench.round(vec![|asker| create(asker, "a"), producer]);
    assert_eq!((round, bench.appends()), (vec![told(4, "producer 3"), view()], vec![1, 1]));
    let rest: Vec<fn(Origin) -> ControlMessage> = vec![producer; 996];
    assert_eq!(bench.round(rest).len(), 996);
    assert_eq!(bench.appends(), [1, 1]);
    bench.fill(true);
    let round = bench.round(vec![producer; 2]);
    assert!(round.iter().all(|(_, error, _)| *error == ErrorCode::StorageError), "{round:?}");
    bench.fill(false);
    let round = bench.round(vec![producer]);
    assert_eq!(round[0].2, "producer 1000", "nobody was told of it");
    assert_eq!(bench.appends(), [1, 1, 1]);
}

#[test]
fn deletions_are_finished_together_once_no_shard_has_files_of_them() {
    let mut bench = Bench::new();
    bench.round(vec![|asker| create(asker, "a"), |asker| create(asker, "b"), |asker| create(asker, "c")]);
    bench.applied();
    let ids: BTreeMap<String, TopicId> =
        bench.control.view().topics().map(|topic| (topic.name().to_string(), topic.id())).collect();
    let dir = |name: &str| bench.temp.path().join("data").join(storage::id::topic_dir(ids[name]));
    let dirs = ["a", "b", "c"].map(dir);
    for dir in &dirs {
        std::fs::create_dir(dir).unwrap();
    }
    bench.round(vec![|asker| delete(asker, "a")]);
    bench.round(vec![|asker| delete(asker, "b")]);
    let freed = |version| ControlMessage::Freed { version };
    let _ = bench.control.run_round(vec![freed(2), freed(3)]);
    assert_eq!(bench.appends(), [3, 1, 1], "one shard has yet to delete its files");
    assert!(dirs.iter().all(|dir| dir.exists()));
    let _ = bench.control.run_round(vec![freed(3), freed(2)]);
    assert_eq!(bench.appends(), [3, 1, 1, 2]);
    assert_eq!(dirs.map(|dir| dir.exists()), [false, false, true]);
    assert_eq!(bench.control.catalog.deleting().count(), 0);
}

#[test]
fn a_topic_that_stays_the_same_is_not_looked_at_again() {
    let mut bench = Bench::new();
    bench.round(vec![|asker| create(asker, "a"), |asker| create(asker, "b")]);
    let before = bench.control.view();
    bench.round(vec![|asker| create(asker, "c"), |asker| grow(asker, "b", 4)]);
    let after = bench.control.view();
    let is_same = |name: &str| Arc::ptr_eq(before.topic(name).unwrap(), after.topic(name).unwrap());
    assert_eq!((is_same("a"), is_same("b")), (true, false));
    assert_eq!(after.topic("b").unwrap().partitions(), 4);
}

#[test]
fn what_comes_behind_a_stop_is_not_done() {
    let mut bench = Bench::new();
    let asker = Origin { shard: ShardId::new(0), request: RequestKey(0), part: 0 };
    let messages = vec![create(asker, "a"), ControlMessage::Stop, create(asker, "b")];
    assert_eq!(bench.control.run_round(messages), ControlFlow::Break(()));
    assert_eq!((bench.names(), bench.appends()), (vec!["a".to_owned()], vec![1]));
}
