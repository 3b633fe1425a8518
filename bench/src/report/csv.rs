//! The intervals as CSV: one line each, the first says what the columns are.
//!
//!     t_s,for_s,records,bytes,records_per_s,mb_per_s,p50_us,p99_us,max_us,read_records,read_bytes
//!     1.000,1.000,204800,209715200,204800.0,209.715,812.0,2104.0,4411.0,0,0

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workload::Interval;

pub fn write(path: &Path, intervals: &[Interval]) -> Result<()> {
    std::fs::write(path, text(intervals)).with_context(|| format!("cannot write {}", path.display()))
}

fn text(intervals: &[Interval]) -> String {
    let mut text = String::from(HEADING);
    for interval in intervals {
        let Interval { t_s, for_s, records, bytes, p50_us, p99_us, max_us, read_records, read_bytes } =
            interval;
        let seconds = for_s.max(1e-6);
        let (records_per_s, mb_per_s) = (*records as f64 / seconds, *bytes as f64 / 1e6 / seconds);
        let line = writeln!(
            text,
            "{t_s:.3},{for_s:.3},{records},{bytes},{records_per_s:.1},{mb_per_s:.3},{p50_us:.1},{p99_us:.1},{max_us:.1},\
             {read_records},{read_bytes}"
        );
        line.expect("BUG: a string takes everything");
    }
    text
}

const HEADING: &str =
    "t_s,for_s,records,bytes,records_per_s,mb_per_s,p50_us,p99_us,max_us,read_records,read_bytes\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_as_many_fields_as_the_first() {
        let interval =
            Interval { t_s: 2.0, for_s: 0.5, records: 100, bytes: 5_000_000, ..Interval::default() };
        let text = text(&[interval, Interval::default()]);
        let fields: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields, [11, 11, 11]);
        assert!(text.contains("2.000,0.500,100,5000000,200.0,10.000,"), "{text}");
    }
}
