//! Damaged and missing files: corruption is told from a torn tail, nothing is cut off or deleted.
//!
//!     records ─ orderly stop or crash ─ damage ─▶ recover ─▶ intact below, a typed error above

mod sim_harness;

use std::collections::BTreeMap;

use protocol::model::{Offset, TopicId, TopicName};
use sim_harness::wreck::{check_prefix, disk_with_records, log_files, recover_log, report_of, scrub_log};
use storage::catalog::{MetadataLog, MetadataRecord, RedbLog, TopicRecord};
use storage::disk::sim::SimRng;
use storage::log::LogState;

#[test]
fn a_flipped_bit_in_a_log_is_never_served_and_deletes_nothing() {
    let mut rng = SimRng::new(7);
    let mut noticed = 0;
    for seed in 1..60 {
        let (disk, id, sent) = disk_with_records(seed, false);
        let Some(path) = log_files(&disk).into_iter().find(|path| path.starts_with(&id.dir())) else {
            continue;
        };
        let len = disk.contents(&path).map_or(0, |bytes| bytes.len());
        if len == 0 {
            continue;
        }
        let (at, bit) = (rng.below(len), rng.below(8));
        let before = log_files(&disk);
        disk.damage(&path, |bytes| bytes[at] ^= 1 << bit);
        let (_, told, served) = recover_log(&disk, id, None);
        check_prefix(&served, &sent, &format!("seed {seed}, byte {at} of {path}"));
        // A flip in the zeroes behind the last batch, or in a part of the header that the broker sets
        // anew, harms nothing; any other one is told.
        assert!(told || served.len() == sent.len(), "seed {seed}, byte {at} of {path}: lost without a word");
        if told {
            noticed += 1;
            assert_eq!(log_files(&disk), before, "quarantine deletes nothing");
        }
    }
    assert!(10 < noticed, "flips hit batches: {noticed}");
}

/// Bytes of a file that are tried one by one: two batch headers, the headers of an index or checkpoint.
const EACH_OF: usize = 122;

/// Every header byte and random ones behind them, of log, index and checkpoint, flipped or cut off.
#[test]
fn ten_thousand_flips_and_cuts_are_told_or_harmless() {
    let mut rng = SimRng::new(3);
    let (mut tried, mut told_of) = (0, 0);
    for seed in 1.. {
        let (disk, id, sent) = disk_with_records(seed, seed % 2 == 0);
        let own = |path: &String| path.starts_with(&id.dir()) || path.starts_with("checkpoints/");
        for path in disk.files().into_iter().filter(own) {
            let len = disk.contents(&path).map_or(0, |bytes| bytes.len());
            let ends = len.min(EACH_OF);
            let random: Vec<usize> = (0..EACH_OF / 2).map(|_| rng.below(len.max(1))).collect();
            for at in (0..ends).chain(random).filter(|at| *at < len) {
                let image = disk.crash_image(seed);
                let cut = rng.below(8) == 0;
                let bit = rng.below(8);
                image.damage(&path, |bytes| if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit });
                let before = log_files(&image);
                let (_, told, served) = recover_log(&image, id, None);
                let what = format!("seed {seed}, {path} {} {at}", if cut { "cut at" } else { "flipped at" });
                check_prefix(&served, &sent, &what);
                // Without its checkpoint a log whose tail was cut off looks as one that never had it.
                assert!(told || served.len() == sent.len(), "{what}: lost without a word");
                assert!(!told || log_files(&image) == before, "{what}: quarantine deletes nothing");
                (tried, told_of) = (tried + 1, told_of + usize::from(told));
            }
        }
        if 10_000 <= tried {
            break;
        }
    }
    println!("{tried} flips and cuts: {told_of} told, the others harmless");
    assert!(1000 < told_of, "the damage is in places that matter: {told_of}");
}

