//! `ringlog group` against a broker.

use serde_json::{Value, json};

use crate::member::Member;
use crate::run::{Ran, Served};

/// A broker with a topic `orders` of 3 partitions, with 4 records in the first and 2 in the second.
fn broker_with_orders() -> Served {
    let broker = Served::start();
    broker.ringlog(&["topic", "create", "orders", "-p", "3"]).ok();
    broker.ringlog_with(&["produce", "orders", "-p", "0"], b"a\nb\nc\nd\n").ok();
    broker.ringlog_with(&["produce", "orders", "-p", "1"], b"e\nf\n").ok();
    broker
}

fn reset(broker: &Served, group: &str, arguments: &[&str]) -> Ran {
    broker.ringlog(&[&["group", "reset-offsets", group], arguments].concat())
}

fn json_of(broker: &Served, arguments: &[&str]) -> Value {
    let out = broker.ringlog(&[arguments, &["-o", "json"]].concat()).ok();
    serde_json::from_str(&out).unwrap()
}

/// Current offsets of a group by `topic/partition`, as `group describe` tells them.
fn offsets(broker: &Served, group: &str) -> Vec<(String, Option<u64>)> {
    let described = json_of(broker, &["group", "describe", group]);
    let partitions = described[0]["partitions"].as_array().unwrap();
    let named = |row: &Value| format!("{}/{}", row["topic"].as_str().unwrap(), row["partition"]);
    partitions.iter().map(|row| (named(row), row["current_offset"].as_u64())).collect()
}

