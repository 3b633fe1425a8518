//! Records worked on by many workers at once, in order per key, and what may be committed meanwhile.
//!
//!     offsets      10  11  12  13  14          key ── hash ─▶ worker: records of one key, one after another
//!     done          ✓   ✓       ✓              without a key: the workers in turn
//!     committable  12 ──────┘                  the first offset that is not done, and none before it
//!
//!     dispatch ─▶ waits ─ begin ─▶ begun ─ complete ─▶ done
//!                   └──── stop ──▶ given up, if nothing behind it is begun: never done, never committed
//!
//! Records end in any order; committed is only the prefix of a partition that is done without a gap, so
//! that a crash repeats records and leaves none out. What is under way is bounded over all partitions: one
//! slow record holds back its partition's commits, and sooner or later everything; memory is bounded by that,
//! and by how many done records are remembered behind it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use protocol::model::Offset;

use super::assign::TopicPartition;
use super::partitioner::murmur2;
use crate::limits::WORKERS_TRACKED_MAX;

#[derive(Debug)]
pub struct Contiguous {
    /// Since when each worker has been at its record, if it has one.
    workers: Vec<Option<Instant>>,
    /// Most records under way.
    limit: usize,
    under_way: usize,
    /// Records in all runs.
    tracked: usize,
    /// Who gets the next record without a key.
    turn: usize,
    partitions: BTreeMap<TopicPartition, Run>,
    next_tenure: u64,
}

/// What is dispatched of one partition, since it was given to this member.
#[derive(Debug)]
struct Run {
    tenure: u64,
    /// Counts dispatched records; that of the first one in `records`.
    first: u64,
    /// The first one is not done.
    records: VecDeque<(Offset, Stage)>,
    /// Once it is stopped: from this number on, none begins.
    end: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Waits,
    Begun,
    Done,
}

/// One record on its way to a worker and back. It is given back once, with `complete` or `give_up`; not to
/// give it back is to hold its place for ever.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a record that is not given back holds its place"]
pub struct Dispatched {
    /// Below the number of workers.
    pub worker: usize,
    partition: TopicPartition,
    tenure: u64,
    number: u64,
}

impl Contiguous {
    /// # Panics
    /// Without a worker, or without room for a record.
    pub fn new(workers: usize, limit: usize) -> Contiguous {
        assert!(0 < workers && 0 < limit, "BUG: nobody would work");
        let workers = vec![None; workers];
        let partitions = BTreeMap::new();
        Contiguous { workers, limit, under_way: 0, tracked: 0, turn: 0, partitions, next_tenure: 0 }
    }

    /// Whether one more record may be under way.
    pub fn has_room(&self) -> bool {
        self.under_way < self.limit && self.tracked < WORKERS_TRACKED_MAX
    }

    /// Who works on this record. Records of a partition come in the order of their offsets.
    ///
    /// # Panics
    /// Without room, or if the offset is not above the one before.
    pub fn dispatch(&mut self, partition: &TopicPartition, offset: Offset, key: Option<&[u8]>) -> Dispatched {
        assert!(self.has_room(), "BUG: more records under way than there may be");
        let worker = match key {
            Some(key) => worker_of_key(key, self.workers.len()),
            None => self.take_turn(),
        };
        if !self.partitions.contains_key(partition) {
            self.next_tenure += 1;
            let records = VecDeque::new();
            let run = Run { tenure: self.next_tenure, first: 0, records, end: None };
            self.partitions.insert(partition.clone(), run);
        }
        let run = self.partitions.get_mut(partition).expect("BUG: it was just put there");
        let is_next = run.records.back().is_none_or(|(last, _)| *last < offset);
        assert!(is_next, "BUG: {partition:?}: {offset} does not follow");
        run.records.push_back((offset, Stage::Waits));
        self.under_way += 1;
        self.tracked += 1;
        let number = run.first + run.records.len() as u64 - 1;
        Dispatched { worker, partition: partition.clone(), tenure: run.tenure, number }
    }

    fn take_turn(&mut self) -> usize {
        self.turn = (self.turn + 1) % self.workers.len();
        self.turn
    }

    /// The record's worker comes to it. `false` if it is not to be worked on any more: give it up.
    pub fn begin(&mut self, record: &Dispatched, now: Instant) -> bool {
        let is_wanted = |run: &&mut Run| run.end.is_none_or(|end| record.number < end);
        let Some(run) = self.run_of(record).filter(is_wanted) else { return false };
        let stage = run.stage_of(record);
        assert!(*stage == Stage::Waits, "BUG: a record is begun once");
        *stage = Stage::Begun;
        let idle = self.workers[record.worker].replace(now).is_none();
        assert!(idle, "BUG: a worker has one record at a time");
        true
    }

