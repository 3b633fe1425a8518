//! FindCoordinator: which shard keeps a group, so that a client can connect to it.
//!
//!     group ── hash ─▶ partition of __consumer_offsets ── its home shard ─▶ coordinator

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::LONG_STRING_BYTES_MAX;
use crate::model::{ErrorCode, ShardId};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FindCoordinatorRequest {
    pub group: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FindCoordinatorReply {
    pub error: ErrorCode,
    /// Of the broker that answers; meaningless with an error.
    pub shard: ShardId,
}

impl Message for FindCoordinatorRequest {
    const API: Api = Api::FindCoordinator;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("group", &self.group);
    }

    fn read(body: &[u8]) -> Result<FindCoordinatorRequest, DecodeError> {
        let mut r = Reader::new(body);
        let group = r.string("group", LONG_STRING_BYTES_MAX)?.to_owned();
        r.finish()?;
        Ok(FindCoordinatorRequest { group })
    }
}

impl Message for FindCoordinatorReply {
    const API: Api = Api::FindCoordinator;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.u16("shard", self.shard.get());
    }

    fn read(body: &[u8]) -> Result<FindCoordinatorReply, DecodeError> {
        let mut r = Reader::new(body);
        let error = ErrorCode::from_wire(r.u16("error")?);
        let shard = ShardId::new(r.u16("shard")?);
        r.finish()?;
        Ok(FindCoordinatorReply { error, shard })
    }
}
