//! Fetch: record sets from given offsets on, waiting up to `max_wait` for `min_bytes` of them.
//!
//!     request   limits, count    │ count × FetchEntry (36 bytes)
//!     reply     throttle, count  │ count × result (32 bytes), in the order of the request │ record sets
//!
//! A record set holds whole batches as they lie on disk and begins with the batch that contains the
//! offset asked for: the client drops the records before it. The first batch of a reply is sent
//! whole even where it passes a byte limit, so a reader always gets on (KIP-74).

use bytes::Bytes;
use zerocopy::little_endian::{I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Api;
use super::wire::{DecodeError, Reader, Writer};
use crate::model::limits::PARTITIONS_PER_REQUEST_MAX;
use crate::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};

/// What holds for a whole fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchParams {
    /// How long the broker may wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: u32,
    /// Answer at once when this many bytes are there; 0 answers at once anyway.
    pub min_bytes: u32,
    /// Most bytes of record sets in the reply, except for its first batch.
    pub max_bytes: u32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    topic: [u8; 16],
    partition: U32,
    leader_epoch: I32,
    fetch_offset: U64,
    max_bytes: U32,
}

const ENTRY_LEN: usize = 36;
const _: () = assert!(size_of::<RawEntry>() == ENTRY_LEN);

/// One partition of a fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchEntry {
    pub topic: TopicId,
    pub partition: PartitionIndex,
    /// What the client believes the partition's epoch to be; `None` to skip the check (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    pub fetch_offset: Offset,
    /// Most bytes of this partition.
    pub max_bytes: u32,
}

/// A Fetch request in place: borrows the frame's body. One that names a partition twice is refused.
#[derive(Clone, Copy)]
pub struct FetchRequest<'a> {
    pub params: FetchParams,
    entries: &'a [RawEntry],
}

impl<'a> FetchRequest<'a> {
    pub const API: Api = Api::Fetch;

    pub fn parse(body: &'a [u8]) -> Result<FetchRequest<'a>, DecodeError> {
        let mut r = Reader::new(body);
        let params = FetchParams {
            max_wait_ms: r.u32("max_wait_ms")?,
            min_bytes: r.u32("min_bytes")?,
            max_bytes: r.u32("max_bytes")?,
        };
        let isolation = r.u8("isolation")?;
        if isolation != 0 {
            return Err(DecodeError::Invalid {
                field: "isolation",
                why: "only read uncommitted (0) is defined",
            });
        }
        r.take("reserved", 3)?;
        let count = r.u32("partitions")? as usize;
        if count > PARTITIONS_PER_REQUEST_MAX {
            return Err(DecodeError::Invalid { field: "partitions", why: "the list is too long" });
        }
        let (entries, rest) = <[RawEntry]>::ref_from_prefix_with_elems(r.rest(), count)
            .map_err(|_| DecodeError::Truncated { field: "partitions" })?;
        Reader::new(rest).finish()?;
        if entries.iter().any(|entry| entry.fetch_offset.get() > Offset::MAX.get()) {
            return Err(DecodeError::Invalid {
                field: "fetch_offset",
                why: "it is above the largest offset",
            });
        }
        Ok(FetchRequest { params, entries })
    }

    pub fn partition_count(&self) -> usize {
        self.entries.len()
    }

    pub fn partitions(&self) -> impl Iterator<Item = FetchEntry> + use<'a> {
        self.entries.iter().map(|raw| FetchEntry {
            topic: TopicId::from_bytes(raw.topic),
            partition: PartitionIndex::new(raw.partition.get()),
            leader_epoch: Some(raw.leader_epoch.get()).filter(|epoch| *epoch >= 0).map(LeaderEpoch::new),
            fetch_offset: Offset::new(raw.fetch_offset.get()),
            max_bytes: raw.max_bytes.get(),
        })
    }

    pub fn write(w: &mut Writer<'_>, params: FetchParams, entries: &[FetchEntry]) {
        w.u32("max_wait_ms", params.max_wait_ms);
        w.u32("min_bytes", params.min_bytes);
        w.u32("max_bytes", params.max_bytes);
        w.u8("isolation", 0);
        w.reserved(3);
        w.list("partitions", entries, |w, entry| {
            w.uuid("topic", &entry.topic, entry.topic.to_bytes());
            w.u32("partition", entry.partition.get());
            w.i32("leader_epoch", entry.leader_epoch.map_or(-1, LeaderEpoch::get));
            w.u64("fetch_offset", entry.fetch_offset.get());
            w.u32("max_bytes", entry.max_bytes);
        });
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawResult {
    high_watermark: I64,
    last_stable_offset: I64,
    log_start_offset: I64,
    records_len: U32,
    error: U16,
    reserved: U16,
}

const _: () = assert!(size_of::<RawResult>() == 32);

/// What a fetch found in one partition, without the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchResult {
    pub error: ErrorCode,
    /// The first offset that is not committed yet; `None` with most errors.
    pub high_watermark: Option<Offset>,
    /// Equal to the high watermark until transactions exist.
    pub last_stable_offset: Option<Offset>,
    /// First offset the partition still has.
    pub log_start_offset: Option<Offset>,
    pub records_len: u32,
}

impl FetchResult {
    pub fn refused(error: ErrorCode) -> FetchResult {
        FetchResult {
            error,
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
            records_len: 0,
        }
    }
}

/// A result and its record set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedPartition {
    pub result: FetchResult,
    /// Whole batches; a slice of the reply's body.
    pub records: Bytes,
}

/// A Fetch reply as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchReply {
    pub throttle_ms: u32,
    /// In the order of the request.
    pub partitions: Vec<FetchedPartition>,
}

impl FetchReply {
    /// Writes everything but the record sets, which the sender sends after it from where they lie.
    pub fn write_head(w: &mut Writer<'_>, throttle_ms: u32, results: &[FetchResult]) {
        w.u32("throttle_ms", throttle_ms);
        w.count("partitions", results.len());
        for result in results {
            w.i64("high_watermark", result.high_watermark.map_or(-1, Offset::to_wire));
            w.i64("last_stable_offset", result.last_stable_offset.map_or(-1, Offset::to_wire));
            w.i64("log_start_offset", result.log_start_offset.map_or(-1, Offset::to_wire));
            w.u32("records_len", result.records_len);
            w.u16("error", result.error.to_wire());
            w.reserved(2);
        }
    }

    /// Reads a reply; the record sets are slices of `body`, not copies.
    pub fn parse(body: &Bytes) -> Result<FetchReply, DecodeError> {
        let mut r = Reader::new(body);
        let throttle_ms = r.u32("throttle_ms")?;
        let count = r.u32("partitions")? as usize;
        let (raw, records) = <[RawResult]>::ref_from_prefix_with_elems(r.rest(), count)
            .map_err(|_| DecodeError::Truncated { field: "partitions" })?;
        let mut rest = body.slice_ref(records);
        let mut partitions = Vec::with_capacity(raw.len());
        for raw in raw {
            let records_len = raw.records_len.get();
            if records_len as usize > rest.len() {
                return Err(DecodeError::Truncated { field: "records" });
            }
            let result = FetchResult {
                error: ErrorCode::from_wire(raw.error.get()),
                high_watermark: Offset::from_wire(raw.high_watermark.get()),
                last_stable_offset: Offset::from_wire(raw.last_stable_offset.get()),
                log_start_offset: Offset::from_wire(raw.log_start_offset.get()),
                records_len,
            };
            partitions.push(FetchedPartition { result, records: rest.split_to(records_len as usize) });
        }
        match rest.len() {
            0 => Ok(FetchReply { throttle_ms, partitions }),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}
