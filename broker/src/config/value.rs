//! Values as people write them: `64 MiB`, `500ms`, `0,2-3`, `broker-1.example:7070`.
//!
//! Every source says text (a TOML number is its digits), so that a key means the same in the file,
//! in the environment and behind `--set`. A parser's error says what was written and what is right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::model::limits::SHORT_STRING_BYTES_MAX;
use storage::log::{Cleanup, DirtyRatio};

use super::LogFormat;

/// A type that a key can have.
pub trait Value: Sized {
    /// What the reference calls it.
    const KIND: &'static str;

    fn parse(text: &str) -> Result<Self, String>;
}

/// A number of things.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Count(pub u64);

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

/// A time in milliseconds, as Kafka counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Millis(pub u64);

/// A time in milliseconds, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MillisLimit(pub Option<u64>);

/// A number of bytes, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeLimit(pub Option<u64>);

/// A number of things, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountLimit(pub Option<u64>);

/// Cores to run on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cpus {
    /// All that the process may use.
    All,
    /// Ascending, without repetition, at least one.
    These(Vec<usize>),
}

/// An address that clients are told; an empty text is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertised(pub Option<(String, u16)>);

/// Where to listen, if anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen(pub Option<SocketAddr>);

impl Value for Count {
    const KIND: &'static str = "number";

    fn parse(text: &str) -> Result<Count, String> {
        let wrong = || format!("{text:?} is not a whole number from 0 on");
        text.replace('_', "").parse().map(Count).map_err(|_| wrong())
    }
}

impl Value for Size {
    const KIND: &'static str = "size";

    fn parse(text: &str) -> Result<Size, String> {
        let wrong = || format!("{text:?} is not a size; write 64 MiB, 1GiB or 4096");
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let unit = unit.to_ascii_lowercase();
        let bytes =
            SIZE_UNITS.iter().find(|(name, _)| name.to_ascii_lowercase() == unit).ok_or_else(wrong)?.1;
        number.checked_mul(bytes).map(Size).ok_or_else(|| format!("{text:?} is more than 64 bits hold"))
    }
}

impl Value for Duration {
    const KIND: &'static str = "duration";

    fn parse(text: &str) -> Result<Duration, String> {
        let wrong = || format!("{text:?} is not a duration; write 500ms, 10s, 5min or 1h");
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let micros = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        number.checked_mul(micros).map(Duration::from_micros).ok_or_else(wrong)
    }
}

impl Value for Millis {
    const KIND: &'static str = "milliseconds or duration";

    fn parse(text: &str) -> Result<Millis, String> {
        let wrong = || format!("{text:?} is not a time; write milliseconds, 10s, 1h or 7d");
        parse_millis(text).map(Millis).ok_or_else(wrong)
    }
}

impl Value for MillisLimit {
    const KIND: &'static str = "milliseconds or duration, -1 for no limit";

    fn parse(text: &str) -> Result<MillisLimit, String> {
        let wrong =
            || format!("{text:?} is not a time; write milliseconds, 10s, 1h or 7d, or -1 for no limit");
        limit(text, parse_millis).map(MillisLimit).ok_or_else(wrong)
    }
}

impl Value for SizeLimit {
    const KIND: &'static str = "size, -1 for no limit";

    fn parse(text: &str) -> Result<SizeLimit, String> {
        let wrong = || format!("{text:?} is not a size; write 64 MiB, 1GiB or 4096, or -1 for no limit");
        limit(text, |text| Size::parse(text).ok().map(|Size(bytes)| bytes)).map(SizeLimit).ok_or_else(wrong)
    }
}

impl Value for CountLimit {
    const KIND: &'static str = "number, -1 for no limit";

    fn parse(text: &str) -> Result<CountLimit, String> {
        let wrong = || format!("{text:?} is not a whole number; write -1 for no limit");
        limit(text, |text| Count::parse(text).ok().map(|Count(count)| count))
            .map(CountLimit)
            .ok_or_else(wrong)
    }
}

