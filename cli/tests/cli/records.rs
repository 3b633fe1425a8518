//! Records in, records out, and what lies on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::run::{Served, Watchdog, command, ringlog};

/// A broker with topic `t`, and in it the records 0 to 9 of one partition.
fn ten_records() -> Served {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "t"]).ok();
    let lines: String = (0..10).map(|i| format!("k{i}:v{i}\n")).collect();
    let produced = broker.ringlog_with(&["produce", "t", "-K", ":", "-H", "from=test"], lines.as_bytes());
    assert_eq!(produced.err, "produced 10 records\n");
    broker
}

#[test]
fn what_comes_out_is_what_went_in() {
    let broker = ten_records();
    let values: String = (0..10).map(|i| format!("v{i}\n")).collect();
    assert_eq!(broker.ringlog(&["consume", "t", "--from", "start", "-e"]).ok(), values);

    let format = ["consume", "t", "--from", "-2", "-e", "-f", "%t/%p@%o %k=%s %h\\n"];
    assert_eq!(broker.ringlog(&format).ok(), "t/0@8 k8=v8 from=test\nt/0@9 k9=v9 from=test\n");

    let one = broker.ringlog(&["consume", "t", "--from", "3", "-n", "1", "--jsonl"]).ok();
    let record: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(
        (&record["offset"], &record["key"], &record["value"]),
        (&3.into(), &"k3".into(), &"v3".into())
    );
    assert_eq!(record["headers"][0]["value"], "test");

    let since = format!("@{}", record["timestamp"]);
    assert!(broker.ringlog(&["consume", "t", "--from", &since, "-e"]).ok().ends_with("v9\n"));
    assert_eq!(broker.ringlog(&["consume", "t", "--from", "@2999-01-01", "-e"]).ok(), "");
    assert_eq!(broker.ringlog(&["consume", "t", "--from", "end", "-e"]).ok(), "");
    broker.ringlog(&["consume", "t", "--from", "11", "-e"]).fails_with(1);
}

#[test]
fn many_lines_of_every_codec_come_back_from_all_partitions() {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "t", "-p", "3"]).ok();
    let lines: String = (0..20_000).map(|i| format!("a line of some length, number {i}\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        broker.ringlog_with(&["produce", "t", "-q", "-z", codec], lines.as_bytes()).ok();
    }
    let consumed = broker.ringlog(&["consume", "t", "--from", "start", "-e"]).ok();
    let (mut sent, mut received): (Vec<&str>, Vec<&str>) =
        (lines.repeat(5).leak().lines().collect(), consumed.lines().collect());
    sent.sort_unstable();
    received.sort_unstable();
    assert!(sent == received, "{} of {}", received.len(), sent.len());
}

#[test]
fn records_survive_a_restart() {
    let broker = ten_records();
    let before = broker.ringlog(&["consume", "t", "--from", "start", "-e", "--jsonl"]).ok();
    let (code, dir) = broker.stop();
    assert_eq!(code, 0);
    let broker = Served::start_in(dir);
    assert_eq!(broker.ringlog(&["consume", "t", "--from", "start", "-e", "--jsonl"]).ok(), before);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let broker = ten_records();
    let mut consume = command(&["consume", "t", "--from", "start", "--bootstrap", &broker.addr]);
    let mut child = consume.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _watchdog = Watchdog::over(&child);
    // Closed before the first record is written, or else while it waits for more.
    drop(child.stdout.take());
    broker.ringlog_with(&["produce", "t", "-q"], b"one more\n").ok();
    let status = child.wait().unwrap();
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn dump_reads_a_segment_and_finds_what_is_broken() {
    let broker = ten_records();
    let (_, dir) = broker.stop();
    let segment = segment_of(&dir.path().join("data"));
    let path = segment.to_str().unwrap();

    let dumped = ringlog(&["dump", path, "--records"]);
    assert!(dumped.err.contains("10 records"), "{dumped:?}");
    let out = dumped.ok();
    assert!(out.contains("\"k9\"  \"v9\"  from=\"test\""), "{out}");
    let json = ringlog(&["dump", path, "-o", "json"]).ok();
    let batch: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&batch["base_offset"], &batch["crc"]), (&0.into(), &"ok".into()));

    let mut bytes = fs::read(&segment).unwrap();
    bytes[70] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let bad = ringlog(&["dump", path]);
    assert!(bad.out.contains("BAD"), "{bad:?}");
    assert!(bad.fails_with(8).contains("bad batch at position 0: the checksum does not match"));
}

/// The only segment below a data directory.
fn segment_of(dir: &Path) -> PathBuf {
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            return path;
        }
    }
    panic!("no segment below {}", dir.display());
}
