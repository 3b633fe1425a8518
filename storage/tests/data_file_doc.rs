//! docs/data_file.md shows what the code writes: each of its examples is made here and looked for there.
//!
//!     SparseIndex, Checkpoint on a SimDisk, RedbLog, DataDirectory ─▶ bytes ─▶ lines ─▶ in the document?
//!
//! The example of a batch is checked by protocol/src/batch/tests.rs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::batch::{Batch, BatchBuilder, Codec};
use protocol::model::{
    ClusterId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId, TopicName,
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use storage::catalog::{MetadataLog, MetadataRecord, RedbLog, TopicRecord};
use storage::checkpoint::{CHECKPOINTS_DIR, Checkpoint};
use storage::directory::{DataDirectory, META_DIR};
use storage::disk::{Disk, FlushScope, SimDisk};
use storage::id::LogId;
use storage::log::{DurablePoint, ProducerStates};
use storage::segment::{Extent, SparseIndex, name};

/// Bytes in one line of a table.
const LINE: usize = 8;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/data_file.md");
    std::fs::read_to_string(path).expect("docs/data_file.md is there")
}

fn check_shown(example: &str) {
    assert!(document().contains(example), "docs/data_file.md should contain\n{example}");
}

/// One line for each eight bytes: position, bytes, field.
fn labelled(bytes: &[u8], fields: &[(usize, &str)]) -> String {
    let mut at = 0;
    let mut text = String::new();
    for (len, name) in fields {
        let field = &bytes[at..at + len];
        for (n, chunk) in field.chunks(LINE).enumerate() {
            let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let line = format!(
                "    {:>3}  {:<23}  {}",
                at + n * LINE,
                hex.join(" "),
                if n == 0 { name } else { "" }
            );
            text += line.trim_end();
            text.push('\n');
        }
        at += len;
    }
    assert_eq!(at, bytes.len(), "the fields cover the bytes");
    text
}

fn topic_id() -> TopicId {
    "3f2a0011-2233-4455-8677-8899aabbccdd".parse().expect("a UUID")
}

#[test]
fn the_index_is_shown_as_it_is_written() {
    let base = Offset::new(1000);
    let first = Timestamp::from_millis(1_700_000_000_000);
    let last = Timestamp::from_millis(1_700_000_000_500);
    let mut index = SparseIndex::default();
    index.note(base, base, 0, Timestamp::MIN);
    index.note(base, Offset::new(1500), 65_600, first);
    let extent =
        Extent { len: 70_000, next: Offset::new(1540), max_timestamp: last, born: first, appended: last };
    let mut producers = ProducerStates::default();
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..40 {
        builder.try_append(last, None, Some(b"x"), &[]).expect("a small record");
    }
    builder.set_producer(ProducerId::new(7), ProducerEpoch::new(1), Sequence::new(33));
    let batch = builder.finish();
    let (batch, _) = Batch::split_first(&batch).expect("a batch");
    producers.apply(&batch, Offset::new(1500), Offset::new(1540), last);
    let bytes = index.to_bytes(extent, true, &producers.to_bytes());
    check_shown(&labelled(
        &bytes,
        &[
            (4, "magic \"RLIX\""),
            (2, "version 2"),
            (2, "sealed: 1, the segment was closed"),
            (4, "count: 2 entries"),
            (4, "crc-32c of what follows"),
            (8, "len: the segment holds 70,000 bytes of batches"),
            (8, "next: its next offset is 1540"),
            (8, "max timestamp of all its batches"),
            (8, "born: when its first batch was appended"),
            (8, "appended: when its last batch was"),
            (8, "entry: offset 1000"),
            (8, "  position 0"),
            (8, "  max timestamp before it: none, the smallest number"),
            (8, "entry: offset 1500"),
            (8, "  position 65,600"),
            (8, "  max timestamp before it"),
            (8, "producer 7"),
            (2, "  epoch 1"),
            (1, "  batches remembered: 1"),
            (8, "  last use"),
            (4, "  batch: first sequence 33"),
            (4, "    last sequence 72"),
            (8, "    base offset 1500"),
            (8, "    next offset 1540"),
        ],
    ));
}

