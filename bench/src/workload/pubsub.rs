//! Producers and consumers at once: from the send, or the intended send, to a consumer's hands.
//!
//!     consumers wait at the end ── producers: warm-up ▸ measured ▸ drained ── consumers read up to there

use std::pin::pin;

use anyhow::Result;
use ringlog_client::StartAt;

use super::consumer::{Reading, Timing};
use super::fleet::{self, SendMeters};
use super::run::Run;
use super::{Phase, Results};
use crate::meter::Meters;
use crate::report::interval::LineFormat;

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let format = LineFormat { produces: true, consumes: true, end_to_end: true, paced: flags.rate.is_some() };
    let control = run.control();
    let received = Meters::new(flags.consumers);
    let reading = Reading { start: StartAt::Latest, timing: Timing::EndToEnd, repeat: false };
    let consumers = fleet::make_consumers(run, &control, reading, received.handles()).await?;
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let meters = SendMeters { acks: acks.handles(), lags: lags.handles() };
    let producers = fleet::start_producers(run, &control, flags.records, run.stamping(true), meters).await?;
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
    let mut failures = sending.failures.clone();
    failures.messages.extend(receiving.failures.messages.iter().cloned());
    let produce = totals.produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack));
    let end_to_end = totals.consume.as_ref().map(|sample| sample.latency.clone());
    let consume = totals.consume.map(|sample| Phase::new(sample, begin.at, receiving.last_record));
    let longest = [&produce, &consume].into_iter().flatten().map(|phase| phase.elapsed).max();
    Ok(Results {
        elapsed: longest.unwrap_or_default(),
        intervals: totals.intervals,
        produce,
        consume,
        end_to_end,
        lag: totals.lag,
        verdict: sending.verdict(&receiving),
        usage,
        failures,
    })
}
