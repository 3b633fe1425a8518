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

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::batch::Batch;
use protocol::model::{LeaderEpoch, Offset, RecordCount};

use crate::chunk::{CHUNK_BYTES, CHUNK_BYTES_MIN, Chunk, OpenChunk};
use crate::disk::{Buf, Buffers, align_down, align_up};
use crate::segment::Segment;

pub mod config;
pub use config::{Cleanup, DirtyRatio, FlushPolicy, LogConfig};

pub mod ladder;
pub use ladder::{Ladder, Rung};

pub mod plan;
pub use plan::{DurablePoint, FinishPlan, PlannedWrite, PreparePlan, Reached, WritePlan};

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

/// Zeroes are written ahead for what the log takes in this time, within the two sizes below.
const PREPARE_AHEAD: Duration = Duration::from_millis(50);
const PREPARE_BYTES_MIN: u64 = 128 << 10;
const PREPARE_BYTES_MAX: u64 = 16 << 20;

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
}

/// Writing zeroes ahead of the tail of the active segment.
#[derive(Default)]
struct Preparation {
    in_progress: Option<PreparePlan>,
    /// A prepared range that begins above the segment's `prepared`, until that has caught up.
    ahead: Option<PreparePlan>,
    last: Option<(Instant, u64)>,
    accepted_bytes: u64,
    /// Set after a failure; appends then extend the file themselves.
    given_up: bool,
}

impl<B: Buf> Log<B> {
    /// A log with no records and no files.
    pub fn new(config: LogConfig, epoch: LeaderEpoch) -> Log<B> {
        let segments = vec![Segment::new(Offset::ZERO)];
        Log::recovered(config, epoch, LogState::Open, segments, Vec::new(), Offset::ZERO, Offset::ZERO)
    }