#[test]
fn the_checkpoint_is_shown_as_it_is_written() {
    let disk = SimDisk::new(1, FlushScope::Device);
    let id = LogId { topic: topic_id(), partition: PartitionIndex::new(2) };
    let point = DurablePoint {
        segment: Offset::new(1000),
        position: 70_000,
        prepared: 131_072,
        offset: Offset::new(1540),
        start: Offset::ZERO,
        clean_upto: Offset::ZERO,
        clean: true,
    };
    let checkpoint = Checkpoint { logs: HashMap::from([(id, point)]) };
    disk.block_on(async {
        disk.create_dir(CHECKPOINTS_DIR).await?;
        checkpoint.write(&disk, 0).await
    })
    .expect("the disk works");
    let bytes = disk.contents("checkpoints/shard-0").expect("it was written");
    check_shown(&labelled(
        &bytes,
        &[
            (4, "magic \"RLCP\""),
            (4, "version 2"),
            (4, "count: 1 entry"),
            (4, "crc-32c of what follows"),
            (16, "entry: topic 3f2a0011-2233-4455-8677-8899aabbccdd"),
            (4, "  partition 2"),
            (8, "  segment: the one whose base offset is 1000"),
            (8, "  position: 70,000 bytes of its batches are durable"),
            (8, "  prepared: its blocks are written up to 131,072"),
            (8, "  offset: every record below 1540 is durable"),
            (8, "  start: the log begins at offset 0"),
            (8, "  clean up to: records below 0 are compacted"),
            (4, "  clean: 1, the log was closed in order"),
        ],
    ));
}

#[test]
fn the_catalogs_records_are_shown_as_they_are_written() {
    let topic = TopicRecord {
        name: TopicName::new("orders").expect("a legal name"),
        id: topic_id(),
        number: 0,
        partitions: 3,
        configs: BTreeMap::from([("segment.bytes".to_owned(), "1048576".to_owned())]),
    };
    let cluster = "0c000000-0000-4000-8000-000000000001".parse::<ClusterId>().expect("a UUID");
    let records = [
        MetadataRecord::ClusterCreated { id: cluster },
        MetadataRecord::TopicCreated(topic),
        MetadataRecord::PartitionsCreated { id: topic_id(), total: 6 },
        MetadataRecord::TopicConfigured {
            id: topic_id(),
            configs: BTreeMap::from([("retention.ms".to_owned(), "3600000".to_owned())]),
        },
        MetadataRecord::TopicDeleted { id: topic_id() },
        MetadataRecord::TopicRemoved { id: topic_id() },
    ];
    let temp = tempfile::tempdir().expect("a directory");
    RedbLog::open(temp.path()).and_then(|mut log| log.append(&records)).expect("the catalog works");
    let table = TableDefinition::<u64, &[u8]>::new("records");
    let database = Database::open(temp.path().join("catalog.redb")).expect("it was made");
    let stored = database.begin_read().expect("readable").open_table(table).expect("the table is there");
    let mut lines = String::new();
    for entry in stored.iter().expect("readable") {
        let (number, json) = entry.expect("readable");
        lines += &format!("    {} → {}\n", number.value(), String::from_utf8_lossy(json.value()));
    }
    assert_eq!(lines.lines().count(), records.len());
    check_shown(&lines);
}

#[test]
fn the_tree_shows_every_name_of_a_data_directory() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("data");
    let directory = DataDirectory::open(&path).expect("a new data directory");
    RedbLog::open(&path.join(META_DIR)).expect("a new catalog");
    let document = document();
    let tree: String = document.lines().filter(|line| line.contains("── ")).collect::<Vec<_>>().join("\n");
    let mut names: BTreeSet<String> = BTreeSet::new();
    for dir in [path.clone(), path.join(META_DIR)] {
        let entries = std::fs::read_dir(dir).expect("readable");
        names
            .extend(entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()));
    }
    names.extend([name::log_file(Offset::new(1000)), name::index_file(Offset::new(1000))]);
    for name in &names {
        assert!(tree.contains(&format!("── {name}")), "{name} is not in the tree of docs/data_file.md");
    }
    let format = std::fs::read_to_string(directory.path().join("format")).expect("readable");
    assert!(document.contains(&format!("`{}`", format.trim_end())), "{format:?} is not in docs/data_file.md");
    let anchor = std::fs::read(directory.path().join("anchor")).expect("readable");
    assert_eq!(anchor, [1; 4096]);
}
