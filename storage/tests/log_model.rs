//! Random operations on logs of every kind, against a model that is a list of what was sent.
//!
//!     ops   append │ retry │ fetch │ pass time │ keep house │ compact │ delete records │ index │ …
//!           crash (power cut or kill, with operations in flight) │ reopen (orderly stop)
//!     check after each fetch, and of everything after each reopening (sim_harness/check.rs)
//!
//! `PROPTEST_CASES=n` sets how many sequences are tried. A failure is shrunk; what it shrank to is
//! kept below as a test with a name.

mod sim_harness;

use proptest::prelude::*;
use protocol::batch::batches;
use protocol::model::Offset;
use sim_harness::{Workload, pass_time, records};
use storage::log::ReadPlan;

#[derive(Clone, Debug)]
enum Op {
    Append(u8),
    Retry,
    /// Reads from this share of the log on, in 256ths.
    Fetch(u8),
    PassTime(u16),
    KeepHouse,
    Compact,
    DeleteRecords,
    IndexActive,
    Checkpoint,
    /// Lets the disk complete some operations.
    Steps(u8),
    PowerCut(u64),
    Kill(u64),
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (1..6u8).prop_map(Op::Append),
        2 => Just(Op::Retry),
        4 => any::<u8>().prop_map(Op::Fetch),
        2 => (0..800u16).prop_map(Op::PassTime),
        3 => Just(Op::KeepHouse),
        4 => Just(Op::Compact),
        1 => Just(Op::DeleteRecords),
        1 => Just(Op::IndexActive),
        1 => Just(Op::Checkpoint),
        6 => (1..40u8).prop_map(Op::Steps),
        1 => any::<u64>().prop_map(Op::PowerCut),
        1 => any::<u64>().prop_map(Op::Kill),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..60)
}

fn run_ops(seed: u64, ops: &[Op]) {
    let mut workload = Workload::new(seed, None);
    for op in ops {
        match op {
            Op::Append(count) => (0..*count).for_each(|_| workload.append()),
            Op::Retry => {
                workload.retry();
            }
            Op::Fetch(share) => fetch(&mut workload, *share),
            Op::PassTime(millis) => pass_time(i64::from(*millis)),
            Op::KeepHouse => {
                workload.begin(|store, _| async move { store.keep_house().await.expect("the disk works") });
            }
            Op::Compact => workload.begin(|store, events| async move {
                drop(store.compact_next(&events).await); // a log may be closed meanwhile
            }),
            Op::DeleteRecords => {
                workload.delete_records();
            }
            Op::IndexActive => workload.store.index_active_segments(0),
            Op::Checkpoint => {
                let written = workload.block_on(|store, _| async move { store.write_checkpoint().await });
                written.expect("the disk works");
            }
            Op::Steps(count) => workload.step(usize::from(*count)),
            Op::PowerCut(image) => workload = reopen(&workload, workload.disk.crash_image(*image), seed),
            Op::Kill(image) => workload = reopen(&workload, workload.disk.kill_image(*image), seed),
            Op::Reopen => {
                let told = workload.told.clone();
                let (disk, history) = workload.stop();
                workload = Workload::on(disk, seed, None, Some((&history, &told.borrow())));
            }
        }
    }
    let image = workload.disk.crash_image(seed);
    reopen(&workload, image, seed);
}

fn reopen(workload: &Workload, disk: storage::disk::SimDisk, seed: u64) -> Workload {
    let told = workload.told.borrow();
    Workload::on(disk, seed, None, Some((&workload.history, &told)))
}

/// Reads once from each log, from somewhere or from where the last read ended, which was perhaps read
/// ahead: what comes is what was sent, from that offset on.
fn fetch(workload: &mut Workload, share: u8) {
    for id in workload.logs.clone() {
        let Some(log) = workload.store.get(id) else { continue };
        let (start, end) = log.read(|log| (log.start(), log.high_watermark()));
        let offset = Offset::new(start.get() + (end.get() - start.get()) * u64::from(share) / 256);
        let continued =
            workload.reading.get(&id).filter(|next| share.is_multiple_of(2) && (start..end).contains(next));
        let offset = continued.copied().unwrap_or(offset);
        let mut slices = Vec::new();
        let plan = workload.store.plan_read(&log, offset, 5000, &mut slices).expect("within the log");
        let bytes = match plan {
            ReadPlan::AtEnd => continue,
            ReadPlan::Hot { .. } => slices.iter().flat_map(|slice| slice.bytes().to_vec()).collect(),
            ReadPlan::Cold(read) => {
                let read = workload.block_on(move |store, _| async move {
                    let found = store.read_cold(&log, read, offset, 5000).await?;
                    store.read_ahead(&log, offset, found.next().expect("a read has a batch"), 5000).await;
                    Ok(found.bytes().to_vec())
                });
                match read {
                    Err(storage::store::ColdError::Replaced { .. }) => continue,
                    read => read.expect("the disk works"),
                }
            }
        };
        let first = batches(&bytes).next().and_then(Result::ok).expect("at least one batch");
        assert!(offset < first.next_offset(), "a read of {offset} begins at {first:?}");
        let sent = &workload.history.logs[&id].sent;
        for batch in batches(&bytes) {
            let batch = batch.expect("whole batches");
            let at = sent.partition_point(|sent| sent.next <= batch.base_offset());
            let known = sent.get(at).map(|sent| records(&sent.bytes)).unwrap_or_default();
            workload.reading.insert(id, batch.next_offset());
            for record in records(batch.as_bytes()) {
                assert!(known.contains(&record), "log {id}: nobody sent what lies at {}", record.offset);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_behave_as_lists_of_what_was_sent(seed in 0..4096u64, ops in ops()) {
        run_ops(seed, &ops);
    }
}

/// An orderly stop began while retention waited for an index that nobody was left to write.
#[test]
fn a_stop_does_not_wait_for_retention() {
    let mut ops = vec![Op::Append(4), Op::Append(5), Op::Steps(35), Op::Checkpoint];
    ops.extend([228, 533, 556, 684].map(Op::PassTime));
    ops.extend([Op::KeepHouse, Op::Reopen]);
    run_ops(906, &ops);
}

/// The only file that remembered a producer was removed with the records below the start of the log.
#[test]
fn a_producer_outlives_its_deleted_records() {
    let mut ops = vec![Op::IndexActive, Op::Append(4), Op::Reopen, Op::IndexActive, Op::IndexActive];
    ops.extend([Op::Append(4), Op::Steps(10)]);
    ops.extend([2, 5, 5, 1, 5].map(Op::Append));
    ops.extend([Op::Retry, Op::DeleteRecords, Op::Steps(21)]);
    run_ops(2373, &ops);
}
