//! Requests that wait: for a commit, for records, for another shard, for the control thread.
//!
//!     begin(parts = 2) ─▶ key ─ complete part 0 ─ complete part 1 ─▶ reply, key is free
//!
//! A table by small integer, no task and no channel per request. A request whose connection closed
//! stays until its parts are answered; its reply then goes nowhere.

use std::rc::Rc;

use protocol::api::{
    Api, DeleteRecordsReply, DeleteRecordsResult, FetchEntry, FetchReply, FetchResult, ListOffsetsReply,
    ListOffsetsResult, Message, ProduceReply, ProduceResult, ShardStats, StatsReply, Writer,
};
use protocol::frame::FrameHeader;
use protocol::model::{CorrelationId, ErrorCode, ShardId};
use slab::Slab;
use smallvec::SmallVec;

use super::Shard;
use super::fetching::FetchBudget;
use super::message::{LogSize, Origin, RequestKey};
use crate::connection::{Connection, Piece};
use crate::control::ControlReply;
use crate::groups::Reply;
use crate::handlers;
use crate::kafka_api;

/// A record set: seldom more than the rest of one chunk and the next one.
pub type Pieces = SmallVec<[Piece; 2]>;

/// A fetch's result in one partition and its record set.
pub type Fetched = (FetchResult, Pieces);

/// The partitions of a fetch, mostly one.
pub type FetchEntries = SmallVec<[FetchEntry; 1]>;

/// Which entries of a fetch a shard answers.
pub struct FetchPart {
    pub shard: ShardId,
    pub entries: SmallVec<[usize; 1]>,
    pub answered: bool,
}

pub enum Waiting {
    Produce {
        results: SmallVec<[ProduceResult; 1]>,
    },
    Fetch {
        results: SmallVec<[Option<Fetched>; 1]>,
        parts: SmallVec<[FetchPart; 1]>,
        budget: FetchBudget,
        /// Bytes of records that the reply may have.
        possible: usize,
        /// Whether they count as being read for the connection.
        reading: bool,
    },
    ListOffsets {
        results: Vec<ListOffsetsResult>,
    },
    DeleteRecords {
        results: Vec<DeleteRecordsResult>,
    },
    Stats {
        shards: Vec<ShardStats>,
    },
    /// How much every shard's logs hold.
    LogSizes {
        sizes: Vec<LogSize>,
    },
    Group {
        /// The groups that the request is about, or for a list the states; empty where one will do.
        names: Vec<String>,
        /// Places of a commit's partitions that do not exist.
        unknown: Vec<usize>,
        replies: Vec<Option<Reply>>,
    },
    Control {
        replies: SmallVec<[Option<ControlReply>; 1]>,
    },
}

/// In which protocol a request came, and what its reply needs to know of it.
pub enum Asked {
    Native(FrameHeader),
    Kafka(kafka_api::Asked),
    /// Nobody waits for a reply (acks 0).
    Nobody,
    /// As `Nobody`, of one of Kafka's clients: a refusal ends its connection, by which it learns of it.
    KafkaUnanswered,
}

impl From<FrameHeader> for Asked {
    fn from(header: FrameHeader) -> Asked {
        Asked::Native(header)
    }
}

pub struct Request {
    pub connection: Rc<Connection>,
    pub asked: Asked,
    /// Parts that have not been answered.
    pub remaining: u32,
    pub waiting: Waiting,
    /// Bytes of memory that are promised to it until it is answered.
    pub promised: usize,
    /// Bytes of memory that it takes up itself, which its connection counts.
    size: usize,
}

impl Waiting {
    /// Bytes of memory that a request takes up here and where it waits, more or less.
    fn size(&self) -> usize {
        let own = size_of::<Request>();
        own + match self {
            Waiting::Produce { results } => results.len() * PRODUCE_PART_SIZE,
            Waiting::Fetch { results, .. } => results.len() * FETCH_PART_SIZE,
            Waiting::ListOffsets { results } => results.len() * LOOKUP_PART_SIZE,
            Waiting::DeleteRecords { results } => results.len() * LOOKUP_PART_SIZE,
            Waiting::Group { names, unknown, replies } => {
                names.iter().map(String::len).sum::<usize>()
                    + unknown.len() * size_of::<usize>()
                    + replies.len() * size_of::<Option<Reply>>()
            }
            Waiting::Control { replies } => replies.len() * size_of::<Option<ControlReply>>(),
            Waiting::Stats { .. } | Waiting::LogSizes { .. } => 0,
        }
    }
}

/// A result here and a parked batch at its partition.
const PRODUCE_PART_SIZE: usize = size_of::<ProduceResult>() + 64;

/// A result here, an entry at its partition's shard, and places in both of their lists.
const FETCH_PART_SIZE: usize = size_of::<Option<Fetched>>() + size_of::<FetchEntry>() + 32;

/// A result here and a question at its partition's shard.
const LOOKUP_PART_SIZE: usize = size_of::<ListOffsetsResult>() + 128;

