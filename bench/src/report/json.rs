//! The results as JSON for other tools; the keys stand in targets.md section 4 and stay; others may be added.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::groups::{Grouped, Rebalanced};
use super::verdict::Judgement;
use crate::flags::{Flags, Workload};
use crate::limits::Limits;
use crate::meter::{Latency, Percentiles, Step};
use crate::verify::Verdict;
use crate::workload::{Counters, Drain, Interval, Phase, Restart, Results, StreamResults};

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
    machine: &'a Machine,
    verdict: Judgement,
    drain: Option<Drained>,
    /// Of `--kill`.
    restart: Option<Restart>,
    streams: Vec<Streamed>,
    groups: Option<Grouped>,
    rebalance: Option<Rebalanced>,
    /// By name, the curve of latency by percentile.
    curves: BTreeMap<String, Vec<Point>>,
}

/// What a figure is worth nothing without.
#[derive(Default, Serialize)]
pub struct Machine {
    pub kernel: String,
    pub cpu: String,
    pub filesystem: Option<String>,
    pub broker_cores: Vec<usize>,
    pub client_cores: Vec<usize>,
    /// Near or far, before and after the run.
    pub mood_before: Option<String>,
    pub mood_after: Option<String>,
    pub core_to_core_ns_after: Option<f64>,
}

/// What the workload `drain` adds.
#[derive(Serialize)]
struct Drained {
    history_records: u64,
    catch_up_s: Option<f64>,
    records: u64,
    bytes: u64,
    mb_per_s: f64,
    before_us: Option<Micros>,
    during_us: Option<Micros>,
    /// During over before.
    p50_ratio: Option<f64>,
    p99_ratio: Option<f64>,
}

/// One topic of the workload `mixed`.
#[derive(Serialize)]
struct Streamed {
    name: String,
    produce: Produced,
    end_to_end_us: Option<Micros>,
}

/// One point of a curve.
#[derive(Serialize)]
struct Point {
    quantile: f64,
    us: f64,
    count: u64,
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
pub struct Micros {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    p9999: f64,
    p99999: f64,
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
    /// Whatever the broker counts, by its names.
    counters: Counters,
}

#[derive(Serialize)]
struct ClientUsage {
    cpu_s: f64,
    busy: f64,
    busiest: f64,
}

impl<'a> Document<'a> {
    pub fn new(
        workload: Workload,
        config: &'a Flags,
        limits: &'a Limits,
        results: &'a Results,
        machine: &'a Machine,
        commit: &str,
    ) -> Document<'a> {
        let (usage, counters) = (&results.usage, &results.usage.counters);
        let count = |name| counters.get(name).unwrap_or(0);
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
                commits: count("commits"),
                fsyncs: count("fsyncs"),
                forwarded_requests: count("forwarded_requests"),
                cache_hits: count("cache_hits"),
                cache_misses: count("cache_misses"),
                counters: counters.clone(),
            },
            client: ClientUsage {
                cpu_s: usage.client_cpu_s,
                busy: usage.client_busy,
                busiest: usage.client_busiest,
            },
            machine,
            verdict: Judgement::of(results),
            drain: results.drain.as_ref().map(Drained::of),
            restart: results.restart,
            streams: results.streams.iter().map(Streamed::of).collect(),
            groups: results.groups.as_ref().map(Grouped::of),
            rebalance: results.rebalance.as_ref().map(Rebalanced::of),
            curves: super::latencies(results).map(|(name, latency)| (name, curve(latency))).collect(),
        }
    }
}

fn curve(latency: &Latency) -> Vec<Point> {
    let point =
        |step: Step| Point { quantile: step.quantile, us: step.value_ns as f64 / 1e3, count: step.count };
    latency.steps().into_iter().map(point).collect()
}

impl Drained {
    fn of(drain: &Drain) -> Drained {
        Drained {
            history_records: drain.history_records,
            catch_up_s: drain.catch_up.map(|took| took.as_secs_f64()),
            records: drain.read_records,
            bytes: drain.read_bytes,
            mb_per_s: drain.mb_per_second(),
            before_us: Micros::of(&drain.before),
            during_us: Micros::of(&drain.during),
            p50_ratio: drain.ratio(0.5),
            p99_ratio: drain.ratio(0.99),
        }
    }
}

impl Streamed {
    fn of(stream: &StreamResults) -> Streamed {
        Streamed {
            name: stream.name.clone(),
            produce: Produced::of(&stream.produce),
            end_to_end_us: Micros::of(&stream.end_to_end),
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
    pub fn of(latency: &Latency) -> Option<Micros> {
        let Percentiles { p50, p90, p99, p999, p9999, p99999, max, mean } = latency.percentiles()?;
        let us = |ns: u64| ns as f64 / 1e3;
        Some(Micros {
            p50: us(p50),
            p90: us(p90),
            p99: us(p99),
            p999: us(p999),
            p9999: us(p9999),
            p99999: us(p99999),
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
        serde_json::to_value(Document::new(
            Workload::Pubsub,
            &flags,
            &limits,
            results,
            &Machine::default(),
            "abc",
        ))
        .unwrap()
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
            intervals: vec![Interval { t_s: 1.0, records: 1, bytes: 2, ..Interval::default() }],
            produce: Some(phase()),
            consume: Some(phase()),
            end_to_end: Some(phase().sample.latency),
            verdict: Some(Verdict::default()),
            ..Results::of(Usage::default(), Failures::default())
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
            "machine",
            "verdict",
            "drain",
            "restart",
            "streams",
            "groups",
            "rebalance",
            "curves",
        ];
        assert_eq!(keys(&full), sorted(top));
        let limits =
            ["loopback_gb_s", "disk_write_gb_s", "write_fdatasync_us_p50", "crc32c_gb_s", "core_to_core_ns"];
        assert_eq!(keys(&full["limits"]), sorted(limits));
        for key in ["t_s", "records", "bytes", "p99_us"] {
            assert!(full["intervals"][0][key].is_number(), "{key}");
        }
        let produce = ["records", "bytes", "records_per_s", "mb_per_s", "latency_us"];
        assert_eq!(keys(&full["produce"]), sorted(produce));
        let consume = ["records", "bytes", "records_per_s", "mb_per_s", "latency_us", "end_to_end_us"];
        assert_eq!(keys(&full["consume"]), sorted(consume));
        let latency = sorted(["p50", "p90", "p99", "p999", "p9999", "p99999", "max", "mean"]);
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
            "counters",
        ];
        assert_eq!(keys(&full["broker"]), sorted(broker));
        assert!(full["client"]["cpu_s"].is_number());
        assert_eq!(keys(&full["curves"]), ["acknowledged", "end to end"]);
        assert_eq!(full["curves"]["acknowledged"][0]["us"], 2000.0);
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
            consume: Some(Phase { sample: Sample::new(), elapsed: Duration::from_secs(1) }),
            ..Results::of(Usage::default(), Failures::default())
        });
        for path in ["/produce", "/verify", "/consume/latency_us", "/consume/end_to_end_us", "/broker/cpu_s"]
        {
            assert_eq!(empty.pointer(path), Some(&Value::Null), "{path}");
        }
        assert_eq!(empty.pointer("/limits/loopback_gb_s"), Some(&Value::Null));
    }
}
