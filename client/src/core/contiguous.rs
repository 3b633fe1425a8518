//! Records worked on by many workers at once, in order per key, and what may be committed meanwhile.
//!
//!     offsets      10  11  12  13  14          key ── hash ─▶ worker: records of one key, one after another
//!     done          ✓   ✓       ✓              without a key: the workers in turn
//!     committable  12 ──────┘                  the first offset that is not done, and none before it
//!
//! Records end in any order; committed is only the prefix of a partition that is done without a gap, so
//! that a crash repeats records and leaves none out. What is under way is bounded over all partitions: one
//! slow record holds back its partition's commits, and sooner or later everything, but not memory.

use std::collections::{BTreeMap, VecDeque};

use protocol::model::Offset;

use super::assign::TopicPartition;
use super::partitioner::murmur2;

#[derive(Debug)]
pub struct Contiguous {
    workers: u32,
    /// Most records under way.
    limit: usize,
    under_way: usize,
    /// Who gets the next record without a key.
    turn: u32,
    partitions: BTreeMap<TopicPartition, Run>,
    next_tenure: u64,
}

/// What is dispatched of one partition, since it was given to this member.
#[derive(Debug)]
struct Run {
    tenure: u64,
    /// Counts dispatched records; that of the first one in `records`.
    first: u64,
    /// Offset and whether it is done. The first one is not.
    records: VecDeque<(Offset, bool)>,
}

/// One record on its way to a worker and back. It is given back once, with `complete`, whatever became of
/// the record; not to give it back is to hold its place for ever.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a record that is not completed holds back its partition"]
pub struct Dispatched {
    /// Below the number of workers.
    pub worker: u32,
    partition: TopicPartition,
    tenure: u64,
    number: u64,
}

impl Contiguous {
    /// # Panics
    /// Without a worker, or without room for a record.
    pub fn new(workers: u32, limit: usize) -> Contiguous {
        assert!(0 < workers && 0 < limit, "BUG: nobody would work");
        Contiguous { workers, limit, under_way: 0, turn: 0, partitions: BTreeMap::new(), next_tenure: 0 }
    }

    /// Whether one more record may be under way.
    pub fn has_room(&self) -> bool {
        self.under_way < self.limit
    }

    /// Who works on this record. Records of a partition come in the order of their offsets.
    ///
    /// # Panics
    /// Without room, or if the offset is not above the one before.
    pub fn dispatch(&mut self, partition: &TopicPartition, offset: Offset, key: Option<&[u8]>) -> Dispatched {
        assert!(self.has_room(), "BUG: more records under way than there may be");
        let worker = match key {
            Some(key) => worker_of_key(key, self.workers),
            None => self.take_turn(),
        };
        if !self.partitions.contains_key(partition) {
            self.next_tenure += 1;
            let run = Run { tenure: self.next_tenure, first: 0, records: VecDeque::new() };
            self.partitions.insert(partition.clone(), run);
        }
        let run = self.partitions.get_mut(partition).expect("BUG: it was just put there");
        let is_next = run.records.back().is_none_or(|(last, _)| *last < offset);
        assert!(is_next, "BUG: {partition:?}: {offset} does not follow");
        run.records.push_back((offset, false));
        self.under_way += 1;
        let number = run.first + run.records.len() as u64 - 1;
        Dispatched { worker, partition: partition.clone(), tenure: run.tenure, number }
    }

    fn take_turn(&mut self) -> u32 {
        self.turn = (self.turn + 1) % self.workers;
        self.turn
    }

    /// A record is done. Returns what can be committed of its partition now, if that is more than before:
    /// the offset behind the last record of the prefix.
    pub fn complete(&mut self, done: Dispatched) -> Option<(TopicPartition, Offset)> {
        self.under_way -= 1;
        // Of an earlier tenure, it is somebody else's to commit.
        let run = self.partitions.get_mut(&done.partition).filter(|run| run.tenure == done.tenure)?;
        let at = usize::try_from(done.number - run.first).expect("BUG: as many as are under way");
        run.records[at].1 = true;
        let mut last = None;
        while let Some((offset, _)) = run.records.pop_front_if(|(_, is_done)| *is_done) {
            run.first += 1;
            last = Some(offset);
        }
        last.map(|last| (done.partition, last + protocol::model::RecordCount::new(1)))
    }

    /// The partition is not this member's any more. What is under way of it still takes its place, and
    /// counts for nothing when it is done.
    pub fn drop_partition(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// Whether every record of the partition is done: then its prefix is all there is.
    pub fn is_idle(&self, partition: &TopicPartition) -> bool {
        self.partitions.get(partition).is_none_or(|run| run.records.is_empty())
    }
}

/// Not as partitions are chosen: the keys of one partition would all go to the same few workers.
fn worker_of_key(key: &[u8], workers: u32) -> u32 {
    let mixed = murmur2(key).cast_unsigned().wrapping_mul(0x9e37_79b1);
    // The upper half of a product of two 32-bit numbers.
    ((u64::from(mixed) * u64::from(workers)) >> 32) as u32
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

    fn complete(tracker: &mut Contiguous, done: Dispatched) -> Option<u64> {
        tracker.complete(done).map(|(_, offset)| offset.get())
    }

    #[test]
    fn only_the_prefix_without_a_gap_can_be_committed() {
        let mut tracker = Contiguous::new(4, 10);
        // 12 is missing: it was compacted away.
        let mut records = [10, 11, 13, 14].map(|offset| Some(dispatch(&mut tracker, 0, offset, "k")));
        let mut done = |at: usize| complete(&mut tracker, records[at].take().unwrap());
        assert_eq!([done(1), done(2), done(0), done(3)], [None, None, Some(14), Some(15)]);
        assert!(tracker.is_idle(&partition(0)));
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
        let workers: BTreeSet<u32> =
            (0..9).map(|offset| dispatch(&mut tracker, 0, offset, "k").worker).collect();
        assert_eq!(workers.len(), 1);
        let keyless = |offset| tracker.dispatch(&partition(1), Offset::new(offset), None).worker;
        assert_eq!((0..9).map(keyless).collect::<BTreeSet<u32>>().len(), 3);
    }

    #[test]
    fn the_keys_of_one_partition_are_shared_by_all_workers() {
        let keys = (0..400).map(|key: u32| key.to_string());
        let of_one = keys.filter(|key| super::super::partitioner::partition_of_key(key.as_bytes(), 4) == 1);
        let mut loads = [0; 4];
        of_one.for_each(|key| loads[worker_of_key(key.as_bytes(), 4) as usize] += 1);
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
        tracker.drop_partition(&partition(0));
        let after = dispatch(&mut tracker, 0, 3, "k");
        assert_eq!([complete(&mut tracker, before), complete(&mut tracker, after)], [None, Some(4)]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Dispatch { index: u32, gap: u64 },
        Complete { which: usize },
        Drop { index: u32 },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            5 => (0..2_u32, 1..4_u64).prop_map(|(index, gap)| Op::Dispatch { index, gap }),
            5 => any::<usize>().prop_map(|which| Op::Complete { which }),
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
                        under_way.iter_mut().filter(|one| one.1 == index).for_each(|one| one.3 = false);
                    }
                    Op::Complete { which } if !under_way.is_empty() => {
                        let (record, index, offset, counts) = under_way.swap_remove(which % under_way.len());
                        let before = all.get(&index).map(|list| prefix(list));
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
