//! What a reader fetches next, and what it hands out.
//!
//!     plan ─▶ Fetch ─ ─ ▶ broker ─ ─ ▶ reply ─▶ split into batches ─▶ items of the partition ─▶ take
//!             one entry per partition           (CRC and records        │batch│batch│fault│
//!             that has room                      when they are taken)     in offset order
//!
//! Partitions with items stand in `ready` and take turns, batch by batch. Bounded: a connection's
//! partitions hold at most its share of the prefetch, except for the one batch that a broker sends
//! whole whatever the limit.
//! A partition is in at most one fetch. `seek` raises its generation, and a reply for an earlier one
//! is dropped. Faults stand in line behind the records before them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::api::{FetchResult, FetchedPartition};
use protocol::batch::Batch;
use protocol::model::limits::{FRAME_BODY_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX};
use protocol::model::{ErrorCode, Offset, OffsetRange, PartitionIndex};

use super::backoff::Backoff;
use crate::error::ConsumeError;
use crate::limits::UNAVAILABLE_AFTER;

#[cfg(test)]
mod tests;

/// Most bytes asked for at once, whatever the prefetch: half a frame.
const REPLY_BYTES_MAX: usize = FRAME_BODY_BYTES_MAX / 2;

#[derive(Debug)]
pub struct Fetch {
    topic: Arc<str>,
    partitions: Vec<Partition>,
    /// Slots with items that are not paused, each once.
    ready: VecDeque<Slot>,
    /// Where the next plan begins, so that a byte limit does not always cut off the same ones.
    rotation: usize,
    /// Whether a plan found no room: then the next `take` is news to the driver.
    starved: bool,
}

/// Index of a partition in the reader's list.
pub type Slot = usize;

#[derive(Debug)]
struct Partition {
    index: PartitionIndex,
    generation: u64,
    state: State,
    paused: bool,
    in_ready: bool,
    /// The next offset to ask for.
    next_fetch: Offset,
    /// The first offset that `take` has not handed out.
    next_take: Offset,
    items: VecDeque<Item>,
    buffered_bytes: usize,
    high_watermark: Option<Offset>,
    backoff: Backoff,
    failing_since: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Idle,
    Fetching,
    Waiting {
        until: Instant,
    },
    /// Nothing is fetched until `seek`.
    Stopped(ConsumeError),
    /// Nobody reads it any more.
    Removed,
}

#[derive(Debug)]
pub enum Item {
    Batch(Bytes),
    Fault(ConsumeError),
}

/// One fetch to be sent.
#[derive(Debug)]
pub struct Plan {
    pub entries: Vec<PlanEntry>,
    /// Most bytes of the whole reply.
    pub max_bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanEntry {
    pub slot: Slot,
    pub partition: PartitionIndex,
    pub offset: Offset,
    generation: u64,
}

/// What `take` hands out.
#[derive(Debug)]
pub struct Taken {
    pub slot: Slot,
    pub partition: PartitionIndex,
    /// Records below this were not asked for.
    pub from: Offset,
    pub item: Item,
    /// Whether there is room again that the driver waits for.
    pub wake_driver: bool,
}

impl Fetch {
    pub fn new(
        topic: Arc<str>,
        starts: impl IntoIterator<Item = (PartitionIndex, Offset)>,
        retry_backoff: Duration,
    ) -> Fetch {
        let partition = |(index, start)| Partition {
            index,
            generation: 0,
            state: State::Idle,
            paused: false,
            in_ready: false,
            next_fetch: start,
            next_take: start,
            items: VecDeque::new(),
            buffered_bytes: 0,
            high_watermark: None,
            backoff: Backoff::new(retry_backoff),
            failing_since: None,
        };
        let partitions = starts.into_iter().map(partition).collect();
        Fetch { topic, partitions, ready: VecDeque::new(), rotation: 0, starved: false }
    }

