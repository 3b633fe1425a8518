//! What a task measured: records, bytes, and a histogram of latencies.
//!
//!     task 0 ─▶ Meter ─┐
//!     task 1 ─▶ Meter ─┼─ take() once a second ─▶ Sample of the interval ─▶ Sample of the run
//!     task 2 ─▶ Meter ─┘
//!
//! A latency is recorded once; an interval's histogram is swapped out whole and merged into the run's.
//! So every percentile that is printed is of one merged histogram, and no percentile is an average.
//! A meter is locked once per wake of its task, not per record.

use std::sync::{Arc, Mutex, MutexGuard};

use hdrhistogram::Histogram;

/// A histogram of nanoseconds, 3 digits, beside which sum and maximum are exact.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    sum_ns: u128,
    max_ns: u64,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub p99999: u64,
    pub max: u64,
    pub mean: u64,
}

/// One point of the curve of latency by percentile.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    pub value_ns: u64,
    pub quantile: f64,
    /// How many were no slower.
    pub count: u64,
}

impl Latency {
    pub fn new() -> Latency {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS)
            .expect("BUG: the bounds of the histogram are constants in order");
        Latency { histogram, sum_ns: 0, max_ns: 0 }
    }

    /// `count` records took `ns` each.
    pub fn record(&mut self, ns: u64, count: u64) {
        self.histogram.saturating_record_n(ns, count);
        self.sum_ns += u128::from(ns) * u128::from(count);
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn merge(&mut self, other: &Latency) {
        self.histogram.add(&other.histogram).expect("BUG: histograms of the same bounds");
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    fn clear(&mut self) {
        self.histogram.reset();
        (self.sum_ns, self.max_ns) = (0, 0);
    }

    /// A histogram's value is the upper end of a bucket; none is above the true maximum.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile).min(self.max_ns)
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub fn stdev_ns(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.histogram.stdev() }
    }

    /// The curve from the smallest value to the true maximum, ever finer towards the end: five steps
    /// for each halving of what is left above.
    pub fn steps(&self) -> Vec<Step> {
        let mut count = 0;
        let steps = self.histogram.iter_quantiles(STEPS_PER_HALVING).map(|step| {
            count += step.count_since_last_iteration();
            let value_ns = step.value_iterated_to().min(self.max_ns);
            Step { value_ns, quantile: step.quantile_iterated_to(), count }
        });
        let mut steps: Vec<Step> = steps.collect();
        if let Some(last) = steps.last_mut() {
            // What was above the histogram's bounds is in its last bucket.
            last.value_ns = self.max_ns;
        }
        steps
    }

    /// `None` if nothing was recorded.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let count = self.histogram.len();
        if count == 0 {
            return None;
        }
        let mean = u64::try_from(self.sum_ns / u128::from(count)).expect("BUG: a mean above the maximum");
        Some(Percentiles {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            p9999: self.quantile(0.9999),
            p99999: self.quantile(0.99999),
            max: self.max_ns,
            mean,
        })
    }
}

/// What happened in some stretch of time.
#[derive(Clone, Debug)]
pub struct Sample {
    pub records: u64,
    pub bytes: u64,
    pub latency: Latency,
}

impl Sample {
    pub fn new() -> Sample {
        Sample { records: 0, bytes: 0, latency: Latency::new() }
    }

    /// `count` records of `bytes` together took `ns` each.
    pub fn record(&mut self, ns: u64, count: u64, bytes: u64) {
        self.count(count, bytes);
        self.latency.record(ns, count);
    }

    /// Records whose latency is not known.
    pub fn count(&mut self, count: u64, bytes: u64) {
        self.records += count;
        self.bytes += bytes;
    }

    pub fn merge(&mut self, other: &Sample) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.latency.merge(&other.latency);
    }

    pub fn clear(&mut self) {
        (self.records, self.bytes) = (0, 0);
        self.latency.clear();
    }
}

/// One task's sample of the current interval.
#[derive(Debug)]
pub struct Meter(Mutex<Sample>);

impl Meter {
    pub fn new() -> Meter {
        Meter(Mutex::new(Sample::new()))
    }

    pub fn lock(&self) -> MutexGuard<'_, Sample> {
        self.0.lock().expect("BUG: a task panicked while it measured")
    }
}

/// The meters of one kind of task, in groups, and what they have measured together.
#[derive(Debug)]
pub struct Meters {
    groups: Vec<Group>,
    spare: Sample,
}

/// Meters whose total is told from that of others: the producers of one topic.
#[derive(Debug)]
struct Group {
    meters: Vec<Arc<Meter>>,
    total: Sample,
    /// Since the last cut.
    part: Sample,
}

impl Meters {
    pub fn new(count: usize) -> Meters {
        Meters::grouped(&[count])
    }

    /// As many groups as `counts` has, each with so many meters.
    pub fn grouped(counts: &[usize]) -> Meters {
        let group = |&count: &usize| Group {
            meters: (0..count).map(|_| Arc::new(Meter::new())).collect(),
            total: Sample::new(),
            part: Sample::new(),
        };
        Meters { groups: counts.iter().map(group).collect(), spare: Sample::new() }
    }

    /// One for each task, of all groups.
    pub fn handles(&self) -> Vec<Arc<Meter>> {
        self.groups.iter().flat_map(|group| group.meters.iter().cloned()).collect()
    }

    /// One for each task of one group.
    pub fn handles_of(&self, group: usize) -> Vec<Arc<Meter>> {
        self.groups[group].meters.clone()
    }

