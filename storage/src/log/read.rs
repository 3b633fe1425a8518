//! Reading a log: find the batch that holds an offset, in memory or on disk.
//!
//!     start ───────────── cold: on disk ─────────────┬──── hot: cached chunks ────┬ high watermark
//!     OutOfRange before                              │ slices of chunks, no I/O   │ AtEnd; then OutOfRange
//!
//! Only committed records are ever handed out. A read returns whole batches and begins with the one
//! that contains the offset, so a reader drops the records before it (as Kafka's readers do).

use std::ops::Range;
use std::rc::Rc;

use protocol::batch::Batch;
use protocol::model::{LeaderEpoch, Offset, Timestamp};

use super::{Log, LogState};
use crate::disk::Buf;
use crate::segment::{IndexEntry, Segment};

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {offset} is not in [{start}, {high_watermark}]")]
    OutOfRange { offset: Offset, start: Offset, high_watermark: Offset },
    #[error("the log is corrupt at offset {at}")]
    Corrupt { at: Offset },
}

/// Whole batches in a chunk.
pub struct Slice<B> {
    pub buf: Rc<B>,
    pub range: Range<usize>,
}

impl<B: AsRef<[u8]>> Slice<B> {
    pub fn bytes(&self) -> &[u8] {
        (*self.buf).as_ref().get(self.range.clone()).unwrap_or(&[])
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ColdRead {
    pub segment: Offset,
    /// Where a batch begins at or before the offset wanted.
    pub at: u64,
    /// That batch's offset, where it is known.
    pub first: Option<Offset>,
    /// Position behind the last committed batch of the segment.
    pub end: u64,
    /// Which of the segment's files the positions are of.
    pub generation: u32,
    /// Whether each batch begins where the one before it ends.
    pub dense: bool,
    /// The highest leader epoch that a batch can have.
    pub epoch: LeaderEpoch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadPlan {
    /// Nothing there yet: the offset is the high watermark.
    AtEnd,
    /// The slices were pushed to the caller's list; this many bytes.
    Hot { bytes: usize },
    /// Read the segment's file.
    Cold(ColdRead),
}

impl<B: Buf> Log<B> {
    /// Whether there are records to read from `offset` on.
    pub fn has_records_from(&self, offset: Offset) -> Result<bool, ReadError> {
        let high_watermark = self.high_watermark();
        if let LogState::Corrupt { at } = self.state
            && at <= offset
        {
            return Err(ReadError::Corrupt { at });
        }
        if offset < self.start || high_watermark < offset {
            return Err(ReadError::OutOfRange { offset, start: self.start, high_watermark });
        }
        Ok(offset < high_watermark)
    }

    /// Finds records from `offset` on, at most `max_bytes` of them but at least one batch.
    pub fn plan_read(
        &self,
        offset: Offset,
        max_bytes: usize,
        slices: &mut Vec<Slice<B>>,
    ) -> Result<ReadPlan, ReadError> {
        if !self.has_records_from(offset)? {
            return Ok(ReadPlan::AtEnd);
        }
        match self.hot_chunk(offset) {
            Some(first) => Ok(ReadPlan::Hot { bytes: self.push_hot(first, offset, max_bytes, slices) }),
            None => Ok(ReadPlan::Cold(self.cold_read(offset))),
        }
    }

    /// Bytes that a reader at `offset` could get now; cheap, and exact only for cached chunks.
    pub fn readable_bytes(&self, offset: Offset, enough: usize) -> usize {
        let Some(first) = self.hot_chunk(offset) else {
            return if offset < self.high_watermark() { enough } else { 0 };
        };
        let mut bytes = 0;
        for chunk in self.cache.range(first..).take_while(|chunk| chunk.next() <= self.high_watermark()) {
            bytes += chunk.data().len() - position_in(chunk.data(), offset);
            if enough <= bytes {
                break;
            }
        }
        bytes
    }

    fn hot_chunk(&self, offset: Offset) -> Option<usize> {
        let index = self.cache.partition_point(|chunk| chunk.next() <= offset);
        let chunk = self.cache.get(index)?;
        (chunk.base() <= offset && chunk.next() <= self.high_watermark()).then_some(index)
    }

    fn push_hot(&self, first: usize, offset: Offset, max_bytes: usize, slices: &mut Vec<Slice<B>>) -> usize {
        let mut bytes = 0;
        let mut expected = None;
        for chunk in self.cache.range(first..) {
            let continues = expected.is_none_or(|expected| expected == chunk.base());
            if !continues || self.high_watermark() < chunk.next() || (0 < bytes && max_bytes <= bytes) {
                break;
            }
            let from = position_in(chunk.data(), offset);
            let rest = &chunk.data()[from..];
            let room = max_bytes.saturating_sub(bytes);
            // A chunk holds whole batches: only where it does not fit are its headers walked.
            let len = if rest.len() <= room { rest.len() } else { whole_batches(rest, room, bytes == 0) };
            if len == 0 {
                break;
            }
            let start = chunk.data_range().start + from;
            slices.push(Slice { buf: chunk.buf().clone(), range: start..start + len });
            bytes += len;
            if len < rest.len() {
                break;
            }
            expected = Some(chunk.next());
        }
        bytes
    }

    fn cold_read(&self, offset: Offset) -> ColdRead {
        let after = self.segments.partition_point(|segment| segment.base() <= offset);
        let segment = after.checked_sub(1).and_then(|index| self.segments.get(index));
        let segment = segment.expect("BUG: start <= offset, so a segment begins at or before it");
        self.read_of(segment, segment.index().floor(offset))
    }

    /// A read from an entry of the segment's index on, or from its start.
    fn read_of(&self, segment: &Segment, entry: Option<IndexEntry>) -> ColdRead {
        let entry = entry.or(segment.index().entries().first().copied());
        ColdRead {
            segment: segment.base(),
            at: entry.map_or(0, |entry| entry.position),
            first: entry.map(|entry| entry.offset),
            end: self.committed_len(segment),
            generation: segment.generation(),
            dense: !self.compacted,
            epoch: self.epoch,
        }
    }

    /// Whether the file that a read was planned for still is the segment's.
    pub fn is_current(&self, read: &ColdRead) -> bool {
        let segment = self.segments.iter().find(|segment| segment.base() == read.segment);
        segment.is_some_and(|segment| segment.generation() == read.generation)
    }

    /// A read of a whole finished segment.
    pub fn plan_whole(&self, base: Offset) -> Option<ColdRead> {
        let segment = self.segments.iter().find(|segment| segment.base() == base)?;
        Some(self.read_of(segment, None))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    /// The largest timestamp of what lies in the files: records that are deleted or not durable yet count.
    /// Below zero if none has one.
    pub fn max_timestamp(&self) -> Timestamp {
        let of_segments = self.segments.iter().filter(|segment| !segment.is_empty());
        of_segments.map(|segment| segment.extent().max_timestamp).max().unwrap_or(Timestamp::NONE)
    }

    /// Where to look for the first record at or after `time` in the segments that end behind `from`,
    /// oldest first; `None` if every record is older. A record of a batch counts as old as the newest of
    /// its batch until it is looked at.
    pub fn plan_time_search(&self, time: Timestamp, from: Offset) -> Option<ColdRead> {
        let late = |segment: &&Segment| {
            from < segment.next() && !segment.is_empty() && time <= segment.extent().max_timestamp
        };
        let segment = self.segments.iter().find(late)?;
        let read = self.read_of(segment, segment.index().floor_time(time));
        (read.at < read.end).then_some(read)
    }
}

/// Position of the batch that contains `offset`, or of the first batch if all are above it.
pub fn position_in(data: &[u8], offset: Offset) -> usize {
    let mut rest = data;
    while let Ok((batch, after)) = Batch::split_first(rest) {
        if offset < batch.next_offset() {
            break;
        }
        rest = after;
    }
    data.len() - rest.len()
}

/// Length of the run of whole batches at the head of `data` that fits in `max_bytes`; with
/// `at_least_one` the first batch goes in whatever its size.
pub fn whole_batches(data: &[u8], max_bytes: usize, at_least_one: bool) -> usize {
    let mut len = 0;
    while let Some(batch_len) = data.get(len..).and_then(Batch::peek_len) {
        let end = len + batch_len;
        let first = len == 0 && at_least_one;
        if data.len() < end || (max_bytes < end && !first) {
            break;
        }
        len = end;
    }
    len
}
