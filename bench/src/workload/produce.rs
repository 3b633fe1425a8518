//! Producers alone; if verified, everything is read back afterwards.

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use ringlog_client::StartAt;

use super::consumer::{Reading, Timing};
use super::control::{Control, Ends};
use super::fleet::{self, Receiving, SendMeters};
use super::run::Run;
use super::{Phase, Results};
use crate::meter::Meters;
use crate::report::interval::LineFormat;
use crate::units::thousands;

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let format =
        LineFormat { produces: true, consumes: false, end_to_end: false, paced: flags.rate.is_some() };
    let starts = run.topic.ends(&run.admin).await?;
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let meters = SendMeters { acks: acks.handles(), lags: lags.handles() };
    let control = run.control();
    let tasks = fleet::start_producers(run, &control, flags.records, run.stamping(false), meters).await?;
    let mut watch = run.watch(format);
    watch.produce = Some(acks);
    watch.lags = flags.rate.map(|_| lags);
    let (sending, begin) = run.measure(&mut watch, &control, flags.duration, pin!(tasks)).await?;
    let usage = run.usage_since(&begin).await?;
    let totals = watch.finish();
    let mut failures = sending.failures.clone();
    let mut verdict = None;
    if flags.verify {
        println!("\nreading {} records back", thousands(sending.sent));
        let receiving = read_back(run, &starts).await?;
        verdict = sending.verdict(&receiving);
        failures.messages.extend(receiving.failures.messages);
    }
    let phase = totals.produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack));
    Ok(Results {
        elapsed: phase.as_ref().map_or(Duration::ZERO, |phase| phase.elapsed),
        intervals: totals.intervals,
        produce: phase,
        consume: None,
        end_to_end: None,
        lag: totals.lag,
        verdict,
        usage,
        failures,
    })
}

/// Reads what the run has sent, from `starts` on.
async fn read_back(run: &Run<'_>, starts: &Ends) -> Result<Receiving> {
    let control = Control::new();
    control.read_up_to(run.ends().await?);
    let reading = Reading { start: StartAt::Earliest, timing: Timing::Receive, repeat: false };
    let meters = Meters::new(run.flags.consumers).handles();
    let made = fleet::make_consumers(run, &control, reading, meters).await?;
    let made = made.into_iter().map(|consumer| consumer.starting_at(starts)).collect::<Result<_>>()?;
    fleet::start_consumers(made).await
}
