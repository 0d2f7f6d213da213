//! A time series (`rrddata`) as one line for each of its values: mean, peak with its time, and the last value.

use crate::render::labels::{count, format_local_time};
use crate::render::output::json_path::{parse_number, unquote, walk};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::key_order::compare_keys;
use crate::render::output::names::push_names;
use crate::render::output::page_writer::RenderedResult;
use crate::render::units::push_byte_size;
use std::fmt::Write;

/// The most series of an answer.
const MAX_SERIES: usize = 200;

/// The most names of a note.
pub(super) const MAX_NAMES: usize = 20;

/// Bytes per second.
const RATES: &[&str] = &["netin", "netout", "diskread", "diskwrite"];

/// The unit of a rate, after that of its bytes.
pub const PER_SECOND: &str = "/s";

/// One value over the time.
pub(super) struct Series {
    pub(super) name: String,
    count: u32,
    sum: f64,
    least: f64,
    pub(super) peak: f64,
    pub(super) peak_time: u64,
    pub(super) last: f64,
}

/// The values of a time series, each with its mean and its peak.
pub struct SeriesSummary {
    /// In the order of showing them.
    pub(super) series: Vec<Series>,
    pub(super) rows: u32,
    pub(super) without_data: u32,
    /// The times of the first and the last row with data.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) utc_offset: i32,
    /// The caller named the series.
    pub(super) is_named: bool,
    /// The named series without values.
    pub(super) missing: Vec<String>,
    /// The series that the caller could have named instead.
    others: Vec<String>,
}

impl SeriesSummary {
    /// Reads the rows of a time series, or those of its series that are named. Returns `None` if the answer is not one.
    pub fn parse(data: &str, names: Option<&[String]>, utc_offset: i32) -> Option<Self> {
        let mut all: Vec<Series> = Vec::new();
        let (mut rows, mut without_data, mut is_series) = (0_u32, 0_u32, data.starts_with('['));
        let (mut first, mut last) = (u64::MAX, 0);
        walk(data, &mut |_, row| {
            let (mut time, mut values) = (None, Vec::new());
            walk(row, &mut |key, raw| {
                let name = unquote(key);
                match parse_number(raw) {
                    Some(number) if name == "time" => time = Some(number as u64),
                    Some(number) => values.push((name, number)),
                    None => {}
                }
                values.len() < MAX_SERIES
            });
            let Some(time) = time else {
                is_series = false;
                return false;
            };
            rows += 1;
            if values.is_empty() {
                without_data += 1;
                return true;
            }
            (first, last) = (first.min(time), last.max(time));
            for (name, number) in values {
                match all.iter().position(|series| series.name == name) {
                    Some(at) => all[at].add(number, time),
                    None if all.len() < MAX_SERIES => all.push(Series::new(name.into_owned(), number, time)),
                    None => {}
                }
            }
            true
        });
        if !is_series || rows == 0 {
            return None;
        }
        // (PVE: the use of a VM's disks is not known.)
        all.retain(|series| series.name != "disk" || series.peak > 0.0);
        let (mut missing, mut others) = (Vec::new(), Vec::new());
        match names {
            None => all.sort_by(|a, b| compare_keys(&a.name, &b.name)),
            Some(names) => {
                missing.extend(names.iter().filter(|name| !all.iter().any(|series| series.name == **name)).cloned());
                let (named, unnamed): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| names.contains(&s.name));
                all = named;
                all.sort_by_key(|series| names.iter().position(|name| *name == series.name));
                others.extend(unnamed.into_iter().map(|series| series.name));
            }
        }
        Some(Self {
            series: all,
            rows,
            without_data,
            first,
            last,
            utc_offset,
            is_named: names.is_some(),
            missing,
            others,
        })
    }

    /// Returns whether no named series has values, although others have.
    pub(super) fn is_misnamed(&self) -> bool {
        self.series.is_empty() && !self.missing.is_empty() && !self.others.is_empty()
    }

    /// Renders a line for each series, and one for those that do not change.
    pub fn render(&self) -> RenderedResult {
        let (constant, changing): (Vec<&Series>, Vec<&Series>) =
            self.series.iter().partition(|series| series.is_constant());
        let mut text = String::new();
        if !changing.is_empty() {
            text.push_str("series\tmean\tpeak\tpeak at\tlast\n");
        }
        changing.iter().for_each(|series| series.write(&mut text, self.utc_offset));
        for (at, series) in constant.iter().enumerate() {
            text.push_str(if at == 0 { "all the time: " } else { ", " });
            let _ = write!(text, "{} {}", series.escaped_name(), series.format(series.last));
        }
        text.push_str(match (self.series.is_empty(), constant.is_empty()) {
            (true, _) => "no values in this time\n",
            (false, true) => "",
            (false, false) => "\n",
        });
        let (rows, with_data) = (count(self.rows as usize, "row"), self.rows - self.without_data);
        let mut note = match (self.without_data, with_data) {
            (0, _) => rows,
            (_, 0) => format!("no data in {rows}"),
            _ => format!("data in {with_data} of {rows},"),
        };
        if with_data > 0 {
            let (first, last) =
                (format_local_time(self.first, self.utc_offset), format_local_time(self.last, self.utc_offset));
            let _ = write!(note, " from {first} to {last}");
        }
        if !self.missing.is_empty() {
            note.push_str("; no values: ");
            push_names(&mut note, self.missing.iter().map(String::as_str), MAX_NAMES);
        }
        if self.is_misnamed() {
            note.push_str("; there are ");
            push_names(&mut note, self.others.iter().map(String::as_str), MAX_NAMES);
        }
        note.push_str("; format=table has the rows");
        RenderedResult { text, note: Some(note) }
    }
}

