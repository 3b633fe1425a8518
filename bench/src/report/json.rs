//! The results as JSON for other tools; the keys stand in targets.md section 4 and stay as they are.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::flags::{Flags, Workload};
use crate::limits::Limits;
use crate::meter::{Latency, Percentiles};
use crate::verify::Verdict;
use crate::workload::{Interval, Phase, Results};

#[derive(Serialize)]
pub struct Document<'a> {
    ringlog: String,
    workload: Workload,
    config: &'a Flags,
    limits: &'a Limits,
    elapsed_s: f64,
    intervals: &'a [Interval],
    produce: Option<Produced>,
    consume: Option<Consumed>,
    verify: Option<Verdict>,
    broker: BrokerUsage,
    client: ClientUsage,
}

#[derive(Serialize)]
struct Produced {
    records: u64,
    bytes: u64,
    records_per_s: f64,
    mb_per_s: f64,
    latency_us: Option<Micros>,
}

#[derive(Serialize)]
struct Consumed {
    #[serde(flatten)]
    common: Produced,
    end_to_end_us: Option<Micros>,
}

#[derive(Serialize)]
struct Micros {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    p9999: f64,
    max: f64,
    mean: f64,
}

#[derive(Serialize)]
struct BrokerUsage {
    cpu_s: Option<f64>,
    rss_peak_bytes: Option<u64>,
    commits: u64,
    fsyncs: u64,
    forwarded_requests: u64,
    cache_hits: u64,
    cache_misses: u64,
}

#[derive(Serialize)]
struct ClientUsage {
    cpu_s: f64,
}

impl<'a> Document<'a> {
    pub fn new(
        workload: Workload,
        config: &'a Flags,
        limits: &'a Limits,
        results: &'a Results,
        commit: &str,
    ) -> Document<'a> {
        let (usage, counters) = (&results.usage, results.usage.counters);
        // Of a consumer in `pubsub` the time from the send is known, and nobody cares how long one
        // receive took.
        let consumed = |phase: &Phase| {
            let mut common = Produced::of(phase);
            let end_to_end_us = results.end_to_end.as_ref().map(|latency| {
                common.latency_us = None;
                Micros::of(latency)
            });
            Consumed { common, end_to_end_us: end_to_end_us.flatten() }
        };
        Document {
            ringlog: format!("{} {commit}", env!("CARGO_PKG_VERSION")),
            workload,
            config,
            limits,
            elapsed_s: results.elapsed.as_secs_f64(),
            intervals: &results.intervals,
            produce: results.produce.as_ref().map(Produced::of),
            consume: results.consume.as_ref().map(consumed),
            verify: results.verdict,
            broker: BrokerUsage {
                cpu_s: usage.broker_cpu_s,
                rss_peak_bytes: usage.broker_rss_peak_bytes,
                commits: counters.commits,
                fsyncs: counters.fsyncs,
                forwarded_requests: counters.forwarded_requests,
                cache_hits: counters.cache_hits,
                cache_misses: counters.cache_misses,
            },
            client: ClientUsage { cpu_s: usage.client_cpu_s },
        }
    }
}

/// Writes any document, with a line break at the end.
pub fn write(path: &Path, document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).context("BUG: the document has no JSON form")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

impl Produced {
    fn of(phase: &Phase) -> Produced {
        Produced {
            records: phase.sample.records,
            bytes: phase.sample.bytes,
            records_per_s: phase.records_per_second(),
            mb_per_s: phase.mb_per_second(),
            latency_us: Micros::of(&phase.sample.latency),
        }
    }
}

