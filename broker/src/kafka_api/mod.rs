//! Kafka's clients: their requests are done by the same parts as the native ones.
//!
//!     frame ─ header ─▶ api, version ─ parse ─▶ names and numbers
//!        names ─ the shard's view ─▶ topic ids ─▶ handlers: produce, fetch, list offsets, ask a coordinator
//!        results ─ with the layout of the request ─▶ response, in turn
//!
//! What a request is answered with depends on what it asked: names in their order, its version. That is its
//! [`Asked`], kept with the request while it waits. Replies leave in the order of the requests of a
//! connection, whichever is ready first. Errors have Kafka's numbers; the few of ours that Kafka has none
//! for become those that make its clients do the same (`codes.rs`).

use std::rc::Rc;

use bytes::Bytes;
use kafka::cold::{self, ColdRequest, ColdResponse, StrBytes};
use kafka::header::{HeaderError, RequestHeader, append_response};
use kafka::messages::{Request, Response, api_versions};
use kafka::{Api, Malformed};

mod codes;
use codes::code;

mod layout;
use layout::{Layout, Topic};

mod cluster;
mod configs;
mod data;
pub use data::end_if_refused;
mod groups;
pub use groups::{join, sync};
mod metadata;
mod operations;
mod producer_ids;
mod topics;

use crate::connection::{Connection, Turn};
use crate::metrics::count;
use crate::shard::{Shard, Waiting};

/// What the reply to a request needs to know of it.
pub struct Asked {
    api: Api,
    version: i16,
    correlation: i32,
    turn: Turn,
    shape: Shape,
}

/// What a request named, where its reply names it again.
enum Shape {
    Plain,
    Partitions(Layout),
    /// Whether the fetch reads only what is committed.
    Fetch(Layout, bool),
    OffsetFetch(groups::OffsetFetchShape),
    Metadata(metadata::Wanted),
    /// Topics or groups.
    Names(Vec<StrBytes>),
    /// And whether to tell what the client may do with each.
    DescribedGroups(Vec<StrBytes>, bool),
    Deleted(Vec<topics::Named>),
    Resources(Vec<configs::Resource>),
    ListGroups(groups::Filter),
    Sizes(cluster::Sizes),
    /// And the epoch whose end is asked for, of each partition.
    Epochs(Layout, Vec<i32>),
}

impl From<Asked> for crate::shard::Asked {
    fn from(asked: Asked) -> crate::shard::Asked {
        crate::shard::Asked::Kafka(asked)
    }
}

/// A request on its way in.
#[derive(Clone, Copy)]
struct Call<'a> {
    shard: &'a Rc<Shard>,
    connection: &'a Rc<Connection>,
    header: RequestHeader<'a>,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    fn parse<R: Request<'a>>(&self) -> Result<R, Malformed> {
        R::parse(self.body, self.header.version)
    }

    /// Takes the request's turn; exactly once, unless it has no reply.
    fn asked(&self, shape: Shape) -> Asked {
        // Record sets are not kept for the answer, and are counted where they go.
        let kept = if self.header.api == Api::Produce { 0 } else { self.body.len() };
        self.asked_keeping(kept, shape)
    }

    /// The same, with the bytes said that are owed to the client until the reply takes their place.
    fn asked_keeping(&self, kept: usize, shape: Shape) -> Asked {
        let RequestHeader { api, version, correlation, .. } = self.header;
        Asked { api, version, correlation, turn: self.connection.take_turn(kept), shape }
    }

    /// Answers at once.
    fn respond(&self, response: &impl Response) {
        self.asked(Shape::Plain).respond(self.connection, response);
        self.shard.touch(self.connection);
    }

    fn respond_cold(&self, response: &impl ColdResponse) {
        self.asked(Shape::Plain).respond_cold(self.connection, response);
        self.shard.touch(self.connection);
    }
}

impl Asked {
    fn names(&self) -> &[StrBytes] {
        match &self.shape {
            Shape::Names(names) | Shape::DescribedGroups(names, _) => names,
            _ => panic!("BUG: {} names something", self.api),
        }
    }

    /// What cannot be written costs its connection: a request must not end the process.
    fn respond_cold(&self, connection: &Connection, response: &impl ColdResponse) {
        let mut written = Ok(0);
        connection.reply_in_turn(self.turn, |outbox| {
            outbox.with_head(|out| {
                written = kafka::cold::append_response(out, self.version, self.correlation, response);
            });
        });
        if let Err(why) = written {
            debug_assert!(false, "BUG: {why}");
            tracing::error!(%why, "a connection to Kafka's port is closed");
            connection.close();
        }
    }

    fn respond(&self, connection: &Connection, response: &impl Response) {
        connection.reply_in_turn(self.turn, |outbox| {
            outbox.with_head(|out| {
                append_response(out, self.version, self.correlation, response);
            });
        });
    }
}

