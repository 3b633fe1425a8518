//! Read-ahead: what a sequential reader of history will ask for next is read while it gets the last.
//!
//!     fetch [a, b) ─▶ read ─▶ reply            fetch [b, c) ─▶ taken from its slot ─▶ reply
//!                       └─ read [b, c) ─▶ slot ─┘  └─ read [d, e) ─▶ slot
//!                          read [c, d) ─▶ slot
//!
//! A reader is sequential once it has asked for what follows one of the last reads. Then two reads are
//! ahead of it, so that the disk works while a reply is sent. Bounded: the slots of a store hold
//! [`AHEAD_BYTES_MAX`] together; while they do, other readers read for themselves. A slot that nobody
//! has asked for in [`AHEAD_AGE_MAX`] is dropped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::model::Offset;

use super::cold::ColdBatches;
use super::{OpenLog, Store, count};
use crate::disk::Disk;
use crate::id::LogId;
use crate::log::{ColdRead, ReadPlan};

/// What all slots of a store hold.
const AHEAD_BYTES_MAX: usize = 16 << 20;

/// Reads ahead of one reader.
const AHEAD_DEPTH: usize = 2;

/// How long a slot waits for its reader.
const AHEAD_AGE_MAX: Duration = Duration::from_secs(5);

/// Ends of reads that are remembered: readers of one store that are followed at a time.
const ENDS_MAX: usize = 64;

pub(super) struct ReadAhead<D: Disk> {
    slots: RefCell<VecDeque<Rc<Slot<D>>>>,
    ends: RefCell<VecDeque<(LogId, Offset)>>,
}

struct Slot<D: Disk> {
    log: LogId,
    offset: Offset,
    read: ColdRead,
    max_bytes: usize,
    since: Instant,
    /// Where the next read begins, once this one is done.
    end: Cell<Option<Offset>>,
    state: RefCell<State<D>>,
}

enum State<D: Disk> {
    Reading,
    Done(ColdBatches<D>),
    /// It failed, or somebody has it: whoever wants the records reads them.
    Gone,
}

impl<D: Disk> Default for ReadAhead<D> {
    fn default() -> ReadAhead<D> {
        ReadAhead { slots: RefCell::default(), ends: RefCell::default() }
    }
}

impl<D: Disk> ReadAhead<D> {
    /// A read went from `from` to `next`. Whether it continued an earlier one.
    fn note(&self, log: LogId, from: Offset, next: Offset) -> bool {
        let mut ends = self.ends.borrow_mut();
        let before = ends.len();
        ends.retain(|end| *end != (log, from));
        let continues = ends.len() < before;
        if ends.len() == ENDS_MAX {
            ends.pop_front();
        }
        ends.push_back((log, next));
        continues
    }

    /// Takes the slot out that was read for this. One that was read for another file, or for more than
    /// is wanted now, is of no use.
    fn take(&self, log: LogId, read: &ColdRead, offset: Offset, max_bytes: usize) -> Option<Rc<Slot<D>>> {
        let mut slots = self.slots.borrow_mut();
        let at = slots.iter().position(|slot| slot.log == log && slot.offset == offset)?;
        let slot = slots.remove(at).expect("BUG: found above");
        let of_this_file = slot.read.segment == read.segment && slot.read.generation == read.generation;
        (of_this_file && slot.max_bytes <= max_bytes).then_some(slot)
    }

    fn find(&self, log: LogId, offset: Offset) -> Option<Rc<Slot<D>>> {
        self.slots.borrow().iter().find(|slot| slot.log == log && slot.offset == offset).cloned()
    }

    fn has_room(&self, bytes: usize) -> bool {
        let held: usize = self.slots.borrow().iter().map(|slot| slot.max_bytes).sum();
        held + bytes <= AHEAD_BYTES_MAX
    }
}

impl<D: Disk> Store<D> {
    /// What was read ahead for this read; waits while that is under way.
    pub(super) async fn take_ahead(
        &self,
        log: &OpenLog<D>,
        read: &ColdRead,
        offset: Offset,
        max_bytes: usize,
    ) -> Option<ColdBatches<D>> {
        let slot = self.ahead.take(log.id, read, offset, max_bytes)?;
        self.wait_for(&slot).await;
        match slot.state.replace(State::Gone) {
            State::Done(found) if log.read(|log| log.is_current(read)) => {
                count(&self.counters.ahead_hits, 1);
                Some(found)
            }
            _ => None,
        }
    }

    async fn wait_for(&self, slot: &Slot<D>) {
        let is_done = || !matches!(*slot.state.borrow(), State::Reading);
        self.work.until(|| is_done().then_some(())).await;
    }

    /// A reader got the records of [`from`, `next`) from disk. If it reads on like that, what follows
    /// is read now and kept for it, at most `max_bytes` a read.
    pub async fn read_ahead(&self, log: &Rc<OpenLog<D>>, from: Offset, next: Offset, max_bytes: usize) {
        if !self.ahead.note(log.id, from, next) {
            return;
        }
        let (mut next, max_bytes) = (next, self.cold_bytes(max_bytes));
        for _ in 0..AHEAD_DEPTH {
            let slot = match self.ahead.find(log.id, next) {
                Some(slot) => slot,
                None => match self.begin_ahead(log, next, max_bytes) {
                    Some(slot) => {
                        self.fill(log, &slot).await;
                        slot
                    }
                    None => return,
                },
            };
            self.wait_for(&slot).await;
            let Some(end) = slot.end.get() else { return };
            next = end;
        }
    }

    /// A slot for what lies on disk from `offset` on, if there is room for it.
    fn begin_ahead(&self, log: &Rc<OpenLog<D>>, offset: Offset, max_bytes: usize) -> Option<Rc<Slot<D>>> {
        if self.stopping.get() || !self.ahead.has_room(max_bytes) {
            return None;
        }
        let plan = self.plan_read(log, offset, max_bytes, &mut Vec::new());
        let Ok(ReadPlan::Cold(read)) = plan else { return None };
        let slot = Rc::new(Slot {
            log: log.id,
            offset,
            read,
            max_bytes,
            since: (self.options.clock)(),
            end: Cell::new(None),
            state: RefCell::new(State::Reading),
        });
        self.ahead.slots.borrow_mut().push_back(slot.clone());
        Some(slot)
    }

    /// Reads what the slot is for. An error is the reader's to meet, if it ever comes here.
    async fn fill(&self, log: &Rc<OpenLog<D>>, slot: &Slot<D>) {
        let found = self.read_from(log, slot.read, Some(slot.offset), slot.max_bytes).await.ok();
        slot.end.set(found.as_ref().and_then(ColdBatches::next));
        *slot.state.borrow_mut() = found.map_or(State::Gone, State::Done);
        self.work.notify();
    }

    /// Drops what nobody has come for.
    pub fn forget_old_reads(&self) {
        let now = (self.options.clock)();
        let is_young = |slot: &Rc<Slot<D>>| now.saturating_duration_since(slot.since) < AHEAD_AGE_MAX;
        self.ahead.slots.borrow_mut().retain(is_young);
    }
}
