//! A log: the segments of one partition, and what becomes of a batch until it is durable.
//!
//!     accept ─▶ open chunk ─seal─▶ queue ─plan_write─▶ in flight ─handle_durable─▶ durable
//!                                    └────────────── cache (readers) ─evict─▶ disk only
//!
//! Lives on the partition's home shard only, does no I/O and reads no clock. The caller's contract is
//! mutate, drain, mutate: after `accept` ask for `plan_write`, perform it, tell the outcome. Plans are
//! performed in the order they were made, and at most [`ROUNDS_IN_FLIGHT`](crate::store) at a time.
//! When `accept` returns nothing is durable; when `handle_durable(upto)` returns, everything below
//! `upto` may be acknowledged and read.
//! Invariants: offsets are dense; a batch lies in one chunk and one segment; `durable` only grows;
//! after a failed write or fdatasync the log is fenced and plans nothing more (design D8).
//! What concerns closed segments stands in lifecycle.rs, space ahead of the tail in prepare.rs, and when
//! records count as safe in flush_mode.rs.

use std::collections::VecDeque;
use std::time::Instant;

use protocol::batch::Batch;
use protocol::model::{LeaderEpoch, Offset, RecordCount, Timestamp};

use crate::chunk::{CHUNK_BYTES, CHUNK_BYTES_MIN, Chunk, OpenChunk};
use crate::disk::{Buf, Buffers, align_down};
use crate::segment::{Origin, Segment};

pub mod config;
pub use config::{Cleanup, DirtyRatio, FlushPolicy, LogConfig};

pub mod ladder;
pub use ladder::{Ladder, Rung};

pub mod plan;
pub use plan::{
    DurablePoint, FinishPlan, FlushPlan, NewFile, PlannedWrite, PreparePlan, PrepareTarget, PrepareWith,
    Reached, WritePlan,
};

pub mod producers;
pub use producers::{ProducerStates, Sequencing};

mod flush_mode;
use flush_mode::{FlushMode, Unflushed};

mod prepare;
use prepare::Preparation;

mod lifecycle;
pub use lifecycle::{CompactionPlan, Swap};

pub mod read;
pub use read::{ColdRead, ReadError, ReadPlan, Slice};

#[cfg(test)]
mod tests;

/// Most bytes of one log in one commit round; a batch that begins below it still goes in. Recovery
/// relies on it: what may be torn after a crash lies within [`TORN_REACH`] of the first bad byte.
pub const ROUND_BYTES_MAX: u64 = 8 << 20;

/// How far behind the first byte that is not durable an unacknowledged write may lie: two rounds,
/// each [`ROUND_BYTES_MAX`], one batch of the largest size and a block.
pub const TORN_REACH: u64 =
    2 * (ROUND_BYTES_MAX + protocol::model::limits::BATCH_BYTES_MAX as u64 + crate::disk::BLOCK as u64);

/// Whether the log takes records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogState {
    Open,
    /// A write or an fdatasync failed: what is above `durable` may or may not be on disk.
    Fenced(Fence),
    /// Recovery found corruption: everything below `at` is intact and served, nothing else is.
    Corrupt {
        at: Offset,
    },
}

/// Why a log was fenced.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fence {
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the disk failed: {0}")]
    DiskFailed(String),
    #[error("the topic was deleted")]
    Deleted,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Fenced(#[from] Fence),
    #[error("the log is corrupt at offset {at}")]
    Corrupt { at: Offset },
    #[error("the partition has no offsets left")]
    OffsetsExhausted,
    /// The batch does not follow the producer's last one (KIP-98).
    #[error("producer {producer} sent sequence {found} where {expected} follows")]
    OutOfOrderSequence { producer: i64, expected: i32, found: i32 },
    /// The log knows nothing of the producer, or no more, and the batch is not its first.
    #[error("producer {producer} is not known, and begins at sequence {found}")]
    UnknownProducer { producer: i64, found: i32 },
    /// A newer epoch of the producer has written.
    #[error("producer {producer} has epoch {current}, not {found}")]
    ProducerFenced { producer: i64, current: i16, found: i16 },
}

