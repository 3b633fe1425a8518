//! Bytes from a socket to whole frames.
//!
//!     small frames    ┌─frame─┬──frame──┬─fra         one buffer of 64 KiB, refilled
//!     a large frame   ┌───────────── frame ──────────────┐   its own buffer, made when the header is
//!                     the socket reads straight into it      there; only what came with the header
//!                                                            is copied
//!
//! Contract: fill `target()`, then take frames until there is none. Bodies are slices, not copies.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::frame::{FRAME_HEADER_LEN, FrameError, FrameHeader};

use crate::limits::SMALL_FRAME_BYTES;

/// Room that a read is given at least, so that small reads do not become many.
const READ_BYTES_MIN: usize = 4 << 10;

const _: () = assert!(READ_BYTES_MIN <= SMALL_FRAME_BYTES);

#[derive(Debug)]
pub struct FrameAssembler {
    buffer: BytesMut,
    body_limit: usize,
}

impl FrameAssembler {
    /// A reply whose body passes `body_limit` is an error before its first byte is read.
    pub fn new(body_limit: usize) -> FrameAssembler {
        FrameAssembler { buffer: BytesMut::new(), body_limit }
    }

    /// Where the next bytes belong; never without room. Never takes in more than a large frame's
    /// own bytes, so that the frame after it does not have to be moved.
    pub fn target(&mut self) -> Result<Limit<&mut BytesMut>, FrameError> {
        let frame_len = self.header()?.map_or(FRAME_HEADER_LEN, FrameHeader::frame_len);
        let missing = frame_len.saturating_sub(self.buffer.len());
        assert!(missing > 0, "BUG: a whole frame was not taken");
        if frame_len > SMALL_FRAME_BYTES {
            if self.buffer.capacity() < frame_len {
                let mut own = BytesMut::with_capacity(frame_len);
                own.extend_from_slice(&self.buffer);
                self.buffer = own;
            }
            return Ok((&mut self.buffer).limit(missing));
        }
        if self.buffer.capacity() - self.buffer.len() < missing.max(READ_BYTES_MIN) {
            self.buffer.reserve(SMALL_FRAME_BYTES);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        Ok((&mut self.buffer).limit(room))
    }

    /// The next whole frame, if it is there.
    pub fn next_frame(&mut self) -> Result<Option<(FrameHeader, Bytes)>, FrameError> {
        let Some(header) = self.header()? else { return Ok(None) };
        if self.buffer.len() < header.frame_len() {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(header.frame_len()).freeze();
        frame.advance(FRAME_HEADER_LEN);
        Ok(Some((header, frame)))
    }

    fn header(&self) -> Result<Option<FrameHeader>, FrameError> {
        FrameHeader::parse(&self.buffer, self.body_limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::api::Api;
    use protocol::frame::{FrameKind, append_frame};
    use protocol::model::CorrelationId;

    const LIMIT: usize = 1 << 20;

    fn frame(correlation: u64, len: usize, out: &mut Vec<u8>) {
        append_frame(out, Api::Fetch, 1, FrameKind::Reply, CorrelationId::new(correlation), |body| {
            body.extend((0..len).map(|i| (i as u64 * 31 + correlation) as u8));
        });
    }

    /// Feeds `bytes` in reads of at most `reads[i]` bytes and returns what came out.
    fn assemble(bytes: &[u8], reads: &[usize]) -> Vec<(u64, Bytes)> {
        let mut assembler = FrameAssembler::new(LIMIT);
        let (mut rest, mut turn, mut out) = (bytes, 0, Vec::new());
        while !rest.is_empty() {
            let mut target = assembler.target().unwrap();
            let len = reads[turn % reads.len()].min(target.remaining_mut()).min(rest.len());
            turn += 1;
            target.put_slice(&rest[..len]);
            rest = &rest[len..];
            while let Some((header, body)) = assembler.next_frame().unwrap() {
                out.push((header.correlation.get(), body));
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn frames_survive_any_split(
            lens in prop::collection::vec(prop_oneof![0..300_usize, 60_000..200_000_usize], 1..8),
            reads in prop::collection::vec(prop_oneof![1..40_usize, 1000..100_000_usize], 1..5),
        ) {
            let mut bytes = Vec::new();
            for (i, len) in lens.iter().enumerate() {
                frame(i as u64, *len, &mut bytes);
            }
            let out = assemble(&bytes, &reads);
            prop_assert_eq!(out.len(), lens.len());
            for (i, (correlation, body)) in out.iter().enumerate() {
                let mut expected = Vec::new();
                frame(i as u64, lens[i], &mut expected);
                prop_assert_eq!((*correlation, &body[..]), (i as u64, &expected[FRAME_HEADER_LEN..]));
            }
        }
    }

    #[test]
    fn a_large_frame_is_read_without_the_next_one() {
        let mut bytes = Vec::new();
        frame(1, 300_000, &mut bytes);
        let mut assembler = FrameAssembler::new(LIMIT);
        assembler.target().unwrap().put_slice(&bytes[..100]);
        assert!(assembler.next_frame().unwrap().is_none());
        assert_eq!(assembler.target().unwrap().remaining_mut(), bytes.len() - 100);
    }

    #[test]
    fn a_body_over_the_limit_is_refused_by_its_header() {
        let mut bytes = Vec::new();
        frame(1, LIMIT + 1, &mut bytes);
        let mut assembler = FrameAssembler::new(LIMIT);
        assembler.target().unwrap().put_slice(&bytes[..FRAME_HEADER_LEN]);
        assert!(matches!(assembler.next_frame(), Err(FrameError::TooLarge { .. })));
        assert!(matches!(assembler.target(), Err(FrameError::TooLarge { .. })));
    }
}
