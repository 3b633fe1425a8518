//! A round: messages that came together, decided one after another, stored by one append.
//!
//!     catalog ─ clone ─▶ staged ─ create a ─▶ staged ─ create a ─▶ refused ─ delete a ─▶ staged
//!     records               [a created,                                  a deleted]   ─▶ one append
//!
//! Each decision sees what those before it have staged. Until the append nobody is told what rests on it:
//! "a exists already" would be a lie if the record of a were lost. So an answer is told
//!
//!     at once         nothing was staged before it, and it stages nothing
//!     when durable    it rests on the records of the round
//!     when applied    it has one of them, which clients are to see once they are told
//!
//! A producer's id rests on no topic, only on whether ids were reserved in this round. If the append fails,
//! all who wait for it are refused, and the staged catalog is dropped. No I/O here.

use protocol::api::{
    AlterTopicReply, CreatePartitionsReply, CreateTopicReply, DeleteTopicReply, InitProducerIdReply,
    InitProducerIdRequest,
};
use protocol::model::{ErrorCode, TopicId, TopicName};
use storage::catalog::{Catalog, MetadataRecord, TopicRefusal};

use super::producer_ids::ProducerIds;
use super::{ControlMessage, ControlReply};
use crate::config::TopicDefaults;
use crate::shard::Origin;

/// Why not, as it is answered.
pub(super) type Refused = (ErrorCode, String);

/// What a message is to write; `None` if it only asks, or changes nothing.
pub(super) type Planned = Result<Option<MetadataRecord>, Refused>;

/// A reply and who gets it.
pub struct Answer {
    pub to: Origin,
    pub reply: ControlReply,
}

pub struct Round<'a> {
    defaults: &'a TopicDefaults,
    producer_ids: &'a mut ProducerIds,
    /// Whether ids were reserved in this round.
    has_reserved: bool,
    decided: Decided,
}

/// What a round has come to.
pub struct Decided {
    /// The catalog once the records are applied.
    pub catalog: Catalog,
    pub records: Vec<MetadataRecord>,
    /// Whether the records change what shards are to see.
    pub is_seen: bool,
    /// Topics that are deleted by the records.
    pub deleted: Vec<TopicId>,
    pub at_once: Vec<Answer>,
    pub when_durable: Vec<Answer>,
    pub when_applied: Vec<Answer>,
}