pub struct Log<B> {
    config: LogConfig,
    epoch: LeaderEpoch,
    state: LogState,
    start: Offset,
    ladder: Ladder,
    /// In the order of their offsets; the last one is active. Never empty.
    segments: VecDeque<Segment>,
    /// The last, partial block of the active segment.
    carry: Vec<u8>,
    open: Option<OpenChunk<B>>,
    queue: VecDeque<Chunk<B>>,
    /// Batches that are not yet durable, in bytes.
    pending_bytes: u64,
    cache: VecDeque<Chunk<B>>,
    next_chunk_size: usize,
    prepare: Preparation,
    producers: ProducerStates,
    /// What was written and is not durable, where the flush policy leaves it so.
    unflushed: Option<Unflushed>,
    mode: FlushMode,
    /// Records below this have been compacted.
    clean_upto: Offset,
    /// Whether offsets may have gaps.
    compacted: bool,
}

/// A log as recovery found it: every record below `end` is durable.
pub struct Found {
    pub state: LogState,
    /// In the order of their offsets, at least one.
    pub segments: Vec<Segment>,
    /// The partial block at the end of the last segment.
    pub carry: Vec<u8>,
    pub start: Offset,
    pub end: Offset,
    pub producers: ProducerStates,
    pub clean_upto: Offset,
    pub compacted: bool,
}

impl Found {
    /// A log without records that begins at `start`.
    pub fn empty(start: Offset) -> Found {
        Found {
            state: LogState::Open,
            segments: vec![Segment::new(start)],
            carry: Vec::new(),
            start,
            end: start,
            producers: ProducerStates::default(),
            clean_upto: start,
            compacted: false,
        }
    }
}

/// What became of a batch that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It has the offsets [base, next), and is not durable yet.
    New { base: Offset, next: Offset },
    /// It was taken before, as [base, next), and may or may not be durable yet.
    Duplicate { base: Offset, next: Offset },
}

impl<B: Buf> Log<B> {
    /// A log with no records and no files.
    pub fn new(config: LogConfig, epoch: LeaderEpoch) -> Log<B> {
        Log::recovered(config, epoch, Found::empty(Offset::ZERO))
    }

    pub fn recovered(config: LogConfig, epoch: LeaderEpoch, found: Found) -> Log<B> {
        let Found { state, segments, carry, start, end, producers, clean_upto, compacted } = found;
        let log = Log {
            config,
            epoch,
            state,
            start,
            ladder: Ladder::at(end),
            segments: segments.into(),
            carry,
            open: None,
            queue: VecDeque::new(),
            pending_bytes: 0,
            cache: VecDeque::new(),
            next_chunk_size: CHUNK_BYTES_MIN,
            prepare: Preparation::default(),
            producers,
            unflushed: None,
            mode: FlushMode::new(config.flush),
            clean_upto: clean_upto.max(start),
            compacted,
        };
        log.check();
        log
    }

    pub fn state(&self) -> &LogState {
        &self.state
    }

