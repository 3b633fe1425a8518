//! Topics of their own, and what the native client and the disk have: harness.py for Rust.
//!
//!     topic(2, &[("retention.ms", "777")])    made by `ringlog topic create`
//!     native_records(&name)                   what `ringlog consume` reads there
//!     stored_batches(&name)                   what lies on the disk, as `ringlog dump` shows it

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A record, sent or found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; to be sent without is to be sent now.
    pub timestamp: Option<i64>,
}

impl Record {
    pub fn of(value: impl Into<Vec<u8>>) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }
}

/// Records of these values.
pub fn records<V: Clone + Into<Vec<u8>>>(values: &[V]) -> Vec<Record> {
    values.iter().cloned().map(Record::of).collect()
}

/// Their values; a tombstone has none and ends the test.
pub fn values(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.value.clone().expect("it has a value")).collect()
}

/// `b"3"`, `b"4"` for 3..5.
pub fn numbers(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|number| number.to_string().into_bytes()).collect()
}

/// Values that every codec makes smaller.
pub fn compressible(count: u32, text: &str) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("{text}{index:06} {}", "ringlog ".repeat(100)).into_bytes()).collect()
}

/// A byte of each value and no newline: `ringlog produce` sends lines.
pub fn every_byte() -> Vec<u8> {
    (0..=255).filter(|byte| *byte != b'\n').collect()
}

/// What conformance.py says where things are.
pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: ci/kafka-conformance starts this"))
}

pub fn unused_name(kind: &str) -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    format!("{}-{kind}-{}-{number}", env("KAFKA_CLIENT"), std::process::id())
}

pub fn topic(partitions: u32, configs: &[(&str, &str)]) -> String {
    let name = unused_name("topic");
    let partitions = format!("--partitions={partitions}");
    let configs: Vec<String> = configs.iter().map(|(key, value)| format!("--config={key}={value}")).collect();
    let mut arguments = vec!["topic", "create", &name, &partitions];
    arguments.extend(configs.iter().map(String::as_str));
    ringlog(&arguments, b"");
    name
}

pub fn topic_exists(name: &str) -> bool {
    ringlog(&["topic", "list"], b"").split_whitespace().any(|word| word == name)
}

pub fn ringlog(arguments: &[&str], stdin: &[u8]) -> String {
    let mut child = Command::new(env("RINGLOG_BIN"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("RINGLOG_BIN is a program");
    // It reads all before it says anything.
    child.stdin.take().expect("it is a pipe").write_all(stdin).expect("it reads its input");
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ringlog {}: {said}", arguments.join(" "));
    String::from_utf8(done.stdout).expect("it prints text")
}

/// In the order of offsets.
pub fn native_records(topic: &str) -> Vec<Record> {
    let shown = ringlog(&["consume", topic, "--from=start", "--exit-at-end", "--jsonl"], b"");
    let mut records: Vec<Value> = lines_of_json(&shown);
    records.sort_by_key(|record| (record["partition"].as_u64(), record["offset"].as_u64()));
    let header = |header: &Value| {
        let key = header["key"].as_str().expect("a header has a key");
        (key.to_owned(), bytes(header, "value"))
    };
    let record = |record: &Value| Record {
        key: bytes(record, "key"),
        value: bytes(record, "value"),
        headers: record["headers"].as_array().expect("a list").iter().map(header).collect(),
        timestamp: record["timestamp"].as_i64(),
    };
    records.iter().map(record).collect()
}

pub fn native_values(topic: &str) -> Vec<Vec<u8>> {
    values(&native_records(topic))
}

fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn bytes(part: &Value, field: &str) -> Option<Vec<u8>> {
    let text = part[field].as_str()?;
    match part[format!("{field}_encoding")].as_str() {
        Some("base64") => Some(from_base64(text)),
        _ => Some(text.as_bytes().to_vec()),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).expect("it is base64");
        bits = bits << 6 | value as u32;
        count += 6;
        if 8 <= count {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// The batches of a topic, partition by partition.
pub fn stored_batches(topic: &str) -> Vec<Value> {
    let described = ringlog(&["topic", "describe", topic], b"");
    let first = described.lines().next().unwrap_or_default();
    let id = first.rsplit(' ').next().unwrap_or_default();
    let partitions = entries(&PathBuf::from(env("RINGLOG_DATA_DIR")).join("topics").join(id));
    let files = partitions.iter().flat_map(entries);
    let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    let dump = |file: PathBuf| {
        let file = file.to_str().expect("our paths are text");
        lines_of_json(&ringlog(&["dump", file, "--output=json"], b""))
    };
    logs.flat_map(dump).filter(|line| line.get("codec").is_some()).collect()
}

fn entries(dir: &PathBuf) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.expect("a directory can be read").path()).collect()
}

pub fn stored_codecs(topic: &str) -> BTreeSet<String> {
    let codec = |batch: &Value| batch["codec"].as_str().expect("a codec has a name").to_owned();
    stored_batches(topic).iter().map(codec).collect()
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
