//! The order of keys of which records wait for their next try.
//!
//!     topic      k3 ─┐ follows: k2 waits in a later topic
//!     retry.1        └─▶ k3 k2 ─┐ follows: k1 waits in a later topic
//!     retry.2                   └─▶ k1
//!
//! While a record of a key waits in a later topic than another is read in, the other follows it there
//! unprocessed. That asks for all topics of a partition number to be read by one member, and for each key's
//! records to be worked on one after another. What waits is counted here, per key and topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::assign::TopicPartition;
use super::retry::{Tier, origin_topic, tier};
use crate::record::ConsumedRecord;

/// As many keys wait as may: no record can be moved before some are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("records of {limit} keys of a partition wait to be tried again, and no more may")]
pub struct TooManyKeys {
    pub limit: usize,
}

/// Waiting keys of every partition that is read; of a partition and of the retry topics' of its number.
#[derive(Debug)]
pub struct KeyOrder {
    limit: usize,
    /// By the topic that records were in at first.
    partitions: BTreeMap<TopicPartition, WaitingKeys>,
    /// Let go of in a rebalance that has not ended.
    in_question: BTreeSet<TopicPartition>,
}

impl KeyOrder {
    /// `limit`: most keys that wait in a partition.
    pub fn new(limit: usize) -> KeyOrder {
        KeyOrder { limit, partitions: BTreeMap::new(), in_question: BTreeSet::new() }
    }

    /// Where this record has to go unprocessed; `None` if it is its turn.
    pub fn follows(&self, record: &ConsumedRecord) -> Option<Tier> {
        let (name, key) = (partition_of(record), record.key.as_ref()?);
        self.partitions.get(&name)?.follows(key, tier(record))
    }

    /// The record is about to be moved into `to`.
    pub fn add(&mut self, record: &ConsumedRecord, to: Tier) -> Result<(), TooManyKeys> {
        let Some(key) = &record.key else { return Ok(()) };
        let limit = self.limit;
        self.partitions.entry(partition_of(record)).or_insert_with(|| WaitingKeys::new(limit)).add(key, to)
    }

    /// The record could not be moved into `to`.
    pub fn take_back(&mut self, record: &ConsumedRecord, to: Tier) {
        self.settle_in(record, to);
    }

    /// The record is done where it was read: processed, moved on or dead.
    pub fn settle(&mut self, record: &ConsumedRecord) {
        self.settle_in(record, tier(record));
    }

    fn settle_in(&mut self, record: &ConsumedRecord, tier: Tier) {
        if let (Some(keys), Some(key)) = (self.partitions.get_mut(&partition_of(record)), &record.key) {
            keys.settle(key, tier);
        }
    }

    /// These are let go of in a rebalance; some may come back at its end.
    pub fn handle_revoked(&mut self, partitions: &[TopicPartition]) {
        self.in_question.extend(partitions.iter().cloned());
    }

    /// The end of a rebalance: these were given. What is read by others now is theirs to keep in order.
    pub fn handle_assigned(&mut self, partitions: &[TopicPartition]) {
        let gone = std::mem::take(&mut self.in_question);
        for name in gone.iter().filter(|name| !partitions.contains(name)) {
            self.partitions.remove(name);
        }
    }

    /// Others may have read these already.
    pub fn handle_lost(&mut self, partitions: &[TopicPartition]) {
        for name in partitions {
            self.partitions.remove(name);
        }
    }
}

fn partition_of(record: &ConsumedRecord) -> TopicPartition {
    TopicPartition { topic: origin_topic(record), partition: record.partition }
}

/// Keys of which records wait in retry topics, and in which.
#[derive(Debug)]
struct WaitingKeys {
    limit: usize,
    /// How many of a key's records wait in each tier; no zeroes, no empty maps.
    keys: HashMap<Bytes, BTreeMap<Tier, usize>>,
}

impl WaitingKeys {
    fn new(limit: usize) -> WaitingKeys {
        WaitingKeys { limit, keys: HashMap::new() }
    }

    /// Where a record of this key has to go that is read in tier `read_in`: where the one before it of its key
    /// waits, if it waits in a later tier. Ask before processing it.
    fn follows(&self, key: &Bytes, read_in: Tier) -> Option<Tier> {
        let last = self.keys.get(key)?.last_key_value().map(|(tier, _)| *tier)?;
        (read_in < last).then_some(last)
    }

