//! Fetches of this shard's partitions: answered at once, or waiting on their partitions.
//!
//!     begin ─ enough bytes? ─ yes ─▶ read ─ hot ─▶ deliver
//!        │ no                          └ on disk: a task of its own, then deliver
//!        ▼
//!     waits on each partition and on a deadline; a commit there looks again (never polled)
//!
//! What is on disk is read when its connection may have it: a part on another shard asks (MayRead, Read).
//!
//! A fetch whose partitions are on several shards has a part on each. The first part that finds
//! records tells the others to answer with what they have, so no part holds up the rest.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use protocol::api::{FetchEntry, FetchParams, FetchResult};
use protocol::model::{ErrorCode, ShardId};
use smallvec::SmallVec;
use storage::notify::Notify;

use super::message::{Origin, ShardMessage};
use super::partition::{HotRead, Partition, Slices};
use super::requests::{FetchEntries, FetchPart, Fetched, Pieces, Waiting};
use super::timers::Timers;
use super::{Place, Shard, forwarding};
use crate::metrics::count;
use crate::runtime;

struct WaitingFetch {
    origin: Origin,
    entries: FetchEntries,
    params: FetchParams,
    deadline: Instant,
}

/// What one shard has found for a fetch, in the order of its entries.
pub(super) type FetchResults = SmallVec<[Fetched; 1]>;

/// The fetches that wait on this shard.
#[derive(Default)]
pub struct Fetches {
    waiting: RefCell<HashMap<u64, WaitingFetch>>,
    by_origin: RefCell<HashMap<Origin, u64>>,
    /// Parts of other shards' fetches that lie on disk, and may not be read yet.
    unread: RefCell<HashMap<Origin, (FetchEntries, FetchParams)>>,
    next: Cell<u64>,
    pub(super) timers: RefCell<Timers>,
    pub(super) timers_changed: Notify,
    /// Empty between reads; its memory is used again.
    slices: RefCell<Slices>,
}

impl Fetches {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }
}

impl Shard {
    /// Answers a part of a fetch whose partitions are all on this shard, now or by the deadline.
    pub fn begin_fetch(
        self: &Rc<Self>,
        origin: Origin,
        entries: FetchEntries,
        params: FetchParams,
        deadline: Instant,
    ) {
        let at_once = params.max_wait_ms == 0 || self.is_stopping();
        if at_once || self.has_enough(&entries, params) {
            return self.finish_fetch(origin, entries, params);
        }
        count(&self.counters.fetch_waits, 1);
        let id = self.fetches.next.get();
        self.fetches.next.set(id + 1);
        for entry in &entries {
            if let Place::Here(partition) = self.locate(entry.topic, entry.partition) {
                partition.add_fetch(id);
            }
        }
        self.fetches.timers.borrow_mut().insert(deadline, id);
        self.fetches.timers_changed.notify();
        self.fetches.by_origin.borrow_mut().insert(origin, id);
        self.fetches.waiting.borrow_mut().insert(id, WaitingFetch { origin, entries, params, deadline });
    }

    /// Whether there is enough to answer, or an error to tell.
    fn has_enough(&self, entries: &[FetchEntry], params: FetchParams) -> bool {
        let enough = params.min_bytes as usize;
        let mut bytes = 0;
        for entry in entries {
            let Place::Here(partition) = self.locate(entry.topic, entry.partition) else { return true };
            match partition.readable_bytes(entry, enough) {
                Ok(readable) => bytes += readable,
                Err(_) => return true,
            }
            if enough <= bytes {
                return true;
            }
        }
        false
    }

    /// Looks again at the fetches that wait for records of this partition.
    pub fn wake_fetches(&self, partition: &Partition) {
        for id in partition.waiting_fetches() {
            let ready = {
                let waiting = self.fetches.waiting.borrow();
                waiting.get(&id).is_some_and(|fetch| self.has_enough(&fetch.entries, fetch.params))
            };
            if ready {
                self.end_wait(id);
            }
        }
    }

    /// Ends a wait with an answer. What a commit has just made durable is in memory, so the lane that
    /// calls this is not held up by a disk.
    fn end_wait(&self, id: u64) {
        let Some(fetch) = self.fetches.waiting.borrow_mut().remove(&id) else { return };
        self.fetches.by_origin.borrow_mut().remove(&fetch.origin);
        self.fetches.timers.borrow_mut().remove(fetch.deadline, id);
        for entry in &fetch.entries {
            if let Place::Here(partition) = self.locate(entry.topic, entry.partition) {
                partition.remove_fetch(id);
            }
        }
        self.finish_fetch(fetch.origin, fetch.entries, fetch.params);
    }

    pub fn expire_fetches(&self, now: Instant) {
        let due = self.fetches.timers.borrow_mut().expired(now);
        for id in due {
            self.end_wait(id);
        }
        self.flush_touched();
    }

    /// Ends a wait because another part of the same fetch has records.
    pub fn finish_fetch_early(&self, origin: Origin) {
        let id = self.fetches.by_origin.borrow().get(&origin).copied();
        if let Some(id) = id {
            self.end_wait(id);
        }
    }

