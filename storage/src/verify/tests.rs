//! Directories as a broker leaves them, and what is then done to them.
//!
//!     300 batches in segments of 64 KiB, stopped in order ─▶ a change ─▶ verify ─▶ what it says

use std::path::PathBuf;

use protocol::batch::{Batch, BatchBuilder, Codec, stamp};
use protocol::model::{ClusterId, LeaderEpoch, Timestamp, TopicId, TopicName};

use super::*;
use crate::catalog::{MetadataLog, MetadataRecord, RedbLog};
use crate::directory::DataDirectory;
use crate::segment::{Extent, SparseIndex, name};

const SEGMENT_BYTES: u64 = 64 << 10;

/// A directory with one topic of one partition, stopped in order.
struct Directory {
    temp: tempfile::TempDir,
    partition: PathBuf,
    id: LogId,
}

impl Directory {
    fn new() -> Directory {
        let temp = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(temp.path()).unwrap());
        let id = LogId { topic: TopicId::from_bytes([7; 16]), partition: PartitionIndex::new(0) };
        let mut catalog = RedbLog::open(&temp.path().join(META_DIR)).unwrap();
        let topic = TopicRecord {
            name: TopicName::new("orders").unwrap(),
            id: id.topic,
            number: 0,
            partitions: 1,
            configs: BTreeMap::new(),
        };
        let cluster = MetadataRecord::ClusterCreated { id: ClusterId::from_bytes([1; 16]) };
        catalog.append(&[cluster, MetadataRecord::TopicCreated(topic)]).unwrap();
        let partition = temp.path().join(id.dir());
        fs::create_dir_all(&partition).unwrap();
        let directory = Directory { temp, partition, id };
        directory.write_segments();
        directory
    }

    fn write_segments(&self) {
        let (mut base, mut next) = (Offset::ZERO, Offset::ZERO);
        let (mut bytes, mut index) = (Vec::new(), SparseIndex::default());
        for number in 0..300u64 {
            let batch = batch(next, number);
            if SEGMENT_BYTES < bytes.len() as u64 + batch.len() as u64 {
                self.write(base, next, &bytes, &index);
                (base, bytes, index) = (next, Vec::new(), SparseIndex::default());
            }
            index.note(base, next, bytes.len() as u64, Timestamp::MIN);
            next = Batch::split_first(&batch).unwrap().0.next_offset();
            bytes.extend_from_slice(&batch);
        }
        self.write(base, next, &bytes, &index);
        let point = DurablePoint {
            segment: base,
            position: bytes.len() as u64,
            prepared: 0,
            offset: next,
            start: Offset::ZERO,
            clean_upto: Offset::ZERO,
            clean: true,
        };
        let checkpoint = Checkpoint { logs: [(self.id, point)].into() };
        fs::write(self.temp.path().join(CHECKPOINTS_DIR).join("shard-0"), checkpoint.to_bytes()).unwrap();
    }

    fn write(&self, base: Offset, next: Offset, bytes: &[u8], index: &SparseIndex) {
        let extent = Extent { len: bytes.len() as u64, next, ..Extent::empty(base) };
        fs::write(self.partition.join(name::log_file(base)), bytes).unwrap();
        fs::write(self.partition.join(name::index_file(base)), index.to_bytes(extent, true, &[])).unwrap();
    }

    /// The segments' paths, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(&self.partition).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        found.sort();
        found
    }

    fn verify(&self) -> Report {
        verify(self.temp.path()).unwrap()
    }

    /// The only finding, and that it is one of this kind.
    #[track_caller]
    fn finds(&self, severity: Severity, what: &str) {
        let report = self.verify();
        let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
        assert!(finding.severity == severity && finding.what.contains(what), "{finding:?}");
        assert_eq!(report.is_sound(), severity == Severity::Note);
    }

    #[track_caller]
    fn is_damaged(&self, what: &str) {
        self.finds(Severity::Damage, what);
    }

    #[track_caller]
    fn is_sound_with_note(&self, what: &str) {
        self.finds(Severity::Note, what);
    }
}

