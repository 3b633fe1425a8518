//! The first bytes of a record that is verified or timed.
//!
//!     0          4              12         16                24
//!     │ producer │ sequence     │ crc32c   │ send time, ns   │ payload …
//!     └──────────┴── covered ───┘          └──── covered ───────────────┘
//!
//! Little-endian. The checksum covers everything but itself, and stands only where `--verify` asks for
//! it; the send time is there if the record has room for it.

use crate::clock::Moment;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub producer: u32,
    pub sequence: u64,
    /// `None` in records of less than 24 bytes.
    pub sent_at: Option<Moment>,
}

/// Smallest record that can be verified.
pub const VERIFIED_LEN_MIN: usize = 16;

/// Smallest record that can carry its send time.
pub const TIMED_LEN_MIN: usize = 24;

impl Stamp {
    /// Writes the stamp without its checksum.
    ///
    /// # Panics
    /// If `record` is shorter than [`VERIFIED_LEN_MIN`].
    pub fn write(self, record: &mut [u8]) {
        record[..4].copy_from_slice(&self.producer.to_le_bytes());
        record[4..12].copy_from_slice(&self.sequence.to_le_bytes());
        record[12..16].fill(0);
        if let (Some(at), Some(field)) = (self.sent_at, record.get_mut(16..24)) {
            field.copy_from_slice(&at.as_ns().to_le_bytes());
        }
    }

    /// Reads the stamp and believes it; `None` if the record is too short.
    pub fn read(record: &[u8]) -> Option<Stamp> {
        let producer = u32::from_le_bytes(*record.first_chunk()?);
        let sequence = u64::from_le_bytes(*record.get(4..)?.first_chunk()?);
        record.get(12..VERIFIED_LEN_MIN)?;
        let sent_at = record.get(16..).and_then(|rest| rest.first_chunk());
        Some(Stamp {
            producer,
            sequence,
            sent_at: sent_at.map(|ns| Moment::from_ns(u64::from_le_bytes(*ns))),
        })
    }

    /// Reads the stamp if the record is what was sent.
    pub fn read_checked(record: &[u8]) -> Option<Stamp> {
        let stored = u32::from_le_bytes(*record.get(12..)?.first_chunk()?);
        if stored == checksum(record) { Stamp::read(record) } else { None }
    }
}

/// Puts the checksum into a record that is complete otherwise.
pub fn seal(record: &mut [u8]) {
    let crc = checksum(record);
    record[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..12]), &record[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(len: usize) -> Vec<u8> {
        let mut record: Vec<u8> = (0..len).map(|i| i as u8).collect();
        Stamp { producer: 7, sequence: 1 << 40, sent_at: Some(Moment::from_ns(99)) }.write(&mut record);
        seal(&mut record);
        record
    }

    #[test]
    fn a_stamp_reads_what_it_wrote() {
        let stamp = Stamp { producer: 7, sequence: 1 << 40, sent_at: Some(Moment::from_ns(99)) };
        assert_eq!(Stamp::read_checked(&sealed(24)), Some(stamp));
        assert_eq!(Stamp::read_checked(&sealed(1000)), Some(stamp));
        assert_eq!(Stamp::read_checked(&sealed(16)), Some(Stamp { sent_at: None, ..stamp }));
        assert_eq!(Stamp::read_checked(&sealed(23)), Some(Stamp { sent_at: None, ..stamp }));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = sealed(40);
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::read_checked(&damaged), None, "bit {bit}");
        }
        assert_eq!(Stamp::read_checked(&record[..39]), None, "cut");
    }

    #[test]
    fn short_bytes_are_no_stamp() {
        for len in 0..VERIFIED_LEN_MIN {
            assert_eq!((Stamp::read(&vec![0; len]), Stamp::read_checked(&vec![0; len])), (None, None));
        }
    }
}
