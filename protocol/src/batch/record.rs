//! A record: lengths in front of bytes, every number a varint.
//!
//!     length │ 00 │ Δtimestamp │ Δoffset │ keyLen, key │ valueLen, value │ n │ ( keyLen, key, valueLen, value )…
//!      └──────────────── counts what follows ──────────────────────────────────────── headers ──────┘
//!
//! A length of −1 is null: no key, or a tombstone's value. Deltas count from the batch's base offset
//! and base timestamp. A record without key and headers costs 7 bytes beside a small value in a small
//! batch, 11 beside 100 bytes in a batch of a thousand.
//!
//! [`RecordIter`] takes bytes that a producer made, which a checksum does not make true: it accepts
//! exactly the records that the header announced, with offsets in order and no byte left over.

use super::codec::DecompressError;
use super::error::BatchError;
use super::varint::{Walk, take_varint, take_varlong};
use super::view::Batch;

/// They have no meaning yet.
const ATTRIBUTES_LEN: usize = 1;

/// One record, in place.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    pub offset_delta: u32,
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: HeadersIter<'a>,
    /// The record's bytes from the offset delta on, for who writes it again with another timestamp
    /// delta.
    pub(super) after_timestamp: &'a [u8],
}

/// One header of a record, in place. The key is UTF-8 by the format's rule, which nobody enforces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderView<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Why a batch's records cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    #[error("record {index} of the batch: {fault}")]
    Record { index: u32, fault: RecordFault },
    #[error("{bytes} bytes follow the last record")]
    Leftover { bytes: usize },
}

/// What is wrong with one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    #[error("its length is missing, or more than there is")]
    Length,
    #[error("its attributes are missing")]
    Attributes,
    #[error("its timestamp is not a number")]
    Timestamp,
    #[error("its offset is not the one that follows")]
    Offset,
    #[error("its key is cut")]
    Key,
    #[error("its value is cut")]
    Value,
    #[error("its header count is not a number, or more than there is room for")]
    HeaderCount,
    #[error("one of its headers is cut")]
    Header,
    #[error("it is longer than its fields")]
    Leftover,
}

/// Records in order; ends after the first error, which may come behind the last record.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    index: u32,
    count: u32,
    deltas: OffsetDeltas,
}

/// The offsets that the next record of a batch may have: above the one before it, and leaving room
/// for those behind it. A batch that was never compacted has one choice each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetDeltas {
    low: u32,
    high: u32,
}

impl OffsetDeltas {
    pub fn of(batch: &Batch<'_>) -> OffsetDeltas {
        OffsetDeltas { low: 0, high: batch.offset_span().get() - batch.record_count().get() }
    }

    /// Takes `delta` for the next record's; `None` if it cannot be.
    #[inline]
    fn take(&mut self, delta: u32) -> Option<u32> {
        let allowed = self.low <= delta && delta <= self.high;
        // Below 2^31 both, as the header's fields are.
        (self.low, self.high) = (delta.saturating_add(1), self.high.saturating_add(1));
        allowed.then_some(delta)
    }
}

