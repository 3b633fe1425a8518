//! What a log wants done on disk, as values: the log plans, the store performs.
//!
//!     plan_write ─▶ WritePlan ─ store: create files, write, fdatasync ─▶ handle_written, handle_durable
//!     plan_prepare ─▶ PreparePlan ─ store: zeroes or bare extents ──────▶ handle_prepared
//!     plan_flush ─▶ FlushPlan ─ store: fdatasync what was only written ──▶ handle_durable
//!     plan_finish ─▶ FinishPlan ─ store: cut a sealed file, write its index ▶ handle_finished

use std::rc::Rc;

use protocol::model::Offset;

/// One log's share of a commit round.
pub struct WritePlan<B> {
    /// Segments whose files must be created, and their names made durable, before anything in them
    /// is acknowledged.
    pub create: Vec<NewFile>,
    pub writes: Vec<PlannedWrite<B>>,
    /// Everything accepted below this is in the plan or was in an earlier one.
    pub upto: Offset,
    /// Bytes of batches in the plan.
    pub bytes: u64,
}

/// A segment's file that a plan needs first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewFile {
    pub segment: Offset,
    /// Whether the log's spare file becomes it; otherwise it is created.
    pub from_spare: bool,
}

pub struct PlannedWrite<B> {
    pub segment: Offset,
    /// Position in the file; a multiple of the block size, as is the buffer's length.
    pub at: u64,
    pub buf: Rc<B>,
    /// What the buffer costs while it is kept.
    pub memory: usize,
    /// Position behind the last batch in the buffer.
    pub data_end: u64,
    /// Whether the write changes the file's extents or size, so that only an fdatasync of this very
    /// file makes it durable (design D4).
    pub needs_own_flush: bool,
}

impl<B: AsRef<[u8]>> PlannedWrite<B> {
    pub fn write_end(&self) -> u64 {
        self.at + (*self.buf).as_ref().len() as u64
    }
}

/// How far a performed [`WritePlan`] reached in one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached {
    pub segment: Offset,
    pub data_end: u64,
    pub write_end: u64,
}

/// Get `[from, to)` of a file ready for records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreparePlan {
    pub target: PrepareTarget,
    pub with: PrepareWith,
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrepareWith {
    /// Write zeroes, then fdatasync: a later write changes no metadata, so that one flush of the
    /// device covers it.
    Zeroes,
    /// Reserve extents and lengthen the file. A later write needs a flush of its own file still, but
    /// does not lengthen it, which would be done in the kernel's worker, one write at a time.
    Extents,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrepareTarget {
    Segment(Offset),
    /// A new file that the next segment takes over.
    Spare,
}

/// Fdatasync the files of these segments: everything written below `upto` is durable then. For logs
/// that are flushed now and then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlushPlan {
    pub upto: Offset,
    pub reached: Vec<Reached>,
}

/// Cut a sealed segment's file to `len` bytes and write its index beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishPlan {
    pub segment: Offset,
    pub len: u64,
    pub index: Vec<u8>,
}

/// A place in a log that is known to be durable, as a checkpoint records it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurablePoint {
    /// Base offset of the segment `position` is in.
    pub segment: Offset,
    /// Bytes of batches of that segment that are durable.
    pub position: u64,
    /// How far the segment's blocks are written, zeroes included; true only while the file is not
    /// touched, so it is used after a clean stop and never after a crash.
    pub prepared: u64,
    /// The offset after the last durable record.
    pub offset: Offset,
    pub start: Offset,
    /// Records below this have been compacted; `start` if none have.
    pub clean_upto: Offset,
    /// Whether the log was closed in order after this was written.
    pub clean: bool,
}
