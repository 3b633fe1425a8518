//! The reader's rules without a network: what is asked for, in which order it comes out.

use super::*;
use protocol::batch::{BatchBuilder, Codec, decode_batch, stamp};
use protocol::model::{LeaderEpoch, Timestamp};

const SHARE: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(100);

fn fetch(partitions: u32) -> Fetch {
    let starts = (0..partitions).map(|index| (PartitionIndex::new(index), Offset::ZERO));
    Fetch::new("t".into(), starts, PAUSE)
}

/// A record set of batches of `count` records each, with values of `value_len` bytes.
fn records(base: u64, counts: &[u32], value_len: usize) -> Bytes {
    let (mut out, mut base) = (Vec::new(), base);
    for count in counts {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..*count {
            builder.try_append(Timestamp::from_millis(1), None, Some(&vec![7; value_len]), &[]).unwrap();
        }
        let start = out.len();
        out.extend_from_slice(&builder.finish());
        stamp(&mut out[start..], Offset::new(base), LeaderEpoch::FIRST);
        base += u64::from(*count);
    }
    Bytes::from(out)
}

fn found(records: Bytes) -> FetchedPartition {
    let high_watermark = Some(Offset::new(1000));
    let result = FetchResult {
        high_watermark,
        records_len: records.len() as u32,
        ..FetchResult::refused(ErrorCode::None)
    };
    FetchedPartition { result, records }
}

fn refused(code: ErrorCode) -> FetchedPartition {
    let result = FetchResult {
        log_start_offset: Some(Offset::new(10)),
        high_watermark: Some(Offset::new(20)),
        ..FetchResult::refused(code)
    };
    FetchedPartition { result, records: Bytes::new() }
}

/// Offsets asked for, in the order of the partitions.
fn asked(plan: &Plan) -> Vec<(usize, u64)> {
    let mut asked: Vec<_> = plan.entries.iter().map(|entry| (entry.slot, entry.offset.get())).collect();
    asked.sort();
    asked
}

/// Takes everything: partition and offsets of each batch, or the fault.
fn taken(fetch: &mut Fetch) -> Vec<String> {
    let describe = |taken: Taken| match taken.item {
        Item::Batch(bytes) => {
            let offsets = decode_batch(bytes, 1 << 20).unwrap().map(|record| record.offset);
            let wanted: Vec<u64> = offsets.filter(|offset| *offset >= taken.from).map(Offset::get).collect();
            format!("{}: {wanted:?}", taken.partition)
        }
        Item::Fault(fault) => format!("{}: {fault}", taken.partition),
    };
    std::iter::from_fn(|| fetch.take().map(describe)).collect()
}

#[test]
fn fetches_go_on_behind_the_last_whole_batch() {
    let (mut fetch, now) = (fetch(1), Instant::now());
    let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
    assert_eq!(asked(&plan), [(0, 0)]);
    assert!(fetch.plan(now, &[0], SHARE, 0).is_none(), "a partition is in one fetch at a time");
    let set = records(0, &[2, 3, 4], 10);
    let cut = set.slice(..set.len() - 1);
    assert!(!fetch.handle_reply(now, &plan, vec![found(cut)], 0.5));
    assert_eq!(asked(&fetch.plan(now, &[0], SHARE, 0).unwrap()), [(0, 5)]);
    assert_eq!(taken(&mut fetch), ["0: [0, 1]", "0: [2, 3, 4]"]);
    assert_eq!(fetch.high_watermark(0), Some(Offset::new(1000)));
}

#[test]
fn records_before_the_offset_asked_for_are_not_handed_out() {
    let (mut fetch, now) = (fetch(1), Instant::now());
    fetch.seek(0, Offset::new(3));
    let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
    fetch.handle_reply(now, &plan, vec![found(records(0, &[2, 3, 1], 10))], 0.5);
    assert_eq!(taken(&mut fetch), ["0: [3, 4]", "0: [5]"]);
}

#[test]
fn partitions_take_turns_batch_by_batch() {
    let (mut fetch, now) = (fetch(2), Instant::now());
    let plan = fetch.plan(now, &[0, 1], SHARE, 0).unwrap();
    let replies = plan.entries.iter().map(|_| found(records(0, &[1, 1, 1], 10))).collect();
    fetch.handle_reply(now, &plan, replies, 0.5);
    let turns: Vec<String> = taken(&mut fetch).into_iter().map(|line| line[..1].to_owned()).collect();
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
}

#[test]
fn prefetch_stops_when_its_share_is_full_and_a_take_wakes_it() {
    let (mut fetch, now) = (fetch(1), Instant::now());
    let mut base = 0;
    while let Some(plan) = fetch.plan(now, &[0], SHARE, 0) {
        assert!(plan.max_bytes as usize <= SHARE / 2);
        fetch.handle_reply(now, &plan, vec![found(records(base, &[1, 1], 100_000))], 0.5);
        base += 2;
        assert!(base < 20, "unbounded");
    }
    assert_eq!(base, 6, "more than half of the share is held");
    assert!(fetch.take().unwrap().wake_driver);
    assert!(!fetch.take().unwrap().wake_driver, "told once");
    assert!(fetch.plan(now, &[0], SHARE, 0).is_some());
}

