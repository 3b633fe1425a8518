//! DeleteRecords: the beginning of a partition is gone when the answer comes, for every reader.
//!
//!     request   timeout │ count │ count × entry (28 bytes)
//!     reply     count │ count × result (16 bytes), in the order of the request

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::PARTITIONS_PER_REQUEST_MAX;
use crate::model::{ErrorCode, Offset, PartitionIndex, TopicId};

/// What the wire has for "up to the high watermark".
const HIGH_WATERMARK: i64 = -1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeleteRecordsEntry {
    pub topic: TopicId,
    pub partition: PartitionIndex,
    /// The first offset to keep; `None` for the high watermark, so that nothing is kept.
    pub before: Option<Offset>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteRecordsRequest {
    pub timeout_ms: u32,
    pub partitions: Vec<DeleteRecordsEntry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeleteRecordsResult {
    pub error: ErrorCode,
    /// The first offset that the partition has now; it may be above the one asked for.
    pub low_watermark: Option<Offset>,
}

impl DeleteRecordsResult {
    pub fn refused(error: ErrorCode) -> DeleteRecordsResult {
        DeleteRecordsResult { error, low_watermark: None }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteRecordsReply {
    /// In the order of the request.
    pub partitions: Vec<DeleteRecordsResult>,
}

impl Message for DeleteRecordsRequest {
    const API: Api = Api::DeleteRecords;

    fn write(&self, w: &mut Writer<'_>) {
        w.u32("timeout_ms", self.timeout_ms);
        w.list("partitions", &self.partitions, |w, entry| {
            w.uuid("topic", &entry.topic, entry.topic.to_bytes());
            w.u32("partition", entry.partition.get());
            w.i64("before", entry.before.map_or(HIGH_WATERMARK, Offset::to_wire));
        });
    }

    fn read(body: &[u8]) -> Result<DeleteRecordsRequest, DecodeError> {
        let mut r = Reader::new(body);
        let timeout_ms = r.u32("timeout_ms")?;
        let partitions = r.list("partitions", PARTITIONS_PER_REQUEST_MAX, 28, |r| {
            Ok(DeleteRecordsEntry {
                topic: TopicId::from_bytes(r.uuid("topic")?),
                partition: PartitionIndex::new(r.u32("partition")?),
                before: match r.u64("before")?.cast_signed() {
                    HIGH_WATERMARK => None,
                    offset => Some(Offset::from_wire(offset).ok_or(DecodeError::Invalid {
                        field: "before",
                        why: "below 0 only -1 (the high watermark) is defined",
                    })?),
                },
            })
        })?;
        r.finish()?;
        Ok(DeleteRecordsRequest { timeout_ms, partitions })
    }
}

impl Message for DeleteRecordsReply {
    const API: Api = Api::DeleteRecords;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("partitions", &self.partitions, |w, result| {
            w.u16("error", result.error.to_wire());
            w.reserved(6);
            w.i64("low_watermark", result.low_watermark.map_or(-1, Offset::to_wire));
        });
    }

    fn read(body: &[u8]) -> Result<DeleteRecordsReply, DecodeError> {
        let mut r = Reader::new(body);
        let partitions = r.list("partitions", PARTITIONS_PER_REQUEST_MAX, 16, |r| {
            let error = ErrorCode::from_wire(r.u16("error")?);
            r.take("reserved", 6)?;
            let low_watermark = Offset::from_wire(r.u64("low_watermark")?.cast_signed());
            Ok(DeleteRecordsResult { error, low_watermark })
        })?;
        r.finish()?;
        Ok(DeleteRecordsReply { partitions })
    }
}
