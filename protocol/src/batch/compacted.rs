//! A batch without some of its records: what compaction writes.
//!
//!     before   │ header: base 40, 4 offsets, 4 records │ k1 │ k2 │ k1 │ k3 │
//!     after    │ header: base 40, 4 offsets, 2 records │ k1 │ k3 │          offsets 42 and 43 as before
//!
//! Offsets, timestamps, the producer's fields and the codec stay what they were, so nobody who
//! remembers an offset notices. A batch with tombstones gets the time at which they may go, in the
//! way of KIP-534: bit 6 of the attributes says that the base timestamp is that time.

use zerocopy::big_endian::{I32, I64, U16};

use super::builder::{empty_buffer, write_header};
use super::codec::{self, Codec};
use super::header::{self, CODEC_BITS, DELETE_HORIZON_BIT};
use super::record::{RecordError, RecordIter, RecordView};
use super::varint::{put_varint, put_varlong, varlong_len};
use super::view::{Batch, TimestampType};
use crate::model::{Offset, RecordCount, Timestamp};

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Keep,
    Drop,
}

/// What becomes of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compacted {
    /// It stays as it is, byte for byte.
    Unchanged,
    /// None of its records is left.
    Empty,
    Rewritten(Vec<u8>),
}

/// Asks `judge` about each record and writes the batch without those that go. Tombstones that stay
/// in a batch without a delete horizon give it `horizon`, if there is one to give. `limit` bounds the decompressed records.
pub fn compact_batch(
    batch: &Batch<'_>,
    limit: usize,
    horizon: Option<Timestamp>,
    mut judge: impl FnMut(Offset, &RecordView<'_>) -> Verdict,
) -> Result<Compacted, RecordError> {
    let decompressed = match batch.codec() {
        Codec::None => None,
        codec => Some(codec::decompress(codec, batch.records_bytes(), limit)?),
    };
    let records = decompressed.as_deref().unwrap_or(batch.records_bytes());
    let mut kept = Vec::new();
    let mut tombstones = false;
    for record in RecordIter::new(batch, records) {
        let record = record?;
        let offset = batch.base_offset() + RecordCount::new(record.offset_delta);
        if judge(offset, &record) == Verdict::Keep {
            tombstones |= record.value.is_none();
            kept.push(record);
        }
    }
    let horizon = horizon.filter(|_| tombstones && batch.delete_horizon().is_none());
    if kept.is_empty() {
        Ok(Compacted::Empty)
    } else if kept.len() as u64 == u64::from(batch.record_count().get()) && horizon.is_none() {
        Ok(Compacted::Unchanged)
    } else {
        Ok(Compacted::Rewritten(write(batch, &kept, horizon)))
    }
}

/// The batch without its records: what stays of the last batch of a segment, so that the segment's
/// last offsets are those of a batch and whoever reads there gets on.
pub fn empty_batch(batch: &Batch<'_>) -> Vec<u8> {
    let mut out = empty_buffer(header::HEADER_LEN);
    let mut header = batch.header();
    header.length = header::length_field(out.len());
    header.records_count = I32::ZERO;
    header.attributes = U16::new(header.attributes.get() & !CODEC_BITS);
    write_header(header, &mut out);
    out
}

fn write(batch: &Batch<'_>, kept: &[RecordView<'_>], horizon: Option<Timestamp>) -> Vec<u8> {
    let (old_base, new_base) = (batch.base_timestamp(), horizon.unwrap_or(batch.base_timestamp()));
    // The same time, counted from another base; wraps as Java's arithmetic does.
    let shift = old_base.millis().wrapping_sub(new_base.millis());
    let mut records = empty_buffer(batch.len());
    let mut max_timestamp = Timestamp::MIN;
    for record in kept {
        let timestamp = old_base.millis().wrapping_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(Timestamp::from_millis(timestamp));
        put_record(record, record.timestamp_delta.wrapping_add(shift), &mut records);
    }
    let mut out = match batch.codec() {
        Codec::None => records,
        codec => {
            let mut out = empty_buffer(records.len() / 2);
            codec::compress(codec, records.split_at(header::HEADER_LEN).1, &mut out);
            out
        }
    };
    let mut header = batch.header();
    header.length = header::length_field(out.len());
    header.records_count = I32::new(i32::try_from(kept.len()).expect("BUG: fewer records than before"));
    if batch.timestamp_type() == TimestampType::Create {
        header.max_timestamp = I64::new(max_timestamp.millis());
    }
    if horizon.is_some() {
        header.base_timestamp = I64::new(new_base.millis());
        header.attributes = U16::new(header.attributes.get() | DELETE_HORIZON_BIT);
    }
    write_header(header, &mut out);
    out
}

