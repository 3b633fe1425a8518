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

    /// The next larger capacity, for a peer that fills what it has in one read.
    pub fn grown(&self) -> usize {
        (self.capacity() * 2).min(RECEIVE_BYTES_MAX).max(self.capacity())
    }

    /// Room to receive into, after moving what is unread to the front.
    pub fn free(&mut self, capacity: usize) -> &mut [u8] {
        self.move_to_front();
        if self.bytes.len() < capacity {
            self.bytes.resize(capacity, 0);
        }
        &mut self.bytes[self.end..]
    }

    pub fn received(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len(), "BUG: received more than there was room for");
    }

    /// Whether there is more than an idle connection has, and nothing unread.
    pub fn is_oversized(&self) -> bool {
        self.start == self.end && RECEIVE_BYTES_MIN < self.capacity()
    }

    /// Gives memory back beyond what is unread. The bytes that are kept, 0 if they are no more than an idle
    /// connection has.
    pub fn shrink(&mut self) -> usize {
        let keep = self.unread().len().max(RECEIVE_BYTES_MIN);
        if keep < self.capacity() {
            self.move_to_front();
            self.bytes.truncate(keep);
            self.bytes.shrink_to_fit();
        }
        if self.capacity() == RECEIVE_BYTES_MIN { 0 } else { self.capacity() }
    }

    fn move_to_front(&mut self) {
        if 0 < self.start {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
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
        assert_eq!((buffer.shrink(), buffer.unread()), (0, &b"cdefgh"[..]));
        buffer.free(1 << 20)[..20_000].fill(7);
        buffer.received(20_000);
        buffer.consume(1000);
        assert_eq!((buffer.shrink(), buffer.capacity()), (19_006, 19_006));
        assert_eq!(buffer.unread(), [7; 19_006]);
        buffer.consume(19_006);
        assert_eq!((buffer.shrink(), buffer.capacity()), (0, RECEIVE_BYTES_MIN));
    }

    #[test]
    fn grows_with_full_reads_up_to_a_limit() {
        assert_eq!(ReceiveBuffer::new(b"").grown(), 2 * RECEIVE_BYTES_MIN);
        for large in [RECEIVE_BYTES_MAX, RECEIVE_BYTES_MAX + 1] {
            assert_eq!(ReceiveBuffer::new(&vec![0; large]).grown(), large);
        }
    }
}