#[test]
fn a_corrupt_log_stays_corrupt_over_restarts() {
    for seed in 1..30 {
        let (disk, id, _) = disk_with_records(seed, false);
        let Some(path) = log_files(&disk).into_iter().find(|path| path.starts_with(&id.dir())) else {
            continue;
        };
        disk.damage(&path, |bytes| {
            if let Some(byte) = bytes.get_mut(30) {
                *byte ^= 0xff;
            }
        });
        let (first, told, _) = recover_log(&disk, id, None);
        assert!(told || disk.contents(&path).is_none_or(|bytes| bytes.len() < 30), "seed {seed}");
        let contents = disk.contents(&path);
        let (second, ..) = recover_log(&disk, id, None);
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(disk.contents(&path), contents, "seed {seed}: nothing was cut");
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    let mut missed = 0;
    for seed in 1..60 {
        for clean in [false, true] {
            let (disk, id, sent) = disk_with_records(seed, clean);
            let own: Vec<String> =
                log_files(&disk).into_iter().filter(|path| path.starts_with(&id.dir())).collect();
            if own.len() < 3 {
                continue;
            }
            for gone in &own {
                let image = disk.crash_image(seed);
                let (inner, path) = (image.clone(), gone.clone());
                image.block_on(async move {
                    storage::disk::Disk::remove_file(&inner, &path).await.expect("it is there");
                });
                let (state, _, served) = recover_log(&image, id, None);
                check_prefix(&served, &sent, &format!("seed {seed}, without {gone}"));
                assert!(
                    matches!(state, LogState::Corrupt { .. }),
                    "seed {seed}, clean {clean}, without {gone}: {state:?}"
                );
                missed += 1;
            }
        }
    }
    assert!(20 < missed, "segments were there to lose: {missed}");
}

#[test]
fn indexes_and_checkpoints_can_be_lost_or_garbled() {
    let mut rng = SimRng::new(11);
    for seed in 1..60 {
        for clean in [false, true] {
            let (disk, id, sent) = disk_with_records(seed, clean);
            for path in disk.files().into_iter().filter(|path| !path.ends_with(".log")) {
                let at = rng.draw();
                disk.damage(&path, |bytes| match at % 3 {
                    0 => bytes.clear(),
                    1 => bytes.truncate(bytes.len() / 2),
                    _ => {
                        let len = bytes.len().max(1);
                        if let Some(byte) = bytes.get_mut(at as usize % len) {
                            *byte ^= 0x10;
                        }
                    }
                });
            }
            let (state, _, served) = recover_log(&disk, id, None);
            assert_eq!(state, LogState::Open, "seed {seed}");
            check_prefix(&served, &sent, &format!("seed {seed}"));
            assert_eq!(served.len(), sent.len(), "seed {seed}: everything was durable");
            let end = served.last().map_or(Offset::ZERO, |last| last.next);
            assert_eq!(end, sent.last().map_or(Offset::ZERO, |last| last.next));
        }
    }
}

/// After an orderly stop the checkpoint and the indexes are believed; after a crash what follows them is
/// read.
#[test]
fn a_start_after_an_orderly_stop_reads_no_batch() {
    for clean in [true, false] {
        let (disk, id, sent) = disk_with_records(5, clean);
        let report = report_of(&disk, id);
        assert!(!sent.is_empty());
        assert_eq!(report.bytes_read == 0, clean, "{report:?}");
    }
}

/// What nobody has read since it was written is found by the scrub, and nothing else is.
#[test]
fn the_scrub_finds_a_flipped_bit_in_a_closed_segment() {
    let (mut rng, mut found) = (SimRng::new(9), 0);
    for seed in 1..40 {
        let (disk, id, _) = disk_with_records(seed, true);
        let mut own: Vec<String> =
            log_files(&disk).into_iter().filter(|path| path.starts_with(&id.dir())).collect();
        own.pop(); // the active segment is not scrubbed
        let bytes: u64 =
            own.iter().filter_map(|path| disk.contents(path)).map(|file| file.len() as u64).sum();
        assert_eq!(scrub_log(&disk, id, |_| {}), (bytes, 0), "seed {seed}: nothing is damaged");
        let Some(path) = own.first().cloned() else { continue };
        let at = rng.below(disk.contents(&path).map_or(1, |file| file.len()));
        let (_, damaged) = scrub_log(&disk, id, move |disk| disk.damage(&path, |file| file[at] ^= 4));
        assert_eq!(damaged, 1, "seed {seed}: flipped at {at}");
        found += 1;
    }
    assert!(10 < found, "segments were there to damage: {found}");
}

/// A catalog with flipped bits is refused, or holds what it held; at worst its last change is undone,
/// as by a crash before it.
#[test]
fn a_flipped_bit_in_the_catalog_is_never_taken_for_a_record() {
    let temp = tempfile::tempdir().expect("a directory");
    let topic = |n: u8| {
        MetadataRecord::TopicCreated(TopicRecord {
            name: TopicName::new(&format!("topic-{n}")).expect("a name"),
            id: TopicId::from_bytes([n; 16]),
            number: u64::from(n),
            partitions: 3,
            configs: BTreeMap::new(),
        })
    };
    let records: Vec<MetadataRecord> = (0..20).map(topic).collect();
    let mut log = RedbLog::open(temp.path()).expect("a new catalog");
    records.iter().for_each(|record| log.append(std::slice::from_ref(record)).expect("it works"));
    drop(log);
    let file = temp.path().join("catalog.redb");
    let whole = std::fs::read(&file).expect("readable");
    let mut rng = SimRng::new(5);
    let mut refused = 0;
    for n in 0..600 {
        let at = if n < 300 { n } else { rng.below(whole.len()) };
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << rng.below(8);
        std::fs::write(&file, &bytes).expect("writable");
        // redb asserts some things of its own files; a start that panics is refused as well.
        let replayed = std::panic::catch_unwind(|| RedbLog::open(temp.path()).and_then(|log| log.replay()));
        match replayed {
            Ok(Ok(found)) => assert!(records.starts_with(&found), "flipped at {at}: {found:?}"),
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    }
    assert!(0 < refused, "some flips hit what matters");
    println!("600 flips in the catalog: {refused} refused, the others harmless");
}
