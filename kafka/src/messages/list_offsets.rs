//! ListOffsets: which offset a partition has at a time, and which are its first and its last.
//!
//!     timestamp   −1 latest ▸ −2 earliest ▸ −3 that of the largest timestamp (since 7) ▸ else first at or after
//!     response    offset and timestamp, −1 and −1 if there is none

use super::{OfTopic, Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};

/// Timestamp that asks for the offset after the last record.
pub const LATEST: i64 = -1;

/// Timestamp that asks for the first offset.
pub const EARLIEST: i64 = -2;

/// Timestamp that asks for the record with the largest timestamp.
pub const MAX_TIMESTAMP: i64 = -3;

/// A ListOffsets request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ListOffsetsRequest<'a> {
    /// −1 for consumers.
    pub replica_id: i32,
    /// 0 reads everything, 1 what is committed; since 2.
    pub isolation_level: i8,
    pub topics: List<'a, ListOffsetsTopic<'a>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ListOffsetsTopic<'a> {
    pub name: &'a str,
    pub partitions: List<'a, ListOffsetsPartition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOffsetsPartition {
    pub index: i32,
    /// −1 for any; since 4.
    pub current_leader_epoch: i32,
    pub timestamp: i64,
}

impl<'a> Read<'a> for ListOffsetsRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = ListOffsetsRequest {
            replica_id: r.i32("replica_id")?,
            isolation_level: if r.since(2) { r.i8("isolation_level")? } else { 0 },
            topics: r.list("topics")?,
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for ListOffsetsTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = ListOffsetsTopic { name: r.string("topic")?, partitions: r.list("partitions")? };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Read<'a> for ListOffsetsPartition {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let partition = ListOffsetsPartition {
            index: r.i32("partition")?,
            current_leader_epoch: if r.since(4) { r.i32("current_leader_epoch")? } else { -1 },
            timestamp: r.i64("timestamp")?,
        };
        r.skip_tags()?;
        Ok(partition)
    }
}

impl<'a> Request<'a> for ListOffsetsRequest<'a> {
    const API: Api = Api::ListOffsets;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListOffsetsResponse<'a> {
    /// Since 2.
    pub throttle_ms: i32,
    pub topics: Vec<OfTopic<'a, ListedOffset>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedOffset {
    pub index: i32,
    pub error: ErrorCode,
    /// Of the record that was found; −1 for none, for the latest and for the earliest.
    pub timestamp: i64,
    /// −1 for none.
    pub offset: i64,
    /// −1 if it is not known; since 4.
    pub leader_epoch: i32,
}

impl Response for ListOffsetsResponse<'_> {
    const API: Api = Api::ListOffsets;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(2) {
            w.i32(self.throttle_ms);
        }
        w.list(&self.topics, |w, topic| topic.write(w, |w, partition| partition.write(w)));
        w.no_tags();
    }
}

impl ListedOffset {
    fn write(&self, w: &mut Writer<'_>) {
        w.i32(self.index);
        w.error(self.error);
        w.i64(self.timestamp);
        w.i64(self.offset);
        if w.since(4) {
            w.i32(self.leader_epoch);
        }
        w.no_tags();
    }
}