    pub fn ladder(&self) -> Ladder {
        self.ladder
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// First offset the log still has.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The first offset that may not be read yet. On one node what is durable is committed, and with a
    /// flush policy of its own what is written.
    pub fn high_watermark(&self) -> Offset {
        if self.commits_on_write() { self.ladder.written() } else { self.ladder.durable() }
    }

    /// Bytes of a segment that may be read.
    fn committed_len(&self, segment: &Segment) -> u64 {
        if self.commits_on_write() { segment.written_len() } else { segment.durable_len() }
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter()
    }

    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    fn active(&self) -> &Segment {
        self.segments.back().expect("BUG: a log has at least one segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("BUG: a log has at least one segment")
    }

    fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        self.segments.iter_mut().rev().find(|segment| segment.base() == base)
    }

    pub fn check_open(&self) -> Result<(), AppendError> {
        match &self.state {
            LogState::Open => Ok(()),
            LogState::Fenced(fence) => Err(fence.clone().into()),
            LogState::Corrupt { at } => Err(AppendError::Corrupt { at: *at }),
        }
    }

    /// Takes one batch, which the caller has checked ([`Batch::check_for_append`]), at `now` by the
    /// broker's clock. It gets the next offsets; nothing is durable yet. A batch that its idempotent
    /// producer sent before changes nothing.
    pub fn accept(
        &mut self,
        batch: &Batch<'_>,
        now: Timestamp,
        buffers: &impl Buffers<Buf = B>,
    ) -> Result<Accepted, AppendError> {
        self.check_open()?;
        if let Sequencing::Duplicate { base, next } = self.producers.check(batch)? {
            return Ok(Accepted::Duplicate { base, next });
        }
        let base = self.ladder.next();
        let next = base.checked_add(batch.offset_span()).ok_or(AppendError::OffsetsExhausted)?;
        let len = batch.len() as u64;
        if self.must_roll(base, len, batch.offset_span()) || self.is_roll_due(now) {
            self.roll(buffers);
        }
        if self.open.as_ref().is_none_or(|chunk| !chunk.has_room(batch.len())) {
            self.open_chunk(batch.len(), buffers);
        }
        let begins = self.active().is_empty();
        self.active_mut().push(base, next, len, batch.max_timestamp(), now);
        if begins {
            self.active_mut().mark_born(now);
        }
        let epoch = self.epoch;
        self.open.as_mut().expect("BUG: opened above").push(batch.as_bytes(), base, next, epoch);
        self.producers.apply(batch, base, next, now);
        self.ladder.advance(Rung::Next(next));
        self.pending_bytes += len;
        self.check();
        Ok(Accepted::New { base, next })
    }

    fn must_roll(&self, base: Offset, len: u64, count: RecordCount) -> bool {
        let active = self.active();
        let full = active.len() + len > self.config.segment_bytes;
        let far = base.checked_add(count).and_then(|next| next.distance_from(active.base())).is_none();
        !active.is_empty() && (full || far)
    }

    /// Closes the active segment; the next batch begins another file.
    fn roll(&mut self, buffers: &impl Buffers<Buf = B>) {
        self.seal_open(buffers);
        let producers = self.producers.to_bytes();
        self.active_mut().seal(producers);
        self.carry.clear();
        let base = self.ladder.next();
        let next = match self.prepare.begin_segment() {
            Some(prepared) => Segment::from_spare(base, prepared),
            None => Segment::new(base),
        };
        self.segments.push_back(next);
    }

    fn open_chunk(&mut self, batch_len: usize, buffers: &impl Buffers<Buf = B>) {
        self.seal_open(buffers);
        let active = self.active();
        let file_pos = align_down(active.len());
        assert_eq!(
            active.len() - file_pos,
            self.carry.len() as u64,
            "BUG: carry is not the tail of the segment"
        );
        let (segment, base, size) = (active.base(), self.ladder.next(), self.next_chunk_size);
        self.open = Some(OpenChunk::new(segment, file_pos, &self.carry, base, size, batch_len, buffers));
    }

    fn seal_open(&mut self, buffers: &impl Buffers<Buf = B>) {
        let Some(open) = self.open.take() else { return };
        self.next_chunk_size = (open.data_len() * 2).next_power_of_two().clamp(CHUNK_BYTES_MIN, CHUNK_BYTES);
        let chunk = open.seal(buffers);
        self.carry.clear();
        self.carry.extend_from_slice(chunk.tail());
        self.queue.push_back(chunk);
    }

    /// Whether `plan_write` would find something.
    pub fn has_work(&self) -> bool {
        self.state == LogState::Open && (self.open.is_some() || !self.queue.is_empty())
    }

    /// The log's share of the next commit round: what was accepted, up to [`ROUND_BYTES_MAX`]. `None` if
    /// there is nothing, or if it must wait for a preparation of the same blocks or a change of its rules.
    pub fn plan_write(&mut self, buffers: &impl Buffers<Buf = B>) -> Option<WritePlan<B>> {
        if self.state != LogState::Open || self.is_changing_over() {
            return None;
        }
        self.seal_open(buffers);
        let mut plan =
            WritePlan { create: Vec::new(), writes: Vec::new(), upto: self.ladder.written(), bytes: 0 };
        while plan.bytes < ROUND_BYTES_MAX
            && self.queue.front().is_some_and(|chunk| !self.is_being_prepared(chunk))
        {
            let chunk = self.queue.pop_front().expect("BUG: seen above");
            self.add_to_plan(&mut plan, &chunk);
            self.cache.push_back(chunk);
        }
        (!plan.writes.is_empty()).then(|| {
            self.mode.begin_round();
            plan
        })
    }

    /// Zeroes on their way to the chunk's blocks could land after the chunk and wipe it out.
    fn is_being_prepared(&self, chunk: &Chunk<B>) -> bool {
        self.prepare.reaches(chunk.segment(), chunk.write_end())
    }

    fn add_to_plan(&mut self, plan: &mut WritePlan<B>, chunk: &Chunk<B>) {
        let segment = self.segment_mut(chunk.segment()).expect("BUG: a chunk's segment exists until deleted");
        if segment.origin() != Origin::Exists {
            let from_spare = segment.origin() == Origin::Spare;
            segment.mark_created();
            plan.create.push(NewFile { segment: chunk.segment(), from_spare });
        }
        plan.writes.push(PlannedWrite {
            segment: chunk.segment(),
            at: chunk.file_pos(),
            buf: chunk.buf().clone(),
            memory: chunk.memory(),
            data_end: chunk.end_pos(),
            needs_own_flush: segment.prepared() < chunk.write_end(),
        });
        plan.upto = chunk.next();
        plan.bytes += chunk.data().len() as u64;
    }

    /// The writes of a plan completed, at `now`.
    pub fn handle_written(&mut self, upto: Offset, reached: &[Reached], bytes: u64, now: Instant) {
        if self.state != LogState::Open {
            return;
        }
        self.ladder.advance(Rung::Written(upto));
        self.prepare.count_written(bytes, now);
        for reach in reached {
            if let Some(segment) = self.segment_mut(reach.segment) {
                segment.mark_written(reach.data_end);
            }
        }
        if self.commits_on_write() {
            self.pending_bytes -= bytes;
            let unflushed =
                self.unflushed.get_or_insert_with(|| Unflushed { since: now, reached: Vec::new() });
            unflushed.reached.extend_from_slice(reached);
            self.mode.end_round();
        }
    }

    /// An fdatasync that covers the writes of a plan completed. Everything below `upto` is durable.
    pub fn handle_durable(&mut self, upto: Offset, reached: &[Reached], bytes: u64) {
        if self.state != LogState::Open {
            return;
        }
        self.ladder.advance(Rung::Durable(upto));
        if !self.commits_on_write() {
            self.pending_bytes -= bytes;
            self.mode.end_round();
        }
        for reach in reached {
            if let Some(segment) = self.segment_mut(reach.segment) {
                segment.mark_durable(reach.data_end);
                segment.mark_prepared(reach.write_end);
            }
        }
        self.join_prepared();
        self.change_over();
        self.check();
    }

    /// A write or an fdatasync of this log failed, or its topic is gone: it takes and writes nothing
    /// more, and what was not durable is not known to be on disk.
    pub fn fence(&mut self, fence: Fence) {
        if !matches!(self.state, LogState::Fenced(_)) {
            self.state = LogState::Fenced(fence);
        }
        self.open = None;
        self.queue.clear();
        self.pending_bytes = 0;
        self.cache.clear();
        self.unflushed = None;
    }

    /// Frees the oldest cached chunk that readers can find on disk. Returns the bytes freed.
    pub fn evict_oldest(&mut self) -> Option<usize> {
        let committed = self.high_watermark();
        let evictable = self.cache.front().is_some_and(|chunk| chunk.next() <= committed);
        evictable.then(|| self.cache.pop_front().map_or(0, |chunk| chunk.memory()))
    }

    fn check(&self) {
        let active = self.active();
        assert!(
            self.start <= self.high_watermark(),
            "BUG: log starts at {} above {:?}",
            self.start,
            self.ladder
        );
        assert!(active.base() <= self.ladder.next() && !active.is_sealed(), "BUG: active segment {active:?}");
    }
}
