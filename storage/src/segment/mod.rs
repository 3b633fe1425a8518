//! A segment: one append-only file holding batches [base, next) of one partition.
//!
//!     0                durable_len    written_len          len            prepared     (file positions)
//!     |---- on disk, fsynced --|-- in file --|-- on its way --|···· zeroes ····|   beyond: no extents
//!
//! Lives on the partition's home shard only and does no I/O. `prepared` is how far the file's blocks
//! are known to be written and durable, zeroes included: a write inside it is a pure overwrite, which
//! any flush of the device covers; a write past it changes the file's extents and needs the file's
//! own fdatasync (design D4, D6).
//! Invariants: `durable_len <= written_len <= len`; index positions ascend and stay below `len`; a sealed segment
//! never changes again, unless compaction puts another file in its place, which counts as another
//! generation.

use protocol::model::{Offset, Timestamp};

pub mod name;

pub mod swap;

pub mod index;
pub use index::{Extent, IndexEntry, IndexFile, SparseIndex};

#[derive(Debug)]
pub struct Segment {
    base: Offset,
    extent: Extent,
    written_len: u64,
    durable_len: u64,
    prepared: u64,
    origin: Origin,
    sealed: bool,
    /// Counts the files that have held this segment: compaction puts another one in its place.
    generation: u32,
    index: SparseIndex,
    /// The log's producers when the segment was sealed, until they stand in its index file.
    producers: Option<Box<[u8]>>,
}

/// How the segment's file comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is there.
    Exists,
    /// It is created with the first write.
    New,
    /// The log's spare file is given the segment's name with the first write.
    Spare,
}

impl Segment {
    /// A segment whose file does not exist yet.
    pub fn new(base: Offset) -> Segment {
        Segment {
            base,
            extent: Extent::empty(base),
            written_len: 0,
            durable_len: 0,
            prepared: 0,
            origin: Origin::New,
            sealed: false,
            generation: 0,
            index: SparseIndex::default(),
            producers: None,
        }
    }

    /// A segment that takes over the spare file, whose blocks below `prepared` are written zeroes.
    pub fn from_spare(base: Offset, prepared: u64) -> Segment {
        Segment { prepared, origin: Origin::Spare, ..Segment::new(base) }
    }

    /// A segment found on disk: all of what `extent` says is durable.
    pub fn recovered(
        base: Offset,
        extent: Extent,
        prepared: u64,
        sealed: bool,
        index: SparseIndex,
    ) -> Segment {
        let origin = Origin::Exists;
        let (written_len, durable_len) = (extent.len, extent.len);
        Segment { extent, written_len, durable_len, prepared, origin, sealed, index, ..Segment::new(base) }
    }

    /// What compaction has made of the segments from this one on, up to `extent.next`.
    pub fn compacted(&self, extent: Extent, index: SparseIndex) -> Segment {
        let generation = self.generation + 1;
        Segment { generation, ..Segment::recovered(self.base, extent, extent.len, true, index) }
    }

    pub fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of batches accepted.
    pub fn len(&self) -> u64 {
        self.extent.len
    }

    /// The offset after the last one.
    pub fn next(&self) -> Offset {
        self.extent.next
    }

    pub fn is_empty(&self) -> bool {
        self.extent.len == 0
    }

    /// Bytes whose write has completed.
    pub fn written_len(&self) -> u64 {
        self.written_len
    }

    pub fn durable_len(&self) -> u64 {
        self.durable_len
    }

    pub fn prepared(&self) -> u64 {
        self.prepared
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub fn index(&self) -> &SparseIndex {
        &self.index
    }

    /// What an index file would say of the segment as it is.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The index file of the segment as it is. `producers` are those at its end.
    pub fn index_bytes(&self, producers: &[u8]) -> Vec<u8> {
        self.index.to_bytes(self.extent, self.sealed, producers)
    }

    pub fn producers(&self) -> Option<&[u8]> {
        self.producers.as_deref()
    }

    /// Takes note of a batch placed at the segment's end, at `now` by the broker's clock.
    pub fn push(&mut self, base: Offset, next: Offset, len: u64, max_timestamp: Timestamp, now: Timestamp) {
        assert!(!self.sealed, "BUG: append to a sealed segment");
        assert!(self.extent.next == base && base < next, "BUG: batch [{base}, {next}) in {self:?}");
        self.index.note(self.base, base, self.extent.len, self.extent.max_timestamp);
        self.extent.push(next, len, max_timestamp, now);
    }

    /// The first batch was appended at `now`, whatever its timestamp: records that are older than
    /// `segment.ms` when they come must not begin a segment each.
    pub fn mark_born(&mut self, now: Timestamp) {
        self.extent.born = now;
    }

    pub fn seal(&mut self, producers: Vec<u8>) {
        self.sealed = true;
        self.producers = Some(producers.into());
    }

    /// The segment's index file holds the producers.
    pub fn mark_finished(&mut self) {
        self.producers = None;
    }

    pub fn mark_created(&mut self) {
        self.origin = Origin::Exists;
    }

    pub fn mark_written(&mut self, upto: u64) {
        self.written_len = self.written_len.max(upto);
        self.check();
    }

    pub fn mark_durable(&mut self, upto: u64) {
        self.durable_len = self.durable_len.max(upto);
        self.written_len = self.written_len.max(upto);
        self.check();
    }

    /// Blocks up to `upto` are written and durable.
    pub fn mark_prepared(&mut self, upto: u64) {
        self.prepared = self.prepared.max(upto);
    }

    fn check(&self) {
        let in_order = self.durable_len <= self.written_len && self.written_len <= self.extent.len;
        assert!(in_order, "BUG: segment durable past its end: {self:?}");
    }
}
