//! Handlers: one file per api, from a request's bytes to its reply or to a request that waits.
//!
//!     dispatch ─ version? api? ─▶ produce │ fetch │ list_offsets │ delete_records
//!                                 metadata │ topics │ producer_ids │ stats │ groups
//!
//! A handler decodes, finds the partitions, and asks them; it knows neither disks nor sockets. A part
//! that belongs to another shard goes there as a message. Whatever is wrong with a request is
//! answered under its correlation id, and the connection goes on.

use std::rc::Rc;

use protocol::api::{Api, DecodeError, VERSION};
use protocol::frame::FrameHeader;
use protocol::model::ErrorCode;

use crate::connection::Connection;
use crate::metrics::count;
use crate::shard::{Asked, Origin, Request, Shard, Waiting};

mod produce;
pub use produce::produce;

mod fetch;
pub use fetch::{Named, fetch};

mod list_offsets;
pub use list_offsets::{list_offset, list_offsets, refuse_repeated, take_listed};

mod delete_records;
pub use delete_records::{delete_records, take_deleted};

mod metadata;

mod topics;
pub use topics::{take_control_reply, write_control_reply};

mod producer_ids;

mod groups;
pub use groups::{ask, ask_coordinator, ask_one, committed, list_groups, reply_group, take_group_reply};

mod stats;
pub use stats::take_stats;

/// A request that is refused as a whole.
struct Refusal {
    error: ErrorCode,
    message: String,
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Refusal {
        Refusal { error: error.code(), message: error.to_string() }
    }
}

/// Begins a request whose entries are answered one by one, each by `ask`; without entries it is answered
/// at once. `waiting` has a place for each answer.
pub fn begin_entries<E>(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    entries: Vec<E>,
    waiting: Waiting,
    ask: impl Fn(&Rc<Shard>, Origin, E),
) {
    let parts = u32::try_from(entries.len()).expect("BUG: read() bounds the list");
    if parts == 0 {
        shard.touch(connection);
        return Request::new(connection, asked, 0, waiting).reply(shard);
    }
    let request = shard.requests.borrow_mut().begin(connection, asked, parts, waiting);
    for (part, entry) in (0..parts).zip(entries) {
        ask(shard, Origin { shard: shard.id, request, part }, entry);
    }
}

/// Answers a request, or begins to.
pub fn dispatch(shard: &Rc<Shard>, connection: &Rc<Connection>, header: FrameHeader, body: &[u8]) {
    if let Err(refusal) = try_dispatch(shard, connection, header, body) {
        count(&shard.counters.invalid_requests, 1);
        connection.reply_error(header, refusal.error, refusal.message);
        shard.touch(connection);
    }
}

fn try_dispatch(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    if header.api.name().is_none() {
        let message = format!("there is no api {}", header.api.to_wire());
        return Err(Refusal { error: ErrorCode::UnknownApi, message });
    }
    if header.version != VERSION {
        let message = format!("{:?} has version {VERSION}, not {}", header.api, header.version);
        return Err(Refusal { error: ErrorCode::UnsupportedVersion, message });
    }
    match header.api {
        Api::Produce => produce::handle(shard, connection, header, body),
        Api::Fetch => fetch::handle(shard, connection, header, body),
        Api::ListOffsets => list_offsets::handle(shard, connection, header, body),
        Api::Metadata => metadata::handle(shard, connection, header, body),
        Api::CreateTopic => topics::handle_create(shard, connection, header, body),
        Api::CreatePartitions => topics::handle_create_partitions(shard, connection, header, body),
        Api::AlterTopic => topics::handle_alter(shard, connection, header, body),
        Api::DeleteTopic => topics::handle_delete(shard, connection, header, body),
        Api::InitProducerId => producer_ids::handle(shard, connection, header, body),
        Api::DeleteRecords => delete_records::handle(shard, connection, header, body),
        Api::Stats => stats::handle(shard, connection, header, body),
        Api::FindCoordinator => groups::handle_find(shard, connection, header, body),
        Api::JoinGroup => groups::handle_join(shard, connection, header, body),
        Api::SyncGroup => groups::handle_sync(shard, connection, header, body),
        Api::Heartbeat => groups::handle_heartbeat(shard, connection, header, body),
        Api::LeaveGroup => groups::handle_leave(shard, connection, header, body),
        Api::OffsetCommit => groups::handle_commit(shard, connection, header, body),
        Api::OffsetFetch => groups::handle_fetch(shard, connection, header, body),
        Api::OffsetDelete => groups::handle_delete_offsets(shard, connection, header, body),
        Api::ListGroups => groups::handle_list(shard, connection, header, body),
        Api::DescribeGroups => groups::handle_describe(shard, connection, header, body),
        Api::DeleteGroups => groups::handle_delete(shard, connection, header, body),
        Api::Hello => Err(Refusal {
            error: ErrorCode::InvalidRequest,
            message: "a connection says Hello once, at its beginning".to_owned(),
        }),
        api => Err(Refusal {
            error: ErrorCode::UnknownApi,
            message: format!("this broker does not answer {api:?} yet"),
        }),
    }
}
