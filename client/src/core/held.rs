//! Records that were read and are not to be handed out yet, one of a partition.
//!
//!     reader ─▶ not due: held, its partition paused ── due ──▶ handed out, its partition read on
//!
//! A partition stands still while it has one: those behind it were moved there later, and are due later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::assign::TopicPartition;
use crate::record::ConsumedRecord;

#[derive(Debug, Default)]
pub struct Held {
    records: BTreeMap<TopicPartition, (Instant, ConsumedRecord)>,
    /// The same, by time.
    by_due: BTreeSet<(Instant, TopicPartition)>,
    /// How many were ever held.
    holds: u64,
}

impl Held {
    /// # Panics
    /// If a record of the partition is held already.
    pub fn hold(&mut self, partition: TopicPartition, due: Instant, record: ConsumedRecord) {
        self.holds += 1;
        self.by_due.insert((due, partition.clone()));
        let before = self.records.insert(partition, (due, record));
        assert!(before.is_none(), "BUG: a partition with a held record is not read");
    }

    /// The record that has been due for the longest, of a partition that may be read.
    pub fn take_due(
        &mut self,
        now: Instant,
        may_be_read: impl Fn(&TopicPartition) -> bool,
    ) -> Option<(TopicPartition, ConsumedRecord)> {
        let mut due = self.by_due.iter().take_while(|(due, _)| *due <= now);
        let (_, name) = due.find(|(_, name)| may_be_read(name))?.clone();
        self.remove(&name).map(|record| (name, record))
    }

    /// How many were ever held: it changes with each one, after which somebody is to look at the time.
    pub fn holds(&self) -> u64 {
        self.holds
    }

    /// When the first one is due, or was.
    pub fn next_due(&self) -> Option<Instant> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// The same without those that are due already: their partition may be kept from being read.
    pub fn next_due_after(&self, now: Instant) -> Option<Instant> {
        self.by_due.iter().map(|(due, _)| *due).find(|due| now < *due)
    }

    pub fn contains(&self, partition: &TopicPartition) -> bool {
        self.records.contains_key(partition)
    }

    /// Forgets the record of a partition, and returns it if there was one.
    pub fn remove(&mut self, partition: &TopicPartition) -> Option<ConsumedRecord> {
        let (name, (due, record)) = self.records.remove_entry(partition)?;
        self.by_due.remove(&(due, name));
        Some(record)
    }

    pub fn clear(&mut self) {
        self.records.clear();
        self.by_due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::retry::tests::record;
    use super::*;
    use protocol::model::PartitionIndex;
    use std::time::Duration;

    #[test]
    fn records_come_back_when_they_are_due_and_their_partition_may_be_read() {
        let name =
            |partition| TopicPartition { topic: "t".into(), partition: PartitionIndex::new(partition) };
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut held = Held::default();
        assert_eq!(held.next_due(), None);
        for (partition, due) in [(0, 30), (1, 10), (2, 20)] {
            held.hold(name(partition), at(due), record("t"));
        }
        assert_eq!((held.next_due(), held.next_due_after(at(10))), (Some(at(10)), Some(at(20))));
        let mut take =
            |now, not| held.take_due(at(now), |name| name.partition.get() != not).map(|taken| taken.0);
        assert_eq!([take(9, 9), take(10, 1), take(10, 9), take(10, 9)], [None, None, Some(name(1)), None]);
        assert_eq!([take(40, 0), take(40, 9), take(40, 9)], [Some(name(2)), Some(name(0)), None]);
    }
}
