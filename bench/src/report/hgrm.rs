//! A histogram in the text form that HdrHistogram's plotters read: milliseconds by percentile.
//!
//!            Value     Percentile TotalCount 1/(1-Percentile)
//!         0.812031 0.500000000000      50012           2.00
//!         …
//!     #[Mean    =     0.913, StdDeviation   =     0.220]
//!
//! The curve is of one merged histogram and ends at the true maximum. A run with several histograms
//! writes the main one to FILE and each other one beside it: FILE-end-to-end.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::meter::Latency;

pub fn write<'a>(path: &Path, latencies: impl Iterator<Item = (String, &'a Latency)>) -> Result<()> {
    for (at, (name, latency)) in latencies.enumerate() {
        let path = if at == 0 { path.to_owned() } else { beside(path, &name) };
        std::fs::write(&path, text(latency)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// `run.hgrm` and `end to end` are `run-end-to-end.hgrm`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{end}", name.replace([' ', '/'], "-")))
}

fn text(latency: &Latency) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let ms = |ns: f64| ns / 1e6;
    for step in latency.steps() {
        let value = ms(step.value_ns as f64);
        let line = match step.quantile < 1.0 {
            true => writeln!(
                text,
                "{value:12.6} {:14.12} {:10} {:14.2}",
                step.quantile,
                step.count,
                1.0 / (1.0 - step.quantile)
            ),
            // Of the last there are infinitely many: it is left out.
            false => writeln!(text, "{value:12.6} {:14.12} {:10}", step.quantile, step.count),
        };
        line.expect("BUG: a string takes everything");
    }
    let (mean, max) = latency.percentiles().map_or((0.0, 0.0), |found| (found.mean as f64, found.max as f64));
    let (mean, stdev, max, count) = (ms(mean), ms(latency.stdev_ns()), ms(max), latency.count());
    text + &format!(
        "#[Mean    = {mean:12.6}, StdDeviation   = {stdev:12.6}]\n\
         #[Max     = {max:12.6}, Total count    = {count:12}]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_a_percentile_file() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|us| latency.record(us * 1000, 1));
        let text = text(&latency);
        let (heading, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(
            heading.split_whitespace().collect::<Vec<_>>(),
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        let rows: Vec<Vec<f64>> = rest
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.len() > 20 && rows[..rows.len() - 1].iter().all(|row| row.len() == 4), "{text}");
        assert_eq!(rows.last().unwrap(), &[1.0, 1.0, 1000.0]);
        assert!(rest.contains("#[Max     =     1.000000, Total count    =         1000]"), "{rest}");
    }

    #[test]
    fn other_histograms_stand_beside_the_first() {
        assert_eq!(beside(Path::new("d/run.hgrm"), "end to end"), Path::new("d/run-end-to-end.hgrm"));
        assert_eq!(beside(Path::new("run"), "a/b"), Path::new("run-a-b"));
    }
}
