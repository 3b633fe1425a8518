//! Produce: record sets for one or several partitions, acknowledged as `acks` says.
//!
//!     request   acks, timeout, count │ count × ProduceEntry (24 bytes) │ record set │ record set │ …
//!     reply     throttle, count      │ count × ProduceResult (20 bytes), in the order of the request
//!
//! The record sets stand at the end, whole batches back to back, exactly as they will lie on disk.
//! With `acks = 0` there is no reply.

use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::PARTITIONS_PER_REQUEST_MAX;
use crate::model::{ErrorCode, Offset, PartitionIndex, TopicId};

/// When a produce is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acks {
    /// Never: no reply is sent, and an error shows nowhere but in the broker's counters.
    None,
    /// When the batch is durable on the leader.
    Leader,
    /// When the batch is durable on every replica in sync; on one node the same as `Leader`.
    #[default]
    All,
}

impl Acks {
    pub const fn to_wire(self) -> i8 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }

    pub const fn from_wire(value: i8) -> Option<Acks> {
        Some(match value {
            0 => Acks::None,
            1 => Acks::Leader,
            -1 => Acks::All,
            _ => return None,
        })
    }
}

/// Which partition a record set is for.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub struct ProduceEntry {
    topic: [u8; 16],
    partition: U32,
    records_len: U32,
}

const ENTRY_LEN: usize = 24;
const _: () = assert!(size_of::<ProduceEntry>() == ENTRY_LEN);

impl ProduceEntry {
    pub const LEN: usize = ENTRY_LEN;

    pub fn topic(&self) -> TopicId {
        TopicId::from_bytes(self.topic)
    }

    pub fn partition(&self) -> PartitionIndex {
        PartitionIndex::new(self.partition.get())
    }

    pub fn records_len(&self) -> usize {
        self.records_len.get() as usize
    }
}

/// A Produce request in place: borrows the frame's body.
#[derive(Clone, Copy)]
pub struct ProduceRequest<'a> {
    pub acks: Acks,
    pub timeout_ms: u32,
    entries: &'a [ProduceEntry],
    records: &'a [u8],
}

/// One record set of a request and where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducePartition<'a> {
    pub topic: TopicId,
    pub partition: PartitionIndex,
    pub records: &'a [u8],
}

impl<'a> ProduceRequest<'a> {
    /// Checks the whole body: the lengths of the record sets add up to what is there.
    pub fn parse(body: &'a [u8]) -> Result<ProduceRequest<'a>, DecodeError> {
        let mut r = Reader::new(body);
        let acks = Acks::from_wire(r.u8("acks")?.cast_signed())
            .ok_or(DecodeError::Invalid { field: "acks", why: "it must be -1, 0 or 1" })?;
        r.take("reserved", 3)?;
        let timeout_ms = r.u32("timeout_ms")?;
        let count = r.u32("partitions")? as usize;
        if count > PARTITIONS_PER_REQUEST_MAX {
            return Err(DecodeError::Invalid { field: "partitions", why: "the list is too long" });
        }
        let (entries, records) = <[ProduceEntry]>::ref_from_prefix_with_elems(r.rest(), count)
            .map_err(|_| DecodeError::Truncated { field: "partitions" })?;
        let records_len: usize = entries.iter().map(ProduceEntry::records_len).sum();
        match records.len().checked_sub(records_len) {
            None => Err(DecodeError::Truncated { field: "records" }),
            Some(0) => Ok(ProduceRequest { acks, timeout_ms, entries, records }),
            Some(extra) => Err(DecodeError::Trailing { extra }),
        }
    }

    pub fn partition_count(&self) -> usize {
        self.entries.len()
    }

    /// The record sets in the order of the request.
    pub fn partitions(&self) -> impl Iterator<Item = ProducePartition<'a>> + use<'a> {
        let mut rest = self.records;
        self.entries.iter().map(move |entry| {
            let (records, after) =
                rest.split_at_checked(entry.records_len()).expect("BUG: parse() has added up the lengths");
            rest = after;
            ProducePartition { topic: entry.topic(), partition: entry.partition(), records }
        })
    }

    /// Writes everything but the record sets, which the sender appends or sends after it.
    pub fn write_head(
        w: &mut Writer<'_>,
        acks: Acks,
        timeout_ms: u32,
        partitions: impl ExactSizeIterator<Item = (TopicId, PartitionIndex, usize)>,
    ) {
        w.u8("acks", acks.to_wire().cast_unsigned());
        w.reserved(3);
        w.u32("timeout_ms", timeout_ms);
        w.count("partitions", partitions.len());
        for (topic, partition, records_len) in partitions {
            w.uuid("topic", &topic, topic.to_bytes());
            w.u32("partition", partition.get());
            w.u32("records_len", u32::try_from(records_len).expect("BUG: a record set over 4 GiB"));
        }
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawResult {
    base_offset: I64,
    log_start_offset: I64,
    error: U16,
    reserved: U16,
}

/// What became of one record set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceResult {
    pub error: ErrorCode,
    /// Offset of the first record; `None` if the record set was refused.
    pub base_offset: Option<Offset>,
    /// First offset the partition still has; `None` if it is not known.
    pub log_start_offset: Option<Offset>,
}

impl ProduceResult {
    pub fn refused(error: ErrorCode) -> ProduceResult {
        ProduceResult { error, base_offset: None, log_start_offset: None }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProduceReply {
    /// Milliseconds the client is asked to wait before its next request; 0 without quotas.
    pub throttle_ms: u32,
    /// In the order of the request.
    pub partitions: Vec<ProduceResult>,
}

impl ProduceReply {
    /// As [`Message::write`], from borrowed results.
    pub fn write_parts(w: &mut Writer<'_>, throttle_ms: u32, partitions: &[ProduceResult]) {
        w.u32("throttle_ms", throttle_ms);
        w.count("partitions", partitions.len());
        for result in partitions {
            w.i64("base_offset", result.base_offset.map_or(-1, Offset::to_wire));
            w.i64("log_start_offset", result.log_start_offset.map_or(-1, Offset::to_wire));
            w.u16("error", result.error.to_wire());
            w.reserved(2);
        }
    }
}

impl Message for ProduceReply {
    const API: Api = Api::Produce;

    fn write(&self, w: &mut Writer<'_>) {
        ProduceReply::write_parts(w, self.throttle_ms, &self.partitions);
    }

    fn read(body: &[u8]) -> Result<ProduceReply, DecodeError> {
        let mut r = Reader::new(body);
        let throttle_ms = r.u32("throttle_ms")?;
        let count = r.u32("partitions")? as usize;
        let (raw, rest) = <[RawResult]>::ref_from_prefix_with_elems(r.rest(), count)
            .map_err(|_| DecodeError::Truncated { field: "partitions" })?;
        Reader::new(rest).finish()?;
        let partitions = raw
            .iter()
            .map(|raw| ProduceResult {
                error: ErrorCode::from_wire(raw.error.get()),
                base_offset: Offset::from_wire(raw.base_offset.get()),
                log_start_offset: Offset::from_wire(raw.log_start_offset.get()),
            })
            .collect();
        Ok(ProduceReply { throttle_ms, partitions })
    }
}