#[derive(Default)]
pub struct Requests {
    table: Slab<Request>,
}

impl Requests {
    pub fn begin(
        &mut self,
        connection: &Rc<Connection>,
        asked: impl Into<Asked>,
        parts: u32,
        waiting: Waiting,
    ) -> RequestKey {
        let size = waiting.size();
        connection.begin_waiting(size);
        let request = Request { size, ..Request::new(connection, asked, parts, waiting) };
        RequestKey(self.table.insert(request))
    }

    /// Whether any request waits.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whose request it is.
    pub fn connection(&self, key: RequestKey) -> Rc<Connection> {
        self.table.get(key.0).expect("BUG: a part was answered that is not waited for").connection.clone()
    }

    pub fn get_mut(&mut self, key: RequestKey) -> &mut Request {
        self.table.get_mut(key.0).expect("BUG: a part was answered that is not waited for")
    }

    /// Records the answer to a part. Gives the request back when it was the last one.
    pub fn complete(&mut self, key: RequestKey, answer: impl FnOnce(&mut Waiting)) -> Option<Request> {
        let request = self.get_mut(key);
        answer(&mut request.waiting);
        request.remaining -= 1;
        if 0 < request.remaining {
            return None;
        }
        let request = self.table.remove(key.0);
        request.connection.end_waiting(request.size);
        Some(request)
    }

    /// The parts that are not answered of fetches whose connections have closed.
    pub fn polls_of_the_gone(&self, here: ShardId) -> Vec<(Origin, ShardId)> {
        let mut gone = Vec::new();
        for (key, request) in &self.table {
            if let (true, Waiting::Fetch { parts, .. }) = (request.connection.is_closed(), &request.waiting) {
                let unanswered = (0..).zip(parts).filter(|(_, part)| !part.answered);
                let origin = |part| Origin { shard: here, request: RequestKey(key), part };
                gone.extend(unanswered.map(|(part, of)| (origin(part), of.shard)));
            }
        }
        gone
    }
}

impl Request {
    pub fn new(
        connection: &Rc<Connection>,
        asked: impl Into<Asked>,
        remaining: u32,
        waiting: Waiting,
    ) -> Request {
        Request {
            connection: connection.clone(),
            asked: asked.into(),
            remaining,
            waiting,
            promised: 0,
            size: 0,
        }
    }

    /// Queues the reply of a request whose parts have all been answered.
    pub fn reply(self, shard: &Shard) {
        let Request { connection, asked, waiting, .. } = self;
        let header = match asked {
            Asked::Native(header) => header,
            Asked::Kafka(asked) => return kafka_api::reply(shard, &connection, asked, waiting),
            Asked::Nobody => return,
            Asked::KafkaUnanswered => return kafka_api::end_if_refused(&connection, &waiting),
        };
        let FrameHeader { api, correlation, .. } = header;
        match waiting {
            Waiting::Produce { results } => connection.reply(api, correlation, |out| {
                ProduceReply::write_parts(&mut Writer::new(out), 0, &results);
            }),
            Waiting::Fetch { results, .. } => reply_fetch(&connection, api, correlation, results),
            Waiting::ListOffsets { results } => {
                let reply = ListOffsetsReply { partitions: results };
                connection.reply(api, correlation, |out| reply.append_to(out));
            }
            Waiting::DeleteRecords { results } => {
                let reply = DeleteRecordsReply { partitions: results };
                connection.reply(api, correlation, |out| reply.append_to(out));
            }
            Waiting::Stats { mut shards } => {
                shards.sort_by_key(|stats| stats.shard);
                let reply = StatsReply { shards };
                connection.reply(api, correlation, |out| reply.append_to(out));
            }
            Waiting::LogSizes { .. } => panic!("BUG: the native protocol has no such request"),
            Waiting::Group { names, unknown, replies } => {
                handlers::reply_group(&connection, header, names, &unknown, replies);
            }
            Waiting::Control { replies } => {
                let reply = replies.into_iter().next().flatten().expect("BUG: one part, answered");
                connection.reply(api, correlation, |out| handlers::write_control_reply(&reply, out));
            }
        }
    }
}

fn reply_fetch(
    connection: &Connection,
    api: Api,
    correlation: CorrelationId,
    results: SmallVec<[Option<Fetched>; 1]>,
) {
    let mut heads: SmallVec<[FetchResult; 1]> = SmallVec::with_capacity(results.len());
    let mut payload = Pieces::new();
    for fetched in results {
        let (head, pieces) =
            fetched.unwrap_or_else(|| (FetchResult::refused(ErrorCode::RequestTimedOut), Pieces::new()));
        heads.push(head);
        payload.extend(pieces);
    }
    let write = |out: &mut Vec<u8>| FetchReply::write_head(&mut Writer::new(out), 0, &heads);
    connection.reply_with_payload(api, correlation, write, payload);
}
