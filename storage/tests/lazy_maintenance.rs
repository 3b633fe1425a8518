//! Logs that are flushed seldom share the tasks of maintenance with all others.
//!
//!     log 1 … n  │ expired │ a tail that is only written   ─▶ its index is due, n is more than there are tasks
//!     log n + 1  │ closed  │ empty                         ─▶ finished, expired and deleted all the same

mod sim_harness;

use protocol::model::{LeaderEpoch, Offset, Timestamp};
use sim_harness::{PLAIN, Workload, config, log_ids, pass_time};
use storage::checkpoint::Checkpoint;
use storage::disk::sim::SimDisk;
use storage::id::LogId;
use storage::log::{FlushPolicy, LogConfig, LogState};
use storage::recovery::{RecoveryOptions, recover};
use storage::store::MAINTENANCE_TASKS;

/// In some thirty years.
const SELDOM: FlushPolicy = FlushPolicy { ms: Some(1 << 40), messages: None };

/// More than enough operations of the disk for all that goes on to end.
const ALL: usize = 1000;

fn recovery(id: LogId) -> RecoveryOptions {
    RecoveryOptions::new(config(PLAIN, id), LeaderEpoch::FIRST, Timestamp::from_millis(0))
}

/// A workload with this many empty logs.
fn workload(seed: u64, logs: usize) -> Workload {
    let mut workload = Workload::new(seed | PLAIN, None);
    let missing: Vec<LogId> = log_ids(logs).into_iter().filter(|id| !workload.logs.contains(id)).collect();
    workload.block_on(move |store, _| async move {
        for id in missing {
            let recovered = recover(store.disk(), id, &recovery(id)).await.expect("an empty disk");
            store.add(id, recovered.log, None);
        }
    });
    workload
}

fn configure(workload: &Workload, logs: &[LogId], change: impl Fn(LogConfig) -> LogConfig) {
    for id in logs {
        let log = workload.store.get(*id).expect("it is there");
        let config = log.read(|log| *log.config());
        workload.store.reconfigure(&log, change(config));
    }
}

fn append(workload: &mut Workload, logs: &[LogId]) {
    for id in logs {
        workload.logs = vec![*id];
        workload.append();
    }
    workload.step(ALL);
}

/// As the broker does every second.
fn keep_house(workload: &mut Workload) {
    workload.block_on(|store, _| async move { store.keep_house().await.expect("the disk works") });
    workload.step(ALL);
}

/// Gives each log a closed segment and an empty active one.
fn append_and_close(workload: &mut Workload, logs: &[LogId]) {
    configure(workload, logs, |config| LogConfig { segment_ms: Some(100), ..config });
    append(workload, logs);
    pass_time(100);
    keep_house(workload);
    configure(workload, logs, |config| LogConfig { segment_ms: None, ..config });
    assert!(logs.iter().all(|id| segments(workload, *id) == 2));
}

fn segments(workload: &Workload, id: LogId) -> usize {
    workload.store.get(id).expect("it is there").read(|log| log.segments().count())
}

/// Where a log ends that is found on this disk.
fn recovered_end(disk: &SimDisk, id: LogId) -> Offset {
    let checkpoint = disk.block_on(Checkpoint::read_all(disk)).expect("readable");
    let options = RecoveryOptions { checkpoint: checkpoint.logs.get(&id).copied(), ..recovery(id) };
    let log = disk.block_on(recover(disk, id, &options)).expect("the disk works").log;
    assert_eq!(*log.state(), LogState::Open, "log {id}");
    log.high_watermark()
}

#[test]
fn indexes_of_logs_that_are_flushed_seldom_keep_no_other_log_from_maintenance() {
    for seed in 0..50 {
        let ids = log_ids(MAINTENANCE_TASKS + 3);
        let (other, seldom) = ids.split_last().map(|(other, seldom)| ([*other], seldom)).expect("some");
        let mut workload = workload(seed, ids.len());
        append_and_close(&mut workload, seldom);
        configure(&workload, seldom, |config| LogConfig {
            flush: SELDOM,
            retention_ms: Some(1000),
            ..config
        });
        append(&mut workload, seldom);
        pass_time(2000);
        keep_house(&mut workload); // cannot delete yet: what is left has no index
        append_and_close(&mut workload, &other);
        configure(&workload, &other, |config| LogConfig { retention_ms: Some(1000), ..config });
        pass_time(2000);
        keep_house(&mut workload);
        keep_house(&mut workload);
        for id in other.iter().chain(seldom) {
            assert_eq!(segments(&workload, *id), 1, "seed {seed}: what expired in {id} is still there");
        }
        // The indexes tell of nothing that a power cut can take.
        let image = workload.disk.crash_image(seed);
        for id in seldom {
            let end = workload.history.logs.get(id).map_or(Offset::ZERO, |log| log.end);
            assert_eq!(recovered_end(&image, *id), end, "seed {seed}, log {id}");
        }
        workload.stop();
    }
}

/// The record that is accepted last is not written before the log has changed over, which nobody lets it do.
#[test]
fn a_log_is_deleted_although_its_index_waits_for_a_record() {
    let ids = log_ids(1);
    let mut workload = workload(0, 1);
    for flush in [FlushPolicy::EVERY_ROUND, SELDOM, FlushPolicy::EVERY_ROUND] {
        append(&mut workload, &ids);
        configure(&workload, &ids, |config| LogConfig { flush, segment_bytes: 1 << 20, ..config });
    }
    append(&mut workload, &ids);
    workload.store.index_active_segments(0);
    workload.step(ALL);
    let id = ids[0];
    // This panics if nothing wakes who waits.
    workload
        .block_on(move |store, events| async move { store.remove(id, &events).await })
        .expect("the disk works");
    assert!(workload.disk.files().iter().all(|file| !file.starts_with(&id.dir())), "nothing is left");
}
