//! Values of a topic's settings: read as Kafka reads them, refused in its words.
//!
//!     retention.ms = " 10s "   10,000                                     a unit of ours
//!     retention.ms = "soon"    Invalid value soon for configuration retention.ms: Not a number of type LONG; …
//!     segment.ms   = "0"       Invalid value 0 for configuration segment.ms: Value must be at least 1; …
//!
//! The sentences are those of its `ConfigDef`, for people search for them. What we add stands behind.

use std::fmt::Display;

use storage::log::{Cleanup, DirtyRatio};

use super::value::{Count, Millis, Size, Value, show_size};

/// A value that a setting does not take, and why.
pub struct Wrong {
    value: String,
    why: String,
}

impl Wrong {
    fn new(value: impl Display, why: impl Into<String>) -> Wrong {
        Wrong { value: value.to_string(), why: why.into() }
    }

    /// What the user is told, as by Kafka's `ConfigException`.
    pub fn told(&self, name: &str) -> String {
        format!("Invalid value {} for configuration {name}: {}", printable(&self.value), self.why)
    }
}

/// What was sent, without what would move the cursor of a terminal or end the line of a log.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// Milliseconds, from 0 on.
pub fn millis(text: &str) -> Result<u64, Wrong> {
    from(0, time(text)?)
}

/// Milliseconds from `low` on, or none.
pub fn millis_limit(text: &str, low: i64) -> Result<Option<u64>, Wrong> {
    limit(low, time(text)?)
}

/// A number of things from `low` on, or none.
pub fn count_limit(text: &str, low: i64) -> Result<Option<u64>, Wrong> {
    let count = |text: &str| Count::parse(text).ok().map(|Count(count)| count);
    limit(low, number(text, "LONG", count, "")?)
}

/// A number of bytes, or none.
pub fn size_limit(text: &str) -> Result<Option<u64>, Wrong> {
    limit(NO_LIMIT, size(text, "LONG")?)
}

/// A number of bytes from `low` to `high`.
pub fn size_within(text: &str, low: u64, high: u64) -> Result<u64, Wrong> {
    let told = size(text, "INT")?;
    let why = |what, bound| Wrong::new(told, format!("Value must be {what} {bound} ({})", show_size(bound)));
    match u64::try_from(told).unwrap_or(0) {
        bytes if bytes < low => Err(why("at least", low)),
        bytes if high < bytes => Err(why("no more than", high)),
        bytes => Ok(bytes),
    }
}

/// A share of the whole, from 0 to 1.
pub fn ratio(text: &str) -> Result<DirtyRatio, Wrong> {
    let not_a_number = || Wrong::new(text, "Not a number of type DOUBLE");
    let ratio: f64 = text.trim().parse().map_err(|_| not_a_number())?;
    match DirtyRatio::new(ratio) {
        Some(ratio) => Ok(ratio),
        None if ratio < 0.0 => Err(Wrong::new(ratio, "Value must be at least 0")),
        None if 1.0 < ratio => Err(Wrong::new(ratio, "Value must be no more than 1")),
        None => Err(not_a_number()),
    }
}

/// Of a list Kafka tells the first item that is wrong.
pub fn cleanup(text: &str) -> Result<Cleanup, Wrong> {
    let is_wrong = |item: &&str| !["compact", "delete"].contains(item);
    Cleanup::parse(text).map_err(|_| {
        let item = text.split(',').map(str::trim).find(is_wrong).unwrap_or(text);
        Wrong::new(item, "String must be one of: compact, delete")
    })
}

/// A text that is so for every topic: what says so is taken, and changes nothing.
pub fn only_text(value: &str, text: &str, reason: &str) -> Result<(), Wrong> {
    match text == value {
        true => Ok(()),
        false => Err(Wrong::new(text, format!("String must be one of: {value}; {reason}"))),
    }
}

/// The same of a number that is 1.
pub fn only_one(text: &str, reason: &str) -> Result<(), Wrong> {
    match number(text, "INT", |_| None, "")? {
        1 => Ok(()),
        less @ ..1 => Err(Wrong::new(less, "Value must be at least 1")),
        more => Err(Wrong::new(more, format!("Value must be no more than 1; {reason}"))),
    }
}

