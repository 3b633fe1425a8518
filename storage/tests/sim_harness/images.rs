//! One seed's workload, and what is left of it after a power cut, a kill or a disk error at any moment.
//!
//!     workload ─ tick ─ tick ─ tick ─ …
//!                 └ images ─▶ recover, check ─▶ more work ─▶ second power cut, check

use storage::disk::sim::{Fault, SimRng};
use storage::log::Fence;
use storage::mutants::Mutant;

use super::Workload;

/// How often something happened that the images are to be of.
#[derive(Default, Debug)]
pub struct Seen {
    pub images: u64,
    compactions: u64,
    compacted_records: u64,
    deleted_segments: u64,
    duplicates: u64,
    closed_files: u64,
    fsyncs: u64,
    whole_syncs: u64,
    ahead_hits: u64,
    reserved_bytes: u64,
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
        self.whole_syncs += counters.whole_syncs.get();
        self.ahead_hits += counters.ahead_hits.get();
        self.reserved_bytes += counters.reserved_bytes.get();
    }

    pub fn join(&mut self, other: &Seen) {
        self.images += other.images;
        self.compactions += other.compactions;
        self.compacted_records += other.compacted_records;
        self.deleted_segments += other.deleted_segments;
        self.duplicates += other.duplicates;
        self.closed_files += other.closed_files;
        self.fsyncs += other.fsyncs;
        self.whole_syncs += other.whole_syncs;
        self.ahead_hits += other.ahead_hits;
        self.reserved_bytes += other.reserved_bytes;
    }

    pub fn check(&self) {
        let Seen {
            images: _,
            compactions,
            compacted_records,
            deleted_segments,
            duplicates,
            closed_files,
            fsyncs,
            whole_syncs,
            ahead_hits,
            reserved_bytes,
        } = *self;
        let least = [
            compactions,
            compacted_records,
            deleted_segments,
            duplicates,
            closed_files,
            fsyncs,
            whole_syncs,
            ahead_hits,
            reserved_bytes,
        ];
        assert!(least.iter().all(|count| 0 < *count), "something never happened: {self:?}");
    }
}

/// Runs one seed's workload and tries images at each of its boundaries.
pub fn try_seed(seed: u64, mutant: Option<Mutant>) -> Seen {
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

/// Runs one seed's workload with one operation that fails: nothing of that log is acknowledged after it,
/// and a restart on a working disk finds all that was.
pub fn try_fault(seed: u64, fault: Fault, mutant: Option<Mutant>) {
    // The start itself makes operations; the fault counts from behind them.
    let probe = Workload::new(seed, None);
    let nth = fault.nth + probe.disk.count(fault.operation);
    let mut workload = Workload::with_fault_and(seed, Fault { nth, ..fault }, mutant);
    while workload.tick() {}
    let told = workload.told.borrow();
    assert_eq!(told.acks_after_fence, 0, "acknowledged after the disk failed");
    for image in [workload.disk.kill_image(seed), workload.disk.crash_image(seed)] {
        Workload::on(image, seed, None, Some((&workload.history, &told)));
    }
}
