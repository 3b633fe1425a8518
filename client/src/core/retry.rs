//! Where a record goes that could not be processed: to a topic of later tries, at last to one of dead letters.
//!
//!     orders ──fails──▶ orders.retry.1 ──10 s, fails──▶ orders.retry.2 ──1 min, fails──▶ orders.dlq
//!
//!     ringlog.retry.cause        why it failed, for people; the last time
//!     ringlog.retry.topic        where it came from in the beginning, and the next three
//!     ringlog.retry.partition
//!     ringlog.retry.offset
//!     ringlog.retry.timestamp    in milliseconds since 1970
//!     ringlog.retry.attempt      how often it failed
//!     ringlog.retry.due          when it is to be tried again, in milliseconds since 1970; not on dead letters
//!
//! Numbers are decimal text, so that every tool can show them. Key, value, timestamp and all other headers
//! stay as they are.
//!
//! With `WaitingKeys` the records of a key stay in order: while one of them waits in a later topic, those
//! behind it follow it there unprocessed. That asks for the retry topics to be read by the process that
//! reads the topic; a record that is dead does not hold back the others of its key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::model::limits::TOPIC_NAME_BYTES_MAX;
use protocol::model::{Offset, PartitionIndex, Timestamp};

use crate::record::{ConsumedRecord, Record};

const PREFIX: &str = "ringlog.retry.";

/// How often a record is tried again, and after which time each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    delays: Vec<Duration>,
}

/// How far a record has got: 0 in its own topic, `n` in `<topic>.retry.<n>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tier(u32);

/// What is to be done with a failed record: produce this, and when that is acknowledged it is processed.
#[derive(Clone, Debug)]
pub struct Moved {
    pub record: Record,
    /// Where it goes, and when it is to be tried again; `None` for dead letters.
    pub waits: Option<(Tier, Timestamp)>,
}

/// The topic's name leaves no room for what names its retry topics.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{topic:?} has {} bytes, the limit of a topic is {TOPIC_NAME_BYTES_MAX}", .topic.len())]
pub struct NameTooLong {
    pub topic: String,
}

impl RetryPolicy {
    /// One try after each of `delays`; with none, a record that fails is dead at once.
    pub fn new(delays: impl IntoIterator<Item = Duration>) -> RetryPolicy {
        RetryPolicy { delays: delays.into_iter().collect() }
    }

    /// The topics that are read beside `topic`, in order, without that of dead letters.
    pub fn topics(&self, topic: &str) -> Vec<String> {
        (1..).zip(&self.delays).map(|(tier, _)| self.topic_of(topic, Some(Tier(tier)))).collect()
    }

    fn topic_of(&self, topic: &str, tier: Option<Tier>) -> String {
        match tier {
            Some(Tier(number)) => format!("{topic}.retry.{number}"),
            None => format!("{topic}.dlq"),
        }
    }

    /// A record failed because of `cause`.
    pub fn plan_failed(
        &self,
        record: &ConsumedRecord,
        cause: &str,
        now: Timestamp,
    ) -> Result<Moved, NameTooLong> {
        let origin = Origin::of(record);
        let next = Tier(origin.tier.0.saturating_add(1));
        let tier = Some(next).filter(|tier| self.delay(*tier).is_some());
        self.plan(record, &origin, tier, origin.attempts.saturating_add(1), cause, now)
    }

    /// A record was not processed, because an earlier one of its key waits in `tier`: it waits there too,
    /// and has failed as often as before.
    pub fn plan_follow(
        &self,
        record: &ConsumedRecord,
        tier: Tier,
        now: Timestamp,
    ) -> Result<Moved, NameTooLong> {
        let origin = Origin::of(record);
        let cause = "an earlier record of its key waits";
        self.plan(record, &origin, Some(tier), origin.attempts, cause, now)
    }

    fn delay(&self, tier: Tier) -> Option<Duration> {
        let at = usize::try_from(tier.0).ok()?.checked_sub(1)?;
        self.delays.get(at).copied()
    }