#[test]
fn promised_bytes_count_as_held() {
    let (mut fetch, now) = (fetch(2), Instant::now());
    let first = fetch.plan(now, &[0], SHARE, 0).unwrap();
    let second = fetch.plan(now, &[0, 1], SHARE, first.max_bytes as usize).unwrap();
    assert_eq!(asked(&second), [(1, 0)]);
    assert!(first.max_bytes as usize + second.max_bytes as usize <= SHARE);
}

#[test]
fn a_reply_from_before_a_seek_is_dropped() {
    let (mut fetch, now) = (fetch(1), Instant::now());
    let old = fetch.plan(now, &[0], SHARE, 0).unwrap();
    fetch.seek(0, Offset::new(7));
    let new = fetch.plan(now, &[0], SHARE, 0).unwrap();
    fetch.handle_reply(now, &old, vec![found(records(0, &[3], 10))], 0.5);
    assert_eq!(taken(&mut fetch), Vec::<String>::new());
    fetch.handle_reply(now, &new, vec![found(records(7, &[1], 10))], 0.5);
    assert_eq!(taken(&mut fetch), ["0: [7]"]);
}

#[test]
fn a_paused_partition_keeps_what_it_has_and_fetches_nothing() {
    let (mut fetch, now) = (fetch(2), Instant::now());
    let plan = fetch.plan(now, &[0, 1], SHARE, 0).unwrap();
    let replies = plan.entries.iter().map(|_| found(records(0, &[1], 10))).collect();
    fetch.handle_reply(now, &plan, replies, 0.5);
    fetch.pause(0);
    assert_eq!(taken(&mut fetch), ["1: [0]"]);
    assert_eq!(asked(&fetch.plan(now, &[0, 1], SHARE, 0).unwrap()), [(1, 1)]);
    fetch.resume(0);
    assert_eq!(taken(&mut fetch), ["0: [0]"]);
}

#[test]
fn a_batch_put_back_comes_again_from_where_it_was_left() {
    let (mut fetch, now) = (fetch(1), Instant::now());
    let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
    fetch.handle_reply(now, &plan, vec![found(records(0, &[3, 1], 10))], 0.5);
    let Some(Taken { item: Item::Batch(batch), .. }) = fetch.take() else { panic!() };
    fetch.put_back(0, batch, Offset::new(2));
    assert_eq!(taken(&mut fetch), ["0: [2]", "0: [3]"]);
}

#[test]
fn an_offset_out_of_range_stops_the_partition_and_tells_the_range() {
    let (mut fetch, now) = (fetch(2), Instant::now());
    let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
    fetch.handle_reply(now, &plan, vec![refused(ErrorCode::OffsetOutOfRange)], 0.5);
    assert_eq!(taken(&mut fetch), ["0: t/0: offset 0 is not in the partition, which has [10, 20)"]);
    assert_eq!(asked(&fetch.plan(now, &[0, 1], SHARE, 0).unwrap()), [(1, 0)]);
    assert!(fetch.dead_end().is_none(), "the other partition goes on");
    fetch.seek(0, Offset::new(10));
    assert_eq!(asked(&fetch.plan(now, &[0, 1], SHARE, 0).unwrap()), [(0, 10)]);
}

#[test]
fn a_fault_stands_behind_the_records_before_it() {
    let (mut fetch, now) = (fetch(1), Instant::now());
    let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
    let mut set = records(0, &[2, 2], 10).to_vec();
    let second = set.len() / 2;
    set[second + 16] = 1;
    fetch.handle_reply(now, &plan, vec![found(set.into())], 0.5);
    assert!(fetch.dead_end().is_none());
    let all = taken(&mut fetch);
    assert_eq!(all, ["0: [0, 1]", "0: t/0: the batch at offset 2 is corrupt: the magic byte is not 2"]);
    assert!(matches!(fetch.dead_end(), Some(ConsumeError::Corrupt { .. })));
}

#[test]
fn retriable_errors_pause_and_are_told_after_half_a_minute() {
    let (mut fetch, mut now) = (fetch(1), Instant::now());
    let start = now;
    while now - start < UNAVAILABLE_AFTER {
        let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
        let stale = fetch.handle_reply(now, &plan, vec![refused(ErrorCode::NotLeaderOrFollower)], 1.0);
        assert!(stale);
        assert!(fetch.plan(now, &[0], SHARE, 0).is_none(), "it waits");
        assert!(fetch.take().is_none());
        now = fetch.poll_timeout(now).unwrap();
    }
    let plan = fetch.plan(now, &[0], SHARE, 0).unwrap();
    fetch.handle_failure(now, &plan, &"connection lost".into(), 1.0);
    let Some(Taken { item: Item::Fault(fault), .. }) = fetch.take() else { panic!() };
    assert!(fault.is_retriable() && fault.to_string().contains("connection lost"), "{fault}");
    assert!(fetch.poll_timeout(now).is_some(), "and the reader goes on trying");
}
