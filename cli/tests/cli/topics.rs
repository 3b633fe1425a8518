//! `ringlog topic` against a broker.

use crate::run::{Served, ringlog};

#[test]
fn a_topic_lives_from_create_to_delete() {
    let broker = Served::start();
    let created = broker.ringlog(&["topic", "create", "orders", "-p", "3", "-c", "segment.bytes=1048576"]);
    assert_eq!(created.err, "created topic \"orders\" with 3 partitions\n");
    assert_eq!(created.code, 0);

    let list = broker.ringlog(&["topic", "list"]).ok();
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "PARTITIONS", "ID"]);
    assert_eq!(lines[1][..2], ["orders", "3"]);

    let json = broker.ringlog(&["topic", "describe", "orders", "-o", "json"]).ok();
    let topic: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(topic["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(topic["partitions"][2]["end_offset"], 0);
    let configs = topic["configs"].as_array().unwrap();
    let segment_bytes = configs.iter().find(|entry| entry["key"] == "segment.bytes").unwrap();
    assert_eq!(
        (segment_bytes["value"].as_str(), segment_bytes["is_default"].as_bool()),
        (Some("1048576"), Some(false))
    );

    // Nobody can be asked here.
    assert!(broker.ringlog(&["topic", "delete", "orders"]).fails_with(2).contains("--yes"));
    broker.ringlog(&["topic", "delete", "orders", "--yes"]).ok();
    assert_eq!(broker.ringlog(&["topic", "list", "-o", "json"]).ok(), "[]\n");
}

#[test]
fn a_topic_is_changed_and_gets_more_partitions() {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "orders", "-p", "2", "-c", "segment.ms=1h"]).ok();
    let config = |key: &str| {
        let json = broker.ringlog(&["topic", "describe", "orders", "-o", "json"]).ok();
        let topic: serde_json::Value = serde_json::from_str(&json).unwrap();
        let configs = topic["configs"].as_array().unwrap();
        let entry = configs.iter().find(|entry| entry["key"] == key).unwrap();
        (entry["value"].as_str().unwrap().to_owned(), entry["is_default"].as_bool().unwrap())
    };
    let alter = ["topic", "alter", "orders"];
    let change = ["--set", "retention.ms=1h", "--set", "flush.ms=1s", "--reset", "segment.ms"];
    let asked = broker.ringlog(&[&alter[..], &change, &["--dry-run"]].concat());
    assert_eq!((asked.code, asked.err.as_str()), (0, "topic \"orders\" could be changed\n"));
    assert_eq!(config("retention.ms"), ("604800000".to_owned(), true));
    let changed = broker.ringlog(&[&alter[..], &change].concat());
    assert_eq!((changed.code, changed.err.as_str()), (0, "changed topic \"orders\"\n"));
    assert_eq!(config("retention.ms"), ("3600000".to_owned(), false));
    assert_eq!(config("segment.ms"), ("604800000".to_owned(), true));

    let unknown = broker.ringlog(&[&alter[..], &["--set", "retention.m=1"]].concat()).fails_with(2);
    let why = "Unknown topic config name: retention.m; did you mean retention.ms?";
    assert!(unknown.contains(why), "{unknown}");
    let wrong = broker.ringlog(&[&alter[..], &["--set", "segment.ms=0"]].concat()).fails_with(2);
    assert!(
        wrong.contains("Invalid value 0 for configuration segment.ms: Value must be at least 1"),
        "{wrong}"
    );
    broker.ringlog(&alter).fails_with(2);
    broker.ringlog(&[&alter[..], &["--set", "retention.ms"]].concat()).fails_with(2);
    let nowhere = broker.ringlog(&["topic", "alter", "ordres", "--reset", "flush.ms"]).fails_with(3);
    assert!(nowhere.contains("did you mean \"orders\"?"), "{nowhere}");

    let add = ["topic", "add-partitions", "orders", "--to"];
    let asked = broker.ringlog(&[&add[..], &["5", "--dry-run"]].concat());
    assert_eq!((asked.code, asked.err.as_str()), (0, "topic \"orders\" could have 5 partitions\n"));
    let added = broker.ringlog(&[&add[..], &["4"]].concat());
    assert_eq!((added.code, added.err.as_str()), (0, "topic \"orders\" has 4 partitions now\n"));
    broker.ringlog_with(&["produce", "orders", "-p", "3"], b"a\n").ok();
    assert_eq!(broker.ringlog(&["consume", "orders", "--from", "start", "-e"]).ok(), "a\n");
    let fewer = broker.ringlog(&[&add[..], &["3"]].concat()).fails_with(2);
    assert!(fewer.contains("has 4 partitions") && fewer.contains("only grows"), "{fewer}");
    broker.ringlog(&["topic", "add-partitions", "nowhere", "--to", "3"]).fails_with(3);
    broker.ringlog(&[&add[..], &["0"]].concat()).fails_with(2);
}

