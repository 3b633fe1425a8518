//! The workloads that are made of several parts, the files a run writes, and the commands that are made of
//! several runs.
//!
//!     drain · mixed · sweep · suite · compare · --fail-if · --csv · --hgrm · --html

use std::process::Command;

use serde_json::Value;

mod common;
use common::{Dir, document, file, last_line};

fn number(document: &Value, path: &str) -> f64 {
    document.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {document:#}"))
}

#[test]
fn a_drain_catches_up_while_producers_go_on() {
    let (dir, json) = (Dir::new("drain"), file("drain.json"));
    let line = format!(
        "drain --records 20k --record-size 200 --rate 2k --duration 300ms --warmup 0 --partitions 2 --consumers 2 \
         --verify --json {}",
        json.display()
    );
    let last = last_line(&dir.run(&line));
    assert!(last.contains("| lost 0 duplicated 0 reordered 0 corrupt 0"), "{last}");
    let document = document(&json);
    assert!(number(&document, "/drain/history_records") >= 20_000.0);
    assert!(number(&document, "/drain/catch_up_s") > 0.0);
    assert!(number(&document, "/drain/records") >= 20_000.0);
    assert!(number(&document, "/drain/before_us/p99") > 0.0);
    assert_eq!(number(&document, "/verify/sent"), number(&document, "/verify/received"));
    dir.assert_empty();
}

#[test]
fn topics_of_a_mix_are_measured_apart() {
    let (dir, json) = (Dir::new("mixed"), file("mixed.json"));
    let line = format!(
        "mixed --mix a:size=100,partitions=3,rate=3k --mix b:size=4k,rate=200,compression=lz4,payload=text \
         --duration 500ms --warmup 0 --verify --json {}",
        json.display()
    );
    let last = last_line(&dir.run(&line));
    assert!(last.contains("| lost 0 duplicated 0 reordered 0 corrupt 0"), "{last}");
    let document = document(&json);
    let (a, b) =
        (number(&document, "/streams/0/produce/records"), number(&document, "/streams/1/produce/records"));
    assert!(a > 4.0 * b && b > 0.0, "{a} {b}");
    assert_eq!(a + b, number(&document, "/produce/records"));
    assert_eq!(a * 100.0 + b * 4096.0, number(&document, "/produce/bytes"));
    assert!(number(&document, "/streams/1/end_to_end_us/p50") > 0.0);
    dir.assert_empty();
}

#[test]
fn a_run_writes_what_it_is_asked_for() {
    let dir = Dir::new("files");
    let (csv, hgrm, html) = (file("run.csv"), file("run.hgrm"), file("run.html"));
    let lag = file("run-schedule-lag.hgrm");
    let line = format!(
        "produce --rate 2k --duration 400ms --warmup 0 --interval 100ms --csv {} --hgrm {} --html {}",
        csv.display(),
        hgrm.display(),
        html.display()
    );
    last_line(&dir.run(&line));
    let text = |path| std::fs::read_to_string(path).unwrap();
    assert!(text(csv).lines().count() >= 4);
    assert!(text(hgrm).contains("#[Max ") && text(lag).contains("#[Max "));
    let page = text(html);
    assert!(page.contains("Latency by percentile") && page.ends_with("</html>\n"));
    dir.assert_empty();
}

#[test]
fn a_gate_that_holds_has_an_exit_code_of_its_own() {
    let dir = Dir::new("gate");
    let run = "produce --records 2k --fail-if max>1h";
    assert_eq!(dir.run(run).status.code(), Some(2), "hours are no unit of a latency");
    let passed = dir.run("produce --records 2k --fail-if max>600s --fail-if records<2000");
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    let failed = dir.run("produce --records 2k --fail-if p99>=1us --fail-if lost>0");
    assert_eq!(failed.status.code(), Some(9), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(said.contains("failed if p99>=1us: p99 is ") && said.contains("lost was not measured"), "{said}");
    dir.assert_empty();
}

#[test]
fn a_sweep_has_a_row_for_each_value_and_is_compared_by_value() {
    let (dir, json) = (Dir::new("sweep"), file("sweep.json"));
    let line = format!("sweep --param in-flight=1,2 --repeat 1 --json {} --records 2k", json.display());
    let output = dir.run(&line);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let row = |value: &str| said.lines().any(|line| line.starts_with(value) && line.contains(" x"));
    assert!(row("1 ") && row("2 "), "{said}");
    assert_eq!(number(&document(&json), "/values/1/runs/0/produce/records"), 2000.0);
    for words in [["compare"], ["--compare"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        let output = command.args(words).args([&json, &json]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("produce.mb_per_s"), "{output:?}");
        assert!(!said.contains("better") && !said.contains("worse"), "{said}");
    }
    dir.assert_empty();
}

#[test]
fn a_scenario_of_the_suite_has_a_row_and_a_document() {
    let (dir, json) = (Dir::new("suite"), file("suite.json"));
    let line =
        format!("suite --only B4 --scale 0.1 --json {} --data-dir {}", json.display(), dir.0.display());
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let document = document(&json);
    assert_eq!(document[0]["scenario"], "B4");
    assert!(number(&document, "/0/produce/records_per_s") > 0.0);
    dir.assert_empty();
}

#[test]
fn clients_that_come_and_go_are_all_answered() {
    let dir = Dir::new("churn");
    let output = dir.run("pubsub --churn 4 --rate 500 --duration 400ms --warmup 0 --verify");
    assert!(last_line(&output).contains("| lost 0 duplicated 0 reordered 0 corrupt 0"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let came =
        said.lines().find(|line| line.starts_with("churn ")).and_then(|line| line.split_whitespace().nth(1));
    let came: u64 = came.and_then(|count| count.replace(',', "").parse().ok()).unwrap_or(0);
    assert!(came > 4, "{said}");
    dir.assert_empty();
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let (dir, json) = (Dir::new("kill"), file("kill.json"));
    let line = format!("produce --kill --records 20k --partitions 3 --json {}", json.display());
    let output = dir.run(&line);
    assert!(output.status.success(), "{output:?}");
    let document = document(&json);
    assert!(number(&document, "/restart/ready_s") > 0.0);
    assert_eq!(number(&document, "/restart/records"), 20_000.0);
    assert_eq!(number(&document, "/restart/lost"), 0.0);
    dir.assert_empty();
}
