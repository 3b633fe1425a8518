//! Damaged and missing files: corruption is told from a torn tail, nothing is cut off or deleted.
//!
//!     records ─ orderly stop or crash ─ damage ─▶ recover ─▶ intact below, a typed error above

mod sim_harness;

use sim_harness::{Workload, log_ids, read_until_error, run};
use std::rc::Rc;

use protocol::model::{LeaderEpoch, Offset};
use storage::checkpoint::Checkpoint;
use storage::disk::sim::{SimDisk, SimRng};
use storage::id::LogId;
use storage::log::{LogState, ReadError};
use storage::recovery::{RecoveryOptions, recover};
use storage::store::Store;

/// A disk with a finished workload, stopped in order or not, and what its first log holds.
fn disk_with_records(seed: u64, clean: bool) -> (SimDisk, LogId, Vec<sim_harness::Sent>) {
    let mut workload = Workload::new(seed, None);
    while workload.tick() {}
    let id = log_ids(1)[0];
    let sent = workload.history.logs.get(&id).map(|log| log.sent.clone()).unwrap_or_default();
    if clean {
        return (workload.stop(), id, sent);
    }
    let store = workload.store.clone();
    run(&workload.disk, async move { store.write_checkpoint().await.expect("the disk works") });
    (workload.disk.crash_image(seed), id, sent)
}

/// Recovers the log. Its state; whether a reader was told of damage, at once or when it got there; and
/// all that it was served.
fn recover_log(disk: &SimDisk, id: LogId) -> (LogState, bool, Vec<sim_harness::Sent>) {
    let inner = disk.clone();
    run(disk, async move {
        let checkpoint = Checkpoint::read_all(&inner).await.expect("the disk works");
        let now = protocol::model::Timestamp::from_millis(2_000_000);
        let mut options = RecoveryOptions::new(sim_harness::config(0, id), LeaderEpoch::FIRST, now);
        options.checkpoint = checkpoint.logs.get(&id).copied();
        let recovered =
            recover(&inner, id, &options).await.expect("bad contents are not an error of the disk");
        let state = recovered.log.state().clone();
        let store = Rc::new(Store::new(inner, sim_harness::store_options(None)));
        let log = store.add(id, recovered.log, options.checkpoint);
        let (served, error) = read_until_error(&store, &log).await;
        if let LogState::Corrupt { at } = &state {
            let read = store.plan_read(&log, *at, 1000, &mut Vec::new());
            assert_eq!(read.err(), Some(ReadError::Corrupt { at: *at }), "what is above is refused by name");
        }
        let told = error.is_some() || matches!(state, LogState::Corrupt { .. });
        (state, told, served)
    })
}

fn check_prefix(served: &[sim_harness::Sent], sent: &[sim_harness::Sent], what: &str) {
    assert!(served.len() <= sent.len(), "{what}: more than was sent");
    for (served, sent) in served.iter().zip(sent) {
        assert!(
            served.base == sent.base && served.bytes == sent.bytes,
            "{what}: another batch at {}",
            sent.base
        );
    }
}

/// Log files only: an index or a checkpoint may be replaced.
fn log_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|path| path.ends_with(".log")).collect()
}

#[test]
fn a_flipped_bit_in_a_log_is_never_served_and_deletes_nothing() {
    let mut rng = SimRng::new(7);
    let mut noticed = 0;
    for seed in 1..60 {
        let (disk, id, sent) = disk_with_records(seed, false);
        let Some(path) = log_files(&disk).into_iter().find(|path| path.starts_with(&id.dir())) else {
            continue;
        };
        let len = disk.contents(&path).map_or(0, |bytes| bytes.len());
        if len == 0 {
            continue;
        }
        let (at, bit) = (rng.below(len), rng.below(8));
        let before = log_files(&disk);
        disk.damage(&path, |bytes| bytes[at] ^= 1 << bit);
        let (_, told, served) = recover_log(&disk, id);
        check_prefix(&served, &sent, &format!("seed {seed}, byte {at} of {path}"));
        // A flip in the zeroes behind the last batch, or in a part of the header that the broker sets
        // anew, harms nothing; any other one is told.
        assert!(told || served.len() == sent.len(), "seed {seed}, byte {at} of {path}: lost without a word");
        if told {
            noticed += 1;
            assert_eq!(log_files(&disk), before, "quarantine deletes nothing");
        }
    }
    assert!(10 < noticed, "flips hit batches: {noticed}");
}

#[test]
fn a_corrupt_log_stays_corrupt_over_restarts() {
    for seed in 1..30 {
        let (disk, id, _) = disk_with_records(seed, false);
        let Some(path) = log_files(&disk).into_iter().find(|path| path.starts_with(&id.dir())) else {
            continue;
        };
        disk.damage(&path, |bytes| {
            if let Some(byte) = bytes.get_mut(30) {
                *byte ^= 0xff;
            }
        });
        let (first, told, _) = recover_log(&disk, id);
        assert!(told || disk.contents(&path).is_none_or(|bytes| bytes.len() < 30), "seed {seed}");
        let contents = disk.contents(&path);
        let (second, ..) = recover_log(&disk, id);
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(disk.contents(&path), contents, "seed {seed}: nothing was cut");
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    let mut missed = 0;
    for seed in 1..60 {
        for clean in [false, true] {
            let (disk, id, sent) = disk_with_records(seed, clean);
            let own: Vec<String> =
                log_files(&disk).into_iter().filter(|path| path.starts_with(&id.dir())).collect();
            if own.len() < 3 {
                continue;
            }
            for gone in &own {
                let image = disk.crash_image(seed);
                let (inner, path) = (image.clone(), gone.clone());
                run(&image, async move {
                    storage::disk::Disk::remove_file(&inner, &path).await.expect("it is there");
                });
                let (state, _, served) = recover_log(&image, id);
                check_prefix(&served, &sent, &format!("seed {seed}, without {gone}"));
                assert!(
                    matches!(state, LogState::Corrupt { .. }),
                    "seed {seed}, clean {clean}, without {gone}: {state:?}"
                );
                missed += 1;
            }
        }
    }
    assert!(20 < missed, "segments were there to lose: {missed}");
}

#[test]
fn indexes_and_checkpoints_can_be_lost_or_garbled() {
    let mut rng = SimRng::new(11);
    for seed in 1..60 {
        for clean in [false, true] {
            let (disk, id, sent) = disk_with_records(seed, clean);
            for path in disk.files().into_iter().filter(|path| !path.ends_with(".log")) {
                let at = rng.draw();
                disk.damage(&path, |bytes| match at % 3 {
                    0 => bytes.clear(),
                    1 => bytes.truncate(bytes.len() / 2),
                    _ => {
                        let len = bytes.len().max(1);
                        if let Some(byte) = bytes.get_mut(at as usize % len) {
                            *byte ^= 0x10;
                        }
                    }
                });
            }
            let (state, _, served) = recover_log(&disk, id);
            assert_eq!(state, LogState::Open, "seed {seed}");
            check_prefix(&served, &sent, &format!("seed {seed}"));
            assert_eq!(served.len(), sent.len(), "seed {seed}: everything was durable");
            let end = served.last().map_or(Offset::ZERO, |last| last.next);
            assert_eq!(end, sent.last().map_or(Offset::ZERO, |last| last.next));
        }
    }
}
