//! When a log's records count as safe, what it has to flush for that, and how it changes over.
//!
//!     every round   accepted ─▶ written ─▶ durable: counts
//!     on write      accepted ─▶ written: counts ─ flush.ms, flush.messages ─▶ durable
//!
//! A change of `flush.ms` or `flush.messages` may be one from the one to the other. It waits for the
//! moment when nothing is under way: no round, and nothing that is only written. Until then the log plans no
//! more rounds, a few milliseconds at most. So the high watermark never moves back, and a round ends by the
//! rule by which it began.

use std::time::Instant;

use super::config::{FlushPolicy, LogConfig};
use super::{FlushPlan, Log, LogState, Reached};
use crate::disk::Buf;

/// The rule in force, and what has to end before another one can be.
pub(super) struct FlushMode {
    on_write: bool,
    /// Rounds that were planned and have not ended.
    rounds: u32,
    /// Whether what was only written is being flushed.
    flushing: bool,
}

/// What was written and is not durable, where the flush policy leaves it so.
pub(super) struct Unflushed {
    pub(super) since: Instant,
    pub(super) reached: Vec<Reached>,
}

impl FlushMode {
    pub(super) fn new(policy: FlushPolicy) -> FlushMode {
        FlushMode { on_write: !policy.is_every_round(), rounds: 0, flushing: false }
    }

    pub(super) fn begin_round(&mut self) {
        self.rounds += 1;
    }

    pub(super) fn end_round(&mut self) {
        self.rounds = self.rounds.checked_sub(1).expect("BUG: a round ended that was not planned");
    }
}

impl<B: Buf> Log<B> {
    /// Goes by another configuration from now on, and for a change of how its records count as soon as
    /// nothing is under way; see [`Log::is_changing_over`].
    pub fn reconfigure(&mut self, config: LogConfig) {
        self.config = config;
        self.change_over();
    }

    /// Gives up a change that waits, because the log is about to be closed.
    pub fn stop_changing_over(&mut self) {
        if self.is_changing_over() {
            let flush = if self.mode.on_write { FlushPolicy::ON_WRITE } else { FlushPolicy::EVERY_ROUND };
            self.config.flush = flush;
        }
    }

    /// Whether records count as safe once they are written (`flush.ms`, `flush.messages`).
    pub fn commits_on_write(&self) -> bool {
        self.mode.on_write
    }

    /// Whether the log waits with new rounds until those under way have ended, and until
    /// [`Store::flush_due`](crate::store::Store::flush_due) has flushed what is only written.
    pub fn is_changing_over(&self) -> bool {
        self.mode.on_write == self.config.flush.is_every_round()
    }

    pub(super) fn change_over(&mut self) {
        let settled = self.ladder.written() == self.ladder.durable() && self.unflushed.is_none();
        if self.is_changing_over() && self.mode.rounds == 0 && settled {
            self.mode.on_write = !self.mode.on_write;
        }
    }

    /// Whether the flush policy asks for a flush of what was only written.
    pub fn is_flush_due(&self, now: Instant) -> bool {
        let Some(unflushed) = self.unflushed.as_ref().filter(|_| self.state == LogState::Open) else {
            return false;
        };
        let policy = self.config.flush;
        let waited = now.saturating_duration_since(unflushed.since).as_millis();
        let records = self.ladder.written().get() - self.ladder.durable().get();
        self.is_changing_over()
            || policy.ms.is_some_and(|ms| u128::from(ms) <= waited)
            || policy.messages.is_some_and(|messages| messages <= records)
    }

    /// What to flush, if something is only written. `None` too while a flush is under way: of two, the
    /// later one would not cover what the earlier one has still to flush.
    pub fn plan_flush(&mut self) -> Option<FlushPlan> {
        if self.is_flushing() || self.state != LogState::Open {
            return None;
        }
        let reached = self.unflushed.take()?.reached;
        self.mode.flushing = true;
        Some(FlushPlan { upto: self.ladder.written(), reached })
    }

    /// Whether a flush was planned and has not ended.
    pub fn is_flushing(&self) -> bool {
        self.mode.flushing && self.state == LogState::Open
    }

    /// A flush completed: what it covers is durable.
    pub fn handle_flushed(&mut self, plan: &FlushPlan) {
        self.mode.flushing = false;
        self.handle_durable(plan.upto, &plan.reached, 0);
    }
}

#[cfg(test)]
mod tests {
    use protocol::model::{LeaderEpoch, Offset, Timestamp};

    use super::*;
    use crate::log::tests::{Heap, HeapBuf, append_at};
    use crate::log::{PlannedWrite, WritePlan};