impl<'a> Round<'a> {
    pub fn new(
        catalog: &Catalog,
        defaults: &'a TopicDefaults,
        producer_ids: &'a mut ProducerIds,
    ) -> Round<'a> {
        let decided = Decided {
            catalog: catalog.clone(),
            records: Vec::new(),
            is_seen: false,
            deleted: Vec::new(),
            at_once: Vec::new(),
            when_durable: Vec::new(),
            when_applied: Vec::new(),
        };
        Round { defaults, producer_ids, has_reserved: false, decided }
    }

    pub fn finish(self) -> Decided {
        self.decided
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.decided.catalog
    }

    pub(super) fn defaults(&self) -> &'a TopicDefaults {
        self.defaults
    }

    /// Decides what somebody has asked for.
    pub fn decide(&mut self, message: ControlMessage) {
        match message {
            ControlMessage::CreateTopic { asker, request } => {
                let (reply, record) = match self.plan_creation(request) {
                    Ok((reply, record)) => (reply, record),
                    Err((error, message)) => (created(error, message), None),
                };
                self.settle(asker, ControlReply::Created(reply), record);
            }
            ControlMessage::CreatePartitions { asker, request } => {
                let (error, message, record) = split(self.plan_growth(&request));
                self.settle(asker, ControlReply::Grown(CreatePartitionsReply { error, message }), record);
            }
            ControlMessage::AlterTopic { asker, request } => {
                let (error, message, record) = split(self.plan_alteration(request));
                self.settle(asker, ControlReply::Altered(AlterTopicReply { error, message }), record);
            }
            ControlMessage::DeleteTopic { asker, topic } => {
                let found = self.find(&topic);
                let meant = found.as_ref().ok().map(|topic| (topic.name.clone(), topic.id));
                let (error, message, record) = split(found.and_then(|topic| self.plan_deletion(&topic.name)));
                let reply = DeleteTopicReply { error, message };
                self.settle(asker, ControlReply::Deleted(reply, meant), record);
            }
            ControlMessage::CreateOffsetsTopic { partitions } => match self.plan_offsets_topic(partitions) {
                Ok(None) => {}
                Ok(Some(record)) => self.stage(record),
                Err((_, why)) => {
                    tracing::error!(why, "the topic of groups cannot be made; they are not available")
                }
            },
            ControlMessage::InitProducerId { asker, request } => self.init_producer_id(asker, request),
            ControlMessage::Applied { .. } | ControlMessage::Freed { .. } | ControlMessage::Stop => {
                unreachable!("BUG: nobody asks for anything by it")
            }
        }
    }

    fn settle(&mut self, to: Origin, reply: ControlReply, record: Option<MetadataRecord>) {
        let answer = Answer { to, reply };
        match record {
            Some(record) => {
                self.stage(record);
                self.decided.when_applied.push(answer);
            }
            None if self.decided.records.is_empty() => self.decided.at_once.push(answer),
            None => self.decided.when_durable.push(answer),
        }
    }

    /// Takes a record that shards are to see.
    fn stage(&mut self, record: MetadataRecord) {
        self.decided.is_seen = true;
        if let MetadataRecord::TopicDeleted { id } = record {
            self.decided.deleted.push(id);
        }
        self.stage_unseen(record);
    }

    fn stage_unseen(&mut self, record: MetadataRecord) {
        self.decided.catalog.apply(&record);
        self.decided.records.push(record);
    }

    fn init_producer_id(&mut self, to: Origin, request: InitProducerIdRequest) {
        let (reply, record) = self.producer_ids.answer(request, &self.decided.catalog);
        if let Some(record) = record {
            self.has_reserved = true;
            self.stage_unseen(record);
        }
        let answer = Answer { to, reply: ControlReply::ProducerId(reply) };
        match self.has_reserved {
            true => self.decided.when_durable.push(answer),
            false => self.decided.at_once.push(answer),
        }
    }
}

impl Answer {
    /// The same, but what it says could not be stored.
    pub fn unstored(self, why: &str) -> Answer {
        let (error, message) = (ErrorCode::StorageError, why.to_owned());
        let reply = match self.reply {
            ControlReply::Created(_) => ControlReply::Created(created(error, message)),
            ControlReply::Grown(_) => ControlReply::Grown(CreatePartitionsReply { error, message }),
            ControlReply::Altered(_) => ControlReply::Altered(AlterTopicReply { error, message }),
            ControlReply::Deleted(_, topic) => {
                ControlReply::Deleted(DeleteTopicReply { error, message }, topic)
            }
            ControlReply::ProducerId(_) => ControlReply::ProducerId(InitProducerIdReply::refused(error)),
        };
        Answer { reply, ..self }
    }
}

/// The reply about a topic that was not made.
fn created(error: ErrorCode, message: String) -> CreateTopicReply {
    CreateTopicReply { error, message, id: TopicId::from_bytes([0; 16]), partitions: 0 }
}

fn split(planned: Planned) -> (ErrorCode, String, Option<MetadataRecord>) {
    match planned {
        Ok(record) => (ErrorCode::None, String::new(), record),
        Err((error, message)) => (error, message, None),
    }
}

pub(super) fn topic_name(name: &str) -> Result<TopicName, Refused> {
    TopicName::new(name).map_err(|why| (ErrorCode::InvalidTopic, why.to_string()))
}

pub(super) fn refused(why: TopicRefusal) -> Refused {
    (why.code(), why.to_string())
}

pub(super) fn invalid_config(why: impl ToString) -> Refused {
    (ErrorCode::InvalidConfig, why.to_string())
}