    /// A record of this key is about to be moved into `tier`.
    fn add(&mut self, key: &Bytes, tier: Tier) -> Result<(), TooManyKeys> {
        if self.keys.len() >= self.limit && !self.keys.contains_key(key) {
            return Err(TooManyKeys { limit: self.limit });
        }
        // A copy: a slice would keep the whole reply in memory that it came in.
        let key = if self.keys.contains_key(key) { key.clone() } else { Bytes::copy_from_slice(key) };
        *self.keys.entry(key).or_default().entry(tier).or_default() += 1;
        Ok(())
    }

    /// A record of this key that was read in `tier` is done: processed, moved on or dead. One that was
    /// not added, because an earlier process moved it, counts for nothing.
    fn settle(&mut self, key: &Bytes, tier: Tier) {
        let Some(tiers) = self.keys.get_mut(key) else { return };
        if let Some(count) = tiers.get_mut(&tier) {
            *count -= 1;
            if *count == 0 {
                tiers.remove(&tier);
            }
        }
        if tiers.is_empty() {
            self.keys.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::retry::tests::{NOW, policy, record, shown};
    use super::*;
    use protocol::model::PartitionIndex;

    #[test]
    fn later_records_of_a_waiting_key_follow_it_and_do_not_count_as_failed() {
        let key = Bytes::from_static(b"k");
        let mut waiting = WaitingKeys::new(10);
        let failed = policy().plan_failed(&record("orders"), "no", NOW).unwrap();
        waiting.add(&key, failed.waits.unwrap().0).unwrap();
        assert_eq!(waiting.follows(&Bytes::from_static(b"other"), Tier(0)), None);
        let to = waiting.follows(&key, Tier(0)).unwrap();
        let behind = policy().plan_follow(&record("orders"), to, NOW).unwrap();
        waiting.add(&key, to).unwrap();
        assert_eq!(behind.record.topic(), Some("orders.retry.1"));
        assert!(shown(&behind.record).contains(&"ringlog.retry.attempt=0".to_owned()));
        // In the retry topic the first is tried, and fails again: the second follows once more.
        assert_eq!(waiting.follows(&key, Tier(1)), None, "its turn");
        waiting.add(&key, Tier(2)).unwrap();
        waiting.settle(&key, Tier(1));
        assert_eq!(waiting.follows(&key, Tier(1)), Some(Tier(2)));
        waiting.add(&key, Tier(2)).unwrap();
        waiting.settle(&key, Tier(1));
        assert_eq!(waiting.follows(&key, Tier(0)), Some(Tier(2)), "and new ones too");
        // Both are done with.
        waiting.settle(&key, Tier(2));
        waiting.settle(&key, Tier(2));
        assert_eq!(waiting.follows(&key, Tier(0)), None);
        waiting.settle(&key, Tier(2));
    }

    #[test]
    fn keys_that_wait_are_bounded() {
        let mut waiting = WaitingKeys::new(1);
        let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        assert_eq!([waiting.add(&one, Tier(1)), waiting.add(&one, Tier(1))], [Ok(()), Ok(())]);
        assert_eq!(waiting.add(&two, Tier(1)), Err(TooManyKeys { limit: 1 }));
        waiting.settle(&one, Tier(1));
        waiting.settle(&one, Tier(1));
        assert_eq!(waiting.add(&two, Tier(1)), Ok(()));
    }

    #[test]
    fn keys_wait_in_their_partition_for_as_long_as_this_member_has_it() {
        let of = |partition| ConsumedRecord { partition: PartitionIndex::new(partition), ..record("orders") };
        let name = |partition| partition_of(&of(partition));
        let mut order = KeyOrder::new(10);
        (0..3).for_each(|partition| order.add(&of(partition), Tier(1)).unwrap());
        assert_eq!([order.follows(&of(0)), order.follows(&of(3))], [Some(Tier(1)), None]);
        // 0 comes back, 1 does not.
        order.handle_revoked(&[name(0), name(1)]);
        order.handle_assigned(&[name(0)]);
        order.handle_lost(&[name(2)]);
        assert_eq!([0, 1, 2].map(|at| order.follows(&of(at))), [Some(Tier(1)), None, None]);
        order.take_back(&of(0), Tier(1));
        assert_eq!(order.follows(&of(0)), None);
        assert_eq!(order.add(&ConsumedRecord { key: None, ..of(0) }, Tier(1)), Ok(()), "no key, no order");
    }
}
