//! The value of a condition as numbers, by the form in which a table shows the key: times, sizes, shares, durations.

use crate::render::output::json_path::parse_decimal;
use crate::render::output::key_format::KeyFormat;
use std::time::{Duration, UNIX_EPOCH};

/// The numbers that a condition compares with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WantedValue {
    /// One number, or the first and the last second of a day or another part of the time.
    Range { low: f64, high: f64 },
    /// A part of the maximum that another key of the row has.
    Share(f64),
}

/// The zone and the moment in which values are read.
#[derive(Clone, Copy, Debug)]
pub struct ReadingTime {
    /// Seconds east of UTC.
    pub utc_offset: i32,
    /// Seconds since 1970.
    pub now: u64,
}

/// The factors of sizes, which are binary.
const SIZE_UNITS: [(&str, f64); 5] = [
    ("k", 1024.0),
    ("m", 1_048_576.0),
    ("g", 1_073_741_824.0),
    ("t", 1_099_511_627_776.0),
    ("p", 1_125_899_906_842_624.0),
];

/// The seconds of units of time, with their fractions: `1.5h`.
const TIME_UNITS: [(&str, f64); 6] =
    [("s", 1.0), ("m", 60.0), ("min", 60.0), ("h", 3_600.0), ("d", 86_400.0), ("w", 604_800.0)];

/// The first and the last second of a part of the time, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    pub first: u64,
    pub last: u64,
}

impl TimeSpan {
    /// Parses a date, a time or a distance from now, in the forms of a condition: `2026-11-28`, `24h ago`, `today`.
    pub fn parse(text: &str, time: ReadingTime) -> Option<Self> {
        let value = text.trim().to_lowercase();
        match parse_moment(&value, time)? {
            WantedValue::Range { low, high } if low >= 0.0 => Some(Self { first: low as u64, last: high as u64 }),
            _ => None,
        }
    }
}

impl WantedValue {
    /// Parses a value in lower case. Returns `None` if values of this format can't be compared with it.
    pub fn parse(format: KeyFormat, value: &str, time: ReadingTime) -> Option<Self> {
        let (number, unit) = match split_unit(value) {
            Some((number, unit)) => (Some(number), unit),
            None => (None, ""),
        };
        let plain = number.filter(|_| unit.is_empty());
        let number = match format {
            KeyFormat::Time | KeyFormat::Expiry => return plain.map(Self::exact).or_else(|| parse_moment(value, time)),
            KeyFormat::Bytes if unit == "%" => return number.map(|number| Self::Share(number / 100.0)),
            KeyFormat::Bytes => number.zip(size_factor(unit)).map(|(number, factor)| number * factor),
            KeyFormat::Fraction if unit == "%" => number.map(|number| number / 100.0),
            // A share of 5 would be 500 %, so it is meant as a percentage, or as a number of processors.
            KeyFormat::Fraction => plain.filter(|number| number.abs() <= 1.0),
            KeyFormat::Percent | KeyFormat::LifeLeft => number.filter(|_| matches!(unit, "" | "%")),
            KeyFormat::Duration => plain.or_else(|| parse_seconds(value)),
            KeyFormat::Flag => plain.or_else(|| parse_flag(value)),
            KeyFormat::Limit | KeyFormat::Plain => {
                let size = number.zip(size_factor(unit)).map(|(number, factor)| number * factor);
                let number = size.or_else(|| parse_seconds(value)).or_else(|| parse_flag(value));
                return number.map(Self::exact).or_else(|| parse_time(value, time));
            }
        };
        number.map(Self::exact)
    }

    fn exact(number: f64) -> Self {
        Self::Range { low: number, high: number }
    }
}

/// Splits `8 gib` into its number and its unit.
fn split_unit(value: &str) -> Option<(f64, &str)> {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(value.len());
    let (digits, unit) = value.split_at(digits);
    Some((parse_decimal(digits)?, unit.trim_start()))
}

/// Returns the bytes of a unit: `g`, `gb` or `gib`, and `b` or none for a byte.
fn size_factor(unit: &str) -> Option<f64> {
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    if unit.is_empty() {
        return Some(1.0);
    }
    SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// Parses a duration in words or as tables show it: `2d`, `1.5h`, `3h5m`, `2 days`.
fn parse_seconds(value: &str) -> Option<f64> {
    let (number, unit) = split_unit(value)?;
    match TIME_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, seconds)) => Some(number * seconds),
        None if unit.is_empty() => None,
        None => humantime::parse_duration(value).ok().map(|duration| duration.as_secs_f64()),
    }
}

