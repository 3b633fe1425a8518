//! Groups on a shard: one coordinator for each partition of `__consumer_offsets` that is here, and what
//! carries out what they decide.
//!
//!     ask ─ hash(group) % partitions ─▶ here? ─▶ seat: loading │ open │ broken      no ─▶ its home shard
//!                                                   │ coordinator decides
//!                                                   ▼
//!                        records ─ append ─▶ log ─ committed(upto) ─▶ replies that were parked below it
//!
//! The contract is that of [`crate::groups`]: whatever a reply tells is durable before it is told. Replies
//! wait in the order of the log, those without records too.
//!
//! A seat is loaded when its partition is opened: the log is read from its start, record by record. The
//! topic is made when somebody asks for a group for the first time.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use protocol::api::FetchEntry;
use protocol::batch::{BatchBuilder, Codec, batches, decode_batch};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{ErrorCode, Offset, PartitionIndex, ShardId, Timestamp};
use slab::Slab;
use storage::notify::Notify;
use uuid::Uuid;

use super::message::{GroupAsk, Origin, ShardMessage};
use super::{Partition, Place, Shard, wall_clock};
use crate::control::{ClusterView, ControlMessage, TopicView};
use crate::groups::{Coordinator, Effects, GroupRecord, Now, Reply, ReplyTo};
use crate::handlers;
use crate::runtime;

/// Kafka's name for the topic that holds groups and their offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Bytes of the log that are read at once when a coordinator is loaded.
const LOAD_BYTES: usize = 1 << 20;

#[derive(Default)]
pub struct Groups {
    seats: RefCell<HashMap<PartitionIndex, Seat>>,
    /// Who waits for the coordinators' replies.
    asking: RefCell<Slab<Origin>>,
    /// A coordinator has something to do earlier than before.
    sooner: Notify,
}

/// Where a coordinator is, or would be.
enum Seat {
    Loading,
    Open(Box<Open>),
    /// Its log takes no records, or cannot be read.
    Broken,
}

struct Open {
    coordinator: Coordinator,
    partition: Rc<Partition>,
    /// By the offset up to which the log has to be durable first.
    parked: VecDeque<(Offset, Origin, Reply)>,
}

impl Shard {
    /// Has the group's coordinator answer, here or on its home shard.
    pub fn ask_group(&self, origin: Origin, ask: GroupAsk) {
        match self.find_coordinator(ask.group()) {
            Ok((index, Place::Here(_))) => self.ask_here(index, origin, &ask),
            Ok((_, Place::Elsewhere(owner))) => self.send(owner, ShardMessage::Group { origin, ask }),
            Ok(_) => self.answer_group(origin, ask.refused(ErrorCode::CoordinatorNotAvailable)),
            Err(code) => self.answer_group(origin, ask.refused(code)),
        }
    }

