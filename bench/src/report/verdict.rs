//! Who was the limit: the broker, the client, or whoever else was at work on this machine.
//!
//!                        its schedule kept?      its core full?        waited for its buffer?
//!     closed loop        -                       client                -
//!                                                shared and full: others
//!     open loop          yes: nobody             late: client          late: broker
//!                                                late and neither: the machine disturbed the client
//!
//! An open loop spins before it sends: that its core is busy says nothing while it keeps up, and all when
//! it does not, because who is late does not spin. Figures of a client that was the limit say how
//! fast the client is, and no gate should trust them.

use std::fmt;

use serde::Serialize;

use crate::meter::{Latency, Percentiles};
use crate::units::micros;
use crate::workload::Results;

/// Whose limit was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The schedule was kept: latencies are the broker's.
    Nobody,
    /// Not the client, as far as can be told from here.
    Broker,
    Client,
    /// Other processes, or the host.
    Others,
}

/// The limit and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Judgement {
    pub limit: Limit,
    pub why: String,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Judgement {
    pub fn of(results: &Results) -> Judgement {
        let usage = &results.usage;
        // Ticks of 10 ms may add up to a little more than the time there was.
        let percent = |share: f64| 100.0 * share.min(1.0);
        let (busy, own) = (percent(usage.client_busy), percent(usage.client_own));
        if usage.client_busy > BUSY_MAX && usage.client_own < OWN_MIN {
            let why =
                format!("others kept the client's cores busy ({busy:.0} %, {own:.0} % ours): of no worth");
            return Judgement { limit: Limit::Others, why };
        }
        if let Some(judgement) = of_open_loop(results) {
            return judgement;
        }
        let busiest = percent(usage.client_busiest.max(usage.client_busy));
        if busiest > 100.0 * BUSY_MAX {
            let why = format!("the client was the limit: its busiest core was {busiest:.0} % busy");
            return Judgement { limit: Limit::Client, why };
        }
        let all = percent(usage.machine_busy);
        if !usage.client_is_apart && all > 100.0 * BUSY_MAX {
            let why = format!(
                "the client had no cores of its own, and all were {all:.0} % busy: a broker here had to share them"
            );
            return Judgement { limit: Limit::Others, why };
        }
        let why = format!("the client was not the limit: its cores were {busy:.0} % busy ({own:.0} % ours)");
        Judgement { limit: Limit::Broker, why }
    }
}

/// `None` in a closed loop.
fn of_open_loop(results: &Results) -> Option<Judgement> {
    let (Some(rate), Some(phase)) = (results.rate, &results.produce) else { return None };
    let lag = results.lag.as_ref().and_then(Latency::percentiles)?;
    let reached = phase.records_per_second() / rate;
    Some(kept_schedule(lag, reached, results))
}

/// `reached` is the share of the rate.
fn kept_schedule(lag: Percentiles, reached: f64, results: &Results) -> Judgement {
    let (percent, late) = (100.0 * reached, micros(lag.p99));
    let figures = format!("{percent:.1} % of the rate, records sent late by {late} us at p99");
    let is_late = lag.p99 > LAG_NS_MAX;
    let waited = results.blocked.as_secs_f64() / results.elapsed.as_secs_f64().max(1e-6);
    let busiest = results.usage.client_busiest;
    // A producer that waits does not spin: a core that is full all the same works for what it waits for.
    let is_full = busiest > BUSY_MAX && (waited <= WAITED_MIN || busiest + waited > BUSY_AND_WAITED_MIN);
    let (limit, why) = match (is_late, waited > WAITED_MIN) {
        (true, _) if is_full => {
            (Limit::Client, format!("the client fell behind the schedule: {figures}, its core was full"))
        }
        (true, true) => {
            let why = format!("the broker fell behind the schedule: {figures}, latencies include it");
            (Limit::Broker, why)
        }
        (true, false) => {
            let why =
                format!("the client was woken late: {figures}, neither its core nor its buffer was full");
            (Limit::Others, why)
        }
        (false, _) if reached < RATE_SHARE_MIN => {
            (Limit::Broker, format!("the broker fell behind: {figures}"))
        }
        (false, _) => (Limit::Nobody, format!("kept the schedule: {figures}")),
    };
    Judgement { limit, why }
}

