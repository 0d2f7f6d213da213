//! A time series (`rrddata`) as one line for each of its values: mean, peak with its time, and the last value.

use crate::render::labels::format_local_time;
use crate::render::output::json_path::{parse_number, unquote, walk};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::key_order::compare_keys;
use crate::render::units::push_byte_size;
use std::fmt::Write;

/// The most series of an answer.
const MAX_SERIES: usize = 200;

/// Bytes per second.
const RATES: &[&str] = &["netin", "netout", "diskread", "diskwrite"];

struct Series {
    name: String,
    count: u32,
    sum: f64,
    least: f64,
    peak: f64,
    peak_time: u64,
    last: f64,
}

/// The summary of a time series.
pub struct SeriesSummary {
    pub text: String,
    pub note: String,
}

/// Summarizes the rows of a time series, or those of its series that are named. Returns `None` if the answer is not one,
/// or lacks one of these.
pub fn summarize(data: &str, names: Option<&[String]>, utc_offset: i32) -> Option<SeriesSummary> {
    let mut all: Vec<Series> = Vec::new();
    let (mut rows, mut without_data, mut is_series) = (0_u32, 0_u32, data.starts_with('['));
    let mut times = (u64::MAX, 0);
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
        times = (times.0.min(time), times.1.max(time));
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
    match names {
        None => all.sort_by(|a, b| compare_keys(&a.name, &b.name)),
        Some(names) => {
            let is_known = |name: &&String| name.as_str() == "time" || all.iter().any(|series| series.name == **name);
            names.iter().all(|name| is_known(&name)).then_some(())?;
            all.retain(|series| names.contains(&series.name));
            all.sort_by_key(|series| names.iter().position(|name| *name == series.name));
        }
    }
    let (constant, changing): (Vec<&Series>, Vec<&Series>) = all.iter().partition(|series| series.is_constant());
    let mut text = String::new();
    if !changing.is_empty() {
        text.push_str("series\tmean\tpeak\tpeak at\tlast\n");
    }
    changing.iter().for_each(|series| series.write(&mut text, utc_offset));
    for (at, series) in constant.iter().enumerate() {
        text.push_str(if at == 0 { "all the time: " } else { ", " });
        let _ = write!(text, "{} {}", series.escaped_name(), series.format(series.last));
    }
    text.push_str(match (all.is_empty(), constant.is_empty()) {
        (true, _) => "no values in this time\n",
        (false, true) => "",
        (false, false) => "\n",
    });
    let mut note = format!("{rows} rows");
    if !all.is_empty() {
        let (first, last) = (format_local_time(times.0, utc_offset), format_local_time(times.1, utc_offset));
        let _ = write!(note, " from {first} to {last}");
    }
    if without_data > 0 {
        let _ = write!(note, ", {without_data} without data");
    }
    note.push_str("; format=table has the rows");
    Some(SeriesSummary { text, note })
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

    fn is_constant(&self) -> bool {
        self.least == self.peak
    }

    fn escaped_name(&self) -> String {
        let name = serde_json::Value::from(self.name.as_str()).to_string();
        name[1..name.len() - 1].to_owned()
    }

    fn write(&self, text: &mut String, utc_offset: i32) {
        let mean = self.format(self.sum / f64::from(self.count));
        let (peak, time) = (self.format(self.peak), format_local_time(self.peak_time, utc_offset));
        let _ = writeln!(text, "{}\t{mean}\t{peak}\t{time}\t{}", self.escaped_name(), self.format(self.last));
    }

    fn format(&self, number: f64) -> String {
        let mut text = String::new();
        match KeyFormat::for_key(&self.name) {
            _ if RATES.contains(&self.name.as_str()) => {
                push_byte_size(&mut text, number);
                text.push_str("/s");
            }
            KeyFormat::Bytes => push_byte_size(&mut text, number),
            KeyFormat::Fraction => drop(write!(text, "{:.1}%", number * 100.0)),
            KeyFormat::Percent => drop(write!(text, "{number:.1}%")),
            _ if number.fract() == 0.0 => drop(write!(text, "{number}")),
            _ => drop(write!(text, "{number:.2}")),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_mean_peak_and_last() {
        let data = r#"[{"time":1795854000},{"time":1795854060,"cpu":0.5,"mem":1073741824,"netin":1024,"maxcpu":4},
            {"time":1795854120,"cpu":0.1,"mem":2147483648,"netin":0,"maxcpu":4}]"#;
        let summary = summarize(data, None, 0).expect("a series");
        assert_eq!(
            summary.text,
            "series\tmean\tpeak\tpeak at\tlast\n\
             cpu\t30.0%\t50.0%\t2026-11-28T08:21:00Z\t10.0%\n\
             mem\t1.5GiB\t2GiB\t2026-11-28T08:22:00Z\t2GiB\n\
             netin\t512B/s\t1KiB/s\t2026-11-28T08:21:00Z\t0/s\n\
             all the time: maxcpu 4\n"
        );
        let named = summarize(data, Some(&["maxcpu".into(), "cpu".into()]), 0).expect("a series").text;
        assert_eq!(named.lines().nth(1), Some("cpu\t30.0%\t50.0%\t2026-11-28T08:21:00Z\t10.0%"));
        assert!(summarize(data, Some(&["nosuch".into()]), 0).is_none());
        let note =
            "3 rows from 2026-11-28T08:21:00Z to 2026-11-28T08:22:00Z, 1 without data; format=table has the rows";
        assert_eq!(summary.note, note);
    }

    #[test]
    fn other_answers_are_no_series() {
        for data in ["[]", "{}", "[1]", r#"[{"a":1}]"#, "null"] {
            assert!(summarize(data, None, 0).is_none(), "{data}");
        }
    }
}
