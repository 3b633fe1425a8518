//! ListOffsets: the first offset, the next one, or the first record at or after a time.
//!
//!     request   count │ count × entry (32 bytes)
//!     reply     count │ count × result (24 bytes), in the order of the request

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::PARTITIONS_PER_REQUEST_MAX;
use crate::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

/// Which offset is asked for. On the wire a time, or one of Kafka's negative numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetSpec {
    /// The first offset the partition still has.
    Earliest,
    /// The high watermark: where the next committed record will be.
    Latest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record whose timestamp is this or later.
    AtOrAfter(Timestamp),
}

impl OffsetSpec {
    const LATEST: i64 = -1;
    const EARLIEST: i64 = -2;
    const MAX_TIMESTAMP: i64 = -3;

    pub fn to_wire(self) -> i64 {
        match self {
            OffsetSpec::Latest => OffsetSpec::LATEST,
            OffsetSpec::Earliest => OffsetSpec::EARLIEST,
            OffsetSpec::MaxTimestamp => OffsetSpec::MAX_TIMESTAMP,
            OffsetSpec::AtOrAfter(time) => time.millis().max(0),
        }
    }

    pub fn from_wire(value: i64) -> Option<OffsetSpec> {
        Some(match value {
            OffsetSpec::LATEST => OffsetSpec::Latest,
            OffsetSpec::EARLIEST => OffsetSpec::Earliest,
            OffsetSpec::MAX_TIMESTAMP => OffsetSpec::MaxTimestamp,
            0.. => OffsetSpec::AtOrAfter(Timestamp::from_millis(value)),
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOffsetsEntry {
    pub topic: TopicId,
    pub partition: PartitionIndex,
    /// `None` to skip the check (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    pub spec: OffsetSpec,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListOffsetsRequest {
    pub partitions: Vec<ListOffsetsEntry>,
}

/// `offset` is `None` where no record is as late as the time asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOffsetsResult {
    pub error: ErrorCode,
    pub leader_epoch: Option<LeaderEpoch>,
    pub offset: Option<Offset>,
    /// Timestamp of the record found; [`Timestamp::NONE`] for earliest and latest.
    pub timestamp: Timestamp,
}

impl ListOffsetsResult {
    pub fn refused(error: ErrorCode) -> ListOffsetsResult {
        ListOffsetsResult { error, leader_epoch: None, offset: None, timestamp: Timestamp::NONE }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListOffsetsReply {
    /// In the order of the request.
    pub partitions: Vec<ListOffsetsResult>,
}

impl Message for ListOffsetsRequest {
    const API: Api = Api::ListOffsets;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("partitions", &self.partitions, |w, entry| {
            w.uuid("topic", &entry.topic, entry.topic.to_bytes());
            w.u32("partition", entry.partition.get());
            w.i32("leader_epoch", entry.leader_epoch.map_or(-1, LeaderEpoch::get));
            w.i64("timestamp", entry.spec.to_wire());
        });
    }

    fn read(body: &[u8]) -> Result<ListOffsetsRequest, DecodeError> {
        let mut r = Reader::new(body);
        let partitions = r.list("partitions", PARTITIONS_PER_REQUEST_MAX, 32, |r| {
            Ok(ListOffsetsEntry {
                topic: TopicId::from_bytes(r.uuid("topic")?),
                partition: PartitionIndex::new(r.u32("partition")?),
                leader_epoch: Some(r.i32("leader_epoch")?).filter(|epoch| *epoch >= 0).map(LeaderEpoch::new),
                spec: OffsetSpec::from_wire(r.u64("timestamp")?.cast_signed()).ok_or(
                    DecodeError::Invalid {
                        field: "timestamp",
                        why: "below 0 only -1 (latest) and -2 (earliest) are defined",
                    },
                )?,
            })
        })?;
        r.finish()?;
        Ok(ListOffsetsRequest { partitions })
    }
}

impl Message for ListOffsetsReply {
    const API: Api = Api::ListOffsets;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("partitions", &self.partitions, |w, result| {
            w.u16("error", result.error.to_wire());
            w.reserved(2);
            w.i32("leader_epoch", result.leader_epoch.map_or(-1, LeaderEpoch::get));
            w.i64("offset", result.offset.map_or(-1, Offset::to_wire));
            w.i64("timestamp", result.timestamp.millis());
        });
    }

    fn read(body: &[u8]) -> Result<ListOffsetsReply, DecodeError> {
        let mut r = Reader::new(body);
        let partitions = r.list("partitions", PARTITIONS_PER_REQUEST_MAX, 24, |r| {
            let error = ErrorCode::from_wire(r.u16("error")?);
            r.take("reserved", 2)?;
            Ok(ListOffsetsResult {
                error,
                leader_epoch: Some(r.i32("leader_epoch")?).filter(|epoch| *epoch >= 0).map(LeaderEpoch::new),
                offset: Offset::from_wire(r.u64("offset")?.cast_signed()),
                timestamp: Timestamp::from_millis(r.u64("timestamp")?.cast_signed()),
            })
        })?;
        r.finish()?;
        Ok(ListOffsetsReply { partitions })
    }
}
