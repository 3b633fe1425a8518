//! Recovery on a partition whose files hold anything.
//!
//!     input: len, bytes │ len, bytes │ …      ─▶ 0.log, 0.index, 1000.log, 1000.index, checkpoint
//!
//!     recover ─▶ a log, in whatever state ─▶ recover again ─▶ the same log
//!
//! The second recovery is the check: what the first one cut, repaired or refused must not be cut
//! further, or become readable.

use std::rc::Rc;

use protocol::batch::{Batch, Codec, stamp};
use protocol::model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use storage::checkpoint::Checkpoint;
use storage::disk::{BLOCK, Buffers, Disk, DiskFile, FlushScope, SimDisk};
use storage::id::{LogId, TOPICS_DIR};
use storage::log::{DurablePoint, LogConfig};
use storage::recovery::{RecoveryOptions, create_log_dirs, recover};

use super::batches::{record_set, repair_batches};
use super::files::repair_index;
use crate::runner::Target;

pub const RECOVERY: Target = Target {
    name: "recovery",
    seeds,
    repair: |bytes| {
        let mut files = parse(bytes);
        for (name, contents) in &mut files {
            if name.ends_with(".log") {
                repair_batches(contents);
            } else if name.ends_with(".index") {
                repair_index(contents);
            } else {
                super::repair_crc(contents, 12, 16, u32::to_le_bytes);
            }
        }
        *bytes = serialize(&files);
    },
    // The simulated disk keeps every version of every sector.
    memory_max: |len| (32 << 20) + 64 * len,
    run: |bytes| {
        let files = parse(bytes);
        let checkpoint =
            files.last().and_then(|(_, bytes)| Checkpoint::from_bytes(bytes)).unwrap_or_default();
        let disk = disk_with(&files);
        let (first, how) = recover_on(&disk, checkpoint.clone());
        // A checkpoint of an orderly stop is withdrawn by the start; the places in it hold.
        let (second, _) = recover_on(&disk, unclean(checkpoint));
        assert_eq!(first, second, "the second recovery finds another log");
        let [state, _, end] = first;
        format!("{state} {how} {}", if end == "0" { "empty" } else { "" })
    },
};

/// Base offset of the second segment.
const SECOND: u64 = 1000;

const NAMES: [&str; 5] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000001000.log",
    "00000000000000001000.index",
    "checkpoint",
];