    /// A record that was begun is done. Returns what can be committed of its partition now, if that is more
    /// than before: the offset behind the last record of the prefix.
    pub fn complete(&mut self, done: Dispatched) -> Option<(TopicPartition, Offset)> {
        self.under_way -= 1;
        self.workers[done.worker] = None;
        // Of an earlier tenure, it is somebody else's to commit.
        let run = self.run_of(&done)?;
        let stage = run.stage_of(&done);
        assert!(*stage == Stage::Begun, "BUG: a record is begun before it is done");
        *stage = Stage::Done;
        let (mut last, mut ended) = (None, 0);
        while let Some((offset, _)) = run.records.pop_front_if(|(_, stage)| *stage == Stage::Done) {
            run.first += 1;
            last = Some(offset);
            ended += 1;
        }
        self.tracked -= ended;
        last.map(|last| (done.partition, last + protocol::model::RecordCount::new(1)))
    }

    /// A record that could not be begun. It is never done, and holds back what is behind it.
    pub fn give_up(&mut self, record: Dispatched) {
        self.under_way -= 1;
        if let Some(run) = self.run_of(&record) {
            assert!(*run.stage_of(&record) == Stage::Waits, "BUG: what is begun is completed");
        }
    }

    /// Since when the worker has been at its record that has been so for the longest.
    pub fn busy_since(&self) -> Option<Instant> {
        self.workers.iter().flatten().min().copied()
    }

    /// The partition is to come to an end without a gap: no record is begun behind the last one that is.
    /// Those before it are, and count.
    pub fn stop(&mut self, partition: &TopicPartition) {
        self.partitions.get_mut(partition).into_iter().for_each(Run::stop);
    }

    pub fn stop_all(&mut self) {
        self.partitions.values_mut().for_each(Run::stop);
    }

    /// The partition is not this member's any more. What is under way of it still takes its place, and
    /// counts for nothing when it is done.
    pub fn drop_partition(&mut self, partition: &TopicPartition) {
        self.tracked -= self.partitions.remove(partition).map_or(0, |run| run.records.len());
    }

    /// Whether everything of a stopped partition is done that is to be.
    pub fn is_settled(&self, partition: &TopicPartition) -> bool {
        self.partitions.get(partition).is_none_or(|run| run.end.is_some_and(|end| end <= run.first))
    }

    /// Partitions with records that are not done.
    pub fn unfinished(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().filter(|(_, run)| !run.records.is_empty()).map(|(name, _)| name)
    }

    fn run_of(&mut self, record: &Dispatched) -> Option<&mut Run> {
        self.partitions.get_mut(&record.partition).filter(|run| run.tenure == record.tenure)
    }
}

impl Run {
    fn stop(&mut self) {
        let last = self.records.iter().rposition(|(_, stage)| *stage != Stage::Waits);
        self.end.get_or_insert(self.first + last.map_or(0, |last| last as u64 + 1));
    }

    fn stage_of(&mut self, record: &Dispatched) -> &mut Stage {
        let at = usize::try_from(record.number - self.first).expect("BUG: as many as are under way");
        &mut self.records[at].1
    }
}

