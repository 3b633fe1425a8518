//! The 16 bytes in front of every message, request or reply.
//!
//!      0       4     6  7  8                16
//!      ├───────┼─────┼──┼──┼────────────────┼───────── body_len bytes ─────────┐
//!      │ body  │ api │ v│ f│  correlation   │ body                             │
//!      │ len   │     │  │  │                │                                  │
//!      └───────┴─────┴──┴──┴────────────────┴──────────────────────────────────┘   little-endian
//!
//! `v` is the version of the message, `f` flags: bit 0 a reply, bit 1 a reply whose body is an
//! [`ErrorResponse`](crate::api::ErrorResponse). Replies carry the correlation id of their request
//! and may come in another order. A length is compared with a limit before anything is allocated.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::api::Api;
use crate::model::{CorrelationId, ErrorCode};

/// Bytes of a frame header.
pub const FRAME_HEADER_LEN: usize = 16;

const FLAG_REPLY: u8 = 1 << 0;
const FLAG_ERROR: u8 = 1 << 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    body_len: U32,
    api: U16,
    version: u8,
    flags: u8,
    correlation: U64,
}

const _: () = assert!(size_of::<RawHeader>() == FRAME_HEADER_LEN);

/// What the reader of a frame must know before its body arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    pub body_len: u32,
    pub api: Api,
    pub version: u8,
    pub kind: FrameKind,
    pub correlation: CorrelationId,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    Request,
    Reply,
    /// A reply whose body is an `ErrorResponse`: the request as a whole was refused.
    ErrorReply,
}

/// A frame that cannot be read further; the connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("frame body of {body_len} bytes is over the limit of {limit}")]
    TooLarge { body_len: u32, limit: usize },
    #[error("frame flags {flags:#04x} are not defined")]
    Flags { flags: u8 },
}

impl FrameError {
    pub fn code(self) -> ErrorCode {
        match self {
            FrameError::TooLarge { .. } => ErrorCode::FrameTooLarge,
            FrameError::Flags { .. } => ErrorCode::InvalidRequest,
        }
    }
}

impl FrameHeader {
    /// Reads a header from the first 16 bytes; `Ok(None)` while they have not all arrived.
    ///
    /// A frame whose body is longer than `body_limit` is refused here, before its first byte.
    pub fn parse(bytes: &[u8], body_limit: usize) -> Result<Option<FrameHeader>, FrameError> {
        let Ok((raw, _)) = RawHeader::ref_from_prefix(bytes) else { return Ok(None) };
        let body_len = raw.body_len.get();
        if body_len as usize > body_limit {
            return Err(FrameError::TooLarge { body_len, limit: body_limit });
        }
        let kind = match raw.flags {
            0 => FrameKind::Request,
            FLAG_REPLY => FrameKind::Reply,
            flags if flags == FLAG_REPLY | FLAG_ERROR => FrameKind::ErrorReply,
            flags => return Err(FrameError::Flags { flags }),
        };
        Ok(Some(FrameHeader {
            body_len,
            api: Api::from_wire(raw.api.get()),
            version: raw.version,
            kind,
            correlation: CorrelationId::new(raw.correlation.get()),
        }))
    }

    pub fn to_bytes(self) -> [u8; FRAME_HEADER_LEN] {
        let flags = match self.kind {
            FrameKind::Request => 0,
            FrameKind::Reply => FLAG_REPLY,
            FrameKind::ErrorReply => FLAG_REPLY | FLAG_ERROR,
        };
        let raw = RawHeader {
            body_len: U32::new(self.body_len),
            api: U16::new(self.api.to_wire()),
            version: self.version,
            flags,
            correlation: U64::new(self.correlation.get()),
        };
        zerocopy::transmute!(raw)
    }

    /// Header and body together.
    pub fn frame_len(self) -> usize {
        FRAME_HEADER_LEN + self.body_len as usize
    }
}

/// Appends one frame to `out`: the header, whose length is filled in afterwards, and what `body`
/// writes. Returns the length of the frame.
///
/// # Panics
/// If the body passes 4 GiB, which no sender in this workspace can build.
pub fn append_frame(
    out: &mut Vec<u8>,
    api: Api,
    version: u8,
    kind: FrameKind,
    correlation: CorrelationId,
    body: impl FnOnce(&mut Vec<u8>),
) -> usize {
    append_frame_with_payload(out, api, version, kind, correlation, 0, body)
}

