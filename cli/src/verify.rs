//! `ringlog verify`: whether a data directory holds what it should, with every byte read.
//!
//!     TOPIC  PARTITION  SEGMENTS … START  END  STATE
//!     orders         0         6       0  900  ok
//!     DAMAGE topics/…/0/…151.log at 20123: bad batch: …        exit code 8
//!     note   topics/…/0/…151.index: is garbled; …              exit code 0
//!
//! What is read, and what counts as damage: `broker::verify`.

use std::path::PathBuf;

use broker::verify::{Finding, Report, Severity, VerifyError, verify};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{Format, Output, print, print_json, table};

/// Check a data directory that no broker uses: catalog, checkpoints, every batch, every index
///
/// Changes nothing, and keeps brokers from starting there while it reads. Damage is what was durable
/// and is not there, or not as it was written; a note is what a crash leaves and the next start mends.
/// Ends with exit code 0 if there is no damage, 8 if there is, 78 if the directory cannot be checked.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The data directory
    dir: PathBuf,

    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct ReportJson<'a> {
    sound: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let report = verify(&args.dir).map_err(|error| cannot_check(&error))?;
    match args.output.format {
        Format::Json => print_json(&ReportJson { sound: report.is_sound(), report: &report })?,
        Format::Table => print(&show(&report))?,
    }
    match report.damages() {
        0 => Ok(()),
        damages => Err(damaged(damages)),
    }
}

fn cannot_check(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Directory(_) => Failure::new(Exit::Config, error.to_string()),
        VerifyError::Read { .. } => Failure::new(Exit::Error, error.to_string()),
    }
}

fn damaged(damages: usize) -> Failure {
    let found =
        if damages == 1 { "damage was found".to_owned() } else { format!("{damages} damages were found") };
    Failure::new(Exit::CheckFailed, found).with_next(
        "copy the directory before anything else. A broker serves a partition below the damage and refuses what is \
         above; `ringlog dump` shows a segment's batches",
    )
}

fn show(report: &Report) -> String {
    let columns = ["TOPIC", "PARTITION", "SEGMENTS", "BATCHES", "RECORDS", "BYTES", "START", "END", "STATE"];
    let rows = report.partitions.iter().map(|partition| {
        [
            partition.topic.clone(),
            partition.partition.to_string(),
            partition.segments.to_string(),
            partition.batches.to_string(),
            partition.records.to_string(),
            partition.bytes.to_string(),
            partition.start.to_string(),
            partition.end.to_string(),
            if partition.sound { "ok" } else { "DAMAGED" }.to_owned(),
        ]
    });
    let mut text = table(columns, rows);
    // Damage first: the end of the table is what is on the screen.
    let of = |severity| report.findings.iter().filter(move |finding| finding.severity == severity);
    for finding in of(Severity::Damage).chain(of(Severity::Note)) {
        text.push('\n');
        text.push_str(&line(finding));
    }
    text
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Damage => "DAMAGE",
        Severity::Note => "note  ",
    };
    let position = finding.position.map_or_else(String::new, |at| format!(" at {at}"));
    format!("{severity} {}{position}: {}", finding.path, finding.what)
}
