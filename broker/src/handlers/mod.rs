//! Handlers: one file per api, from a request's bytes to its reply or to a request that waits.
//!
//!     dispatch ─ version? api? ─▶ produce │ fetch │ list_offsets │ delete_records
//!                                 metadata │ topics │ producer_ids │ stats
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
use crate::shard::{Origin, Request, Shard, Waiting};

mod produce;

mod fetch;
pub use fetch::piece_of;

mod list_offsets;
pub use list_offsets::{list_offset, take_listed};

mod delete_records;
pub use delete_records::{delete_records, take_deleted};

mod metadata;

mod topics;
pub use topics::{topic_created, topic_deleted};

mod producer_ids;
pub use producer_ids::producer_id_given;

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
fn begin_entries<E>(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    entries: Vec<E>,
    waiting: Waiting,
    ask: impl Fn(&Rc<Shard>, Origin, E),
) {
    let parts = u32::try_from(entries.len()).expect("BUG: read() bounds the list");
    if parts == 0 {
        shard.touch(connection);
        return Request { connection: connection.clone(), header, remaining: 0, waiting, promised: 0 }
            .reply();
    }
    let request = shard.requests.borrow_mut().begin(connection, header, parts, waiting);
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
        Api::DeleteTopic => topics::handle_delete(shard, connection, header, body),
        Api::InitProducerId => producer_ids::handle(shard, connection, header, body),
        Api::DeleteRecords => delete_records::handle(shard, connection, header, body),
        Api::Stats => stats::handle(shard, connection, header, body),
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
