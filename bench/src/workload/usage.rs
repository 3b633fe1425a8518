//! What a run costs: processor time of broker and client, memory, the broker's counters.
//!
//!     begin ── Snapshot ───────── run ───────── Snapshot ── end        Usage = the difference

use std::time::Duration;

use anyhow::{Context, Result};
use ringlog_client::{Admin, StatsReply};

use super::Place;
use crate::clock::Moment;
use crate::proc;

/// Readings of everything that grows.
#[derive(Debug)]
pub struct Snapshot {
    at: Moment,
    broker_cpu_s: Option<f64>,
    client_cpu_s: f64,
    client_cores_busy_s: Option<f64>,
    machine_busy_s: f64,
}

/// What grew between two snapshots.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub broker_cpu_s: Option<f64>,
    pub broker_rss_peak_bytes: Option<u64>,
    pub client_cpu_s: f64,
    /// Of everything else on this machine: other processes, and the kernel where it works for nobody
    /// in particular.
    pub others_cpu_s: f64,
    /// Share of the client's cores that was not idle; without cores of its own, the share of all
    /// cores that the client's process used.
    pub client_busy: f64,
    /// Share of the same cores that the client's process used.
    pub client_own: f64,
    pub counters: Counters,
}

/// The broker's counters over a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub commits: u64,
    pub fsyncs: u64,
    pub forwarded_requests: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
}

impl Snapshot {
    pub fn take(place: &Place) -> Result<Snapshot> {
        Ok(Snapshot {
            at: Moment::now(),
            broker_cpu_s: place.broker_pid.map(proc::cpu_seconds).transpose()?,
            client_cpu_s: proc::cpu_seconds(std::process::id())?,
            client_cores_busy_s: place.client_cores.as_deref().map(proc::busy_seconds).transpose()?,
            machine_busy_s: proc::busy_seconds(&proc::all_cores())?,
        })
    }
}

impl Usage {
    /// Everything but the counters.
    pub fn since(before: &Snapshot, place: &Place) -> Result<Usage> {
        let after = Snapshot::take(place)?;
        let elapsed = after.at.since(before.at).max(Duration::from_millis(1)).as_secs_f64();
        let client_cpu_s = after.client_cpu_s - before.client_cpu_s;
        let cores = match &place.client_cores {
            Some(cores) => cores.len(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let share = |seconds: f64| seconds / elapsed / cores as f64;
        let busy_s =
            before.client_cores_busy_s.zip(after.client_cores_busy_s).map(|(before, after)| after - before);
        let broker_cpu_s = before.broker_cpu_s.zip(after.broker_cpu_s).map(|(before, after)| after - before);
        let machine_s = after.machine_busy_s - before.machine_busy_s;
        Ok(Usage {
            broker_cpu_s,
            others_cpu_s: (machine_s - client_cpu_s - broker_cpu_s.unwrap_or(0.0)).max(0.0),
            broker_rss_peak_bytes: place.broker_pid.map(proc::rss_peak_bytes).transpose()?,
            client_cpu_s,
            client_busy: share(busy_s.unwrap_or(client_cpu_s)),
            client_own: share(client_cpu_s),
            counters: Counters::default(),
        })
    }
}

impl Counters {
    pub async fn ask(admin: &Admin) -> Result<Counters> {
        Ok(Counters::of(&admin.stats().await.context("cannot ask for the broker's counters")?))
    }

    fn of(stats: &StatsReply) -> Counters {
        Counters {
            commits: stats.total("commits"),
            fsyncs: stats.total("fsyncs"),
            forwarded_requests: stats.total("forwarded_requests"),
            cache_hits: stats.total("cache_hits"),
            cache_misses: stats.total("cache_misses"),
        }
    }

    /// 0 for a counter of a broker that was started anew meanwhile.
    pub fn since(self, before: Counters) -> Counters {
        Counters {
            commits: self.commits.saturating_sub(before.commits),
            fsyncs: self.fsyncs.saturating_sub(before.fsyncs),
            forwarded_requests: self.forwarded_requests.saturating_sub(before.forwarded_requests),
            cache_hits: self.cache_hits.saturating_sub(before.cache_hits),
            cache_misses: self.cache_misses.saturating_sub(before.cache_misses),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlog_client::{ShardId, ShardStats};

    #[test]
    fn counters_are_summed_over_shards_and_taken_as_differences() {
        let shard = |index, commits| ShardStats {
            shard: ShardId::new(index),
            counters: vec![("commits".to_owned(), commits), ("other".to_owned(), 9)],
        };
        let before = Counters::of(&StatsReply { shards: vec![shard(0, 1), shard(1, 2)] });
        let after = Counters::of(&StatsReply { shards: vec![shard(0, 10), shard(1, 20)] });
        assert_eq!(after.since(before), Counters { commits: 27, ..Counters::default() });
        assert_eq!(before.since(after), Counters::default());
    }
}
