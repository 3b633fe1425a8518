//! DeleteTopic: the topic is gone when the answer comes; its files follow.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::LONG_STRING_BYTES_MAX;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTopicRequest {
    pub name: String,
    pub timeout_ms: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTopicReply {
    pub error: ErrorCode,
    /// What is wrong, for people; empty if nothing is.
    pub message: String,
}

impl Message for DeleteTopicRequest {
    const API: Api = Api::DeleteTopic;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("name", &self.name);
        w.u32("timeout_ms", self.timeout_ms);
    }

    fn read(body: &[u8]) -> Result<DeleteTopicRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = DeleteTopicRequest {
            name: r.string("name", LONG_STRING_BYTES_MAX)?.to_owned(),
            timeout_ms: r.u32("timeout_ms")?,
        };
        r.finish()?;
        Ok(request)
    }
}

impl Message for DeleteTopicReply {
    const API: Api = Api::DeleteTopic;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.message("message", &self.message);
    }

    fn read(body: &[u8]) -> Result<DeleteTopicReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = DeleteTopicReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            message: r.string("message", LONG_STRING_BYTES_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(reply)
    }
}
