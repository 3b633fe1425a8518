//! Names of the figures in a result, as gates, comparisons and tables use them.
//!
//!     p99 ─▶ /produce/latency_us/p99, or what a consumer measured where nothing was produced
//!     e2e.p99, consume.mb_per_s, lost, broker.fsyncs, drain.p99_ratio ─▶ a path through the JSON
//!
//! Results come from files too: whatever is in them, a figure is a number or it is not there.

use serde_json::Value;

/// Which direction is better, and how a figure is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Microseconds: less is better.
    Micros,
    /// Per second, or a share of what was possible: more is better.
    Rate,
    /// What it cost, or what went wrong: less is better.
    Cost,
    /// Neither.
    Count,
}

/// What a name means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
    /// Tried in order.
    pointers: Vec<String>,
}

impl Field {
    /// In words for the user if there is no such figure.
    pub fn named(name: &str) -> Result<Field, String> {
        let field = |kind, pointers: Vec<String>| Ok(Field { name: name.to_owned(), kind, pointers });
        let (place, figure) = name.split_once('.').unwrap_or(("", name));
        let unknown = || Err(format!("{name:?} is not a figure: it is one of {KNOWN}"));
        if figure.is_empty() || name.starts_with('.') {
            return unknown();
        }
        let latencies: &[&str] = match place {
            "" => &["produce/latency_us", "consume/end_to_end_us", "consume/latency_us"],
            "produce" => &["produce/latency_us"],
            "e2e" => &["consume/end_to_end_us"],
            "consume" => &["consume/latency_us"],
            "before" => &["drain/before_us"],
            "during" => &["drain/during_us"],
            "rest" => &["rebalance/rest_us"],
            "join" => &["rebalance/join/unmoved_us"],
            "join_moved" => &["rebalance/join/moved_us"],
            "leave" => &["rebalance/leave/unmoved_us"],
            "leave_moved" => &["rebalance/leave/moved_us"],
            _ => &[],
        };
        let rates: &[&str] = match place {
            "" => &["produce", "consume"],
            "produce" => &["produce"],
            "consume" => &["consume"],
            "drain" => &["drain"],
            _ => &[],
        };
        let under = |places: &[&str]| places.iter().map(|place| format!("/{place}/{figure}")).collect();
        match figure {
            _ if QUANTILES.contains(&figure) && !latencies.is_empty() => {
                field(Kind::Micros, under(latencies))
            }
            "mb_per_s" | "records_per_s" if !rates.is_empty() => field(Kind::Rate, under(rates)),
            "records" | "bytes" if !rates.is_empty() => field(Kind::Count, under(rates)),
            _ if VERIFIED.contains(&figure) && place.is_empty() => field(Kind::Cost, under(&["verify"])),
            "elapsed_s" if place.is_empty() => field(Kind::Count, vec!["/elapsed_s".to_owned()]),
            "sent" | "acked" | "received" if place == "verify" => field(Kind::Count, under(&["verify"])),
            "cpu_s" | "rss_peak_bytes" if place == "broker" => field(Kind::Cost, under(&["broker"])),
            "cpu_s" if place == "client" => field(Kind::Cost, under(&["client"])),
            "catch_up_s" | "p50_ratio" | "p99_ratio" if place == "drain" => {
                field(Kind::Cost, under(&["drain"]))
            }
            "stable_s" | "moved" | "minimum" if matches!(place, "join" | "leave") => {
                field(Kind::Cost, vec![format!("/rebalance/{place}/{figure}")])
            }
            "fan_out" if place == "groups" => field(Kind::Count, under(&["groups"])),
            "lag_max" | "joined_s" | "rss_per_member_bytes" | "resting_cores" if place == "groups" => {
                field(Kind::Cost, under(&["groups"]))
            }
            "ready_s" | "lost" if place == "restart" => field(Kind::Cost, under(&["restart"])),
            _ if place == "broker" => field(Kind::Count, under(&["broker", "broker/counters"])),
            _ if place == "limits" => field(Kind::Count, under(&["limits"])),
            _ => unknown(),
        }
    }

