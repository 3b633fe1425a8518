//! What becomes of segments after they are closed: finished, expired, compacted; and where a log begins.
//!
//!     expired │ sealed, finished │ sealed │ active
//!             ▲ start            └ file still to be cut, index to be written
//!
//! `start` moves by retention and by delete-records, never back. A segment that lies below it as a
//! whole may be deleted, once a checkpoint that knows the new start is durable: a start after a crash
//! would otherwise miss segments of which it knows nothing.
//! The active segment is never deleted and never compacted.

use protocol::model::{Offset, Timestamp};

use super::plan::{DurablePoint, FinishPlan};
use super::{Log, LogState};
use crate::disk::{Buf, Buffers};
use crate::segment::{Extent, Segment, SparseIndex};

/// A compacted file that takes the place of the segments of [base, extent.next).
pub struct Swap {
    pub base: Offset,
    pub extent: Extent,
    pub index: SparseIndex,
}

/// Segments to compact, the clean ones in front of the dirty ones.
pub struct CompactionPlan {
    pub segments: Vec<(Offset, Extent)>,
    pub clean_upto: Offset,
    pub dirty: u64,
    pub total: u64,
}

impl<B: Buf> Log<B> {
    /// Whether the active segment is old enough to be closed (`segment.ms`).
    pub fn is_roll_due(&self, now: Timestamp) -> bool {
        let active = self.active();
        let age = now.millis().saturating_sub(active.extent().born.millis());
        let old = self.config.segment_ms.is_some_and(|ms| i128::from(ms) <= i128::from(age));
        !active.is_empty() && old && self.state == LogState::Open
    }

    /// Closes the active segment if it is old enough. Returns whether it did.
    pub fn roll_if_due(&mut self, now: Timestamp, buffers: &impl Buffers<Buf = B>) -> bool {
        let due = self.is_roll_due(now);
        if due {
            self.roll(buffers);
            self.check();
        }
        due
    }

    /// A sealed segment whose records are all durable: its file can be cut and its index written.
    pub fn plan_finish(&self, unfinished: Offset) -> Option<FinishPlan> {
        let segment = self.segments.iter().find(|segment| segment.base() == unfinished)?;
        let ready = segment.is_sealed()
            && segment.durable_len() == segment.len()
            && !self.prepare.touches(unfinished);
        let producers = segment.producers()?;
        let index = || segment.index_bytes(producers);
        ready.then(|| FinishPlan { segment: unfinished, len: segment.len(), index: index() })
    }

    /// Whether `plan_finish` would find something, without making the index.
    pub fn can_finish(&self, unfinished: Offset) -> bool {
        let segment = self.segments.iter().find(|segment| segment.base() == unfinished);
        segment.is_some_and(|segment| {
            segment.is_sealed() && segment.durable_len() == segment.len() && !self.prepare.touches(unfinished)
        })
    }

    pub fn handle_finished(&mut self, segment: Offset) {
        if let Some(segment) = self.segment_mut(segment) {
            segment.mark_finished();
        }
    }

    /// The oldest sealed segment that begins at or behind `from`.
    pub fn sealed_from(&self, from: Offset) -> Option<Offset> {
        let after = self.segments.partition_point(|segment| segment.base() < from);
        self.segments.get(after).filter(|segment| segment.is_sealed()).map(Segment::base)
    }

    /// Segments whose files have their final form: those before `unfinished`.
    pub fn finished(&self, unfinished: Offset) -> impl Iterator<Item = &Segment> {
        self.segments.iter().take_while(move |segment| segment.is_sealed() && segment.base() < unfinished)
    }

    /// Moves the start of the log up to `to`, or to the high watermark if that is lower. Returns the
    /// start.
    pub fn advance_start(&mut self, to: Offset) -> Offset {
        self.start = self.start.max(to.min(self.high_watermark()));
        self.clean_upto = self.clean_upto.max(self.start);
        self.check();
        self.start
    }

