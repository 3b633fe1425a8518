//! A line per interval, in columns that stay where they are.
//!
//!       time    records/s       MB/s |   ack p50       p99        max us | e2e p50 …        | lag p99
//!        1s     1,002,598    1,026.7 |   4,210.0   9,120.0   11,032.0    |

use std::time::Duration;

use crate::meter::{Latency, Sample};
use crate::units::{megabytes, micros, thousands};

/// What an interval measured.
pub struct Line {
    /// Since the end of the warm-up.
    pub at: Duration,
    pub elapsed: Duration,
    pub produced: Option<Sample>,
    pub consumed: Option<Sample>,
    pub lag: Option<Sample>,
}

/// Which columns there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineFormat {
    pub produces: bool,
    pub consumes: bool,
    /// Whether consumers measure from the send; otherwise how long a receive took.
    pub end_to_end: bool,
    pub paced: bool,
}

impl LineFormat {
    pub fn heading(self) -> String {
        let mut text = format!("{:>8}", "time");
        if self.produces {
            text.push_str(&rates_heading("sent/s"));
            text.push_str(&latency_heading("ack us"));
        }
        if self.consumes {
            text.push_str(&rates_heading("read/s"));
            text.push_str(&latency_heading(if self.end_to_end { "e2e us" } else { "receive us" }));
        }
        if self.paced {
            text.push_str(&format!(" |{:>12}", "lag p99 us"));
        }
        text
    }

    pub fn line(self, line: &Line) -> String {
        let mut text = format!("{:>7.1}s", line.at.as_secs_f64());
        for sample in [&line.produced, &line.consumed].into_iter().flatten() {
            let seconds = line.elapsed.as_secs_f64();
            let records = thousands((sample.records as f64 / seconds) as u64);
            text.push_str(&format!(" |{records:>12}{:>9.1}", megabytes(sample.bytes) / seconds));
            text.push_str(&latency(&sample.latency));
        }
        if let Some(lag) = &line.lag {
            text.push_str(&format!(" |{:>12}", micros(lag.latency.quantile(0.99))));
        }
        text
    }
}

fn rates_heading(records: &str) -> String {
    format!(" |{records:>12}{:>9}", "MB/s")
}

fn latency_heading(name: &str) -> String {
    format!(" {:>14}{:>11}{:>11}", format!("{name} p50"), "p99", "max")
}

fn latency(latency: &Latency) -> String {
    let [p50, p99, max] = latency
        .percentiles()
        .map_or(["-"; 3].map(str::to_owned), |found| [found.p50, found.p99, found.max].map(micros));
    format!(" {p50:>14}{p99:>11}{max:>11}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(records: u64) -> Sample {
        let mut sample = Sample::new();
        if records > 0 {
            sample.record(1_500_000, records, records * 1000);
        }
        sample
    }

    #[test]
    fn headings_stand_over_their_columns() {
        for (produces, consumes, paced) in [(true, false, false), (false, true, false), (true, true, true)] {
            let format = LineFormat { produces, consumes, end_to_end: true, paced };
            let line = Line {
                at: Duration::from_secs(1),
                elapsed: Duration::from_secs(1),
                produced: produces.then(|| sample(1_000_000)),
                consumed: consumes.then(|| sample(0)),
                lag: paced.then(|| sample(5)),
            };
            let (heading, line) = (format.heading(), format.line(&line));
            let bars = |text: &str| -> Vec<usize> { text.match_indices('|').map(|(at, _)| at).collect() };
            assert_eq!((heading.len(), bars(&heading)), (line.len(), bars(&line)), "{heading}\n{line}");
        }
    }
}
