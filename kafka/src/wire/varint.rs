//! Unsigned varints: seven bits a byte, the lowest first, the top bit says that more follow.
//!
//!     300 = 0b10_0101100   ─▶   1010_1100 0000_0010

/// Bytes of the longest varint of 32 bits.
pub(super) const VARINT_LEN_MAX: usize = 5;

/// Appends `value`.
pub(super) fn append(out: &mut Vec<u8>, mut value: u32) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a varint from the front: its value and length; `None` while its end is not there.
/// `Some(Err(()))` if it is longer than 32 bits have room for.
pub(super) fn read(bytes: &[u8]) -> Option<Result<(u32, usize), ()>> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(VARINT_LEN_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(u32::try_from(value).map(|value| (value, at + 1)).map_err(|_| ()));
        }
    }
    if bytes.len() < VARINT_LEN_MAX { None } else { Some(Err(())) }
}

/// Bytes that `value` takes.
pub const fn varint_len(value: u32) -> usize {
    match value.checked_ilog2() {
        Some(log) => log as usize / 7 + 1,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_the_edges_come_back() {
        for value in
            [0, 1, 0x7f, 0x80, 300, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 1 << 28, u32::MAX]
        {
            let mut out = Vec::new();
            append(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(read(&out), Some(Ok((value, out.len()))));
            assert_eq!(read(&out[..out.len() - 1]), None, "{value} cut");
        }
    }

    #[test]
    fn what_32_bits_cannot_hold_is_refused() {
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Some(Err(())));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80]), Some(Err(())));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Some(Err(())));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(Ok((u32::MAX, 5))));
    }
}
