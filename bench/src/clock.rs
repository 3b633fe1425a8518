//! The clock of the bench: one monotonic clock for schedules, timers and stamps in payloads.
//!
//!     intended ── sent ───────── acked        all Moments of one machine, so that they subtract
//!        └──────── latency ────────┘          28 ns a reading here: hot loops read it once for several records
//!
//! Stamps inside records are Moments too, so that end-to-end latency needs no second clock.

use std::time::Duration;

use crate::sys;

/// A point in time, in nanoseconds since the machine started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(u64);

impl Moment {
    pub fn now() -> Moment {
        Moment(sys::monotonic_ns())
    }

    pub const fn from_ns(ns: u64) -> Moment {
        Moment(ns)
    }

    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// 0 if `earlier` is later.
    pub const fn ns_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.ns_since(earlier))
    }

    pub const fn plus_ns(self, ns: u64) -> Moment {
        Moment(self.0.saturating_add(ns))
    }

    pub const fn minus_ns(self, ns: u64) -> Moment {
        Moment(self.0.saturating_sub(ns))
    }

    pub fn plus(self, duration: Duration) -> Moment {
        self.plus_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}
