//! Numbers as people write them: `64k` bytes, `10m` records, `200k/s`, `500ms`.
//!
//!     bytes     k m g   powers of 1024     a batch of 64k is 65,536 bytes
//!     counts    k m g   powers of 1000     10m records are ten millions
//!     times     us ms s m h                a bare number is seconds
//!
//! Rates that are printed are decimal: 1 MB is 10^6 bytes.

use std::time::Duration;

pub fn parse_bytes(text: &str) -> Result<u64, String> {
    parse_scaled(text, 1024).map_err(|why| format!("{why}: give bytes, as in 100, 64k or 8m"))
}

pub fn parse_count(text: &str) -> Result<u64, String> {
    parse_scaled(text, 1000).map_err(|why| format!("{why}: give a number, as in 500, 200k or 10m"))
}

/// Records a second; a trailing `/s` is allowed.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = parse_count(text.strip_suffix("/s").unwrap_or(text))? as f64;
    if rate > 0.0 { Ok(rate) } else { Err("the rate must be above 0".to_owned()) }
}

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time: give 10s, 500ms, 20us, 5m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

fn parse_scaled(text: &str, thousand: u64) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size");
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, suffix) = lower.split_at(digits);
    let factor = match suffix {
        "" => 1,
        "k" => thousand,
        "m" => thousand.pow(2),
        "g" => thousand.pow(3),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A byte count as it may be given on the command line: `64k`, `100`.
pub fn bytes(count: u64) -> String {
    for (suffix, shift) in [("g", 30), ("m", 20), ("k", 10)] {
        if count > 0 && count.is_multiple_of(1 << shift) {
            return format!("{}{suffix}", count >> shift);
        }
    }
    count.to_string()
}

/// Nanoseconds as microseconds: with one decimal while that means anything.
pub fn micros(ns: u64) -> String {
    if ns < 1_000_000 { format!("{:.1}", ns as f64 / 1e3) } else { thousands(ns / 1000) }
}

pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_binary_and_counts_are_decimal() {
        assert_eq!((parse_bytes("64k"), parse_count("64k")), (Ok(65_536), Ok(64_000)));
        assert_eq!((parse_bytes("8M"), parse_count("10m")), (Ok(8 << 20), Ok(10_000_000)));
        assert_eq!((parse_bytes("100"), parse_count("0")), (Ok(100), Ok(0)));
        for wrong in ["", "k", "1.5k", "-1", "1kb", "99999999999g"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times_have_units_and_seconds_by_default() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("20us"), Ok(Duration::from_micros(20)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "1d", "-1s", "1 s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_rate_is_above_zero() {
        assert_eq!((parse_rate("200k/s"), parse_rate("50")), (Ok(200_000.0), Ok(50.0)));
        assert!(parse_rate("0").is_err());
    }

    #[test]
    fn numbers_are_printed_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([100, 1024, 65_536, 3 << 20].map(bytes), ["100", "1k", "64k", "3m"]);
        assert_eq!([150, 999_949, 1_000_000, 12_345_678].map(micros), ["0.1", "999.9", "1,000", "12,345"]);
    }
}
