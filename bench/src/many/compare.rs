//! Two results beside each other: what got better, what got worse, and whether they may be compared.
//!
//!     produce                 A          B      B/A
//!     mb_per_s            512.0      640.0    x1.25  ▲ better
//!     p99               2.10 ms    3.40 ms    x1.62  ▼ worse
//!     warning: loopback_gb_s was 3.20 and is 1.40: the machine was not the same
//!
//! Two suites, or two sweeps, are compared run by run. One pair of runs on a machine with moods says
//! little: it is alternation and medians that do, which is what `sweep` is for.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::child;
use crate::fields::{Field, Kind};
use crate::limits::Distance;
use crate::report::text::{align, row};

/// Prints the comparison of two files.
pub fn print(before: &Path, after: &Path) -> Result<()> {
    let text = told(&child::read(before)?, &child::read(after)?);
    if text.is_empty() {
        bail!("{} and {} have no run in common", before.display(), after.display());
    }
    print!("{text}");
    Ok(())
}

fn told(before: &Value, after: &Value) -> String {
    let (before, after) = (runs(before), runs(after));
    let mut text = String::new();
    for (name, b) in &after {
        if let Some((_, a)) = before.iter().find(|(other, _)| other == name) {
            text.push_str(&pair(name, a, b));
        }
    }
    text
}

/// A document's runs by name: of a single run its workload, of a suite its scenarios, of a sweep the
/// median run of each value.
fn runs(document: &Value) -> Vec<(String, &Value)> {
    let name_of = |run: &Value| {
        let name = ["scenario", "value", "workload"].into_iter().find_map(|key| run.get(key)?.as_str());
        name.unwrap_or("run").to_owned()
    };
    let listed = document.as_array().or_else(|| document.get("values")?.as_array());
    match listed {
        Some(runs) => {
            let result = |run| Value::get(run, "median").unwrap_or(run);
            runs.iter().map(|run| (name_of(run), result(run))).collect()
        }
        None if document.get("workload").is_some() => vec![(name_of(document), document)],
        None => Vec::new(),
    }
}

fn pair(name: &str, a: &Value, b: &Value) -> String {
    let mut rows = vec![row([name, "A", "B", "B/A", ""])];
    for field in FIELDS.iter().filter_map(|name| Field::named(name).ok()) {
        if let (Some(was), Some(is)) = (field.of(a), field.of(b)) {
            rows.push(compared(&field, was, is));
        }
    }
    let mut text = align(&rows);
    for warning in limit_warnings(a, b).into_iter().chain(config_changes(a, b)) {
        text.push_str(&format!("{warning}\n"));
    }
    text + "\n"
}

fn compared(field: &Field, was: f64, is: f64) -> Vec<String> {
    let ratio = if was > 0.0 { format!("x{:.2}", is / was) } else { "-".to_owned() };
    vec![field.name.clone(), field.print(was), field.print(is), ratio, judged(field.kind, was, is).to_owned()]
}

/// Nothing within [`SAME`]: that is noise on any machine.
fn judged(kind: Kind, was: f64, is: f64) -> &'static str {
    let is_same = is == was || (was > 0.0 && (is / was - 1.0).abs() < SAME);
    if is_same {
        return "";
    }
    let more = is > was;
    match (kind, more) {
        (Kind::Count, _) => "",
        (Kind::Rate, true) => "▲ better",
        (Kind::Rate, false) => "▼ worse",
        (Kind::Micros | Kind::Cost, true) => "▲ worse",
        (Kind::Micros | Kind::Cost, false) => "▼ better",
    }
}

/// Whether the machine was the same: its limits within a fifth, its cores as near or far.
fn limit_warnings(a: &Value, b: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in LIMITS {
        let limit = |document: &Value| document.pointer(&format!("/limits/{name}"))?.as_f64();
        let (Some(was), Some(is)) = (limit(a), limit(b)) else { continue };
        let differ = was.min(is) <= 0.0 || was.max(is) / was.min(is) > 1.0 + LIMITS_DIFFER;
        if differ {
            let moods = match name {
                "core_to_core_ns" => format!(" ({}, then {})", Distance::of(was), Distance::of(is)),
                _ => String::new(),
            };
            warnings.push(format!(
                "warning: {name} was {was:.2} and is {is:.2}{moods}: the machine was not the same"
            ));
        }
    }
    warnings
}