    /// `None` if it was not measured.
    pub fn of(&self, document: &Value) -> Option<f64> {
        self.pointers.iter().find_map(|pointer| document.pointer(pointer)?.as_f64())
    }

    /// A value of it, in its unit.
    pub fn print(&self, value: f64) -> String {
        match self.kind {
            Kind::Micros if value >= 100_000.0 => format!("{:.0} ms", value / 1e3),
            Kind::Micros if value >= 1000.0 => format!("{:.2} ms", value / 1e3),
            Kind::Micros => format!("{value:.1} us"),
            _ if value.abs() >= 1000.0 => crate::units::thousands(value.abs() as u64),
            _ if value.fract() == 0.0 => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        }
    }
}

const QUANTILES: [&str; 8] = ["p50", "p90", "p99", "p999", "p9999", "p99999", "max", "mean"];
const VERIFIED: [&str; 4] = ["lost", "duplicated", "reordered", "corrupt"];
const KNOWN: &str = "p50, p90, p99, p999, p9999, p99999, max, mean (of acks, or e2e.p99, consume.p99, before.p99, \
     during.p99), mb_per_s, records_per_s, records, bytes (or consume.mb_per_s), lost, duplicated, reordered, corrupt, \
     rest.p99, join.p99, join_moved.p99, leave.p99, leave_moved.p99 (silence of partitions), join.stable_s, \
     join.moved, join.minimum (or leave.…), groups.fan_out, groups.lag_max, groups.joined_s, \
     groups.rss_per_member_bytes, groups.resting_cores, elapsed_s, drain.mb_per_s, drain.catch_up_s, drain.p99_ratio, \
     restart.ready_s, restart.lost, broker.cpu_s, broker.COUNTER, client.cpu_s, \
     limits.LIMIT";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(name: &str, document: &Value) -> Option<f64> {
        Field::named(name).unwrap().of(document)
    }

    #[test]
    fn a_name_without_a_place_is_the_main_figure() {
        let both = json!({"produce": {"mb_per_s": 10, "latency_us": {"p99": 5}},
            "consume": {"mb_per_s": 20, "latency_us": null, "end_to_end_us": {"p99": 7}}, "verify": {"lost": 0}});
        assert_eq!([value("p99", &both), value("mb_per_s", &both)], [Some(5.0), Some(10.0)]);
        assert_eq!([value("e2e.p99", &both), value("consume.mb_per_s", &both)], [Some(7.0), Some(20.0)]);
        assert_eq!([value("lost", &both), value("duplicated", &both)], [Some(0.0), None]);
        let read = json!({"produce": null, "consume": {"mb_per_s": 20, "latency_us": {"p99": 9}}});
        assert_eq!([value("p99", &read), value("mb_per_s", &read)], [Some(9.0), Some(20.0)]);
    }

    #[test]
    fn any_counter_of_the_broker_is_a_figure() {
        let document = json!({"broker": {"fsyncs": 3, "counters": {"stalls": 1}}});
        assert_eq!(value("broker.fsyncs", &document), Some(3.0));
        assert_eq!(value("broker.stalls", &document), Some(1.0));
    }

    #[test]
    fn what_is_no_figure_is_refused_and_what_is_no_number_not_there() {
        for wrong in ["", "p42", "e2e.mb_per_s", "e2e.", ".p99", "lost.lost", "foo.bar"] {
            assert!(Field::named(wrong).is_err(), "{wrong:?}");
        }
        for odd in
            [json!(null), json!([1]), json!({"produce": 5}), json!({"produce": {"latency_us": {"p99": "x"}}})]
        {
            assert_eq!(value("p99", &odd), None);
        }
    }

    #[test]
    fn values_are_printed_in_their_unit() {
        let print = |name: &str, value| Field::named(name).unwrap().print(value);
        assert_eq!(print("p99", 950.04), "950.0 us");
        assert_eq!(print("p99", 2500.0), "2.50 ms");
        assert_eq!(print("max", 250_000.0), "250 ms");
        assert_eq!(print("records_per_s", 1_234_567.8), "1,234,567");
        assert_eq!(print("drain.p99_ratio", 1.236), "1.24");
    }
}
