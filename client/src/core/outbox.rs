//! What a connection still has to write: parts of frames end to end, never joined by copying.
//!
//!     push ─▶ │head│ batch │ batch │head│ batch │        slices()  ─▶ one vectored write
//!                  ▲ advance(n)          └ mark          advance(n) ─▶ the marks that were passed
//!
//! A mark stands behind the last byte of a frame that gets no reply: passing it is all that its
//! sender will ever learn.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

#[derive(Debug)]
pub struct Outbox<M> {
    parts: VecDeque<Bytes>,
    /// Bytes ever pushed, and ever written: positions in the connection's stream.
    pushed: u64,
    written: u64,
    marks: VecDeque<(u64, M)>,
}

impl<M> Outbox<M> {
    pub fn new() -> Outbox<M> {
        Outbox { parts: VecDeque::new(), pushed: 0, written: 0, marks: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.pushed += part.len() as u64;
            self.parts.push_back(part);
        }
    }

    /// Asks for `mark` back when everything pushed so far is written.
    pub fn mark(&mut self, mark: M) {
        self.marks.push_back((self.pushed, mark));
    }

    /// Fills `slices` with what comes next and returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = self.parts.len().min(slices.len());
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
        }
        count
    }

    /// `len` more bytes were written.
    pub fn advance(&mut self, mut len: usize) {
        self.written += len as u64;
        while len > 0 {
            let front = self.parts.front_mut().expect("BUG: more was written than there is");
            if front.len() > len {
                front.advance(len);
                return;
            }
            len -= front.len();
            self.parts.pop_front();
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
        for step in 1..=9 {
            let mut outbox = Outbox::new();
            for part in ["head", "", "batch", "h", "b"] {
                outbox.push(Bytes::from_static(part.as_bytes()));
            }
            outbox.mark("done");
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
            assert_eq!((out, outbox.poll_mark()), (b"headbatchhb".to_vec(), Some("done")));
        }
    }
}
