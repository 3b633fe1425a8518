//! What a consumer knows of the records that its workers are at.
//!
//!     poll_work ─▶ dispatched ─ begin_work ─▶ at it ─ end_work ─▶ position: the prefix that is done
//!                       └─ revoked, stopped ─▶ given up, but for gaps before what is begun
//!
//! A record is read and dispatched under one lock, so that none of a partition is dispatched after the
//! partition has been let go of. The member counts as stuck when a *record* takes longer than the longest
//! poll interval: then it leaves as one does that does not ask for records.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::shared::{Shared, State, name_of};
use crate::core::assign::TopicPartition;
use crate::core::contiguous::{Contiguous, Dispatched};
use crate::core::retry::Tier;
use crate::core::waiting::TooManyKeys;
use crate::driver::lock;
use crate::error::ConsumeError;
use crate::record::ConsumedRecord;

/// One run of workers.
pub(crate) struct Work {
    id: RunId,
    pub tracker: Contiguous,
    /// How long a revocation waits for what is worked on.
    pub drain_timeout: Duration,
}

/// A consumer's runs, counted: a worker that outlives its run changes nothing in the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RunId(u64);

/// What a worker does with a record that it comes to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Process(Dispatched),
    /// An earlier record of its key waits there.
    Follow(Dispatched, Tier),
    /// Nothing: it is not this member's any more, or the run ends.
    GivenUp,
}

impl State {
    /// Whether workers, if there are any, take one more record.
    pub(super) fn has_room(&self) -> bool {
        self.work.as_ref().is_none_or(|work| work.tracker.has_room())
    }

    /// Whether workers have done all they are to do of these, which are not read any more.
    pub fn is_settled(&self, partitions: &[TopicPartition]) -> bool {
        let work = self.work.as_ref();
        work.is_none_or(|work| partitions.iter().all(|name| work.tracker.is_settled(name)))
    }

    /// How long to wait for that.
    pub fn drain_timeout(&self) -> Duration {
        self.work.as_ref().map_or(Duration::ZERO, |work| work.drain_timeout)
    }

    /// These are let go of in a rebalance.
    pub fn handle_revoked(&mut self, partitions: &[TopicPartition]) {
        self.order.as_mut().into_iter().for_each(|order| order.handle_revoked(partitions));
    }

    /// The end of a rebalance: these come in addition.
    pub fn handle_assigned(&mut self, partitions: &[TopicPartition]) {
        self.order.as_mut().into_iter().for_each(|order| order.handle_assigned(partitions));
    }

    /// Others may read these already.
    pub fn handle_lost(&mut self, partitions: &[TopicPartition]) {
        self.let_go(partitions);
        self.awaits_work = false;
        self.order.as_mut().into_iter().for_each(|order| order.handle_lost(partitions));
    }

    fn work_of(&mut self, run: RunId) -> Option<&mut Work> {
        self.work.as_mut().filter(|work| work.id == run)
    }

    fn note_busy(&mut self) {
        let since = self.work.as_ref().and_then(|work| work.tracker.busy_since());
        self.membership.handle_busy(since);
    }
}

impl Shared {
    /// What was handed out before is done; from now on workers have the records.
    pub fn begin_run(&self, tracker: Contiguous, drain_timeout: Duration) -> RunId {
        self.begin_poll();
        let mut state = lock(&self.state);
        assert!(state.work.is_none(), "BUG: a consumer has one run at a time");
        state.runs += 1;
        let id = RunId(state.runs);
        state.work = Some(Work { id, tracker, drain_timeout });
        id
    }

    /// What is not done is read again by whoever asks for records next.
    pub fn end_run(&self) {
        self.change(|state| {
            let Some(work) = state.work.take() else { return };
            work.tracker.unfinished().for_each(|name| state.rewind(name));
            state.membership.poll_ends(Instant::now());
        });
    }

    /// No record is begun any more behind the last one of its partition that is.
    pub fn stop_run(&self) {
        if let Some(work) = &mut lock(&self.state).work {
            work.tracker.stop_all();
        }
    }

    /// The next record, once there is room for one, and who works on it.
    pub fn poll_work(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(ConsumedRecord, Dispatched), ConsumeError>> {
        self.poll_with(|state| {
            state.poll_record(self.reset, cx).map_ok(|record| {
                let work = state.work.as_mut().expect("BUG: who asks for work has begun a run");
                let name = name_of(&record);
                let dispatched = work.tracker.dispatch(&name, record.offset, record.key.as_deref());
                (record, dispatched)
            })
        })
    }

    /// A worker comes to a record.
    pub fn begin_work(&self, run: RunId, dispatched: Dispatched, record: &ConsumedRecord) -> Turn {
        let mut state = lock(&self.state);
        let Some(work) = state.work_of(run) else { return Turn::GivenUp };
        if !work.tracker.begin(&dispatched, Instant::now()) {
            work.tracker.give_up(dispatched);
            state.wake(); // there is room for another
            return Turn::GivenUp;
        }
        state.note_busy();
        match state.order.as_ref().and_then(|order| order.follows(record)) {
            None => Turn::Process(dispatched),
            Some(tier) => Turn::Follow(dispatched, tier),
        }
    }

    /// The record is done: processed, or moved to where it is tried later, or dead. `record` if it was moved,
    /// or may have been moved before.
    pub fn end_work(&self, run: RunId, dispatched: Dispatched, record: Option<&ConsumedRecord>) {
        let mut state = lock(&self.state);
        if let (Some(order), Some(record)) = (&mut state.order, record) {
            order.settle(record);
        }
        let Some(work) = state.work_of(run) else { return };
        let was_full = !work.tracker.has_room();
        if let Some((name, next)) = work.tracker.complete(dispatched) {
            state.commits.advance(&name, next);
        }
        state.note_busy();
        if was_full {
            state.wake();
        }
        let is_awaited = state.awaits_work;
        drop(state);
        if is_awaited {
            self.wake_task.notify_one();
        }
    }

    /// A record is about to wait in `tier`; those behind it of its key are to follow.
    pub fn add_waiting(&self, record: &ConsumedRecord, tier: Tier) -> Result<(), TooManyKeys> {
        lock(&self.state).order.as_mut().map_or(Ok(()), |order| order.add(record, tier))
    }

    /// It could not be moved there.
    pub fn take_back_waiting(&self, record: &ConsumedRecord, tier: Tier) {
        if let Some(order) = &mut lock(&self.state).order {
            order.take_back(record, tier);
        }
    }
}
