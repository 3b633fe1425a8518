//! snappy: Java's xerial framing, or one raw block as librdkafka writes it.
//!
//!     82 'SNAPPY' 00 │ 00 00 00 01 │ 00 00 00 01 │ ( length 4 │ raw block of 32 KiB )…
//!      magic           version       compatible     big-endian
//!
//! A raw block cannot begin like the magic: it would declare its length and then copy from bytes that
//! do not exist yet. A raw block begins with its decompressed length, which is believed only up to
//! what its bytes can possibly hold.

use snap::raw;

use super::Fault;

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";

/// The magic, then the version and the oldest version that can read it, both 1.
const STREAM_HEADER: [u8; STREAM_HEADER_LEN] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const STREAM_HEADER_LEN: usize = 16;

/// Input bytes per block written, as Java does.
const BLOCK_LEN: usize = 32 << 10;

/// A compressed byte stands for at most so many: the shortest copy of 64 bytes takes 3.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut encoder = raw::Encoder::new();
    out.extend_from_slice(&STREAM_HEADER);
    for chunk in input.chunks(BLOCK_LEN) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + raw::max_compress_len(chunk.len()), 0);
        let len =
            encoder.compress(chunk, &mut out[block_at..]).expect("BUG: the room is snappy's own upper bound");
        out.truncate(block_at + len);
        out[length_at..block_at].copy_from_slice(&block_length(len).to_be_bytes());
    }
}

fn block_length(len: usize) -> u32 {
    u32::try_from(len).expect("BUG: a block is little more than 32 KiB")
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut decoder = raw::Decoder::new();
    let mut out = Vec::new();
    if !input.starts_with(&MAGIC) {
        append_block(&mut decoder, input, limit, &mut out)?;
        return Ok(out);
    }
    let (_, mut rest) = input.split_at_checked(STREAM_HEADER_LEN).ok_or(Fault::Corrupt)?;
    while !rest.is_empty() {
        let (block, after) = split_block(rest).ok_or(Fault::Corrupt)?;
        append_block(&mut decoder, block, limit, &mut out)?;
        rest = after;
    }
    Ok(out)
}

fn split_block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn append_block(
    decoder: &mut raw::Decoder,
    block: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    let declared = raw::decompress_len(block).map_err(|_| Fault::Corrupt)?;
    if declared > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(Fault::Corrupt);
    }
    let left = limit - start;
    if declared > left {
        return Err(Fault::TooLarge);
    }
    if out.capacity() - start < declared {
        out.reserve_exact(declared.max(start).min(left));
    }
    out.resize(start + declared, 0);
    let (_, target) = out.split_at_mut(start);
    let len = decoder.decompress(block, target).map_err(|_| Fault::Corrupt)?;
    out.truncate(start + len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_bytes_that_java_expects() {
        let mut bytes = Vec::new();
        compress(&[b'a'; BLOCK_LEN + 1], &mut bytes);
        assert_eq!(bytes[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
        let (first, rest) = split_block(&bytes[16..]).unwrap();
        let (second, rest) = split_block(rest).unwrap();
        assert_eq!(raw::decompress_len(first), Ok(BLOCK_LEN));
        assert_eq!(second, [1, 0, b'a'], "one byte: length 1, literal of 1");
        assert!(rest.is_empty());
    }

    #[test]
    fn a_raw_block_is_read_as_librdkafka_writes_it() {
        let input = b"snappy, snappy, snappy".repeat(5000);
        let raw = raw::Encoder::new().compress_vec(&input).unwrap();
        assert_eq!(decompress(&raw, input.len()), Ok(input.clone()));
        assert_eq!(decompress(&raw, input.len() - 1), Err(Fault::TooLarge));
    }

    #[test]
    fn the_longest_run_is_within_the_largest_expansion() {
        let raw = raw::Encoder::new().compress_vec(&vec![0; 8 << 20]).unwrap();
        assert_eq!(decompress(&raw, 8 << 20).map(|out| out.len()), Ok(8 << 20));
    }

    #[test]
    fn a_declared_length_that_the_bytes_cannot_hold_is_corrupt() {
        let declares_64_mib = [0x80, 0x80, 0x80, 0x20, 0];
        assert_eq!(decompress(&declares_64_mib, usize::MAX), Err(Fault::Corrupt));
    }
}
