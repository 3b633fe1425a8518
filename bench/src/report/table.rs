//! The end of a report: what was reached, how long it took, what it cost, and who was the limit.

use super::text::{align, row};
use super::verdict::Judgement;
use crate::limits::{Distance, Limits};
use crate::meter::Percentiles;
use crate::units::{megabytes, micros, thousands};
use crate::workload::{Drain, Phase, Restart, Results};

/// Prints everything but the verdict of a verification, which is the very last line.
pub fn print(results: &Results, limits: &Limits, core_to_core_after: Option<f64>) {
    println!("\n{}", throughput(results));
    println!("{}", latencies(results));
    println!("{}", costs(results));
    print!("{}", results.drain.as_ref().map(drained).unwrap_or_default());
    print!("{}", results.groups.as_ref().map(super::groups::told).unwrap_or_default());
    print!("{}", results.rebalance.as_ref().map(super::groups::changes).unwrap_or_default());
    if let Some(Restart { ready, records, lost }) = results.restart {
        let (ready, records) = (ready.as_secs_f64(), thousands(records));
        println!(
            "restart   ready {ready:.3} s after SIGKILL with {records} records, {} acknowledged ones lost",
            thousands(lost)
        );
    }
    print!("{}", counters(results));
    print!("{}", shares(results, limits));
    if let (Some(before), Some(after)) = (limits.core_to_core_ns, core_to_core_after) {
        let (was, is) = (Distance::of(before), Distance::of(after));
        println!("cores     {was} before ({before:.0} ns), {is} after ({after:.0} ns)");
    }
    println!("verdict   {}", Judgement::of(results));
    for message in &results.failures.messages {
        println!("failed    {message}");
    }
    if results.failures.unacked > 0 {
        println!("failed    {} records were not acknowledged", thousands(results.failures.unacked));
    }
}

fn phases(results: &Results) -> impl Iterator<Item = (&'static str, &Phase)> {
    let produce = results.produce.as_ref().map(|phase| ("produce", phase));
    let consume = results.consume.as_ref().map(|phase| ("consume", phase));
    produce.into_iter().chain(consume)
}

fn throughput(results: &Results) -> String {
    let mut rows = vec![row(["", "records", "MB", "seconds", "records/s", "MB/s"])];
    for (name, phase) in phases(results) {
        rows.push(rates(name, phase));
    }
    for stream in &results.streams {
        rows.push(rates(&format!("  {}", stream.name), &stream.produce));
    }
    align(&rows)
}

fn rates(name: &str, phase: &Phase) -> Vec<String> {
    vec![
        name.to_owned(),
        thousands(phase.sample.records),
        format!("{:.1}", megabytes(phase.sample.bytes)),
        format!("{:.3}", phase.elapsed.as_secs_f64()),
        thousands(phase.records_per_second() as u64),
        format!("{:.1}", phase.mb_per_second()),
    ]
}

fn latencies(results: &Results) -> String {
    let mut rows = vec![row(["us", "p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max", "mean"])];
    for (name, latency) in super::latencies(results) {
        rows.extend(latency.percentiles().map(|found| percentiles_row(&name, found)));
    }
    align(&rows)
}

fn percentiles_row(name: &str, found: Percentiles) -> Vec<String> {
    let Percentiles { p50, p90, p99, p999, p9999, p99999, max, mean } = found;
    let cells = [p50, p90, p99, p999, p9999, p99999, max, mean].map(micros);
    std::iter::once(name.to_owned()).chain(cells).collect()
}

fn costs(results: &Results) -> String {
    let usage = &results.usage;
    // What went through the broker, in either direction.
    let gb: f64 = phases(results).map(|(_, phase)| phase.sample.bytes as f64 / 1e9).sum();
    let per_gb = |seconds: f64| if gb > 0.0 { format!("{:.3}", seconds / gb) } else { "-".to_owned() };
    let mut rows = vec![row(["", "CPU s", "CPU s/GB", "peak MB"])];
    if let Some(seconds) = usage.broker_cpu_s {
        let peak =
            usage.broker_rss_peak_bytes.map_or("-".to_owned(), |peak| format!("{:.1}", megabytes(peak)));
        rows.push(vec!["broker".to_owned(), format!("{seconds:.2}"), per_gb(seconds), peak]);
    }
    let seconds = usage.client_cpu_s;
    rows.push(vec!["client".to_owned(), format!("{seconds:.2}"), per_gb(seconds), "-".to_owned()]);
    let seconds = usage.others_cpu_s;
    rows.push(vec!["others".to_owned(), format!("{seconds:.2}"), "-".to_owned(), "-".to_owned()]);
    align(&rows)
}

