//! Times as people write them: RFC 3339, or milliseconds since 1970.
//!
//!     2026-11-21T12:00:00Z   2026-11-21 12:00:00.5+01:00   2026-11-21 (midnight UTC)   1795262400000
//!
//! Days are counted by Howard Hinnant's `days_from_civil`: years begin in March, so that the leap day
//! is the last of its year, and 400 years have 146,097 days.

use ringlog_client::Timestamp;

pub fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!("{text:?} is not a time; write 2026-11-21T12:00:00Z, 2026-11-21, or milliseconds since 1970")
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Timestamp::from_millis).map_err(|_| wrong());
    }
    parse_rfc3339(text).map(Timestamp::from_millis).ok_or_else(wrong)
}

/// In UTC, with milliseconds; as a plain number where there is no such date.
pub fn show(timestamp: Timestamp) -> String {
    let millis = timestamp.millis();
    if !(0..=LAST_MILLIS).contains(&millis) {
        return millis.to_string();
    }
    let (days, in_day) = (millis / DAY_MILLIS, millis % DAY_MILLIS);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

const DAY_MILLIS: i64 = 86_400_000;

/// The end of the year 9999, the last that RFC 3339 can write.
const LAST_MILLIS: i64 = 253_402_300_799_999;

fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * DAY_MILLIS;
    time.map_or(Some(midnight), |time| Some(midnight + parse_time(time)?))
}

/// `12:00:00.5+01:00` is 39,600,500: milliseconds since midnight UTC, below 0 or above a day where
/// the zone has another date.
fn parse_time(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let all_digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    // 60 is a leap second; as everywhere in Unix time it is the first of the next minute.
    if 23 < hour || 59 < minute || 60 < second || !all_digits {
        return None;
    }
    let milli: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let ahead = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let [hour, minute] = numbers(zone, ':', [2, 2])?;
            if 23 < hour || 59 < minute {
                return None;
            }
            (hour * 60 + minute) * if sign == "-" { -60_000 } else { 60_000 }
        }
    };
    Some(((hour * 60 + minute) * 60 + second) * 1_000 + milli - ahead)
}

/// Exactly `N` numbers of the given digits, `separator` between.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("1795262400000", 1_795_262_400_000),
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14 23:13:20.5+01:00", 1_700_000_000_500),
            ("2023-11-14t14:13:20.123456-08:00", 1_700_000_000_123),
            ("2024-02-29T23:59:60Z", 1_709_251_200_000),
            ("1969-12-31T23:59:59Z", -1_000),
        ] {
            assert_eq!(parse(text), Ok(Timestamp::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2023-02-29",
            "2023-13-01",
            "2023-1-1",
            "2023-11-14T22:13:20",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+1",
            "2023-11-14T22:13:20ZZ",
            "-5",
            "99999999999999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 951_782_399_999, 951_868_800_000, 1_700_000_000_123, 4_107_542_400_000, LAST_MILLIS]
        {
            let shown = show(Timestamp::from_millis(millis));
            assert_eq!(parse(&shown), Ok(Timestamp::from_millis(millis)), "{shown}");
        }
        assert_eq!(show(Timestamp::from_millis(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(show(Timestamp::NONE), "-1");
    }
}
