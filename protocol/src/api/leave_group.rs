//! LeaveGroup: members go, and the others rebalance at once instead of when a session has timed out.
//!
//!     a member itself         its member id
//!     an operator, for it     its instance id and an empty member id (KIP-345)

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::{LONG_STRING_BYTES_MAX, MEMBERS_PER_GROUP_MAX};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavingMember {
    /// Empty if the instance id alone says who.
    pub member_id: String,
    pub instance_id: Option<String>,
    /// Why it goes, for people (KIP-800).
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveGroupRequest {
    pub group: String,
    pub members: Vec<LeavingMember>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub error: ErrorCode,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveGroupReply {
    /// Of the whole request; a member's own stands with it.
    pub error: ErrorCode,
    /// In the order of the request; empty with an error of the whole.
    pub members: Vec<LeftMember>,
}

impl Message for LeaveGroupRequest {
    const API: Api = Api::LeaveGroup;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("group", &self.group);
        w.list("members", &self.members, |w, member| {
            w.string("member_id", &member.member_id);
            w.optional_string("instance_id", member.instance_id.as_deref());
            w.optional_string("reason", member.reason.as_deref());
        });
    }

    fn read(body: &[u8]) -> Result<LeaveGroupRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = LeaveGroupRequest {
            group: r.string("group", LONG_STRING_BYTES_MAX)?.to_owned(),
            members: r.list("members", MEMBERS_PER_GROUP_MAX, 6, |r| {
                Ok(LeavingMember {
                    member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
                    instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
                    reason: r.optional_string("reason", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
                })
            })?,
        };
        r.finish()?;
        Ok(request)
    }
}

impl Message for LeaveGroupReply {
    const API: Api = Api::LeaveGroup;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.list("members", &self.members, |w, member| {
            w.string("member_id", &member.member_id);
            w.optional_string("instance_id", member.instance_id.as_deref());
            w.u16("error", member.error.to_wire());
        });
    }

    fn read(body: &[u8]) -> Result<LeaveGroupReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = LeaveGroupReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            members: r.list("members", MEMBERS_PER_GROUP_MAX, 6, |r| {
                Ok(LeftMember {
                    member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
                    instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
                    error: ErrorCode::from_wire(r.u16("error")?),
                })
            })?,
        };
        r.finish()?;
        Ok(reply)
    }
}
