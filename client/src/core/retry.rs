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
//! With a policy that keeps the order of keys, records behind one that waits follow it unprocessed
//! (`waiting.rs`). All tries of a record are then of one partition number, so that one member has them all.

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
    keeps_order: bool,
}

/// How far a record has got: 0 in its own topic, `n` in `<topic>.retry.<n>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Tier(pub(crate) u32);

/// What is to be done with a failed record: produce this, and when that is acknowledged it is processed.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
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
    /// One more try after each of `delays`; with none, a record that fails is dead at once.
    pub fn new(delays: impl IntoIterator<Item = Duration>) -> RetryPolicy {
        RetryPolicy { delays: delays.into_iter().collect(), keeps_order: false }
    }

    /// Keeps the records of a key in order: while one of them waits for its next try, later ones follow it
    /// into its retry topic unprocessed, and wait as long. Other keys go on. A record that has become a
    /// dead letter holds back nothing.
    ///
    /// It is [`Workers`](crate::Workers) that keep the order. The members of the group assign by range, and
    /// the retry topics have as many partitions as their topic, so that one member has all tries of a
    /// record. Order is kept while it has them: one that takes a partition over, after a crash or in a
    /// rebalance, does not know of the records that wait in it, and does not hold back later ones for them.
    pub fn keep_key_order(mut self) -> RetryPolicy {
        self.keeps_order = true;
        self
    }

    pub fn keeps_key_order(&self) -> bool {
        self.keeps_order
    }

    /// The topics that are read beside `topic`, in order, without that of dead letters.
    pub fn topics(&self, topic: &str) -> Vec<String> {
        (1..).zip(&self.delays).map(|(tier, _)| self.topic_of(topic, Some(Tier(tier)))).collect()
    }

    /// The topic of dead letters of `topic`.
    pub fn dead_letters(&self, topic: &str) -> String {
        self.topic_of(topic, None)
    }

    fn topic_of(&self, topic: &str, tier: Option<Tier>) -> String {
        match tier {
            Some(Tier(number)) => format!("{topic}.retry.{number}"),
            None => format!("{topic}.dlq"),
        }
    }

    /// A record failed because of `cause`.
    pub(crate) fn plan_failed(
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
    pub(crate) fn plan_follow(
        &self,
        record: &ConsumedRecord,
        tier: Tier,
        now: Timestamp,
    ) -> Result<Moved, NameTooLong> {
        let origin = Origin::of(record);
        let cause = "an earlier record of its key waits";
        self.plan(record, &origin, Some(tier), origin.attempts, cause, now)
    }

    /// How long a record that was just read is to be held back; `None` if it can be tried now. No longer
    /// than a record can wait that failed just now, whatever its header says.
    pub(crate) fn wait(&self, record: &ConsumedRecord, now: Timestamp) -> Option<Duration> {
        let longest = self.delay(tier(record))?;
        let millis = due(record)?.millis().saturating_sub(now.millis());
        let wait = Duration::from_millis(u64::try_from(millis).ok()?).min(longest);
        (!wait.is_zero()).then_some(wait)
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
        moved.partition = self.keeps_order.then_some(record.partition);
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
pub(crate) fn due(record: &ConsumedRecord) -> Option<Timestamp> {
    header(record, "due")?.parse().ok().map(Timestamp::from_millis)
}

/// In which of its topics a record is.
pub(crate) fn tier(record: &ConsumedRecord) -> Tier {
    Origin::of(record).tier
}

/// The topic that a record was in at first.
pub(crate) fn origin_topic(record: &ConsumedRecord) -> Arc<str> {
    Origin::of(record).topic
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use protocol::batch::Header;

    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    pub(crate) fn policy() -> RetryPolicy {
        RetryPolicy::new([Duration::from_secs(10), Duration::from_secs(60)])
    }

    pub(crate) fn record(topic: &str) -> ConsumedRecord {
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

    pub(crate) fn shown(record: &Record) -> Vec<String> {
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
    fn a_record_is_held_until_it_is_due_and_no_longer_than_its_topic_delays() {
        let moved = policy().plan_failed(&record("orders"), "no", NOW).unwrap();
        let mut at = read_again(&moved);
        let wait = |at: &ConsumedRecord, millis| {
            let now = Timestamp::from_millis(NOW.millis() + millis);
            policy().wait(at, now).map(|wait| wait.as_millis())
        };
        assert_eq!([wait(&at, 0), wait(&at, 9_999), wait(&at, 10_000)], [Some(10_000), Some(1), None]);
        assert_eq!(wait(&at, -3_600_000), Some(10_000), "a clock that was set back");
        assert_eq!(wait(&record("orders"), 0), None);
        for (told, expected) in [(i64::MAX, Some(10_000)), (i64::MIN, None)] {
            let header = at.headers.last_mut().unwrap();
            header.value = Some(Bytes::from(told.to_string()));
            assert_eq!(wait(&at, 0), expected, "{told}");
        }
    }

    #[test]
    fn with_order_kept_all_tries_are_of_one_partition() {
        let moved = policy().keep_key_order().plan_failed(&record("orders"), "no", NOW).unwrap();
        assert_eq!(moved.record.partition, Some(PartitionIndex::new(3)));
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
}
