//! Conditions that make a run fail: `--fail-if 'p99>5ms'`.
//!
//!     FIELD OP VALUE[UNIT]      p99>5ms   mb_per_s<100   e2e.p999>=20ms   lost>0   drain.p99_ratio>2
//!           > >= < <=           latencies need us, ms or s; counts and rates take k, m, g
//!
//! A figure that was not measured fails its gate: a check that cannot be made has not passed.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::fields::{Field, Kind};

/// One condition.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    field: Field,
    op: Op,
    value: f64,
    /// As it was given.
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Condition {
    /// Why the run fails, if it does.
    pub fn broken_by(&self, document: &Value) -> Option<String> {
        let Some(found) = self.field.of(document) else {
            return Some(format!("{}: {} was not measured", self.text, self.field.name));
        };
        let holds = match self.op {
            Op::Above => found > self.value,
            Op::AtLeast => found >= self.value,
            Op::Below => found < self.value,
            Op::AtMost => found <= self.value,
        };
        holds.then(|| format!("{}: {} is {}", self.text, self.field.name, self.field.print(found)))
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let wrong = || format!("{text:?} is not FIELD>VALUE: give p99>5ms, mb_per_s<100 or lost>0");
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let (op, value) = [(">=", Op::AtLeast), ("<=", Op::AtMost), (">", Op::Above), ("<", Op::Below)]
            .into_iter()
            .find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (op, value)))
            .ok_or_else(wrong)?;
        let field = Field::named(name.trim())?;
        let value = parse_value(value.trim(), field.kind)?;
        Ok(Condition { field, op, value, text: text.to_owned() })
    }
}

fn parse_value(text: &str, kind: Kind) -> Result<f64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || match kind {
        Kind::Micros => format!("{text:?} is not a time: give 500us, 5ms or 1s"),
        _ => format!("{text:?} is not a number: give 100, 1.5 or 200k"),
    };
    let factor = match (kind, unit.trim().to_ascii_lowercase().as_str()) {
        (Kind::Micros, "us") => 1.0,
        (Kind::Micros, "ms") => 1e3,
        (Kind::Micros, "s") => 1e6,
        (Kind::Micros, _) => return Err(wrong()),
        (_, "" | "s" | "/s" | "mb/s" | "x") => 1.0,
        (_, "k" | "k/s") => 1e3,
        (_, "m" | "m/s") => 1e6,
        (_, "g" | "g/s") => 1e9,
        _ => return Err(wrong()),
    };
    number.parse::<f64>().map(|number| number * factor).map_err(|_| wrong())
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn broken(condition: &str) -> Option<String> {
        let document = json!({"produce": {"mb_per_s": 100, "records_per_s": 1500.0, "latency_us": {"p99": 5000}},
            "verify": {"lost": 0}});
        condition.parse::<Condition>().unwrap().broken_by(&document)
    }

    #[test]
    fn each_sign_means_what_it_says() {
        let of = |conditions: [&str; 4]| conditions.map(|condition| broken(condition).is_some());
        assert_eq!(of(["p99>5ms", "p99>=5ms", "p99<5ms", "p99<=5ms"]), [false, true, false, true]);
        assert_eq!(of(["p99>4999us", "p99<0.01s", "p99 > 5.1 ms", "p99<1us"]), [true, true, false, false]);
        assert_eq!(
            of(["mb_per_s<100", "mb_per_s<101MB/s", "records_per_s<2k/s", "lost>0"]),
            [false, true, true, false]
        );
    }

    #[test]
    fn the_reason_has_the_figure_in_it() {
        assert_eq!(broken("p99>1ms").unwrap(), "p99>1ms: p99 is 5.00 ms");
    }

    #[test]
    fn what_was_not_measured_has_not_passed() {
        assert!(broken("e2e.p99>1s").is_some());
        assert!(broken("duplicated>0").unwrap().contains("not measured"));
    }

    #[test]
    fn what_is_no_condition_is_refused_in_words() {
        let why = |text: &str| text.parse::<Condition>().unwrap_err();
        assert!(why("p99").contains("FIELD>VALUE"));
        assert!(why("p99>5").contains("not a time"));
        assert!(why("p99>5m").contains("not a time"));
        assert!(why("p42>5ms").contains("not a figure"));
        assert!(why("lost>x").contains("not a number"));
        assert!(why("lost>-1").contains("not a number"));
        assert!(why(">5").contains("not a figure"));
    }
}
