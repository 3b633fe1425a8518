//! Batches are built and read without an allocation per record.
//!
//!     records ─▶ builder with a buffer that was used before ─▶ Bytes ─▶ decode_batch ─▶ records
//!                0                                              1 (the count of its owners)      0

#[path = "allocations/sys.rs"]
mod sys;

use bytes::Bytes;
use protocol::batch::{BatchBuilder, Codec, decode_batch};
use protocol::model::Timestamp;
use sys::allocations_of;

const RECORDS: usize = 600;
const LIMIT: usize = 1 << 20;

fn build(builder: &mut BatchBuilder, headers: &[(&str, Option<&[u8]>)]) -> Bytes {
    for i in 0..RECORDS as i64 {
        let at = Timestamp::from_millis(1_700_000_000_000 + i);
        builder.try_append(at, Some(b"key"), Some(&[7; 100]), headers).unwrap();
    }
    builder.finish()
}

#[test]
fn a_batch_in_a_used_buffer_takes_the_count_of_its_owners() {
    let mut builder = BatchBuilder::new(Codec::None);
    let mut batch = build(&mut builder, &[]);
    batch = build_again(&mut builder, batch);
    let (count, batch) = allocations_of(|| build_again(&mut builder, batch));
    assert!(count <= 1, "{count} allocations for {RECORDS} records, {} bytes", batch.len());
}

fn build_again(builder: &mut BatchBuilder, batch: Bytes) -> Bytes {
    builder.give_buffer(Vec::from(batch.try_into_mut().unwrap()));
    build(builder, &[("header", Some(b"value"))])
}

#[test]
fn a_batch_in_a_new_buffer_takes_the_buffer_too() {
    let mut builder = BatchBuilder::new(Codec::None);
    build(&mut builder, &[]);
    let (count, _) = allocations_of(|| build(&mut builder, &[]));
    assert!(count <= 2, "{count} allocations: the buffer, as large as the batch before, and its count");
}

#[test]
fn records_are_slices_of_their_batch() {
    let mut builder = BatchBuilder::new(Codec::None);
    let batch = build(&mut builder, &[]);
    let (count, keys) = allocations_of(|| {
        let records = decode_batch(batch.clone(), LIMIT).unwrap();
        records.filter(|record| record.key.is_some() && record.value.is_some()).count()
    });
    assert_eq!(keys, RECORDS);
    assert!(count <= 1, "{count} allocations for {RECORDS} records");
}

#[test]
fn a_compressed_batch_is_unfolded_once() {
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Snappy, Codec::Gzip] {
        let mut builder = BatchBuilder::new(codec);
        let batch = build(&mut builder, &[]);
        let (opening, mut records) = allocations_of(|| decode_batch(batch, LIMIT).unwrap());
        assert!(opening <= 30, "{codec}: {opening} allocations to unfold a batch");
        let (count, read) = allocations_of(|| records.by_ref().count());
        assert_eq!(read, RECORDS);
        assert!(count <= 1, "{codec}: {count} allocations for {RECORDS} records");
    }
}
