//! Disks with records that tests damage, and what recovery makes of them.
//!
//!     disk_with_records ─ damage ─▶ recover_log ─▶ (state, told of damage?, what was served)

use std::rc::Rc;

use protocol::model::{LeaderEpoch, Timestamp};
use storage::checkpoint::Checkpoint;
use storage::disk::sim::SimDisk;
use storage::id::LogId;
use storage::log::{LogState, ReadError};
use storage::mutants::{Mutant, Mutation};
use storage::recovery::{RecoveryOptions, RecoveryReport, recover};
use storage::store::{Scrubber, Store};

use super::{PLAIN, Workload, log_ids, read_until_error};

/// A disk with a finished workload, stopped in order or not, and what its first log holds.
pub fn disk_with_records(seed: u64, clean: bool) -> (SimDisk, LogId, Vec<super::Sent>) {
    let mut workload = Workload::new(seed | PLAIN, None);
    while workload.tick() {}
    let id = log_ids(1)[0];
    let sent = workload.history.logs.get(&id).map(|log| log.sent.clone()).unwrap_or_default();
    if clean {
        return (workload.stop().0, id, sent);
    }
    let store = workload.store.clone();
    workload.disk.block_on(async move { store.write_checkpoint().await.expect("the disk works") });
    (workload.disk.crash_image(seed), id, sent)
}

/// Recovers the log. Its state; whether a reader was told of damage, at once or when it got there; and
/// all that it was served.
pub fn recover_log(disk: &SimDisk, id: LogId, mutant: Option<Mutant>) -> (LogState, bool, Vec<super::Sent>) {
    let inner = disk.clone();
    disk.block_on(async move {
        let mut options = options(&inner, id).await;
        options.mutation = Mutation::new(mutant);
        let recovered =
            recover(&inner, id, &options).await.expect("bad contents are not an error of the disk");
        let state = recovered.log.state().clone();
        let store = Rc::new(Store::new(inner, super::store_options(0, None)));
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

pub fn check_prefix(served: &[super::Sent], sent: &[super::Sent], what: &str) {
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
pub fn log_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|path| path.ends_with(".log")).collect()
}

/// What recovery reports of the log.
pub fn report_of(disk: &SimDisk, id: LogId) -> RecoveryReport {
    disk.block_on(async {
        let options = options(disk, id).await;
        recover(disk, id, &options).await.expect("the disk works").report
    })
}

async fn options(disk: &SimDisk, id: LogId) -> RecoveryOptions {
    let checkpoint = Checkpoint::read_all(disk).await.expect("the disk works");
    let now = Timestamp::from_millis(2_000_000);
    let mut options = RecoveryOptions::new(super::config(PLAIN, id), LeaderEpoch::FIRST, now);
    options.checkpoint = checkpoint.logs.get(&id).copied();
    options
}

/// Opens the log, damages one of its files behind the store's back, and scrubs everything once. Bytes
/// read, and segments found damaged.
pub fn scrub_log(disk: &SimDisk, id: LogId, damage: impl FnOnce(&SimDisk) + 'static) -> (u64, u64) {
    let inner = disk.clone();
    disk.block_on(async move {
        let options = options(&inner, id).await;
        let recovered = recover(&inner, id, &options).await.expect("the disk works");
        let store = Store::new(inner.clone(), super::store_options(0, None));
        store.add(id, recovered.log, options.checkpoint);
        damage(&inner);
        let mut scrubber = Scrubber::default();
        while store.counters.scrub_passes.get() < 2 {
            scrubber.step(&store).await;
        }
        (store.counters.scrubbed_bytes.get(), store.counters.scrub_damage.get())
    })
}
