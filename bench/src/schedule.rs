//! An open loop's schedule: when each record ought to be sent, whatever became of the ones before.
//!
//!     rate 4/s, 2 producers     0.00  0.25  0.50  0.75  1.00 s
//!     producer 0                 r₀          r₁          r₂          every 0.5 s from 0
//!     producer 1                       r₀          r₁                every 0.5 s from half a turn later
//!
//! Latency counts from these times, not from the send: a broker that stalls for 100 ms delays every
//! record that was due meanwhile, and each of them has to show it. Times are computed from the
//! record's number, never added up, so that no rounding error grows.

use crate::clock::Moment;

/// The schedule of one producer. Mutate with [`Schedule::advance`], ask with [`Schedule::next`].
#[derive(Clone, Debug)]
pub struct Schedule {
    start: Moment,
    /// Records a second of this producer.
    rate: f64,
    sent: u64,
}

impl Schedule {
    /// The share of producer `index` of `count` in `rate` records a second, from `start` on.
    pub fn share(rate: f64, index: usize, count: usize, start: Moment) -> Schedule {
        assert!(rate > 0.0 && index < count, "BUG: a schedule for producer {index} of {count} at {rate}/s");
        let turn_ns = 1e9 / rate;
        Schedule { start: start.plus_ns((turn_ns * index as f64) as u64), rate: rate / count as f64, sent: 0 }
    }

    /// When the next record ought to be sent.
    pub fn next(&self) -> Moment {
        self.start.plus_ns((self.sent as f64 * 1e9 / self.rate) as u64)
    }

    /// One more record was sent.
    pub fn advance(&mut self) {
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_ns(1_000_000_000);

    fn first_times_ns(schedule: &mut Schedule, count: usize) -> Vec<u64> {
        let mut time = || {
            let at = schedule.next().ns_since(START);
            schedule.advance();
            at
        };
        (0..count).map(|_| time()).collect()
    }

    #[test]
    fn records_are_evenly_spaced() {
        let mut schedule = Schedule::share(4.0, 0, 1, START);
        assert_eq!(first_times_ns(&mut schedule, 4), [0, 250_000_000, 500_000_000, 750_000_000]);
    }

    #[test]
    fn producers_take_turns_and_together_have_the_rate() {
        let mut all: Vec<u64> = (0..4)
            .flat_map(|index| first_times_ns(&mut Schedule::share(1000.0, index, 4, START), 5))
            .collect();
        all.sort_unstable();
        let expected: Vec<u64> = (0..20).map(|n| n * 1_000_000).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn no_rounding_error_grows_over_an_hour() {
        let mut schedule = Schedule::share(300_000.0, 0, 1, START);
        schedule.sent = 300_000 * 3600;
        assert_eq!(schedule.next().ns_since(START), 3_600_000_000_000);
    }

    #[test]
    fn a_stall_moves_no_later_record() {
        let mut schedule = Schedule::share(1000.0, 0, 1, START);
        // Nothing was sent for 10 ms: the records due meanwhile are still due when they were.
        for due_ms in 0..20 {
            assert_eq!(schedule.next(), START.plus_ns(due_ms * 1_000_000));
            schedule.advance();
        }
    }
}
