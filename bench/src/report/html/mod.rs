//! The result as a page for people: one file that needs nothing beside it.
//!
//!     workload, machine                        ┌ MB/s ┬ records/s ┬ p50 ┬ p99 ┬ max ┐   tiles
//!     verdict: kept the schedule …             └──────┴───────────┴─────┴─────┴─────┘
//!     latency by percentile (nines) · throughput over time · latency over time          charts
//!     percentiles · broker · configuration                                              tables
//!
//! It is made from the same document that `--json` writes. Light or dark is as the reader's system is.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::fields::Field;

mod chart;
use chart::{Axis, Chart, Series, escaped};

pub fn write(path: &Path, document: &Value) -> Result<()> {
    std::fs::write(path, page(document)).with_context(|| format!("cannot write {}", path.display()))
}

fn page(document: &Value) -> String {
    let workload = text_of(document, "/workload");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{workload} · Ringlog bench</title><style>{STYLE}</style></head><body><main>\n\
         <header><h1>{workload}</h1><div class=\"soft\">{}</div></header>\n",
        origin(document)
    );
    page += &tiles(document);
    page += &verdicts(document);
    page += &card("Latency by percentile", &by_percentile(document).svg());
    page += &card("Throughput over time", &throughput(document).svg());
    page += &card("Latency over time", &latency_over_time(document).svg());
    page += &card("Percentiles", &percentiles(document));
    page += &folded("Machine", &pairs(document.pointer("/machine")));
    page += &folded("Broker", &pairs(document.pointer("/broker")));
    page += &folded("Limits of this machine", &pairs(document.pointer("/limits")));
    page += &folded("Configuration", &pairs(document.pointer("/config")));
    page + "</main></body></html>\n"
}

/// Which program on which machine, and in which mood that was.
fn origin(document: &Value) -> String {
    let told = |pointer| document.pointer(pointer).and_then(Value::as_str).map(escaped);
    let mut parts = vec![format!("Ringlog bench {}", text_of(document, "/ringlog"))];
    parts.extend(["/machine/kernel", "/machine/cpu", "/machine/filesystem"].into_iter().filter_map(told));
    if let (Some(before), Some(after)) = (told("/machine/mood_before"), told("/machine/mood_after")) {
        parts.push(format!("cores {before} before, {after} after"));
    }
    parts.join(" · ")
}

fn tiles(document: &Value) -> String {
    let mut text = String::from("<section class=\"card tiles\">");
    for (label, name) in TILES {
        let field = Field::named(name).expect("BUG: a tile of no figure");
        if let Some(value) = field.of(document) {
            let value = field.print(value);
            put(
                &mut text,
                format_args!("<div class=\"tile\"><span class=\"soft\">{label}</span><b>{value}</b></div>"),
            );
        }
    }
    text + "</section>\n"
}

/// Who was the limit, and what became of the records if they were verified.
fn verdicts(document: &Value) -> String {
    let (limit, why) = (text_of(document, "/verdict/limit"), text_of(document, "/verdict/why"));
    let mut text = format!("<section class=\"card verdict {limit}\"><b>Verdict</b> {why}</section>\n");
    if let Some(Value::Object(verify)) = document.pointer("/verify") {
        let counts: Vec<String> =
            VERIFY_ORDER.iter().filter_map(|name| Some(format!("{name} {}", verify.get(*name)?))).collect();
        let broken = ["lost", "duplicated", "reordered", "corrupt"];
        let is_bad = broken.iter().any(|name| verify.get(*name).and_then(Value::as_u64) != Some(0));
        let class = if is_bad { "bad" } else { "" };
        let counts = escaped(&counts.join(" · "));
        put(
            &mut text,
            format_args!("<section class=\"card verdict {class}\"><b>Verified</b> {counts}</section>\n"),
        );
    }
    text
}

