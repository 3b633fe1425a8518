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
use storage::disk::sim::{Fault, Operation, SimRng};
use storage::log::Fence;
use storage::mutants::Mutant;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// How often something happened that the images are to be of.
#[derive(Default, Debug)]
struct Seen {
    images: u64,
    compactions: u64,
    compacted_records: u64,
    deleted_segments: u64,
    duplicates: u64,
    closed_files: u64,
    fsyncs: u64,
}

impl Seen {
    fn add(&mut self, workload: &Workload) {
        let counters = &workload.store.counters;
        self.compactions += counters.compactions.get();
        self.compacted_records += counters.compacted_records.get();
        self.deleted_segments += counters.deleted_segments.get();
        self.duplicates += counters.duplicate_batches.get();
        self.closed_files += counters.closed_files.get();
        self.fsyncs += counters.fsyncs.get();
    }

    fn check(&self) {
        let Seen {
            images: _,
            compactions,
            compacted_records,
            deleted_segments,
            duplicates,
            closed_files,
            fsyncs,
        } = *self;
        let least = [compactions, compacted_records, deleted_segments, duplicates, closed_files, fsyncs];
        assert!(least.iter().all(|count| 0 < *count), "something never happened: {self:?}");
    }
}

/// Runs one seed's workload and tries images at each of its boundaries.
fn try_seed(seed: u64, mutant: Option<Mutant>) -> Seen {
    let mut workload = Workload::new(seed, mutant);
    let mut rng = SimRng::new(seed ^ 0x1337);
    let mut seen = Seen::default();
    while workload.tick() {
        for _ in 0..1 + rng.below(3) {
            let image_seed = rng.draw();
            let disk = match rng.below(8) {
                0 => workload.disk.kill_image(image_seed),
                _ => workload.disk.crash_image(image_seed),
            };
            seen.images += 1;
            let before = Some((&workload.history, &*workload.told.borrow()));
            let mut second = Workload::on(disk, seed, mutant, before);
            // Now and then the recovered broker goes on, and the power goes again.
            if rng.below(8) == 0 {
                for _ in 0..rng.below(40) {
                    second.tick();
                }
                let disk = second.disk.crash_image(rng.draw());
                let before = Some((&second.history, &*second.told.borrow()));
                Workload::on(disk, seed, mutant, before);
                seen.images += 1;
                seen.add(&second);
            }
        }
    }
    let told = workload.told.borrow();
    let unasked: Vec<_> = told.fenced.iter().filter(|(_, fence)| **fence != Fence::Deleted).collect();
    assert!(unasked.is_empty(), "no fault was injected: {unasked:?}");
    seen.add(&workload);
    seen
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
        seen.images += one.images;
        seen.compactions += one.compactions;
        seen.compacted_records += one.compacted_records;
        seen.deleted_segments += one.deleted_segments;
        seen.duplicates += one.duplicates;
        seen.closed_files += one.closed_files;
        seen.fsyncs += one.fsyncs;
        seed += 1;
    }
    if 5000 < wanted {
        seen.check();
    }
    let images = seen.images;
    println!("{seen:?}");
    println!("{images} crash images from seeds {first}..{seed}: 0 acknowledged records lost");
}

/// The test above is worth something only if it fails where it should.
#[test]
fn broken_commits_are_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // failures are what we are after
    let mutants = [
        Mutant::AckBeforeSync,
        Mutant::SyncBeforeWritesComplete,
        Mutant::OneFlushForAll,
        Mutant::NoDirectorySync,
    ];
    let caught: Vec<(Mutant, Option<u64>)> = mutants
        .into_iter()
        .map(|mutant| {
            let seed = (1..1000).find(|seed| catch_unwind(|| try_seed(*seed, Some(mutant))).is_err());
            (mutant, seed)
        })
        .collect();
    std::panic::set_hook(hook);
    for (mutant, seed) in &caught {
        println!("{mutant:?}: caught by seed {seed:?}");
    }
    assert!(caught.iter().all(|(_, seed)| seed.is_some()), "not every mutant was caught: {caught:?}");
}

/// An orderly stop at any moment leaves everything that was accepted, on disk and not in a cache.
#[test]
fn an_orderly_stop_loses_nothing() {
    for seed in 1..200 {
        let mut workload = Workload::new(seed, None);
        for _ in 0..seed % 37 {
            workload.tick();
        }
        let (history, told) = (workload.history.clone(), workload.told.clone());
        let disk = workload.stop();
        Workload::on(disk, seed, None, Some((&history, &told.borrow())));
    }
}

/// After a disk error nothing of that log is acknowledged any more, and a restart on a working disk
/// finds all that was.
#[test]
fn the_nth_operation_fails() {
    for operation in [Operation::Write, Operation::Fdatasync, Operation::Create, Operation::SyncDir] {
        for seed in 1..9 {
            for sticky in [false, true] {
                for nth in 1..40 {
                    let error = if seed % 3 == 0 {
                        std::io::ErrorKind::StorageFull
                    } else {
                        std::io::ErrorKind::Other
                    };
                    let fault = Fault { operation, nth, sticky, error };
                    let result = catch_unwind(AssertUnwindSafe(|| try_fault(seed, fault)));
                    assert!(result.is_ok(), "seed {seed}, {fault:?}");
                }
            }
        }
    }
}

fn try_fault(seed: u64, fault: Fault) {
    // The start itself makes operations; the fault counts from behind them.
    let probe = Workload::new(seed, None);
    let nth = fault.nth + probe.disk.count(fault.operation);
    let mut workload = Workload::with_fault(seed, Fault { nth, ..fault });
    while workload.tick() {}
    let told = workload.told.borrow();
    assert_eq!(told.acks_after_fence, 0, "acknowledged after the disk failed");
    for image in [workload.disk.kill_image(seed), workload.disk.crash_image(seed)] {
        Workload::on(image, seed, None, Some((&workload.history, &told)));
    }
}
