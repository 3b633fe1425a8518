//! One parameter over several values, which take turns; medians beside each other.
//!
//!     --param in-flight=1,5 --repeat 3      1 5 · 1 5 · 1 5, not 1 1 1 · 5 5 5
//!
//! A machine changes its mood within minutes: values that take turns meet the same moods, values one after
//! the other do not. The median of a figure is of that figure; the table's ratios are to the first
//! value.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use serde_json::{Value, json};

use super::child;
use crate::fields::Field;
use crate::flags::{Cli, SweepFlags};
use crate::limits::Distance;
use crate::report::json;
use crate::report::text::align;
use crate::workload::progress;

pub fn run(flags: &SweepFlags) -> Result<()> {
    let count = flags.param.values.len();
    for value in &flags.param.values {
        // What a run would refuse is refused before the first has begun.
        let words = std::iter::once("bench".to_owned()).chain(words(flags, value));
        Cli::try_parse_from(words).unwrap_or_else(|error| error.exit());
    }
    println!(
        "sweep     {} over {}, {} times each, taking turns",
        flags.param.name,
        flags.param.values.join(", "),
        flags.repeat
    );
    let mut runs: Vec<Vec<Value>> = vec![Vec::new(); count];
    let bar = progress::bar("sweeping", count as u64 * u64::from(flags.repeat));
    for _ in 0..flags.repeat {
        for (value, runs) in flags.param.values.iter().zip(&mut runs) {
            runs.push(
                child::run(&words(flags, value)).with_context(|| format!("{}={value}", flags.param.name))?,
            );
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    print!("\n{}", table(flags, &runs));
    match &flags.json {
        Some(path) => json::write(path, &document(flags, &runs)?),
        None => Ok(()),
    }
}

/// The words of one run.
fn words(flags: &SweepFlags, value: &str) -> Vec<String> {
    let mut words = vec![flags.workload.to_string(), NO_LIMITS.to_owned()];
    words.extend(flags.rest.iter().filter(|word| *word != "--" && *word != NO_LIMITS).cloned());
    words.push(format!("--{}={value}", flags.param.name));
    words
}

fn table(flags: &SweepFlags, runs: &[Vec<Value>]) -> String {
    let fields: Vec<Field> = FIELDS.iter().filter_map(|name| Field::named(name).ok()).collect();
    let measured = |field: &&Field| runs.iter().any(|runs| median(runs, field).is_some());
    let fields: Vec<&Field> = fields.iter().filter(measured).collect();
    let mut heading = vec![flags.param.name.clone()];
    for field in &fields {
        heading.extend([field.name.clone(), "ratio".to_owned()]);
    }
    heading.push("near".to_owned());
    let mut rows = vec![heading];
    for (value, of_value) in flags.param.values.iter().zip(runs) {
        let mut row = vec![value.clone()];
        for field in &fields {
            let found = median(of_value, field);
            let first = runs.first().and_then(|first| median(first, field));
            row.push(found.map_or("-".to_owned(), |found| field.print(found)));
            row.push(ratio(found, first));
        }
        row.push(format!("{}/{}", of_value.iter().filter(|run| is_near(run)).count(), of_value.len()));
        rows.push(row);
    }
    align(&rows)
}

fn ratio(found: Option<f64>, first: Option<f64>) -> String {
    match (found, first) {
        (Some(found), Some(first)) if first > 0.0 => format!("x{:.2}", found / first),
        _ => "-".to_owned(),
    }
}

fn is_near(run: &Value) -> bool {
    let ns = run.pointer("/limits/core_to_core_ns").and_then(Value::as_f64);
    ns.is_some_and(|ns| Distance::of(ns) == Distance::Near)
}

/// Of an even number of runs the mean of the middle two.
fn median(runs: &[Value], field: &Field) -> Option<f64> {
    let mut found: Vec<f64> = runs.iter().filter_map(|run| field.of(run)).collect();
    found.sort_by(f64::total_cmp);
    let middle = found.len() / 2;
    let high = *found.get(middle)?;
    Some(if found.len() % 2 == 1 { high } else { (found.get(middle - 1)? + high) / 2.0 })
}

/// The run whose main figure is the median, or the one below: the one that stands for its value.
fn median_run(runs: &[Value]) -> Option<&Value> {
    let field = Field::named("mb_per_s").ok()?;
    let mut sorted: Vec<&Value> = runs.iter().collect();
    sorted.sort_by(|a, b| field.of(a).unwrap_or(0.0).total_cmp(&field.of(b).unwrap_or(0.0)));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

fn document(flags: &SweepFlags, runs: &[Vec<Value>]) -> Result<Value> {
    let mut values = Vec::new();
    for (value, runs) in flags.param.values.iter().zip(runs) {
        let median = median_run(runs).ok_or_else(|| anyhow!("BUG: a value without a run"))?;
        values.push(json!({"value": value, "median": median, "runs": runs}));
    }
    Ok(json!({"workload": "sweep", "param": flags.param.name, "repeat": flags.repeat, "values": values}))
}

/// The machine is told by its cores alone: what it can do is not what a sweep is for.
const NO_LIMITS: &str = "--no-limits";
const FIELDS: [&str; 6] = ["mb_per_s", "records_per_s", "p50", "p99", "e2e.p99", "broker.cpu_s"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Command;

    fn flags(line: &str) -> SweepFlags {
        let words = ["bench", "sweep"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Sweep(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    fn run(mb_per_s: f64) -> Value {
        json!({"produce": {"mb_per_s": mb_per_s}, "limits": {"core_to_core_ns": 64.0}})
    }

    #[test]
    fn what_is_not_ours_is_the_runs() {
        let flags = flags("--param in-flight=1,5 --repeat 2 --record-size 100 --duration 1s");
        let expected =
            ["produce", "--no-limits", "--record-size", "100", "--duration", "1s", "--in-flight=5"];
        assert_eq!(words(&flags, "5"), expected);
    }

    #[test]
    fn a_median_is_no_mean_and_no_outlier() {
        let field = Field::named("mb_per_s").unwrap();
        let of = |all: &[f64]| median(&all.iter().map(|mb| run(*mb)).collect::<Vec<_>>(), &field);
        assert_eq!([of(&[9.0, 1.0, 100.0]), of(&[1.0, 3.0]), of(&[])], [Some(9.0), Some(2.0), None]);
        let runs = [run(9.0), run(1.0), run(100.0)];
        assert_eq!(median_run(&runs), Some(&runs[0]));
    }

    #[test]
    fn the_table_has_a_row_for_each_value_and_ratios_to_the_first() {
        let flags = flags("--param in-flight=1,5");
        let table = table(&flags, &[vec![run(100.0), run(100.0)], vec![run(150.0)]]);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["in-flight", "mb_per_s", "ratio", "near"]);
        assert_eq!(rows[1], ["1", "100", "x1.00", "2/2"]);
        assert_eq!(rows[2], ["5", "150", "x1.50", "1/1"]);
    }
}