    fn plan(
        &self,
        record: &ConsumedRecord,
        origin: &Origin,
        tier: Option<Tier>,
        attempts: u32,
        cause: &str,
        now: Timestamp,
    ) -> Result<Moved, NameTooLong> {
        let topic = self.topic_of(&origin.topic, tier);
        if TOPIC_NAME_BYTES_MAX < topic.len() {
            return Err(NameTooLong { topic });
        }
        let waits = tier.map(|tier| (tier, later(now, self.delay(tier).unwrap_or_default())));
        let mut moved = Record::to(topic).timestamp(record.timestamp);
        (moved.key, moved.value) = (record.key.clone(), record.value.clone());
        let kept = record.headers.iter().filter(|header| !header.key.as_str().starts_with(PREFIX));
        moved.headers = kept.map(|header| (header.key.as_str().into(), header.value.clone())).collect();
        let mut add = |name: &str, value: String| {
            moved.headers.push((format!("{PREFIX}{name}").into(), Some(Bytes::from(value))));
        };
        add("cause", cause.to_owned());
        add("topic", origin.topic.to_string());
        add("partition", origin.partition.to_string());
        add("offset", origin.offset.get().to_string());
        add("timestamp", origin.timestamp.to_string());
        add("attempt", attempts.to_string());
        if let Some((_, due)) = waits {
            add("due", due.to_string());
        }
        Ok(Moved { record: moved, waits })
    }
}

/// When this record is to be tried; `None` at once.
pub fn due(record: &ConsumedRecord) -> Option<Timestamp> {
    header(record, "due")?.parse().ok().map(Timestamp::from_millis)
}

/// In which of its topics a record is.
pub fn tier(record: &ConsumedRecord) -> Tier {
    Origin::of(record).tier
}

fn later(now: Timestamp, delay: Duration) -> Timestamp {
    let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_add(delay))
}

/// Where a record came from in the beginning.
struct Origin {
    topic: Arc<str>,
    partition: PartitionIndex,
    offset: Offset,
    timestamp: Timestamp,
    attempts: u32,
    tier: Tier,
}

impl Origin {
    /// A record is one of a retry topic if its headers and its topic's name agree on that; headers that
    /// somebody copied from elsewhere count for nothing.
    fn of(record: &ConsumedRecord) -> Origin {
        Origin::told(record).unwrap_or_else(|| Origin {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            attempts: 0,
            tier: Tier(0),
        })
    }

    fn told(record: &ConsumedRecord) -> Option<Origin> {
        let topic = header(record, "topic")?;
        let number = record.topic.strip_prefix(topic)?.strip_prefix(".retry.")?;
        Some(Origin {
            topic: topic.into(),
            partition: PartitionIndex::new(header(record, "partition")?.parse().ok()?),
            offset: Offset::from_wire(header(record, "offset")?.parse().ok()?)?,
            timestamp: Timestamp::from_millis(header(record, "timestamp")?.parse().ok()?),
            attempts: header(record, "attempt")?.parse().ok()?,
            tier: Tier(number.parse().ok()?),
        })
    }
}

fn header<'a>(record: &'a ConsumedRecord, name: &str) -> Option<&'a str> {
    let is_it = |key: &str| key.strip_prefix(PREFIX) == Some(name);
    let header = record.headers.iter().find(|header| is_it(header.key.as_str()))?;
    std::str::from_utf8(header.value.as_ref()?).ok()
}

/// Keys of which records wait in retry topics, and in which.
#[derive(Debug)]
pub struct WaitingKeys {
    limit: usize,
    /// How many of a key's records wait in each tier; no zeroes, no empty maps.
    keys: HashMap<Bytes, BTreeMap<Tier, usize>>,
}

/// As many keys wait as may: no record can be moved before some are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("records of {limit} keys wait to be tried again, and no more may")]
pub struct TooManyKeys {
    pub limit: usize,
}

impl WaitingKeys {
    pub fn new(limit: usize) -> WaitingKeys {
        WaitingKeys { limit, keys: HashMap::new() }
    }

    /// Where a record of this key has to go that is read in tier `read_in`: where the one before it of its key
    /// waits, if it waits in a later tier. Ask before processing it.
    pub fn follows(&self, key: &Bytes, read_in: Tier) -> Option<Tier> {
        let last = self.keys.get(key)?.last_key_value().map(|(tier, _)| *tier)?;
        (read_in < last).then_some(last)
    }

