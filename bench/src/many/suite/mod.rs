//! The scenarios that a broker has to survive, one after the other, and one table of all.
//!
//!     B3 ─▶ words of a run, lengths times --scale ─▶ child ─▶ a row: rates, latencies, CPU, and its verdict
//!
//! Short by default: enough to see that something broke, not enough to say how fast anything is.
//! Which scenario stresses what stands in `scenarios.rs`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::child;
use crate::fields::Field;
use crate::flags::SuiteFlags;
use crate::report::json;
use crate::report::text::{align, row};
use crate::workload::progress;

mod scenarios;
use scenarios::{ALL, Load, Scenario};

pub fn run(flags: &SuiteFlags) -> Result<()> {
    let chosen = chosen(&flags.only)?;
    if flags.list {
        print!("{}", listed(&chosen, flags.scale));
        return Ok(());
    }
    let bar = progress::bar("suite", chosen.len() as u64);
    let mut done: Vec<(&Scenario, Result<Value>)> = Vec::new();
    for scenario in chosen {
        bar.suspend(|| println!("{:<4} {}", scenario.name, scenario.title));
        done.push((scenario, run_one(scenario, flags)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    print!("\n{}", table(&done));
    if let Some(path) = &flags.json {
        let all: Vec<Value> = done.iter().map(|(scenario, result)| document(scenario, result)).collect();
        json::write(path, &all)?;
    }
    let failed: Vec<&(&Scenario, Result<Value>)> =
        done.iter().filter(|(_, result)| result.is_err()).collect();
    for (scenario, result) in &failed {
        if let Err(error) = result {
            println!("\n{} failed: {error:#}", scenario.name);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{} scenarios failed", failed.len()) }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>> {
    if only.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|scenario| scenario.name.eq_ignore_ascii_case(name.trim()));
        found.ok_or_else(|| anyhow::anyhow!("{name:?} is not a scenario: they are B1 to B15"))
    };
    only.iter().map(find).collect()
}

fn run_one(scenario: &Scenario, flags: &SuiteFlags) -> Result<Value> {
    match scenario.load {
        Load::Words(words) => child::run(&all_words(words, flags)),
        Load::ShareOf { words, percent } => {
            let fastest = child::run(&all_words(words, flags))?;
            let reached = Field::named("records_per_s").ok().and_then(|field| field.of(&fastest));
            let Some(reached) = reached.filter(|rate| *rate >= 1.0) else { bail!("nothing was produced") };
            let mut words = all_words(words, flags);
            words.push(format!("--rate={}", (reached * f64::from(percent) / 100.0).max(1.0) as u64));
            child::run(&words)
        }
    }
}

/// The words of a run, with times and counts in braces scaled.
fn all_words(words: &str, flags: &SuiteFlags) -> Vec<String> {
    let mut all: Vec<String> = words.split_whitespace().map(|word| scaled(word, flags.scale)).collect();
    all.extend(["--no-limits".to_owned(), format!("--cpus={}", flags.cpus)]);
    all.extend(flags.data_dir.iter().map(|dir| format!("--data-dir={}", dir.display())));
    all
}

/// `{2s}` is two seconds times the scale, `{20000}` so many records; other words stay.
fn scaled(word: &str, scale: f64) -> String {
    let Some(number) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) else {
        return word.to_owned();
    };
    let (number, unit) = number.strip_suffix('s').map_or((number, ""), |number| (number, "s"));
    let base: f64 = number.parse().expect("BUG: a number in braces that is none");
    match unit {
        "" => format!("{}", (base * scale).max(1.0) as u64),
        unit => format!("{:.3}{unit}", base * scale),
    }
}

fn listed(chosen: &[&Scenario], scale: f64) -> String {
    let mut rows = Vec::new();
    for scenario in chosen {
        let (Load::Words(words) | Load::ShareOf { words, .. }) = scenario.load;
        let words: Vec<String> = words.split_whitespace().map(|word| scaled(word, scale)).collect();
        rows.push(format!(
            "{:<4} {}\n     breaks: {}\n     bench {}\n",
            scenario.name,
            scenario.title,
            scenario.breaks,
            words.join(" ")
        ));
    }
    rows.concat()
}

fn table(done: &[(&Scenario, Result<Value>)]) -> String {
    let mut rows = vec![row([
        "",
        "records/s",
        "MB/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "e2e p99",
        "drain p99",
        "ready s",
        "CPU s",
        "fsyncs",
        "limit",
    ])];
    for (scenario, result) in done {
        let mut cells = vec![format!("{:<4}{}", scenario.name, scenario.title)];
        match result {
            Ok(document) => cells.extend(figures(document)),
            Err(_) => {
                cells.extend(std::iter::repeat_n("-".to_owned(), COLUMNS.len()).chain(["failed".to_owned()]))
            }
        }
        rows.push(cells);
    }
    align(&rows)
}

fn figures(document: &Value) -> Vec<String> {
    let figure = |name: &&str| {
        let field = Field::named(name).ok()?;
        Some(field.print(field.of(document)?))
    };
    let mut cells: Vec<String> =
        COLUMNS.iter().map(|name| figure(name).unwrap_or_else(|| "-".to_owned())).collect();
    let limit = document.pointer("/verdict/limit").and_then(Value::as_str);
    cells.push(limit.unwrap_or("-").to_owned());
    cells
}

fn document(scenario: &Scenario, result: &Result<Value>) -> Value {
    let mut document = match result {
        Ok(document) => document.clone(),
        Err(error) => json!({"failed": format!("{error:#}")}),
    };
    document["scenario"] = json!(scenario.name);
    document["title"] = json!(scenario.title);
    document
}

const COLUMNS: [&str; 11] = [
    "records_per_s",
    "mb_per_s",
    "p50",
    "p99",
    "p999",
    "max",
    "e2e.p99",
    "drain.p99_ratio",
    "restart.ready_s",
    "broker.cpu_s",
    "broker.fsyncs",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Cli, Command};
    use clap::Parser;

    fn flags(line: &str) -> SuiteFlags {
        let words = ["bench", "suite"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command {
            Command::Suite(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_scenario_is_a_command_line_that_makes_sense() {
        for scenario in ALL {
            let (Load::Words(words) | Load::ShareOf { words, .. }) = scenario.load;
            let words = std::iter::once("bench".to_owned()).chain(all_words(words, &flags("--scale 0.1")));
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
            let (workload, flags) = cli.command.workload().expect("a workload");
            flags.check(workload).unwrap_or_else(|why| panic!("{}: {why}", scenario.name));
        }
    }

    #[test]
    fn what_is_in_braces_is_scaled() {
        assert_eq!([scaled("{2s}", 0.5), scaled("{300}", 2.0), scaled("2s", 9.0)], ["1.000s", "600", "2s"]);
        assert_eq!(scaled("{1}", 0.01), "1");
    }

    #[test]
    fn scenarios_are_chosen_by_name() {
        let names = |line: &str| -> Vec<&str> {
            chosen(&flags(line).only).unwrap().iter().map(|scenario| scenario.name).collect()
        };
        assert_eq!(names("--only B3,b5"), ["B3", "B5"]);
        assert_eq!(names("").len(), ALL.len());
        assert!(chosen(&["B16".to_owned()]).unwrap_err().to_string().contains("B1 to B15"));
        assert_eq!(ALL.len(), 15);
    }

    #[test]
    fn a_failed_scenario_has_a_row_and_a_document() {
        let done =
            [(&ALL[0], Err(anyhow::anyhow!("no disk"))), (&ALL[1], Ok(json!({"produce": {"mb_per_s": 5}})))];
        let table = table(&done);
        assert!(table.contains("failed") && table.lines().count() == 3, "{table}");
        assert_eq!(document(&ALL[0], &done[0].1)["failed"], "no disk");
        assert_eq!(document(&ALL[1], &done[1].1)["scenario"], ALL[1].name);
    }
}
