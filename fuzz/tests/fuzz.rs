//! A short run of each target; `ci/fuzz SECONDS` is the long one.
//!
//!     RINGLOG_FUZZ_SECONDS=600    for each target; 2 by default
//!     RINGLOG_SEED=s              other inputs
//!     RINGLOG_FUZZ_REPLAY=batch:00ff…   one input, as a failure printed it

use std::time::Duration;

use fuzz::runner::{replay, run_for};
use fuzz::targets::ALL;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

fn run(name: &str) {
    let target = ALL.into_iter().find(|target| target.name == name).expect("a target of that name");
    if let Ok(input) = std::env::var("RINGLOG_FUZZ_REPLAY") {
        match input.split_once(':') {
            Some((of, hex)) if of == name => println!("{name}: {}", replay(target, hex)),
            _ => {}
        }
        return;
    }
    let time = Duration::from_secs(env("RINGLOG_FUZZ_SECONDS", 2));
    let seed = env("RINGLOG_SEED", 1);
    let summary = run_for(target, time, seed);
    println!("{name}: {} inputs, {} outcomes in {time:?} (seed {seed})", summary.inputs, summary.outcomes);
    assert!(1 < summary.outcomes, "every input ended alike: nothing was tested");
}

#[test]
fn frame() {
    run("frame");
}

#[test]
fn messages() {
    run("messages");
}

#[test]
fn kafka() {
    run("kafka");
}

#[test]
fn batch() {
    run("batch");
}

#[test]
fn decompress() {
    run("decompress");
}

#[test]
fn index() {
    run("index");
}

#[test]
fn checkpoint() {
    run("checkpoint");
}

#[test]
fn recovery() {
    run("recovery");
}
