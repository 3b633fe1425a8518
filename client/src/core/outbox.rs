//! What a connection still has to write: parts of frames end to end.
//!
//!     write, push ─▶ │head+small batch+head│ batch │head+small│   take_from, slices() ─▶ one vectored write
//!                     one buffer            ▲ advance(n)    └ mark        advance(n) ─▶ the marks passed
//!
//! What is small is joined by copying, what is large is not: a slice of its own costs the kernel and
//! us about as much as copying 2 KiB. Whoever sends fills one outbox, under a lock; the writer moves
//! what is in it to another, and its empty buffers back.
//! A mark stands behind the last byte of a frame that gets no reply: passing it is all that its
//! sender will ever learn.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Parts up to this size are copied.
pub const COPIED_BYTES_MAX: usize = 2 << 10;

/// A buffer of copied parts is not made longer than this, and kept for further ones only if it is not.
const TAIL_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub struct Outbox<M> {
    parts: VecDeque<Part>,
    /// The last part, while it still grows.
    tail: Vec<u8>,
    /// An empty buffer, for the next tail.
    spare: Vec<u8>,
    /// Bytes ever pushed, and ever written: positions in the connection's stream.
    pushed: u64,
    written: u64,
    marks: VecDeque<(u64, M)>,
}

#[derive(Debug)]
enum Part {
    Joined { bytes: Vec<u8>, from: usize },
    Slice(Bytes),
}

impl Part {
    fn rest(&self) -> &[u8] {
        match self {
            Part::Joined { bytes, from } => &bytes[*from..],
            Part::Slice(bytes) => bytes,
        }
    }
}

impl<M> Outbox<M> {
    pub fn new() -> Outbox<M> {
        Outbox {
            parts: VecDeque::new(),
            tail: Vec::new(),
            spare: Vec::new(),
            pushed: 0,
            written: 0,
            marks: VecDeque::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty()
    }

    /// Adds what `write` appends to the buffer that it is given.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.pushed += (self.tail.len() - before) as u64;
        if self.tail.len() >= TAIL_BYTES {
            self.end_tail();
        }
    }

    pub fn push(&mut self, part: &Bytes) {
        if part.len() <= COPIED_BYTES_MAX {
            return self.write(|tail| tail.extend_from_slice(part));
        }
        self.end_tail();
        self.pushed += part.len() as u64;
        self.parts.push_back(Part::Slice(part.clone()));
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            let bytes = std::mem::replace(&mut self.tail, std::mem::take(&mut self.spare));
            self.parts.push_back(Part::Joined { bytes, from: 0 });
        }
    }

    /// Moves everything from `other`, whose only reader this is, behind what is here.
    pub fn take_from(&mut self, other: &mut Outbox<M>) {
        other.end_tail();
        self.parts.append(&mut other.parts);
        self.marks.append(&mut other.marks);
        self.pushed = other.pushed;
        if other.tail.capacity() == 0 {
            other.tail = std::mem::take(&mut self.spare);
        }
    }

    /// Asks for `mark` back when everything pushed so far is written.
    pub fn mark(&mut self, mark: M) {
        self.marks.push_back((self.pushed, mark));
    }

    /// Fills `slices` with what comes next and returns how many were filled. What was written or pushed
    /// here and not moved from another outbox is not among it.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = self.parts.len().min(slices.len());
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part.rest());
        }
        count
    }

    /// `len` more bytes were written.
    pub fn advance(&mut self, mut len: usize) {
        self.written += len as u64;
        while len > 0 {
            let front = self.parts.front_mut().expect("BUG: more was written than there is");
            let rest = front.rest().len();
            if rest > len {
                match front {
                    Part::Joined { from, .. } => *from += len,
                    Part::Slice(bytes) => bytes.advance(len),
                }
                return;
            }
            len -= rest;
            if let Some(Part::Joined { mut bytes, .. }) = self.parts.pop_front()
                && bytes.capacity() <= 2 * TAIL_BYTES
            {
                bytes.clear();
                self.spare = bytes;
            }
        }
    }

    /// The next mark whose bytes are all written.
    pub fn poll_mark(&mut self) -> Option<M> {
        let (at, _) = self.marks.front()?;
        if *at <= self.written { self.marks.pop_front().map(|(_, mark)| mark) } else { None }
    }

    /// The marks that will not be reached.
    pub fn drain_marks(&mut self) -> impl Iterator<Item = M> + '_ {
        self.marks.drain(..).map(|(_, mark)| mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_short_write_goes_on_where_it_stopped() {
        for step in [1, 2, 3, 5, 9, 2047, 2048, 2049, 9999] {
            let (mut queue, mut outbox) = (Outbox::new(), Outbox::new());
            let large = Bytes::from(vec![b'L'; COPIED_BYTES_MAX + 1]);
            for part in [b"head"[..].into(), Bytes::new(), large.clone(), b"h"[..].into(), b"b"[..].into()] {
                queue.push(&part);
                outbox.take_from(&mut queue);
            }
            queue.push(&large);
            queue.write(|out| out.extend_from_slice(b"tail"));
            queue.mark("done");
            outbox.take_from(&mut queue);
            let mut out = Vec::new();
            while !outbox.is_empty() {
                assert_eq!(outbox.poll_mark(), None);
                let mut slices = [IoSlice::new(&[]); 3];
                let count = outbox.slices(&mut slices);
                let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                let len = step.min(bytes.len());
                out.extend_from_slice(&bytes[..len]);
                outbox.advance(len);
            }
            let expected = [b"head", &large[..], b"hb", &large, b"tail"].concat();
            assert_eq!((out, outbox.poll_mark()), (expected, Some("done")));
        }
    }
}