    /// What was measured since the last call, merged; it becomes part of the totals.
    pub fn take_interval(&mut self) -> Sample {
        let mut interval = Sample::new();
        for group in &mut self.groups {
            for meter in &group.meters {
                // The meter is locked for the swap only, not for the merge.
                self.spare.clear();
                std::mem::swap(&mut *meter.lock(), &mut self.spare);
                interval.merge(&self.spare);
                group.total.merge(&self.spare);
                group.part.merge(&self.spare);
            }
        }
        interval
    }

    /// Forgets everything so far: the warm-up is over.
    pub fn reset(&mut self) {
        self.take_interval();
        for group in &mut self.groups {
            group.total.clear();
            group.part.clear();
        }
    }

    /// What was measured since the last cut, or `reset`; it stays in the totals. Takes no part in the
    /// intervals, so `take_interval` comes first.
    pub fn cut(&mut self) -> Sample {
        let mut part = Sample::new();
        for group in &mut self.groups {
            part.merge(&group.part);
            group.part.clear();
        }
        part
    }

    /// Everything since `reset`, the last interval included.
    pub fn into_total(self) -> Sample {
        let mut total = Sample::new();
        self.into_totals().iter().for_each(|group| total.merge(group));
        total
    }

    /// The same by group.
    pub fn into_totals(mut self) -> Vec<Sample> {
        self.take_interval();
        self.groups.into_iter().map(|group| group.total).collect()
    }
}

/// Latencies below are one bucket: nothing here takes less.
const LOWEST_NS: u64 = 128;
/// Ten minutes; what takes longer counts as this, and its true value as the maximum.
const HIGHEST_NS: u64 = 600_000_000_000;
const DIGITS: u8 = 3;
const STEPS_PER_HALVING: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth_and_the_maximum_is_exact() {
        let mut latency = Latency::new();
        (1..=10_000).for_each(|us| latency.record(us * 1000, 1));
        latency.record(123_456_789, 1);
        let found = latency.percentiles().unwrap();
        let near = |found: u64, exact: u64| found.abs_diff(exact) <= exact / 1000 + LOWEST_NS;
        assert!(near(found.p50, 5_001_000), "{found:?}");
        assert!(near(found.p99, 9_901_000), "{found:?}");
        assert!(near(found.p9999, 10_000_000), "{found:?}");
        assert_eq!((found.max, found.mean), (123_456_789, (50_005_000_000 + 123_456_789) / 10_001));
    }

    #[test]
    fn no_percentile_is_above_the_maximum() {
        let mut latency = Latency::new();
        latency.record(1_000_001, 5);
        let found = latency.percentiles().unwrap();
        assert_eq!(
            (found.p50, found.p9999, found.max, found.mean),
            (1_000_001, 1_000_001, 1_000_001, 1_000_001)
        );
        assert_eq!(Latency::new().percentiles(), None);
    }

    #[test]
    fn a_merged_percentile_is_not_the_mean_of_two() {
        let mut meters = Meters::new(2);
        let handles = meters.handles();
        handles[0].lock().record(1_000_000, 99, 99);
        handles[1].lock().record(100_000_000, 1, 1);
        let interval = meters.take_interval();
        assert!(interval.latency.quantile(0.5) < 1_010_000);
        assert_eq!((interval.records, interval.bytes), (100, 100));
    }

    #[test]
    fn intervals_add_up_to_the_total_and_the_warm_up_is_forgotten() {
        let mut meters = Meters::new(1);
        let task = Arc::clone(&meters.handles()[0]);
        task.lock().record(5000, 7, 70);
        meters.reset();
        task.lock().record(1000, 1, 10);
        assert_eq!(meters.take_interval().records, 1);
        task.lock().record(3000, 2, 20);
        assert_eq!(meters.take_interval().records, 2);
        assert_eq!(meters.take_interval().records, 0);
        let total = meters.into_total();
        assert_eq!((total.records, total.bytes), (3, 30));
        assert_eq!(total.latency.percentiles().unwrap().max, 3000);
    }

    #[test]
    fn groups_have_totals_of_their_own_and_cuts_are_parts_of_them() {
        let mut meters = Meters::grouped(&[1, 2]);
        assert_eq!((meters.handles().len(), meters.handles_of(1).len()), (3, 2));
        meters.handles_of(0)[0].lock().record(1000, 1, 10);
        meters.handles_of(1)[1].lock().record(2000, 2, 20);
        assert_eq!(meters.take_interval().records, 3);
        assert_eq!(meters.cut().records, 3);
        meters.handles_of(1)[0].lock().record(9000, 4, 40);
        meters.take_interval();
        assert_eq!(meters.cut().latency.percentiles().unwrap().max, 9000);
        assert_eq!(meters.cut().records, 0);
        let totals: Vec<u64> = meters.into_totals().iter().map(|total| total.records).collect();
        assert_eq!(totals, [1, 6]);
    }

    #[test]
    fn the_curve_ends_at_the_true_maximum_with_everything_counted() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|us| latency.record(us * 1000, 1));
        latency.record(HIGHEST_NS * 2, 1);
        let steps = latency.steps();
        let last = steps.last().unwrap();
        assert_eq!((last.value_ns, last.count, last.quantile), (HIGHEST_NS * 2, 1001, 1.0));
        assert!(steps.is_sorted_by(|a, b| a.quantile <= b.quantile && a.value_ns <= b.value_ns));
        assert_eq!(Latency::new().steps(), []);
    }

    #[test]
    fn rare_outliers_are_seen_by_five_nines_and_not_by_four() {
        let mut latency = Latency::new();
        latency.record(1_000_000, 999_950);
        latency.record(50_000_000, 50);
        let found = latency.percentiles().unwrap();
        assert!(found.p9999 < 1_010_000 && found.p99999 > 49_000_000, "{found:?}");
    }
}
