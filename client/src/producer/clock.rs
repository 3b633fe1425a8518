//! The producer's clocks.
//!
//!     a batch's first record     CLOCK_REALTIME and CLOCK_MONOTONIC     28 ns each
//!     every further one          CLOCK_REALTIME_COARSE                   5 ns, up to one kernel tick behind
//!
//! A tick is 1 to 10 ms (4 ms at 250 Hz), timestamps count milliseconds, and a batch is usually open
//! for 5 ms: reading the exact clock for every record of 100 B took 11 % of the client's time.

use std::time::{Instant, SystemTime};

use protocol::model::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::core::queue::Clock;

pub(super) struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> (Instant, Timestamp) {
        (Instant::now(), Timestamp::from_system_time(SystemTime::now()))
    }

    #[inline]
    fn coarse(&self) -> Timestamp {
        let time = clock_gettime(ClockId::RealtimeCoarse);
        Timestamp::from_millis(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_tells_the_same_time() {
        let (_, before) = WallClock.now();
        let coarse = WallClock.coarse();
        assert!((before.millis() - coarse.millis()).abs() <= 1000, "{before:?} {coarse:?}");
    }
}
