//! Records in, one batch out: what a producer sends.
//!
//!     try_append ─▶ │ room for 61 │ record │ record │ … growing buffer
//!     finish     ─▶ │ header      │ records, compressed if there is a codec │   one `Bytes`
//!
//! No allocation per record: a record is written where it will be sent from. Without a codec the
//! buffer itself becomes the batch, and the next batch makes another unless it is given one that was
//! used before; with one, the buffer is kept for the next batch and the compressed copy is sent. Base
//! offset 0 and leader epoch −1 stand for "the broker says".

use bytes::Bytes;
use zerocopy::big_endian::{I16, I32, I64, U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::codec::{self, Codec};
use super::header::{self, BatchHeader, CRC_START, HEADER_LEN, MAGIC};
use super::varint::{Numbers, VARINT_LEN_MAX, VARLONG_LEN_MAX, put_varint, varint_len, varlong_len};
use crate::model::limits::{BATCH_BYTES_MAX, RECORDS_PER_BATCH_MAX};
use crate::model::{LeaderEpoch, ProducerEpoch, ProducerId, RecordCount, Sequence, Timestamp};

/// Buffer of a builder that has not learnt yet how large its batches are.
const FIRST_CAPACITY: usize = 16 << 10;

/// Length, attributes, both deltas, the lengths of key and value, and the header count, at their longest.
const RECORD_OVERHEAD_MAX: usize = VARINT_LEN_MAX + 1 + VARLONG_LEN_MAX + VARINT_LEN_MAX * 4;

/// The lengths of a header's key and value, at their longest.
const HEADER_OVERHEAD_MAX: usize = VARINT_LEN_MAX * 2;

/// The record does not fit any more: finish the batch and append it to the next. In an empty builder
/// it never will fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the batch would take {len} bytes before compression, the limit is {BATCH_BYTES_MAX}")]
    TooLarge { len: usize },
    #[error("a batch has at most {RECORDS_PER_BATCH_MAX} records")]
    TooManyRecords,
}

/// Collects the records of one batch, then of the next.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Codec,
    /// Room for the header, then the records. Without capacity before the first record of a batch,
    /// unless it was kept, or given.
    buffer: Vec<u8>,
    /// Bytes that the next batch will have, about.
    next_len: usize,
    count: u32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    producer: Producer,
}

/// Identity and first sequence of an idempotent producer's batch.
#[derive(Clone, Copy, Debug)]
struct Producer {
    id: ProducerId,
    epoch: ProducerEpoch,
    base_sequence: Sequence,
}

impl Producer {
    const NONE: Producer =
        Producer { id: ProducerId::NONE, epoch: ProducerEpoch::NONE, base_sequence: Sequence::NONE };
}

impl BatchBuilder {
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            buffer: Vec::new(),
            next_len: FIRST_CAPACITY,
            count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer: Producer::NONE,
        }
    }

    /// Adds a record behind the others, or changes nothing.
    pub fn try_append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), BuildError> {
        let base = if self.is_empty() { timestamp } else { self.base_timestamp };
        let record = Record {
            timestamp_delta: timestamp.millis().wrapping_sub(base.millis()),
            offset_delta: self.count,
            key,
            value,
            headers,
        };
        if self.count == RECORDS_PER_BATCH_MAX {
            return Err(BuildError::TooManyRecords);
        }
        let body_len = record.body_len();
        let record_len = varint_len(wire_len(body_len)) + body_len;
        let len = self.estimated_len() + record_len;
        if len > BATCH_BYTES_MAX {
            return Err(BuildError::TooLarge { len });
        }
        if self.buffer.is_empty() {
            self.buffer = empty_buffer(self.next_len);
        }
        self.buffer.reserve(record_len);
        record.put(body_len, &mut self.buffer);
        self.max_timestamp = if self.is_empty() { timestamp } else { self.max_timestamp.max(timestamp) };
        self.base_timestamp = base;
        self.count += 1;
        Ok(())
    }

    /// Bytes of the batch so far, if it were not compressed.
    pub fn estimated_len(&self) -> usize {
        self.buffer.len().max(HEADER_LEN)
    }

    /// How large a buffer the next batch could do with; `None` if it has one.
    #[inline]
    pub fn wants_buffer(&self) -> Option<usize> {
        self.buffer.is_empty().then_some(self.next_len)
    }

    /// Uses `buffer`, whatever it holds, for the next batch; a no-op if that has one.
    pub fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.buffer.is_empty() {
            buffer.clear();
            buffer.resize(HEADER_LEN, 0);
            self.buffer = buffer;
        }
    }

    pub fn record_count(&self) -> RecordCount {
        RecordCount::new(self.count)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// For this batch only: a batch that was given another's sequence by mistake would be dropped as
    /// a duplicate.
    pub fn set_producer(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) {
        self.producer = Producer { id, epoch, base_sequence };
    }

    /// Forgets the records and the producer; keeps the codec and the buffer.
    pub fn clear(&mut self) {
        self.buffer.truncate(HEADER_LEN);
        self.count = 0;
        self.base_timestamp = Timestamp::NONE;
        self.max_timestamp = Timestamp::NONE;
        self.producer = Producer::NONE;
    }

    /// The batch; the builder is empty again.
    ///
    /// # Panics
    /// If the builder is empty: there is no batch of no records.
    pub fn finish(&mut self) -> Bytes {
        assert!(!self.is_empty(), "BUG: a batch has at least one record");
        let mut batch = match self.codec {
            Codec::None => {
                // The next batch will be about as large as this one; an eighth more avoids a copy of it
                // all for the sake of its last record.
                self.next_len = self.buffer.len() + self.buffer.len() / 8;
                std::mem::take(&mut self.buffer)
            }
            codec => {
                let (_, records) = self.buffer.split_at(HEADER_LEN);
                let mut batch = empty_buffer(HEADER_LEN + records.len() / 2);
                codec::compress(codec, records, &mut batch);
                // It may wait in a queue; let it hold no more than it is.
                batch.shrink_to_fit();
                batch
            }
        };
        write_header(self.header(batch.len()), &mut batch);
        self.clear();
        Bytes::from(batch)
    }

    /// The header of a batch of `total` bytes, still without checksum.
    fn header(&self, total: usize) -> BatchHeader {
        let count = i32::try_from(self.count).expect("BUG: try_append stops at i32::MAX records");
        BatchHeader {
            base_offset: I64::ZERO,
            length: header::length_field(total),
            leader_epoch: I32::new(LeaderEpoch::new(-1).get()),
            magic: MAGIC,
            crc: U32::ZERO,
            attributes: U16::new(self.codec.to_wire()),
            last_offset_delta: I32::new(count - 1),
            base_timestamp: I64::new(self.base_timestamp.millis()),
            max_timestamp: I64::new(self.max_timestamp.millis()),
            producer_id: I64::new(self.producer.id.get()),
            producer_epoch: I16::new(self.producer.epoch.get()),
            base_sequence: I32::new(self.producer.base_sequence.get()),
            records_count: I32::new(count),
        }
    }
}

