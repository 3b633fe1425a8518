//! Counters of a shard: plain cells, read by whoever asks (Stats, later /metrics).
//!
//!     shard thread ─ count(&cell, n) ─▶ cells ─ Stats request ─▶ (name, value) list
//!
//! No atomics: a counter belongs to its shard's thread. Names are those of the Stats message and are
//! stable; `bench` prints them and tests assert on them.

use std::cell::Cell;
use std::time::Duration;

/// Adds to a counter.
pub fn count(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

#[derive(Default)]
pub struct ShardCounters {
    /// Connections accepted or taken over.
    pub connections: Cell<u64>,
    /// Connections open now.
    pub connections_now: Cell<u64>,
    /// Connections handed over to the shard they asked for.
    pub handed_over: Cell<u64>,
    /// Connections ended because their peers said nothing for too long.
    pub overdue_connections: Cell<u64>,
    pub requests: Cell<u64>,
    /// Of them, those of Kafka's clients.
    pub kafka_requests: Cell<u64>,
    /// Parts of produces and fetches that came in here and belong to another shard's partitions.
    pub forwarded_requests: Cell<u64>,
    /// Offset lookups that did.
    pub forwarded_lookups: Cell<u64>,
    pub produce_requests: Cell<u64>,
    pub produced_bytes: Cell<u64>,
    pub produced_records: Cell<u64>,
    /// Record sets that were refused.
    pub produce_errors: Cell<u64>,
    pub fetch_requests: Cell<u64>,
    pub fetched_bytes: Cell<u64>,
    /// Of what other shards' connections were sent of this one's partitions: not copied, and how much of that
    /// is still with them.
    pub lent_bytes: Cell<u64>,
    pub lent_bytes_now: Cell<u64>,
    /// Fetches of a partition that were served from memory, and from disk.
    pub cache_hits: Cell<u64>,
    pub cache_misses: Cell<u64>,
    /// Fetches that had to wait for records.
    pub fetch_waits: Cell<u64>,
    pub invalid_requests: Cell<u64>,
    /// Views of the cluster that were applied: one for all changes that the control thread has stored together.
    pub views: Cell<u64>,
    /// Produce requests, or this shard's parts of them, that commit rounds have answered.
    pub round_requests: Cell<u64>,
    /// Pulses that were felt more than [`STALL`] late, and the latest of all. A sample, ten times a second:
    /// of stalls of 20 ms it sees one in five, and of each only what came after the pulse. A core that others
    /// keep busy is a stall as well.
    pub stalls: Cell<u64>,
    pub stall_us_max: Cell<u64>,
}

/// A shard on which a task waits longer than this for its turn has stood still.
const STALL: Duration = Duration::from_millis(10);

impl ShardCounters {
    /// A pulse was felt so late.
    pub fn note_pulse(&self, late: Duration) {
        count(&self.stalls, u64::from(STALL < late));
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.stall_us_max.set(self.stall_us_max.get().max(micros));
    }

    pub fn list(&self) -> Vec<(String, u64)> {
        let counters = [
            ("connections", &self.connections),
            ("connections_now", &self.connections_now),
            ("handed_over", &self.handed_over),
            ("overdue_connections", &self.overdue_connections),
            ("requests", &self.requests),
            ("kafka_requests", &self.kafka_requests),
            ("forwarded_requests", &self.forwarded_requests),
            ("forwarded_lookups", &self.forwarded_lookups),
            ("produce_requests", &self.produce_requests),
            ("produced_bytes", &self.produced_bytes),
            ("produced_records", &self.produced_records),
            ("produce_errors", &self.produce_errors),
            ("fetch_requests", &self.fetch_requests),
            ("fetched_bytes", &self.fetched_bytes),
            ("lent_bytes", &self.lent_bytes),
            ("lent_bytes_now", &self.lent_bytes_now),
            ("cache_hits", &self.cache_hits),
            ("cache_misses", &self.cache_misses),
            ("fetch_waits", &self.fetch_waits),
            ("invalid_requests", &self.invalid_requests),
            ("views", &self.views),
            ("round_requests", &self.round_requests),
            ("stalls", &self.stalls),
            ("stall_us_max", &self.stall_us_max),
        ];
        counters.map(|(name, counter)| (name.to_owned(), counter.get())).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_a_pulse_felt_more_than_10_ms_late() {
        let counters = ShardCounters::default();
        for micros in [30, 10_000, 10_001, 74_000, 12_000] {
            counters.note_pulse(Duration::from_micros(micros));
        }
        assert_eq!((counters.stalls.get(), counters.stall_us_max.get()), (3, 74_000));
    }
}