    pub fn partitions(&self) -> impl ExactSizeIterator<Item = PartitionIndex> + '_ {
        self.partitions.iter().map(|partition| partition.index)
    }

    pub fn high_watermark(&self, slot: Slot) -> Option<Offset> {
        self.partitions[slot].high_watermark
    }

    /// The next fetch for `slots`, which share a connection whose share of the prefetch is `share`,
    /// `promised` of it to fetches under way. `None` if there is nothing to ask for.
    pub fn plan(&mut self, now: Instant, slots: &[Slot], share: usize, promised: usize) -> Option<Plan> {
        let active = |slot: &&Slot| !self.partitions[**slot].paused;
        let held: usize = slots.iter().filter(active).map(|slot| self.partitions[*slot].buffered_bytes).sum();
        let room = share.saturating_sub(held + promised);
        // Asking for every batch's worth of room would make many small fetches.
        if held + promised > 0 && room < share / 4 {
            self.starved = true;
            return None;
        }
        let mut entries = Vec::new();
        self.rotation = self.rotation.wrapping_add(1);
        for at in 0..slots.len().min(PARTITIONS_PER_REQUEST_MAX) {
            let slot = slots[(at + self.rotation) % slots.len()];
            let partition = &mut self.partitions[slot];
            if !partition.is_due(now) {
                continue;
            }
            if partition.buffered_bytes > share / 2 {
                self.starved = true;
                continue;
            }
            partition.state = State::Fetching;
            let (index, offset, generation) = (partition.index, partition.next_fetch, partition.generation);
            entries.push(PlanEntry { slot, partition: index, offset, generation });
        }
        // Half of the share, so that a second fetch can be under way while this one waits.
        let bytes = room.min((share / 2).max(1)).min(REPLY_BYTES_MAX);
        let max_bytes = u32::try_from(bytes).expect("BUG: half a frame is below 4 GiB");
        (!entries.is_empty()).then_some(Plan { entries, max_bytes })
    }