/// A buffer with room for a header in front.
pub(super) fn empty_buffer(capacity: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(capacity.max(HEADER_LEN));
    buffer.resize(HEADER_LEN, 0);
    buffer
}

/// Fills the room in front of the records, then the checksum of it all.
pub(super) fn write_header(header: BatchHeader, batch: &mut [u8]) {
    header.write_to_prefix(batch).expect("BUG: empty_buffer leaves room for the header");
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    let (header, _) = BatchHeader::mut_from_prefix(batch).expect("BUG: a batch begins with its header");
    header.crc = U32::new(crc);
}

/// Bytes that a record adds to a batch, at most.
pub fn record_size_upper_bound(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> usize {
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let header_len = |(key, value): &(&str, Option<&[u8]>)| HEADER_OVERHEAD_MAX + key.len() + len(*value);
    RECORD_OVERHEAD_MAX + len(key) + len(value) + headers.iter().map(header_len).sum::<usize>()
}

/// The fields of a record in the order of their bytes.
struct Record<'a> {
    timestamp_delta: i64,
    offset_delta: u32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl Record<'_> {
    /// Bytes behind the length field.
    fn body_len(&self) -> usize {
        let header_len = |(key, value): &(&str, Option<&[u8]>)| {
            bytes_field_len(Some(key.as_bytes())) + bytes_field_len(*value)
        };
        let attributes = 1;
        attributes
            + varlong_len(self.timestamp_delta)
            + varint_len(wire_count(self.offset_delta))
            + bytes_field_len(self.key)
            + bytes_field_len(self.value)
            + varint_len(wire_len(self.headers.len()))
            + self.headers.iter().map(header_len).sum::<usize>()
    }

    fn put(&self, body_len: usize, out: &mut Vec<u8>) {
        let start = out.len() + varint_len(wire_len(body_len));
        let mut head = Numbers::default();
        head.varint(wire_len(body_len));
        head.zero();
        head.varlong(self.timestamp_delta);
        head.varint(wire_count(self.offset_delta));
        match self.key {
            Some(key) => {
                head.varint(wire_len(key.len()));
                out.extend_from_slice(head.take());
                out.extend_from_slice(key);
            }
            None => head.varint(-1),
        }
        head.varint(self.value.map_or(-1, |value| wire_len(value.len())));
        out.extend_from_slice(head.take());
        out.extend_from_slice(self.value.unwrap_or_default());
        put_varint(out, wire_len(self.headers.len()));
        for (key, value) in self.headers {
            put_bytes_field(out, Some(key.as_bytes()));
            put_bytes_field(out, *value);
        }
        assert!(out.len() - start == body_len, "BUG: a record is not as long as it says");
    }
}

fn bytes_field_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => varint_len(-1),
        Some(bytes) => varint_len(wire_len(bytes.len())) + bytes.len(),
    }
}

fn put_bytes_field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, wire_len(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

/// A length as records carry it. Lengths past 2 GiB saturate: they only add up to more than a batch
/// holds, and are never written.
fn wire_len(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

fn wire_count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

const _: () = assert!(RECORDS_PER_BATCH_MAX <= i32::MAX as u32);
const _: () = assert!(BATCH_BYTES_MAX < i32::MAX as usize);
