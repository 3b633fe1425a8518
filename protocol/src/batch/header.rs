//! The 61 bytes in front of a batch's records, big-endian, as Kafka's RecordBatch v2 has them.
//!
//!      0            8        12       16  17    21         23
//!      ┌────────────┬────────┬────────┬───┬─────┬──────────┬────────────────────── ─ ─ ─
//!      │base offset │ length │ epoch  │ 2 │ crc │attributes│ … what the producer wrote …
//!      └────────────┴────────┴────────┴───┴─────┴──────────┴────────────────────── ─ ─ ─
//!       broker's     from 12  broker's           └──────── covered by the crc ──── ─ ─ ─
//!
//! The checksum begins at byte 21, so a broker that writes base offset and epoch leaves it valid.
//! All fields with their meaning and an example in hex: docs/data_file.md.

use zerocopy::big_endian::{I16, I32, I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codec::Codec;
use super::error::BatchError;
use crate::model::{Offset, RecordCount};

/// Bytes of the header; records begin here.
pub const HEADER_LEN: usize = 61;

/// Bytes up to and with the length field: what it takes to know where a batch ends.
pub(super) const LENGTH_END: usize = 12;

/// Bytes up to and with the magic byte.
const MAGIC_END: usize = 17;

/// First byte that the checksum covers.
pub(super) const CRC_START: usize = 21;

/// The only batch format there is; 0 and 1 were Kafka's message sets.
pub(super) const MAGIC: i8 = 2;

/// What the length field says of a batch without records: the header from byte 12 on.
const LENGTH_MIN: usize = HEADER_LEN - LENGTH_END;

/// Bits of the attributes field; those above are unused.
pub(super) const CODEC_BITS: u16 = 0b0000_0111;
pub(super) const LOG_APPEND_TIME_BIT: u16 = 0b0000_1000;
pub(super) const TRANSACTIONAL_BIT: u16 = 0b0001_0000;
pub(super) const CONTROL_BIT: u16 = 0b0010_0000;
/// Set by compaction: the base timestamp is when the batch's tombstones may go (KIP-534). Timestamp
/// deltas count from it, so nothing changes for a reader.
pub(super) const DELETE_HORIZON_BIT: u16 = 0b0100_0000;

/// The header, read and written in place.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct BatchHeader {
    pub base_offset: I64,
    pub length: I32,
    pub leader_epoch: I32,
    pub magic: i8,
    pub crc: U32,
    pub attributes: U16,
    pub last_offset_delta: I32,
    pub base_timestamp: I64,
    pub max_timestamp: I64,
    pub producer_id: I64,
    pub producer_epoch: I16,
    pub base_sequence: I32,
    pub records_count: I32,
}

const _: () = assert!(size_of::<BatchHeader>() == HEADER_LEN);
const _: () = assert!(std::mem::offset_of!(BatchHeader, magic) + 1 == MAGIC_END);
const _: () = assert!(std::mem::offset_of!(BatchHeader, attributes) == CRC_START);

impl BatchHeader {
    /// Every rule that the header can break alone; afterwards the getters of `Batch` cannot fail.
    /// Returns the length of the whole batch.
    #[inline]
    pub fn check(&self) -> Result<usize, BatchError> {
        let total = total_len(self.length).ok_or(BatchError::Length)?;
        let base = Offset::from_wire(self.base_offset.get()).ok_or(BatchError::NegativeOffset)?;
        if self.magic != MAGIC {
            return Err(BatchError::Magic);
        }
        Codec::from_wire(self.attributes.get() & CODEC_BITS).ok_or(BatchError::Codec)?;
        let (count, last) = (self.records_count.get(), self.last_offset_delta.get());
        // A batch without records is what compaction leaves where offsets end that must not be forgotten.
        if count < 0 || last < 0 || last < count - 1 {
            return Err(BatchError::Counts);
        }
        base.checked_add(RecordCount::new(last.unsigned_abs() + 1)).ok_or(BatchError::OffsetOverflow)?;
        Ok(total)
    }
}

/// Length of a whole batch by its length field; `None` if not even the header would fit.
#[inline]
pub(super) fn total_len(length_field: I32) -> Option<usize> {
    let after_length = usize::try_from(length_field.get()).ok()?;
    if after_length < LENGTH_MIN { None } else { after_length.checked_add(LENGTH_END) }
}

/// What the length field of a batch of `total` bytes says.
pub(super) fn length_field(total: usize) -> I32 {
    assert!(HEADER_LEN <= total, "BUG: a batch is at least its header");
    I32::new(i32::try_from(total - LENGTH_END).expect("BUG: a batch is far below 2 GiB"))
}

/// Why a run of fewer than [`HEADER_LEN`] bytes is no batch: a fault that is already visible, or
/// else that bytes are missing.
#[cold]
pub(super) fn check_partial(bytes: &[u8]) -> BatchError {
    let have = bytes.len();
    if let Ok((base, _)) = I64::read_from_prefix(bytes)
        && base.get() < 0
    {
        return BatchError::NegativeOffset;
    }
    let Some(total) = peek_len(bytes) else {
        let length_is_there = LENGTH_END <= have;
        return if length_is_there {
            BatchError::Length
        } else {
            BatchError::Truncated { need: HEADER_LEN, have }
        };
    };
    match bytes.get(MAGIC_END - 1) {
        Some(&magic) if magic != MAGIC.cast_unsigned() => BatchError::Magic,
        _ => BatchError::Truncated { need: total, have },
    }
}

/// See `Batch::peek_len`.
#[inline]
pub(super) fn peek_len(bytes: &[u8]) -> Option<usize> {
    let (_, after_offset) = I64::ref_from_prefix(bytes).ok()?;
    let (length, _) = I32::ref_from_prefix(after_offset).ok()?;
    total_len(*length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_field_and_total_are_inverse() {
        for total in [HEADER_LEN, HEADER_LEN + 1, 1 << 20, i32::MAX as usize] {
            assert_eq!(total_len(length_field(total)), Some(total));
        }
    }

    #[test]
    fn a_length_that_cuts_the_header_is_refused() {
        for field in [i32::MIN, -1, 0, 48] {
            assert_eq!(total_len(I32::new(field)), None, "{field}");
        }
        assert_eq!(total_len(I32::new(49)), Some(61));
    }

    #[test]
    fn a_cut_header_is_truncated_unless_it_is_wrong_already() {
        let mut bytes = vec![0; 60];
        bytes[8..12].copy_from_slice(&100_i32.to_be_bytes());
        bytes[16] = 2;
        assert_eq!(check_partial(&bytes[..11]), BatchError::Truncated { need: 61, have: 11 });
        assert_eq!(check_partial(&bytes[..12]), BatchError::Truncated { need: 112, have: 12 });
        assert_eq!(check_partial(&bytes), BatchError::Truncated { need: 112, have: 60 });
        let wrong = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            check_partial(&bytes)
        };
        assert_eq!(wrong(0, 0x80), BatchError::NegativeOffset);
        assert_eq!(wrong(8, 0xff), BatchError::Length);
        assert_eq!(wrong(16, 1), BatchError::Magic);
    }
}
