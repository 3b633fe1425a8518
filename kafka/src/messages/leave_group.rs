//! LeaveGroup: members leave; since version 3 several at once, as an operator removes them.
//!
//!     0 to 2      one member id      error of the request
//!     since 3     members            error of the request, and of each member

use super::{OneOrMany, Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{Malformed, Read, Reader, Writer};

/// A LeaveGroup request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LeaveGroupRequest<'a> {
    pub group: &'a str,
    pub members: OneOrMany<'a, LeavingMember<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeavingMember<'a> {
    /// Empty for a static member that is named by its instance id alone.
    pub member_id: &'a str,
    /// Since 3.
    pub instance_id: Option<&'a str>,
    /// Why it leaves, for people (KIP-800); since 5.
    pub reason: Option<&'a str>,
}

impl<'a> Read<'a> for LeaveGroupRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let group = r.string("group")?;
        let members = match r.since(3) {
            true => OneOrMany::Many(r.list("members")?),
            false => {
                let member_id = r.string("member_id")?;
                OneOrMany::One(LeavingMember { member_id, instance_id: None, reason: None })
            }
        };
        r.skip_tags()?;
        Ok(LeaveGroupRequest { group, members })
    }
}

impl<'a> Read<'a> for LeavingMember<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let member = LeavingMember {
            member_id: r.string("member_id")?,
            instance_id: r.nullable_string("instance_id")?,
            reason: if r.since(5) { r.nullable_string("reason")? } else { None },
        };
        r.skip_tags()?;
        Ok(member)
    }
}

impl<'a> Request<'a> for LeaveGroupRequest<'a> {
    const API: Api = Api::LeaveGroup;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveGroupResponse<'a> {
    /// Since 1.
    pub throttle_ms: i32,
    /// Before 3 also that of the one member: the caller puts it here.
    pub error: ErrorCode,
    /// Since 3.
    pub members: Vec<LeftMember<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeftMember<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub error: ErrorCode,
}

impl Response for LeaveGroupResponse<'_> {
    const API: Api = Api::LeaveGroup;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(1) {
            w.i32(self.throttle_ms);
        }
        w.error(self.error);
        if w.since(3) {
            w.list(&self.members, |w, member| {
                w.string(member.member_id);
                w.nullable_string(member.instance_id);
                w.error(member.error);
                w.no_tags();
            });
        }
        w.no_tags();
    }
}
