//! Producers alone; if verified, everything is read back afterwards.

use std::pin::pin;

use anyhow::Result;
use ringlog_client::StartAt;

use super::consumer::Reading;
use super::control::{Control, Ends};
use super::fleet::{self, Receiving, SendPlan};
use super::intake::Timing;
use super::run::Run;
use super::{Phase, Results, progress};
use crate::meter::Meters;
use crate::report::interval::LineFormat;
use crate::units::thousands;

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let format =
        LineFormat { produces: true, consumes: false, end_to_end: false, paced: flags.rate.is_some() };
    let starts = run.topic.ends(&run.admin).await?;
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let plan = SendPlan {
        records: flags.records,
        stamping: run.stamping(false),
        unpaced: false,
        spread: false,
        first_number: 0,
        acks: acks.handles(),
        lags: lags.handles(),
    };
    let control = run.control();
    let tasks = fleet::start_producers(run, &control, plan).await?;
    let mut watch = run.watch(format);
    watch.produce = Some(acks);
    watch.lags = flags.rate.map(|_| lags);
    let (sending, begin) = run.measure(&mut watch, &control, flags.duration, pin!(tasks)).await?;
    let usage = run.usage_since(&begin).await?;
    let totals = watch.finish();
    let mut results = Results {
        intervals: totals.intervals,
        produce: totals.produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack)),
        lag: totals.lag,
        acked: sending.acked,
        blocked: sending.blocked,
        rate: flags.rate,
        ..Results::of(usage, sending.failures.clone())
    };
    if flags.verify {
        println!("\nreading {} records back", thousands(sending.sent));
        let receiving = read_back(run, &starts, sending.sent).await?;
        results.verdict = sending.verdict(&receiving);
        results.failures.add(receiving.failures);
    }
    Ok(results.timed())
}

/// Reads what the run has sent, from `starts` on.
async fn read_back(run: &Run<'_>, starts: &Ends, records: u64) -> Result<Receiving> {
    let control = Control::new();
    control.read_up_to(run.ends().await?);
    let reading = Reading {
        start: StartAt::Earliest,
        timing: Timing::Receive,
        repeat: false,
        producers: run.flags.producers,
    };
    let meters = Meters::new(run.flags.consumers);
    let made = fleet::make_consumers(run, &control, reading, meters.handles()).await?;
    let made = made.into_iter().map(|consumer| consumer.starting_at(starts)).collect::<Result<_>>()?;
    progress::shown("reading back", records, meters, fleet::start_consumers(made)).await
}
