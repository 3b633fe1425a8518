//! gzip: one RFC 1952 stream, or several end to end as Java's reader also takes them.
//!
//!     1f 8b 08 …header… │ deflate blocks │ crc-32, length      (repeated)
//!
//! The output grows by doubling and stops one byte past the limit, which tells "exactly at the limit"
//! from "above it".

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Fault;

/// First guess at how much larger the output is; records shrink to a quarter or so.
const EXPANSION_GUESS: usize = 4;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut encoder = GzEncoder::new(out, Compression::default());
    encoder.write_all(input).and_then(|()| encoder.finish()).expect("BUG: writing to memory cannot fail");
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut decoder = MultiGzDecoder::new(input);
    let mut out = Vec::with_capacity(input.len().saturating_mul(EXPANSION_GUESS).min(limit));
    loop {
        let room = out.capacity().min(limit) - out.len();
        let read = read_up_to(&mut decoder, room, &mut out)?;
        if read < room {
            return Ok(out);
        }
        if out.len() == limit {
            return if is_at_end(&mut decoder)? { Ok(out) } else { Err(Fault::TooLarge) };
        }
        out.reserve_exact(out.len().max(64).min(limit - out.len()));
    }
}

/// Reads into spare capacity; fewer than `room` bytes mean that the stream is at its end.
fn read_up_to(decoder: &mut impl Read, room: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let room = u64::try_from(room).expect("BUG: usize has at most 64 bits");
    decoder.take(room).read_to_end(out).map_err(|_| Fault::Corrupt)
}

fn is_at_end(decoder: &mut impl Read) -> Result<bool, Fault> {
    let read = decoder.read(&mut [0]).map_err(|_| Fault::Corrupt)?;
    Ok(read == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_streams_end_to_end_are_read_as_one() {
        let mut two = Vec::new();
        compress(b"one", &mut two);
        compress(b"two", &mut two);
        assert_eq!(decompress(&two, 6), Ok(b"onetwo".to_vec()));
        assert_eq!(decompress(&two, 5), Err(Fault::TooLarge));
    }

    #[test]
    fn the_checksum_of_the_stream_is_verified() {
        let mut bytes = Vec::new();
        compress(b"one", &mut bytes);
        let crc = bytes.len() - 8;
        bytes[crc] ^= 1;
        assert_eq!(decompress(&bytes, 3), Err(Fault::Corrupt));
        assert_eq!(decompress(&bytes, 100), Err(Fault::Corrupt));
    }
}