/// Not as partitions are chosen: the keys of one partition would all go to the same few workers.
fn worker_of_key(key: &[u8], workers: usize) -> usize {
    let mixed = murmur2(key).cast_unsigned().wrapping_mul(0x9e37_79b1);
    // The upper half of a product: as even as the hash is.
    ((u128::from(mixed) * workers as u128) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::model::PartitionIndex;
    use std::collections::{BTreeSet, HashMap};

    fn partition(index: u32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: PartitionIndex::new(index) }
    }

    fn dispatch(tracker: &mut Contiguous, index: u32, offset: u64, key: &str) -> Dispatched {
        tracker.dispatch(&partition(index), Offset::new(offset), Some(key.as_bytes()))
    }

    /// Begins the record if that is still to be done, and completes it.
    fn complete(tracker: &mut Contiguous, done: Dispatched) -> Option<u64> {
        match tracker.begin(&done, Instant::now()) {
            true => tracker.complete(done).map(|(_, offset)| offset.get()),
            false => {
                tracker.give_up(done);
                None
            }
        }
    }

    #[test]
    fn only_the_prefix_without_a_gap_can_be_committed() {
        let mut tracker = Contiguous::new(4, 10);
        // 12 is missing: it was compacted away.
        let mut records = [10, 11, 13, 14].map(|offset| Some(dispatch(&mut tracker, 0, offset, "k")));
        let mut done = |at: usize| complete(&mut tracker, records[at].take().unwrap());
        assert_eq!([done(1), done(2), done(0), done(3)], [None, None, Some(14), Some(15)]);
        assert_eq!(tracker.unfinished().count(), 0);
    }

    #[test]
    fn partitions_do_not_wait_for_each_other() {
        let mut tracker = Contiguous::new(2, 10);
        let (slow, fast) = (dispatch(&mut tracker, 0, 5, "a"), dispatch(&mut tracker, 1, 7, "b"));
        assert_eq!([complete(&mut tracker, fast), complete(&mut tracker, slow)], [Some(8), Some(6)]);
    }

    #[test]
    fn records_of_a_key_go_to_one_worker_and_those_without_to_all() {
        let mut tracker = Contiguous::new(3, 100);
        let workers: BTreeSet<usize> =
            (0..9).map(|offset| dispatch(&mut tracker, 0, offset, "k").worker).collect();
        assert_eq!(workers.len(), 1);
        let keyless = |offset| tracker.dispatch(&partition(1), Offset::new(offset), None).worker;
        assert_eq!((0..9).map(keyless).collect::<BTreeSet<usize>>().len(), 3);
    }

    #[test]
    fn the_keys_of_one_partition_are_shared_by_all_workers() {
        let keys = (0..400).map(|key: u32| key.to_string());
        let of_one = keys.filter(|key| super::super::partitioner::partition_of_key(key.as_bytes(), 4) == 1);
        let mut loads = [0; 4];
        of_one.for_each(|key| loads[worker_of_key(key.as_bytes(), 4)] += 1);
        assert!(loads.iter().all(|load| 10 < *load), "{loads:?}");
    }

    #[test]
    fn what_is_under_way_is_bounded_over_all_partitions_and_revocations() {
        let mut tracker = Contiguous::new(1, 2);
        let (first, second) = (dispatch(&mut tracker, 0, 0, "k"), dispatch(&mut tracker, 1, 0, "k"));
        assert!(!tracker.has_room());
        tracker.drop_partition(&partition(0));
        assert!(!tracker.has_room(), "a worker still has it");
        assert_eq!(complete(&mut tracker, first), None);
        assert!(tracker.has_room());
        assert_eq!(complete(&mut tracker, second), Some(1));
    }

    #[test]
    fn what_was_dispatched_before_a_revocation_does_not_count_after_it() {
        let mut tracker = Contiguous::new(1, 10);
        let before = dispatch(&mut tracker, 0, 5, "k");
        assert!(tracker.begin(&before, Instant::now()));
        tracker.drop_partition(&partition(0));
        let after = dispatch(&mut tracker, 0, 3, "k");
        assert_eq!(tracker.complete(before), None);
        assert_eq!(complete(&mut tracker, after), Some(4));
    }

    #[test]
    fn what_is_remembered_behind_a_slow_record_is_bounded() {
        let mut tracker = Contiguous::new(1, 2);
        let mut slow = Some(dispatch(&mut tracker, 0, 0, "k"));
        let fast = |tracker: &mut Contiguous, offset: usize| {
            let record = dispatch(tracker, 0, offset as u64, "k");
            complete(tracker, record)
        };
        for offset in 1..WORKERS_TRACKED_MAX {
            assert!(tracker.has_room());
            assert_eq!(fast(&mut tracker, offset), None);
        }
        assert!(!tracker.has_room());
        assert_eq!(complete(&mut tracker, slow.take().unwrap()), Some(WORKERS_TRACKED_MAX as u64));
        assert_eq!(tracker.tracked, 0);
        let lost = dispatch(&mut tracker, 1, 0, "k");
        tracker.drop_partition(&partition(1));
        assert_eq!(complete(&mut tracker, lost), None);
        assert_eq!((tracker.tracked, tracker.has_room()), (0, true));
    }

    #[test]
    fn a_stopped_partition_comes_to_an_end_without_a_gap() {
        let mut tracker = Contiguous::new(3, 4);
        let keyless = |tracker: &mut Contiguous, at| tracker.dispatch(&partition(0), Offset::new(at), None);
        let [first, second, third] = [5, 6, 7].map(|offset| keyless(&mut tracker, offset));
        assert!(tracker.begin(&second, Instant::now()));
        tracker.stop(&partition(0));
        assert!(!tracker.begin(&third, Instant::now()), "nothing behind it is begun");
        tracker.give_up(third);
        assert_eq!(tracker.complete(second), None);
        assert!(!tracker.is_settled(&partition(0)), "the gap before it is closed");
        assert_eq!(complete(&mut tracker, first), Some(7));
        assert!(tracker.is_settled(&partition(0)));
        assert_eq!(tracker.unfinished().collect::<Vec<_>>(), [&partition(0)], "7 is not done");
        let other = dispatch(&mut tracker, 1, 0, "k");
        tracker.stop_all();
        assert!(tracker.is_settled(&partition(1)), "nothing of it is begun");
        tracker.give_up(other);
        assert_eq!(tracker.under_way, 0);
    }

    #[test]
    fn the_longest_busy_worker_is_known() {
        let mut tracker = Contiguous::new(2, 3);
        let keyless = |tracker: &mut Contiguous, at| tracker.dispatch(&partition(0), Offset::new(at), None);
        let (first, second) = (keyless(&mut tracker, 0), keyless(&mut tracker, 1));
        let begin = Instant::now();
        let later = begin + std::time::Duration::from_secs(1);
        assert_eq!(tracker.busy_since(), None, "they wait, and nobody is slow with them");
        assert!(tracker.begin(&first, begin) && tracker.begin(&second, later));
        assert_eq!(tracker.busy_since(), Some(begin));
        tracker.complete(first);
        assert_eq!(tracker.busy_since(), Some(later));
        tracker.complete(second);
        assert_eq!(tracker.busy_since(), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Dispatch { index: u32, gap: u64 },
        Complete { which: usize },
        Stop { index: u32 },
        Drop { index: u32 },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            5 => (0..2_u32, 1..4_u64).prop_map(|(index, gap)| Op::Dispatch { index, gap }),
            5 => any::<usize>().prop_map(|which| Op::Complete { which }),
            1 => (0..2_u32).prop_map(|index| Op::Stop { index }),
            1 => (0..2_u32).prop_map(|index| Op::Drop { index }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        /// Against a list of everything that was dispatched.
        #[test]
        fn nothing_undone_lies_below_what_can_be_committed(ops in prop::collection::vec(op(), 0..100)) {
            let mut tracker = Contiguous::new(3, 8);
            let mut under_way: Vec<(Dispatched, u32, u64, bool)> = Vec::new();
            let mut all: HashMap<u32, Vec<(u64, bool)>> = HashMap::new();
            let mut ends: HashMap<u32, u64> = HashMap::new();
            for op in ops {
                match op {
                    Op::Dispatch { index, gap } if tracker.has_room() => {
                        let list = all.entry(index).or_default();
                        let offset = list.last().map_or(0, |(last, _)| last + gap);
                        list.push((offset, false));
                        let record = dispatch(&mut tracker, index, offset, &offset.to_string());
                        under_way.push((record, index, offset, true));
                    }
                    Op::Dispatch { .. } => prop_assert_eq!(under_way.len(), 8),
                    Op::Drop { index } => {
                        tracker.drop_partition(&partition(index));
                        all.remove(&index);
                        ends.remove(&index);
                        under_way.iter_mut().filter(|one| one.1 == index).for_each(|one| one.3 = false);
                    }
                    Op::Stop { index } => {
                        tracker.stop(&partition(index));
                        // There is nothing to stop of a partition that never had a record.
                        if let Some(list) = all.get(&index) {
                            let done = list.iter().filter(|(_, is_done)| *is_done).map(|(offset, _)| offset + 1);
                            ends.entry(index).or_insert(done.max().unwrap_or(0));
                        }
                    }
                    Op::Complete { which } if !under_way.is_empty() => {
                        let (record, index, offset, counts) = under_way.swap_remove(which % under_way.len());
                        let before = all.get(&index).map(|list| prefix(list));
                        let counts = counts && ends.get(&index).is_none_or(|end| offset < *end);
                        if counts {
                            let list = all.get_mut(&index).unwrap();
                            list.iter_mut().find(|one| one.0 == offset).unwrap().1 = true;
                        }
                        let expected = all.get(&index).map(|list| prefix(list)).filter(|after| Some(*after) != before);
                        prop_assert_eq!(complete(&mut tracker, record), expected.filter(|_| counts).flatten());
                    }
                    Op::Complete { .. } => {}
                }
            }
        }
    }

    /// Behind the last record of the prefix that is done.
    fn prefix(list: &[(u64, bool)]) -> Option<u64> {
        list.iter().take_while(|(_, is_done)| *is_done).last().map(|(offset, _)| offset + 1)
    }
}
