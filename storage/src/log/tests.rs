//! The log alone: plans asked for and answered by hand, no disk.

use std::rc::Rc;
use std::time::Instant;

use protocol::batch::{Batch, BatchBuilder, Codec};
use protocol::model::{LeaderEpoch, Offset, Timestamp};

use super::*;
use crate::disk::{BLOCK, Buf, Buffers};

pub(super) struct Heap;

pub(super) struct HeapBuf(Vec<u8>);

impl AsRef<[u8]> for HeapBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for HeapBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buf for HeapBuf {
    fn trim(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Buffers for Heap {
    type Buf = HeapBuf;

    fn alloc(&self, len: usize) -> HeapBuf {
        HeapBuf(vec![0xA5; len])
    }
}

/// Appends a batch of `records` records that is about `bytes` long.
fn append(log: &mut Log<HeapBuf>, records: usize, bytes: usize) -> Offset {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..records {
        builder.try_append(Timestamp::from_millis(5), None, Some(&vec![1; bytes / records]), &[]).unwrap();
    }
    let bytes = builder.finish();
    let (batch, _) = Batch::split_first(&bytes).unwrap();
    match log.accept(&batch, NOW, &Heap).unwrap() {
        Accepted::New { base, .. } => base,
        Accepted::Duplicate { .. } => panic!("the batch has no producer"),
    }
}

const NOW: Timestamp = Timestamp::from_millis(1000);

/// Has a plan performed; everything in it is durable afterwards.
fn perform(log: &mut Log<HeapBuf>, plan: &WritePlan<HeapBuf>) {
    let reach = |write: &PlannedWrite<HeapBuf>| Reached {
        segment: write.segment,
        data_end: write.data_end,
        write_end: write.write_end(),
    };
    let reached: Vec<Reached> = plan.writes.iter().map(reach).collect();
    log.handle_written(plan.upto, &reached, plan.bytes, Instant::now());
    if !log.commits_on_write() {
        log.handle_durable(plan.upto, &reached, plan.bytes);
    }
}

/// Appends one record of so many bytes, `now` by the broker's clock and `time` by its own.
pub(super) fn append_at(log: &mut Log<HeapBuf>, bytes: usize, now: Timestamp, time: Timestamp) {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.try_append(time, None, Some(&vec![1; bytes]), &[]).unwrap();
    let bytes = builder.finish();
    let (batch, _) = Batch::split_first(&bytes).unwrap();
    log.accept(&batch, now, &Heap).unwrap();
}

/// Has everything written, and flushed where the log is flushed in its rounds.
pub(super) fn perform_all(log: &mut Log<HeapBuf>) {
    while let Some(plan) = log.plan_write(&Heap) {
        perform(log, &plan);
    }
}

fn new_log() -> Log<HeapBuf> {
    Log::new(LogConfig::tiny(), LeaderEpoch::FIRST)
}

#[test]
fn offsets_are_dense_and_nothing_is_readable_before_it_is_durable() {
    let mut log = new_log();
    assert_eq!([append(&mut log, 3, 30), append(&mut log, 2, 30)], [Offset::new(0), Offset::new(3)]);
    let mut slices = Vec::new();
    assert_eq!(log.plan_read(Offset::ZERO, 100, &mut slices), Ok(ReadPlan::AtEnd));
    let plan = log.plan_write(&Heap).unwrap();
    assert_eq!(
        (plan.upto, plan.create.as_slice()),
        (Offset::new(5), &[NewFile { segment: Offset::ZERO, from_spare: false }][..])
    );
    perform(&mut log, &plan);
    assert!(matches!(log.plan_read(Offset::ZERO, 1000, &mut slices), Ok(ReadPlan::Hot { .. })));
    assert_eq!(log.plan_read(Offset::new(5), 100, &mut slices), Ok(ReadPlan::AtEnd));
    let beyond = log.plan_read(Offset::new(6), 100, &mut slices);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
}

#[test]
fn a_chunk_begins_with_the_partial_block_before_it() {
    let mut log = new_log();
    append(&mut log, 1, 1000);
    let first = log.plan_write(&Heap).unwrap();
    perform(&mut log, &first);
    append(&mut log, 1, 1000);
    let second = log.plan_write(&Heap).unwrap();
    let (before, after) = (&first.writes[0], &second.writes[0]);
    assert_eq!((before.at, after.at), (0, 0), "the tail block is written again");
    let carried = before.data_end as usize;
    assert_eq!((*after.buf).as_ref()[..carried], (*before.buf).as_ref()[..carried]);
    assert!(before.needs_own_flush && !after.needs_own_flush, "the second write changes no extent");
    assert!((*after.buf).as_ref()[after.data_end as usize..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_full_segment_is_left_behind_and_finished_once_durable() {
    let mut log = new_log();
    let mut bases = vec![append(&mut log, 1, 6000)];
    bases.push(append(&mut log, 1, 6000));
    bases.push(append(&mut log, 1, 6000));
    let segments: Vec<Offset> = log.segments().map(|segment| segment.base()).collect();
    assert_eq!(segments, [bases[0], bases[2]]);
    assert_eq!(log.plan_finish(Offset::ZERO), None, "its records are not durable");
    let plan = log.plan_write(&Heap).unwrap();
    perform(&mut log, &plan);
    let finish = log.plan_finish(Offset::ZERO).unwrap();
    assert_eq!(finish.len, log.segments().next().unwrap().len());
}

#[test]
fn zeroes_on_their_way_hold_back_the_write_they_could_wipe_out() {
    let mut log = new_log();
    append(&mut log, 1, 100);
    let plan = log.plan_write(&Heap).unwrap();
    perform(&mut log, &plan);
    assert_eq!(log.plan_prepare(), None, "one small record is not worth zeroes");
    append(&mut log, 1, 8200);
    let plan = log.plan_write(&Heap).unwrap();
    perform(&mut log, &plan);
    let zeroes = log.plan_prepare().unwrap();
    assert_eq!((zeroes.from, zeroes.to), (3 * BLOCK as u64, 4 * BLOCK as u64));
    append(&mut log, 1, 5000);
    assert!(log.plan_write(&Heap).is_none() && log.has_work());
    log.handle_prepared(zeroes, true);
    let plan = log.plan_write(&Heap).unwrap();
    assert!(plan.writes.iter().all(|write| !write.needs_own_flush), "prepared blocks are overwritten");
}

#[test]
fn a_fenced_log_takes_and_plans_nothing_more() {
    let mut log = new_log();
    append(&mut log, 1, 100);
    let plan = log.plan_write(&Heap).unwrap();
    perform(&mut log, &plan);
    append(&mut log, 1, 100);
    log.fence(Fence::DiskFailed("EIO".to_owned()));
    assert!(log.plan_write(&Heap).is_none());
    assert!(log.check_open().is_err());
    let mut slices = Vec::new();
    let read = log.plan_read(Offset::ZERO, 1000, &mut slices);
    assert!(matches!(read, Ok(ReadPlan::Cold(_))), "what was durable is still read: {read:?}");
    assert_eq!(log.high_watermark(), Offset::new(1));
}

#[test]
fn eviction_takes_the_oldest_and_never_what_is_not_durable() {
    let mut log = new_log();
    append(&mut log, 1, 100);
    let plan = log.plan_write(&Heap).unwrap();
    assert_eq!(log.evict_oldest(), None);
    perform(&mut log, &plan);
    let kept = Rc::downgrade(&plan.writes[0].buf);
    drop(plan);
    assert_eq!(log.evict_oldest(), Some(BLOCK));
    assert!(kept.upgrade().is_none());
}
