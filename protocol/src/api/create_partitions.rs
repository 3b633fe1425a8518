//! CreatePartitions: more partitions for a topic; the answer comes when each of them takes records.
//!
//!     orders ── 0 1 2            total 5 ─▶ 0 1 2 3 4
//!
//! The number only grows: records cannot move, and a key's older records stay where they are.

use super::create_topic::{read_validate_only, write_validate_only};
use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::LONG_STRING_BYTES_MAX;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatePartitionsRequest {
    pub name: String,
    /// How many partitions the topic shall have, those it has included.
    pub total: u32,
    /// Check only: answer as if, and change nothing.
    pub validate_only: bool,
    pub timeout_ms: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatePartitionsReply {
    pub error: ErrorCode,
    /// What is wrong, for people; empty if nothing is.
    pub message: String,
}

impl Message for CreatePartitionsRequest {
    const API: Api = Api::CreatePartitions;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("name", &self.name);
        w.u32("total", self.total);
        write_validate_only(w, self.validate_only);
        w.u32("timeout_ms", self.timeout_ms);
    }

    fn read(body: &[u8]) -> Result<CreatePartitionsRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = CreatePartitionsRequest {
            name: r.string("name", LONG_STRING_BYTES_MAX)?.to_owned(),
            total: r.u32("total")?,
            validate_only: read_validate_only(&mut r)?,
            timeout_ms: r.u32("timeout_ms")?,
        };
        r.finish()?;
        Ok(request)
    }
}

impl Message for CreatePartitionsReply {
    const API: Api = Api::CreatePartitions;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.message("message", &self.message);
    }

    fn read(body: &[u8]) -> Result<CreatePartitionsReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = CreatePartitionsReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            message: r.string("message", LONG_STRING_BYTES_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(reply)
    }
}
