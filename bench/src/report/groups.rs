//! What the workloads with groups add to the report: who joined at which cost, and who was silent how long.
//!
//!     groups     10,000 of 1, joined in 4.2 s with 0.93 of a core …
//!     rebalance  seconds  moved  minimum     silent, ms: p50  p99  max
//!     join         0.412      9        9     unmoved    108  130  141
//!                                            moved      402  466  471

use serde::Serialize;

use super::json::Micros;
use super::text::{align, row};
use crate::meter::Latency;
use crate::units::{megabytes, thousands};
use crate::workload::{Change, GroupResults, Rebalance, Stretch};

/// The lines about groups.
pub fn told(found: &GroupResults) -> String {
    let count = thousands(found.groups as u64);
    let joined =
        format!("{count} of {}, joined in {}", thousands(found.members as u64), spent(&found.joining));
    let mut text = format!("groups    {joined}\n");
    if let Some(resting) = &found.resting {
        text.push_str(&format!("          at rest for {}\n", spent(resting)));
    }
    if let (Some(before), Some(bytes)) = (found.rss_before_bytes, found.rss_per_member_bytes()) {
        let before = megabytes(before);
        text.push_str(&format!(
            "          {before:.1} MB resident before; {} bytes more for each member\n",
            thousands(bytes)
        ));
    }
    if let Some(fan_out) = found.fan_out {
        let (most, behind) = (found.lags.iter().max(), found.lags.iter().filter(|lag| **lag > 0).count());
        let most = thousands(most.copied().unwrap_or(0));
        text.push_str(&format!(
            "          fan-out {fan_out:.2} | when the producers were done {behind} were behind, by {most} records at most | \
             partitions taken away {}\n",
            found.taken
        ));
    }
    text
}

fn spent(stretch: &Stretch) -> String {
    let mut text = format!("{:.2} s", stretch.took.as_secs_f64());
    if let Some(cores) = stretch.broker_cores() {
        text.push_str(&format!(" with {:.1} % of a core", 100.0 * cores));
    }
    if let Some(bytes) = stretch.broker_rss_bytes {
        text.push_str(&format!(", {:.1} MB resident then", megabytes(bytes)));
    }
    text
}

/// The table of changes.
pub fn changes(rebalance: &Rebalance) -> String {
    let mut rows = vec![row([
        "rebalance",
        "seconds",
        "moved",
        "minimum",
        "silent, ms",
        "partitions",
        "p50",
        "p99",
        "max",
    ])];
    rows.extend(silent(["at rest", "", "", "", "all"].map(str::to_owned), &rebalance.rest));
    for (name, change) in [("join", &rebalance.join), ("leave", &rebalance.leave)] {
        let Change { stable, moved, minimum, moved_pauses, unmoved_pauses } = change;
        let stable = format!("{:.3}", stable.as_secs_f64());
        let first = [name.to_owned(), stable, moved.to_string(), minimum.to_string(), "unmoved".to_owned()];
        rows.extend(silent(first, unmoved_pauses));
        rows.extend(silent([name, "", "", "", "moved"].map(str::to_owned), moved_pauses));
    }
    align(&rows)
}

fn silent(first: [String; 5], pauses: &Latency) -> Option<Vec<String>> {
    let found = pauses.percentiles()?;
    let ms = [found.p50, found.p99, found.max].map(|ns| format!("{:.1}", ns as f64 / 1e6));
    Some(first.into_iter().chain([pauses.count().to_string()]).chain(ms).collect())
}

/// `groups` of the JSON.
#[derive(Serialize)]
pub struct Grouped {
    groups: usize,
    members: usize,
    joined_s: f64,
    joining_cores: Option<f64>,
    resting_s: Option<f64>,
    resting_cores: Option<f64>,
    rss_before_bytes: Option<u64>,
    rss_joined_bytes: Option<u64>,
    rss_rested_bytes: Option<u64>,
    rss_per_member_bytes: Option<u64>,
    fan_out: Option<f64>,
    lag_max: Option<u64>,
    /// By group.
    lags: Vec<u64>,
    taken: u64,
}

impl Grouped {
    pub fn of(found: &GroupResults) -> Grouped {
        let (joining, resting) = (&found.joining, found.resting.as_ref());
        Grouped {
            groups: found.groups,
            members: found.members,
            joined_s: joining.took.as_secs_f64(),
            joining_cores: joining.broker_cores(),
            resting_s: resting.map(|resting| resting.took.as_secs_f64()),
            resting_cores: resting.and_then(Stretch::broker_cores),
            rss_before_bytes: found.rss_before_bytes,
            rss_joined_bytes: joining.broker_rss_bytes,
            rss_rested_bytes: resting.and_then(|resting| resting.broker_rss_bytes),
            rss_per_member_bytes: found.rss_per_member_bytes(),
            fan_out: found.fan_out,
            lag_max: found.lags.iter().max().copied(),
            lags: found.lags.clone(),
            taken: found.taken,
        }
    }
}

/// `rebalance` of the JSON.
#[derive(Serialize)]
pub struct Rebalanced {
    rest_us: Option<Micros>,
    join: Changed,
    leave: Changed,
}

#[derive(Serialize)]
struct Changed {
    stable_s: f64,
    moved: usize,
    minimum: usize,
    moved_us: Option<Micros>,
    unmoved_us: Option<Micros>,
}

impl Rebalanced {
    pub fn of(rebalance: &Rebalance) -> Rebalanced {
        let changed = |change: &Change| Changed {
            stable_s: change.stable.as_secs_f64(),
            moved: change.moved,
            minimum: change.minimum,
            moved_us: Micros::of(&change.moved_pauses),
            unmoved_us: Micros::of(&change.unmoved_pauses),
        };
        Rebalanced {
            rest_us: Micros::of(&rebalance.rest),
            join: changed(&rebalance.join),
            leave: changed(&rebalance.leave),
        }
    }
}
