//! Power cuts at every boundary of small workloads, with any subset of unsynced sectors surviving.
//!
//!     for each seed: workload ─ tick ─ tick ─ tick ─ …
//!                                 └ images ─▶ recover, check ─▶ more work ─▶ second power cut, check
//!
//! `RINGLOG_IMAGES=n` sets how many images are tried (50,000 by default), `RINGLOG_SEED=s` where to
//! begin; a failure prints the command that replays it alone.

mod sim_harness;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim_harness::Workload;
use sim_harness::images::{Seen, try_fault, try_seed};
use storage::disk::sim::{Fault, Operation};

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn acknowledged_records_survive_every_crash_image() {
    let (wanted, first) = (env("RINGLOG_IMAGES", 50_000), env("RINGLOG_SEED", 1));
    let (mut seen, mut seed) = (Seen::default(), first);
    while seen.images < wanted {
        let one = catch_unwind(|| try_seed(seed, None)).unwrap_or_else(|panic| {
            eprintln!(
                "replay: RINGLOG_SEED={seed} RINGLOG_IMAGES=1 cargo test --release --test crash_images"
            );
            std::panic::resume_unwind(panic)
        });
        seen.join(&one);
        seed += 1;
    }
    if 5000 < wanted {
        seen.check();
    }
    let images = seen.images;
    println!("{seen:?}");
    println!("{images} crash images from seeds {first}..{seed}: 0 acknowledged records lost");
}

/// An orderly stop at any moment leaves everything that was accepted, on disk and not in a cache.
#[test]
fn an_orderly_stop_loses_nothing() {
    for seed in 1..200 {
        let mut workload = Workload::new(seed, None);
        for _ in 0..seed % 37 {
            workload.tick();
        }
        let told = workload.told.clone();
        let (disk, history) = workload.stop();
        Workload::on(disk, seed, None, Some((&history, &told.borrow())));
    }
}

/// After a disk error nothing of that log is acknowledged any more, and a restart on a working disk
/// finds all that was.
#[test]
fn the_nth_operation_fails() {
    use Operation::{Create, Fdatasync, Remove, SyncDir, Truncate, Write};
    for operation in [Write, Fdatasync, Create, SyncDir, Truncate, Remove] {
        for seed in 1..9 {
            for sticky in [false, true] {
                for nth in 1..40 {
                    let error = if seed % 3 == 0 {
                        std::io::ErrorKind::StorageFull
                    } else {
                        std::io::ErrorKind::Other
                    };
                    let fault = Fault { operation, nth, sticky, error };
                    let result = catch_unwind(AssertUnwindSafe(|| try_fault(seed, fault, None)));
                    assert!(result.is_ok(), "seed {seed}, {fault:?}");
                }
            }
        }
    }
}
