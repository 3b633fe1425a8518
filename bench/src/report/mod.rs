//! What a run tells: a header before, a line a second, tables after, files for tools and people.
//!
//!     header ─▶ interval ▸ interval ▸ … ─▶ table ─▶ verdict ─▶ verify
//!                                           ├────▶ --json FILE ─▶ gates, compare, suite, sweep
//!                                           └────▶ --csv · --hgrm · --html FILE

use crate::meter::Latency;
use crate::workload::Results;

pub mod header;

pub mod interval;

pub mod table;

pub mod verdict;

pub mod json;

pub mod csv;

pub mod hgrm;

pub mod html;

pub mod groups;

pub mod text;

/// Every histogram of a run that has something in it, with its name; the main one first.
pub fn latencies(results: &Results) -> impl Iterator<Item = (String, &Latency)> {
    let mut all: Vec<(String, &Latency)> = Vec::new();
    if let Some(phase) = &results.produce {
        all.push(("acknowledged".to_owned(), &phase.sample.latency));
    }
    match (&results.end_to_end, &results.consume) {
        (Some(latency), _) => all.push(("end to end".to_owned(), latency)),
        (None, Some(phase)) => all.push(("one receive".to_owned(), &phase.sample.latency)),
        (None, None) => {}
    }
    if let Some(drain) = &results.drain {
        all.push(("before drain".to_owned(), &drain.before));
        all.push(("during drain".to_owned(), &drain.during));
    }
    for stream in &results.streams {
        all.push((stream.name.clone(), &stream.produce.sample.latency));
        all.push((format!("{} end to end", stream.name), &stream.end_to_end));
    }
    if let Some(rebalance) = &results.rebalance {
        all.extend(rebalance.pauses().map(|(name, pauses)| (format!("silent {name}"), pauses)));
    }
    all.extend(results.lag.as_ref().map(|lag| ("schedule lag".to_owned(), lag)));
    all.into_iter().filter(|(_, latency)| latency.count() > 0)
}
