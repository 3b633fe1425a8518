//! A history is read from its start while producers go on: what one reader costs the others.
//!
//!     fill ── producers alone ─────┬── consumers start ───── caught up ── stop, read to the end
//!             (`before`, a base)   └──── `during` ──────────────┘
//!
//! Caught up is who reads up to where the log ended, and does so within [`CAUGHT_UP`]: a reader that is
//! slower than the producers never is, and the run says so after [`DRAIN_MAX`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ringlog_client::StartAt;
use tokio::time::Instant;

use super::consumer::{Reading, partitions_of};
use super::control::{Control, Ends};
use super::fleet::{self, Receiving, SendPlan, Sending};
use super::intake::Timing;
use super::run::{Begin, Run};
use super::watch::Watch;
use super::{Phase, Results, consume, progress};
use crate::clock::Moment;
use crate::meter::{Latency, Meter, Meters};
use crate::report::interval::LineFormat;
use crate::units::thousands;

/// What the drain did, and what it did to the producers.
#[derive(Debug)]
pub struct Drain {
    /// When the consumers were.
    started: Moment,
    /// In the topic when the consumers started.
    pub history_records: u64,
    /// Until the consumers were at the tail; `None` if they never were.
    pub catch_up: Option<Duration>,
    /// What they read until then, or until they were given up.
    pub read_records: u64,
    pub read_bytes: u64,
    pub took: Duration,
    /// Of the producers.
    pub before: Latency,
    pub during: Latency,
}

impl Drain {
    pub fn mb_per_second(&self) -> f64 {
        self.read_bytes as f64 / 1e6 / self.took.max(Duration::from_micros(1)).as_secs_f64()
    }

    /// How many times longer `quantile` is during the drain than before it.
    pub fn ratio(&self, quantile: f64) -> Option<f64> {
        let (before, during) = (self.before.quantile(quantile), self.during.quantile(quantile));
        (before > 0 && during > 0).then(|| during as f64 / before as f64)
    }
}

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let format =
        LineFormat { produces: true, consumes: true, end_to_end: false, paced: flags.rate.is_some() };
    let starts = run.topic.starts(&run.admin).await?;
    let filled = consume::fill(run).await?;
    let control = run.control();
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let plan = SendPlan {
        records: None,
        stamping: run.stamping(false),
        unpaced: false,
        spread: false,
        first_number: flags.producers,
        acks: acks.handles(),
        lags: lags.handles(),
    };
    let mut producers = pin!(fleet::start_producers(run, &control, plan).await?);
    let received = Meters::new(flags.consumers);
    let handles = received.handles();
    let mut watch = run.watch(format);
    watch.produce = Some(acks);
    watch.consume = Some(received);
    watch.lags = flags.rate.map(|_| lags);
    control.open();
    progress::slept("warming up", flags.warmup()).await;
    let begin = run.begin(&mut watch, &control).await?;
    let alone = flags.duration.map(|alone| Instant::now() + alone);
    let early = watch.until(alone, producers.as_mut()).await;
    let before = watch.cut().latency;
    let (drain, consumers) = drain(run, &control, &mut watch, &starts, before, handles).await?;
    control.stop();
    let sending = match early {
        Some(ended) => ended?,
        None => {
            watch.until(None, producers).await.expect("BUG: without a deadline it ends with the tasks")?
        }
    };
    control.read_up_to(run.ends().await?);
    let receiving = watch.until(None, pin!(consumers)).await;
    let receiving = receiving.expect("BUG: without a deadline it ends with the tasks")?;
    finish(run, watch, &begin, filled.followed_by(sending), receiving, drain).await
}

