//! Bytes received and not yet understood: one contiguous buffer per connection.
//!
//!     │ used up │ unread: frames, the last one perhaps cut off │ free │
//!     0       start                                           end    len
//!
//! Contiguous, so that a frame is read in place; it is copied once, into a chunk, and that copy is
//! cheap (x0.93 to 1.01, datapath.md). Grows with the peer's rate and with its frames, and shrinks when
//! the peer has sent nothing for a while: new memory for each large frame costs x0.6.

/// What a connection costs while it is idle.
pub const RECEIVE_BYTES_MIN: usize = 16 << 10;

/// How large a buffer grows by itself; a larger frame makes room for itself.
pub const RECEIVE_BYTES_MAX: usize = 512 << 10;

pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReceiveBuffer {
    pub fn new(received: &[u8]) -> ReceiveBuffer {
        let mut bytes = vec![0; RECEIVE_BYTES_MIN.max(received.len())];
        bytes[..received.len()].copy_from_slice(received);
        ReceiveBuffer { bytes, start: 0, end: received.len() }
    }

    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "BUG: consumed more than was received");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The capacity it takes to receive a frame of `frame_len` bytes, or more of small ones. A large frame has to
    /// fill what a buffer grows to by itself before it is given more: its length alone is cheaply said.
    pub fn wanted_capacity(&self, frame_len: usize, filled_last_read: bool) -> usize {
        let grown = if filled_last_read { (self.capacity() * 2).min(RECEIVE_BYTES_MAX) } else { 0 };
        let is_meant = RECEIVE_BYTES_MAX <= self.unread().len();
        let frame_len = if is_meant { frame_len } else { frame_len.min(RECEIVE_BYTES_MAX) };
        frame_len.max(grown).max(self.capacity())
    }

    /// Room to receive into, after moving what is unread to the front.
    pub fn free(&mut self, capacity: usize) -> &mut [u8] {
        if 0 < self.start {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < capacity {
            self.bytes.resize(capacity, 0);
        }
        &mut self.bytes[self.end..]
    }

    pub fn received(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len(), "BUG: received more than there was room for");
    }

    /// Whether there is more than it takes, and nothing unread.
    pub fn is_oversized(&self) -> bool {
        self.start == self.end && RECEIVE_BYTES_MAX < self.capacity()
    }

    /// Gives memory back that a large frame had needed. Only while nothing is unread.
    pub fn shrink(&mut self) {
        if self.is_oversized() {
            self.bytes.truncate(RECEIVE_BYTES_MAX);
            self.bytes.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_survives_moving_and_growing() {
        let mut buffer = ReceiveBuffer::new(b"abcdef");
        buffer.consume(2);
        let free = buffer.free(1 << 20);
        assert_eq!(free.len(), (1 << 20) - 4);
        free[..2].copy_from_slice(b"gh");
        buffer.received(2);
        assert_eq!(buffer.unread(), b"cdefgh");
        buffer.consume(6);
        buffer.shrink();
        assert_eq!((buffer.unread(), buffer.capacity()), (&b""[..], RECEIVE_BYTES_MAX));
    }

    #[test]
    fn grows_with_full_reads_up_to_a_limit_and_beyond_it_for_a_frame() {
        let buffer = ReceiveBuffer::new(b"");
        assert_eq!(buffer.wanted_capacity(100, false), RECEIVE_BYTES_MIN);
        assert_eq!(buffer.wanted_capacity(100, true), 2 * RECEIVE_BYTES_MIN);
        assert_eq!(buffer.wanted_capacity(1 << 20, true), RECEIVE_BYTES_MAX);
        let full = ReceiveBuffer::new(&vec![0; RECEIVE_BYTES_MAX]);
        assert_eq!(full.wanted_capacity(100, true), RECEIVE_BYTES_MAX);
        assert_eq!(full.wanted_capacity(1 << 20, true), 1 << 20);
    }
}