fn cells(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_group_lives_from_its_first_offset_to_delete() {
    let broker = broker_with_orders();
    assert_eq!(broker.ringlog(&["group", "list"]).err, "no groups\n");
    assert_eq!(broker.ringlog(&["group", "list", "-o", "json"]).ok(), "[]\n");

    // A plan changes nothing.
    let plan = reset(&broker, "billing", &["--topic", "orders", "--to-earliest"]);
    assert!(plan.err.contains("there is no group \"billing\" yet"), "{plan:?}");
    assert!(plan.err.ends_with("nothing was changed; --execute does it\n"), "{plan:?}");
    let plan = plan.ok();
    assert_eq!(cells(&plan)[0], ["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET"]);
    assert_eq!(
        cells(&plan)[1..],
        [["orders", "0", "-", "0"], ["orders", "1", "-", "0"], ["orders", "2", "-", "0"]]
    );
    broker.ringlog(&["group", "describe", "billing"]).fails_with(3);

    let set = reset(&broker, "billing", &["--topic", "orders:0,1", "--to-offset", "1", "--execute"]);
    assert!(set.err.ends_with("set 2 offsets of group \"billing\"\n"), "{set:?}");
    let listed = json_of(&broker, &["group", "list"]);
    assert_eq!(listed, json!([{ "group": "billing", "state": "Empty", "protocol_type": "" }]));
    assert_eq!(json_of(&broker, &["group", "list", "--state", "empty"]), listed);
    assert_eq!(json_of(&broker, &["group", "list", "--state", "stable"]), json!([]));
    let table = broker.ringlog(&["group", "list"]).ok();
    assert_eq!(cells(&table)[1], ["billing", "Empty", "-"]);

    let described = broker.ringlog(&["group", "describe", "billing"]).ok();
    assert!(
        described.starts_with("group billing, Empty, generation 0, assignor -, no members\n"),
        "{described}"
    );
    assert_eq!(
        cells(&described)[2..],
        [
            ["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "MEMBER", "HOST", "CLIENT"],
            ["orders", "0", "1", "4", "3", "-", "-", "-"],
            ["orders", "1", "1", "2", "1", "-", "-", "-"],
        ]
    );

    // Nobody can be asked here.
    assert!(broker.ringlog(&["group", "delete", "billing"]).fails_with(2).contains("--yes"));
    let deleted = json_of(&broker, &["group", "delete", "billing", "--yes"]);
    assert_eq!(deleted, json!([{ "group": "billing", "deleted": true, "error": null }]));
    assert_eq!(json_of(&broker, &["group", "list"]), json!([]));
    broker.ringlog(&["group", "delete", "billing", "--yes"]).fails_with(3);
}

#[test]
fn offsets_are_set_where_they_are_told() {
    let broker = broker_with_orders();
    let named = |offsets: [Option<u64>; 3]| {
        let one = |(partition, offset): (usize, Option<u64>)| {
            offset.map(|at| (format!("orders/{partition}"), Some(at)))
        };
        offsets.into_iter().enumerate().filter_map(one).collect::<Vec<_>>()
    };
    let set = |arguments: &[&str]| reset(&broker, "billing", &[arguments, &["--execute"]].concat());
    let orders = ["--topic", "orders"];

    set(&[&orders[..], &["--to-latest"]].concat()).ok();
    assert_eq!(offsets(&broker, "billing"), named([Some(4), Some(2), Some(0)]));
    let far = set(&[&orders[..], &["--to-offset", "3"]].concat());
    assert_eq!(offsets(&broker, "billing"), named([Some(3), Some(2), Some(0)]));
    assert!(far.err.contains("note: orders/1 ends at offset 2") && !far.err.contains("orders/0"), "{far:?}");
    let back = set(&["--all-topics", "--shift-by", "-1"]);
    assert_eq!(offsets(&broker, "billing"), named([Some(2), Some(1), Some(0)]));
    assert!(back.err.contains("note: orders/2 begins at offset 0"), "{back:?}");
    set(&["--topic", "orders:0", "--to-earliest"]).ok();
    assert_eq!(offsets(&broker, "billing"), named([Some(0), Some(1), Some(0)]));
    set(&["--all-topics", "--to-datetime", "2020-01-01"]).ok();
    assert_eq!(offsets(&broker, "billing")[1].1, Some(0));
    let late = set(&["--all-topics", "--to-datetime", "2100-01-01"]);
    assert!(late.err.contains("note: orders/0 ends at offset 4"), "{late:?}");
    set(&["--topic", "orders:0", "--to-offset", "2"]).ok();
    set(&["--all-topics", "--to-current"]).ok();
    assert_eq!(offsets(&broker, "billing"), named([Some(2), Some(2), Some(0)]));

    let out = reset(&broker, "billing", &["--topic", "orders:1", "--to-offset", "9", "-o", "json"]).ok();
    let plan: Value = serde_json::from_str(&out).unwrap();
    let step = json!({
        "topic": "orders", "partition": 1, "current_offset": 2, "new_offset": 2, "clamped": true,
    });
    assert_eq!(plan, json!({ "group": "billing", "executed": false, "partitions": [step] }));
}

#[test]
fn a_reset_that_cannot_be_says_why() {
    let broker = broker_with_orders();
    reset(&broker, "billing", &["--topic", "orders:0", "--to-latest", "--execute"]).ok();
    // One scope and one target, no more and no less.
    for arguments in [
        &["--topic", "orders"][..],
        &["--to-latest"],
        &["--topic", "orders", "--to-latest", "--to-earliest"],
        &["--topic", "orders", "--all-topics", "--to-latest"],
        &["--topic", "orders:x", "--to-latest"],
        &["--topic", "orders", "--to-datetime", "noon"],
        &["--topic", "orders", "--to-offset", "-1"],
    ] {
        reset(&broker, "billing", arguments).fails_with(2);
    }
    let topic = reset(&broker, "billing", &["--topic", "ordres", "--to-latest"]).fails_with(3);
    assert!(topic.contains("did you mean \"orders\"?"), "{topic}");
    let partition = reset(&broker, "billing", &["--topic", "orders:7", "--to-latest"]).fails_with(3);
    assert!(partition.contains("it has 3"), "{partition}");
    let group = reset(&broker, "biling", &["--all-topics", "--to-latest"]).fails_with(3);
    assert!(group.contains("did you mean \"billing\"?"), "{group}");
    let shift = reset(&broker, "billing", &["--topic", "orders", "--shift-by", "1"]).fails_with(3);
    assert!(shift.contains("orders/1") && shift.contains("--to-earliest"), "{shift}");
    assert_eq!(offsets(&broker, "billing"), [("orders/0".to_owned(), Some(4))]);
}

#[test]
fn a_group_with_members_is_shown_and_left_alone() {
    let broker = broker_with_orders();
    reset(&broker, "billing", &["--topic", "orders:0,1", "--to-earliest", "--execute"]).ok();
    let member = Member::join(&broker.addr, "billing", "orders", &[1, 2]);
    let id = member.id.as_str();

    let described = broker.ringlog(&["group", "describe", "billing"]).ok();
    assert!(
        described.starts_with("group billing, Stable, generation 1, assignor range, 1 member\n"),
        "{described}"
    );
    assert_eq!(
        cells(&described)[3..],
        [
            ["orders", "0", "0", "4", "4", "-", "-", "-"],
            ["orders", "1", "0", "2", "2", id, "127.0.0.1", "billing-app"],
            ["orders", "2", "-", "0", "-", id, "127.0.0.1", "billing-app"],
        ]
    );
    let json = json_of(&broker, &["group", "describe", "billing"]);
    assert_eq!(json[0]["members"][0]["member_id"], id);
    assert_eq!(json[0]["partitions"][2]["current_offset"], Value::Null);
    assert_eq!(json_of(&broker, &["group", "list", "--state", "Stable"])[0]["protocol_type"], "consumer");

    for execute in [&[][..], &["--execute"]] {
        let refused = reset(&broker, "billing", &[&["--topic", "orders", "--to-latest"], execute].concat());
        let refused = refused.fails_with(4);
        assert!(refused.contains("Stable") && refused.contains(id), "{refused}");
    }
    let delete = broker.ringlog(&["group", "delete", "billing", "--yes"]).fails_with(4);
    assert!(delete.contains("has members") && delete.contains("group describe billing"), "{delete}");
    let forget = ["group", "delete-offsets", "billing", "--topic", "orders", "--yes"];
    assert!(broker.ringlog(&forget).fails_with(4).contains("subscribes"));
    assert_eq!(offsets(&broker, "billing")[0].1, Some(0));

    let nobody = ["group", "remove-member", "billing", "--member", "nobody"];
    assert!(broker.ringlog(&nobody).fails_with(3).contains("no member \"nobody\""));
    broker.ringlog(&["group", "remove-member", "billing"]).fails_with(2);
    let removed = broker.ringlog(&["group", "remove-member", "billing", "--member", id]);
    assert_eq!((removed.code, removed.err), (0, format!("removed member {id:?} from group \"billing\"\n")));
    reset(&broker, "billing", &["--topic", "orders", "--to-latest", "--execute"]).ok();
    assert_eq!(offsets(&broker, "billing")[0].1, Some(4));
}

#[test]
fn offsets_of_a_topic_are_forgotten_and_the_others_stay() {
    let broker = broker_with_orders();
    broker.ringlog(&["topic", "create", "payments"]).ok();
    reset(&broker, "billing", &["--topic", "orders", "--topic", "payments", "--to-latest", "--execute"]).ok();
    let forget =
        |topic: &str| broker.ringlog(&["group", "delete-offsets", "billing", "--topic", topic, "--yes"]);

    let asks = broker.ringlog(&["group", "delete-offsets", "billing", "--topic", "orders"]).fails_with(2);
    assert!(asks.contains("--yes"), "{asks}");
    assert_eq!(forget("orders:1").err, "deleted 1 offset of group \"billing\"\n");
    assert!(forget("orders:1").fails_with(3).contains("no offset of orders/1"));
    forget("orders").ok();
    assert_eq!(offsets(&broker, "billing"), [("payments/0".to_owned(), Some(0))]);
    let none = forget("orders").fails_with(3);
    assert!(none.contains("no offset of topic \"orders\""), "{none}");
    broker.ringlog(&["group", "delete-offsets", "nobody", "--topic", "orders", "--yes"]).fails_with(3);
}

#[test]
fn groups_that_are_there_are_shown_although_others_are_not() {
    let broker = broker_with_orders();
    reset(&broker, "billing", &["--topic", "orders:0", "--to-latest", "--execute"]).ok();
    let both = broker.ringlog(&["group", "describe", "biling", "billing", "nobody"]);
    assert!(both.out.starts_with("group billing, Empty"), "{both:?}");
    assert!(both.err.contains("error: group \"nobody\" does not exist"), "{both:?}");
    assert!(both.fails_with(3).contains("did you mean \"billing\"?"));
    let gone = broker.ringlog(&["group", "delete", "nobody", "billing", "--yes"]);
    assert!(gone.err.contains("deleted group \"billing\""), "{gone:?}");
    gone.fails_with(3);
    broker.ringlog(&["group", "list", "--state", "busy"]).fails_with(2);
}

#[test]
fn consume_goes_on_where_its_group_stopped() {
    let broker = broker_with_orders();
    let lines = |out: String| {
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let consume = ["consume", "orders", "--group", "billing", "--from", "start", "-n"];
    let first = broker.ringlog(&[&consume[..], &["6"]].concat()).ok();
    assert_eq!(lines(first), ["a", "b", "c", "d", "e", "f"]);
    // It has left, and what it printed is committed.
    assert_eq!(json_of(&broker, &["group", "list"])[0]["state"], "Empty");
    assert_eq!(
        offsets(&broker, "billing"),
        [
            ("orders/0".to_owned(), Some(4)),
            ("orders/1".to_owned(), Some(2)),
            ("orders/2".to_owned(), Some(0))
        ]
    );
    broker.ringlog_with(&["produce", "orders", "-p", "2"], b"g\nh\n").ok();
    let second = broker.ringlog(&[&consume[..], &["2"]].concat()).ok();
    assert_eq!(lines(second), ["g", "h"]);
    broker.ringlog(&["consume", "orders", "--group", "billing", "--from", "7"]).fails_with(2);
    broker.ringlog(&["consume", "nothing", "--group", "billing"]).fails_with(3);
}
