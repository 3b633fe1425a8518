//! CreateTopic: makes a topic; the answer comes when every partition takes records.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::{CONFIGS_PER_TOPIC_MAX, LONG_STRING_BYTES_MAX, SHORT_STRING_BYTES_MAX};
use crate::model::{ErrorCode, TopicId};

const FLAG_VALIDATE_ONLY: u8 = 1 << 0;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopicRequest {
    /// As the user wrote it; the broker says what is wrong with an illegal one.
    pub name: String,
    /// 0 for the broker's default.
    pub partitions: u32,
    /// 0 for the broker's default.
    pub replication_factor: u16,
    /// Check only: answer as if, and change nothing.
    pub validate_only: bool,
    pub timeout_ms: u32,
    /// Kafka's names: `segment.bytes`, `max.message.bytes`, …
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopicReply {
    pub error: ErrorCode,
    /// What is wrong, for people; empty if nothing is.
    pub message: String,
    pub id: TopicId,
    pub partitions: u32,
}

impl Message for CreateTopicRequest {
    const API: Api = Api::CreateTopic;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("name", &self.name);
        w.u32("partitions", self.partitions);
        w.u16("replication_factor", self.replication_factor);
        write_validate_only(w, self.validate_only);
        w.u32("timeout_ms", self.timeout_ms);
        w.list("configs", &self.configs, |w, (key, value)| {
            w.string("key", key);
            w.string("value", value);
        });
    }

    fn read(body: &[u8]) -> Result<CreateTopicRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = CreateTopicRequest {
            name: r.string("name", LONG_STRING_BYTES_MAX)?.to_owned(),
            partitions: r.u32("partitions")?,
            replication_factor: r.u16("replication_factor")?,
            validate_only: read_validate_only(&mut r)?,
            timeout_ms: r.u32("timeout_ms")?,
            configs: r.list("configs", CONFIGS_PER_TOPIC_MAX, 4, |r| {
                let key = r.string("key", SHORT_STRING_BYTES_MAX)?.to_owned();
                Ok((key, r.string("value", LONG_STRING_BYTES_MAX)?.to_owned()))
            })?,
        };
        r.finish()?;
        Ok(request)
    }
}

pub(super) fn write_validate_only(w: &mut Writer<'_>, validate_only: bool) {
    w.u8("flags", if validate_only { FLAG_VALIDATE_ONLY } else { 0 });
}

pub(super) fn read_validate_only(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match r.u8("flags")? {
        0 => Ok(false),
        FLAG_VALIDATE_ONLY => Ok(true),
        _ => Err(DecodeError::Invalid { field: "flags", why: "only bit 0 is defined" }),
    }
}

impl Message for CreateTopicReply {
    const API: Api = Api::CreateTopic;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.message("message", &self.message);
        w.uuid("id", &self.id, self.id.to_bytes());
        w.u32("partitions", self.partitions);
    }

    fn read(body: &[u8]) -> Result<CreateTopicReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = CreateTopicReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            message: r.string("message", LONG_STRING_BYTES_MAX)?.to_owned(),
            id: TopicId::from_bytes(r.uuid("id")?),
            partitions: r.u32("partitions")?,
        };
        r.finish()?;
        Ok(reply)
    }
}
