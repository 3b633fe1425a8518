//! AlterTopic: changes a topic's configuration; the answer comes when every shard goes by it.
//!
//!     retention.ms     = 3600000     Set: the topic's own value from now on
//!     cleanup.policy   none          Reset: the broker's default again
//!
//! All changes are made or none. Settings that are not named stay as they are.

use super::create_topic::{read_validate_only, write_validate_only};
use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::{CONFIGS_PER_TOPIC_MAX, LONG_STRING_BYTES_MAX, SHORT_STRING_BYTES_MAX};

/// What becomes of one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    Set(String),
    /// The broker's default again.
    Reset,
}

impl ConfigChange {
    /// The topic's own value; `None` if it has none any more.
    pub fn value(&self) -> Option<&str> {
        match self {
            ConfigChange::Set(value) => Some(value),
            ConfigChange::Reset => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterTopicRequest {
    pub name: String,
    /// Check only: answer as if, and change nothing.
    pub validate_only: bool,
    /// By Kafka's names: `segment.bytes`, `max.message.bytes`, …
    pub changes: Vec<(String, ConfigChange)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterTopicReply {
    pub error: ErrorCode,
    /// What is wrong, for people; empty if nothing is.
    pub message: String,
}

impl Message for AlterTopicRequest {
    const API: Api = Api::AlterTopic;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("name", &self.name);
        write_validate_only(w, self.validate_only);
        w.list("changes", &self.changes, |w, (key, change)| {
            w.string("key", key);
            w.optional_string("value", change.value());
        });
    }

    fn read(body: &[u8]) -> Result<AlterTopicRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = AlterTopicRequest {
            name: r.string("name", LONG_STRING_BYTES_MAX)?.to_owned(),
            validate_only: read_validate_only(&mut r)?,
            changes: r.list("changes", CONFIGS_PER_TOPIC_MAX, 4, |r| {
                let key = r.string("key", SHORT_STRING_BYTES_MAX)?.to_owned();
                let change = match r.optional_string("value", LONG_STRING_BYTES_MAX)? {
                    Some(value) => ConfigChange::Set(value.to_owned()),
                    None => ConfigChange::Reset,
                };
                Ok((key, change))
            })?,
        };
        r.finish()?;
        Ok(request)
    }
}

impl Message for AlterTopicReply {
    const API: Api = Api::AlterTopic;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.message("message", &self.message);
    }

    fn read(body: &[u8]) -> Result<AlterTopicReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = AlterTopicReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            message: r.string("message", LONG_STRING_BYTES_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(reply)
    }
}