/// Starts the consumers and waits until they have caught up. They go on: the future is theirs.
async fn drain(
    run: &Run<'_>,
    control: &Arc<Control>,
    watch: &mut Watch,
    starts: &Ends,
    before: Latency,
    meters: Vec<Arc<Meter>>,
) -> Result<(Drain, impl Future<Output = Result<Receiving>> + use<>)> {
    let reading = Reading {
        start: StartAt::Earliest,
        timing: Timing::Receive,
        repeat: false,
        producers: 2 * run.flags.producers,
    };
    let history_records = run.topic.record_count(&run.admin).await?;
    let consumers = fleet::make_consumers(run, control, reading, meters).await?;
    println!("consumers start, {} records behind", thousands(history_records));
    let started = Moment::now();
    let consumers = fleet::start_consumers(consumers);
    let limit = Some(Instant::now() + DRAIN_MAX);
    let caught_up = watch.until(limit, pin!(catch_up(run, control, starts))).await;
    let took = Moment::now().since(started);
    let read_records = control.received_so_far();
    let during = watch.cut().latency;
    let catch_up = caught_up.transpose()?.unwrap_or(false).then_some(took);
    match catch_up {
        Some(took) => println!("consumers have caught up after {:.2} s", took.as_secs_f64()),
        None => println!("consumers have not caught up"),
    }
    let read_bytes = read_records * run.flags.record_size;
    Ok((
        Drain { started, history_records, catch_up, read_records, read_bytes, took, before, during },
        consumers,
    ))
}

/// Waits until the consumers keep up with the tail; `false` if the run was stopped before.
async fn catch_up(run: &Run<'_>, control: &Control, starts: &Ends) -> Result<bool> {
    loop {
        let asked = Moment::now();
        let wanted = expected(run, starts, &run.topic.ends(&run.admin).await?);
        while control.received_so_far() < wanted {
            if control.is_stopped() {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if Moment::now().since(asked) < CAUGHT_UP {
            return Ok(true);
        }
    }
}

/// What all consumers together get on their way from `starts` to `ends`; several may read the same.
fn expected(run: &Run<'_>, starts: &Ends, ends: &Ends) -> u64 {
    let consumers = run.flags.consumers;
    let all = (0..consumers).flat_map(|index| partitions_of(index, consumers, run.topic.partitions));
    all.map(|partition| partition as usize).map(|at| ends[at].saturating_sub(starts[at])).sum()
}

async fn finish(
    run: &Run<'_>,
    watch: Watch,
    begin: &Begin,
    sending: Sending,
    receiving: Receiving,
    drain: Drain,
) -> Result<Results> {
    let usage = run.usage_since(begin).await?;
    let totals = watch.finish();
    let verdict = sending.verdict(&receiving);
    let mut failures = sending.failures;
    failures.add(receiving.failures);
    let results = Results {
        intervals: totals.intervals,
        produce: totals.produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack)),
        // Their time began when they did, not with the producers'.
        consume: totals.consume.map(|sample| Phase::new(sample, drain.started, receiving.last_record)),
        lag: totals.lag,
        verdict,
        blocked: sending.blocked,
        rate: run.flags.rate,
        drain: Some(drain),
        ..Results::of(usage, failures)
    };
    Ok(results.timed())
}

/// Who needs no longer than this to read what was there when it asked is at the tail.
const CAUGHT_UP: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A reader that is not at the tail by then never will be.
const DRAIN_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(before_us: u64, during_us: u64) -> Drain {
        let latency = |us: u64| {
            let mut latency = Latency::new();
            latency.record(us * 1000, if us > 0 { 10 } else { 0 });
            latency
        };
        Drain {
            started: Moment::from_ns(0),
            history_records: 10,
            catch_up: None,
            read_records: 10,
            read_bytes: 20_000_000,
            took: Duration::from_secs(2),
            before: latency(before_us),
            during: latency(during_us),
        }
    }

    #[test]
    fn the_ratio_is_during_over_before() {
        assert_eq!(drain(1000, 3000).ratio(0.99), Some(3.0));
        assert_eq!(drain(0, 3000).ratio(0.99), None);
        assert_eq!(drain(1000, 0).ratio(0.99), None);
        assert_eq!(drain(1, 1).mb_per_second(), 10.0);
    }
}
