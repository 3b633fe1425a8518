//! Waits until a moment, to some tens of microseconds, without keeping the core from others.
//!
//!     now ──── sleep on a timerfd ────▶ │◀─ at most 50 us ─▶│ at
//!                                        yield ▸ yield ▸ …
//!
//! tokio's timer counts milliseconds: sending a millisecond's worth of records at once would measure
//! its own bursts. A timerfd wakes some tens of microseconds late; so the last stretch is spent in turns
//! with the other tasks of the runtime. Every 20 us on an idle core: late by 0.3 us at p50, 30 us at p99
//! (`cargo test --release -p ringlog-bench -- --ignored --nocapture lag_of`).

use std::io;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use crate::clock::Moment;
use crate::sys::{self, Timer};

pub struct Pacer {
    timer: AsyncFd<Timer>,
}

impl Pacer {
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> io::Result<Pacer> {
        Ok(Pacer { timer: sys::in_runtime(Timer::new()?)? })
    }

    /// Returns at `at` or, if the wait is long, earlier: see [`SLEEP_MAX`].
    pub async fn wait_until(&self, at: Moment) -> io::Result<()> {
        let now = Moment::now();
        if at.ns_since(now) > SPIN_NS {
            self.sleep_until(at.minus_ns(SPIN_NS).min(now.plus(SLEEP_MAX))).await?;
        }
        while Moment::now() < at && at.ns_since(Moment::now()) <= SPIN_NS {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn sleep_until(&self, at: Moment) -> io::Result<()> {
        self.timer.get_ref().set(at)?;
        let mut ready = self.timer.readable().await?;
        ready.get_inner().clear();
        ready.clear_ready();
        Ok(())
    }
}

/// The last stretch, which is not slept.
const SPIN_NS: u64 = 50_000;

/// No single wait is longer, so that whoever waits looks up now and then.
const SLEEP_MAX: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_is_neither_short_nor_a_millisecond_late() {
        let pacer = Pacer::new().unwrap();
        let mut late_ns = Vec::new();
        for us in [0, 20, 200, 1500] {
            let at = Moment::now().plus_ns(us * 1000);
            pacer.wait_until(at).await.unwrap();
            assert!(Moment::now() >= at);
            late_ns.push(Moment::now().ns_since(at));
        }
        // A busy machine may be late once, but not always.
        assert!(late_ns.iter().any(|ns| *ns < 1_000_000), "{late_ns:?}");
    }

    #[tokio::test]
    async fn a_long_wait_returns_early_to_look_up() {
        let pacer = Pacer::new().unwrap();
        let start = Moment::now();
        pacer.wait_until(start.plus(Duration::from_secs(3600))).await.unwrap();
        assert!(Moment::now().since(start) < Duration::from_secs(30));
    }

    /// Prints how late a paced producer would send.
    #[tokio::test]
    #[ignore = "a measurement, not a check"]
    async fn lag_of_a_wait() {
        let pacer = Pacer::new().unwrap();
        for us in [20, 100, 1000, 5000] {
            let mut late_ns = Vec::new();
            let mut at = Moment::now();
            for _ in 0..400_000 / us {
                at = at.plus_ns(us * 1000);
                pacer.wait_until(at).await.unwrap();
                late_ns.push(Moment::now().ns_since(at));
            }
            late_ns.sort_unstable();
            let of = |quantile: f64| late_ns[(late_ns.len() as f64 * quantile) as usize] as f64 / 1e3;
            println!("every {us} us: late p50 {:.1} p99 {:.1} p99.9 {:.1} us", of(0.5), of(0.99), of(0.999));
        }
    }
}
