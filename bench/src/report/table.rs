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

/// Whether the figures are the broker's, or ours.
fn verdict(results: &Results, flags: &Flags) -> String {
    // Ticks of 10 ms may add up to a little more than the time there was.
    let busy = 100.0 * results.usage.client_busy.min(1.0);
    let Some(lag) = results.lag.as_ref().and_then(Latency::percentiles) else {
        let own = 100.0 * results.usage.client_own.min(1.0);
        return match (results.usage.client_busy, results.usage.client_own) {
            (busy_share, own_share) if busy_share > CLIENT_BUSY_MAX && own_share < CLIENT_OWN_MIN => {
                format!("others kept the client's cores busy ({busy:.0} %, {own:.0} % ours): of no worth")
            }
            (busy_share, _) if busy_share > CLIENT_BUSY_MAX => {
                format!("the client was the limit: its cores were {busy:.0} % busy")
            }
            _ => format!("the client was not the limit: its cores were {busy:.0} % busy ({own:.0} % ours)"),
        };
    };
    let rate = flags.rate.unwrap_or(f64::INFINITY);
    let reached = results.produce.as_ref().map_or(0.0, Phase::records_per_second) / rate;
    let (lag_p99, percent) = (micros(lag.p99), 100.0 * reached);
    if lag.p99 > LAG_NS_MAX || reached < RATE_SHARE_MIN {
        format!(
            "fell behind the schedule: {percent:.1} % of the rate, records sent late by {lag_p99} us at p99 \
             (client's cores {busy:.0} % busy): latencies include it"
        )
    } else {
        format!("kept the schedule: {percent:.1} % of the rate, records sent late by {lag_p99} us at p99")
    }
}

const CLIENT_BUSY_MAX: f64 = 0.9;
/// Softirqs are not counted as ours, so that a client alone on its core is below 1.
const CLIENT_OWN_MIN: f64 = 0.7;
const LAG_NS_MAX: u64 = 1_000_000;
const RATE_SHARE_MIN: f64 = 0.99;
