//! Where to start reading, as `--from` says it.
//!
//!     start   end   1234 (an offset)   -10 (the last ten)   @2026-11-21T12:00:00Z   @1795262400000

use std::str::FromStr;

use ringlog_client::{Offset, Timestamp};

use crate::time;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    Start,
    End,
    Offset(Offset),
    /// So many offsets before the end, in each partition.
    Last(u64),
    /// The first record at this time or later.
    Time(Timestamp),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let wrong = || format!("{text:?} is none of start, end, an offset, -N, @TIME");
        match text {
            "start" | "earliest" | "beginning" => return Ok(From::Start),
            "end" | "latest" => return Ok(From::End),
            _ => {}
        }
        if let Some(at) = text.strip_prefix('@') {
            return time::parse(at).map(From::Time);
        }
        let number: i64 = text.parse().map_err(|_| wrong())?;
        if text.starts_with('-') {
            return Ok(From::Last(number.unsigned_abs()));
        }
        Offset::from_wire(number).map(From::Offset).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        for (text, from) in [
            ("start", From::Start),
            ("end", From::End),
            ("0", From::Offset(Offset::ZERO)),
            ("9223372036854775807", From::Offset(Offset::MAX)),
            ("-10", From::Last(10)),
            ("-0", From::Last(0)),
            ("@1700000000000", From::Time(Timestamp::from_millis(1_700_000_000_000))),
            ("@2023-11-14T22:13:20Z", From::Time(Timestamp::from_millis(1_700_000_000_000))),
        ] {
            assert_eq!(text.parse(), Ok(from), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "begin", "-", "1.5", "9223372036854775808", "@", "@noon", "--1"] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }
}
