//! The broker's counters over a run: whatever its Stats message has, by name.
//!
//!     Stats    shard 0: commits 10, flush_us_max 900      sums over shards, differences over the run
//!              shard 1: commits 20, flush_us_max 400      but of gauges: what is there at the end
//!     ──▶      commits 30, flush_us_max 900               and of maxima: the largest
//!
//! A broker that lacks a counter is asked nothing less: what it has is told, the rest counts as 0.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ringlog_client::{Admin, StatsReply};

/// By name.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<String, u64>);

/// How a counter is put together; its name says which it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Sum,
    /// Summed over shards, and not a difference.
    Gauge,
    /// The largest of all shards since the broker started.
    Maximum,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            _ if name.ends_with("_max") => Kind::Maximum,
            _ if name.ends_with("_now") || name.ends_with("_depth") => Kind::Gauge,
            _ => Kind::Sum,
        }
    }
}

impl Counters {
    pub async fn ask(admin: &Admin) -> Result<Counters> {
        Ok(Counters::of(&admin.stats().await.context("cannot ask for the broker's counters")?))
    }

    fn of(stats: &StatsReply) -> Counters {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for (name, value) in stats.shards.iter().flat_map(|shard| &shard.counters) {
            let so_far = all.entry(name.clone()).or_default();
            *so_far = match Kind::of(name) {
                Kind::Maximum => (*so_far).max(*value),
                Kind::Sum | Kind::Gauge => so_far.saturating_add(*value),
            };
        }
        Counters(all)
    }

    /// 0 for a counter of a broker that was started anew meanwhile.
    pub fn since(&self, before: &Counters) -> Counters {
        let grown = |(name, value): (&String, &u64)| {
            let grown = match Kind::of(name) {
                Kind::Sum => value.saturating_sub(before.get(name).unwrap_or(0)),
                Kind::Gauge | Kind::Maximum => *value,
            };
            (name.clone(), grown)
        };
        Counters(self.0.iter().map(grown).collect())
    }

    /// `None` if the broker has no such counter.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    #[cfg(test)]
    pub fn from_pairs(pairs: &[(&str, u64)]) -> Counters {
        Counters(pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlog_client::{ShardId, ShardStats};

    fn stats(shards: &[&[(&str, u64)]]) -> Counters {
        let shard = |(index, counters): (usize, &&[(&str, u64)])| ShardStats {
            shard: ShardId::new(u16::try_from(index).unwrap()),
            counters: counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        };
        Counters::of(&StatsReply { shards: shards.iter().enumerate().map(shard).collect() })
    }

    #[test]
    fn counters_are_summed_over_shards_and_taken_as_differences() {
        let before = stats(&[&[("commits", 1)], &[("commits", 2)]]);
        let after = stats(&[&[("commits", 10)], &[("commits", 20)]]);
        assert_eq!(after.since(&before).get("commits"), Some(27));
        assert_eq!(before.since(&after).get("commits"), Some(0));
    }

    #[test]
    fn gauges_are_what_is_there_and_maxima_the_largest() {
        let before = stats(&[&[("connections_now", 5), ("flush_us_max", 100)]]);
        let after = stats(&[
            &[("connections_now", 2), ("flush_us_max", 700)],
            &[("connections_now", 1), ("flush_us_max", 900)],
        ]);
        let grown = after.since(&before);
        assert_eq!((grown.get("connections_now"), grown.get("flush_us_max")), (Some(3), Some(900)));
    }

    #[test]
    fn a_counter_that_is_not_there_is_not_made_up() {
        let grown = stats(&[&[("stalls", 1)]]).since(&stats(&[&[]]));
        assert_eq!((grown.get("stalls"), grown.get("rounds")), (Some(1), None));
        assert_eq!(grown.iter().collect::<Vec<_>>(), [("stalls", 1)]);
    }
}
