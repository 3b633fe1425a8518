//! Replies on their way out: small heads in one buffer, record sets where they lie.
//!
//!     │ head │ piece │ piece │ head │ piece │ …       one vectored send takes up to 64
//!        │     ▲ chunk of the log, pooled read buffer: referred to, never copied
//!        ▼
//!     heads: one buffer for all of them, so that a reply allocates nothing

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;

use protocol::api::{Api, VERSION};
use protocol::frame::{FrameKind, append_frame_with_payload};
use protocol::model::CorrelationId;
use smallvec::SmallVec;

use crate::runtime::loan::Steady;
use crate::runtime::net::Socket;

/// Slices in one send; far below the kernel's limit of 1024, and 64 chunks are 64 MiB.
const SLICES_MAX: usize = 64;

/// Memory for heads that a connection keeps when all are sent.
const HEAD_BYTES_KEPT: usize = 64 << 10;

/// Bytes that belong to somebody else and are sent from where they lie.
#[derive(Clone)]
pub struct Piece {
    owner: Rc<dyn Steady>,
    range: Range<usize>,
}

impl Piece {
    pub fn new(owner: Rc<dyn Steady>, range: Range<usize>) -> Piece {
        assert!(range.end <= (*owner).as_ref().len(), "BUG: a piece of {range:?} outside of its owner");
        Piece { owner, range }
    }

    pub fn bytes(&self) -> &[u8] {
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or(&[])
    }

    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whose bytes, and which.
    pub fn into_parts(self) -> (Rc<dyn Steady>, Range<usize>) {
        (self.owner, self.range)
    }
}

/// Where frames are cut for pieces: a position in the buffer, and what is sent before the byte there.
pub type Cuts = SmallVec<[(usize, SmallVec<[Piece; 2]>); 1]>;

enum Part {
    /// So many of the bytes in [`Outbox::heads`], behind those of the heads before it.
    Head(usize),
    Piece(Piece),
}

/// The unsent bytes of the first part, for the writer task, which waits for the socket to take them.
pub enum First {
    /// A copy: heads are added meanwhile, and their buffer moves.
    Head(Vec<u8>),
    Piece(Piece),
}

impl First {
    pub fn bytes(&self) -> &[u8] {
        match self {
            First::Head(bytes) => bytes,
            First::Piece(piece) => piece.bytes(),
        }
    }
}

#[derive(Default)]
pub struct Outbox {
    parts: VecDeque<Part>,
    /// The bytes of all heads, one head behind the other, and before them some that have been sent.
    heads: Vec<u8>,
    /// Where the first unsent byte of a head is.
    heads_sent: usize,
    /// Bytes of the first part that have been sent, if it is a piece.
    sent: usize,
    /// Bytes not sent yet.
    len: usize,
}

impl Outbox {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Lets `write` append frames to the last head.
    pub fn with_head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.forget_sent_heads();
        let before = self.heads.len();
        write(&mut self.heads);
        self.push_head(self.heads.len() - before);
    }

    /// Lets `write` append a frame of which it returns the cuts: where in the buffer, and which pieces are
    /// sent before the byte there.
    pub fn with_cuts(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Cuts) {
        self.forget_sent_heads();
        let mut from = self.heads.len();
        let cuts = write(&mut self.heads);
        for (cut, pieces) in cuts {
            self.push_head(cut - from);
            from = cut;
            for piece in pieces {
                self.len += piece.len();
                self.parts.push_back(Part::Piece(piece));
            }
        }
        self.push_head(self.heads.len() - from);
    }

    /// So many bytes more of the heads are to be sent, behind what is there.
    fn push_head(&mut self, more: usize) {
        self.len += more;
        match self.parts.back_mut() {
            _ if more == 0 => {}
            Some(Part::Head(len)) => *len += more,
            _ => self.parts.push_back(Part::Head(more)),
        }
    }

    /// Puts what another outbox holds, of which nothing was sent, behind what is there.
    pub fn append(&mut self, other: Outbox) {
        assert_eq!((other.heads_sent, other.sent), (0, 0), "BUG: a part of it was sent");
        self.forget_sent_heads();
        self.heads.extend_from_slice(&other.heads);
        for part in other.parts {
            match part {
                Part::Head(len) => self.push_head(len),
                Part::Piece(piece) => {
                    self.len += piece.len();
                    self.parts.push_back(Part::Piece(piece));
                }
            }
        }
    }

    /// Makes room where heads were that have been sent. No more bytes are moved than were sent.
    fn forget_sent_heads(&mut self) {
        let unsent = self.heads.len() - self.heads_sent;
        if HEAD_BYTES_KEPT.max(unsent) <= self.heads_sent {
            self.heads.drain(..self.heads_sent);
            self.heads_sent = 0;
        }
    }

    pub fn push(
        &mut self,
        api: Api,
        correlation: CorrelationId,
        body: impl FnOnce(&mut Vec<u8>),
        payload: impl AsRef<[Piece]> + IntoIterator<Item = Piece>,
    ) {
        let payload_len: usize = payload.as_ref().iter().map(Piece::len).sum();
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
            let mut count = 0;
            for (slot, bytes) in slices.iter_mut().zip(self.unsent()) {
                *slot = IoSlice::new(bytes);
                count += 1;
            }
            let Some(sent) = socket.try_send(slices.get(..count).unwrap_or(&[])) else { return Ok(()) };
            self.advance(sent?);
        }
        Ok(())
    }

    /// What is to be sent, part by part.
    fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        let (mut heads, mut skip) = (self.heads_sent, self.sent);
        self.parts.iter().map(move |part| {
            let skipped = std::mem::take(&mut skip);
            match part {
                Part::Head(len) => {
                    heads += len;
                    self.heads.get(heads - len..heads).expect("BUG: a head lies in the heads")
                }
                Part::Piece(piece) => piece.bytes().get(skipped..).unwrap_or(&[]),
            }
        })
    }

    /// The socket has taken so many bytes.
    pub fn advance(&mut self, sent: usize) {
        self.len -= sent;
        let mut left = sent;
        while let Some(part) = self.parts.front_mut() {
            match part {
                Part::Head(len) => {
                    let taken = left.min(*len);
                    self.heads_sent += taken;
                    *len -= taken;
                    left -= taken;
                    if 0 < *len {
                        break;
                    }
                }
                Part::Piece(piece) => {
                    let unsent = piece.len() - self.sent;
                    if left < unsent {
                        self.sent += left;
                        break;
                    }
                    left -= unsent;
                    self.sent = 0;
                }
            }
            self.parts.pop_front();
        }
        if self.heads_sent == self.heads.len() {
            self.heads.clear();
            self.heads.shrink_to(HEAD_BYTES_KEPT);
            self.heads_sent = 0;
        }
    }

    /// The first part that is not sent; nothing else may be sent until it was taken.
    pub fn first(&self) -> Option<First> {
        let bytes = self.unsent().next()?;
        Some(match self.parts.front()? {
            Part::Head(_) => First::Head(bytes.iter().copied().take(HEAD_BYTES_KEPT).collect()),
            Part::Piece(piece) => {
                let range = piece.range.start + self.sent..piece.range.end;
                First::Piece(Piece { owner: piece.owner.clone(), range })
            }
        })
    }
}