    /// Ends every wait: the shard is stopping.
    pub fn end_all_waits(&self) {
        let all: Vec<u64> = self.fetches.waiting.borrow().keys().copied().collect();
        for id in all {
            self.end_wait(id);
        }
    }

    /// Reads what there is and delivers it; what lies on disk only is read by a task of its own.
    fn finish_fetch(&self, origin: Origin, entries: FetchEntries, params: FetchParams) {
        let mut budget = FetchBudget::new(params);
        let mut results = FetchResults::with_capacity(entries.len());
        let slices = &mut *self.fetches.slices.borrow_mut();
        for entry in &entries {
            let fetched = match self.locate(entry.topic, entry.partition) {
                Place::Here(partition) if budget.is_used() => partition.without_records(entry),
                Place::Here(partition) => {
                    match partition.read_hot(&self.store, entry, budget.limit(entry), slices) {
                        HotRead::Done(fetched) => {
                            count(&self.counters.cache_hits, u64::from(0 < fetched.0.records_len));
                            fetched
                        }
                        HotRead::OnDisk => return self.finish_from_disk(origin, entries, params),
                    }
                }
                place => (FetchResult::refused(place_error(&place)), Pieces::new()),
            };
            results.push(budget.admit(fetched));
        }
        self.deliver(origin, results);
    }

    /// Reads once the connection may have what was read: one that takes nothing gets no more. That is known to
    /// the shard that serves it.
    fn finish_from_disk(&self, origin: Origin, entries: FetchEntries, params: FetchParams) {
        if origin.shard != self.id {
            if self.is_stopping() {
                return self.deliver(origin, unread(&entries));
            }
            self.fetches.unread.borrow_mut().insert(origin, (entries, params));
            return self.send(origin.shard, ShardMessage::MayRead { origin });
        }
        let shard = self.this();
        runtime::spawn_background(async move {
            shard.begin_reading(origin).await;
            shard.read_from_disk(origin, entries, params).await;
        });
    }

    /// Lets another shard read its part of a fetch as soon as it may.
    pub fn allow_to_read(&self, origin: Origin) {
        let shard = self.this();
        runtime::spawn_background(async move {
            let reader = shard.begin_reading(origin).await;
            shard.send(reader, ShardMessage::Read { origin });
        });
    }

    pub fn read_for_another(&self, origin: Origin) {
        let asked = self.fetches.unread.borrow_mut().remove(&origin);
        let (entries, params) = asked.expect("BUG: nobody asked whether it may be read");
        if self.is_stopping() {
            return self.deliver(origin, unread(&entries));
        }
        let shard = self.this();
        runtime::spawn_background(async move { shard.read_from_disk(origin, entries, params).await });
    }

    /// Waits until the connection of a fetch may have what is read for it; all of its parts together are
    /// counted once. Returns the shard of the part.
    async fn begin_reading(&self, origin: Origin) -> ShardId {
        let connection = self.requests.borrow().connection(origin.request);
        let (shard, possible) = self.reading_of(origin, |part, possible, _| (part.shard, possible));
        let is_counted = || self.reading_of(origin, |_, _, reading| *reading);
        if connection.begin_reading(possible, self.config.connection_out_bytes, is_counted).await {
            self.reading_of(origin, |_, _, reading| *reading = true);
            connection.look_again(); // the other parts
        }
        shard
    }

    /// Of a fetch of this shard that waits for this part: the part, the bytes that its reply may have, and
    /// whether they are counted.
    fn reading_of<T>(&self, origin: Origin, look: impl FnOnce(&FetchPart, usize, &mut bool) -> T) -> T {
        let mut requests = self.requests.borrow_mut();
        let waiting = &mut requests.get_mut(origin.request).waiting;
        let Waiting::Fetch { parts, possible, reading, .. } = waiting else { panic!("BUG: not a fetch") };
        look(parts.get(origin.part as usize).expect("BUG: no such part"), *possible, reading)
    }

    async fn read_from_disk(self: Rc<Self>, origin: Origin, entries: FetchEntries, params: FetchParams) {
        let mut budget = FetchBudget::new(params);
        let mut results = FetchResults::with_capacity(entries.len());
        let mut ahead = Vec::new();
        for entry in &entries {
            let fetched = match self.locate(entry.topic, entry.partition) {
                Place::Here(partition) if budget.is_used() => partition.without_records(entry),
                Place::Here(partition) => {
                    let limit = budget.limit(entry);
                    count(&self.counters.cache_misses, 1);
                    self.credits.reserve_to_read(limit).await;
                    let (fetched, next) = partition.read_any(&self.store, entry, limit).await;
                    self.credits.give_back_read(limit);
                    ahead.extend(next.map(|next| (partition, entry.fetch_offset, next, limit)));
                    fetched
                }
                place => (FetchResult::refused(place_error(&place)), Pieces::new()),
            };
            results.push(budget.admit(fetched));
        }
        self.deliver(origin, results);
        self.flush_touched();
        for (partition, from, next, limit) in ahead {
            partition.read_ahead(&self.store, from, next, limit).await;
        }
    }

