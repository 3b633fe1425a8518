//! Heartbeat: a member is alive, and learns whether it has to join again.
//!
//!     member ── group, generation, member id ──▶ coordinator ── 0, or REBALANCE_IN_PROGRESS ──▶ member

use super::{Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{Malformed, Read, Reader, Writer};

/// A Heartbeat request in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatRequest<'a> {
    pub group: &'a str,
    pub generation: i32,
    pub member_id: &'a str,
    /// Of a static member; since 3.
    pub instance_id: Option<&'a str>,
}

impl<'a> Read<'a> for HeartbeatRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = HeartbeatRequest {
            group: r.string("group")?,
            generation: r.i32("generation")?,
            member_id: r.string("member_id")?,
            instance_id: if r.since(3) { r.nullable_string("instance_id")? } else { None },
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Request<'a> for HeartbeatRequest<'a> {
    const API: Api = Api::Heartbeat;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatResponse {
    /// Since 1.
    pub throttle_ms: i32,
    pub error: ErrorCode,
}

impl Response for HeartbeatResponse {
    const API: Api = Api::Heartbeat;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(1) {
            w.i32(self.throttle_ms);
        }
        w.error(self.error);
        w.no_tags();
    }
}