fn batch(base: Offset, number: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..=number % 5 {
        builder.try_append(Timestamp::from_millis(5), None, Some(&[number as u8; 400]), &[]).unwrap();
    }
    let mut bytes = builder.finish().to_vec();
    stamp(&mut bytes, base, LeaderEpoch::FIRST);
    bytes
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_directory_that_was_stopped_in_order_is_sound() {
    let directory = Directory::new();
    let report = directory.verify();
    assert_eq!(report.findings, []);
    let [partition] = report.partitions.as_slice() else { panic!("{report:?}") };
    assert!(partition.sound && 3 < partition.segments, "{partition:?}");
    assert_eq!((partition.topic.as_str(), partition.batches, partition.records), ("orders", 300, 900));
    assert_eq!((partition.start, partition.end), (0, 900));
}

#[test]
fn one_flipped_byte_is_found_in_every_segment() {
    let segments = Directory::new().segments().len();
    for at in 0..segments {
        let directory = Directory::new();
        change(&directory.segments()[at], |bytes| bytes[20_000] ^= 1);
        directory.is_damaged("the checksum does not match");
    }
}

#[test]
fn lost_ends_and_lost_segments_are_found() {
    let directory = Directory::new();
    change(&directory.segments()[1], |bytes| bytes.truncate(30_000));
    directory.is_damaged("is cut off after");

    for (at, what) in [(0, "begins at offset"), (1, "the next begins at"), (2, "the next begins at")] {
        let directory = Directory::new();
        let segment = directory.segments().swap_remove(at);
        fs::remove_file(&segment).unwrap();
        fs::remove_file(segment.with_extension("index")).unwrap();
        directory.is_damaged(what);
    }

    let directory = Directory::new();
    let last = directory.segments().pop().unwrap();
    fs::remove_file(&last).unwrap();
    fs::remove_file(last.with_extension("index")).unwrap();
    directory.is_damaged("records up to 900 were durable");

    let directory = Directory::new();
    fs::remove_dir_all(&directory.partition).unwrap();
    directory.is_damaged("records 0 to 900 were durable");
}

#[test]
fn an_index_is_only_a_help() {
    let directory = Directory::new();
    let index = directory.segments()[1].with_extension("index");
    change(&index, |bytes| bytes[20] ^= 1);
    directory.is_sound_with_note("is garbled");
    fs::remove_file(&index).unwrap();
    directory.is_sound_with_note("lost its index");
}

#[test]
fn what_a_crash_leaves_is_a_note() {
    let directory = Directory::new();
    let last = directory.segments().pop().unwrap();
    let end = fs::metadata(&last).unwrap().len();
    change(&last, |bytes| bytes.extend([0; 10_000]));
    assert_eq!(directory.verify().findings, [], "zeroes are prepared space");
    change(&last, |bytes| bytes.extend(&batch(Offset::new(900), 4)[..100]));
    directory.is_sound_with_note("torn tail");
    assert_eq!(directory.verify().findings[0].position, Some(end));
    // The same below the checkpoint is no torn tail.
    change(&last, |bytes| bytes[end as usize - 1] ^= 1);
    directory.is_damaged("records up to offset 900 were durable");
}

#[test]
fn the_catalog_and_the_checkpoints_are_read() {
    let directory = Directory::new();
    let checkpoint = directory.temp.path().join("checkpoints/shard-0");
    change(&checkpoint, |bytes| bytes[30] ^= 1);
    directory.is_damaged("is garbled");

    let directory = Directory::new();
    fs::remove_file(directory.temp.path().join("meta/catalog.redb")).unwrap();
    directory.is_damaged("is missing");

    let directory = Directory::new();
    fs::create_dir(directory.temp.path().join("topics/stray")).unwrap();
    directory.is_damaged("belongs to no topic");

    let directory = Directory::new();
    fs::write(directory.temp.path().join("thesis.tex"), "x").unwrap();
    directory.is_sound_with_note("is not a file of Ringlog");
}

#[test]
fn nothing_on_disk_changes() {
    let directory = Directory::new();
    let all = || -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
        let mut left = vec![directory.temp.path().to_owned()];
        let mut files = Vec::new();
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let changed = fs::metadata(&path).unwrap().modified().unwrap();
                files.push((path.clone(), fs::read(path).unwrap(), changed));
            }
        }
        files.sort();
        files
    };
    let before = all();
    directory.verify();
    assert!(all() == before);
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = Directory::new();
    let broker = DataDirectory::open(directory.temp.path()).unwrap();
    let error = verify(directory.temp.path()).unwrap_err().to_string();
    assert!(error.contains("is in use by another broker"), "{error}");
    drop(broker);
    assert!(directory.verify().is_sound());
    let error = verify(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("no file `format`"), "{error}");
}
