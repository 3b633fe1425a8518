//! Chunks: one aligned buffer is the write buffer, then the hot cache, then the fetch buffer.
//!
//!     file    … ─────┬──────────────┬ ─ ─ ─ ─ ─        blocks of 4096 bytes
//!                    │ carry│ batch │ batch │ 0 0 │
//!     chunk          └──────┴───────┴───────┴─────┘
//!                    ▲ file_pos      data ▲    ▲ trimmed to a block
//!
//! Batches are copied in once. When a chunk is sealed its padding is zeroed and it never changes
//! again; its last partial block becomes the `carry` at the head of the next chunk, which rewrites
//! that block with the same prefix. So an acknowledged byte is written again only as itself, and a
//! torn rewrite cannot harm it (design D5).
//!
//! A chunk that was sealed mostly empty moves to a buffer of its own size: one record of 1 KiB would
//! otherwise keep 1 MiB in the cache. The copy is at most a quarter of a chunk, and then rare.

use std::rc::Rc;

use protocol::batch::stamp;
use protocol::model::{LeaderEpoch, Offset};

use crate::disk::{BLOCK, Buf, Buffers, align_up};

/// Size of a chunk with backlog. 1 MiB commits reach the disk's bandwidth, 196 KiB ones half of it
/// (datapath.md section 1).
pub const CHUNK_BYTES: usize = 2 << 20;

/// Size of the first chunk after a pause; grows to [`CHUNK_BYTES`] with what the last one held.
pub const CHUNK_BYTES_MIN: usize = 16 << 10;

/// A chunk that takes batches.
pub struct OpenChunk<B> {
    segment: Offset,
    file_pos: u64,
    carry: usize,
    len: usize,
    base: Offset,
    next: Offset,
    buf: B,
}

impl<B: Buf> OpenChunk<B> {
    /// A chunk that continues `segment` at the block `file_pos`, whose first bytes are `carry`. It
    /// takes `size` bytes, carry included, or as many as the batch of `batch_len` needs. Sizes are
    /// powers of two where they can be: the pool behind `buffers` rounds up to them.
    pub fn new(
        segment: Offset,
        file_pos: u64,
        carry: &[u8],
        base: Offset,
        size: usize,
        batch_len: usize,
        buffers: &impl Buffers<Buf = B>,
    ) -> OpenChunk<B> {
        assert!(carry.len() < BLOCK && file_pos.is_multiple_of(BLOCK as u64), "BUG: chunk at {file_pos}");
        let capacity = (carry.len() + batch_len).next_multiple_of(BLOCK).max(size);
        let mut buf = buffers.alloc(capacity);
        let head = buf.as_mut().get_mut(..carry.len()).expect("BUG: a buffer is as long as asked for");
        head.copy_from_slice(carry);
        OpenChunk { segment, file_pos, carry: carry.len(), len: carry.len(), base, next: base, buf }
    }

    pub fn has_room(&self, batch_len: usize) -> bool {
        self.buf.as_ref().len() - self.len >= batch_len
    }

    /// Copies a batch in and writes its offset and epoch: the broker's only change to it.
    pub fn push(&mut self, batch: &[u8], base: Offset, next: Offset, epoch: LeaderEpoch) {
        assert!(base == self.next && base < next, "BUG: batch [{base}, {next}) after {}", self.next);
        let end = self.len + batch.len();
        let place = self.buf.as_mut().get_mut(self.len..end).expect("BUG: has_room was not asked");
        place.copy_from_slice(batch);
        stamp(place, base, epoch);
        self.len = end;
        self.next = next;
    }

    pub fn data_len(&self) -> usize {
        self.len - self.carry
    }

    pub fn seal(mut self, buffers: &impl Buffers<Buf = B>) -> Chunk<B> {
        let written = align_up(self.len as u64) as usize;
        self.buf.as_mut()[self.len..written].fill(0);
        let allocated = self.buf.as_ref().len();
        let (buf, memory) = if written * 4 <= allocated {
            let mut small = buffers.alloc(written);
            small.as_mut().copy_from_slice(&self.buf.as_ref()[..written]);
            (small, written)
        } else {
            self.buf.trim(written);
            (self.buf, allocated)
        };
        Chunk {
            segment: self.segment,
            file_pos: self.file_pos,
            carry: self.carry,
            len: self.len,
            base: self.base,
            next: self.next,
            buf: Rc::new(buf),
            memory: memory.next_power_of_two(),
        }
    }
}

/// A sealed chunk: on its way to disk, or there and kept for readers.
pub struct Chunk<B> {
    segment: Offset,
    file_pos: u64,
    carry: usize,
    len: usize,
    base: Offset,
    next: Offset,
    buf: Rc<B>,
    memory: usize,
}

impl<B> Clone for Chunk<B> {
    fn clone(&self) -> Chunk<B> {
        Chunk { buf: self.buf.clone(), ..*self }
    }
}

impl<B: Buf> Chunk<B> {
    pub fn segment(&self) -> Offset {
        self.segment
    }

    pub fn file_pos(&self) -> u64 {
        self.file_pos
    }

    /// Position behind the last batch.
    pub fn end_pos(&self) -> u64 {
        self.file_pos + self.len as u64
    }

    /// Position behind the padding.
    pub fn write_end(&self) -> u64 {
        align_up(self.end_pos())
    }

    pub fn base(&self) -> Offset {
        self.base
    }

    pub fn next(&self) -> Offset {
        self.next
    }

    pub fn buf(&self) -> &Rc<B> {
        &self.buf
    }

    /// Where the batches stand in the buffer.
    pub fn data_range(&self) -> std::ops::Range<usize> {
        self.carry..self.len
    }

    pub fn data(&self) -> &[u8] {
        &(*self.buf).as_ref()[self.carry..self.len]
    }

    /// The bytes of the last block if it is partial: the next chunk begins with them.
    pub fn tail(&self) -> &[u8] {
        let start = self.len - self.len % BLOCK;
        &(*self.buf).as_ref()[start..self.len]
    }

    /// What the chunk costs while it is kept: trimming gives nothing back, and the pool rounds up to
    /// powers of two.
    pub fn memory(&self) -> usize {
        self.memory
    }
}
