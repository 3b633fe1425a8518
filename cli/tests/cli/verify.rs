//! `ringlog verify` on the directory of a real broker.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Served, ringlog};

/// A broker that was given a topic and records, and was stopped.
fn stopped() -> tempfile::TempDir {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "orders", "-p", "2", "--config", "segment.bytes=65536"]).ok();
    let lines: String = (0..3000).map(|n| format!("{n}:{}\n", "x".repeat(100))).collect();
    broker.ringlog_with(&["produce", "orders", "-K", ":"], lines.as_bytes()).ok();
    broker.stop().1
}

fn verify(dir: &Path, more: &[&str]) -> crate::run::Ran {
    ringlog(&[&["verify", dir.join("data").to_str().unwrap()], more].concat())
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut left, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|of| of == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_stopped_broker_leaves_a_sound_directory() {
    let dir = stopped();
    let shown = verify(dir.path(), &[]).ok();
    assert!(shown.contains("orders") && shown.contains("ok") && !shown.contains("note"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&verify(dir.path(), &["-o", "json"]).ok()).unwrap();
    assert_eq!((&json["sound"], &json["findings"]), (&true.into(), &serde_json::json!([])));
    let records = json["partitions"].as_array().unwrap().iter().map(|one| one["records"].as_u64().unwrap());
    assert_eq!(records.sum::<u64>(), 3000);
}

#[test]
fn a_killed_broker_leaves_a_sound_directory() {
    let mut broker = Served::start();
    broker.ringlog(&["topic", "create", "orders"]).ok();
    broker.ringlog_with(&["produce", "orders"], b"one\ntwo\n").ok();
    let other = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = std::mem::replace(&mut broker.dir, other);
    let used = verify(dir.path(), &[]).fails_with(78);
    assert!(used.contains("is in use by another broker"), "{used}");
    drop(broker);
    verify(dir.path(), &[]).ok();
}

#[test]
fn damage_has_its_exit_code_and_its_place() {
    let dir = stopped();
    let index = files(dir.path(), "index").remove(0);
    fs::write(&index, b"rubbish").unwrap();
    let shown = verify(dir.path(), &[]).ok();
    assert!(shown.contains("note   topics/") && shown.contains(".index: is garbled"), "{shown}");

    let segment = files(dir.path(), "log").remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let damaged = verify(dir.path(), &[]);
    assert!(damaged.out.contains("DAMAGE topics/") && damaged.out.contains("checksum"), "{damaged:?}");
    damaged.fails_with(8);
    let json = verify(dir.path(), &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let findings = json["findings"].as_array().unwrap();
    assert!(json["sound"] == false && findings.iter().any(|one| one["severity"] == "damage"), "{json}");
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = ringlog(&["verify", dir.path().to_str().unwrap()]).fails_with(78);
    assert!(refused.contains("is not a data directory of Ringlog"), "{refused}");
}