/// The same of what is never so.
pub fn only_false(text: &str, reason: &str) -> Result<(), Wrong> {
    match text.trim().to_ascii_lowercase().as_str() {
        "false" => Ok(()),
        "true" => Err(Wrong::new(text, format!("Value must be false; {reason}"))),
        _ => Err(Wrong::new(text, "Expected value to be either true or false")),
    }
}

/// How Kafka writes that there is no limit; the other way is its largest number.
const NO_LIMIT: i64 = -1;

fn limit(low: i64, number: i64) -> Result<Option<u64>, Wrong> {
    match number {
        NO_LIMIT | i64::MAX => Ok(None),
        number => match from(low, number) {
            Ok(number) => Ok(Some(number)),
            Err(wrong) => Err(Wrong { why: format!("{}; {NO_LIMIT} is no limit", wrong.why), ..wrong }),
        },
    }
}

fn from(low: i64, number: i64) -> Result<u64, Wrong> {
    let wrong = || Wrong::new(number, format!("Value must be at least {low}"));
    u64::try_from(number).ok().filter(|_| low <= number).ok_or_else(wrong)
}

fn time(text: &str) -> Result<i64, Wrong> {
    let millis = |text: &str| Millis::parse(text).ok().map(|Millis(ms)| ms);
    number(text, "LONG", millis, "; it may also be a time such as 10s, 1h or 7d")
}

fn size(text: &str, kind: &str) -> Result<i64, Wrong> {
    let bytes = |text: &str| Size::parse(text).ok().map(|Size(bytes)| bytes);
    number(text, kind, bytes, "; it may also be a size such as 64 MiB or 1GiB")
}

/// A number as Java reads it, or what our own configuration takes for one.
fn number(text: &str, kind: &str, ours: impl Fn(&str) -> Option<u64>, addition: &str) -> Result<i64, Wrong> {
    if let Ok(number) = text.trim().parse() {
        return Ok(number);
    }
    let number = ours(text).and_then(|number| i64::try_from(number).ok());
    number.ok_or_else(|| Wrong::new(text, format!("Not a number of type {kind}{addition}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T>(read: Result<T, Wrong>) -> String {
        read.err().map(|wrong| wrong.told("n")).unwrap_or_default()
    }

    #[test]
    fn numbers_are_read_as_java_reads_them_and_with_our_units() {
        for (text, wanted) in [
            ("0", 0),
            (" 1500 ", 1500),
            ("+7", 7),
            ("1_000", 1000),
            (" 7d", 604_800_000),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(millis(text).ok(), Some(wanted), "{text:?}");
        }
        for text in ["", "soon", "1.5", "--1", "9223372036854775808", "99999999999999999999", "7 days"] {
            assert!(why(millis(text)).contains("Not a number of type LONG; it may also be"), "{text:?}");
        }
        assert_eq!(why(millis("-1")), "Invalid value -1 for configuration n: Value must be at least 0");
    }

    #[test]
    fn a_limit_may_be_none_in_both_of_kafkas_ways() {
        for text in ["-1", " -1 ", "9223372036854775807"] {
            assert_eq!(millis_limit(text, 1).ok(), Some(None), "{text:?}");
            assert_eq!(count_limit(text, 1).ok(), Some(None), "{text:?}");
            assert_eq!(size_limit(text).ok(), Some(None), "{text:?}");
        }
        assert_eq!(size_limit("1 GiB").ok(), Some(Some(1 << 30)));
        let why = why(size_limit("-2"));
        assert_eq!(why, "Invalid value -2 for configuration n: Value must be at least -1; -1 is no limit");
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(ratio(" 5e-1 ").ok(), DirtyRatio::new(0.5));
        assert_eq!(why(ratio("-0.5")), "Invalid value -0.5 for configuration n: Value must be at least 0");
        assert_eq!(why(ratio("1.1")), "Invalid value 1.1 for configuration n: Value must be no more than 1");
        for text in ["NaN", "half"] {
            assert!(why(ratio(text)).ends_with("Not a number of type DOUBLE"), "{text}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_told_as_an_escape() {
        assert_eq!(printable("é\"\u{1b}[2J\n"), "é\"\\u{1b}[2J\\n");
    }
}