type Files = Vec<(&'static str, Vec<u8>)>;

fn id() -> LogId {
    LogId { topic: TopicId::from_bytes([0; 16]), partition: PartitionIndex::new(0) }
}

/// A length that is too large takes what is left.
fn parse(mut bytes: &[u8]) -> Files {
    let mut files = Files::new();
    for name in NAMES {
        let (len, rest) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let len = (u32::from_le_bytes(*len) as usize).min(rest.len());
        let (contents, rest) = rest.split_at(len);
        files.push((name, contents.to_vec()));
        bytes = rest;
    }
    files
}

fn serialize(files: &Files) -> Vec<u8> {
    let file =
        |(_, bytes): &(&str, Vec<u8>)| [&(bytes.len() as u32).to_le_bytes(), bytes.as_slice()].concat();
    files.iter().flat_map(file).collect()
}

/// A disk with these files; empty ones are not there.
fn disk_with(files: &Files) -> SimDisk {
    let disk = SimDisk::new(1, FlushScope::File);
    let (inner, files) = (disk.clone(), files.clone());
    disk.block_on(async move {
        inner.create_dir(TOPICS_DIR).await.expect("the disk works");
        create_log_dirs(&inner, &[id()]).await.expect("the disk works");
        for (name, bytes) in files.iter().filter(|(name, bytes)| *name != "checkpoint" && !bytes.is_empty()) {
            let file = inner.create(&format!("{}/{name}", id().dir())).await.expect("the disk works");
            let mut buf = inner.alloc(bytes.len().next_multiple_of(BLOCK));
            buf.as_mut().fill(0);
            buf.as_mut()[..bytes.len()].copy_from_slice(bytes);
            file.write_at(Rc::new(buf), 0).await.expect("the disk works");
            file.truncate(bytes.len() as u64).await.expect("the disk works");
            file.fdatasync().await.expect("the disk works");
        }
        inner.sync_dir(&id().dir()).await.expect("the disk works");
    });
    disk
}

/// State, start and end of the log that is found; and how it was found, for the outcome.
fn recover_on(disk: &SimDisk, checkpoint: Checkpoint) -> ([String; 3], String) {
    let inner = disk.clone();
    disk.block_on(async move {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let mut options = RecoveryOptions::new(LogConfig::tiny(), LeaderEpoch::FIRST, now);
        options.checkpoint = checkpoint.logs.get(&id()).copied();
        let recovered = recover(&inner, id(), &options).await.expect("bad contents are no error of the disk");
        let (log, report) = (recovered.log, recovered.report);
        let torn = if 0 < report.torn_bytes { "torn" } else { "" };
        let read = if 0 < report.bytes_read { "read" } else { "" };
        let how = format!("{torn} {read} {}", "x".repeat(log.segments().count()));
        ([format!("{:?}", log.state()), log.start().to_string(), log.high_watermark().to_string()], how)
    })
}

fn unclean(mut checkpoint: Checkpoint) -> Checkpoint {
    checkpoint.logs.values_mut().for_each(|point| point.clean = false);
    checkpoint
}

/// Batches whose offsets begin at `base` and end at `end`.
fn log_file(base: u64, end: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = base;
    for codec in Codec::ALL.into_iter().cycle() {
        let set = record_set(codec, ((end - next) / 3).clamp(1, 30));
        let mut rest = set.as_slice();
        while let Ok((batch, behind)) = Batch::split_first(rest) {
            if next == end {
                return bytes;
            }
            let mut batch = batch.as_bytes().to_vec();
            stamp(&mut batch, Offset::new(next), LeaderEpoch::FIRST);
            next += count(&batch);
            bytes.extend(batch);
            rest = behind;
        }
    }
    bytes
}

fn count(batch: &[u8]) -> u64 {
    Batch::split_first(batch).map_or(0, |(batch, _)| u64::from(batch.record_count().get()))
}

/// The files that a recovery of two whole segments leaves: the first one is finished, with its index.
fn recovered() -> Files {
    let mut files: Files = NAMES.map(|name| (name, Vec::new())).to_vec();
    files[0].1 = log_file(0, SECOND);
    files[2].1 = log_file(SECOND, SECOND + 500);
    let disk = disk_with(&files);
    recover_on(&disk, Checkpoint::default());
    for (name, bytes) in &mut files {
        *bytes = disk.contents(&format!("{}/{name}", id().dir())).unwrap_or_default();
    }
    files
}

/// Index files as recovery writes them.
pub fn indexes() -> Vec<Vec<u8>> {
    let index = recovered().swap_remove(1).1;
    assert!(!index.is_empty(), "BUG: recovery has finished the first segment");
    vec![index]
}

fn seeds() -> Vec<Vec<u8>> {
    let mut files = recovered();
    let bare: Files = files
        .iter()
        .map(|(name, bytes)| (*name, if name.ends_with(".log") { bytes.clone() } else { Vec::new() }))
        .collect();
    let one = |index: usize| -> Files {
        files
            .iter()
            .enumerate()
            .map(|(at, (name, bytes))| (*name, if at == index { bytes.clone() } else { Vec::new() }))
            .collect()
    };
    let mut seeds =
        vec![serialize(&files), serialize(&bare), serialize(&one(0)), serialize(&one(2)), Vec::new()];
    let point = DurablePoint {
        segment: Offset::new(SECOND),
        position: 2000,
        prepared: 4096,
        offset: Offset::new(SECOND + 100),
        start: Offset::ZERO,
        clean_upto: Offset::ZERO,
        clean: false,
    };
    files[4].1 = Checkpoint { logs: [(id(), point)].into() }.to_bytes();
    seeds.push(serialize(&files));
    files[4].1 = Checkpoint { logs: [(id(), DurablePoint { clean: true, ..point })].into() }.to_bytes();
    seeds.push(serialize(&files));
    seeds
}