const BUSY_MAX: f64 = 0.9;
/// Softirqs are not counted as ours, so that a client alone on its core is below 1.
const OWN_MIN: f64 = 0.7;
const LAG_NS_MAX: u64 = 1_000_000;
const RATE_SHARE_MIN: f64 = 0.99;
/// Share of the time that producers waited for their buffer, above which that is why they are late. One in
/// a hundred records is what p99 sees.
const WAITED_MIN: f64 = 0.01;
/// Shares of time that exclude each other add up to 1 at most; ticks of 10 ms are not exact.
const BUSY_AND_WAITED_MIN: f64 = 1.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Sample;
    use crate::workload::{Failures, Phase, Usage};
    use std::time::Duration;

    fn sample(us: u64) -> Sample {
        let mut sample = Sample::new();
        sample.record(us * 1000, 1000, 1000);
        sample
    }

    fn results(busy: f64, own: f64) -> Results {
        let usage = Usage {
            client_busy: busy,
            client_own: own,
            client_busiest: own,
            client_is_apart: true,
            ..Usage::default()
        };
        Results {
            elapsed: Duration::from_secs(1),
            produce: Some(Phase { sample: sample(5), elapsed: Duration::from_secs(1) }),
            ..Results::of(usage, Failures::default())
        }
    }

    fn open(rate: f64, own: f64, lag_us: u64, blocked_ms: u64) -> (Limit, String) {
        let results = Results {
            rate: Some(rate),
            lag: Some(sample(lag_us).latency),
            blocked: Duration::from_millis(blocked_ms),
            ..results(0.99, own)
        };
        let judgement = Judgement::of(&results);
        (judgement.limit, judgement.why)
    }

    #[test]
    fn a_closed_loop_is_limited_by_whose_core_is_full() {
        let of = |busy, own| Judgement::of(&results(busy, own)).limit;
        assert_eq!(of(1.0, 0.95), Limit::Client);
        assert_eq!(of(0.6, 0.5), Limit::Broker);
        assert_eq!(of(1.0, 0.3), Limit::Others);
    }

    #[test]
    fn one_full_core_of_many_is_full() {
        let mut results = results(0.3, 0.3);
        results.usage.client_busiest = 0.97;
        assert_eq!(Judgement::of(&results).limit, Limit::Client);
    }

    #[test]
    fn a_client_beside_the_broker_on_full_cores_proves_nothing() {
        let mut results = results(0.46, 0.46);
        results.usage = Usage { client_is_apart: false, machine_busy: 0.97, ..results.usage };
        assert_eq!(Judgement::of(&results).limit, Limit::Others);
        results.usage.machine_busy = 0.6;
        assert_eq!(Judgement::of(&results).limit, Limit::Broker);
    }

    #[test]
    fn an_open_loop_that_keeps_up_may_spin() {
        let (limit, why) = open(1000.0, 0.95, 20, 0);
        assert_eq!(limit, Limit::Nobody);
        assert!(why.starts_with("kept the schedule: 100.0 %"), "{why}");
    }

    #[test]
    fn who_made_an_open_loop_late_is_told() {
        assert_eq!(open(1000.0, 0.95, 5000, 0).0, Limit::Client);
        assert_eq!(open(1000.0, 0.8, 5000, 500).0, Limit::Broker);
        // One stall of the broker, and spinning else.
        assert_eq!(open(1000.0, 0.94, 5000, 50).0, Limit::Broker);
        // Busy while the buffer was full: it is the client that does not empty it.
        assert_eq!(open(1000.0, 0.95, 5000, 500).0, Limit::Client);
        assert_eq!(open(1000.0, 0.8, 5000, 0).0, Limit::Others);
        assert_eq!(open(2000.0, 0.8, 20, 0).0, Limit::Broker);
    }
}
