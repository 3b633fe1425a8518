//! The committed offsets of one group, and when they expire (KIP-211).
//!
//!     no members, was a group     from the time it became empty, or of the commit if that is later
//!     never was a group           from the time of the commit
//!     stable, of consumers        from the time of the commit, and only topics nobody subscribes to
//!     anything else               not at all
//!
//! Nothing here changes what is stored: expiry and deletion write tombstones, and those take the offsets
//! away when they are applied, as they do when the log is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::model::{PartitionIndex, Timestamp};

use super::api::{Committed, Effects};
use super::config::{ENTRY_BYTES, EXPIRY_INTERVAL, STORE_RETRY, TICK_BYTES_MAX};
use super::group::{Context, Group};
use super::records;
use super::{Now, State};

/// Offsets by topic and partition.
#[derive(Default, Debug)]
pub(super) struct Offsets {
    entries: BTreeMap<(Arc<str>, PartitionIndex), Committed>,
    bytes: usize,
}

impl Offsets {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, topic: &Arc<str>, partition: PartitionIndex) -> Option<&Committed> {
        self.entries.get(&(topic.clone(), partition))
    }

    /// By topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, PartitionIndex, &Committed)> {
        self.entries.iter().map(|((topic, partition), committed)| (topic, *partition, committed))
    }

    /// The topics that there are offsets of, each once.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        let next = |(last, _): &&(Arc<str>, PartitionIndex)| {
            let last = (last.clone(), PartitionIndex::new(u32::MAX));
            self.entries.range((Bound::Excluded(last), Bound::Unbounded)).next().map(|(key, _)| key)
        };
        std::iter::successors(self.entries.keys().next(), next).map(|(topic, _)| topic)
    }

    /// Those of one topic, by partition.
    pub fn of_topic(&self, topic: &Arc<str>) -> impl Iterator<Item = (PartitionIndex, &Committed)> {
        let all = (topic.clone(), PartitionIndex::new(0))..=(topic.clone(), PartitionIndex::new(u32::MAX));
        self.entries.range(all).map(|((_, partition), committed)| (*partition, committed))
    }

    pub fn insert(&mut self, topic: &str, partition: PartitionIndex, committed: Committed) {
        // Partitions of a topic share its name.
        let neighbour = self.entries.range((Arc::from(topic), PartitionIndex::new(0))..).next();
        let shared = neighbour.map(|((name, _), _)| name).filter(|name| &***name == topic).cloned();
        let topic = shared.unwrap_or_else(|| topic.into());
        self.bytes += charge(&topic, &committed.metadata);
        if let Some(before) = self.entries.insert((topic.clone(), partition), committed) {
            self.bytes -= charge(&topic, &before.metadata);
        }
    }

    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) {
        if let Some(before) = self.entries.remove(&(topic.into(), partition)) {
            self.bytes -= charge(topic, &before.metadata);
        }
    }
}

/// What one offset is charged to its group.
pub(super) fn charge(topic: &str, metadata: &str) -> usize {
    ENTRY_BYTES + topic.len() + metadata.len()
}

/// From when on the retention of a group's offsets is counted.
enum Retention {
    /// From the commit, or from this time if it is later.
    Since(Timestamp),
    /// From the commit, unless the topic is one of these.
    Unless(BTreeSet<String>),
    Never,
}

impl Group {
    fn retention(&self) -> Retention {
        match self.state() {
            _ if self.protocol_type.is_none() => Retention::Since(Timestamp::NONE),
            State::Empty => Retention::Since(self.since),
            State::Stable => self.subscribed_topics().map_or(Retention::Never, Retention::Unless),
            _ => Retention::Never,
        }
    }

    /// Writes tombstones for what has expired, and for the group if nothing of it is left. To be settled
    /// before the group is looked at again.
    pub fn expire(&mut self, context: Context<'_>, effects: &mut Effects) {
        let now = context.now;
        if self.expiry.is_none_or(|at| now.instant < at) {
            return;
        }
        let look_again = now.instant + EXPIRY_INTERVAL.min(context.config.offsets_retention);
        if self.must_store {
            self.store(effects);
            self.expiry = Some(look_again);
            return;
        }
        let retention = self.retention();
        let retention_ms = i64::try_from(context.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let (mut expired, mut next, mut is_all) = (false, None, true);
        for (topic, partition, committed) in self.offsets.iter() {
            let (base, is_kept) = match &retention {
                Retention::Since(since) => (committed.committed_at.max(*since), false),
                Retention::Unless(topics) => (committed.committed_at, topics.contains(&**topic)),
                Retention::Never => (committed.committed_at, true),
            };
            let expires = Timestamp::from_millis(base.millis().saturating_add(retention_ms));
            if now.wall < expires || is_kept {
                is_all = false;
                let at = if is_kept { look_again } else { instant_of(expires, now) };
                next = Some(next.map_or(at, |next: Instant| next.min(at)));
            } else if effects.bytes < TICK_BYTES_MAX {
                effects.record(records::offset_key(&self.id, topic, partition), None);
                expired = true;
            } else {
                (is_all, expired) = (false, true);
            }
        }
        let is_gone = is_all && self.state() == State::Empty && self.pending.is_empty();
        if is_gone && self.is_stored {
            effects.record(records::group_key(&self.id), None);
            expired = true;
        }
        // What expired is gone once it is settled; if that fails, it is found again.
        self.expiry = if expired { Some(now.instant + STORE_RETRY) } else { next };
        if is_all && !is_gone && self.state() == State::Empty {
            self.check_expiry_by(look_again);
        }
    }
}

/// The moment at which the wall clock will say `at`, if nobody sets it; a year ahead at most.
pub(super) fn instant_of(at: Timestamp, now: Now) -> Instant {
    const FAR: Duration = Duration::from_secs(366 * 24 * 3600);
    now.instant + Duration::from_millis(at.millis_since(now.wall)).min(FAR)
}