impl Value for Cleanup {
    const KIND: &'static str = "delete, compact or both";

    fn parse(text: &str) -> Result<Cleanup, String> {
        let wrong = || format!("{text:?} is not a policy; write delete, compact or compact,delete");
        let mut cleanup = Cleanup { delete: false, compact: false };
        for part in text.split(',').map(str::trim) {
            match part {
                "delete" => cleanup.delete = true,
                "compact" => cleanup.compact = true,
                _ => return Err(wrong()),
            }
        }
        Ok(cleanup)
    }
}

impl Value for DirtyRatio {
    const KIND: &'static str = "share from 0 to 1";

    fn parse(text: &str) -> Result<DirtyRatio, String> {
        let wrong = || format!("{text:?} is not a share; write a number from 0 to 1");
        text.parse().ok().and_then(DirtyRatio::new).ok_or_else(wrong)
    }
}

impl Value for Cpus {
    const KIND: &'static str = "cpus";

    fn parse(text: &str) -> Result<Cpus, String> {
        if text == "all" {
            return Ok(Cpus::All);
        }
        let wrong = || format!("{text:?} is not a list of cpus; write all, 0,2 or 0,2-3");
        let mut cpus = parse_cpu_list(text).ok_or_else(wrong)?;
        cpus.sort_unstable();
        cpus.dedup();
        Ok(Cpus::These(cpus))
    }
}

impl Value for bool {
    const KIND: &'static str = "true or false";

    fn parse(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "address:port";

    fn parse(text: &str) -> Result<SocketAddr, String> {
        let wrong = || format!("{text:?} is not an address and port; write 127.0.0.1:7070 or [::1]:7070");
        text.parse().map_err(|_| wrong())
    }
}

impl Value for Advertised {
    const KIND: &'static str = "host:port";

    fn parse(text: &str) -> Result<Advertised, String> {
        if text.is_empty() {
            return Ok(Advertised(None));
        }
        let wrong = || format!("{text:?} is not a host and port; write broker-1.example:7070");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || SHORT_STRING_BYTES_MAX < host.len() {
            return Err(wrong());
        }
        Ok(Advertised(Some((host.to_owned(), port))))
    }
}

impl Value for Listen {
    const KIND: &'static str = "address:port or none";

    fn parse(text: &str) -> Result<Listen, String> {
        match text {
            "none" => Ok(Listen(None)),
            text => SocketAddr::parse(text).map(|addr| Listen(Some(addr))),
        }
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";

    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("the path is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
    }
}

impl Value for String {
    const KIND: &'static str = "text";

    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl Value for LogFormat {
    const KIND: &'static str = "text or json";

    fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is neither text nor json")),
        }
    }
}

/// A number is milliseconds, as in Kafka; anything else needs a unit.
fn parse_millis(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let duration = Duration::parse(text).ok()?;
    u64::try_from(duration.as_millis()).ok()
}

/// `None` inside where the text says that there is no limit, in one of Kafka's two ways.
fn limit(text: &str, parse: impl Fn(&str) -> Option<u64>) -> Option<Option<u64>> {
    if text.trim() == "-1" {
        return Some(None);
    }
    parse(text).map(|value| Some(value).filter(|value| *value < i64::MAX as u64))
}

/// A duration as the configuration has it, for command lines: `500ms`, `10s`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Value::parse(text)
}

