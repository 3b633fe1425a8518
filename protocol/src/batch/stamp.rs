//! The broker's only write to a batch.
//!
//!      0            8        12       16  17    21
//!      ┌────────────┬────────┬────────┬───┬─────┬─────────── ─ ─
//!      │base offset │        │ epoch  │   │ crc │ covered by it
//!      └─── here ───┴────────┴─ here ─┴───┴─────┴─────────── ─ ─
//!
//! Both fields lie in front of what the checksum covers, so the producer's checksum stays the one
//! that every later reader verifies.

use zerocopy::FromBytes;
use zerocopy::big_endian::{I32, I64};

use super::header::BatchHeader;
use crate::model::{LeaderEpoch, Offset};

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
    #[should_panic(expected = "BUG: stamped less than a batch header")]
    fn less_than_a_header_is_a_bug() {
        stamp(&mut [0; HEADER_LEN - 1], Offset::ZERO, LeaderEpoch::FIRST);
    }
}
