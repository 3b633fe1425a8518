//! Records that were read and are not to be handed out yet, one of a partition.
//!
//!     reader ─▶ not due: held, its partition paused ── due ──▶ handed out, its partition read on
//!
//! A partition stands still while it has one: those behind it were moved there later, and are due later.

use std::collections::BTreeMap;
use std::time::Instant;

use super::assign::TopicPartition;
use crate::record::ConsumedRecord;

#[derive(Debug, Default)]
pub struct Held {
    records: BTreeMap<TopicPartition, (Instant, ConsumedRecord)>,
}

impl Held {
    /// # Panics
    /// If a record of the partition is held already.
    pub fn hold(&mut self, partition: TopicPartition, due: Instant, record: ConsumedRecord) {
        let before = self.records.insert(partition, (due, record));
        assert!(before.is_none(), "BUG: a partition with a held record is not read");
    }

    /// A record that is due, of the first partition that has one and may be read.
    pub fn take_due(
        &mut self,
        now: Instant,
        may_be_read: impl Fn(&TopicPartition) -> bool,
    ) -> Option<(TopicPartition, ConsumedRecord)> {
        let is_due = |(name, (due, _)): &(&TopicPartition, &(Instant, _))| *due <= now && may_be_read(name);
        let name = self.records.iter().find(is_due)?.0.clone();
        self.records.remove_entry(&name).map(|(name, (_, record))| (name, record))
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.records.values().map(|(due, _)| *due).min()
    }

    pub fn contains(&self, partition: &TopicPartition) -> bool {
        self.records.contains_key(partition)
    }

    /// Forgets the record of a partition. Returns whether there was one.
    pub fn remove(&mut self, partition: &TopicPartition) -> bool {
        self.records.remove(partition).is_some()
    }

    pub fn clear(&mut self) {
        self.records.clear();
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
        assert_eq!(held.next_due(), Some(at(10)));
        let mut take =
            |now, not| held.take_due(at(now), |name| name.partition.get() != not).map(|taken| taken.0);
        assert_eq!([take(9, 9), take(10, 1), take(10, 9), take(10, 9)], [None, None, Some(name(1)), None]);
        assert_eq!([take(40, 0), take(40, 9), take(40, 9)], [Some(name(2)), Some(name(0)), None]);
    }
}
