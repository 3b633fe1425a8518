//! How long to wait before the next try.
//!
//!     try   1     2     3     4   …         100 ms doubled up to 2 s, of which a random part
//!     wait  50‥100  100‥200  200‥400  …     between a half and the whole is waited
//!
//! The random part keeps clients that lost the same broker from coming back in step.

use std::time::Duration;

use crate::limits::BACKOFF_MAX;

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(first: Duration) -> Backoff {
        Backoff { first, failures: 0 }
    }

    /// The next pause. `random` is uniform in 0 … 1.
    pub fn next_pause(&mut self, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(BACKOFF_MAX.max(self.first)).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// After a success the next failure waits shortest again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(random: f64) -> Vec<u128> {
        let mut backoff = Backoff::new(Duration::from_millis(100));
        (0..7).map(|_| backoff.next_pause(random).as_millis()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_limit() {
        assert_eq!(pauses(1.0), [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pauses(0.0), [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn success_starts_over_and_a_long_first_pause_is_kept() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        assert_eq!(backoff.next_pause(1.0), Duration::from_secs(10));
        assert_eq!(backoff.next_pause(1.0), Duration::from_secs(10));
        let mut backoff = Backoff::new(Duration::from_millis(100));
        backoff.next_pause(1.0);
        backoff.reset();
        assert_eq!(backoff.next_pause(1.0), Duration::from_millis(100));
    }
}