/// What was asked for differently, but for names of files.
fn config_changes(a: &Value, b: &Value) -> Vec<String> {
    let (Some(was), Some(is)) = (config(a), config(b)) else { return Vec::new() };
    let keys: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differ = |key: &&&String| was.get(**key) != is.get(**key) && !OUTPUTS.contains(&key.as_str());
    let told = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    let change =
        |key: &String| format!("config: {key} was {} and is {}", told(was.get(key)), told(is.get(key)));
    keys.iter().filter(differ).map(|key| change(key)).collect()
}

fn config(document: &Value) -> Option<&serde_json::Map<String, Value>> {
    document.get("config")?.as_object()
}

const FIELDS: [&str; 25] = [
    "produce.records_per_s",
    "produce.mb_per_s",
    "produce.p50",
    "produce.p99",
    "produce.p999",
    "produce.p9999",
    "produce.max",
    "consume.records_per_s",
    "consume.mb_per_s",
    "consume.p50",
    "consume.p99",
    "e2e.p50",
    "e2e.p99",
    "e2e.p999",
    "e2e.max",
    "drain.mb_per_s",
    "drain.catch_up_s",
    "drain.p99_ratio",
    "restart.ready_s",
    "lost",
    "duplicated",
    "broker.cpu_s",
    "broker.rss_peak_bytes",
    "broker.fsyncs",
    "client.cpu_s",
];
const LIMITS: [&str; 5] =
    ["loopback_gb_s", "disk_write_gb_s", "write_fdatasync_us_p50", "crc32c_gb_s", "core_to_core_ns"];
const OUTPUTS: [&str; 6] = ["json", "csv", "hgrm", "html", "fail-if", "data-dir"];
const LIMITS_DIFFER: f64 = 0.2;
const SAME: f64 = 0.03;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(mb_per_s: f64, p99: f64, core_ns: f64) -> Value {
        json!({"workload": "produce", "produce": {"mb_per_s": mb_per_s, "latency_us": {"p99": p99}},
            "verify": {"lost": 0}, "limits": {"core_to_core_ns": core_ns, "loopback_gb_s": 2.0},
            "config": {"in-flight": mb_per_s, "json": mb_per_s}})
    }

    #[test]
    fn more_throughput_and_less_latency_are_better() {
        let text = told(&result(100.0, 1000.0, 64.0), &result(125.0, 2000.0, 65.0));
        let line = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(line("produce.mb_per_s"), ["produce.mb_per_s", "100", "125", "x1.25", "▲", "better"]);
        assert_eq!(line("produce.p99")[5..], ["x2.00", "▲", "worse"]);
        assert_eq!(line("lost"), ["lost", "0", "0", "-"]);
        assert_eq!(line("config:").join(" "), "config: in-flight was 100.0 and is 125.0");
        assert!(!text.contains("warning") && !text.contains("json"), "{text}");
    }

    #[test]
    fn a_machine_in_another_mood_is_warned_of() {
        let text = told(&result(100.0, 1000.0, 64.0), &result(100.0, 1010.0, 330.0));
        assert!(text.contains("warning: core_to_core_ns was 64.00 and is 330.00 (near, then far)"), "{text}");
        assert!(!text.contains("better") && !text.contains("worse"), "{text}");
    }

    #[test]
    fn suites_are_compared_by_scenario() {
        let suite = |mb| {
            let mut one = result(mb, 1.0, 64.0);
            one["scenario"] = json!("B1");
            json!([one, {"scenario": "B9"}])
        };
        let text = told(&suite(100.0), &suite(50.0));
        assert!(text.starts_with("B1 ") && text.contains("x0.50  ▼ worse"), "{text}");
    }

    #[test]
    fn any_json_is_compared_or_has_nothing_in_common() {
        for odd in [json!(null), json!(5), json!("x"), json!({"values": 5}), json!([])] {
            assert_eq!(told(&odd, &odd), "");
        }
        told(&json!([1, null]), &json!([{"workload": 5}]));
        let zero = json!({"workload": "x", "limits": {"core_to_core_ns": 0}});
        assert!(told(&zero, &zero).contains("warning"));
    }
}
