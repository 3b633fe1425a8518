//! Workloads: who sends and who reads, what is measured of it, and what becomes a result.
//!
//!     produce   producers ─▶ topic                                then, if verified, one read of it all
//!     consume   fill the topic, then topic ─▶ consumers
//!     pubsub    producers ─▶ topic ─▶ consumers
//!     drain     fill the topic, then producers at a rate, alone, then beside consumers from the start
//!     mixed     several pubsubs at once, each with a topic and records of its own
//!     fanout    producers ─▶ topic ─▶ groups of consumers, each of which gets everything
//!     rebalance a group that reads a topic, then one member more, then one less: who was silent how long
//!     groups    groups that read nothing: what it costs the broker that they are there
//!
//!     Run ── topic, clients, control ──▶ producer and consumer tasks ──▶ meters
//!      └──── watch: warm-up ▸ begin ▸ a line a second ▸ stop ▸ drained ──▶ Results

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::clock::Moment;
use crate::flags::{Flags, Workload};
use crate::meter::{Latency, Sample};
use crate::proc;
use crate::units::thousands;
use crate::verify::Verdict;

mod control;

mod interrupts;
use interrupts::Interrupts;

mod topic;

mod keys;

mod lane;

mod pacer;

mod outlet;

mod kafka;

mod producer;

mod intake;

mod consumer;

mod fleet;

mod watch;
pub use watch::Interval;

mod counters;
pub use counters::Counters;

mod usage;
pub use usage::{Stretch, Usage};

pub mod progress;

mod run;
use run::Run;

mod produce;

mod consume;

mod pubsub;

mod churn;
use churn::Churn;

mod drain;
pub use drain::Drain;

mod mixed;
pub use mixed::StreamResults;

mod group;

mod fanout;
pub use fanout::GroupResults;

mod rebalance;
pub use rebalance::{Change, Rebalance};

/// Where broker and clients are.
#[derive(Clone, Debug)]
pub struct Place {
    pub bootstrap: String,
    /// Of the Kafka listener, if the load goes there.
    pub kafka: Option<String>,
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
    /// Records that were acknowledged, those of the warm-up too.
    pub acked: u64,
    /// How long the producer that waited longest had to wait for its buffer, in an open loop.
    pub blocked: Duration,
    /// What an open loop was to send in a second, all producers together.
    pub rate: Option<f64>,
    /// Of the workload `drain`.
    pub drain: Option<Drain>,
    /// Of a broker that was killed and started again.
    pub restart: Option<Restart>,
    /// Of the workload `mixed`.
    pub streams: Vec<StreamResults>,
    /// Of the workloads `fanout` and `groups`.
    pub groups: Option<GroupResults>,
    /// Of the workload `rebalance`.
    pub rebalance: Option<Rebalance>,
    /// Groups were rebalanced under load, and may have got records twice.
    pub may_repeat: bool,
    pub usage: Usage,
    pub failures: Failures,
}

impl Results {
    /// Nothing but what it cost and what went wrong: a workload fills in what it has.
    pub fn of(usage: Usage, failures: Failures) -> Results {
        Results {
            elapsed: Duration::ZERO,
            intervals: Vec::new(),
            produce: None,
            consume: None,
            end_to_end: None,
            lag: None,
            verdict: None,
            acked: 0,
            blocked: Duration::ZERO,
            rate: None,
            drain: None,
            restart: None,
            streams: Vec::new(),
            groups: None,
            rebalance: None,
            may_repeat: false,
            usage,
            failures,
        }
    }

    /// The broker was killed after the load and ready again after `ready`; `read` is one read of everything.
    ///
    /// What was acknowledged before has to be there.
    pub fn take_restart(&mut self, ready: Duration, read: Results) {
        let acked = self.acked;
        let records = read.consume.as_ref().map_or(0, |phase| phase.sample.records);
        let lost = acked.saturating_sub(records);
        if lost > 0 {
            let why = format!("{} of {} acknowledged records were lost", thousands(lost), thousands(acked));
            self.failures.messages.push(why);
        }
        self.failures.add(read.failures);
        self.restart = Some(Restart { ready, records, lost });
    }

    /// As long as the longer direction took.
    fn timed(mut self) -> Results {
        let phases = [&self.produce, &self.consume].into_iter().flatten();
        self.elapsed = phases.map(|phase| phase.elapsed).max().unwrap_or_default();
        self
    }
}

/// What became of a broker that was killed.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Restart {
    /// Until it could be asked again, in seconds.
    #[serde(rename = "ready_s", serialize_with = "seconds")]
    pub ready: Duration,
    /// In the topic then.
    pub records: u64,
    /// Acknowledged before, and not there.
    pub lost: u64,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
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
    fn add(&mut self, other: Failures) {
        self.unacked += other.unacked;
        self.messages.extend(other.messages);
    }

    pub fn is_empty(&self) -> bool {
        self.unacked == 0 && self.messages.is_empty()
    }
}

/// Runs a workload to its end, and takes its topic away if it made it.
pub async fn run(workload: Workload, flags: &Flags, place: &Place) -> Result<Results> {
    let interrupts = Interrupts::listen()?;
    let apart: Vec<Flags> = match workload {
        Workload::Mixed => flags.mix.iter().map(|stream| stream.applied_to(flags)).collect(),
        _ => vec![flags.clone()],
    };
    let mut runs = Vec::new();
    for flags in &apart {
        runs.push(Run::prepare(flags, place, &interrupts).await?);
    }
    let work = async {
        let first = runs.first().ok_or_else(|| anyhow!("BUG: a load without a topic"))?;
        match workload {
            Workload::Produce => produce::run(first).await,
            Workload::Consume => consume::run(first).await,
            Workload::Pubsub => pubsub::run(first).await,
            Workload::Drain => drain::run(first).await,
            Workload::Mixed => mixed::run(flags, &runs).await,
            Workload::Fanout => fanout::run(first).await,
            Workload::Rebalance => rebalance::run(first).await,
            Workload::Groups => fanout::run_idle(first).await,
        }
    };
    let first_topic = apart.first().map_or("", |flags| flags.topic.as_str());
    let churn = flags.churn.map(|clients| Churn::start(clients, &place.bootstrap, first_topic));
    let mut results = tokio::select! {
        results = work => results,
        () = interrupts.second() => Err(anyhow!("interrupted")),
        // The client would go on trying for minutes.
        () = ended(place.broker_pid) => return Err(anyhow!("the broker's process ended in the middle")),
    };
    if let (Ok(results), Some((served, failed))) = (&mut results, churn.as_ref().map(Churn::counts)) {
        println!("\nchurn     {} clients came and went", thousands(served));
        if failed > 0 {
            results.failures.messages.push(format!("{failed} clients that came were not answered"));
        }
    }
    drop(churn);
    for run in runs.iter().filter(|_| !flags.kill) {
        run.clean_up().await;
    }
    results
}

/// Waits until a process has ended; for ever if there is none to end.
async fn ended(pid: Option<u32>) {
    let Some(pid) = pid else { return std::future::pending().await };
    while !proc::has_ended(pid) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
