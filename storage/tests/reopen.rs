//! A log that a full disk has fenced is read again once there is room.
//!
//!     a write fails: fenced ─ reopen ─▶ goes on behind what was acknowledged
//!                              ├ the disk fails again: the log stays as it was, in checkpoints too, for the next try
//!                              └ the log is deleted meanwhile: nothing comes back

mod sim_harness;

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use protocol::model::{LeaderEpoch, Offset, Timestamp};
use sim_harness::{PLAIN, Workload, config};
use storage::checkpoint::Checkpoint;
use storage::disk::sim::{Fault, Operation, SimDisk};
use storage::id::LogId;
use storage::log::LogState;
use storage::recovery::RecoveryOptions;

/// Has the next operation of a kind fail, or all from then on.
fn fail(disk: &SimDisk, operation: Operation, sticky: bool) {
    let nth = disk.count(operation) + 1;
    disk.set_fault(Fault { operation, nth, sticky, error: io::ErrorKind::StorageFull });
}

/// Nothing fails any more.
const NONE: Fault =
    Fault { operation: Operation::Read, nth: u64::MAX, sticky: false, error: io::ErrorKind::Other };

fn is_fenced(workload: &Workload, id: LogId) -> bool {
    workload.store.get(id).is_some_and(|log| log.read(|log| matches!(log.state(), LogState::Fenced(_))))
}

fn acknowledged(workload: &Workload, id: LogId) -> Offset {
    workload.told.borrow().acknowledged.get(&id).copied().unwrap_or(Offset::ZERO)
}

/// A workload with some acknowledged records, one of whose logs is fenced, and nothing going on.
fn fenced(seed: u64) -> (Workload, LogId) {
    let mut workload = Workload::new(seed, None);
    for _ in 0..20 {
        workload.append();
        workload.step(40);
    }
    fail(&workload.disk, Operation::Write, false);
    loop {
        workload.append();
        workload.step(40);
        let found = workload.logs.iter().copied().find(|id| is_fenced(&workload, *id));
        if let Some(id) = found {
            return (workload, id);
        }
    }
}

fn options(seed: u64, id: LogId) -> RecoveryOptions {
    RecoveryOptions::new(config(seed, id), LeaderEpoch::FIRST, Timestamp::from_millis(2_000_000))
}

#[test]
fn a_fenced_log_goes_on_behind_what_was_acknowledged() {
    for seed in (0..50).map(|seed| seed | PLAIN) {
        let (mut workload, id) = fenced(seed);
        let before = acknowledged(&workload, id);
        let reopened =
            workload.block_on(move |store, _| async move { store.reopen(id, options(seed, id)).await });
        let log = reopened.unwrap().expect("it was fenced");
        assert!(log.read(|log| log.check_open().is_ok()));
        assert!(before <= log.read(|log| log.high_watermark()));
        workload.told.borrow_mut().fenced.clear();
        let next = log.read(|log| log.high_watermark());
        while acknowledged(&workload, id) <= next {
            workload.append();
            workload.step(40);
        }
    }
}

#[test]
fn a_log_that_cannot_be_reopened_stays_for_the_next_try() {
    for seed in (0..50).map(|seed| seed | PLAIN) {
        let (mut workload, id) = fenced(seed);
        let before = workload.store.get(id).unwrap().read(|log| log.durable_point());
        fail(&workload.disk, Operation::Read, true);
        let failed =
            workload.block_on(move |store, _| async move { store.reopen(id, options(seed, id)).await });
        assert!(failed.is_err(), "seed {seed}");
        assert!(is_fenced(&workload, id));
        workload.disk.set_fault(NONE);
        workload.block_on(|store, _| async move { store.write_checkpoint().await.unwrap() });
        let written = workload.disk.contents("checkpoints/shard-0").unwrap();
        let checkpoint = Checkpoint::from_bytes(&written).unwrap();
        assert_eq!(checkpoint.logs.get(&id).map(|point| point.offset), Some(before.offset));
        let reopened =
            workload.block_on(move |store, _| async move { store.reopen(id, options(seed, id)).await });
        assert!(reopened.unwrap().is_some());
    }
}

/// At whatever moment of the reopening the topic goes.
#[test]
fn a_log_that_is_deleted_meanwhile_does_not_come_back() {
    let mut came_first = [0, 0];
    for seed in 0..300 {
        let (mut workload, id) = fenced(seed | PLAIN);
        let reopened = Rc::new(Cell::new(false));
        let told = reopened.clone();
        workload.begin(move |store, _| async move {
            let log = store.reopen(id, options(seed | PLAIN, id)).await;
            told.set(log.unwrap().is_some());
        });
        workload.step(seed as usize % 12);
        came_first[usize::from(reopened.get())] += 1;
        workload.block_on(move |store, events| async move { store.remove(id, &events).await.unwrap() });
        workload.step(100);
        assert!(workload.store.get(id).is_none(), "seed {seed}");
        let dir = format!("{}/", id.dir());
        let left: Vec<String> =
            workload.disk.files().into_iter().filter(|file| file.starts_with(&dir)).collect();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
    assert!(came_first.iter().all(|times| 20 < *times), "deleted first, reopened first: {came_first:?}");
}
