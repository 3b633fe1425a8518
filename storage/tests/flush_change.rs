//! A topic's flush policy is changed while it takes records; then the power goes.
//!
//!     on write   ─ reconfigure ─▶ every round, changed over ─▶ power cut: all that was acknowledged is there
//!     every round ─ reconfigure ─▶ on write: acknowledged when written, and nothing is acknowledged twice
//!
//! The disk keeps what was synced and, as the seed has it, some of the rest.

mod sim_harness;

use protocol::model::Offset;
use sim_harness::{PLAIN, Workload};
use storage::id::LogId;
use storage::log::{FlushPolicy, LogConfig};

const LAZY: FlushPolicy = FlushPolicy { ms: Some(1 << 40), messages: None };

fn set(workload: &Workload, flush: FlushPolicy) {
    for log in workload.store.logs() {
        let config = log.read(|log| LogConfig { flush, ..*log.config() });
        workload.store.reconfigure(&log, config);
    }
}

fn acknowledged(workload: &Workload, id: LogId) -> Offset {
    workload.told.borrow().acknowledged.get(&id).copied().unwrap_or(Offset::ZERO)
}

/// Completes operations of the disk until every record is acknowledged and no change waits; flushes when asked, as the
/// broker does ten times a second.
fn settle(workload: &mut Workload) {
    for _ in 0..10_000 {
        workload.begin(|store, events| async move { store.flush_due(&events).await });
        workload.step(1);
        let ends = |id: &LogId| workload.history.logs.get(id).map_or(Offset::ZERO, |log| log.end);
        let changed =
            |id: &LogId| workload.store.get(*id).is_none_or(|log| !log.read(|log| log.is_changing_over()));
        if workload.logs.iter().all(|id| acknowledged(workload, *id) == ends(id) && changed(id)) {
            return;
        }
    }
    panic!("records are never acknowledged, or a log never changes");
}

#[test]
fn what_is_acknowledged_after_the_change_to_every_round_outlives_a_power_cut() {
    for seed in 0..200 {
        let mut workload = Workload::new(seed | PLAIN, None);
        set(&workload, LAZY);
        for n in 0..12 {
            if n == 6 {
                set(&workload, FlushPolicy::EVERY_ROUND);
            }
            workload.append();
            workload.step((seed as usize + n) % 5);
        }
        settle(&mut workload);
        let image = workload.disk.crash_image(seed);
        Workload::on(image, seed | PLAIN, None, Some((&workload.history, &workload.told.borrow())));
    }
}

#[test]
fn a_change_to_on_write_acknowledges_everything_and_a_stop_in_the_middle_loses_nothing() {
    for seed in 0..200 {
        let mut workload = Workload::new(seed | PLAIN, None);
        for n in 0..12 {
            if n % 3 == 0 {
                set(&workload, if n % 2 == 0 { LAZY } else { FlushPolicy::EVERY_ROUND });
            }
            workload.append();
            workload.step((seed as usize + n) % 4);
        }
        if seed % 2 == 0 {
            settle(&mut workload);
        }
        let told = workload.told.clone();
        let (disk, history) = workload.stop(); // asserts that all is acknowledged
        Workload::on(disk, seed | PLAIN, None, Some((&history, &told.borrow())));
    }
}