/// Takes a request, without its length. An error ends the connection, as with Kafka.
pub fn dispatch(shard: &Rc<Shard>, connection: &Rc<Connection>, frame: &[u8]) -> Result<(), HeaderError> {
    match try_dispatch(shard, connection, frame) {
        // The client learns which versions there are, and asks again (KIP-511).
        Err(HeaderError::UnsupportedVersion { api: Api::ApiVersions, correlation, .. }) => {
            connection.reply_in_turn(connection.take_turn(0), |outbox| {
                outbox.with_head(|out| {
                    api_versions::append_unsupported(out, correlation);
                });
            });
            shard.touch(connection);
            Ok(())
        }
        Err(error) => {
            count(&shard.counters.invalid_requests, 1);
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn try_dispatch(shard: &Rc<Shard>, connection: &Rc<Connection>, frame: &[u8]) -> Result<(), HeaderError> {
    let (header, body) = kafka::header::parse(frame)?;
    let call = Call { shard, connection, header, body };
    match header.api {
        Api::ApiVersions => metadata::api_versions(call)?,
        Api::Metadata => metadata::metadata(call)?,
        Api::Produce => data::produce(call)?,
        Api::Fetch => data::fetch(call)?,
        Api::ListOffsets => data::list_offsets(call)?,
        Api::InitProducerId => producer_ids::init(call)?,
        Api::FindCoordinator => groups::find_coordinator(call)?,
        Api::JoinGroup => groups::join_group(call)?,
        Api::SyncGroup => groups::sync_group(call)?,
        Api::Heartbeat => groups::heartbeat(call)?,
        Api::LeaveGroup => groups::leave_group(call)?,
        Api::OffsetCommit => groups::offset_commit(call)?,
        Api::OffsetFetch => groups::offset_fetch(call)?,
        api => {
            let body = Bytes::copy_from_slice(body);
            begin_cold(call, cold::decode_request(api, header.version, body)?);
        }
    }
    Ok(())
}

fn begin_cold(call: Call<'_>, request: ColdRequest) {
    match request {
        ColdRequest::CreateTopics(request) => topics::create(call, &request),
        ColdRequest::DeleteTopics(request) => topics::delete(call, &request),
        ColdRequest::CreatePartitions(request) => topics::grow(call, &request),
        ColdRequest::DeleteRecords(request) => topics::delete_records(call, &request),
        ColdRequest::DescribeConfigs(request) => configs::describe(call, &request),
        ColdRequest::AlterConfigs(request) => configs::alter(call, &request),
        ColdRequest::IncrementalAlterConfigs(request) => configs::alter_incrementally(call, &request),
        ColdRequest::ListGroups(request) => groups::list(call, &request),
        ColdRequest::DescribeGroups(request) => groups::describe(call, &request),
        ColdRequest::DeleteGroups(request) => groups::delete(call, &request),
        ColdRequest::OffsetDelete(request) => groups::delete_offsets(call, &request),
        ColdRequest::DescribeCluster(request) => cluster::describe_cluster(call, &request),
        ColdRequest::DescribeLogDirs(request) => cluster::describe_log_dirs(call, &request),
        ColdRequest::ListPartitionReassignments(_) => cluster::list_reassignments(call),
        ColdRequest::OffsetForLeaderEpoch(request) => cluster::offset_for_leader_epoch(call, &request),
    }
}

/// As the crate of the cold messages has its strings.
fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// Queues the reply to a request whose parts have all been answered.
pub fn reply(shard: &Shard, connection: &Connection, asked: Asked, waiting: Waiting) {
    match waiting {
        Waiting::Produce { results } => data::reply_produce(connection, asked, &results),
        Waiting::Fetch { results, .. } => data::reply_fetch(connection, asked, results),
        Waiting::ListOffsets { results } => match asked.api {
            Api::OffsetForLeaderEpoch => cluster::reply_epochs(connection, &asked, &results),
            _ => data::reply_list_offsets(connection, &asked, &results),
        },
        Waiting::DeleteRecords { results } => topics::reply_delete_records(connection, &asked, &results),
        Waiting::LogSizes { sizes } => cluster::reply_log_dirs(shard, connection, &asked, &sizes),
        Waiting::Group { unknown, replies, .. } => groups::reply(connection, asked, &unknown, replies),
        Waiting::Control { replies } => {
            let replies = replies.into_iter().map(|reply| reply.expect("BUG: a part without an answer"));
            match asked.api {
                Api::InitProducerId => producer_ids::reply(connection, &asked, replies),
                Api::Metadata => metadata::reply(connection, &shard.view(), &asked, replies),
                Api::CreateTopics => topics::reply_create(&shard.view(), connection, &asked, replies),
                Api::DeleteTopics => topics::reply_delete(connection, &asked, replies),
                Api::CreatePartitions => topics::reply_grow(connection, &asked, replies),
                Api::AlterConfigs => configs::reply_alter(connection, &asked, replies),
                Api::IncrementalAlterConfigs => configs::reply_incrementally(connection, &asked, replies),
                api => panic!("BUG: {api} is not asked of the control thread"),
            }
        }
        Waiting::Stats { .. } => panic!("BUG: Kafka has no such request"),
    }
}