impl<'a> RecordIter<'a> {
    /// `records` are the batch's `records_bytes`, decompressed.
    pub fn new(batch: &Batch<'_>, records: &'a [u8]) -> RecordIter<'a> {
        let deltas = OffsetDeltas::of(batch);
        RecordIter { rest: records, index: 0, count: batch.record_count().get(), deltas }
    }

    /// The rest once all records are taken: nothing, or an error.
    fn finish(&mut self) -> Option<RecordError> {
        let bytes = std::mem::take(&mut self.rest).len();
        (bytes > 0).then_some(RecordError::Leftover { bytes })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index == self.count {
            return self.finish().map(Err);
        }
        match split_record(self.rest, &mut self.deltas) {
            Ok((record, rest)) => {
                self.rest = rest;
                self.index += 1;
                Some(Ok(record))
            }
            Err(fault) => {
                self.rest = Default::default();
                self.index = self.count;
                Some(Err(RecordError::Record { index, fault }))
            }
        }
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// Whether `bytes` are `count` records without a gap in their offsets, as [`RecordIter`] accepts them,
/// and nothing besides. Every uncompressed batch pays this in the broker: 8 ns a record of 100 bytes,
/// where the iterator takes 15.
pub(super) fn are_records(bytes: &[u8], count: u32) -> bool {
    let mut walk = Walk::new(bytes);
    let all = (0..count).all(|index| walk_record(&mut walk, index).is_some());
    all && walk.at() == bytes.len()
}

/// Steps over the record with this offset delta. No field is held against the record's end before the
/// last of them: the walk only goes forward, and the last one must end there.
#[inline]
fn walk_record(walk: &mut Walk<'_>, index: u32) -> Option<()> {
    let len = usize::try_from(walk.varint()?).ok()?;
    let end = walk.at() + len;
    walk.skip(ATTRIBUTES_LEN);
    walk.unsigned()?; // the timestamp
    let delta = walk.varint()?;
    if delta.cast_unsigned() != index {
        return None;
    }
    walk_bytes(walk)?;
    walk_bytes(walk)?;
    for _ in 0..u32::try_from(walk.varint()?).ok()? {
        let key_len = usize::try_from(walk.varint()?).ok()?;
        walk.skip(key_len);
        walk_bytes(walk)?;
    }
    (walk.at() == end).then_some(())
}

/// Steps over a length and as many bytes.
#[inline]
fn walk_bytes(walk: &mut Walk<'_>) -> Option<()> {
    match walk.varint()? {
        -1 => {}
        len => walk.skip(usize::try_from(len).ok()?),
    }
    Some(())
}

/// The record that `bytes` begin with, and what follows it.
#[inline]
pub(super) fn split_record<'a>(
    bytes: &'a [u8],
    deltas: &mut OffsetDeltas,
) -> Result<(RecordView<'a>, &'a [u8]), RecordFault> {
    let mut rest = bytes;
    let mut body = match take_bytes(&mut rest) {
        Some(Some(body)) => body,
        _ => return Err(RecordFault::Length),
    };
    // The attributes have no meaning yet; a reader accepts all.
    let (_, after_attributes) = body.split_first().ok_or(RecordFault::Attributes)?;
    body = after_attributes;
    let timestamp_delta = take_varlong(&mut body).ok_or(RecordFault::Timestamp)?;
    let after_timestamp = body;
    let offset_delta = take_varint(&mut body).and_then(|delta| u32::try_from(delta).ok());
    let offset_delta = offset_delta.and_then(|delta| deltas.take(delta)).ok_or(RecordFault::Offset)?;
    let key = take_bytes(&mut body).ok_or(RecordFault::Key)?;
    let value = take_bytes(&mut body).ok_or(RecordFault::Value)?;
    let headers = take_headers(body)?;
    Ok((RecordView { offset_delta, timestamp_delta, key, value, headers, after_timestamp }, rest))
}

/// A length and as many bytes; `Some(None)` for the length −1.
#[inline]
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = take_varint(bytes)?;
    if len == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}

/// The headers, which are the rest of the record; walks them once, so that the iterator cannot fail.
#[inline]
fn take_headers(mut body: &[u8]) -> Result<HeadersIter<'_>, RecordFault> {
    let count = take_varint(&mut body).and_then(|count| usize::try_from(count).ok());
    // A header takes two bytes or more: a count that cannot fit is refused before anybody reserves by it.
    let remaining = count.filter(|count| *count <= body.len() / 2).ok_or(RecordFault::HeaderCount)?;
    let headers = HeadersIter { rest: body, remaining };
    for _ in 0..remaining {
        take_header(&mut body).ok_or(RecordFault::Header)?;
    }
    if body.is_empty() { Ok(headers) } else { Err(RecordFault::Leftover) }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<HeaderView<'a>> {
    let key = take_bytes(bytes)??;
    let value = take_bytes(bytes)?;
    Some(HeaderView { key, value })
}