    /// When the next pause ends that is not over at `now`.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let pause = |partition: &Partition| match partition.state {
            State::Waiting { until } if !partition.paused && now < until => Some(until),
            _ => None,
        };
        self.partitions.iter().filter_map(pause).min()
    }

    /// Takes in the reply to `plan`, in its order. Returns whether the metadata look stale.
    pub fn handle_reply(
        &mut self,
        now: Instant,
        plan: &Plan,
        results: Vec<FetchedPartition>,
        random: f64,
    ) -> bool {
        let mut stale = false;
        for (entry, fetched) in plan.entries.iter().zip(results) {
            if self.partitions[entry.slot].generation != entry.generation {
                continue;
            }
            stale |= self.handle_partition(now, entry, fetched, random);
        }
        stale
    }

    fn handle_partition(
        &mut self,
        now: Instant,
        entry: &PlanEntry,
        fetched: FetchedPartition,
        random: f64,
    ) -> bool {
        let FetchedPartition { result, records } = fetched;
        let partition = &mut self.partitions[entry.slot];
        partition.state = State::Idle;
        if result.high_watermark.is_some() {
            partition.high_watermark = result.high_watermark;
        }
        match result.error {
            ErrorCode::None => {
                partition.backoff.reset();
                partition.failing_since = None;
                self.handle_records(entry.slot, &records);
                false
            }
            code if code.is_retriable() => {
                let until = now + partition.backoff.next_pause(random);
                partition.state = State::Waiting { until };
                self.note_failure(now, entry.slot, &Arc::from(code.to_string()));
                is_stale(code)
            }
            code => {
                self.stop(entry.slot, self.fault(entry, code, result));
                false
            }
        }
    }

    fn fault(&self, entry: &PlanEntry, code: ErrorCode, result: FetchResult) -> ConsumeError {
        let (topic, partition, offset) = (Arc::clone(&self.topic), entry.partition, entry.offset);
        match code {
            ErrorCode::OffsetOutOfRange => {
                let ends = result.log_start_offset.zip(result.high_watermark);
                let range = ends.and_then(|(start, end)| OffsetRange::new(start, end));
                ConsumeError::OffsetOutOfRange { topic, partition, asked: offset, range }
            }
            ErrorCode::CorruptLog => {
                ConsumeError::Corrupt { topic, partition, offset, why: code.text().into() }
            }
            code => ConsumeError::Refused { topic, partition, code },
        }
    }

    /// Cuts a record set into batches; the last one may be cut off, and is fetched again.
    fn handle_records(&mut self, slot: Slot, records: &Bytes) {
        let mut rest: &[u8] = records;
        while !rest.is_empty() {
            let before = rest;
            let partition = &mut self.partitions[slot];
            match Batch::split_first(rest) {
                Ok((batch, after)) => {
                    rest = after;
                    if batch.last_offset() >= partition.next_fetch {
                        partition.next_fetch = batch.next_offset();
                        partition.buffered_bytes += batch.len();
                        partition.items.push_back(Item::Batch(records.slice_ref(batch.as_bytes())));
                    }
                }
                Err(error) if error.is_truncated() && before.len() < records.len() => break,
                Err(error) => {
                    let offset = partition.next_fetch;
                    let (topic, partition) = (Arc::clone(&self.topic), partition.index);
                    let why = error.to_string().into();
                    self.stop(slot, ConsumeError::Corrupt { topic, partition, offset, why });
                    break;
                }
            }
        }
        self.make_ready(slot);
    }

    /// The connection was lost, or refused the whole fetch: ask again later.
    pub fn handle_failure(&mut self, now: Instant, plan: &Plan, error: &Arc<str>, random: f64) {
        for entry in &plan.entries {
            let partition = &mut self.partitions[entry.slot];
            if partition.generation == entry.generation {
                let until = now + partition.backoff.next_pause(random);
                partition.state = State::Waiting { until };
                self.note_failure(now, entry.slot, error);
            }
        }
    }

    /// A partition could not be read. Whoever waits for its records is told once in a while.
    pub fn note_failure(&mut self, now: Instant, slot: Slot, error: &Arc<str>) {
        let partition = &mut self.partitions[slot];
        if matches!(partition.state, State::Stopped(_) | State::Removed) {
            return;
        }
        let since = *partition.failing_since.get_or_insert(now);
        let for_long = now.saturating_duration_since(since);
        if for_long >= UNAVAILABLE_AFTER {
            partition.failing_since = Some(now);
            let (topic, index) = (Arc::clone(&self.topic), partition.index);
            let last_error = Arc::clone(error);
            let fault = ConsumeError::Unavailable { topic, partition: index, since: for_long, last_error };
            partition.items.push_back(Item::Fault(fault));
            self.make_ready(slot);
        }
    }

    /// Nothing more of this partition until `seek`; `fault` is handed out behind its records.
    pub fn stop(&mut self, slot: Slot, fault: ConsumeError) {
        let partition = &mut self.partitions[slot];
        partition.state = State::Stopped(fault.clone());
        partition.items.push_back(Item::Fault(fault));
        self.make_ready(slot);
    }

    /// Hands out and fetches nothing of this partition for good.
    pub fn remove(&mut self, slot: Slot) {
        let at = self.partitions[slot].next_take;
        self.restart(slot, at);
        self.partitions[slot].state = State::Removed;
    }

    /// The topic is gone.
    pub fn stop_all(&mut self) {
        for slot in 0..self.partitions.len() {
            if !matches!(self.partitions[slot].state, State::Stopped(_) | State::Removed) {
                self.stop(slot, ConsumeError::UnknownTopic { topic: Arc::clone(&self.topic) });
            }
        }
    }

    /// A batch that was taken cannot be read: the partition stands still at it.
    pub fn handle_corrupt(&mut self, slot: Slot, offset: Offset, why: &str) -> ConsumeError {
        let (topic, partition) = (Arc::clone(&self.topic), self.partitions[slot].index);
        let fault = ConsumeError::Corrupt { topic, partition, offset, why: why.into() };
        self.restart(slot, offset);
        self.partitions[slot].state = State::Stopped(fault.clone());
        fault
    }

    /// The next batch or fault of the partition whose turn it is.
    pub fn take(&mut self) -> Option<Taken> {
        loop {
            let slot = self.ready.pop_front()?;
            let partition = &mut self.partitions[slot];
            partition.in_ready = false;
            if partition.paused {
                continue;
            }
            let Some(item) = partition.items.pop_front() else { continue };
            let from = partition.next_take;
            if let Item::Batch(bytes) = &item {
                partition.buffered_bytes -= bytes.len();
                partition.next_take = batch_end(bytes).max(from);
            }
            let index = partition.index;
            self.make_ready(slot);
            let wake_driver = std::mem::take(&mut self.starved);
            return Some(Taken { slot, partition: index, from, item, wake_driver });
        }
    }

    /// Whether `take` has something.
    pub fn has_ready(&self) -> bool {
        let has_items =
            |slot: &Slot| !self.partitions[*slot].paused && !self.partitions[*slot].items.is_empty();
        self.ready.iter().any(has_items)
    }

    /// Gives back a batch of which the records from `next` on were not used.
    pub fn put_back(&mut self, slot: Slot, batch: Bytes, next: Offset) {
        let partition = &mut self.partitions[slot];
        partition.next_take = next;
        partition.buffered_bytes += batch.len();
        partition.items.push_front(Item::Batch(batch));
        self.make_ready(slot);
    }

    /// Why nothing will ever come, if every partition stands still and nothing is left to take.
    pub fn dead_end(&self) -> Option<ConsumeError> {
        let fault = |partition: &Partition| match &partition.state {
            State::Stopped(fault) if partition.items.is_empty() => Some(fault.clone()),
            _ => None,
        };
        let read = self.partitions.iter().filter(|partition| !matches!(partition.state, State::Removed));
        let mut faults = read.map(fault);
        let first = faults.next()?;
        if faults.all(|fault| fault.is_some()) { first } else { None }
    }

    pub fn seek(&mut self, slot: Slot, to: Offset) {
        self.restart(slot, to);
        self.partitions[slot].failing_since = None;
    }

    fn restart(&mut self, slot: Slot, at: Offset) {
        let partition = &mut self.partitions[slot];
        partition.generation += 1;
        partition.state = State::Idle;
        partition.items.clear();
        partition.buffered_bytes = 0;
        partition.next_fetch = at;
        partition.next_take = at;
    }

    /// Neither fetches nor hands out records of the partition; what is there is kept.
    pub fn pause(&mut self, slot: Slot) {
        self.partitions[slot].paused = true;
    }

    pub fn resume(&mut self, slot: Slot) {
        self.partitions[slot].paused = false;
        self.make_ready(slot);
    }

    fn make_ready(&mut self, slot: Slot) {
        let partition = &mut self.partitions[slot];
        if !partition.in_ready && !partition.paused && !partition.items.is_empty() {
            partition.in_ready = true;
            self.ready.push_back(slot);
        }
    }
}

impl Partition {
    fn is_due(&self, now: Instant) -> bool {
        !self.paused
            && match self.state {
                State::Idle => true,
                State::Waiting { until } => until <= now,
                State::Fetching | State::Stopped(_) | State::Removed => false,
            }
    }
}

/// Whether the partition may have moved, or the topic gone.
pub fn is_stale(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
    )
}

fn batch_end(bytes: &[u8]) -> Offset {
    let (batch, _) = Batch::split_first(bytes).expect("BUG: handle_records has split off this batch");
    batch.next_offset()
}
