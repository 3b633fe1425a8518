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
        let total = self.bytes();
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use protocol::model::LeaderEpoch;

    use super::super::tests::{HeapBuf, append_at, perform_all};
    use super::*;
    use crate::log::{Cleanup, DirtyRatio, FlushPolicy, LogConfig};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn log(config: LogConfig) -> Log<HeapBuf> {
        Log::new(config, LeaderEpoch::FIRST)
    }

    /// Three closed segments of one batch each and an active one, appended at 100, 200, 300 and 400,
    /// with timestamps of those times; everything is durable.
    fn four_segments(config: LogConfig) -> Log<HeapBuf> {
        let mut log = log(config);
        for time in [100, 200, 300, 400] {
            append_at(&mut log, 10_000, at(time), at(time));
            perform_all(&mut log);
        }
        assert_eq!(log.segments().count(), 4);
        log
    }

    const NONE_UNFINISHED: Offset = Offset::MAX;

    #[test]
    fn a_segment_is_closed_at_its_age_also_without_an_append() {
        let mut log = log(LogConfig { segment_ms: Some(50), ..LogConfig::tiny() });
        append_at(&mut log, 10, at(100), at(100));
        assert!(!log.is_roll_due(at(149)) && log.is_roll_due(at(150)));
        assert!(log.roll_if_due(at(150), &crate::log::tests::Heap));
        assert!(!log.is_roll_due(at(10_000)), "an empty segment is not closed");
        append_at(&mut log, 10, at(160), at(160));
        append_at(&mut log, 10, at(210), at(210));
        assert_eq!(log.segments().count(), 3, "an append closes it too");
    }

    #[test]
    fn retention_by_time_goes_by_the_newest_record_and_spares_the_active_segment() {
        let mut log = four_segments(LogConfig { retention_ms: Some(1000), ..LogConfig::tiny() });
        assert_eq!(log.plan_retention(NONE_UNFINISHED, at(1100)), None);
        assert_eq!(log.plan_retention(NONE_UNFINISHED, at(1101)), Some(Offset::new(1)));
        assert_eq!(log.plan_retention(NONE_UNFINISHED, at(99_999)), Some(Offset::new(3)));
        assert_eq!(
            log.plan_retention(Offset::new(1), at(99_999)),
            Some(Offset::new(1)),
            "finished ones only"
        );
        assert_eq!(log.advance_start(Offset::new(3)), Offset::new(3));
        assert_eq!(log.expired(NONE_UNFINISHED, Offset::MAX), [0, 1, 2].map(Offset::new));
        assert_eq!(
            log.expired(NONE_UNFINISHED, Offset::new(1)),
            [Offset::ZERO],
            "as far as a checkpoint knows"
        );
    }

    #[test]
    fn a_timestamp_from_the_future_does_not_keep_a_segment() {
        let mut log = log(LogConfig { retention_ms: Some(1000), ..LogConfig::tiny() });
        append_at(&mut log, 10_000, at(100), at(i64::MAX));
        append_at(&mut log, 10_000, at(200), at(200));
        perform_all(&mut log);
        assert_eq!(log.plan_retention(NONE_UNFINISHED, at(1101)), Some(Offset::new(1)));
    }

    #[test]
    fn retention_by_size_keeps_at_least_what_it_says() {
        let keeps = |bytes| {
            let log = four_segments(LogConfig { retention_bytes: Some(bytes), ..LogConfig::tiny() });
            log.plan_retention(NONE_UNFINISHED, at(500)).map(Offset::get)
        };
        let each = four_segments(LogConfig::tiny()).segments().next().map_or(0, Segment::len);
        assert_eq!([keeps(4 * each), keeps(3 * each + 1), keeps(3 * each)], [None, None, Some(1)]);
        assert_eq!(keeps(0), Some(3), "never the active one");
        let compacted =
            LogConfig { retention_bytes: Some(0), cleanup: Cleanup::COMPACT, ..LogConfig::tiny() };
        assert_eq!(four_segments(compacted).plan_retention(NONE_UNFINISHED, at(500)), None);
    }

    #[test]
    fn compaction_waits_for_its_share_and_its_age() {
        let config = LogConfig { cleanup: Cleanup::COMPACT, ..LogConfig::tiny() };
        let plan = |config, clean_upto, now| {
            let mut log = four_segments(config);
            log.set_clean_upto(Offset::new(clean_upto));
            log.plan_compaction(NONE_UNFINISHED, at(now)).map(|plan| plan.segments.len())
        };
        assert_eq!(plan(LogConfig::tiny(), 0, 500), None, "cleanup.policy=delete");
        assert_eq!(plan(config, 0, 500), Some(3));
        assert_eq!(plan(config, 2, 500), None, "a third is dirty, half has to be");
        let third = DirtyRatio::new(0.33).unwrap();
        assert_eq!(plan(LogConfig { min_cleanable_dirty_ratio: third, ..config }, 2, 500), Some(3));
        let lag = LogConfig { min_compaction_lag_ms: 250, ..config };
        assert_eq!(plan(lag, 0, 500), Some(2), "what is younger is left");
        assert_eq!(plan(lag, 0, 349), None);
    }

    #[test]
    fn records_from_long_ago_share_a_segment() {
        let mut log = log(LogConfig { segment_ms: Some(100), ..LogConfig::tiny() });
        for now in 1_000_000..1_000_003 {
            append_at(&mut log, 10, at(now), at(5));
        }
        assert_eq!(log.segments().count(), 1, "the clock counts, not their time");
        append_at(&mut log, 10, at(1_000_100), at(5));
        assert_eq!(log.segments().count(), 2);
    }

    #[test]
    fn a_lazy_log_is_flushed_by_count_or_by_time() {
        let flush = FlushPolicy { ms: Some(1000), messages: Some(3) };
        let mut log = log(LogConfig { flush, ..LogConfig::tiny() });
        append_at(&mut log, 10, at(1), at(1));
        let written = Instant::now();
        perform_all(&mut log);
        assert_eq!(log.high_watermark(), Offset::new(1), "written counts");
        assert_eq!(log.ladder().durable(), Offset::ZERO);
        assert!(!log.is_flush_due(written) && log.is_flush_due(written + Duration::from_secs(2)));
        append_at(&mut log, 10, at(2), at(2));
        append_at(&mut log, 10, at(3), at(3));
        perform_all(&mut log);
        assert!(log.is_flush_due(written), "three records");
        let plan = log.plan_flush().unwrap();
        log.handle_durable(plan.upto, &plan.reached, 0);
        assert_eq!(log.ladder().durable(), Offset::new(3));
        assert!(log.plan_flush().is_none());
    }
}
