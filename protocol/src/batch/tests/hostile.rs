//! Bytes that nobody has checked: noise, records that are noise, and records that were changed.
//!
//!     noise ──▶ every reader: no panic, and one opinion of what records are

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::batch::record::are_records;

/// Everything that reads bytes from outside. What only checks records accepts what the readers accept.
fn read_all(bytes: &[u8]) {
    let _ = Batch::peek_len(bytes);
    for batch in batches(bytes).flatten() {
        let _ = batch.check_for_append(LIMIT);
        let records = RecordIter::new(&batch, batch.records_bytes());
        let _ = records.clone().flatten().map(|r| r.headers.count()).sum::<usize>();
        let (bytes, count) = (batch.records_bytes(), batch.record_count());
        if count == batch.offset_span() {
            let readable = records.clone().all(|record| record.is_ok());
            assert_eq!(are_records(bytes, count.get()), readable, "{:?}", records.last());
        }
    }
    let _ = decode_batch(Bytes::copy_from_slice(bytes), LIMIT).map(Iterator::count);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_panic_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    /// A header that passes, a checksum that is right, and records that are noise.
    #[test]
    fn arbitrary_records_panic_nothing(
        noise in prop::collection::vec(prop_oneof![0..32_u8, any::<u8>()], 0..200),
        count in 1..5_i32,
        codec in 0..5_u8,
    ) {
        let mut bytes = sample_batch()[..HEADER_LEN].to_vec();
        bytes.extend(noise);
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[22] = codec;
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        prop_assert_eq!(batch(&bytes).check_crc(), Ok(()));
        read_all(&bytes);
    }

    /// Bytes changed by somebody who computes the checksum anew.
    #[test]
    fn forged_records_panic_nothing(
        records in prop::collection::vec(any_record(), 1..5),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = built(Codec::None, &records).to_vec();
        for (at, byte) in edits {
            let at = HEADER_LEN + at.index(bytes.len() - HEADER_LEN);
            bytes[at] = byte;
        }
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        read_all(&bytes);
    }
}