fn parse_flag(value: &str) -> Option<f64> {
    match value {
        "yes" | "true" | "on" => Some(1.0),
        "no" | "false" | "off" => Some(0.0),
        _ => None,
    }
}

/// Parses a time, or a time of day, which is one of the present day.
fn parse_moment(value: &str, time: ReadingTime) -> Option<WantedValue> {
    parse_time(value, time).or_else(|| parse_clock(value, time))
}

/// Returns whether a text is a time of day: `2:10`, `02:10:30`.
pub fn is_clock(text: &str) -> bool {
    text.contains(':') && text.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}

/// Parses a time of the present day: `2:10`, `02:10:30`, `24:00`.
fn parse_clock(value: &str, time: ReadingTime) -> Option<WantedValue> {
    if !is_clock(value) {
        return None;
    }
    let day = (time.now as i64 + i64::from(time.utc_offset)).div_euclid(86_400);
    let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(u64::try_from(day).ok()? * 86_400));
    let zero = if value.find(':') == Some(1) { "0" } else { "" };
    parse_date(&format!("{}t{zero}{value}", date.to_string().get(..10)?), time.utc_offset)
}

/// Parses a time as tables show it, a part of it such as a day, or its distance from now: `24h ago`, `-24h`, `+30d`.
fn parse_time(value: &str, time: ReadingTime) -> Option<WantedValue> {
    let now = time.now as f64;
    let after_now = value.strip_prefix("now").map_or(value, str::trim_start);
    let distance = match (value.strip_suffix(" ago").or(after_now.strip_prefix('-')), after_now.strip_prefix('+')) {
        (Some(past), _) => Some(-parse_seconds(past.trim())?),
        (None, Some(future)) => Some(parse_seconds(future.trim())?),
        (None, None) if value == "now" => Some(0.0),
        _ => None,
    };
    if let Some(distance) = distance {
        return Some(WantedValue::exact(now + distance));
    }
    let local_day = (time.now as i64 + i64::from(time.utc_offset)).div_euclid(86_400);
    let day = match value {
        "today" => Some(local_day),
        "yesterday" => Some(local_day - 1),
        _ => None,
    };
    if let Some(day) = day {
        let low = (day * 86_400 - i64::from(time.utc_offset)) as f64;
        return Some(WantedValue::Range { low, high: low + 86_399.0 });
    }
    parse_date(value, time.utc_offset)
}

/// Parses `2026-11`, `2026-11-28`, `2026-11-28t10:15` and `2026-11-28 10:15:30+01:00`.
fn parse_date(value: &str, utc_offset: i32) -> Option<WantedValue> {
    let (date, clock) = value.split_once(['t', ' ']).unwrap_or((value, ""));
    let (clock, offset) = match clock.rfind(['z', '+', '-']) {
        Some(at) => (&clock[..at], parse_offset(&clock[at..])?),
        None => (clock, utc_offset),
    };
    let clock = clock.trim_end();
    // Seconds may have a fraction, which no time of a node has.
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let (low, next) = match (date.len(), clock.len()) {
        (7, 0) => {
            let (year, month) = (date.get(..4)?.parse::<u32>().ok()?, date.get(5..)?.parse::<u32>().ok()?);
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            (
                parse_utc(&format!("{date}-01"), "00:00:00")?,
                parse_utc(&format!("{:04}-{:02}-01", next.0, next.1), "00:00:00")?,
            )
        }
        (10, 0) => {
            let low = parse_utc(date, "00:00:00")?;
            (low, low + 86_400.0)
        }
        // The end of a day.
        (10, 5 | 8) if matches!(clock, "24:00" | "24:00:00") => {
            let low = parse_utc(date, "00:00:00")? + 86_400.0;
            (low, low + 1.0)
        }
        (10, 5) => {
            let low = parse_utc(date, &format!("{clock}:00"))?;
            (low, low + 60.0)
        }
        (10, 8) => {
            let low = parse_utc(date, clock)?;
            (low, low + 1.0)
        }
        _ => return None,
    };
    let offset = f64::from(offset);
    Some(WantedValue::Range { low: low - offset, high: next - 1.0 - offset })
}

