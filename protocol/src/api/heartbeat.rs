//! Heartbeat: a member says that it lives, and learns whether its group is rebalancing.
//!
//!     None ─▶ go on        RebalanceInProgress ─▶ JoinGroup        UnknownMemberId ─▶ begin anew

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::LONG_STRING_BYTES_MAX;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatRequest {
    pub group: String,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatReply {
    pub error: ErrorCode,
}

impl Message for HeartbeatRequest {
    const API: Api = Api::Heartbeat;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("group", &self.group);
        w.i32("generation", self.generation);
        w.string("member_id", &self.member_id);
        w.optional_string("instance_id", self.instance_id.as_deref());
    }

    fn read(body: &[u8]) -> Result<HeartbeatRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = HeartbeatRequest {
            group: r.string("group", LONG_STRING_BYTES_MAX)?.to_owned(),
            generation: r.i32("generation")?,
            member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
            instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
        };
        r.finish()?;
        Ok(request)
    }
}

impl Message for HeartbeatReply {
    const API: Api = Api::Heartbeat;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
    }

    fn read(body: &[u8]) -> Result<HeartbeatReply, DecodeError> {
        let mut r = Reader::new(body);
        let error = ErrorCode::from_wire(r.u16("error")?);
        r.finish()?;
        Ok(HeartbeatReply { error })
    }
}
