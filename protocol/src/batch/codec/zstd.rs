//! zstd: one frame, level 3.
//!
//!     28 b5 2f fd │ descriptor │ [window] │ [content size] │ blocks │ [checksum]
//!
//! Decoded in one call straight into the result, because the streaming decoder allocates the window
//! that the frame declares (128 MiB at level 22). Java's client streams and declares no content size;
//! then the room is guessed and, if too small, multiplied by four, up to the limit: at most a third of
//! the work is done twice.

use zstd::zstd_safe::{self, zstd_sys::ZSTD_ErrorCode};

use super::Fault;

const LEVEL: zstd_safe::CompressionLevel = 3;

/// First guess at how much larger the output is, and the factor of the next guess.
const EXPANSION_GUESS: usize = 4;

/// The least room that is worth trying.
const ROOM_MIN: usize = 4096;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + zstd_safe::compress_bound(input.len()), 0);
    let len = zstd_safe::compress(&mut out[start..], input, LEVEL)
        .expect("BUG: the room is zstd's own upper bound");
    out.truncate(start + len);
}

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let declared = zstd_safe::get_frame_content_size(input).map_err(|_| Fault::Corrupt)?;
    let guess = match declared {
        Some(size) => usize::try_from(size).map_err(|_| Fault::TooLarge)?,
        None => input.len().saturating_mul(EXPANSION_GUESS).max(ROOM_MIN),
    };
    let mut room = guess.min(limit);
    let mut decoder = zstd_safe::DCtx::create();
    loop {
        let mut out = Vec::with_capacity(room);
        match decoder.decompress(&mut out, input) {
            Ok(_) if out.len() <= limit => return Ok(out),
            Err(code) if code != ROOM_TOO_SMALL => return Err(Fault::Corrupt),
            _ if room == limit => return Err(Fault::TooLarge),
            _ => room = room.max(ROOM_MIN).saturating_mul(EXPANSION_GUESS).min(limit),
        }
    }
}

/// zstd returns its errors as negated numbers.
const ROOM_TOO_SMALL: usize = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// As Java does: content size unknown, the window of the level.
    fn streamed(input: &[u8], level: i32) -> Vec<u8> {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), level).unwrap();
        encoder.write_all(input).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_stream_without_content_size_is_read_whatever_its_window() {
        let input = vec![5; 3 << 20];
        for level in [1, 3, 19] {
            let bytes = streamed(&input, level);
            assert_eq!(zstd_safe::get_frame_content_size(&bytes).unwrap(), None);
            assert_eq!(decompress(&bytes, 3 << 20).as_ref(), Ok(&input));
            assert_eq!(decompress(&bytes, (3 << 20) - 1), Err(Fault::TooLarge));
        }
    }

    #[test]
    fn several_frames_are_read_as_one() {
        let mut bytes = streamed(b"one", 3);
        compress(b"two", &mut bytes);
        assert_eq!(decompress(&bytes, 6), Ok(b"onetwo".to_vec()));
        assert_eq!(decompress(&bytes, 5), Err(Fault::TooLarge));
    }

    #[test]
    fn a_declared_size_is_not_believed() {
        let mut bytes = Vec::new();
        compress(&[1; 300], &mut bytes);
        assert_eq!(zstd_safe::get_frame_content_size(&bytes).unwrap(), Some(300));
        let declared = bytes.windows(2).position(|pair| pair == (300_u16 - 256).to_le_bytes()).unwrap();
        bytes[declared] += 1;
        assert_eq!(decompress(&bytes, 1000), Err(Fault::Corrupt));
    }
}
