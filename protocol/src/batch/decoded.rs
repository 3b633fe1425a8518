//! Records as a consumer's user gets them: owned, but still slices of one buffer.
//!
//!     none         batch ▭▭▭▭▭▭▭▭▭▭▭▭      key, value, headers: refcounted slices of the batch itself
//!     compressed   batch ▭▭▭ ─▶ ▭▭▭▭▭▭▭▭▭  one buffer for all records, slices of that
//!
//! A batch is checked as a whole (checksum, every length, the count) before its first record is handed
//! out: a consumer sees all of its records or an error. Reading the varints twice costs less than the
//! refcounts of the slices.

use std::fmt;

use bytes::{Buf, Bytes};

use super::codec::{self, Codec};
use super::record::{HeaderView, OffsetDeltas, RecordError, RecordIter, RecordView, split_record};
use super::view::{Batch, TimestampType};
use crate::model::{LeaderEpoch, Offset, RecordCount, Timestamp};

/// One record. Holding it holds the buffer of its whole batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRecord {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// In the order of the producer; a key may stand more than once.
    pub headers: Vec<Header>,
}

/// A name and a value beside a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub key: HeaderKey,
    pub value: Option<Bytes>,
}

/// Text that is a slice of the batch.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HeaderKey(Bytes);

impl HeaderKey {
    /// A slice of `buffer`. Bytes that are not UTF-8 become U+FFFD in a copy, as in Kafka's client: a
    /// batch that other clients read must not stop ours.
    fn slice(buffer: &Bytes, key: &[u8]) -> HeaderKey {
        match std::str::from_utf8(key) {
            Ok(_) => HeaderKey(buffer.slice_ref(key)),
            Err(_) => HeaderKey(Bytes::from(String::from_utf8_lossy(key).into_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("BUG: checked when it was made")
    }
}

impl From<&str> for HeaderKey {
    fn from(key: &str) -> HeaderKey {
        HeaderKey(Bytes::copy_from_slice(key.as_bytes()))
    }
}

impl PartialEq<str> for HeaderKey {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for HeaderKey {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A batch whose records are all readable; yields them in order.
#[derive(Clone, Debug)]
pub struct DecodedBatch {
    /// Records not yet taken; all their slices are slices of this.
    records: Bytes,
    base_offset: Offset,
    span: RecordCount,
    /// Records that are left in `records`.
    left: u32,
    deltas: OffsetDeltas,
    clock: Clock,
    leader_epoch: LeaderEpoch,
    is_control: bool,
}

/// Where a record's timestamp comes from.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Create { base: Timestamp },
    LogAppend { at: Timestamp },
}

/// Reads `bytes`, which are exactly one batch. `limit` bounds the decompressed records; records that
/// are not compressed are not copied and need no limit.
pub fn decode_batch(bytes: Bytes, limit: usize) -> Result<DecodedBatch, RecordError> {
    let (batch, rest) = Batch::split_first(&bytes)?;
    if !rest.is_empty() {
        return Err(RecordError::Leftover { bytes: rest.len() });
    }
    batch.check_crc()?;
    let records = match batch.codec() {
        Codec::None => bytes.slice_ref(batch.records_bytes()),
        codec => Bytes::from(codec::decompress(codec, batch.records_bytes(), limit)?),
    };
    for record in RecordIter::new(&batch, &records) {
        record?;
    }
    let clock = match batch.timestamp_type() {
        TimestampType::Create => Clock::Create { base: batch.base_timestamp() },
        TimestampType::LogAppend => Clock::LogAppend { at: batch.max_timestamp() },
    };
    Ok(DecodedBatch {
        base_offset: batch.base_offset(),
        span: batch.offset_span(),
        left: batch.record_count().get(),
        deltas: OffsetDeltas::of(&batch),
        clock,
        leader_epoch: batch.leader_epoch(),
        is_control: batch.is_control(),
        records,
    })
}

impl DecodedBatch {
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Where a consumer goes on after this batch.
    pub fn next_offset(&self) -> Offset {
        self.base_offset + self.span
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Whether the records are a broker's marks, which consumers skip.
    pub fn is_control(&self) -> bool {
        self.is_control
    }

    fn own(&self, record: RecordView<'_>) -> OwnedRecord {
        let timestamp = match self.clock {
            // Wraps as Java's addition does; the builder's subtraction is its inverse.
            Clock::Create { base } => {
                Timestamp::from_millis(base.millis().wrapping_add(record.timestamp_delta))
            }
            Clock::LogAppend { at } => at,
        };
        OwnedRecord {
            offset: self.base_offset + RecordCount::new(record.offset_delta),
            timestamp,
            key: record.key.map(|key| self.records.slice_ref(key)),
            value: record.value.map(|value| self.records.slice_ref(value)),
            headers: record.headers.map(|header| self.own_header(header)).collect(),
        }
    }

    fn own_header(&self, header: HeaderView<'_>) -> Header {
        Header {
            key: HeaderKey::slice(&self.records, header.key),
            value: header.value.map(|value| self.records.slice_ref(value)),
        }
    }
}

impl Iterator for DecodedBatch {
    type Item = OwnedRecord;

    fn next(&mut self) -> Option<OwnedRecord> {
        self.left = self.left.checked_sub(1)?;
        let (record, rest) =
            split_record(&self.records, &mut self.deltas).expect("BUG: decode_batch has read every record");
        let len = self.records.len() - rest.len();
        let owned = self.own(record);
        self.records.advance(len);
        Some(owned)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for DecodedBatch {}
impl std::iter::FusedIterator for DecodedBatch {}