fn by_percentile(document: &Value) -> Chart {
    let curves = document.pointer("/curves").and_then(Value::as_object);
    // A schedule that is kept to a microsecond would press everything else into the top.
    let curves = curves.into_iter().flatten().filter(|(name, _)| *name != "schedule lag");
    let series = curves.map(|(name, points)| Series {
        name: name.clone(),
        points: list(points).iter().filter_map(point).collect(),
    });
    Chart { x: Axis::Nines, y: Axis::Log, unit: " ms", series: series.collect() }
}

/// The slowest of so many stands half a record from the end: at 100 % there is no place for it.
fn point(point: &Value) -> Option<(f64, f64)> {
    let (quantile, ms) = pair(point, "quantile", "us", 1e-3)?;
    let last = number(point, "count").filter(|count| *count >= 1.0).map(|count| 1.0 - 0.5 / count);
    Some((last.map_or(quantile, |last| quantile.min(last)), ms))
}

/// In steps: a rate is that of a whole interval.
fn throughput(document: &Value) -> Chart {
    let intervals = intervals(document);
    let of = |name: &str, bytes: &str| {
        let steps = intervals.iter().filter_map(|interval| {
            let (end, mb) = pair(interval, "t_s", bytes, 1e-6)?;
            let seconds = number(interval, "for_s").filter(|seconds| *seconds > 0.0)?;
            Some([((end - seconds).max(0.0), mb / seconds), (end, mb / seconds)])
        });
        Series { name: name.to_owned(), points: steps.flatten().collect() }
    };
    let produces = document.pointer("/produce").is_some_and(Value::is_object);
    let mut series = vec![of(if produces { "produced" } else { "consumed" }, "bytes")];
    if produces && document.pointer("/consume").is_some_and(Value::is_object) {
        series.push(of("consumed", "read_bytes"));
    }
    Chart { x: Axis::Linear, y: Axis::Linear, unit: " MB/s", series }
}

fn latency_over_time(document: &Value) -> Chart {
    let intervals = intervals(document);
    let of = |name: &str, key: &str| Series {
        name: name.to_owned(),
        points: intervals
            .iter()
            .filter_map(|interval| pair(interval, "t_s", key, 1e-3))
            .filter(|(_, ms)| *ms > 0.0)
            .collect(),
    };
    let series = vec![of("p50", "p50_us"), of("p99", "p99_us"), of("max", "max_us")];
    Chart { x: Axis::Linear, y: Axis::Log, unit: " ms", series }
}

/// Of acknowledgements and, where there are consumers, of what they measured.
fn percentiles(document: &Value) -> String {
    let mut text = String::from("<div class=\"scroll\"><table><tr><th></th>");
    for (label, _) in QUANTILES {
        put(&mut text, format_args!("<th>{label}</th>"));
    }
    text.push_str("</tr>");
    for (label, place) in PLACES {
        let fields = QUANTILES.map(|(_, quantile)| Field::named(&format!("{place}.{quantile}")));
        let cells: Vec<String> = fields
            .iter()
            .flatten()
            .filter_map(|field| Some(format!("<td>{}</td>", field.print(field.of(document)?))))
            .collect();
        if !cells.is_empty() {
            put(&mut text, format_args!("<tr><td>{label}</td>{}</tr>", cells.concat()));
        }
    }
    text + "</table></div>"
}

/// Keys and values of an object, and of the objects in it.
fn pairs(value: Option<&Value>) -> String {
    let mut text = String::from("<div class=\"scroll\"><table>");
    let mut seen = BTreeSet::new();
    add_pairs(&mut text, value, &mut seen);
    text + "</table></div>"
}

fn add_pairs<'a>(text: &mut String, value: Option<&'a Value>, seen: &mut BTreeSet<&'a str>) {
    for (key, value) in value.and_then(Value::as_object).into_iter().flatten() {
        let told = match value {
            Value::Null => continue,
            Value::Object(_) => {
                add_pairs(text, Some(value), seen);
                continue;
            }
            Value::String(told) => told.clone(),
            other => other.to_string(),
        };
        // Some of the broker's counters stand beside the others too.
        if seen.insert(key) {
            let (key, told) = (escaped(key), escaped(&told));
            put(text, format_args!("<tr><td>{key}</td><td><code>{told}</code></td></tr>"));
        }
    }
}

