//! OffsetCommit: how far a group has read; the answer comes when that is durable.
//!
//!     request   group, who commits, count │ count × (topic, partition, offset, epoch, metadata)
//!     reply     count │ count × error, in the order of the request
//!
//! The offset is that of the next record to read. Who is no member of the group commits with
//! generation −1 and an empty member id, as long as the group has no members.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::{LONG_STRING_BYTES_MAX, OFFSET_METADATA_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitEntry {
    /// By name, because a group's offsets outlive what the name stands for.
    pub topic: String,
    pub partition: PartitionIndex,
    /// Of the next record to read.
    pub offset: Offset,
    /// Of the last record that was read (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own, kept beside the offset.
    pub metadata: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitRequest {
    pub group: String,
    /// −1 without membership.
    pub generation: i32,
    /// Empty without membership.
    pub member_id: String,
    pub instance_id: Option<String>,
    pub entries: Vec<OffsetCommitEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitReply {
    /// In the order of the request.
    pub errors: Vec<ErrorCode>,
}

impl Message for OffsetCommitRequest {
    const API: Api = Api::OffsetCommit;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("group", &self.group);
        w.i32("generation", self.generation);
        w.string("member_id", &self.member_id);
        w.optional_string("instance_id", self.instance_id.as_deref());
        w.list("entries", &self.entries, |w, entry| {
            w.string("topic", &entry.topic);
            w.u32("partition", entry.partition.get());
            w.i64("offset", entry.offset.to_wire());
            w.i32("leader_epoch", entry.leader_epoch.map_or(-1, LeaderEpoch::get));
            w.optional_string("metadata", entry.metadata.as_deref());
        });
    }

    fn read(body: &[u8]) -> Result<OffsetCommitRequest, DecodeError> {
        let mut r = Reader::new(body);
        let request = OffsetCommitRequest {
            group: r.string("group", LONG_STRING_BYTES_MAX)?.to_owned(),
            generation: r.i32("generation")?,
            member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
            instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
            entries: r.list("entries", PARTITIONS_PER_REQUEST_MAX, 20, OffsetCommitEntry::read)?,
        };
        r.finish()?;
        Ok(request)
    }
}

impl OffsetCommitEntry {
    fn read(r: &mut Reader<'_>) -> Result<OffsetCommitEntry, DecodeError> {
        Ok(OffsetCommitEntry {
            topic: r.string("topic", LONG_STRING_BYTES_MAX)?.to_owned(),
            partition: PartitionIndex::new(r.u32("partition")?),
            offset: Offset::from_wire(r.u64("offset")?.cast_signed())
                .ok_or(DecodeError::Invalid { field: "offset", why: "it must not be below 0" })?,
            leader_epoch: Some(r.i32("leader_epoch")?).filter(|epoch| *epoch >= 0).map(LeaderEpoch::new),
            metadata: r.optional_string("metadata", OFFSET_METADATA_BYTES_MAX)?.map(str::to_owned),
        })
    }
}

impl Message for OffsetCommitReply {
    const API: Api = Api::OffsetCommit;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("errors", &self.errors, |w, error| w.u16("error", error.to_wire()));
    }

    fn read(body: &[u8]) -> Result<OffsetCommitReply, DecodeError> {
        let mut r = Reader::new(body);
        let errors =
            r.list("errors", PARTITIONS_PER_REQUEST_MAX, 2, |r| r.u16("error").map(ErrorCode::from_wire))?;
        r.finish()?;
        Ok(OffsetCommitReply { errors })
    }
}
