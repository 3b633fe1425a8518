//! The program as its users run it: small runs against a broker of its own, judged by what it says.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

mod common;
use common::{Dir, last_line};

#[test]
fn what_was_produced_is_there() {
    let dir = Dir::new("produce");
    let output = dir.run("produce --records 20k --record-size 100 --producers 2 --partitions 3 --verify");
    let expected =
        "verify: sent 20000 acked 20000 received 20000 | lost 0 duplicated 0 reordered 0 corrupt 0";
    assert_eq!(last_line(&output), expected);
    dir.assert_empty();
}

#[test]
fn what_was_filled_in_is_consumed() {
    let dir = Dir::new("consume");
    let output = dir.run("consume --records 5k --consumers 2 --partitions 2 --verify");
    assert!(last_line(&output).starts_with("verify: sent 5000 acked 5000 received 5000 | lost 0"));
    dir.assert_empty();
}

#[test]
fn an_open_loop_has_end_to_end_latencies_in_its_json() {
    let dir = Dir::new("pubsub");
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-pubsub.json");
    let line =
        format!("pubsub --rate 2k --duration 1s --warmup 0 --linger 0 --verify --json {}", json.display());
    assert!(last_line(&dir.run(&line)).contains("| lost 0 duplicated 0 reordered 0 corrupt 0"));
    let document: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let number =
        |path: &str| document.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(document["workload"], "pubsub");
    assert_eq!(number("/config/warmup"), 0.0);
    assert!(number("/produce/records") > 0.0, "{document}");
    assert!(number("/consume/end_to_end_us/p50") > 0.0);
    assert!(number("/consume/end_to_end_us/p50") <= number("/consume/end_to_end_us/max"));
    assert!(number("/broker/commits") > 0.0);
    dir.assert_empty();
}

#[test]
fn the_command_line_is_judged_before_anything_is_started() {
    let dir = Dir::new("usage");
    let output = dir.run("produce --verify --record-size 15");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("16 bytes"));
    dir.assert_empty();
}

#[test]
fn an_interrupted_run_reports_and_cleans_up() {
    let dir = Dir::new("interrupt");
    let mut command = dir.command("produce --duration 60s --warmup 0");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    broker_of(child.id());
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert!(last_line(&output).starts_with("verdict"), "{output:?}");
    dir.assert_empty();
}

#[test]
fn a_killed_bench_takes_its_broker_along() {
    let dir = Dir::new("killed");
    let mut command = dir.command("produce --duration 60s");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let broker = broker_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let is_gone = || !Path::new(&format!("/proc/{broker}/fd")).exists();
    let waited = (0..500).find(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_gone()
    });
    assert!(waited.is_some(), "the broker outlived the bench");
    std::fs::remove_dir_all(&dir.0).unwrap();
}

/// The broker of a bench, once it has begun to produce: then there is a log file.
fn broker_of(bench: u32) -> String {
    (0..2000)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            children_of(bench).into_iter().find(|broker| has_log_open(broker))
        })
        .expect("the bench starts a broker and produces")
}

fn has_log_open(pid: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.path().read_link().ok())
        .any(|target| target.extension().is_some_and(|it| it == "log"))
}

fn children_of(parent: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    children.split_whitespace().map(str::to_owned).collect()
}
