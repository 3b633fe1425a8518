//! A segment: one append-only file holding batches [base, next) of one partition.
//!
//!     0                    durable_len          len            prepared           (file positions)
//!     |---- on disk, fsynced ----|-- on its way --|···· zeroes ····|   beyond: no extents yet
//!
//! Lives on the partition's home shard only and does no I/O. `prepared` is how far the file's blocks
//! are known to be written and durable, zeroes included: a write inside it is a pure overwrite, which
//! any flush of the device covers; a write past it changes the file's extents and needs the file's
//! own fdatasync (design D4, D6).
//! Invariants: `durable_len <= len`; index positions ascend and stay below `len`; a sealed segment
//! never changes again.

use protocol::model::{Offset, Timestamp};

pub mod name;

pub mod index;
pub use index::{Extent, IndexEntry, SparseIndex};

#[derive(Debug)]
pub struct Segment {
    base: Offset,
    next: Offset,
    len: u64,
    durable_len: u64,
    prepared: u64,
    /// Whether the file exists on disk.
    created: bool,
    sealed: bool,
    max_timestamp: Timestamp,
    index: SparseIndex,
}

impl Segment {
    /// A segment whose file does not exist yet.
    pub fn new(base: Offset) -> Segment {
        Segment {
            base,
            next: base,
            len: 0,
            durable_len: 0,
            prepared: 0,
            created: false,
            sealed: false,
            max_timestamp: Timestamp::MIN,
            index: SparseIndex::default(),
        }
    }

    /// A segment found on disk: all of what `extent` says is durable.
    pub fn recovered(
        base: Offset,
        extent: Extent,
        prepared: u64,
        sealed: bool,
        index: SparseIndex,
    ) -> Segment {
        let Extent { len, next, max_timestamp } = extent;
        let created = true;
        Segment { base, next, len, durable_len: len, prepared, created, sealed, max_timestamp, index }
    }

    pub fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of batches accepted.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn durable_len(&self) -> u64 {
        self.durable_len
    }

    pub fn prepared(&self) -> u64 {
        self.prepared
    }

    pub fn is_created(&self) -> bool {
        self.created
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub fn index(&self) -> &SparseIndex {
        &self.index
    }

    pub fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// What an index file would say of the segment as it is.
    pub fn extent(&self) -> Extent {
        Extent { len: self.len, next: self.next, max_timestamp: self.max_timestamp }
    }

    pub fn index_bytes(&self) -> Vec<u8> {
        self.index.to_bytes(self.extent())
    }

    /// Takes note of a batch placed at the segment's end.
    pub fn push(&mut self, base_offset: Offset, next: Offset, batch_len: u64, max_timestamp: Timestamp) {
        assert!(!self.sealed, "BUG: append to a sealed segment");
        assert!(
            self.next == base_offset && base_offset < next,
            "BUG: batch [{base_offset}, {next}) in {self:?}"
        );
        self.index.note(self.base, base_offset, self.len, self.max_timestamp);
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
        self.len += batch_len;
        self.next = next;
    }

    pub fn seal(&mut self) {
        self.sealed = true;
    }

    pub fn mark_created(&mut self) {
        self.created = true;
    }

    pub fn mark_durable(&mut self, upto: u64) {
        self.durable_len = self.durable_len.max(upto);
        self.check();
    }

    /// Blocks up to `upto` are written and durable.
    pub fn mark_prepared(&mut self, upto: u64) {
        self.prepared = self.prepared.max(upto);
    }

    fn check(&self) {
        assert!(self.durable_len <= self.len, "BUG: segment durable past its end: {self:?}");
    }
}
