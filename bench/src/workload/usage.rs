//! What a run costs: processor time of broker and client, and memory.
//!
//!     begin ── Snapshot ───────── run ───────── Snapshot ── end        Usage = the difference
//!
//! A client with many cores is full when one of them is: a task cannot be on two. So beside the share of
//! all its cores there is that of the busiest core and of its busiest thread.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;

use super::{Counters, Place};
use crate::clock::Moment;
use crate::proc;

/// Readings of everything that grows.
#[derive(Debug)]
pub struct Snapshot {
    at: Moment,
    broker_cpu_s: Option<f64>,
    client_cpu_s: f64,
    client_cores_busy_s: Option<Vec<f64>>,
    client_threads_s: HashMap<u32, f64>,
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
    /// Share of one core that was not idle, of the client's busiest, or that its busiest thread used.
    pub client_busiest: f64,
    /// Share of all cores of this machine that was not idle.
    pub machine_busy: f64,
    /// Whether the client had cores that no broker of ours ran on.
    pub client_is_apart: bool,
    pub counters: Counters,
}

impl Snapshot {
    pub fn take(place: &Place) -> Result<Snapshot> {
        Ok(Snapshot {
            at: Moment::now(),
            broker_cpu_s: place.broker_pid.map(proc::cpu_seconds).transpose()?,
            client_cpu_s: proc::cpu_seconds(std::process::id())?,
            client_cores_busy_s: place.client_cores.as_deref().map(busy_by_core).transpose()?,
            client_threads_s: proc::thread_seconds(),
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
        let busy: Option<Vec<f64>> =
            before.client_cores_busy_s.as_ref().zip(after.client_cores_busy_s).map(|(before, after)| {
                before.iter().zip(after).map(|(before, after)| after - before).collect()
            });
        let busy_s: Option<f64> = busy.as_ref().map(|cores| cores.iter().sum());
        let thread_s = after
            .client_threads_s
            .iter()
            .map(|(thread, after)| after - before.client_threads_s.get(thread).copied().unwrap_or(0.0));
        let busiest_s = busy.into_iter().flatten().chain(thread_s).fold(0.0, f64::max);
        let broker_cpu_s = before.broker_cpu_s.zip(after.broker_cpu_s).map(|(before, after)| after - before);
        let machine_s = after.machine_busy_s - before.machine_busy_s;
        Ok(Usage {
            broker_cpu_s,
            others_cpu_s: (machine_s - client_cpu_s - broker_cpu_s.unwrap_or(0.0)).max(0.0),
            broker_rss_peak_bytes: place.broker_pid.map(proc::rss_peak_bytes).transpose()?,
            client_cpu_s,
            client_busy: share(busy_s.unwrap_or(client_cpu_s)),
            client_own: share(client_cpu_s),
            client_busiest: busiest_s / elapsed,
            machine_busy: machine_s / elapsed / proc::all_cores().len() as f64,
            client_is_apart: place.client_cores.is_some(),
            counters: Counters::default(),
        })
    }
}

/// What the broker's process had used at some moment; nothing is known of one that is not ours.
#[derive(Clone, Copy, Debug)]
pub struct BrokerAt {
    at: Moment,
    cpu_s: Option<f64>,
    pub rss_bytes: Option<u64>,
}

/// A part of a run, and what the broker's process used in it.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub took: Duration,
    pub broker_cpu_s: Option<f64>,
    /// Resident at its end.
    pub broker_rss_bytes: Option<u64>,
}

impl BrokerAt {
    pub fn now(place: &Place) -> Result<BrokerAt> {
        let cpu_s = place.broker_pid.map(proc::cpu_seconds).transpose()?;
        let rss_bytes = place.broker_pid.map(proc::rss_bytes).transpose()?;
        Ok(BrokerAt { at: Moment::now(), cpu_s, rss_bytes })
    }

    pub fn until(self, end: BrokerAt) -> Stretch {
        Stretch {
            took: end.at.since(self.at),
            broker_cpu_s: self.cpu_s.zip(end.cpu_s).map(|(begin, end)| end - begin),
            broker_rss_bytes: end.rss_bytes,
        }
    }
}

impl Stretch {
    /// Cores that the broker kept busy.
    pub fn broker_cores(&self) -> Option<f64> {
        let seconds = self.took.max(Duration::from_millis(1)).as_secs_f64();
        self.broker_cpu_s.map(|cpu_s| cpu_s / seconds)
    }
}

fn busy_by_core(cores: &[usize]) -> Result<Vec<f64>> {
    cores.iter().map(|core| proc::busy_seconds(&[*core])).collect()
}
