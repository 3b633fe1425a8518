//! Producers and consumers at once: from the send, or the intended send, to a consumer's hands.
//!
//!     consumers wait at the end ── producers: warm-up ▸ measured ▸ drained ── consumers read up to there

use std::pin::pin;

use anyhow::Result;
use ringlog_client::StartAt;

use super::consumer::Reading;
use super::fleet::{self, SendPlan};
use super::intake::Timing;
use super::run::Run;
use super::{Phase, Results};
use crate::meter::Meters;
use crate::report::interval::LineFormat;

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let format = LineFormat { produces: true, consumes: true, end_to_end: true, paced: flags.rate.is_some() };
    let control = run.control();
    let received = Meters::new(flags.consumers);
    let reading = Reading {
        start: StartAt::Latest,
        timing: Timing::EndToEnd,
        repeat: false,
        producers: flags.producers,
    };
    let consumers = fleet::make_consumers(run, &control, reading, received.handles()).await?;
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let plan = SendPlan {
        records: flags.records,
        stamping: run.stamping(true),
        unpaced: false,
        spread: false,
        first_number: 0,
        acks: acks.handles(),
        lags: lags.handles(),
    };
    let producers = fleet::start_producers(run, &control, plan).await?;
    let consumers = fleet::start_consumers(consumers);
    let mut watch = run.watch(format);
    watch.produce = Some(acks);
    watch.consume = Some(received);
    watch.lags = flags.rate.map(|_| lags);
    let (sending, begin) = run.measure(&mut watch, &control, flags.duration, pin!(producers)).await?;
    control.read_up_to(run.ends().await?);
    let receiving = watch.until(None, pin!(consumers)).await;
    let receiving = receiving.expect("BUG: without a deadline it ends with the tasks")?;
    let usage = run.usage_since(&begin).await?;
    let totals = watch.finish();
    let verdict = sending.verdict(&receiving);
    let mut failures = sending.failures;
    failures.add(receiving.failures);
    let results = Results {
        intervals: totals.intervals,
        produce: totals.produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack)),
        end_to_end: totals.consume.as_ref().map(|sample| sample.latency.clone()),
        consume: totals.consume.map(|sample| Phase::new(sample, begin.at, receiving.last_record)),
        lag: totals.lag,
        verdict,
        blocked: sending.blocked,
        rate: flags.rate,
        ..Results::of(usage, failures)
    };
    Ok(results.timed())
}
