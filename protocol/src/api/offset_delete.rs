//! OffsetDelete: a group forgets how far it has read some partitions (KIP-496).
//!
//! A partition of a topic that a member subscribes to keeps its offset (`GroupSubscribedToTopic`).

use super::offset_fetch::{read_partitions, write_partitions};
use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::{LONG_STRING_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::model::{ErrorCode, PartitionIndex};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetDeleteRequest {
    pub group: String,
    pub entries: Vec<(String, PartitionIndex)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetDeleteReply {
    /// Of the whole request.
    pub error: ErrorCode,
    /// In the order of the request; empty with an error of the whole.
    pub errors: Vec<ErrorCode>,
}

impl OffsetDeleteReply {
    pub fn refused(error: ErrorCode) -> OffsetDeleteReply {
        OffsetDeleteReply { error, errors: Vec::new() }
    }
}

impl Message for OffsetDeleteRequest {
    const API: Api = Api::OffsetDelete;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("group", &self.group);
        write_partitions(w, &self.entries);
    }

    fn read(body: &[u8]) -> Result<OffsetDeleteRequest, DecodeError> {
        let mut r = Reader::new(body);
        let group = r.string("group", LONG_STRING_BYTES_MAX)?.to_owned();
        let entries = read_partitions(&mut r)?;
        r.finish()?;
        Ok(OffsetDeleteRequest { group, entries })
    }
}

impl Message for OffsetDeleteReply {
    const API: Api = Api::OffsetDelete;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.list("errors", &self.errors, |w, error| w.u16("error", error.to_wire()));
    }

    fn read(body: &[u8]) -> Result<OffsetDeleteReply, DecodeError> {
        let mut r = Reader::new(body);
        let error = ErrorCode::from_wire(r.u16("error")?);
        let errors =
            r.list("errors", PARTITIONS_PER_REQUEST_MAX, 2, |r| r.u16("error").map(ErrorCode::from_wire))?;
        r.finish()?;
        Ok(OffsetDeleteReply { error, errors })
    }
}