    const LAZY: FlushPolicy = FlushPolicy { ms: Some(1000), messages: None };

    fn log(flush: FlushPolicy) -> Log<HeapBuf> {
        Log::new(LogConfig { flush, ..LogConfig::tiny() }, LeaderEpoch::FIRST)
    }

    fn set(log: &mut Log<HeapBuf>, flush: FlushPolicy) {
        log.reconfigure(LogConfig { flush, ..*log.config() });
    }

    fn append(log: &mut Log<HeapBuf>) {
        append_at(log, 100, Timestamp::from_millis(1), Timestamp::from_millis(1));
    }

    fn reached(plan: &WritePlan<HeapBuf>) -> Vec<Reached> {
        let reach = |write: &PlannedWrite<HeapBuf>| Reached {
            segment: write.segment,
            data_end: write.data_end,
            write_end: write.write_end(),
        };
        plan.writes.iter().map(reach).collect()
    }

    #[test]
    fn a_log_that_rests_changes_at_once_and_one_kind_of_policy_is_like_another() {
        let mut log = log(FlushPolicy::EVERY_ROUND);
        set(&mut log, LAZY);
        assert!(log.commits_on_write() && !log.is_changing_over());
        set(&mut log, FlushPolicy { ms: None, messages: Some(7) });
        assert!(log.commits_on_write() && !log.is_changing_over());
        set(&mut log, FlushPolicy { ms: Some(0), messages: None });
        assert!(!log.commits_on_write() && !log.is_changing_over(), "no time at all is every round");
    }

    #[test]
    fn rounds_under_way_end_by_the_rule_by_which_they_began() {
        let mut log = log(FlushPolicy::EVERY_ROUND);
        append(&mut log);
        let plan = log.plan_write(&Heap).unwrap();
        set(&mut log, LAZY);
        append(&mut log);
        assert!(log.plan_write(&Heap).is_none() && log.has_work(), "the next round waits");
        log.handle_written(plan.upto, &reached(&plan), plan.bytes, Instant::now());
        assert_eq!(log.high_watermark(), Offset::ZERO, "written is not enough yet");
        log.handle_durable(plan.upto, &reached(&plan), plan.bytes);
        assert!(log.commits_on_write() && log.high_watermark() == Offset::new(1));
        let next = log.plan_write(&Heap).unwrap();
        log.handle_written(next.upto, &reached(&next), next.bytes, Instant::now());
        assert_eq!((log.high_watermark(), log.pending_bytes()), (Offset::new(2), 0), "now it is");
    }

    #[test]
    fn what_was_only_written_is_flushed_before_the_log_is_strict_and_stays_readable_meanwhile() {
        let mut log = log(LAZY);
        append(&mut log);
        let plan = log.plan_write(&Heap).unwrap();
        set(&mut log, FlushPolicy::EVERY_ROUND);
        let now = Instant::now();
        log.handle_written(plan.upto, &reached(&plan), plan.bytes, now);
        assert!(log.is_flush_due(now), "although no second has passed");
        assert!(log.is_changing_over() && log.high_watermark() == Offset::new(1));
        append(&mut log);
        assert!(log.plan_write(&Heap).is_none());
        let flush = log.plan_flush().unwrap();
        assert!(log.is_changing_over(), "the flush may fail");
        assert!(log.plan_flush().is_none(), "one at a time");
        log.handle_flushed(&flush);
        assert!(!log.commits_on_write() && log.high_watermark() == Offset::new(1));
        let next = log.plan_write(&Heap).unwrap();
        log.handle_written(next.upto, &reached(&next), next.bytes, now);
        assert_eq!(log.high_watermark(), Offset::new(1));
        log.handle_durable(next.upto, &reached(&next), next.bytes);
        assert_eq!((log.high_watermark(), log.pending_bytes()), (Offset::new(2), 0));
    }

    #[test]
    fn a_change_that_is_taken_back_or_given_up_holds_nothing_up() {
        let mut log = log(FlushPolicy::EVERY_ROUND);
        append(&mut log);
        let _under_way = log.plan_write(&Heap).unwrap();
        append(&mut log);
        for give_up in [true, false] {
            set(&mut log, LAZY);
            assert!(log.is_changing_over());
            match give_up {
                true => log.stop_changing_over(),
                false => set(&mut log, FlushPolicy::EVERY_ROUND),
            }
            assert!(!log.is_changing_over() && !log.commits_on_write());
        }
        assert!(log.plan_write(&Heap).is_some());
    }
}