    /// The shard that coordinates a group.
    pub fn coordinator_of(&self, group: &str) -> Result<ShardId, ErrorCode> {
        match self.find_coordinator(group)? {
            (_, Place::Here(_)) => Ok(self.id),
            (_, Place::Elsewhere(owner)) => Ok(owner),
            _ => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    fn find_coordinator(&self, group: &str) -> Result<(PartitionIndex, Place), ErrorCode> {
        if self.is_stopping() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let Some(topic) = offsets_topic(&self.view()) else {
            let partitions = self.config.offsets_partitions;
            self.send_to_control(ControlMessage::CreateOffsetsTopic { partitions });
            return Err(ErrorCode::CoordinatorNotAvailable);
        };
        let index = partition_of(group, topic.partitions());
        Ok((index, self.locate(topic.id(), index)))
    }

    fn ask_here(&self, index: PartitionIndex, origin: Origin, ask: &GroupAsk) {
        let mut seats = self.groups.seats.borrow_mut();
        let seat = match seats.get_mut(&index) {
            Some(Seat::Open(seat)) => seat,
            Some(Seat::Broken) => {
                return self.answer_group(origin, ask.refused(ErrorCode::CoordinatorNotAvailable));
            }
            Some(Seat::Loading) | None => return self.answer_group(origin, ask.not_yet()),
        };
        let to = ReplyTo(self.groups.asking.borrow_mut().insert(origin) as u64);
        let (now, mut effects) = (now(), Effects::default());
        handlers::ask_coordinator(&mut seat.coordinator, ask, to, now, &mut effects);
        self.carry_out(seat, effects, now);
    }

    /// The groups of every coordinator that is here.
    pub fn list_groups(&self) -> Reply {
        let mut listed = Vec::new();
        let mut seats = self.groups.seats.borrow_mut();
        for seat in seats.values_mut() {
            match seat {
                Seat::Open(seat) => {
                    let mut effects = Effects::default();
                    seat.coordinator.list(ReplyTo(0), &mut effects);
                    for (_, reply) in effects.replies {
                        let Reply::List(Ok(groups)) = reply else { panic!("BUG: not a list") };
                        listed.extend(groups);
                    }
                }
                Seat::Loading => return Reply::List(Err(ErrorCode::CoordinatorLoadInProgress)),
                Seat::Broken => return Reply::List(Err(ErrorCode::CoordinatorNotAvailable)),
            }
        }
        Reply::List(Ok(listed))
    }

    /// Stores the records of `effects` and sends its replies, or parks them behind what is not durable.
    fn carry_out(&self, seat: &mut Open, mut effects: Effects, now: Now) {
        if !effects.records.is_empty() {
            let outcome = self.store_group_records(&seat.partition, &effects.records, now.wall);
            seat.coordinator.settle(&mut effects, outcome, now);
        }
        let upto = seat.partition.accepted_end();
        let is_durable = upto <= seat.partition.latest() && seat.parked.is_empty();
        for (to, reply) in effects.replies {
            let origin = self.groups.asking.borrow_mut().remove(to.0 as usize);
            match is_durable {
                true => self.answer_group(origin, reply),
                false => seat.parked.push_back((upto, origin, reply)),
            }
        }
        self.groups.sooner.notify();
    }

    /// Appends one batch.
    fn store_group_records(
        &self,
        partition: &Partition,
        records: &[GroupRecord],
        now: Timestamp,
    ) -> Result<(), ErrorCode> {
        if self.is_stopping() || self.is_disk_full() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let mut batch = BatchBuilder::new(Codec::None);
        for record in records {
            let (key, value) = (Some(&*record.key), record.value.as_deref());
            batch.try_append(now, key, value, &[]).map_err(|_| ErrorCode::InvalidCommitOffsetSize)?;
        }
        match self.append_own(partition, &batch.finish(), now) {
            Ok(()) => Ok(()),
            Err(code) => {
                tracing::warn!(%code, "a group's records are refused by their log");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        }
    }

    pub fn answer_group(&self, origin: Origin, reply: Reply) {
        match origin.shard == self.id {
            true => handlers::take_group_reply(self, origin, reply),
            false => self.send(origin.shard, ShardMessage::GroupDone { origin, reply }),
        }
    }

    /// A partition of the offsets topic is durable up to here.
    pub(super) fn release_group_replies(&self, index: PartitionIndex, upto: Offset) {
        let mut seats = self.groups.seats.borrow_mut();
        let Some(Seat::Open(seat)) = seats.get_mut(&index) else { return };
        while let Some((_, origin, reply)) = seat.parked.pop_front_if(|(end, ..)| *end <= upto) {
            self.answer_group(origin, reply);
        }
    }

    /// The log of a seat takes nothing more, or its partition goes: everybody who waits is refused.
    pub(super) fn close_seat(&self, index: PartitionIndex, code: ErrorCode) {
        let seat = self.groups.seats.borrow_mut().insert(index, Seat::Broken);
        let Some(Seat::Open(seat)) = seat else { return };
        for (_, origin, mut reply) in seat.parked {
            reply.refuse(code);
            self.answer_group(origin, reply);
        }
        let mut effects = Effects::default();
        seat.coordinator.unload(code, &mut effects);
        for (to, reply) in effects.replies {
            let origin = self.groups.asking.borrow_mut().remove(to.0 as usize);
            self.answer_group(origin, reply);
        }
    }

    /// The broker stops: nobody waits any longer.
    pub(super) fn close_all_seats(&self) {
        let all: Vec<PartitionIndex> = self.groups.seats.borrow().keys().copied().collect();
        for index in all {
            self.close_seat(index, ErrorCode::CoordinatorNotAvailable);
        }
    }

    /// The partition of a seat was opened.
    pub(super) fn open_seat(&self, index: PartitionIndex, partition: Rc<Partition>) {
        self.groups.seats.borrow_mut().insert(index, Seat::Loading);
        runtime::spawn_background(load(self.this(), index, partition));
    }

    /// Topics that are in `before` and not in `after`: what groups have committed for them goes. A seat that
    /// is loading meanwhile keeps it until it expires.
    pub(super) fn forget_offsets_of_deleted(&self, before: &ClusterView, after: &ClusterView) {
        let gone = before.topics().filter(|topic| after.topic_by_id(topic.id()).is_none());
        let gone: HashSet<&str> = gone.map(|topic| topic.name().as_str()).collect();
        if gone.is_empty() {
            return;
        }
        for seat in self.groups.seats.borrow_mut().values_mut() {
            if let Seat::Open(seat) = seat {
                seat.coordinator.topics_deleted(&gone, now());
            }
        }
        self.groups.sooner.notify();
    }

    fn tick_groups(&self) {
        let mut seats = self.groups.seats.borrow_mut();
        for seat in seats.values_mut() {
            let Seat::Open(seat) = seat else { continue };
            let now = now();
            if seat.coordinator.deadline(now).is_some_and(|deadline| deadline <= now.instant) {
                let mut effects = Effects::default();
                seat.coordinator.tick(now, &mut effects);
                self.carry_out(seat, effects, now);
            }
        }
    }

    fn next_group_deadline(&self) -> Option<Instant> {
        let (seats, now) = (self.groups.seats.borrow(), now());
        let deadline = |seat: &Seat| match seat {
            Seat::Open(seat) => seat.coordinator.deadline(now),
            _ => None,
        };
        seats.values().filter_map(deadline).min()
    }
}

/// Wakes the coordinators when time does something to their groups.
pub(super) async fn run_clock(shard: Rc<Shard>) {
    loop {
        let seen = shard.groups.sooner.version();
        let next = shard.next_group_deadline();
        let changed = shard.groups.sooner.changed(seen);
        match next {
            None => changed.await,
            Some(deadline) => runtime::either(changed, runtime::sleep_until(deadline)).await,
        }
        shard.tick_groups();
        shard.flush_touched();
    }
}

/// Reads a log into a new coordinator.
async fn load(shard: Rc<Shard>, index: PartitionIndex, partition: Rc<Partition>) {
    let begun = Instant::now();
    let config = shard.config.groups.clone();
    let mut coordinator = Coordinator::new(config, Box::new(Uuid::new_v4));
    let loaded = read_all(&shard, &partition, &mut coordinator).await;
    // Another one was opened meanwhile, or none is wanted any more.
    let is_current = shard.partition(partition.id()).is_some_and(|current| Rc::ptr_eq(&current, &partition));
    if !is_current || shard.is_stopping() {
        return;
    }
    let seat = match loaded {
        Ok(records) => {
            coordinator.loaded(now());
            if 0 < records {
                tracing::info!(partition = %index, records, took = ?begun.elapsed(), "groups are loaded");
            }
            Seat::Open(Box::new(Open { coordinator, partition, parked: VecDeque::new() }))
        }
        Err(code) => {
            tracing::error!(partition = %index, %code, "the groups of a partition cannot be read; they are not available");
            Seat::Broken
        }
    };
    shard.groups.seats.borrow_mut().insert(index, seat);
    shard.groups.sooner.notify();
}

/// Returns how many records there were.
async fn read_all(
    shard: &Shard,
    partition: &Partition,
    coordinator: &mut Coordinator,
) -> Result<u64, ErrorCode> {
    let (mut at, mut records) = (partition.earliest(), 0);
    while at < partition.latest() {
        let id = partition.id();
        let entry = FetchEntry {
            topic: id.topic,
            partition: id.partition,
            leader_epoch: None,
            fetch_offset: at,
            max_bytes: LOAD_BYTES as u32,
        };
        let ((result, pieces), _) = partition.read_any(&shard.store, &entry, LOAD_BYTES).await;
        result.error.into_result()?;
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes()).copied().collect();
        let before = at;
        for batch in batches(&bytes) {
            let batch = batch.map_err(|error| error.code())?;
            let bytes = bytes::Bytes::copy_from_slice(batch.as_bytes());
            let decoded = decode_batch(bytes, FRAME_BODY_BYTES_MAX).map_err(|_| ErrorCode::CorruptMessage)?;
            at = at.max(decoded.next_offset());
            for record in decoded {
                records += 1;
                let (Some(key), value) = (record.key, record.value) else { continue };
                if let Err(error) = coordinator.apply(&key, value.as_deref(), now()) {
                    // Its checksum is right, so it was written like this: by a later version, or by a
                    // bug. The others are no worse for it.
                    tracing::error!(offset = %record.offset, %error, "a group's record is not understood; it is skipped");
                }
            }
        }
        if at == before {
            return Err(ErrorCode::CorruptLog);
        }
    }
    Ok(records)
}

fn offsets_topic(view: &ClusterView) -> Option<std::sync::Arc<TopicView>> {
    view.topic(OFFSETS_TOPIC).cloned()
}

/// As Kafka does it: Java's `String.hashCode`, without its sign.
fn partition_of(group: &str, partitions: u32) -> PartitionIndex {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    PartitionIndex::new((hash & i32::MAX) as u32 % partitions)
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: wall_clock() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_where_kafka_puts_them() {
        assert_eq!(partition_of("a", 50).get(), 97 % 50);
        assert_eq!(partition_of("ab", 50).get(), (97 * 31 + 98) % 50);
        // "test".hashCode() in Java.
        assert_eq!(partition_of("test", 50).get(), 3_556_498 % 50);
        // Above 2^31 the sign is dropped: "polygenelubricants".hashCode() is i32::MIN.
        assert_eq!(partition_of("polygenelubricants", 50).get(), 0);
    }
}