/// What the drain cost the producers.
fn drained(drain: &Drain) -> String {
    let read = format!("{} records, {:.1} MB/s", thousands(drain.read_records), drain.mb_per_second());
    let came = match drain.catch_up {
        Some(took) => format!("caught up in {:.2} s: {read}", took.as_secs_f64()),
        None => format!("not caught up in {:.2} s: {read}", drain.took.as_secs_f64()),
    };
    let ratio = |name, quantile| drain.ratio(quantile).map(|ratio| format!("{name} x{ratio:.2}"));
    let ratios: Vec<String> =
        [ratio("p50", 0.5), ratio("p99", 0.99), ratio("p99.9", 0.999)].into_iter().flatten().collect();
    format!("drain     {came} | acks during over before: {}\n", ratios.join(", "))
}

/// Every counter of the broker that has counted something, then what they say together.
fn counters(results: &Results) -> String {
    let counters = &results.usage.counters;
    let get = |name: &str| counters.get(name).unwrap_or(0);
    let per = |what: &str, unit: &str, each: &str| {
        let (sum, count) = (get(what), get(each));
        (sum > 0 && count > 0).then(|| match sum / count {
            0..10 => format!("{:.1} {unit}", sum as f64 / count as f64),
            whole => format!("{} {unit}", thousands(whole)),
        })
    };
    let each = [
        per("round_bytes", "bytes a round", "rounds")
            .or_else(|| per("produced_bytes", "bytes a commit", "commits")),
        per("round_requests", "requests a round", "rounds")
            .or_else(|| per("produce_requests", "requests a commit", "commits")),
        per("produced_records", "records a request", "produce_requests"),
        per("flush_us", "us a flush", "rounds"),
    ];
    let each: Vec<String> = each.into_iter().flatten().collect();
    let all = counters.iter().filter(|(_, value)| *value > 0);
    let mut words: Vec<String> =
        all.map(|(name, value)| format!("{} {}", name.replace('_', " "), thousands(value))).collect();
    if words.is_empty() {
        words.push("no counters".to_owned());
    }
    let mut text = wrapped("broker", &words);
    if !each.is_empty() {
        text.push_str(&wrapped("each", &each));
    }
    text
}

/// Words with commas under a heading, in lines that fit a terminal.
fn wrapped(heading: &str, words: &[String]) -> String {
    let mut text = String::new();
    let mut line = format!("{heading:<10}");
    for (at, word) in words.iter().enumerate() {
        if line.len() + word.len() > LINE_MAX {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(10);
        }
        line.push_str(word);
        line.push_str(if at + 1 < words.len() { ", " } else { "" });
    }
    text + line.trim_end() + "\n"
}

/// How much of what this machine can do was used.
fn shares(results: &Results, limits: &Limits) -> String {
    let gb_s = |phase: &Option<Phase>| phase.as_ref().map_or(0.0, |phase| phase.mb_per_second() / 1e3);
    let (produced, consumed) = (gb_s(&results.produce), gb_s(&results.consume));
    let mut parts = Vec::new();
    if let Some(limit) = limits.loopback_gb_s {
        parts.push(format!("{:.0} % of loopback", 100.0 * (produced + consumed) / limit));
    }
    if let Some(limit) = limits.disk_write_gb_s.filter(|_| produced > 0.0) {
        parts.push(format!("{:.0} % of disk write", 100.0 * produced / limit));
    }
    let acked = results.produce.as_ref().and_then(|phase| phase.sample.latency.percentiles());
    if let (Some(acked), Some(disk_us)) = (acked, limits.write_fdatasync_us_p50) {
        let times = acked.p50 as f64 / 1e3 / disk_us;
        parts.push(format!("ack p50 {times:.2} x the disk's own write + fdatasync"));
    }
    if parts.is_empty() { String::new() } else { format!("share     {}\n", parts.join(", ")) }
}

const LINE_MAX: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Counters, Failures, Usage};

    fn counted(pairs: &[(&str, u64)]) -> String {
        let usage = Usage { counters: Counters::from_pairs(pairs), ..Usage::default() };
        counters(&Results::of(usage, Failures::default()))
    }

    #[test]
    fn whatever_the_broker_counts_is_told_with_what_it_means() {
        let text = counted(&[("rounds", 10), ("round_bytes", 5000), ("round_requests", 15), ("errors", 0)]);
        assert_eq!(
            text,
            "broker    round bytes 5,000, round requests 15, rounds 10\neach      500 bytes a round, 1.5 requests a round\n"
        );
    }

    #[test]
    fn a_broker_without_counters_is_no_error() {
        assert_eq!(counted(&[]), "broker    no counters\n");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let words: Vec<String> = (0..40).map(|n| format!("counter {n}")).collect();
        let text = wrapped("broker", &words);
        assert!(text.lines().all(|line| line.len() <= LINE_MAX + 2), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("          counter")), "{text}");
    }
}