/// Headers in the order of the producer, equal keys among them.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
    remaining: usize,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        take_header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key "k", value "v", header "h" = "x", all deltas 0.
    const RECORD: [u8; 13] = *b"\x18\x00\x00\x00\x02k\x02v\x02\x02h\x02x";

    fn with(at: usize, byte: u8) -> [u8; 13] {
        let mut bytes = RECORD;
        bytes[at] = byte;
        bytes
    }

    fn fault_of(bytes: &[u8]) -> Option<RecordFault> {
        split_record(bytes, &mut OffsetDeltas { low: 0, high: 0 }).err()
    }

    fn fault_with(at: usize, byte: u8) -> Option<RecordFault> {
        fault_of(&with(at, byte))
    }

    /// Whether a broker takes it as the one record of a batch.
    fn passes(bytes: &[u8]) -> bool {
        are_records(bytes, 1)
    }

    #[test]
    fn fields_are_read_in_place() {
        let (record, rest) = split_record(&RECORD, &mut OffsetDeltas { low: 0, high: 0 }).unwrap();
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!((record.offset_delta, record.timestamp_delta), (0, 0));
        let headers: Vec<_> = record.headers.collect();
        assert_eq!(headers, [HeaderView { key: b"h", value: Some(b"x") }]);
        assert!(rest.is_empty());
    }

    #[test]
    fn lengths_below_null_are_refused() {
        for (bytes, fault) in [
            (b"\x0c\0\0\0\x01\x01\0", None), // no key, no value, no headers
            (b"\x0c\0\0\0\x03\x01\0", Some(RecordFault::Key)), // -2
            (b"\x0c\0\0\0\x01\x03\0", Some(RecordFault::Value)), // -2
        ] {
            assert_eq!(fault_of(bytes), fault, "{bytes:x?}");
            assert_eq!(passes(bytes), fault.is_none(), "{bytes:x?}");
        }
        for (bytes, fault) in [
            (b"\x10\0\0\0\x01\x01\x02\0\x01", None), // a header "" of null
            (b"\x10\0\0\0\x01\x01\x02\x01\x01", Some(RecordFault::Header)), // its key is null
            (b"\x10\0\0\0\x01\x01\x02\0\x03", Some(RecordFault::Header)), // its value has -2 bytes
        ] {
            assert_eq!(fault_of(bytes), fault, "{bytes:x?}");
            assert_eq!(passes(bytes), fault.is_none(), "{bytes:x?}");
        }
    }

    #[test]
    fn every_length_that_lies_is_named() {
        use RecordFault::*;
        for (at, byte, fault) in [
            (0, 0x1a, Length),      // one byte more than there is
            (0, 0x01, Length),      // null
            (0, 0x00, Attributes),  // nothing in it
            (2, 0x80, Offset),      // the timestamp takes the byte of the offset
            (3, 0x02, Offset),      // 1 for the first record
            (3, 0x01, Offset),      // -1
            (4, 0x12, Key),         // 9 bytes of 8
            (4, 0x03, Key),         // -2
            (6, 0x7e, Value),       // 63 bytes
            (8, 0x01, HeaderCount), // -1
            (8, 0x06, HeaderCount), // 3 headers in 4 bytes
            (8, 0x04, Header),      // 2 headers, the second is missing
            (9, 0x01, Header),      // a key of null
            (8, 0x00, Leftover),    // no headers, 4 bytes left
            (11, 0x01, Leftover),   // a value of null, 1 byte left
        ] {
            assert_eq!(fault_with(at, byte), Some(fault), "byte {at} = {byte:02x}");
            assert!(!passes(&with(at, byte)), "byte {at} = {byte:02x}");
        }
        assert_eq!(fault_with(1, 0xff), None, "attributes are ignored");
        assert!(passes(&RECORD) && passes(&with(1, 0xff)));
        assert_eq!(
            split_record(&RECORD, &mut OffsetDeltas { low: 1, high: 1 }).err(),
            Some(Offset),
            "not the record that follows"
        );
    }
}
