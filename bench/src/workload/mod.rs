//! Workloads: who sends and who reads, what is measured of it, and what becomes a result.
//!
//!     produce   producers ─▶ topic                                then, if verified, one read of it all
//!     consume   fill the topic, then topic ─▶ consumers
//!     pubsub    producers ─▶ topic ─▶ consumers
//!
//!     Run ── topic, clients, control ──▶ producer and consumer tasks ──▶ meters
//!      └──── watch: warm-up ▸ begin ▸ a line a second ▸ stop ▸ drained ──▶ Results

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::clock::Moment;
use crate::flags::{Flags, Workload};
use crate::meter::{Latency, Sample};
use crate::proc;
use crate::verify::Verdict;

mod control;

mod interrupts;
use interrupts::Interrupts;

mod topic;

mod keys;

mod lane;

mod pacer;

mod producer;

mod consumer;

mod fleet;

mod watch;
pub use watch::Interval;

mod usage;
pub use usage::Usage;

mod run;
use run::Run;

mod produce;

mod consume;

mod pubsub;

/// Where broker and clients are.
#[derive(Clone, Debug)]
pub struct Place {
    pub bootstrap: String,
    /// Of an embedded broker.
    pub broker_pid: Option<u32>,
    /// Cores that no embedded broker uses; the client's, if they are set apart.
    pub client_cores: Option<Vec<usize>>,
}

/// What a run found out.
#[derive(Debug)]
pub struct Results {
    /// From the end of the warm-up to the last record.
    pub elapsed: Duration,
    pub intervals: Vec<Interval>,
    pub produce: Option<Phase>,
    pub consume: Option<Phase>,
    /// From the send, or the intended send, to a consumer's hands.
    pub end_to_end: Option<Latency>,
    /// How late records were sent, in an open loop.
    pub lag: Option<Latency>,
    pub verdict: Option<Verdict>,
    pub usage: Usage,
    pub failures: Failures,
}

/// One direction of a workload.
#[derive(Debug)]
pub struct Phase {
    pub sample: Sample,
    pub elapsed: Duration,
}

impl Phase {
    /// `last` is when the last record was acknowledged or received; nothing was if it is `None`.
    fn new(sample: Sample, begin: Moment, last: Option<Moment>) -> Phase {
        let elapsed = last.map_or(Duration::ZERO, |last| last.since(begin));
        // Whatever was measured took some time: a rate is never divided by nothing.
        Phase { sample, elapsed: elapsed.max(Duration::from_micros(1)) }
    }

    pub fn records_per_second(&self) -> f64 {
        self.sample.records as f64 / self.elapsed.as_secs_f64()
    }

    pub fn mb_per_second(&self) -> f64 {
        self.sample.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }
}

/// What went wrong without ending the run.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// Records that were not acknowledged.
    pub unacked: u64,
    /// The first error of a producer, and what ended a consumer early.
    pub messages: Vec<String>,
}

impl Failures {
    pub fn is_empty(&self) -> bool {
        self.unacked == 0 && self.messages.is_empty()
    }
}

/// Runs a workload to its end, and takes its topic away if it made it.
pub async fn run(workload: Workload, flags: &Flags, place: &Place) -> Result<Results> {
    let interrupts = Interrupts::listen()?;
    let run = Run::prepare(flags, place, &interrupts).await?;
    let work = async {
        match workload {
            Workload::Produce => produce::run(&run).await,
            Workload::Consume => consume::run(&run).await,
            Workload::Pubsub => pubsub::run(&run).await,
        }
    };
    let results = tokio::select! {
        results = work => results,
        () = interrupts.second() => Err(anyhow!("interrupted")),
        // The client would go on trying for minutes.
        () = ended(place.broker_pid) => return Err(anyhow!("the broker's process ended in the middle")),
    };
    run.clean_up().await;
    results
}

/// Waits until a process has ended; for ever if there is none to end.
async fn ended(pid: Option<u32>) {
    let Some(pid) = pid else { return std::future::pending().await };
    while !proc::has_ended(pid) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
