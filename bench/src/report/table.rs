//! The end of a report: what was reached, how long it took, what it cost, and who was the limit.

use super::text::{align, row};
use crate::flags::Flags;
use crate::limits::{Distance, Limits};
use crate::meter::{Latency, Percentiles};
use crate::units::{megabytes, micros, thousands};
use crate::workload::{Phase, Results};

/// Prints everything but the verdict of a verification, which is the very last line.
pub fn print(results: &Results, flags: &Flags, limits: &Limits, core_to_core_after: Option<f64>) {
    println!("\n{}", throughput(results));
    println!("{}", latencies(results));
    println!("{}", costs(results));
    print!("{}", counters(results));
    print!("{}", shares(results, limits));
    if let (Some(before), Some(after)) = (limits.core_to_core_ns, core_to_core_after) {
        let (was, is) = (Distance::of(before), Distance::of(after));
        println!("cores     {was} before ({before:.0} ns), {is} after ({after:.0} ns)");
    }
    println!("verdict   {}", verdict(results, flags));
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
        rows.push(vec![
            name.to_owned(),
            thousands(phase.sample.records),
            format!("{:.1}", megabytes(phase.sample.bytes)),
            format!("{:.3}", phase.elapsed.as_secs_f64()),
            thousands(phase.records_per_second() as u64),
            format!("{:.1}", phase.mb_per_second()),
        ]);
    }
    align(&rows)
}

fn latencies(results: &Results) -> String {
    let mut rows = vec![row(["us", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"])];
    let mut add = |name: &str, latency: Option<&Latency>| {
        if let Some(found) = latency.and_then(Latency::percentiles) {
            rows.push(percentiles_row(name, found));
        }
    };
    add("acknowledged", results.produce.as_ref().map(|phase| &phase.sample.latency));
    match &results.end_to_end {
        Some(latency) => add("end to end", Some(latency)),
        None => add("one receive", results.consume.as_ref().map(|phase| &phase.sample.latency)),
    }
    add("schedule lag", results.lag.as_ref());
    align(&rows)
}

fn percentiles_row(name: &str, found: Percentiles) -> Vec<String> {
    let Percentiles { p50, p90, p99, p999, p9999, max, mean } = found;
    let cells = [p50, p90, p99, p999, p9999, max, mean].map(micros);
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

fn counters(results: &Results) -> String {
    let counters = results.usage.counters;
    let records = results.produce.as_ref().map_or(0, |phase| phase.sample.records);
    let each = if counters.commits > 0 && records > 0 {
        format!(" of {} records each", thousands(records / counters.commits))
    } else {
        String::new()
    };
    format!(
        "broker    {} commits{each}, {} fsyncs, {} forwarded requests, cache {} hits {} misses\n",
        thousands(counters.commits),
        thousands(counters.fsyncs),
        thousands(counters.forwarded_requests),
        thousands(counters.cache_hits),
        thousands(counters.cache_misses),
    )
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

/// Whether the figures are the broker's, or ours, or those of whoever else was at work here.
fn verdict(results: &Results, flags: &Flags) -> String {
    let usage = &results.usage;
    // Ticks of 10 ms may add up to a little more than the time there was.
    let (busy, own) = (100.0 * usage.client_busy.min(1.0), 100.0 * usage.client_own.min(1.0));
    if usage.client_busy > CLIENT_BUSY_MAX && usage.client_own < CLIENT_OWN_MIN {
        return format!("others kept the client's cores busy ({busy:.0} %, {own:.0} % ours): of no worth");
    }
    match (results.lag.as_ref().and_then(Latency::percentiles), &results.produce, flags.rate) {
        (Some(lag), Some(phase), Some(rate)) => {
            kept_schedule(lag, phase.records_per_second() / rate, usage.client_own)
        }
        _ if usage.client_busy > CLIENT_BUSY_MAX => {
            format!("the client was the limit: its cores were {busy:.0} % busy")
        }
        _ => format!("the client was not the limit: its cores were {busy:.0} % busy ({own:.0} % ours)"),
    }
}

/// `reached` is the share of the rate. Who keeps up spins before it sends: busy cores say nothing.
/// Who is late does not, and was late either for want of a core or because the buffer was full.
fn kept_schedule(lag: Percentiles, reached: f64, own: f64) -> String {
    let (percent, late) = (100.0 * reached, micros(lag.p99));
    let reached_and_late = format!("{percent:.1} % of the rate, records sent late by {late} us at p99");
    match lag.p99 > LAG_NS_MAX {
        true if own > CLIENT_BUSY_MAX => format!("the client fell behind the schedule: {reached_and_late}"),
        true => format!("the broker fell behind the schedule: {reached_and_late}, latencies include it"),
        false if reached < RATE_SHARE_MIN => format!("the broker fell behind: {reached_and_late}"),
        false => format!("kept the schedule: {reached_and_late}"),
    }
}

const CLIENT_BUSY_MAX: f64 = 0.9;
/// Softirqs are not counted as ours, so that a client alone on its core is below 1.
const CLIENT_OWN_MIN: f64 = 0.7;
const LAG_NS_MAX: u64 = 1_000_000;
const RATE_SHARE_MIN: f64 = 0.99;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Usage;
    use clap::Parser;
    use std::time::Duration;

    fn verdict_of(line: &str, busy: f64, own: f64, lag_us: Option<u64>) -> String {
        let cli = crate::flags::Cli::try_parse_from(
            ["bench", "produce"].into_iter().chain(line.split_whitespace()),
        );
        let crate::flags::Command::Produce(flags) = cli.unwrap().command else {
            panic!("produce was asked for")
        };
        let latency = |us: u64| {
            let mut sample = crate::meter::Sample::new();
            sample.record(us * 1000, 1000, 1000);
            sample
        };
        let results = Results {
            elapsed: Duration::from_secs(1),
            intervals: Vec::new(),
            produce: Some(Phase { sample: latency(5), elapsed: Duration::from_secs(1) }),
            consume: None,
            end_to_end: None,
            lag: lag_us.map(|us| latency(us).latency),
            verdict: None,
            usage: Usage { client_busy: busy, client_own: own, ..Usage::default() },
            failures: Default::default(),
        };
        verdict(&results, &flags)
    }

    #[test]
    fn it_is_said_whose_limit_was_measured() {
        let closed = |busy, own| verdict_of("", busy, own, None);
        assert!(closed(1.0, 0.95).starts_with("the client was the limit"));
        assert!(closed(0.6, 0.5).starts_with("the client was not the limit"));
        assert!(closed(1.0, 0.3).starts_with("others kept"));
        let open = |rate, own, lag_us| verdict_of(rate, 0.99, own, Some(lag_us));
        assert!(open("--rate 1000", 0.95, 20).starts_with("kept the schedule: 100.0 %"));
        assert!(open("--rate 1000", 0.95, 5000).starts_with("the client fell behind"));
        assert!(open("--rate 1000", 0.8, 5000).starts_with("the broker fell behind"));
        assert!(open("--rate 2000", 0.8, 20).starts_with("the broker fell behind: 50.0 %"));
    }
}