#[cfg(test)]
impl Outbox {
    pub fn unsent_bytes(&self) -> Vec<u8> {
        self.unsent().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, body: &[u8], pieces: &[&'static [u8]]) {
        let pieces: Vec<Piece> =
            pieces.iter().map(|bytes| Piece::new(Rc::new(*bytes), 0..bytes.len())).collect();
        outbox.push(Api::Fetch, CorrelationId::new(1), |out| out.extend_from_slice(body), pieces);
    }

    fn unsent(outbox: &Outbox) -> Vec<u8> {
        outbox.unsent_bytes()
    }

    #[test]
    fn a_frame_is_cut_for_its_pieces() {
        let piece = |bytes: &'static [u8]| Piece::new(Rc::new(bytes), 0..bytes.len());
        let mut outbox = Outbox::default();
        push(&mut outbox, b"before", &[]);
        let before = outbox.len();
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"abcd");
            let at = |cut| out.len() - 4 + cut;
            smallvec::smallvec![
                (at(1), smallvec::smallvec![piece(b"ONE")]),
                (at(1), smallvec::smallvec![]),
                (at(4), smallvec::smallvec![piece(b"TWO"), piece(b"THREE")]),
            ]
        };
        outbox.with_cuts(write);
        assert_eq!(unsent(&outbox)[before..], *b"aONEbcdTWOTHREE");
        assert_eq!(outbox.len(), unsent(&outbox).len());
        let mut other = Outbox::default();
        other.with_cuts(write);
        push(&mut other, b"after", &[b"piece"]);
        let (first, second) = (unsent(&outbox), unsent(&other));
        outbox.append(other);
        assert_eq!(unsent(&outbox), [first, second].concat());
        assert_eq!(outbox.len(), unsent(&outbox).len());
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
                    let first = outbox.first().unwrap();
                    let sent = sent.min(first.bytes().len());
                    assert!(all[at..].starts_with(first.bytes()));
                    outbox.advance(sent);
                    at += sent;
                }
            }
            assert_eq!((outbox.parts.len(), outbox.len(), outbox.sent), (0, 0, 0));
        }
    }
    #[test]
    fn the_buffer_of_heads_is_as_large_as_what_is_owed() {
        let mut outbox = Outbox::default();
        let mut rest = Vec::new();
        for n in 0..10_000u32 {
            push(&mut outbox, &n.to_le_bytes().repeat(10), &[b"piece"]);
            let owed = unsent(&outbox);
            assert!(owed.starts_with(&rest), "nothing is sent twice or left out");
            // A peer that is two replies behind.
            let sent = owed.len().saturating_sub(150);
            outbox.advance(sent);
            rest = owed[sent..].to_vec();
        }
        assert!(outbox.heads.capacity() <= 4 * HEAD_BYTES_KEPT, "{} bytes", outbox.heads.capacity());
        outbox.advance(outbox.len());
        assert_eq!((outbox.heads.len(), outbox.heads_sent, outbox.parts.len()), (0, 0, 0));
    }
}