/// As [`append_frame`], where `payload_len` more bytes of the body follow from other buffers: the
/// record sets of a Produce or of a Fetch reply.
pub fn append_frame_with_payload(
    out: &mut Vec<u8>,
    api: Api,
    version: u8,
    kind: FrameKind,
    correlation: CorrelationId,
    payload_len: usize,
    body: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_LEN]);
    body(out);
    let body_len = out.len() - start - FRAME_HEADER_LEN + payload_len;
    let body_len = u32::try_from(body_len).expect("BUG: a frame body passed 4 GiB");
    let header = FrameHeader { body_len, api, version, kind, correlation };
    out[start..start + FRAME_HEADER_LEN].copy_from_slice(&header.to_bytes());
    header.frame_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const LIMIT: usize = 1 << 20;

    fn check(hex: &str, expect: Expect) {
        let bytes: Vec<u8> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        expect.assert_eq(&match FrameHeader::parse(&bytes, LIMIT) {
            Ok(None) => "incomplete".to_string(),
            Ok(Some(header)) => {
                assert_eq!(header.to_bytes(), bytes[..FRAME_HEADER_LEN]);
                format!("{header:?}")
            }
            Err(error) => format!("{} — {:?}", error, error.code()),
        });
    }

    #[test]
    fn a_request_and_its_two_kinds_of_reply() {
        check(
            "10 00 00 00 05 00 01 00 2a 00 00 00 00 00 00 00",
            expect![
                "FrameHeader { body_len: 16, api: Produce, version: 1, kind: Request, correlation: CorrelationId(42) }"
            ],
        );
        check(
            "00 00 00 00 06 00 01 01 ff ff ff ff ff ff ff ff",
            expect![
                "FrameHeader { body_len: 0, api: Fetch, version: 1, kind: Reply, correlation: CorrelationId(18446744073709551615) }"
            ],
        );
        check(
            "04 00 00 00 77 77 01 03 00 00 00 00 00 00 00 00",
            expect![
                "FrameHeader { body_len: 4, api: Unknown(30583), version: 1, kind: ErrorReply, correlation: CorrelationId(0) }"
            ],
        );
    }

    #[test]
    fn fifteen_bytes_are_not_a_header() {
        check("10 00 00 00 05 00 01 00 2a 00 00 00 00 00 00", expect!["incomplete"]);
        check("", expect!["incomplete"]);
    }

    #[test]
    fn what_cannot_be_a_frame_is_refused_by_its_header() {
        check(
            "01 00 10 00 05 00 01 00 2a 00 00 00 00 00 00 00",
            expect!["frame body of 1048577 bytes is over the limit of 1048576 — FrameTooLarge(1006)"],
        );
        // The first bytes of a TLS ClientHello and of an HTTP request: lengths over the limit.
        check(
            "16 03 01 02 00 01 00 01 fc 03 03 00 00 00 00 00",
            expect!["frame body of 33620758 bytes is over the limit of 1048576 — FrameTooLarge(1006)"],
        );
        check(
            "47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a",
            expect!["frame body of 542393671 bytes is over the limit of 1048576 — FrameTooLarge(1006)"],
        );
        check(
            "00 00 00 00 05 00 01 08 2a 00 00 00 00 00 00 00",
            expect!["frame flags 0x08 are not defined — InvalidRequest(42)"],
        );
    }

    #[test]
    fn a_frame_counts_the_payload_that_follows_from_elsewhere() {
        let mut out = vec![9];
        let correlation = CorrelationId::new(7);
        let len = append_frame_with_payload(
            &mut out,
            Api::Produce,
            1,
            FrameKind::Request,
            correlation,
            100,
            |body| body.extend_from_slice(b"abc"),
        );
        assert_eq!(len, FRAME_HEADER_LEN + 103);
        let header = FrameHeader::parse(&out[1..], LIMIT).unwrap().unwrap();
        assert_eq!((header.body_len, out.len()), (103, 1 + FRAME_HEADER_LEN + 3));
    }
}