#[test]
fn the_first_records_of_a_partition_are_deleted_when_that_is_confirmed() {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "orders"]).ok();
    broker.ringlog_with(&["produce", "orders"], b"a\nb\nc\n").ok();
    let verb = ["topic", "delete-records", "orders", "-p", "0", "--before"];
    let refused = broker.ringlog(&[&verb[..], &["2"]].concat()).fails_with(2);
    assert!(refused.contains("--yes"), "{refused}");
    let deleted = broker.ringlog(&[&verb[..], &["2", "--yes"]].concat());
    assert_eq!((deleted.code, deleted.err.as_str()), (0, "orders/0 begins at offset 2 now\n"));
    assert_eq!(broker.ringlog(&["consume", "orders", "--from", "start", "-e"]).ok(), "c\n");
    let all = broker.ringlog(&[&verb[..], &["latest", "--yes"]].concat());
    assert_eq!(all.err, "orders/0 begins at offset 3 now\n");
    let beyond = broker.ringlog(&[&verb[..], &["4", "--yes"]].concat()).fails_with(2);
    assert!(beyond.contains("offset"), "{beyond}");
    broker
        .ringlog(&["topic", "delete-records", "orders", "-p", "7", "--before", "latest", "--yes"])
        .fails_with(3);
    broker
        .ringlog(&["topic", "delete-records", "orders", "-p", "0", "--before", "soon", "--yes"])
        .fails_with(2);
}

#[test]
fn what_goes_wrong_has_its_number_and_a_next_step() {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "orders"]).ok();

    let exists = broker.ringlog(&["topic", "create", "orders"]).fails_with(4);
    assert!(exists.contains("--if-not-exists"), "{exists}");
    broker.ringlog(&["topic", "create", "orders", "--if-not-exists"]).ok();

    for verb in [&["topic", "describe", "ordres"][..], &["consume", "ordres", "-e"], &["produce", "ordres"]] {
        let unknown = broker.ringlog(verb).fails_with(3);
        assert!(unknown.contains("did you mean \"orders\"?"), "{unknown}");
    }
    let config = broker.ringlog(&["topic", "create", "x", "-c", "segment.byte=1"]).fails_with(2);
    assert!(config.contains("did you mean segment.bytes?"), "{config}");
    broker.ringlog(&["topic", "create", "no/slash"]).fails_with(2);
    assert!(broker.ringlog(&["produce", "orders", "-p", "7"]).fails_with(3).contains("it has 1"));
}

#[test]
fn a_broker_that_is_away_is_told_from_a_wrong_address() {
    let away = ringlog(&["topic", "list", "--bootstrap", "127.0.0.1:1"]).fails_with(6);
    assert!(away.contains("cannot connect to 127.0.0.1:1") && away.contains("ringlog dev"), "{away}");
    ringlog(&["topic", "list", "--bootstrap", "nonsense"]).fails_with(2);
}
