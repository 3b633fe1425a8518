//! From batch to batch through a file, until its end or the first that is bad.
//!
//!     ┌ batch ┬ batch ┬ batch ┬ 0 0 0 0 0 ─ ─ ┐      End { zeroes }
//!     ┌ batch ┬ batch ┬ ba                           Bad: cut off after 2 of 90 bytes
//!     ┌ batch ┬ 0 0 0 ┬ batch ┐                      Bad: zeroes, and then bytes again
//!
//! A batch is bad if its header breaks a rule, its checksum does not match, or its offset is not the
//! one after the batch before. No length is believed beyond the largest batch there can be.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use protocol::batch::{Batch, BatchError, HEADER_LEN};
use protocol::model::Offset;
use protocol::model::limits::BATCH_BYTES_MAX;

pub struct Scan<R> {
    input: BufReader<R>,
    position: u64,
    expected: Option<Offset>,
}

pub enum Found {
    Batch(FoundBatch),
    /// Nothing but zeroes follows: space that was prepared and is not used yet.
    End {
        zeroes: u64,
    },
}

/// Exactly one batch, whose header has been checked.
pub struct FoundBatch {
    pub position: u64,
    pub bytes: Bytes,
}

pub enum Fault {
    Read(io::Error),
    Bad(Bad),
}

pub struct Bad {
    pub position: u64,
    pub why: String,
    /// The batch, if at least its header makes sense.
    pub batch: Option<FoundBatch>,
}

impl FoundBatch {
    pub fn batch(&self) -> Batch<'_> {
        Batch::split_first(&self.bytes).expect("BUG: checked when it was found").0
    }
}

impl<R: Read> Scan<R> {
    /// `expected` is the offset of the first record, where the file's name tells it.
    pub fn new(input: R, expected: Option<Offset>) -> Scan<R> {
        Scan { input: BufReader::with_capacity(1 << 20, input), position: 0, expected }
    }

    pub fn next(&mut self) -> Result<Found, Fault> {
        let mut bytes = self.read(HEADER_LEN)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return self.read_zeroes(bytes.len() as u64);
        }
        let need = Batch::peek_len(&bytes).unwrap_or(HEADER_LEN);
        if BATCH_BYTES_MAX < need {
            let why = format!("it says that it has {need} bytes, the limit is {BATCH_BYTES_MAX}");
            return Err(self.bad(why, None));
        }
        bytes.append(&mut self.read(need - bytes.len().min(need))?);
        let bytes = Bytes::from(bytes);
        let found = FoundBatch { position: self.position, bytes: bytes.clone() };
        let (base, next) = match check(&bytes) {
            Ok(range) => range,
            Err(error @ BatchError::Crc) => return Err(self.bad(error.to_string(), Some(found))),
            Err(error) => return Err(self.bad(error.to_string(), None)),
        };
        if let Some(expected) = self.expected.filter(|expected| *expected != base) {
            let why = format!("its first offset is {base}, where {expected} is expected");
            return Err(self.bad(why, Some(found)));
        }
        self.expected = Some(next);
        self.position += bytes.len() as u64;
        Ok(Found::Batch(found))
    }

    /// Up to `len` bytes; fewer at the end of the file.
    fn read(&mut self, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(len);
        (&mut self.input).take(len as u64).read_to_end(&mut bytes).map_err(Fault::Read)?;
        Ok(bytes)
    }

    fn read_zeroes(&mut self, mut zeroes: u64) -> Result<Found, Fault> {
        loop {
            let bytes = self.read(64 << 10)?;
            if bytes.is_empty() {
                return Ok(Found::End { zeroes });
            }
            if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
                let at = self.position + zeroes + at as u64;
                return Err(
                    self.bad(format!("zeroes up to position {at}, and then bytes that are none"), None)
                );
            }
            zeroes += bytes.len() as u64;
        }
    }

    fn bad(&self, why: String, batch: Option<FoundBatch>) -> Fault {
        Fault::Bad(Bad { position: self.position, why, batch })
    }
}

fn check(bytes: &[u8]) -> Result<(Offset, Offset), BatchError> {
    let (batch, _) = Batch::split_first(bytes)?;
    batch.check_crc()?;
    batch.check_record_count()?;
    Ok((batch.base_offset(), batch.next_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::{BatchBuilder, Codec, stamp};
    use protocol::model::{LeaderEpoch, Timestamp};

    fn batch(base: u64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..records {
            builder.try_append(Timestamp::from_millis(5), None, Some(b"value"), &[]).unwrap();
        }
        let mut bytes = builder.finish().to_vec();
        stamp(&mut bytes, Offset::new(base), LeaderEpoch::FIRST);
        bytes
    }

    /// First offsets of the good batches, and how the file ends.
    fn scan(bytes: &[u8], expected: Option<u64>) -> (Vec<u64>, Result<u64, (u64, String)>) {
        let mut scan = Scan::new(bytes, expected.map(Offset::new));
        let mut bases = Vec::new();
        loop {
            match scan.next() {
                Ok(Found::Batch(found)) => bases.push(found.batch().base_offset().get()),
                Ok(Found::End { zeroes }) => return (bases, Ok(zeroes)),
                Err(Fault::Bad(bad)) => return (bases, Err((bad.position, bad.why))),
                Err(Fault::Read(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn good_batches_and_the_zeroes_behind_them() {
        let mut file = [batch(7, 2), batch(9, 1)].concat();
        assert_eq!(scan(&file, Some(7)), (vec![7, 9], Ok(0)));
        file.extend([0; 100_000]);
        assert_eq!(scan(&file, None), (vec![7, 9], Ok(100_000)));
        assert_eq!(scan(&[0; 3], None), (vec![], Ok(3)));
        assert_eq!(scan(&[], Some(7)), (vec![], Ok(0)));
    }

    #[test]
    fn every_bad_end_is_told_with_its_place() {
        let (first, second) = (batch(0, 2), batch(2, 1));
        let at = first.len() as u64;
        let (cut, mut flipped, mut holed) = (&second[..30], second.clone(), vec![0; 100]);
        *flipped.last_mut().unwrap() ^= 1;
        holed.extend(&second);
        let mut huge = second.clone();
        huge[8] = 0x7f;
        for (tail, why) in [
            (cut, "a batch of 73 bytes is cut off after 30"),
            (&second[..second.len() - 1], "a batch of 73 bytes is cut off after 72"),
            (&flipped, "the checksum does not match the bytes"),
            (&first, "its first offset is 0, where 2 is expected"),
            (&huge, "it says that it has 2130706505 bytes, the limit is 8388608"),
            (b"rubbish", "a batch of 61 bytes is cut off after 7"),
        ] {
            let file = [first.as_slice(), tail].concat();
            assert_eq!(scan(&file, Some(0)), (vec![0], Err((at, why.to_owned()))));
        }
        let file = [first.as_slice(), holed.as_slice()].concat();
        let why = format!("zeroes up to position {}, and then bytes that are none", at + 107);
        assert_eq!(scan(&file, None), (vec![0], Err((at, why))));
        let why = "its first offset is 0, where 5 is expected".to_owned();
        assert_eq!(scan(&first, Some(5)), (vec![], Err((0, why))));
    }
}