    /// A record of this key is about to be moved into `tier`.
    pub fn add(&mut self, key: &Bytes, tier: Tier) -> Result<(), TooManyKeys> {
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
    pub fn settle(&mut self, key: &Bytes, tier: Tier) {
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
    use super::*;
    use protocol::batch::Header;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn policy() -> RetryPolicy {
        RetryPolicy::new([Duration::from_secs(10), Duration::from_secs(60)])
    }

    fn record(topic: &str) -> ConsumedRecord {
        ConsumedRecord {
            topic: topic.into(),
            partition: PartitionIndex::new(3),
            offset: Offset::new(42),
            timestamp: Timestamp::from_millis(77),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v")),
            headers: vec![Header { key: "trace".into(), value: Some(Bytes::from_static(b"t")) }],
        }
    }

    /// The record as it is read from where it was moved to.
    fn read_again(moved: &Moved) -> ConsumedRecord {
        let headers = moved.record.headers.iter();
        let headers = headers.map(|(key, value)| Header { key: (**key).into(), value: value.clone() });
        ConsumedRecord {
            topic: moved.record.topic().unwrap().into(),
            partition: PartitionIndex::new(9),
            offset: Offset::new(1),
            headers: headers.collect(),
            ..record("")
        }
    }

    fn shown(record: &Record) -> Vec<String> {
        let text = |value: &Option<Bytes>| String::from_utf8(value.as_ref().unwrap().to_vec()).unwrap();
        record.headers.iter().map(|(key, value)| format!("{key}={}", text(value))).collect()
    }

    #[test]
    fn a_record_goes_from_try_to_try_and_then_to_the_dead_letters() {
        let mut at = record("orders");
        let (mut topics, mut waits) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let moved = policy().plan_failed(&at, "no", NOW).unwrap();
            topics.push(moved.record.topic().unwrap().to_owned());
            waits.push(moved.waits.map(|(tier, due)| (tier.0, due.millis() - NOW.millis())));
            at = read_again(&moved);
        }
        assert_eq!(topics, ["orders.retry.1", "orders.retry.2", "orders.dlq"]);
        assert_eq!(waits, [Some((1, 10_000)), Some((2, 60_000)), None]);
        assert_eq!(policy().topics("orders"), topics[..2]);
        assert_eq!(due(&at), None, "nobody tries a dead letter again");
        let none = RetryPolicy::new([]).plan_failed(&record("orders"), "no", NOW).unwrap();
        assert_eq!(none.record.topic(), Some("orders.dlq"));
    }

    #[test]
    fn headers_say_where_it_came_from_in_the_beginning_and_why_it_failed_last() {
        let first = policy().plan_failed(&record("orders"), "timeout", NOW).unwrap();
        let again = read_again(&first);
        assert_eq!((due(&again), tier(&again)), (Some(Timestamp::from_millis(1_010_000)), Tier(1)));
        let second = policy().plan_failed(&again, "refused", NOW).unwrap();
        let expected = [
            "trace=t",
            "ringlog.retry.cause=refused",
            "ringlog.retry.topic=orders",
            "ringlog.retry.partition=3",
            "ringlog.retry.offset=42",
            "ringlog.retry.timestamp=77",
            "ringlog.retry.attempt=2",
            "ringlog.retry.due=1060000",
        ];
        assert_eq!(shown(&second.record), expected);
        assert_eq!(second.record.key_bytes().map(|key| &key[..]), Some(&b"k"[..]));
        assert_eq!(
            (second.record.partition, second.record.timestamp),
            (None, Some(Timestamp::from_millis(77)))
        );
    }

    #[test]
    fn headers_that_do_not_fit_the_topic_count_for_nothing() {
        let first = policy().plan_failed(&record("orders"), "no", NOW).unwrap();
        let copied = ConsumedRecord { topic: "copy".into(), ..read_again(&first) };
        let moved = policy().plan_failed(&copied, "no", NOW).unwrap();
        assert_eq!(moved.record.topic(), Some("copy.retry.1"));
        let copied = ConsumedRecord { topic: "other.retry.1".into(), ..read_again(&first) };
        assert_eq!(tier(&copied), Tier(0), "another topic's");
        let named = policy().plan_failed(&record("orders.retry.2"), "no", NOW).unwrap();
        assert_eq!(named.record.topic(), Some("orders.retry.2.retry.1"), "a topic may be called so");
        let mut odd = read_again(&first);
        odd.headers.iter_mut().for_each(|header| header.value = Some(Bytes::from_static(b"\xff")));
        assert_eq!(tier(&odd), Tier(0));
    }

    #[test]
    fn a_tombstone_stays_one() {
        let moved = policy().plan_failed(&ConsumedRecord { value: None, ..record("t") }, "no", NOW).unwrap();
        assert_eq!(moved.record.value_bytes(), None);
    }

    #[test]
    fn a_name_without_room_is_refused() {
        let long = "x".repeat(TOPIC_NAME_BYTES_MAX - 3);
        assert!(policy().plan_failed(&record(&long), "no", NOW).is_err());
        let fits = "x".repeat(TOPIC_NAME_BYTES_MAX - ".retry.1".len());
        assert!(policy().plan_failed(&record(&fits), "no", NOW).is_ok());
    }

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
}
