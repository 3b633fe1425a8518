//! OffsetFetch: how far a group has read, for some partitions or for all it has committed.
//!
//!     request   group, who asks, flags │ count × (topic, partition)
//!     reply     error │ count × (topic, partition, offset, epoch, metadata, error)
//!
//! A partition without a committed offset has offset −1 and no error.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::{LONG_STRING_BYTES_MAX, OFFSET_METADATA_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

const FLAG_ALL: u8 = 1 << 0;
const FLAG_REQUIRE_STABLE: u8 = 1 << 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OffsetSelection {
    /// Every partition that the group has committed.
    All,
    Of(Vec<(String, PartitionIndex)>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetFetchRequest {
    pub group: String,
    /// `None` without membership.
    pub member_id: Option<String>,
    /// −1 without membership.
    pub generation: i32,
    /// Whether an offset that a transaction may still change is refused (KIP-447).
    pub require_stable: bool,
    pub entries: OffsetSelection,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    pub topic: String,
    pub partition: PartitionIndex,
    /// `None` if the group has committed none.
    pub offset: Option<Offset>,
    pub leader_epoch: Option<LeaderEpoch>,
    pub metadata: Option<String>,
    pub error: ErrorCode,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetFetchReply {
    /// Of the whole request; a partition's own stands with it.
    pub error: ErrorCode,
    /// In the order of the request.
    pub entries: Vec<FetchedOffset>,
}

impl OffsetFetchReply {
    pub fn refused(error: ErrorCode) -> OffsetFetchReply {
        OffsetFetchReply { error, entries: Vec::new() }
    }
}

impl Message for OffsetFetchRequest {
    const API: Api = Api::OffsetFetch;

    fn write(&self, w: &mut Writer<'_>) {
        let (all, entries): (u8, &[_]) = match &self.entries {
            OffsetSelection::All => (FLAG_ALL, &[]),
            OffsetSelection::Of(entries) => (0, entries),
        };
        w.string("group", &self.group);
        w.optional_string("member_id", self.member_id.as_deref());
        w.i32("generation", self.generation);
        w.u8("flags", all | if self.require_stable { FLAG_REQUIRE_STABLE } else { 0 });
        write_partitions(w, entries);
    }

    fn read(body: &[u8]) -> Result<OffsetFetchRequest, DecodeError> {
        let mut r = Reader::new(body);
        let group = r.string("group", LONG_STRING_BYTES_MAX)?.to_owned();
        let member_id = r.optional_string("member_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned);
        let generation = r.i32("generation")?;
        let flags = r.u8("flags")?;
        if flags & !(FLAG_ALL | FLAG_REQUIRE_STABLE) != 0 {
            return Err(DecodeError::Invalid { field: "flags", why: "only bits 0 and 1 are defined" });
        }
        let named = read_partitions(&mut r)?;
        r.finish()?;
        let entries = if flags & FLAG_ALL != 0 { OffsetSelection::All } else { OffsetSelection::Of(named) };
        let require_stable = flags & FLAG_REQUIRE_STABLE != 0;
        Ok(OffsetFetchRequest { group, member_id, generation, require_stable, entries })
    }
}

pub(super) fn write_partitions(w: &mut Writer<'_>, entries: &[(String, PartitionIndex)]) {
    w.list("entries", entries, |w, (topic, partition)| {
        w.string("topic", topic);
        w.u32("partition", partition.get());
    });
}

pub(super) fn read_partitions(r: &mut Reader<'_>) -> Result<Vec<(String, PartitionIndex)>, DecodeError> {
    r.list("entries", PARTITIONS_PER_REQUEST_MAX, 6, |r| {
        let topic = r.string("topic", LONG_STRING_BYTES_MAX)?.to_owned();
        Ok((topic, PartitionIndex::new(r.u32("partition")?)))
    })
}

impl FetchedOffset {
    fn read(r: &mut Reader<'_>) -> Result<FetchedOffset, DecodeError> {
        Ok(FetchedOffset {
            topic: r.string("topic", LONG_STRING_BYTES_MAX)?.to_owned(),
            partition: PartitionIndex::new(r.u32("partition")?),
            offset: Offset::from_wire(r.u64("offset")?.cast_signed()),
            leader_epoch: Some(r.i32("leader_epoch")?).filter(|epoch| *epoch >= 0).map(LeaderEpoch::new),
            metadata: r.optional_string("metadata", OFFSET_METADATA_BYTES_MAX)?.map(str::to_owned),
            error: ErrorCode::from_wire(r.u16("error")?),
        })
    }
}

impl Message for OffsetFetchReply {
    const API: Api = Api::OffsetFetch;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.list("entries", &self.entries, |w, entry| {
            w.string("topic", &entry.topic);
            w.u32("partition", entry.partition.get());
            w.i64("offset", entry.offset.map_or(-1, Offset::to_wire));
            w.i32("leader_epoch", entry.leader_epoch.map_or(-1, LeaderEpoch::get));
            w.optional_string("metadata", entry.metadata.as_deref());
            w.u16("error", entry.error.to_wire());
        });
    }

    fn read(body: &[u8]) -> Result<OffsetFetchReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = OffsetFetchReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            // All that a group has committed may be more than one request can name.
            entries: r.list("entries", usize::MAX, 22, FetchedOffset::read)?,
        };
        r.finish()?;
        Ok(reply)
    }
}