impl Micros {
    fn of(latency: &Latency) -> Option<Micros> {
        let Percentiles { p50, p90, p99, p999, p9999, max, mean } = latency.percentiles()?;
        let us = |ns: u64| ns as f64 / 1e3;
        Some(Micros {
            p50: us(p50),
            p90: us(p90),
            p99: us(p99),
            p999: us(p999),
            p9999: us(p9999),
            max: us(max),
            mean: us(mean),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Sample;
    use crate::workload::{Failures, Usage};
    use clap::Parser;
    use serde_json::Value;
    use std::time::Duration;

    fn phase() -> Phase {
        let mut sample = Sample::new();
        sample.record(2_000_000, 10, 10_240);
        Phase { sample, elapsed: Duration::from_secs(2) }
    }

    fn document(results: &Results) -> Value {
        let cli = crate::flags::Cli::try_parse_from(["bench", "pubsub", "--linger", "2ms"]).unwrap();
        let crate::flags::Command::Pubsub(flags) = cli.command else { panic!("pubsub was asked for") };
        let limits = Limits { loopback_64k_gb_s: Some(1.0), ..Limits::default() };
        serde_json::to_value(Document::new(Workload::Pubsub, &flags, &limits, results, "abc")).unwrap()
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn sorted<const N: usize>(mut keys: [&str; N]) -> Vec<&str> {
        keys.sort_unstable();
        keys.to_vec()
    }

    #[test]
    fn the_keys_are_those_that_other_tools_read() {
        let full = document(&Results {
            elapsed: Duration::from_secs(2),
            intervals: vec![Interval { t_s: 1.0, records: 1, bytes: 2, p99_us: 3.0 }],
            produce: Some(phase()),
            consume: Some(phase()),
            end_to_end: Some(phase().sample.latency),
            lag: None,
            verdict: Some(Verdict::default()),
            usage: Usage::default(),
            failures: Failures::default(),
        });
        let top = [
            "ringlog",
            "workload",
            "config",
            "limits",
            "elapsed_s",
            "intervals",
            "produce",
            "consume",
            "verify",
            "broker",
            "client",
        ];
        assert_eq!(keys(&full), sorted(top));
        let limits =
            ["loopback_gb_s", "disk_write_gb_s", "write_fdatasync_us_p50", "crc32c_gb_s", "core_to_core_ns"];
        assert_eq!(keys(&full["limits"]), sorted(limits));
        assert_eq!(keys(&full["intervals"][0]), sorted(["t_s", "records", "bytes", "p99_us"]));
        let produce = ["records", "bytes", "records_per_s", "mb_per_s", "latency_us"];
        assert_eq!(keys(&full["produce"]), sorted(produce));
        let consume = ["records", "bytes", "records_per_s", "mb_per_s", "latency_us", "end_to_end_us"];
        assert_eq!(keys(&full["consume"]), sorted(consume));
        let latency = sorted(["p50", "p90", "p99", "p999", "p9999", "max", "mean"]);
        assert_eq!(keys(&full["produce"]["latency_us"]), latency);
        assert_eq!(keys(&full["consume"]["end_to_end_us"]), latency);
        let verify = ["sent", "acked", "received", "lost", "duplicated", "reordered", "corrupt"];
        assert_eq!(keys(&full["verify"]), sorted(verify));
        let broker = [
            "cpu_s",
            "rss_peak_bytes",
            "commits",
            "fsyncs",
            "forwarded_requests",
            "cache_hits",
            "cache_misses",
        ];
        assert_eq!(keys(&full["broker"]), sorted(broker));
        assert_eq!(keys(&full["client"]), ["cpu_s"]);
        assert_eq!(full["ringlog"], format!("{} abc", env!("CARGO_PKG_VERSION")));
        assert_eq!(full["workload"], "pubsub");
        assert_eq!(full["produce"]["records_per_s"], 5.0);
        assert_eq!(full["produce"]["latency_us"]["max"], 2000.0);
        assert_eq!(full["config"]["linger"], 0.002);
        assert_eq!(full["config"]["key"], "none");
    }

    #[test]
    fn what_does_not_apply_is_null() {
        let empty = document(&Results {
            elapsed: Duration::ZERO,
            intervals: Vec::new(),
            produce: None,
            consume: Some(Phase { sample: Sample::new(), elapsed: Duration::from_secs(1) }),
            end_to_end: None,
            lag: None,
            verdict: None,
            usage: Usage::default(),
            failures: Failures::default(),
        });
        for path in ["/produce", "/verify", "/consume/latency_us", "/consume/end_to_end_us", "/broker/cpu_s"]
        {
            assert_eq!(empty.pointer(path), Some(&Value::Null), "{path}");
        }
        assert_eq!(empty.pointer("/limits/loopback_gb_s"), Some(&Value::Null));
    }
}
