//! Is a suite that passes worth something? Each known way to lose or garble data is switched on, and
//! the suite has to fail within 1,000 seeds.
//!
//!     ci/mutants ─▶ this test ─▶ `caught k/n`, and the table in docs/reliability.md
//!
//! `UPDATE_DOCS=1` writes the table; without it a stale one fails.

mod sim_harness;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim_harness::images::{try_fault, try_seed};
use sim_harness::wreck::{check_prefix, disk_with_records, log_files, recover_log};
use storage::directory::DataDirectory;
use storage::disk::sim::{Fault, Operation, SimRng};
use storage::mutants::{Mutant, Mutation};

const SEEDS: u64 = 1000;

/// A fault, what it would do to a broker, and the check that has to notice it.
type Case = (Mutant, &'static str, Check);

/// Panics for some seed if the fault is on.
type Check = fn(u64, Option<Mutant>);

const CASES: [Case; 14] = [
    (Mutant::AckBeforeSync, "acknowledges before the fdatasync", power_cuts),
    (Mutant::SyncBeforeWritesComplete, "issues the fdatasync beside the writes", power_cuts),
    (Mutant::RetrySync, "tries a failed fdatasync again", disk_errors),
    (Mutant::OneFlushForAll, "lets one flush stand for files with new extents", power_cuts),
    (Mutant::NoDirectorySync, "leaves a new segment's name unsynced", power_cuts),
    (Mutant::NoWholeSync, "leaves out the one sync of a round with many new files", power_cuts),
    (Mutant::RewriteTailDifferently, "writes a tail block again with another prefix", power_cuts),
    (Mutant::TruncateAtAnyBadBatch, "cuts the log at any bad batch", flipped_bits),
    (Mutant::ServeBeforeSync, "serves what recovery read without syncing it", power_cuts),
    (Mutant::NoProducerReload, "forgets producers at a restart", power_cuts),
    (Mutant::IndexPastDurable, "writes an index of what is not durable", power_cuts),
    (Mutant::DeleteBeforeCheckpoint, "deletes segments before the checkpoint says so", power_cuts),
    (Mutant::SwapBeforeSync, "swaps in a compacted file that is not synced", power_cuts),
    (Mutant::DeleteOrphans, "deletes directories that the catalog does not know", orphans),
];

fn power_cuts(seed: u64, mutant: Option<Mutant>) {
    try_seed(seed, mutant);
}

fn disk_errors(seed: u64, mutant: Option<Mutant>) {
    let error = std::io::ErrorKind::Other;
    for nth in 1..20 {
        try_fault(seed, Fault { operation: Operation::Fdatasync, nth, sticky: false, error }, mutant);
    }
}

/// A flipped bit in what was durable: told, or without effect.
fn flipped_bits(seed: u64, mutant: Option<Mutant>) {
    let mut rng = SimRng::new(seed);
    let (disk, id, sent) = disk_with_records(seed, false);
    let Some(path) = log_files(&disk).into_iter().find(|path| path.starts_with(&id.dir())) else { return };
    let len = disk.contents(&path).map_or(0, |bytes| bytes.len());
    if 0 < len {
        let (at, bit) = (rng.below(len), rng.below(8));
        disk.damage(&path, |bytes| bytes[at] ^= 1 << bit);
        let (_, told, served) = recover_log(&disk, id, mutant);
        check_prefix(&served, &sent, &format!("seed {seed}"));
        assert!(told || served.len() == sent.len(), "seed {seed}: lost without a word");
    }
}

/// Missing metadata is no permission to delete data (NATS 7556).
fn orphans(_: u64, mutant: Option<Mutant>) {
    let temp = tempfile::tempdir().expect("a directory");
    let directory = DataDirectory::open(&temp.path().join("data")).expect("a new data directory");
    let stray = directory.path().join("topics/3f2a0011-2233-4455-8677-8899aabbccdd");
    std::fs::create_dir(&stray).expect("it is new");
    let strays = directory.report_strays(&[], Mutation::new(mutant)).expect("readable");
    assert_eq!(strays.len(), 1, "it is reported");
    assert!(stray.exists(), "it is left alone");
}

fn first_caught(check: Check, mutant: Mutant) -> Option<u64> {
    (1..=SEEDS).find(|seed| catch_unwind(AssertUnwindSafe(|| check(*seed, Some(mutant)))).is_err())
}

#[test]
fn every_mutant_is_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // failures are what we are after
    let results: Vec<(Case, Option<u64>)> =
        CASES.into_iter().map(|case| (case, first_caught(case.2, case.0))).collect();
    std::panic::set_hook(hook);
    let mut table = String::from("| a broker that | is caught by | first seed |\n|---|---|---:|\n");
    for ((mutant, what, check), seed) in &results {
        let seed = seed.map_or("**not caught**".to_owned(), |seed| seed.to_string());
        println!("{mutant:?}: {seed}");
        table += &format!("| {what} (`{mutant:?}`) | {} | {seed} |\n", name_of(*check));
    }
    let caught = results.iter().filter(|(_, seed)| seed.is_some()).count();
    println!("caught {caught}/{}", results.len());
    assert_eq!(caught, results.len(), "not every mutant was caught");
    check_documented(&table);
}

fn name_of(check: Check) -> &'static str {
    let named: [(Check, &str); 4] = [
        (power_cuts, "power cuts"),
        (disk_errors, "failing fdatasyncs"),
        (flipped_bits, "flipped bits"),
        (orphans, "a stray directory"),
    ];
    let found = named.iter().find(|(known, _)| std::ptr::fn_addr_eq(*known, check));
    found.map_or("", |(_, name)| name)
}

/// Nothing is wrong with the code as it is.
#[test]
fn without_a_mutant_the_same_checks_pass() {
    for (_, _, check) in CASES {
        (1..8).for_each(|seed| check(seed, None));
    }
}

fn check_documented(table: &str) {
    const BEGIN: &str = "<!-- mutants: written by storage/tests/mutants.rs -->\n";
    const END: &str = "<!-- end of mutants -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");
    let document = std::fs::read_to_string(path).expect("docs/reliability.md is there");
    let (before, rest) = document.split_once(BEGIN).expect("the document has a place for the table");
    let (old, after) = rest.split_once(END).expect("and the place has an end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).expect("writable");
    } else {
        assert_eq!(old, table, "stale; run UPDATE_DOCS=1 ci/mutants");
    }
}
