//! How far a group has read, and how long its partitions were silent.
//!
//!     restart ──────── record ───────── record ── … ── now
//!        record before ──┤ a pause ┤├─── a pause ──┤├─ one that lasts ┤      the longest of each partition
//!
//! One row for each partition, whoever reads it: a pause goes on while the partition moves from one member to
//! another, and one that began before the restart counts with its whole length.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;
use crate::workload::control::Ends;

/// Of one topic, by partition.
#[derive(Debug)]
pub struct Arrivals(Vec<Arrival>);

#[derive(Debug, Default)]
struct Arrival {
    /// Offset behind the last record.
    next: AtomicU64,
    /// 0 before the first record.
    last_ns: AtomicU64,
    longest_pause_ns: AtomicU64,
}

impl Arrivals {
    pub fn new(partitions: u32) -> Arrivals {
        Arrivals((0..partitions).map(|_| Arrival::default()).collect())
    }

    /// Records up to `next` of a partition have arrived.
    pub fn handle(&self, partition: usize, next: u64, now: Moment) {
        let arrival = &self.0[partition];
        arrival.next.fetch_max(next, Ordering::Relaxed);
        let last = arrival.last_ns.swap(now.as_ns(), Ordering::Relaxed);
        if last > 0 {
            let pause = now.ns_since(Moment::from_ns(last));
            arrival.longest_pause_ns.fetch_max(pause, Ordering::Relaxed);
        }
    }

    /// Forgets the pauses that are over.
    pub fn restart(&self) {
        self.0.iter().for_each(|arrival| arrival.longest_pause_ns.store(0, Ordering::Relaxed));
    }

    /// The longest pause of each partition since `restart`, the one that lasts included; `None` where nothing
    /// has arrived ever.
    pub fn longest_pauses_ns(&self, now: Moment) -> Vec<Option<u64>> {
        let longest = |arrival: &Arrival| {
            let last = Some(arrival.last_ns.load(Ordering::Relaxed)).filter(|last| *last > 0)?;
            let lasting = now.ns_since(Moment::from_ns(last));
            Some(arrival.longest_pause_ns.load(Ordering::Relaxed).max(lasting))
        };
        self.0.iter().map(longest).collect()
    }

    /// Whether something has arrived of every partition since `moment`.
    pub fn is_all_since(&self, moment: Moment) -> bool {
        self.0.iter().all(|arrival| moment.as_ns() < arrival.last_ns.load(Ordering::Relaxed))
    }

    /// Records below `ends` that have not arrived, where reading began at `starts`.
    pub fn lag(&self, starts: &Ends, ends: &Ends) -> u64 {
        let behind = |((arrival, start), end): ((&Arrival, &u64), &u64)| {
            end.saturating_sub(arrival.next.load(Ordering::Relaxed).max(*start))
        };
        self.0.iter().zip(starts.iter()).zip(ends.iter()).map(behind).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Moment = Moment::from_ns;

    #[test]
    fn a_pause_that_began_before_counts_whole_and_one_that_lasts_counts_too() {
        let arrivals = Arrivals::new(3);
        arrivals.handle(0, 1, AT(10));
        arrivals.handle(0, 2, AT(1000));
        arrivals.handle(1, 1, AT(900));
        arrivals.restart();
        arrivals.handle(0, 3, AT(1100));
        assert_eq!(arrivals.longest_pauses_ns(AT(1150)), [Some(100), Some(250), None]);
        arrivals.handle(1, 2, AT(1200));
        assert_eq!(arrivals.longest_pauses_ns(AT(1200)), [Some(100), Some(300), None]);
    }

    #[test]
    fn lag_is_what_has_not_arrived_and_older_records_do_not_bring_it_back() {
        let arrivals = Arrivals::new(2);
        let (starts, ends): (Ends, Ends) = (vec![5, 0].into(), vec![9, 3].into());
        assert_eq!(arrivals.lag(&starts, &ends), 7);
        arrivals.handle(0, 8, AT(1));
        arrivals.handle(0, 6, AT(2));
        arrivals.handle(1, 3, AT(3));
        assert_eq!(arrivals.lag(&starts, &ends), 1);
    }

    #[test]
    fn every_partition_has_to_be_heard_of() {
        let arrivals = Arrivals::new(2);
        arrivals.handle(0, 1, AT(11));
        assert!(!arrivals.is_all_since(AT(10)));
        arrivals.handle(1, 1, AT(12));
        assert!(arrivals.is_all_since(AT(10)) && !arrivals.is_all_since(AT(11)));
    }
}
