//! SyncGroup: the leader says who reads what; every member, the leader too, is told its part.
//!
//!     leader  ── assignments of all ──▶ coordinator ── its own ──▶ leader
//!     others  ── nothing ────────────▶              ── their own ─▶ others

use super::{Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};

/// A SyncGroup request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SyncGroupRequest<'a> {
    pub group: &'a str,
    pub generation: i32,
    pub member_id: &'a str,
    /// Of a static member; since 3.
    pub instance_id: Option<&'a str>,
    /// What the member takes for the group's type; since 5.
    pub protocol_type: Option<&'a str>,
    /// What the member takes for the picked protocol; since 5.
    pub protocol: Option<&'a str>,
    /// Empty from all but the leader.
    pub assignments: List<'a, SyncAssignment<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncAssignment<'a> {
    pub member_id: &'a str,
    pub assignment: &'a [u8],
}

impl<'a> Read<'a> for SyncGroupRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = SyncGroupRequest {
            group: r.string("group")?,
            generation: r.i32("generation")?,
            member_id: r.string("member_id")?,
            instance_id: if r.since(3) { r.nullable_string("instance_id")? } else { None },
            protocol_type: if r.since(5) { r.nullable_string("protocol_type")? } else { None },
            protocol: if r.since(5) { r.nullable_string("protocol")? } else { None },
            assignments: r.list("assignments")?,
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for SyncAssignment<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let assignment =
            SyncAssignment { member_id: r.string("member_id")?, assignment: r.bytes("assignment")? };
        r.skip_tags()?;
        Ok(assignment)
    }
}

impl<'a> Request<'a> for SyncGroupRequest<'a> {
    const API: Api = Api::SyncGroup;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncGroupResponse<'a> {
    /// Since 1.
    pub throttle_ms: i32,
    pub error: ErrorCode,
    /// Since 5.
    pub protocol_type: Option<&'a str>,
    /// Since 5.
    pub protocol: Option<&'a str>,
    /// Empty with an error.
    pub assignment: &'a [u8],
}

impl SyncGroupResponse<'_> {
    pub fn refused(error: ErrorCode) -> Self {
        SyncGroupResponse { throttle_ms: 0, error, protocol_type: None, protocol: None, assignment: &[] }
    }
}

impl Response for SyncGroupResponse<'_> {
    const API: Api = Api::SyncGroup;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(1) {
            w.i32(self.throttle_ms);
        }
        w.error(self.error);
        if w.since(5) {
            w.nullable_string(self.protocol_type);
            w.nullable_string(self.protocol);
        }
        w.bytes(self.assignment);
        w.no_tags();
    }
}