fn put_record(record: &RecordView<'_>, timestamp_delta: i64, out: &mut Vec<u8>) {
    let len = 1 + varlong_len(timestamp_delta) + record.after_timestamp.len();
    put_varint(out, i32::try_from(len).expect("BUG: a record is far below 2 GiB"));
    out.push(0); // attributes: none are defined
    put_varlong(out, timestamp_delta);
    out.extend_from_slice(record.after_timestamp);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::batch::{BatchBuilder, OwnedRecord, decode_batch, stamp};
    use crate::model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};

    const LIMIT: usize = 1 << 20;
    const HORIZON: Timestamp = Timestamp::from_millis(9_000_000);

    /// Keys a, b, c, d with values, and e without one.
    fn sample(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for (n, key) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            let value = (*key != "e").then_some(&b"value value value"[..]);
            let time = Timestamp::from_millis(1_000_000 + n as i64 * 7);
            builder.try_append(time, Some(key.as_bytes()), value, &[("h", Some(b"x"))]).unwrap();
        }
        builder.set_producer(ProducerId::new(7), ProducerEpoch::new(1), Sequence::new(33));
        let mut bytes = builder.finish().to_vec();
        stamp(&mut bytes, Offset::new(40), LeaderEpoch::FIRST);
        bytes
    }

    fn compact(bytes: &[u8], keys: &str) -> Compacted {
        let (batch, _) = Batch::split_first(bytes).unwrap();
        compact_batch(&batch, LIMIT, Some(HORIZON), |_, record| {
            let kept = record.key.is_some_and(|key| keys.as_bytes().contains(&key[0]));
            if kept { Verdict::Keep } else { Verdict::Drop }
        })
        .unwrap()
    }

    fn records(bytes: &[u8]) -> Vec<OwnedRecord> {
        decode_batch(Bytes::copy_from_slice(bytes), LIMIT).unwrap().collect()
    }

    #[test]
    fn what_is_kept_keeps_its_offset_its_time_and_its_bytes() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let before = sample(codec);
            let Compacted::Rewritten(after) = compact(&before, "bd") else { panic!("{codec}") };
            let expected: Vec<OwnedRecord> = records(&before)
                .into_iter()
                .filter(|record| matches!(record.key.as_deref(), Some(b"b" | b"d")))
                .collect();
            assert_eq!(records(&after), expected, "{codec}");
            let (batch, _) = Batch::split_first(&after).unwrap();
            assert_eq!((batch.base_offset(), batch.next_offset()), (Offset::new(40), Offset::new(45)));
            assert_eq!(batch.max_timestamp().millis(), 1_000_021);
            assert_eq!((batch.producer_id().get(), batch.base_sequence().get()), (7, 33));
            assert_eq!(batch.codec(), codec);
            assert!(batch.check_for_append(LIMIT).is_err(), "a producer cannot send gaps");
        }
    }

    #[test]
    fn tombstones_get_a_horizon_once_and_keep_their_time() {
        let before = sample(Codec::None);
        let Compacted::Rewritten(after) = compact(&before, "abcde") else { panic!("a horizon is set") };
        let (batch, _) = Batch::split_first(&after).unwrap();
        assert_eq!(batch.delete_horizon(), Some(HORIZON));
        assert_eq!(records(&after), records(&before));
        assert_eq!(compact(&after, "abcde"), Compacted::Unchanged);
        let Compacted::Rewritten(last) = compact(&after, "ae") else { panic!() };
        let (batch, _) = Batch::split_first(&last).unwrap();
        assert_eq!(batch.delete_horizon(), Some(HORIZON));
        assert_eq!(records(&last)[1], records(&before)[4]);
    }

    #[test]
    fn nothing_dropped_is_unchanged_and_all_dropped_is_empty() {
        let Compacted::Rewritten(bytes) = compact(&sample(Codec::Lz4), "abcd") else { panic!() };
        assert_eq!(compact(&bytes, "abcd"), Compacted::Unchanged);
        assert_eq!(compact(&bytes, ""), Compacted::Empty);
        let (batch, _) = Batch::split_first(&bytes).unwrap();
        let empty = empty_batch(&batch);
        assert_eq!((empty.len(), records(&empty).len()), (header::HEADER_LEN, 0));
        let (empty, _) = Batch::split_first(&empty).unwrap();
        assert_eq!((empty.next_offset(), empty.check_crc()), (Offset::new(45), Ok(())));
    }
}
