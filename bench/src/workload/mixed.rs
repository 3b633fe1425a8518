//! Several topics at once, each with its own records, producers and consumers: who disturbs whom.
//!
//!     small   100 B  ─▶ 4 partitions   ─▶ │
//!     large   64 KiB ─▶ 2 partitions   ─▶ │ one broker, one clock, one watch;
//!     packed  1 KiB, lz4 ─▶ 16         ─▶ │ latencies by topic and of all together

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use ringlog_client::StartAt;

use super::consumer::Reading;
use super::control::Control;
use super::fleet::{self, Receiving, SendPlan, Sending};
use super::intake::Timing;
use super::run::{Begin, Run};
use super::watch::Totals;
use super::{Failures, Phase, Results};
use crate::flags::Flags;
use crate::meter::{Latency, Meter, Meters};
use crate::report::interval::LineFormat;
use crate::verify::Verdict;

/// One topic of a mixed load.
#[derive(Debug)]
pub struct StreamResults {
    pub name: String,
    pub produce: Phase,
    pub end_to_end: Latency,
}

/// The meters of all streams, a group for each.
struct MixMeters {
    acks: Meters,
    lags: Meters,
    received: Meters,
}

/// `runs` are the streams of `flags.mix`, in their order.
pub async fn run(flags: &Flags, runs: &[Run<'_>]) -> Result<Results> {
    let first = runs.first().ok_or_else(|| anyhow!("a mix needs a topic"))?;
    let rate: Option<f64> = runs.iter().map(|run| run.flags.rate).sum();
    let format = LineFormat { produces: true, consumes: true, end_to_end: true, paced: rate.is_some() };
    let control = first.control();
    let controls: Vec<Arc<Control>> = runs.iter().map(|_| control.sibling()).collect();
    let meters = MixMeters::of(runs);
    let mut sending = Vec::new();
    let mut reading = Vec::new();
    for (group, (run, control)) in runs.iter().zip(&controls).enumerate() {
        let (handles, plan) = meters.of_stream(group, run);
        let how = Reading {
            start: StartAt::Latest,
            timing: Timing::EndToEnd,
            repeat: false,
            producers: run.flags.producers,
        };
        let made = fleet::make_consumers(run, control, how, handles).await?;
        reading.push(fleet::start_consumers(made));
        sending.push(fleet::start_producers(run, control, plan).await?);
    }
    let mut watch = first.watch(format);
    watch.produce = Some(meters.acks);
    watch.consume = Some(meters.received);
    watch.lags = rate.map(|_| meters.lags);
    let senders = pin!(in_turn(sending));
    let (sent, begin) = first.measure(&mut watch, &control, flags.duration, senders).await?;
    for (run, control) in runs.iter().zip(&controls) {
        control.read_up_to(run.ends().await?);
    }
    let got = watch.until(None, pin!(in_turn(reading))).await;
    let got = got.expect("BUG: without a deadline it ends with the tasks")?;
    let usage = first.usage_since(&begin).await?;
    let results = Results { rate, ..Results::of(usage, Failures::default()) };
    Ok(filled_in(results, runs, &begin, watch.finish(), &sent, &got).timed())
}

impl MixMeters {
    fn of(runs: &[Run<'_>]) -> MixMeters {
        let producers: Vec<usize> = runs.iter().map(|run| run.flags.producers).collect();
        let consumers: Vec<usize> = runs.iter().map(|run| run.flags.consumers).collect();
        MixMeters {
            acks: Meters::grouped(&producers),
            lags: Meters::grouped(&producers),
            received: Meters::grouped(&consumers),
        }
    }

    /// Where the consumers of a stream measure, and what its producers do.
    fn of_stream(&self, group: usize, run: &Run<'_>) -> (Vec<Arc<Meter>>, SendPlan) {
        let plan = SendPlan {
            records: run.flags.records,
            stamping: run.stamping(true),
            unpaced: false,
            spread: false,
            first_number: 0,
            acks: self.acks.handles_of(group),
            lags: self.lags.handles_of(group),
        };
        (self.received.handles_of(group), plan)
    }
}

/// Waits for all; the tasks behind these futures run side by side all the same.
async fn in_turn<T>(all: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let mut results = Vec::new();
    for one in all {
        results.push(one.await?);
    }
    Ok(results)
}

fn filled_in(
    mut results: Results,
    runs: &[Run<'_>],
    begin: &Begin,
    totals: Totals,
    sent: &[Sending],
    got: &[Receiving],
) -> Results {
    let Totals { intervals, produce, consume, lag, produce_groups, consume_groups } = totals;
    let last_ack = sent.iter().filter_map(|sending| sending.last_ack).max();
    let last_record = got.iter().filter_map(|receiving| receiving.last_record).max();
    results.intervals = intervals;
    results.lag = lag;
    results.end_to_end = consume.as_ref().map(|sample| sample.latency.clone());
    results.produce = produce.map(|sample| Phase::new(sample, begin.at, last_ack));
    results.consume = consume.map(|sample| Phase::new(sample, begin.at, last_record));
    for (sending, receiving) in sent.iter().zip(got) {
        results.blocked = results.blocked.max(sending.blocked);
        results.failures.add(sending.failures.clone());
        results.failures.add(receiving.failures.clone());
        results.verdict = summed(results.verdict, sending.verdict(receiving));
    }
    let groups = produce_groups.into_iter().zip(consume_groups);
    for ((run, sending), (produced, consumed)) in runs.iter().zip(sent).zip(groups) {
        results.streams.push(StreamResults {
            name: run.topic.name.clone(),
            produce: Phase::new(produced, begin.at, sending.last_ack),
            end_to_end: consumed.latency,
        });
    }
    results
}

fn summed(one: Option<Verdict>, other: Option<Verdict>) -> Option<Verdict> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.plus(other)),
        (one, other) => one.or(other),
    }
}