impl Series {
    fn new(name: String, number: f64, time: u64) -> Self {
        Self { name, count: 1, sum: number, least: number, peak: number, peak_time: time, last: number }
    }

    fn add(&mut self, number: f64, time: u64) {
        self.count += 1;
        self.sum += number;
        self.least = self.least.min(number);
        if number > self.peak {
            (self.peak, self.peak_time) = (number, time);
        }
        self.last = number;
    }

    pub(super) fn is_constant(&self) -> bool {
        self.least == self.peak
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / f64::from(self.count)
    }

    pub(super) fn escaped_name(&self) -> String {
        let name = serde_json::Value::from(self.name.as_str()).to_string();
        name[1..name.len() - 1].to_owned()
    }

    fn write(&self, text: &mut String, utc_offset: i32) {
        let mean = self.format(self.mean());
        let (peak, time) = (self.format(self.peak), format_local_time(self.peak_time, utc_offset));
        let _ = writeln!(text, "{}\t{mean}\t{peak}\t{time}\t{}", self.escaped_name(), self.format(self.last));
    }

    /// Returns a value with its unit.
    pub(super) fn format(&self, value: f64) -> String {
        let (number, unit) = self.split_value(value);
        number + &unit
    }

    /// Returns mean and peak with the unit that both have once: `1.5/2GiB`.
    pub(super) fn format_mean_and_peak(&self) -> String {
        let ((mean, mean_unit), (peak, peak_unit)) = (self.split_value(self.mean()), self.split_value(self.peak));
        if mean_unit == peak_unit || mean == "0" {
            format!("{mean}/{peak}{peak_unit}")
        } else {
            format!("{mean}{}/{peak}{peak_unit}", mean_unit.trim_end_matches(PER_SECOND))
        }
    }

    /// Returns a value and its unit.
    fn split_value(&self, value: f64) -> (String, String) {
        match KeyFormat::for_key(&self.name) {
            format if self.is_rate() || format == KeyFormat::Bytes => {
                let mut number = String::new();
                push_byte_size(&mut number, value);
                let start = number.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(number.len());
                let unit = number.split_off(start) + if self.is_rate() { PER_SECOND } else { "" };
                (number, unit)
            }
            KeyFormat::Fraction => (format!("{:.1}", value * 100.0), "%".into()),
            KeyFormat::Percent => (format!("{value:.1}"), "%".into()),
            _ => (format_number(value), String::new()),
        }
    }

    fn is_rate(&self) -> bool {
        is_rate(&self.name)
    }
}

/// Returns whether a value of a time series is a number of bytes per second.
pub fn is_rate(name: &str) -> bool {
    RATES.contains(&name)
}

/// Returns a number with at most three significant digits after its whole part.
fn format_number(number: f64) -> String {
    match number.abs() {
        _ if number.fract() == 0.0 => format!("{number}"),
        0.0..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summarize(data: &str, names: Option<&[String]>) -> Option<RenderedResult> {
        SeriesSummary::parse(data, names, 0).map(|summary| summary.render())
    }

    #[test]
    fn a_series_has_mean_peak_and_last() {
        let data = r#"[{"time":1795854000},{"time":1795854060,"cpu":0.5,"mem":1073741824,"netin":1024,"maxcpu":4},
            {"time":1795854120,"cpu":0.1,"mem":2147483648,"netin":0,"maxcpu":4}]"#;
        let summary = summarize(data, None).expect("a series");
        assert_eq!(
            summary.text,
            "series\tmean\tpeak\tpeak at\tlast\n\
             cpu\t30.0%\t50.0%\t2026-11-28T08:21:00Z\t10.0%\n\
             mem\t1.5GiB\t2GiB\t2026-11-28T08:22:00Z\t2GiB\n\
             netin\t512B/s\t1KiB/s\t2026-11-28T08:21:00Z\t0/s\n\
             all the time: maxcpu 4\n"
        );
        let named = summarize(data, Some(&["maxcpu".into(), "cpu".into()])).expect("a series").text;
        assert_eq!(named.lines().nth(1), Some("cpu\t30.0%\t50.0%\t2026-11-28T08:21:00Z\t10.0%"));
        let partly = summarize(data, Some(&["nosuch".into(), "maxcpu".into()])).expect("a series");
        assert_eq!(partly.text, "all the time: maxcpu 4\n");
        assert!(partly.note.expect("a note").contains("; no values: nosuch; "));
        let misnamed = summarize(data, Some(&["nosuch".into()])).expect("a series");
        assert_eq!(misnamed.text, "no values in this time\n");
        assert!(misnamed.note.expect("a note").contains("; no values: nosuch; there are cpu, mem, netin, maxcpu; "));
        let note = "data in 2 of 3 rows, from 2026-11-28T08:21:00Z to 2026-11-28T08:22:00Z; format=table has the rows";
        assert_eq!(summary.note.as_deref(), Some(note));
    }

    #[test]
    fn other_answers_are_no_series() {
        for data in ["[]", "{}", "[1]", r#"[{"a":1}]"#, "null"] {
            assert!(summarize(data, None).is_none(), "{data}");
        }
    }
}
