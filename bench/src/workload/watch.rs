//! Watches a run: the warm-up, a line per interval, the totals.
//!
//!     spawn ── warm-up ── begin ──┬──┬──┬── deadline ── drained
//!                       (forget)  line line line           (rest)
//!
//! Records count by when they were acknowledged or received. What was under way at `begin` counts, what
//! is drained at the end counts with the time it takes: both cancel out, and no slow record is left out.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::Moment;
use crate::meter::{Latency, Meters, Sample};
use crate::report::interval::{Line, LineFormat};

/// What is measured of the tasks of a run.
pub struct Watch {
    pub produce: Option<Meters>,
    pub consume: Option<Meters>,
    pub lags: Option<Meters>,
    intervals: Vec<Interval>,
    format: LineFormat,
    every: Duration,
    begin: Moment,
    last: Moment,
}

/// One line of the report, as the JSON keeps it.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize)]
pub struct Interval {
    /// End of the interval, since the end of the warm-up.
    pub t_s: f64,
    /// How long it was.
    pub for_s: f64,
    pub records: u64,
    pub bytes: u64,
    /// Of acknowledgements, or end to end where nothing is produced.
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// What consumers got meanwhile, where producers are what `records` counts.
    pub read_records: u64,
    pub read_bytes: u64,
}

impl Watch {
    pub fn new(every: Duration, format: LineFormat) -> Watch {
        let now = Moment::now();
        Watch {
            produce: None,
            consume: None,
            lags: None,
            intervals: Vec::new(),
            format,
            every,
            begin: now,
            last: now,
        }
    }

    /// Forgets what was measured so far; time counts from now.
    pub fn begin(&mut self) -> Moment {
        for meters in [&mut self.produce, &mut self.consume, &mut self.lags].into_iter().flatten() {
            meters.reset();
        }
        self.begin = Moment::now();
        self.last = self.begin;
        self.begin
    }

    /// Reports until `done` or the deadline, whichever is first; `None` at the deadline.
    pub async fn until<T>(
        &mut self,
        deadline: Option<Instant>,
        mut done: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut ticks = tokio::time::interval_at(self.next_tick(), self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                result = &mut done => return Some(result),
                () = sleep_until(deadline) => return None,
                _ = ticks.tick() => self.end_interval(true),
            }
        }
    }

    /// Ticks stay on the seconds since `begin`, however often `until` is called.
    fn next_tick(&self) -> Instant {
        let into_interval = self.last.since(self.begin).as_secs_f64() % self.every.as_secs_f64();
        let passed = Moment::now().since(self.last).as_secs_f64() + into_interval;
        Instant::now() + Duration::from_secs_f64((self.every.as_secs_f64() - passed).max(0.0))
    }

    fn end_interval(&mut self, is_told: bool) {
        let now = Moment::now();
        let elapsed = now.since(self.last).max(Duration::from_micros(1));
        self.last = now;
        let produced = self.produce.as_mut().map(Meters::take_interval);
        let consumed = self.consume.as_mut().map(Meters::take_interval);
        let lag = self.lags.as_mut().map(Meters::take_interval);
        let Some(main) = produced.as_ref().or(consumed.as_ref()) else { return };
        let at = now.since(self.begin);
        let us = |quantile| main.latency.quantile(quantile) as f64 / 1e3;
        let read = produced.as_ref().and(consumed.as_ref());
        self.intervals.push(Interval {
            t_s: at.as_secs_f64(),
            for_s: elapsed.as_secs_f64(),
            records: main.records,
            bytes: main.bytes,
            p50_us: us(0.5),
            p99_us: us(0.99),
            max_us: us(1.0),
            read_records: read.map_or(0, |read| read.records),
            read_bytes: read.map_or(0, |read| read.bytes),
        });
        if is_told {
            println!("{}", self.format.line(&Line { at, elapsed, produced, consumed, lag }));
        }
    }

    /// Ends the part of the run since the last cut, or since `begin`: what its producers measured.
    pub fn cut(&mut self) -> Sample {
        self.end_interval(Moment::now().since(self.last) >= self.every / 10);
        self.produce.as_mut().map_or_else(Sample::new, Meters::cut)
    }

    /// The last interval, which is shorter and told only if that says something, and the totals.
    pub fn finish(mut self) -> Totals {
        let is_long = Moment::now().since(self.last) >= self.every / 10;
        self.end_interval(is_long || self.intervals.is_empty());
        let by_group = |meters: Option<Meters>| meters.map(Meters::into_totals);
        let (produce_groups, consume_groups) = (by_group(self.produce), by_group(self.consume));
        Totals {
            intervals: self.intervals,
            produce: produce_groups.as_deref().map(merged),
            consume: consume_groups.as_deref().map(merged),
            lag: self.lags.map(|lags| lags.into_total().latency),
            produce_groups: produce_groups.unwrap_or_default(),
            consume_groups: consume_groups.unwrap_or_default(),
        }
    }
}

/// What a watch leaves behind.
pub struct Totals {
    pub intervals: Vec<Interval>,
    pub produce: Option<Sample>,
    pub consume: Option<Sample>,
    pub lag: Option<Latency>,
    /// The same by group of meters.
    pub produce_groups: Vec<Sample>,
    pub consume_groups: Vec<Sample>,
}

fn merged(samples: &[Sample]) -> Sample {
    let mut all = Sample::new();
    samples.iter().for_each(|sample| all.merge(sample));
    all
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
