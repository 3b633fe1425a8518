//! JoinGroup: a member enters a rebalance; the answer comes when all members have, or time is up.
//!
//!     members ── JoinGroup (range: …, sticky: …) ──▶ coordinator     generation 7 begins
//!     leader  ◀── members and their metadata ─────── coordinator     it assigns, and tells by SyncGroup
//!     others  ◀── no members ─────────────────────── coordinator     they wait in SyncGroup

use super::{Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};

/// A JoinGroup request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JoinGroupRequest<'a> {
    pub group: &'a str,
    /// Without a Heartbeat for as long, the member is out.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member; since 1, the session timeout before.
    pub rebalance_timeout_ms: i32,
    /// Empty for a member that has none yet.
    pub member_id: &'a str,
    /// Of a static member (KIP-345); since 5.
    pub instance_id: Option<&'a str>,
    /// `consumer`, or what else the members have in common.
    pub protocol_type: &'a str,
    /// The preferred one first.
    pub protocols: List<'a, JoinProtocol<'a>>,
    /// Why it joins, for people (KIP-800); since 8.
    pub reason: Option<&'a str>,
}

/// A way to assign partitions that the member can do, and what it tells the leader for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinProtocol<'a> {
    pub name: &'a str,
    pub metadata: &'a [u8],
}

impl<'a> Read<'a> for JoinGroupRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let group = r.string("group")?;
        let session_timeout_ms = r.i32("session_timeout_ms")?;
        let request = JoinGroupRequest {
            group,
            session_timeout_ms,
            rebalance_timeout_ms: match r.since(1) {
                true => r.i32("rebalance_timeout_ms")?,
                false => session_timeout_ms,
            },
            member_id: r.string("member_id")?,
            instance_id: if r.since(5) { r.nullable_string("instance_id")? } else { None },
            protocol_type: r.string("protocol_type")?,
            protocols: r.list("protocols")?,
            reason: if r.since(8) { r.nullable_string("reason")? } else { None },
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for JoinProtocol<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let protocol = JoinProtocol { name: r.string("protocol")?, metadata: r.bytes("metadata")? };
        r.skip_tags()?;
        Ok(protocol)
    }
}

impl<'a> Request<'a> for JoinGroupRequest<'a> {
    const API: Api = Api::JoinGroup;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinGroupResponse<'a> {
    /// Since 2.
    pub throttle_ms: i32,
    pub error: ErrorCode,
    /// −1 with an error.
    pub generation: i32,
    /// Since 7.
    pub protocol_type: Option<&'a str>,
    /// The one that was picked; `None` is written as empty before 7.
    pub protocol: Option<&'a str>,
    /// Member id of the leader; empty with an error.
    pub leader: &'a str,
    /// Whether the leader shall leave the assignment as it is (KIP-814); since 9.
    pub skip_assignment: bool,
    /// With `MEMBER_ID_REQUIRED`, the one to join again with.
    pub member_id: &'a str,
    /// For the leader only; empty for all others.
    pub members: Vec<JoinedMember<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinedMember<'a> {
    pub member_id: &'a str,
    /// Since 5.
    pub instance_id: Option<&'a str>,
    /// For the protocol that was picked.
    pub metadata: &'a [u8],
}

impl<'a> JoinGroupResponse<'a> {
    /// `member_id` is that of the request, or a new one with `MEMBER_ID_REQUIRED`.
    pub fn refused(error: ErrorCode, member_id: &'a str) -> JoinGroupResponse<'a> {
        JoinGroupResponse {
            throttle_ms: 0,
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "",
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl Response for JoinGroupResponse<'_> {
    const API: Api = Api::JoinGroup;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(2) {
            w.i32(self.throttle_ms);
        }
        w.error(self.error);
        w.i32(self.generation);
        match w.since(7) {
            true => {
                w.nullable_string(self.protocol_type);
                w.nullable_string(self.protocol);
            }
            false => w.string(self.protocol.unwrap_or_default()),
        }
        w.string(self.leader);
        if w.since(9) {
            w.bool(self.skip_assignment);
        }
        w.string(self.member_id);
        w.list(&self.members, |w, member| {
            w.string(member.member_id);
            if w.since(5) {
                w.nullable_string(member.instance_id);
            }
            w.bytes(member.metadata);
            w.no_tags();
        });
        w.no_tags();
    }
}
