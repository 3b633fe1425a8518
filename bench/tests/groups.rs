//! The workloads with groups: small ones, judged by what they say.
//!
//!     fanout · rebalance, eager and cooperative · groups

use serde_json::Value;

mod common;
use common::{Dir, document, file, last_line};

fn number(document: &Value, path: &str) -> f64 {
    document.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {document:#}"))
}

#[test]
fn every_group_gets_every_record_once() {
    let (dir, json) = (Dir::new("fanout"), file("fanout.json"));
    // More members than partitions: two of each group have nothing to read.
    let line = format!(
        "fanout --groups 3 --consumers 4 --partitions 2 --producers 2 --records 10k --record-size 100 --verify \
         --rest 100ms --json {} --fail-if groups.fan_out<3 --fail-if groups.joined_s>100",
        json.display()
    );
    let last = last_line(&dir.run(&line));
    assert_eq!(
        last,
        "verify: sent 30000 acked 30000 received 30000 | lost 0 duplicated 0 reordered 0 corrupt 0"
    );
    let document = document(&json);
    assert_eq!(number(&document, "/groups/fan_out"), 3.0);
    assert_eq!(number(&document, "/consume/records"), 30_000.0);
    assert_eq!(number(&document, "/groups/taken"), 0.0);
    assert_eq!(document["groups"]["lags"].as_array().map(Vec::len), Some(3));
    assert!(number(&document, "/consume/end_to_end_us/p50") > 0.0);
    assert!(number(&document, "/groups/resting_s") >= 0.1);
    assert!(number(&document, "/groups/rss_before_bytes") > 0.0);
    dir.assert_empty();
}

/// Changes a group of three once up and once down.
fn rebalanced(assignor: &str) -> Value {
    let (dir, json) =
        (Dir::new(&format!("rebalance-{assignor}")), file(&format!("rebalance-{assignor}.json")));
    let line = format!(
        "rebalance --members 3 --partitions 12 --rate 600 --record-size 100 --assignor {assignor} --session-timeout 6s \
         --duration 500ms --warmup 0 --verify --json {}",
        json.display()
    );
    let last = last_line(&dir.run(&line));
    assert!(last.contains("| lost 0 ") && last.contains(" reordered 0 corrupt 0"), "{last}");
    dir.assert_empty();
    document(&json)
}

#[test]
fn a_cooperative_group_goes_on_reading_what_does_not_move() {
    let document = rebalanced("cooperative-sticky");
    for change in ["join", "leave"] {
        let number = |figure: &str| number(&document, &format!("/rebalance/{change}/{figure}"));
        assert_eq!((number("moved"), number("minimum")), (3.0, 3.0), "{change}");
        assert!(number("stable_s") > 0.0);
        assert!(number("unmoved_us/max") < number("moved_us/max"), "{change}: {document:#}");
    }
    assert!(number(&document, "/rebalance/rest_us/p50") > 0.0);
}

#[test]
fn a_sticky_group_stops_and_moves_as_little() {
    let document = rebalanced("sticky");
    for change in ["join", "leave"] {
        let number = |figure: &str| number(&document, &format!("/rebalance/{change}/{figure}"));
        assert_eq!((number("moved"), number("minimum")), (3.0, 3.0), "{change}");
        assert!(number("unmoved_us/max") > 0.0 && number("moved_us/max") > 0.0);
    }
}

#[test]
fn range_may_move_more_than_the_minimum() {
    let document = rebalanced("range");
    assert_eq!(number(&document, "/rebalance/join/minimum"), 3.0);
    assert!(number(&document, "/rebalance/join/moved") >= 3.0);
}

#[test]
fn groups_that_read_nothing_join_and_rest() {
    let (dir, json) = (Dir::new("groups"), file("groups.json"));
    let line = format!("groups --groups 20 --consumers 2 --duration 300ms --json {}", json.display());
    assert!(dir.run(&line).status.success());
    let document = document(&json);
    assert_eq!((number(&document, "/groups/groups"), number(&document, "/groups/members")), (20.0, 2.0));
    assert!(number(&document, "/groups/joined_s") > 0.0);
    assert!(number(&document, "/groups/resting_s") >= 0.3);
    assert_eq!(document["produce"], Value::Null);
    dir.assert_empty();
}

#[test]
fn a_rebalance_needs_a_partition_for_everybody() {
    let dir = Dir::new("rebalance-usage");
    let output = dir.run("rebalance --members 4 --partitions 4");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("one more"), "{output:?}");
    dir.assert_empty();
}