fn parse_utc(date: &str, clock: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(&format!("{date}T{clock}Z")).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// Parses `z`, `+01:00`, `+0100` or `+01` as seconds.
fn parse_offset(text: &str) -> Option<i32> {
    if text == "z" {
        return Some(0);
    }
    let (sign, digits) = text.split_at(1);
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<u16>().ok().filter(|minutes| *minutes < 60)? };
    let seconds = i32::from(hours.parse::<u8>().ok()?) * 3_600 + i32::from(minutes) * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28T20:00:00Z.
    const NOW: u64 = 1_795_896_000;

    fn parse(format: KeyFormat, value: &str) -> Option<(f64, f64)> {
        match WantedValue::parse(format, value, ReadingTime { utc_offset: 3_600, now: NOW })? {
            WantedValue::Range { low, high } => Some((low, high)),
            WantedValue::Share(share) => Some((share, -1.0)),
        }
    }

    #[test]
    fn times_are_read_in_the_zone_of_the_node() {
        let midnight = 1_795_820_400.0;
        for (value, low, high) in [
            ("2026-11-28", midnight, midnight + 86_399.0),
            ("today", midnight, midnight + 86_399.0),
            ("yesterday", midnight - 86_400.0, midnight - 1.0),
            ("2026-11", midnight - 27.0 * 86_400.0, midnight + 3.0 * 86_400.0 - 1.0),
            ("2026-11-28t10:15", midnight + 36_900.0, midnight + 36_959.0),
            ("2026-11-28 10:15:30", midnight + 36_930.0, midnight + 36_930.0),
            ("2026-11-28t10:15:30z", midnight + 40_530.0, midnight + 40_530.0),
            ("2026-11-28t10:15:30.250+01:00", midnight + 36_930.0, midnight + 36_930.0),
            ("2026-11-28 10:15:30 -0130", midnight + 45_930.0, midnight + 45_930.0),
            ("2026-11-28 24:00", midnight + 86_400.0, midnight + 86_400.0),
            ("10:15", midnight + 36_900.0, midnight + 36_959.0),
            ("9:05:07", midnight + 32_707.0, midnight + 32_707.0),
            ("24:00", midnight + 86_400.0, midnight + 86_400.0),
            ("24h ago", NOW as f64 - 86_400.0, NOW as f64 - 86_400.0),
            ("-2d", NOW as f64 - 172_800.0, NOW as f64 - 172_800.0),
            ("now - 2 days", NOW as f64 - 172_800.0, NOW as f64 - 172_800.0),
            ("now", NOW as f64, NOW as f64),
            ("+30d", NOW as f64 + 2_592_000.0, NOW as f64 + 2_592_000.0),
            ("1795856078", 1_795_856_078.0, 1_795_856_078.0),
        ] {
            assert_eq!(parse(KeyFormat::Time, value), Some((low, high)), "{value}");
        }
        for value in
            ["24h", "2026-13-01", "2026-02-30", "2026-11-28t25:00", "25:15", "1:2:3:4", "5g", "abc", "", ":", "24:01"]
        {
            assert_eq!(parse(KeyFormat::Time, value), None, "{value}");
        }
    }

    #[test]
    fn numbers_have_the_units_of_their_keys() {
        for (format, value, number) in [
            (KeyFormat::Bytes, "8gib", Some(8_589_934_592.0)),
            (KeyFormat::Bytes, "1.5 kb", Some(1_536.0)),
            (KeyFormat::Bytes, "2d", None),
            (KeyFormat::Bytes, "2026-11-28", None),
            (KeyFormat::Fraction, "50%", Some(0.5)),
            (KeyFormat::Fraction, "0.5", Some(0.5)),
            (KeyFormat::Fraction, "50", None),
            (KeyFormat::Percent, "50%", Some(50.0)),
            (KeyFormat::Percent, "1.5", Some(1.5)),
            (KeyFormat::Duration, "2d16h", Some(230_400.0)),
            (KeyFormat::Duration, "30m", Some(1_800.0)),
            (KeyFormat::Duration, "1.5h", Some(5_400.0)),
            (KeyFormat::Duration, "2 days", Some(172_800.0)),
            (KeyFormat::Duration, "5g", None),
            (KeyFormat::Flag, "yes", Some(1.0)),
            (KeyFormat::Flag, "0", Some(0.0)),
            (KeyFormat::Flag, "maybe", None),
            (KeyFormat::Plain, "8g", Some(8_589_934_592.0)),
            (KeyFormat::Plain, "512", Some(512.0)),
            (KeyFormat::Plain, "false", Some(0.0)),
            (KeyFormat::Plain, "10%", None),
            (KeyFormat::Plain, "10:15", None),
            (KeyFormat::Plain, "web", None),
        ] {
            assert_eq!(parse(format, value).map(|(low, _)| low), number, "{format:?} {value}");
        }
        assert_eq!(parse(KeyFormat::Bytes, "90%"), Some((0.9, -1.0)));
    }
}