/// `0,2-3` is 0, 2, 3, as the kernel writes and `taskset` reads it; `None` for anything else.
pub fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // The bound keeps `0-99999999999` from becoming a list of that length.
        if last < first || CPU_MAX < last {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// A size in the largest binary unit that divides it: 67108864 is `64 MiB`.
pub fn show_size(bytes: u64) -> String {
    let binary = SIZE_UNITS.iter().filter(|(name, _)| name.contains('i'));
    let whole = |(_, unit): &&(&str, u64)| bytes != 0 && bytes.is_multiple_of(*unit);
    match binary.rev().find(whole) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// A duration in the largest unit that divides it: 5,000,000 µs is `5s`.
pub fn show_micros(micros: u64) -> String {
    let whole = |(_, unit): &&(&str, u64)| micros != 0 && micros.is_multiple_of(*unit);
    match DURATION_UNITS.iter().rev().find(whole) {
        Some((name, unit)) => format!("{}{name}", micros / unit),
        None => format!("{micros}us"),
    }
}

/// `64 MiB` is (64, "MiB"), `4096` is (4096, "").
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    Some((number.replace('_', "").parse().ok()?, unit.trim()))
}

/// Highest core number that a list may name; the kernel's own limit is 8192 cores.
const CPU_MAX: usize = 8191;

/// `K`, `M`, `G` alone are not here: half of the world means 1000 by them and half 1024.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// In microseconds. A number without a unit is refused: nobody remembers which it would be.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        let cases =
            [("4096", 4096), ("64 MiB", 64 << 20), ("1GiB", 1 << 30), ("1 gib", 1 << 30), ("2MB", 2_000_000)];
        for (text, bytes) in cases {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "64M", "-1", "1.5 GiB", "64 MiB x", "99999999999 TiB", "99999999999999999999"]
        {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        let cases =
            [("500ms", 500_000), ("10s", 10_000_000), ("1 h", 3_600_000_000), ("250us", 250), ("0s", 0)];
        for (text, micros) in cases {
            assert_eq!(Duration::parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1m", "1.5s", "999999999999999999d"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_may_be_none_in_both_of_kafkas_ways() {
        for (text, wanted) in [
            ("-1", Some(None)),
            ("9223372036854775807", Some(None)),
            ("0", Some(Some(0))),
            ("1500", Some(Some(1500))),
            ("7d", Some(Some(604_800_000))),
            ("-2", None),
            ("", None),
            ("7 days", None),
        ] {
            assert_eq!(MillisLimit::parse(text).ok(), wanted.map(MillisLimit), "{text:?}");
        }
        assert_eq!(SizeLimit::parse("1 GiB"), Ok(SizeLimit(Some(1 << 30))));
        assert_eq!(Millis::parse("250us"), Ok(Millis(0)), "finer than Kafka counts");
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 4096, 64 << 20, 1 << 30, 1_048_588] {
            assert_eq!(Size::parse(&show_size(bytes)), Ok(Size(bytes)));
        }
        for micros in [0, 1, 1_000, 5_000_000, 90_000_000] {
            assert_eq!(Duration::parse(&show_micros(micros)), Ok(Duration::from_micros(micros)));
        }
        assert_eq!(show_size(64 << 20), "64 MiB");
        assert_eq!(show_micros(5_000_000), "5s");
    }

    #[test]
    fn cpus_are_a_list_in_any_order() {
        assert_eq!(Cpus::parse("all"), Ok(Cpus::All));
        assert_eq!(Cpus::parse("3, 0,2-3"), Ok(Cpus::These(vec![0, 2, 3])));
        for text in ["", ",", "a", "3-2", "0-99999999999", "-1", "0,,1"] {
            assert!(Cpus::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_advertised_address_is_a_name_and_a_port() {
        let some = |host: &str, port| Ok(Advertised(Some((host.to_owned(), port))));
        assert_eq!(Advertised::parse("broker-1.example:7070"), some("broker-1.example", 7070));
        assert_eq!(Advertised::parse("[::1]:7070"), some("::1", 7070));
        assert_eq!(Advertised::parse(""), Ok(Advertised(None)));
        for text in ["broker-1", ":7070", "broker-1:0", "broker-1:70000"] {
            assert!(Advertised::parse(text).is_err(), "{text}");
        }
    }
}
