//! The length in front of every message.
//!
//!      0       4
//!      ├───────┼─────────────── len bytes ───────────────┐
//!      │ len   │ header, body                            │
//!      └───────┴─────────────────────────────────────────┘   big-endian
//!
//! A length is compared with a limit before anything is allocated. TLS and HTTP on this port are a
//! common mistake and come as lengths of hundreds of megabytes: they are told by name, for the log.

use std::ops::Range;

/// Bytes of a length.
pub const LENGTH_LEN: usize = 4;

/// What some clients that are not Kafka's begin with.
const HTTP_BEGINNINGS: [&[u8; LENGTH_LEN]; 10] =
    [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI "];

/// A TLS record of a handshake, version 3.x: the first bytes of a ClientHello.
const TLS_BEGINNING: [u8; 2] = [0x16, 0x03];

/// A stream that cannot be read further; the connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {len} bytes is over the limit of {limit}")]
    TooLarge { len: usize, limit: usize },
    #[error("a frame's length is {len}")]
    Negative { len: i32 },
    #[error("the client speaks TLS, and this port does not")]
    Tls,
    #[error("the client speaks HTTP, and this port does not")]
    Http,
}

/// Length of the frame that begins here, without the length itself; `Ok(None)` while it has not all
/// arrived. More than `limit` is refused here, before its first byte.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk::<LENGTH_LEN>() else { return Ok(None) };
    let len = i32::from_be_bytes(*length);
    match usize::try_from(len) {
        Err(_) => Err(FrameError::Negative { len }),
        Ok(len) if len <= limit => Ok(Some(len)),
        Ok(_) if length.starts_with(&TLS_BEGINNING) => Err(FrameError::Tls),
        Ok(_) if HTTP_BEGINNINGS.contains(&length) => Err(FrameError::Http),
        Ok(len) => Err(FrameError::TooLarge { len, limit }),
    }
}

/// Leaves room for a length at the end of `out` and says where: [`end`] fills it in.
#[must_use]
pub fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_LEN]);
    start
}

/// Ends the frame that began at `start`, where `payload_len` more bytes of it are sent from other
/// buffers. Returns the length of the frame, with its length and with the payload.
///
/// # Panics
/// If the frame passes 2 GiB, which no sender in this workspace can build.
pub fn end(out: &mut [u8], start: usize, payload_len: usize) -> usize {
    let len = out.len() - start - LENGTH_LEN + payload_len;
    let wire = i32::try_from(len).expect("BUG: a frame passed 2 GiB");
    out[start..start + LENGTH_LEN].copy_from_slice(&wire.to_be_bytes());
    LENGTH_LEN + len
}

/// Where `part`, a slice of `whole`, lies in it: for callers that keep the frame in a buffer of their own
/// and want a part of it without copying.
///
/// # Panics
/// If it does not lie in it.
pub fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr());
    let range = start.map(|start| start..start + part.len());
    range.filter(|range| range.end <= whole.len()).expect("BUG: a part of another buffer")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100 << 20;

    #[test]
    fn a_length_is_read_when_its_last_byte_arrives() {
        let bytes = [0, 0, 1, 2, 9];
        for len in 0..LENGTH_LEN {
            assert_eq!(parse(&bytes[..len], LIMIT), Ok(None));
        }
        assert_eq!(parse(&bytes[..4], LIMIT), Ok(Some(258)));
        assert_eq!(parse(&bytes, 258), Ok(Some(258)));
    }

    #[test]
    fn what_is_not_a_frame_is_refused_by_its_length() {
        assert_eq!(parse(&[0, 0, 1, 2], 257), Err(FrameError::TooLarge { len: 258, limit: 257 }));
        assert_eq!(
            parse(&[0x7f, 0xff, 0xff, 0xff], LIMIT),
            Err(FrameError::TooLarge { len: 0x7fff_ffff, limit: LIMIT })
        );
        assert_eq!(parse(&[0xff, 0xff, 0xff, 0xff], LIMIT), Err(FrameError::Negative { len: -1 }));
    }

    #[test]
    fn tls_and_http_are_told_by_name() {
        assert_eq!(parse(&[0x16, 0x03, 0x01, 0x02, 0x00], LIMIT), Err(FrameError::Tls));
        for text in ["GET / HTTP/1.1", "POST /topics", "OPTIONS *", "PRI * HTTP/2.0"] {
            assert_eq!(parse(text.as_bytes(), LIMIT), Err(FrameError::Http), "{text}");
        }
    }

    #[test]
    fn a_frame_counts_the_payload_that_follows_from_elsewhere() {
        let mut out = vec![9];
        let start = begin(&mut out);
        out.extend_from_slice(b"abc");
        assert_eq!(end(&mut out, start, 100), LENGTH_LEN + 103);
        assert_eq!(out, [9, 0, 0, 0, 103, b'a', b'b', b'c']);
    }

    #[test]
    fn a_part_knows_where_it_lies() {
        let whole = [1, 2, 3, 4];
        assert_eq!(range_in(&whole, &whole[1..3]), 1..3);
        assert_eq!(range_in(&whole, &whole[4..]), 4..4);
    }
}