fn card(title: &str, inside: &str) -> String {
    format!("<section class=\"card\"><h2>{title}</h2>{inside}</section>\n")
}

fn folded(title: &str, inside: &str) -> String {
    format!("<details class=\"card\"><summary>{title}</summary>{inside}</details>\n")
}

/// Those that are long enough for a rate: the last is what was left.
fn intervals(document: &Value) -> Vec<&Value> {
    let all = document.pointer("/intervals").map(list).unwrap_or_default();
    let length = |interval: &Value| number(interval, "for_s").unwrap_or(0.0);
    let longest = all.iter().map(length).fold(0.0, f64::max);
    all.iter().filter(|interval| length(interval) >= longest / 10.0).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key)?.as_f64()
}

fn pair(value: &Value, x: &str, y: &str, factor: f64) -> Option<(f64, f64)> {
    Some((number(value, x)?, number(value, y)? * factor))
}

/// Text of the document, safe to stand in the page.
fn text_of(document: &Value, pointer: &str) -> String {
    escaped(document.pointer(pointer).and_then(Value::as_str).unwrap_or("?"))
}

fn put(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece).expect("BUG: a string takes everything");
}

const STYLE: &str = include_str!("style.css");
const TILES: [(&str, &str); 10] = [
    ("produced MB/s", "produce.mb_per_s"),
    ("produced records/s", "produce.records_per_s"),
    ("consumed MB/s", "consume.mb_per_s"),
    ("ack p50", "produce.p50"),
    ("ack p99", "produce.p99"),
    ("ack max", "produce.max"),
    ("end to end p99", "e2e.p99"),
    ("drain MB/s", "drain.mb_per_s"),
    ("ack p99 during / before drain", "drain.p99_ratio"),
    ("s until ready after SIGKILL", "restart.ready_s"),
];
const VERIFY_ORDER: [&str; 7] = ["sent", "acked", "received", "lost", "duplicated", "reordered", "corrupt"];
const QUANTILES: [(&str, &str); 8] = [
    ("p50", "p50"),
    ("p90", "p90"),
    ("p99", "p99"),
    ("p99.9", "p999"),
    ("p99.99", "p9999"),
    ("p99.999", "p99999"),
    ("max", "max"),
    ("mean", "mean"),
];
const PLACES: [(&str, &str); 5] = [
    ("acknowledged", "produce"),
    ("end to end", "e2e"),
    ("one receive", "consume"),
    ("before drain", "before"),
    ("during drain", "during"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_needs_nothing_beside_it() {
        let page = page(&json!({"workload": "produce", "ringlog": "0.1 abc",
            "machine": {"kernel": "Linux 6", "mood_before": "near", "mood_after": "far"},
            "produce": {"mb_per_s": 12.5, "latency_us": {"p50": 800.0, "p99": 2500.0}},
            "verdict": {"limit": "client", "why": "the client was the limit"},
            "intervals": [{"t_s": 1.0, "for_s": 1.0, "bytes": 5_000_000, "p99_us": 9.0}],
            "curves": {"acknowledged": [{"quantile": 0.5, "us": 800.0}, {"quantile": 1.0, "us": 9000.0}]}}));
        for part in [
            "verdict client",
            "12.50",
            "2.50 ms",
            "acknowledged: 9 ms at",
            "produced: 5 MB/s at 1 s",
            "Linux 6 · cores near before, far after",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_is_in_a_document_cannot_become_a_tag() {
        let page = page(&json!({"workload": "<script>", "config": {"topic": "<img onerror=x>"},
            "curves": {"\"><script>": []}}));
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }

    #[test]
    fn any_json_makes_a_page() {
        for odd in
            [json!(null), json!([1]), json!({"intervals": 5, "curves": [], "verify": {}, "config": []})]
        {
            assert!(page(&odd).ends_with("</html>\n"));
        }
    }
}