    fn deliver(&self, origin: Origin, results: FetchResults) {
        if origin.shard == self.id {
            return self.take_fetched(origin, results);
        }
        let (results, records) = forwarding::pack(self, results);
        self.send(origin.shard, ShardMessage::FetchDone { origin, results, records });
    }

    /// A part of one of this shard's fetches has been answered.
    pub fn take_fetched(&self, origin: Origin, fetched: FetchResults) {
        let bytes: u64 = fetched.iter().map(|(result, _)| u64::from(result.records_len)).sum();
        count(&self.counters.fetched_bytes, bytes);
        let found = 0 < bytes || fetched.iter().any(|(result, _)| !result.error.is_ok());
        let (mut others, mut read) = (Vec::new(), None);
        let connection = self.requests.borrow().connection(origin.request);
        self.complete(origin, |waiting| {
            let Waiting::Fetch { results, parts, budget, possible, reading } = waiting else {
                panic!("BUG: not a fetch")
            };
            let part = parts.get_mut(origin.part as usize).expect("BUG: no such part");
            part.answered = true;
            for (index, fetched) in part.entries.iter().zip(fetched) {
                *results.get_mut(*index).expect("BUG: no such entry") = Some(fetched);
            }
            if parts.iter().all(|part| part.answered) {
                read = reading.then_some(*possible);
                // In the order of the request, by which clients are fair to their partitions, and not in
                // that of the shards' answers.
                for (result, pieces) in results.iter_mut().flatten() {
                    (*result, *pieces) = budget.admit((*result, std::mem::take(pieces)));
                }
            } else if found {
                let unanswered = parts.iter().enumerate().filter(|(_, part)| !part.answered);
                others.extend(unanswered.map(|(index, part)| (index as u32, part.shard)));
            }
        });
        if let Some(bytes) = read {
            connection.end_reading(bytes); // they are in the outbox
        }
        for (part, shard) in others {
            self.nudge(Origin { part, ..origin }, shard);
        }
    }

    /// Ends the waits of those who are not there any more: they may come again, and again.
    pub fn end_polls_of_the_gone(&self) {
        let gone = self.requests.borrow().polls_of_the_gone(self.id);
        for (origin, shard) in gone {
            self.nudge(origin, shard);
        }
    }

    fn nudge(&self, origin: Origin, shard: ShardId) {
        match shard == self.id {
            true => self.finish_fetch_early(origin),
            false => self.send(shard, ShardMessage::FetchFinish { origin }),
        }
    }
}

/// The answer to a part that is not read because its shard stops.
fn unread(entries: &[FetchEntry]) -> FetchResults {
    entries.iter().map(|_| (FetchResult::refused(ErrorCode::NotLeaderOrFollower), Pieces::new())).collect()
}

pub fn place_error(place: &Place) -> ErrorCode {
    match place {
        Place::NoTopic => ErrorCode::UnknownTopicId,
        Place::NoPartition => ErrorCode::UnknownTopicOrPartition,
        Place::Elsewhere(_) | Place::Here(_) => ErrorCode::NotLeaderOrFollower,
    }
}

/// The bytes a reply may still hold. Its first batch goes in whatever its size (KIP-74). Each part of a fetch
/// reads within one, and what all parts have found has to fit into one again.
pub struct FetchBudget {
    left: usize,
    empty: bool,
}

impl FetchBudget {
    pub fn new(params: FetchParams) -> FetchBudget {
        FetchBudget { left: params.max_bytes.min(FETCH_BYTES_MAX) as usize, empty: true }
    }

    /// Whether no records go in any more.
    fn is_used(&self) -> bool {
        self.left == 0 && !self.empty
    }

    fn limit(&self, entry: &FetchEntry) -> usize {
        self.left.min(entry.max_bytes as usize)
    }

    /// Drops records that would make a reply larger than its client wants.
    fn admit(&mut self, (result, pieces): Fetched) -> Fetched {
        let len = result.records_len as usize;
        if !self.empty && self.left < len {
            // Whoever reads on would read in vain, batch after batch.
            self.left = 0;
            return (FetchResult { records_len: 0, ..result }, Pieces::new());
        }
        self.left = self.left.saturating_sub(len);
        self.empty &= len == 0;
        (result, pieces)
    }
}

/// Bytes of record sets that the reply to a fetch may have, whose partitions may have so many each.
pub fn possible_bytes(of_each: impl Iterator<Item = u32>, params: FetchParams) -> usize {
    let all: u64 = of_each.map(u64::from).sum();
    all.min(u64::from(params.max_bytes.min(FETCH_BYTES_MAX))) as usize
}

/// Most bytes of record sets in one reply, whatever its client asks for.
const FETCH_BYTES_MAX: u32 = protocol::model::limits::FRAME_BODY_BYTES_MAX as u32 / 2;