    /// A log as recovery found it: every record below `end` is durable, `carry` is the partial block
    /// at the end of the last segment.
    pub fn recovered(
        config: LogConfig,
        epoch: LeaderEpoch,
        state: LogState,
        segments: Vec<Segment>,
        carry: Vec<u8>,
        start: Offset,
        end: Offset,
    ) -> Log<B> {
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

    /// The first offset that may not be read yet. On one node what is durable is committed.
    pub fn high_watermark(&self) -> Offset {
        self.ladder.durable()
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

    /// Takes one batch, which the caller has checked ([`Batch::check_for_append`]). It gets the next
    /// offsets; nothing is durable yet. Returns the offset of its first record.
    pub fn accept(
        &mut self,
        batch: &Batch<'_>,
        buffers: &impl Buffers<Buf = B>,
    ) -> Result<Offset, AppendError> {
        self.check_open()?;
        let base = self.ladder.next();
        let next = base.checked_add(batch.record_count()).ok_or(AppendError::OffsetsExhausted)?;
        let len = batch.len() as u64;
        if self.must_roll(base, len, batch.record_count()) {
            self.roll(buffers);
        }
        if self.open.as_ref().is_none_or(|chunk| !chunk.has_room(batch.len())) {
            self.open_chunk(batch.len(), buffers);
        }
        self.active_mut().push(base, next, len, batch.max_timestamp());
        let epoch = self.epoch;
        self.open.as_mut().expect("BUG: opened above").push(batch.as_bytes(), base, next, epoch);
        self.ladder.advance(Rung::Next(next));
        self.pending_bytes += len;
        self.prepare.accepted_bytes += len;
        self.check();
        Ok(base)
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
        self.active_mut().seal();
        self.carry.clear();
        self.prepare = Preparation { in_progress: self.prepare.in_progress, ..Preparation::default() };
        let base = self.ladder.next();
        self.segments.push_back(Segment::new(base));
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

    /// The log's share of the next commit round: what was accepted, up to [`ROUND_BYTES_MAX`].
    /// `None` if there is nothing, or if it must wait for a preparation of the same blocks.
    pub fn plan_write(&mut self, buffers: &impl Buffers<Buf = B>) -> Option<WritePlan<B>> {
        if self.state != LogState::Open {
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
        (!plan.writes.is_empty()).then_some(plan)
    }

    /// Zeroes on their way to the chunk's blocks could land after the chunk and wipe it out.
    fn is_being_prepared(&self, chunk: &Chunk<B>) -> bool {
        self.prepare
            .in_progress
            .is_some_and(|zeroes| zeroes.segment == chunk.segment() && zeroes.from < chunk.write_end())
    }

    fn add_to_plan(&mut self, plan: &mut WritePlan<B>, chunk: &Chunk<B>) {
        let segment = self.segment_mut(chunk.segment()).expect("BUG: a chunk's segment exists until deleted");
        if !segment.is_created() {
            segment.mark_created();
            plan.create.push(chunk.segment());
        }
        plan.writes.push(PlannedWrite {
            segment: chunk.segment(),
            at: chunk.file_pos(),
            buf: chunk.buf().clone(),
            data_end: chunk.end_pos(),
            needs_own_flush: segment.prepared() < chunk.write_end(),
        });
        plan.upto = chunk.next();
        plan.bytes += chunk.data().len() as u64;
    }

    /// The writes of a plan completed.
    pub fn handle_written(&mut self, upto: Offset) {
        if self.state == LogState::Open {
            self.ladder.advance(Rung::Written(upto));
        }
    }

    /// An fdatasync that covers the writes of a plan completed. Everything below `upto` is durable.
    pub fn handle_durable(&mut self, upto: Offset, reached: &[Reached], bytes: u64) {
        if self.state != LogState::Open {
            return;
        }
        self.ladder.advance(Rung::Durable(upto));
        self.pending_bytes -= bytes;
        for reach in reached {
            if let Some(segment) = self.segment_mut(reach.segment) {
                segment.mark_durable(reach.data_end);
                segment.mark_prepared(reach.write_end);
            }
        }
        self.join_prepared();
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
    }

    /// Whether `plan_prepare` would find something.
    pub fn wants_preparation(&self, now: Instant) -> bool {
        self.next_preparation(now).is_some()
    }

    /// Zeroes to write ahead of the tail, if it is time to. Perform one at a time.
    pub fn plan_prepare(&mut self, now: Instant) -> Option<PreparePlan> {
        let plan = self.next_preparation(now)?;
        self.prepare.in_progress = Some(plan);
        self.prepare.last = Some((now, self.prepare.accepted_bytes));
        Some(plan)
    }

    fn next_preparation(&self, now: Instant) -> Option<PreparePlan> {
        let idle =
            self.prepare.in_progress.is_none() && self.prepare.ahead.is_none() && !self.prepare.given_up;
        let active = self.active();
        // The first durable write shows that the file is there.
        let begun = 0 < active.durable_len();
        if !self.config.prepare || self.state != LogState::Open || !idle || !begun {
            return None;
        }
        let step = self.prepare.step(now);
        let limit = align_up(self.config.segment_bytes);
        let from = align_up(active.len()).max(active.prepared());
        let enough = active.len() + 2 * step <= active.prepared();
        (!enough && from < limit).then(|| PreparePlan {
            segment: active.base(),
            from,
            to: (from + step).min(limit),
        })
    }

    /// A preparation was written and synced, or it failed and the log goes on without.
    pub fn handle_prepared(&mut self, plan: PreparePlan, done: bool) {
        assert_eq!(self.prepare.in_progress, Some(plan), "BUG: a preparation that was not planned");
        self.prepare.in_progress = None;
        if !done {
            self.prepare.given_up = true;
        } else if self.active().base() == plan.segment {
            self.prepare.ahead = Some(plan);
            self.join_prepared();
        }
    }

    /// Once everything below a prepared range is durable, the range belongs to the prefix.
    fn join_prepared(&mut self) {
        if let Some(ahead) = self.prepare.ahead
            && self.active().base() == ahead.segment
            && ahead.from <= self.active().prepared()
        {
            self.active_mut().mark_prepared(ahead.to);
            self.prepare.ahead = None;
        }
    }

    /// A sealed segment whose records are all durable: its file can be cut and its index written.
    pub fn plan_finish(&self, unfinished: Offset) -> Option<FinishPlan> {
        let being_prepared = self.prepare.in_progress.is_some_and(|zeroes| zeroes.segment == unfinished);
        let segment = self.segments.iter().find(|segment| segment.base() == unfinished)?;
        let ready = segment.is_sealed() && segment.durable_len() == segment.len() && !being_prepared;
        ready.then(|| FinishPlan { segment: unfinished, len: segment.len(), index: segment.index_bytes() })
    }

    /// Segments that were sealed since `from`, oldest first.
    pub fn sealed_since(&self, from: Offset) -> impl Iterator<Item = Offset> {
        self.segments
            .iter()
            .filter(move |segment| segment.is_sealed() && from <= segment.base())
            .map(Segment::base)
    }

    /// Where a checkpoint may say that the log is durable.
    pub fn durable_point(&self) -> DurablePoint {
        // An empty segment begins where the durable records end, unless it lies beyond them.
        let durable = self.ladder.durable();
        let reached = self.segments.iter().rev().find(|segment| 0 < segment.durable_len());
        let segment =
            reached.or_else(|| self.segments.iter().rev().find(|segment| segment.base() <= durable));
        let segment = segment.expect("BUG: the first segment begins at or below every durable offset");
        DurablePoint {
            segment: segment.base(),
            position: segment.durable_len(),
            prepared: segment.prepared(),
            offset: durable,
            start: self.start,
        }
    }

    /// Frees the oldest cached chunk that readers can find on disk. Returns the bytes freed.
    pub fn evict_oldest(&mut self) -> Option<usize> {
        let durable = self.ladder.durable();
        let evictable = self.cache.front().is_some_and(|chunk| chunk.next() <= durable);
        evictable.then(|| self.cache.pop_front().map_or(0, |chunk| chunk.memory()))
    }

    fn check(&self) {
        let active = self.active();
        assert!(
            self.start <= self.ladder.durable(),
            "BUG: log starts at {} above {:?}",
            self.start,
            self.ladder
        );
        assert!(active.base() <= self.ladder.next() && !active.is_sealed(), "BUG: active segment {active:?}");
    }
}

impl Preparation {
    /// Bytes to prepare at once: what the log takes in [`PREPARE_AHEAD`].
    fn step(&self, now: Instant) -> u64 {
        let Some((since, accepted)) = self.last else { return PREPARE_BYTES_MIN };
        let elapsed = now.saturating_duration_since(since).max(Duration::from_millis(10));
        let rate = (self.accepted_bytes - accepted) as f64 / elapsed.as_secs_f64();
        let bytes = (rate * PREPARE_AHEAD.as_secs_f64()) as u64;
        bytes.clamp(PREPARE_BYTES_MIN, PREPARE_BYTES_MAX).next_power_of_two()
    }
}
