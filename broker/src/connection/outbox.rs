//! Replies on their way out: small heads in one buffer, record sets where they lie.
//!
//!     │ head bytes │ piece │ piece │ head bytes │ piece │ …       one vectored send takes up to 64
//!       owned        ▲ chunk of the log, pooled read buffer: referred to, never copied

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;

use protocol::api::{Api, VERSION};
use protocol::frame::{FrameKind, append_frame_with_payload};
use protocol::model::CorrelationId;

use crate::runtime::net::Socket;

/// Slices in one send; far below the kernel's limit of 1024, and 64 chunks are 64 MiB.
const SLICES_MAX: usize = 64;

/// A head buffer is closed when it has grown to this, so that its memory is given back in time.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes that belong to somebody else and are sent from where they lie.
#[derive(Clone)]
pub struct Piece {
    owner: Rc<dyn AsRef<[u8]>>,
    range: Range<usize>,
}

impl Piece {
    pub fn new(owner: Rc<dyn AsRef<[u8]>>, range: Range<usize>) -> Piece {
        assert!(range.end <= (*owner).as_ref().len(), "BUG: a piece of {range:?} outside of its owner");
        Piece { owner, range }
    }

    pub fn bytes(&self) -> &[u8] {
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or(&[])
    }

    pub fn len(&self) -> usize {
        self.range.len()
    }
}

enum Part {
    Head(Vec<u8>),
    Piece(Piece),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Head(bytes) => bytes,
            Part::Piece(piece) => piece.bytes(),
        }
    }
}

/// The first part, while the writer task waits for the socket to take it.
pub struct HeadInHand {
    part: Part,
    sent: usize,
}

impl HeadInHand {
    pub fn unsent(&self) -> &[u8] {
        self.part.bytes().get(self.sent..).unwrap_or(&[])
    }
}

#[derive(Default)]
pub struct Outbox {
    parts: VecDeque<Part>,
    /// Bytes of the first part that have been sent.
    sent: usize,
    /// Bytes not sent yet, those in the writer's hand included.
    len: usize,
    /// An empty head that keeps its memory.
    spare: Option<Vec<u8>>,
}

impl Outbox {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Lets `write` append frames to the last head.
    pub fn with_head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let open = matches!(self.parts.back(), Some(Part::Head(head)) if head.len() < HEAD_BYTES_MAX);
        if !open {
            let head = self.spare.take().unwrap_or_default();
            self.parts.push_back(Part::Head(head));
        }
        let Some(Part::Head(head)) = self.parts.back_mut() else { unreachable!("BUG: a head was pushed") };
        let before = head.len();
        write(head);
        self.len += head.len() - before;
    }

    pub fn push(
        &mut self,
        api: Api,
        correlation: CorrelationId,
        body: impl FnOnce(&mut Vec<u8>),
        payload: Vec<Piece>,
    ) {
        let payload_len: usize = payload.iter().map(Piece::len).sum();
        self.with_head(|out| {
            append_frame_with_payload(out, api, VERSION, FrameKind::Reply, correlation, payload_len, body);
        });
        self.len += payload_len;
        self.parts.extend(payload.into_iter().map(Part::Piece));
    }

    /// Sends until everything is sent or the socket takes no more.
    pub fn send(&mut self, socket: &Socket) -> io::Result<()> {
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut skip = self.sent;
            let mut count = 0;
            for (slot, part) in slices.iter_mut().zip(&self.parts) {
                *slot = IoSlice::new(part.bytes().get(skip..).unwrap_or(&[]));
                skip = 0;
                count += 1;
            }
            let Some(sent) = socket.try_send(slices.get(..count).unwrap_or(&[])) else { return Ok(()) };
            self.advance(sent?);
        }
        Ok(())
    }

    fn advance(&mut self, sent: usize) {
        self.len -= sent;
        let mut left = self.sent + sent;
        while let Some(part) = self.parts.front() {
            let len = part.bytes().len();
            if left < len {
                break;
            }
            left -= len;
            if let Some(Part::Head(mut head)) = self.parts.pop_front() {
                head.clear();
                self.spare = Some(head);
            }
        }
        self.sent = left;
    }

    pub fn take_head(&mut self) -> Option<HeadInHand> {
        let part = self.parts.pop_front()?;
        Some(HeadInHand { part, sent: std::mem::take(&mut self.sent) })
    }

    pub fn put_back(&mut self, head: HeadInHand, sent: usize) {
        self.parts.push_front(head.part);
        self.sent = head.sent;
        self.advance(sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, body: &[u8], pieces: &[&'static [u8]]) {
        let pieces = pieces.iter().map(|bytes| Piece::new(Rc::new(*bytes), 0..bytes.len())).collect();
        outbox.push(Api::Fetch, CorrelationId::new(1), |out| out.extend_from_slice(body), pieces);
    }

    fn unsent(outbox: &Outbox) -> Vec<u8> {
        let all: Vec<u8> = outbox.parts.iter().flat_map(|part| part.bytes().to_vec()).collect();
        all[outbox.sent..].to_vec()
    }

    #[test]
    fn replies_share_a_head_until_a_piece_stands_between_them() {
        let mut outbox = Outbox::default();
        push(&mut outbox, b"a", &[]);
        push(&mut outbox, b"b", &[b"xyz"]);
        push(&mut outbox, b"c", &[]);
        assert_eq!(outbox.parts.len(), 3);
        assert_eq!(outbox.len(), unsent(&outbox).len());
    }

    #[test]
    fn any_partial_send_continues_where_it_stopped() {
        let mut outbox = Outbox::default();
        push(&mut outbox, b"body", &[b"one", b"two"]);
        push(&mut outbox, b"more", &[b"three"]);
        let all = unsent(&outbox);
        for step in 1..all.len() {
            let mut outbox = Outbox::default();
            push(&mut outbox, b"body", &[b"one", b"two"]);
            push(&mut outbox, b"more", &[b"three"]);
            let mut at = 0;
            while at < all.len() {
                assert_eq!(unsent(&outbox), all[at..]);
                assert_eq!(outbox.len(), all.len() - at);
                let sent = step.min(all.len() - at);
                // Every other time by way of the writer, which holds the first part only.
                if at % 2 == 0 {
                    outbox.advance(sent);
                    at += sent;
                } else {
                    let head = outbox.take_head().unwrap();
                    let sent = sent.min(head.unsent().len());
                    outbox.put_back(head, sent);
                    at += sent;
                }
            }
            assert_eq!((outbox.parts.len(), outbox.len(), outbox.sent), (0, 0, 0));
        }
    }
}
