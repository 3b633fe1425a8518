//! SyncGroup: the leader tells the assignment of a generation, and each member gets its part of it.
//!
//!     leader  ── SyncGroup (a: bytes, b: bytes) ──▶ coordinator ──▶ bytes of a, to the leader
//!     b       ── SyncGroup ───────────────────────▶ coordinator ──▶ bytes of b, when they are durable
//!
//! The coordinator does not look into the bytes.

use bytes::Bytes;

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::{LONG_STRING_BYTES_MAX, MEMBERS_PER_GROUP_MAX};

/// What one member has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment<'a> {
    pub member_id: &'a str,
    pub bytes: &'a [u8],
}

/// A SyncGroup request in place: borrows the frame's body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncGroupRequest<'a> {
    pub group: &'a str,
    pub generation: i32,
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    /// If given, compared with the group's (KIP-559); the next one too.
    pub protocol_type: Option<&'a str>,
    pub protocol: Option<&'a str>,
    /// From the leader only; empty from all others.
    pub assignments: Vec<Assignment<'a>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncGroupReply {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// Empty with an error, and for a member that the leader has given nothing.
    pub assignment: Bytes,
}

impl<'a> SyncGroupRequest<'a> {
    pub const API: Api = Api::SyncGroup;

    pub fn parse(body: &'a [u8]) -> Result<SyncGroupRequest<'a>, DecodeError> {
        let mut r = Reader::new(body);
        let request = SyncGroupRequest {
            group: r.string("group", LONG_STRING_BYTES_MAX)?,
            generation: r.i32("generation")?,
            member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?,
            instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?,
            protocol_type: r.optional_string("protocol_type", LONG_STRING_BYTES_MAX)?,
            protocol: r.optional_string("protocol", LONG_STRING_BYTES_MAX)?,
            assignments: r.list("assignments", MEMBERS_PER_GROUP_MAX, 6, |r| {
                let member_id = r.string("member_id", LONG_STRING_BYTES_MAX)?;
                Ok(Assignment { member_id, bytes: r.blob("assignment")? })
            })?,
        };
        r.finish()?;
        Ok(request)
    }

    pub fn write(&self, w: &mut Writer<'_>) {
        w.string("group", self.group);
        w.i32("generation", self.generation);
        w.string("member_id", self.member_id);
        w.optional_string("instance_id", self.instance_id);
        w.optional_string("protocol_type", self.protocol_type);
        w.optional_string("protocol", self.protocol);
        w.list("assignments", &self.assignments, |w, assignment| {
            w.string("member_id", assignment.member_id);
            w.blob("assignment", assignment.bytes);
        });
    }
}

impl SyncGroupReply {
    pub fn refused(error: ErrorCode) -> SyncGroupReply {
        SyncGroupReply { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

impl Message for SyncGroupReply {
    const API: Api = Api::SyncGroup;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.optional_string("protocol_type", self.protocol_type.as_deref());
        w.optional_string("protocol", self.protocol.as_deref());
        w.blob("assignment", &self.assignment);
    }

    fn read(body: &[u8]) -> Result<SyncGroupReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = SyncGroupReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            protocol_type: r.optional_string("protocol_type", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
            protocol: r.optional_string("protocol", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
            assignment: Bytes::copy_from_slice(r.blob("assignment")?),
        };
        r.finish()?;
        Ok(reply)
    }
}
