//! JoinGroup: a member enters a rebalance; the answer comes when all members have, or time is up.
//!
//!     members ── JoinGroup (range: …, sticky: …) ──▶ coordinator     generation 7 begins
//!     leader  ◀── members and their metadata ─────── coordinator     it assigns, and tells by SyncGroup
//!     others  ◀── no members ─────────────────────── coordinator     they wait in SyncGroup
//!
//! The coordinator does not look into metadata; it picks a protocol that every member offers.
//! A first JoinGroup without an instance id is answered `MemberIdRequired` and a member id to join with.

use bytes::Bytes;

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::{
    LONG_STRING_BYTES_MAX, MEMBERS_PER_GROUP_MAX, PROTOCOLS_PER_MEMBER_MAX, SHORT_STRING_BYTES_MAX,
};

/// Generation in a reply with an error.
const NO_GENERATION: i32 = -1;

/// A way to assign partitions that the member can do, and what it tells the leader for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferedProtocol<'a> {
    pub name: &'a str,
    pub metadata: &'a [u8],
}

/// A JoinGroup request in place: borrows the frame's body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinGroupRequest<'a> {
    pub group: &'a str,
    /// Empty for a member that has none yet.
    pub member_id: &'a str,
    /// Of a static member (KIP-345).
    pub instance_id: Option<&'a str>,
    pub client_id: &'a str,
    /// Without a Heartbeat for as long, the member is out.
    pub session_timeout_ms: u32,
    /// How long a rebalance waits for the member to join again.
    pub rebalance_timeout_ms: u32,
    /// `consumer`, or what else the members have in common.
    pub protocol_type: &'a str,
    /// The preferred one first.
    pub protocols: Vec<OfferedProtocol<'a>>,
    /// Why it joins, for people (KIP-800).
    pub reason: Option<&'a str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    /// For the protocol that was picked.
    pub metadata: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinGroupReply {
    pub error: ErrorCode,
    /// −1 with an error.
    pub generation: i32,
    pub protocol_type: Option<String>,
    /// The one that was picked.
    pub protocol: Option<String>,
    /// Member id of the leader; empty with an error.
    pub leader: String,
    /// With `MemberIdRequired`, the one to join again with.
    pub member_id: String,
    /// Whether the leader shall leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
    /// For the leader only; empty for all others.
    pub members: Vec<JoinedMember>,
}

impl<'a> JoinGroupRequest<'a> {
    pub const API: Api = Api::JoinGroup;

    pub fn parse(body: &'a [u8]) -> Result<JoinGroupRequest<'a>, DecodeError> {
        let mut r = Reader::new(body);
        let request = JoinGroupRequest {
            group: r.string("group", LONG_STRING_BYTES_MAX)?,
            member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?,
            instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?,
            client_id: r.string("client_id", SHORT_STRING_BYTES_MAX)?,
            session_timeout_ms: r.u32("session_timeout_ms")?,
            rebalance_timeout_ms: r.u32("rebalance_timeout_ms")?,
            protocol_type: r.string("protocol_type", LONG_STRING_BYTES_MAX)?,
            protocols: r.list("protocols", PROTOCOLS_PER_MEMBER_MAX, 6, |r| {
                let name = r.string("name", LONG_STRING_BYTES_MAX)?;
                Ok(OfferedProtocol { name, metadata: r.blob("metadata")? })
            })?,
            reason: r.optional_string("reason", LONG_STRING_BYTES_MAX)?,
        };
        r.finish()?;
        Ok(request)
    }

    pub fn write(&self, w: &mut Writer<'_>) {
        w.string("group", self.group);
        w.string("member_id", self.member_id);
        w.optional_string("instance_id", self.instance_id);
        w.string("client_id", self.client_id);
        w.u32("session_timeout_ms", self.session_timeout_ms);
        w.u32("rebalance_timeout_ms", self.rebalance_timeout_ms);
        w.string("protocol_type", self.protocol_type);
        w.list("protocols", &self.protocols, |w, protocol| {
            w.string("name", protocol.name);
            w.blob("metadata", protocol.metadata);
        });
        w.optional_string("reason", self.reason);
    }
}

impl JoinGroupReply {
    /// `member_id` is that of the request, or a new one with `MemberIdRequired`.
    pub fn refused(error: ErrorCode, member_id: &str) -> JoinGroupReply {
        JoinGroupReply {
            error,
            generation: NO_GENERATION,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

impl Message for JoinGroupReply {
    const API: Api = Api::JoinGroup;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.i32("generation", self.generation);
        w.optional_string("protocol_type", self.protocol_type.as_deref());
        w.optional_string("protocol", self.protocol.as_deref());
        w.string("leader", &self.leader);
        w.string("member_id", &self.member_id);
        w.u8("skip_assignment", u8::from(self.skip_assignment));
        w.list("members", &self.members, |w, member| {
            w.string("member_id", &member.member_id);
            w.optional_string("instance_id", member.instance_id.as_deref());
            w.blob("metadata", &member.metadata);
        });
    }

    fn read(body: &[u8]) -> Result<JoinGroupReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = JoinGroupReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            generation: r.i32("generation")?,
            protocol_type: r.optional_string("protocol_type", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
            protocol: r.optional_string("protocol", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
            leader: r.string("leader", LONG_STRING_BYTES_MAX)?.to_owned(),
            member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
            skip_assignment: r.u8("skip_assignment")? != 0,
            members: r.list("members", MEMBERS_PER_GROUP_MAX, 8, |r| {
                Ok(JoinedMember {
                    member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
                    instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
                    metadata: Bytes::copy_from_slice(r.blob("metadata")?),
                })
            })?,
        };
        r.finish()?;
        Ok(reply)
    }
}
