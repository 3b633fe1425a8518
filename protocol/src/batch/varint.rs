//! Numbers inside records: zigzag, then base 128, lowest group first.
//!
//!     number       0   -1    1   -2    2  …   63   -64     64      300
//!     zigzag       0    1    2    3    4  …  126   127    128      600
//!     bytes       00   01   02   03   04  …   7e    7f  80 01    d8 04
//!                                                        └ top bit set: another byte follows
//!
//! At most 5 bytes for 32 bits (varint) and 10 for 64 (varlong); nearly all are one byte.

pub(super) const VARINT_LEN_MAX: usize = 5;
pub(super) const VARLONG_LEN_MAX: usize = 10;

/// Takes one number off the front; `None` if it does not end, or does not fit in 32 bits.
#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<i32> {
    take_unsigned(bytes).and_then(from_zigzag_32)
}

/// Takes one number off the front; `None` if it does not end, or does not fit in 64 bits.
#[inline]
pub(super) fn take_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let zigzag = take_unsigned(bytes)?;
    Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
}

/// Goes over numbers and what they count by one index, for who checks bytes and wants none of them:
/// twice as fast as to take slices off the front.
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    /// May lie behind the end; whoever reads there gets `None`.
    at: usize,
}

impl<'a> Walk<'a> {
    pub fn new(bytes: &'a [u8]) -> Walk<'a> {
        Walk { bytes, at: 0 }
    }

    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Steps over `len` bytes, which need not be there.
    #[inline]
    pub fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    /// As [`take_varint`].
    #[inline]
    pub fn varint(&mut self) -> Option<i32> {
        self.unsigned().and_then(from_zigzag_32)
    }

    /// A number of 64 bits or less, whatever it is.
    #[inline]
    pub fn unsigned(&mut self) -> Option<u64> {
        let &low = self.bytes.get(self.at)?;
        if low < 0x80 {
            self.at += 1;
            return Some(u64::from(low));
        }
        match self.bytes.get(self.at + 1) {
            Some(&high) if high < 0x80 => {
                self.at += 2;
                Some(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.unsigned_long(),
        }
    }

    #[cold]
    fn unsigned_long(&mut self) -> Option<u64> {
        let mut rest = self.bytes.get(self.at..)?;
        let value = take_unsigned_long(&mut rest);
        self.at = self.bytes.len() - rest.len();
        value
    }
}

#[inline]
fn take_unsigned(bytes: &mut &[u8]) -> Option<u64> {
    match bytes.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *bytes = rest;
            Some(u64::from(byte))
        }
        _ => take_unsigned_long(bytes),
    }
}

fn take_unsigned_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..).step_by(7).take(VARLONG_LEN_MAX) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let group = u64::from(byte & 0x7f);
        let placed = group << shift;
        if placed >> shift != group {
            return None;
        }
        value |= placed;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, u64::from(zigzag_32(value)));
}

#[inline]
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, zigzag_64(value));
}

#[inline]
fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Numbers that stand side by side, gathered so that they go into a buffer with one copy.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    bytes: [u8; NUMBERS_LEN_MAX],
    len: usize,
}

/// What stands before a record's value: length, attributes, both deltas, and two lengths.
const NUMBERS_LEN_MAX: usize = VARINT_LEN_MAX * 4 + 1 + VARLONG_LEN_MAX;

impl Numbers {
    #[inline]
    pub fn zero(&mut self) {
        self.put(0);
    }

    #[inline]
    pub fn varint(&mut self, value: i32) {
        self.unsigned(u64::from(zigzag_32(value)));
    }

    #[inline]
    pub fn varlong(&mut self, value: i64) {
        self.unsigned(zigzag_64(value));
    }

    /// What was gathered since the last `take`.
    #[inline]
    pub fn take(&mut self) -> &[u8] {
        &self.bytes[..std::mem::take(&mut self.len)]
    }

    #[inline]
    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.put(low_byte(value));
    }

    #[inline]
    fn put(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

/// Bytes that [`put_varint`] writes.
#[inline]
pub(super) fn varint_len(value: i32) -> usize {
    unsigned_len(u64::from(zigzag_32(value)))
}

/// Bytes that [`put_varlong`] writes.
#[inline]
pub(super) fn varlong_len(value: i64) -> usize {
    unsigned_len(zigzag_64(value))
}

/// One byte for each seven bits begun: 0 to 127 take 1, 128 takes 2, `u64::MAX` takes 10.
#[inline]
fn unsigned_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn zigzag_32(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

#[inline]
fn from_zigzag_32(zigzag: u64) -> Option<i32> {
    let zigzag = u32::try_from(zigzag).ok()?;
    Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
}

fn zigzag_64(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn low_byte(value: u64) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: i32, bytes: &[u8]) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(out, bytes, "{value}");
    }

    #[test]
    fn known_numbers_have_known_bytes() {
        check(0, &[0x00]);
        check(-1, &[0x01]);
        check(1, &[0x02]);
        check(63, &[0x7e]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 0x01]);
        check(300, &[0xd8, 0x04]);
        check(i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn numbers_that_do_not_end_or_do_not_fit_are_refused() {
        let int = |mut bytes: &[u8]| take_varint(&mut bytes);
        let long = |mut bytes: &[u8]| take_varlong(&mut bytes);
        assert_eq!(int(&[]), None);
        assert_eq!(int(&[0x80]), None);
        assert_eq!(int(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(i32::MIN));
        assert_eq!(int(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(long(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Some(-(1 << 32)));
        let mut ten = [0xff; 10];
        ten[9] = 0x01;
        assert_eq!(long(&ten), Some(i64::MIN));
        ten[9] = 0x02;
        assert_eq!(long(&ten), None);
        assert_eq!(long(&[0x80; 11]), None);
    }

    proptest! {
        #[test]
        fn every_int_comes_back(value: i32, tail: u8) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert!(out.len() <= VARINT_LEN_MAX);
            out.push(tail);
            let mut rest = out.as_slice();
            prop_assert_eq!(take_varint(&mut rest), Some(value));
            prop_assert_eq!(rest, &[tail]);
        }

        #[test]
        fn every_long_comes_back(value: i64, shift in 0..64_u32) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            prop_assert_eq!(out.len(), varlong_len(value));
            prop_assert!(out.len() <= VARLONG_LEN_MAX);
            let mut rest = out.as_slice();
            prop_assert_eq!(take_varlong(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }
}
