//! Lines of a byte stream, many at a time, each a slice of the buffer it was read into.
//!
//!     read   │a\nbb\ncc│ ─▶ [a] [bb]          what follows the last newline waits for the next read
//!     read   │c\n      │ ─▶ [ccc]
//!     end              ─▶ the last line needs no newline
//!
//! A terminal or a pipe hands over what it has, so a line that was typed is sent at once.

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};
use protocol::model::limits::BATCH_BYTES_MAX;

const READ_BYTES: usize = 256 << 10;

/// No batch holds a longer one.
const LINE_BYTES_MAX: usize = BATCH_BYTES_MAX;

pub struct Lines<R> {
    input: R,
    /// Bytes after the last newline.
    partial: BytesMut,
    ended: bool,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R) -> Lines<R> {
        Lines { input, partial: BytesMut::new(), ended: false }
    }

    fn read_more(&mut self) -> io::Result<Vec<Bytes>> {
        let seen = self.partial.len();
        // Zeroing what will be read over costs little beside the read; a safe `Read` asks for it.
        self.partial.resize(seen + READ_BYTES, 0);
        let read = self.input.read(self.partial.get_mut(seen..).unwrap_or_default());
        self.partial.truncate(seen + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            self.ended = true;
            let last = self.partial.split().freeze();
            return Ok(if last.is_empty() { Vec::new() } else { vec![last] });
        }
        // The bytes seen before hold no newline: a long line is not searched again with each read.
        let fresh = self.partial.get(seen..).unwrap_or_default();
        let Some(end) = fresh.iter().rposition(|byte| *byte == b'\n') else {
            return if self.partial.len() <= LINE_BYTES_MAX { Ok(Vec::new()) } else { Err(too_long()) };
        };
        Ok(split(self.partial.split_to(seen + end + 1).freeze()))
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<Vec<Bytes>>;

    /// At least one line; `None` at the end.
    fn next(&mut self) -> Option<io::Result<Vec<Bytes>>> {
        while !self.ended {
            match self.read_more() {
                Ok(lines) if lines.is_empty() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                lines => {
                    self.ended |= lines.is_err();
                    return Some(lines);
                }
            }
        }
        None
    }
}

/// The lines of `bytes`, which end with a newline.
fn split(mut bytes: Bytes) -> Vec<Bytes> {
    let mut lines = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        lines.push(bytes.split_to(end));
        bytes.advance(1);
    }
    lines
}

fn too_long() -> io::Error {
    io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes, and no batch would hold it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one of its pieces per read.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            out[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn lines(pieces: &[&'static [u8]]) -> Vec<Vec<Bytes>> {
        Lines::new(Pieces(pieces.to_vec())).map(|chunk| chunk.unwrap()).collect()
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(lines(&[b"a\nbb\ncc", b"c", b"\n"]), [vec!["a", "bb"], vec!["ccc"]]);
    }

    #[test]
    fn the_last_line_needs_no_newline_and_empty_lines_are_records() {
        assert_eq!(lines(&[b"a\n\nb"]), [vec!["a", ""], vec!["b"]]);
        assert_eq!(lines(&[b"\n"]), [vec![""]]);
        assert_eq!(lines(&[]), Vec::<Vec<Bytes>>::new());
    }

    #[test]
    fn a_line_that_no_batch_holds_ends_the_input() {
        let mut lines = Lines::new(io::repeat(b'x'));
        assert!(lines.next().unwrap().unwrap_err().to_string().contains("longer than 8388608 bytes"));
        assert!(lines.next().is_none());
    }
}
