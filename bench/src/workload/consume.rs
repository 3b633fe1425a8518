//! Fills a topic, then reads it from the start: once, or over and over for a duration.
//!
//! A topic that exists and has records is read as it is.

use std::pin::pin;

use anyhow::{Result, bail};
use ringlog_client::StartAt;

use super::consumer::Reading;
use super::control::Control;
use super::fleet::{self, SendPlan, Sending};
use super::intake::Timing;
use super::run::Run;
use super::{Phase, Results, progress};
use crate::clock::Moment;
use crate::meter::Meters;
use crate::report::interval::LineFormat;
use crate::units::{megabytes, thousands};

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let format = LineFormat { produces: false, consumes: true, end_to_end: false, paced: false };
    let sending = fill(run).await?;
    let control = run.control();
    control.read_up_to(run.ends().await?);
    let reading = Reading {
        start: StartAt::Earliest,
        timing: Timing::Receive,
        repeat: flags.duration.is_some(),
        producers: flags.producers,
    };
    let meters = Meters::new(flags.consumers);
    let handles = meters.handles();
    let consumers = async {
        control.opened().await;
        let made = fleet::make_consumers(run, &control, reading, handles).await?;
        fleet::start_consumers(made).await
    };
    let mut watch = run.watch(format);
    watch.consume = Some(meters);
    let (receiving, begin) = run.measure(&mut watch, &control, flags.duration, pin!(consumers)).await?;
    let usage = run.usage_since(&begin).await?;
    let totals = watch.finish();
    let verdict = sending.verdict(&receiving);
    let mut failures = sending.failures;
    failures.add(receiving.failures);
    let results = Results {
        intervals: totals.intervals,
        consume: totals.consume.map(|sample| Phase::new(sample, begin.at, receiving.last_record)),
        verdict,
        ..Results::of(usage, failures)
    };
    Ok(results.timed())
}

/// Sends what will be read, as fast as it goes.
pub async fn fill(run: &Run<'_>) -> Result<Sending> {
    let flags = run.flags;
    let there = run.topic.record_count(&run.admin).await?;
    if there > 0 {
        if flags.verify {
            bail!(
                "topic {} has {there} records already, of which nobody knows what they should be",
                flags.topic
            );
        }
        println!("\nreading {} records that are in the topic already", thousands(there));
        return Ok(Sending::default());
    }
    let control = Control::new();
    control.begin();
    control.open();
    let start = Moment::now();
    let acks = Meters::new(flags.producers);
    let plan = SendPlan::filling(run, acks.handles());
    let filling = fleet::start_producers(run, &control, plan).await?;
    let sending = progress::shown("filling", flags.records.unwrap_or(0), acks, filling).await?;
    let seconds = Moment::now().since(start).as_secs_f64();
    let mb = megabytes(sending.acked * flags.record_size);
    println!("\nfilled with {} records, {mb:.0} MB in {seconds:.1} s", thousands(sending.acked));
    Ok(sending)
}
