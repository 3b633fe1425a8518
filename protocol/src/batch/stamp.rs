//! The writes to a batch that is built already: the broker's, and the producer's before it sends.
//!
//!      0            8        12       16  17    21
//!      ┌────────────┬────────┬────────┬───┬─────┬─────────── ─ ─
//!      │base offset │        │ epoch  │   │ crc │ covered by it
//!      └─── here ───┴────────┴─ here ─┴───┴─────┴─────────── ─ ─
//!
//! Both fields lie in front of what the checksum covers, so the producer's checksum stays the one
//! that every later reader verifies. A producer's identity (43 to 56) and the largest timestamp (35 to 42)
//! lie behind, so whoever must change them seals the batch anew.

use zerocopy::FromBytes;
use zerocopy::big_endian::{I16, I32, I64, U32};

use super::header::{BatchHeader, CRC_START};
use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Writes the offset of the first record and the leader's epoch into the batch that `bytes` begin
/// with. The caller has read it as a `Batch`, and knows that `base_offset` + its records is an offset.
///
/// # Panics
/// If `bytes` are shorter than a batch header.
#[inline]
pub fn stamp(bytes: &mut [u8], base_offset: Offset, epoch: LeaderEpoch) {
    let (header, _) = BatchHeader::mut_from_prefix(bytes).expect("BUG: stamped less than a batch header");
    header.base_offset = I64::new(base_offset.to_wire());
    header.leader_epoch = I32::new(epoch.get());
}

/// Writes the identity of an idempotent producer into its own batch, and the checksum that goes with
/// it. For batches that were built before their identity was known, or had to get another: it reads
/// the whole batch, which `BatchBuilder::set_producer` spares.
///
/// # Panics
/// If `batch` is shorter than a batch header.
pub fn stamp_producer(batch: &mut [u8], id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) {
    let (header, _) = BatchHeader::mut_from_prefix(batch).expect("BUG: stamped less than a batch header");
    header.producer_id = I64::new(id.get());
    header.producer_epoch = I16::new(epoch.get());
    header.base_sequence = I32::new(base_sequence.get());
    seal(batch);
}

/// Writes the largest timestamp of a batch's records into it, and the checksum that goes with it: some
/// clients leave it out, and every search for a time goes by it. It reads the whole batch.
///
/// # Panics
/// If `batch` is shorter than a batch header.
pub fn stamp_max_timestamp(batch: &mut [u8], newest: Timestamp) {
    let (header, _) = BatchHeader::mut_from_prefix(batch).expect("BUG: stamped less than a batch header");
    header.max_timestamp = I64::new(newest.millis());
    seal(batch);
}

fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default());
    let (header, _) = BatchHeader::mut_from_prefix(batch).expect("BUG: it has had a header above");
    header.crc = U32::new(crc);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::sample_batch;
    use crate::batch::{Batch, HEADER_LEN};

    #[test]
    fn the_checksum_survives_and_nothing_else_changes() {
        let before = sample_batch();
        let mut after = before.to_vec();
        stamp(&mut after, Offset::new(0x0102_0304_0506_0708), LeaderEpoch::new(0x090a_0b0c));
        assert_eq!(after[0..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(after[12..16], [9, 10, 11, 12]);
        assert_eq!(after[8..12], before[8..12]);
        assert_eq!(after[16..], before[16..]);

        let (batch, _) = Batch::split_first(&after).unwrap();
        assert_eq!(batch.check_crc(), Ok(()));
        assert_eq!(batch.base_offset(), Offset::new(0x0102_0304_0506_0708));
        assert_eq!(batch.leader_epoch(), LeaderEpoch::new(0x090a_0b0c));
    }

    #[test]
    fn a_batch_with_a_late_identity_is_the_one_that_was_built_with_it() {
        let (id, epoch, sequence) = (ProducerId::new(4000), ProducerEpoch::new(3), Sequence::new(i32::MAX));
        let build = |known: bool| {
            let mut builder = crate::batch::BatchBuilder::new(crate::batch::Codec::None);
            if known {
                builder.set_producer(id, epoch, sequence);
            }
            builder.try_append(crate::model::Timestamp::from_millis(7), Some(b"k"), None, &[]).unwrap();
            builder.finish().to_vec()
        };
        let mut late = build(false);
        stamp_producer(&mut late, id, epoch, sequence);
        assert_eq!(late, build(true));
    }

    #[test]
    #[should_panic(expected = "BUG: stamped less than a batch header")]
    fn less_than_a_header_is_a_bug() {
        stamp(&mut [0; HEADER_LEN - 1], Offset::ZERO, LeaderEpoch::FIRST);
    }
}