    /// Where the log may begin by its retention limits; `None` if nothing has expired.
    pub fn plan_retention(&self, unfinished: Offset, now: Timestamp) -> Option<Offset> {
        if !self.config.cleanup.delete || self.state != LogState::Open {
            return None;
        }
        let total: u64 = self.segments.iter().map(Segment::len).sum();
        let mut excess = self.config.retention_bytes.map_or(0, |bytes| total.saturating_sub(bytes));
        let mut start = None;
        for segment in self.finished(unfinished) {
            let age = now.millis().saturating_sub(segment.extent().newest().millis());
            let expired = self.config.retention_ms.is_some_and(|ms| i128::from(ms) < i128::from(age));
            let surplus = !segment.is_empty() && segment.len() <= excess;
            if !expired && !surplus {
                break;
            }
            excess = excess.saturating_sub(segment.len());
            start = Some(segment.next());
        }
        start.filter(|start| self.start < *start)
    }

    /// Finished segments that lie below the start, and below `durable_start`, as a whole; oldest first.
    pub fn expired(&self, unfinished: Offset, durable_start: Offset) -> Vec<Offset> {
        let start = self.start.min(durable_start);
        let below = |segment: &&Segment| segment.next() <= start;
        self.finished(unfinished).take_while(below).map(Segment::base).collect()
    }

    /// Forgets an expired segment, whose files are to be deleted.
    pub fn remove_expired(&mut self, base: Offset) {
        let first = self.segments.front().expect("BUG: a log has at least one segment");
        assert!(
            first.base() == base && first.is_sealed() && first.next() <= self.start,
            "BUG: removing segment {base} of a log that begins at {}",
            self.start
        );
        self.segments.pop_front();
        self.check();
    }

    /// What to compact, if enough of the log is dirty (`min.cleanable.dirty.ratio`) and old enough
    /// (`min.compaction.lag.ms`).
    pub fn plan_compaction(&self, unfinished: Offset, now: Timestamp) -> Option<CompactionPlan> {
        if !self.config.cleanup.compact || self.state != LogState::Open {
            return None;
        }
        let lag = i64::try_from(self.config.min_compaction_lag_ms).unwrap_or(i64::MAX);
        let young = now.millis().saturating_sub(lag);
        let old = |segment: &&Segment| lag == 0 || segment.extent().newest().millis() <= young;
        let segments: Vec<(Offset, Extent)> = self
            .finished(unfinished)
            .take_while(old)
            .map(|segment| (segment.base(), segment.extent()))
            .collect();
        let bytes = |from: Offset| {
            let dirty = segments.iter().filter(|(_, extent)| from < extent.next);
            dirty.map(|(_, extent)| extent.len).sum::<u64>()
        };
        let (dirty, total) = (bytes(self.clean_upto), bytes(Offset::ZERO));
        let due = 0 < dirty && self.config.min_cleanable_dirty_ratio.is_reached(dirty, total);
        due.then_some(CompactionPlan { segments, clean_upto: self.clean_upto, dirty, total })
    }

    /// Records below this have been compacted.
    pub fn clean_upto(&self) -> Offset {
        self.clean_upto
    }

    pub fn set_clean_upto(&mut self, upto: Offset) {
        self.clean_upto = self.clean_upto.max(upto);
    }

    /// Whether offsets may have gaps.
    pub fn is_compacted(&self) -> bool {
        self.compacted
    }

    pub fn mark_compacted(&mut self) {
        self.compacted = true;
    }

    /// A compacted file is in place: from now on readers find it.
    pub fn handle_swapped(&mut self, swap: Swap) {
        let first = self.segments.partition_point(|segment| segment.base() < swap.base);
        let behind = self.segments.partition_point(|segment| segment.base() < swap.extent.next);
        let old = self.segments.get(first).expect("BUG: compacted segments stay until they are replaced");
        assert!(self.compacted && old.base() == swap.base, "BUG: swapping in {} of {old:?}", swap.base);
        let new = old.compacted(swap.extent, swap.index);
        self.segments.drain(first..behind);
        self.segments.insert(first, new);
        self.check();
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
            start: self.start.min(durable),
            clean_upto: self.clean_upto.min(durable),
            clean: false,
        }
    }

    /// Forgets producers that were silent for longer than the configuration says.
    pub fn expire_producers(&mut self, now: Timestamp) {
        let ms = i64::try_from(self.config.producer_expiration_ms).unwrap_or(i64::MAX);
        self.producers.expire(Timestamp::from_millis(now.millis().saturating_sub(ms)));
    }
}
