//! Runs through Kafka's listener, by librdkafka: the same load, the same report, the same verdict.
//!
//!     produce · consume · pubsub · drain, each with --kafka and --verify

mod common;
use common::{Dir, document, file, last_line};

const CLEAN: &str = "| lost 0 duplicated 0 reordered 0 corrupt 0";

/// Runs it and returns what it counted.
fn run(name: &str, line: &str) -> serde_json::Value {
    let (dir, json) = (Dir::new(name), file(&format!("{name}.json")));
    let output = dir.run(&format!("{line} --kafka --verify --json {}", json.display()));
    let last = last_line(&output);
    assert!(last.contains(CLEAN), "{last}");
    dir.assert_empty();
    let document = document(&json);
    let asked = &document["broker"]["counters"]["kafka_requests"];
    assert!(asked.as_u64() > Some(2), "through the Kafka listener: {asked}");
    document
}

#[test]
fn what_librdkafka_produces_is_read_back() {
    let line = "produce --records 20k --record-size 200 --partitions 3 --producers 2 --key rand:100";
    let document = run("kafka-produce", line);
    assert_eq!(document["verify"]["received"], 20_000);
    assert_eq!(document["produce"]["records"], 20_000);
}

#[test]
fn librdkafka_reads_what_it_compressed() {
    for codec in ["lz4", "zstd", "snappy", "gzip"] {
        let line = format!("consume --records 5k --payload text --compression {codec}");
        let document = run(&format!("kafka-consume-{codec}"), &line);
        assert_eq!(document["consume"]["records"], 5_000, "{codec}");
    }
}

#[test]
fn end_to_end_is_measured_through_librdkafka() {
    let line = "pubsub --rate 2k --duration 500ms --warmup 0 --partitions 2 --consumers 2";
    let document = run("kafka-pubsub", line);
    assert!(document["consume"]["end_to_end_us"]["p50"].as_f64() > Some(0.0));
}

#[test]
fn a_drain_goes_through_librdkafka() {
    let line = "drain --records 5k --record-size 200 --rate 1k --duration 300ms --warmup 0";
    let document = run("kafka-drain", line);
    assert!(document["drain"]["catch_up_s"].as_f64() > Some(0.0));
}

#[test]
fn what_is_not_acknowledged_one_at_a_time_is_still_counted() {
    let document = run("kafka-window", "produce --records 500 --outstanding 1 --linger 0 --acks 1");
    assert_eq!(document["produce"]["records"], 500);
}
