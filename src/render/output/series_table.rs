//! The time series of several paths in one table: a row for each path, with mean and peak of what changes.

use crate::render::cell::push_row;
use crate::render::labels::{count, format_local_time};
use crate::render::output::key_format::KeyFormat;
use crate::render::output::key_order::compare_keys;
use crate::render::output::names::push_names;
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::series::{MAX_NAMES, Series, SeriesSummary};
use std::borrow::Cow;
use std::fmt::Write;

/// The least series that are written in one table. Fewer are written in full.
pub const MIN_TABLE_SERIES: usize = 3;

/// Series that say how much there is, rather than what is used. The processors and the memory are worth their columns:
/// half of one processor is not half of eight.
const CAPACITIES: &[&str] = &["maxdisk", "roottotal", "swaptotal", "maxswap"];

/// Shares up to this percentage are named together.
const LOW_PERCENT: f64 = 1.0;

/// The days from which the times of peaks have a year.
const DAYS_WITH_YEAR: u64 = 300;

/// The series of one path, with its name in the table.
pub struct LabeledSeries<'a> {
    pub label: &'a str,
    pub summary: &'a SeriesSummary,
}

/// The columns, and the names of the series that have none.
#[derive(Default)]
struct SeriesColumns<'a> {
    shown: Vec<&'a str>,
    low: Vec<&'a str>,
    zero: Vec<&'a str>,
    left_out: Vec<&'a str>,
}

/// Renders the series of several paths in one table. `header` is the name of the column with their labels. Returns
/// `None` if no path has values.
pub fn render_series_table(header: &str, paths: &[LabeledSeries<'_>]) -> Option<RenderedResult> {
    paths.iter().any(|path| !path.summary.series.is_empty()).then_some(())?;
    let columns = SeriesColumns::choose(paths);
    let has_left_out = !columns.left_out.is_empty();
    let find = |path: &LabeledSeries<'_>, name: &str| path.summary.series.iter().position(|s| s.name == name);
    // The first series that changes has the time of its peak.
    let changes = |name: &&&str| paths.iter().any(|path| is_changing(path, name));
    let timed = columns.shown.iter().find(changes).copied();
    let first = paths.iter().map(|path| path.summary.first).min().unwrap_or_default();
    let last = paths.iter().map(|path| path.summary.last).max().unwrap_or_default();
    let has_year = last.saturating_sub(first) > DAYS_WITH_YEAR * 86_400;
    let mut text = String::new();
    let mut names = vec![Cow::Borrowed(header)];
    for name in &columns.shown {
        names.push(Cow::Borrowed(name));
        names.extend((timed == Some(name)).then_some(Cow::Borrowed("peak at")));
    }
    push_row(&mut text, names.into_iter());
    let (with_values, without): (Vec<_>, Vec<_>) = paths.iter().partition(|path| !path.summary.series.is_empty());
    for path in with_values {
        let mut cells = vec![Cow::Borrowed(path.label)];
        for name in &columns.shown {
            let series = find(path, name).map(|at| &path.summary.series[at]);
            cells.push(Cow::Owned(series.map(format_cell).unwrap_or_default()));
            if timed == Some(name) {
                let series = series.filter(|series| !series.is_constant());
                let time = series.map(|series| format_peak_time(series, path.summary.utc_offset, has_year));
                cells.push(Cow::Owned(time.unwrap_or_default()));
            }
        }
        push_row(&mut text, cells.into_iter());
    }
    let mut note = String::from("mean/peak");
    push_span(&mut note, paths, (first, last));
    let missing =
        paths[0].summary.missing.iter().filter(|name| paths.iter().all(|path| path.summary.missing.contains(name)));
    for (words, names) in [
        ("; not there: ", missing.map(String::as_str).collect()),
        ("; no values in this time: ", without.iter().map(|path| path.label).collect()),
        ("; never above 1%: ", columns.low),
        ("; always 0: ", columns.zero),
        ("; a path alone has ", columns.left_out),
    ] {
        let names: Vec<&str> = names;
        if !names.is_empty() {
            note.push_str(words);
            push_names(&mut note, names.into_iter(), MAX_NAMES);
        }
    }
    note.push_str(if has_left_out { ", " } else { "; a path alone has " });
    note.push_str("last values and each time of a peak; format=table has rows");
    Some(RenderedResult { text, note: Some(note) })
}

impl<'a> SeriesColumns<'a> {
    /// Chooses the columns: those that the caller named, or else what changes or is used.
    fn choose(paths: &[LabeledSeries<'a>]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for series in paths.iter().flat_map(|path| &path.summary.series) {
            if !names.contains(&series.name.as_str()) {
                names.push(&series.name);
            }
        }
        if paths.iter().any(|path| path.summary.is_named) {
            return Self { shown: names, ..Self::default() };
        }
        names.sort_by(|a, b| compare_keys(a, b));
        let mut columns = Self::default();
        for name in names {
            let all = || paths.iter().flat_map(|path| &path.summary.series).filter(|series| series.name == name);
            if name != "cpu" && all().all(is_low_share) {
                columns.low.push(name);
            } else if all().all(|series| series.is_constant() && series.peak == 0.0) {
                columns.zero.push(name);
            } else if CAPACITIES.contains(&name) && all().all(Series::is_constant) {
                columns.left_out.push(name);
            } else {
                columns.shown.push(name);
            }
        }
        columns
    }
}

fn is_changing(path: &LabeledSeries<'_>, name: &str) -> bool {
    path.summary.series.iter().any(|series| series.name == name && !series.is_constant())
}

/// Returns whether a series is a share that never is above the limit of low ones.
fn is_low_share(series: &Series) -> bool {
    match KeyFormat::for_key(&series.name) {
        KeyFormat::Percent => series.peak <= LOW_PERCENT,
        KeyFormat::Fraction => series.peak * 100.0 <= LOW_PERCENT,
        _ => false,
    }
}

fn format_cell(series: &Series) -> String {
    if series.is_constant() { series.format(series.last) } else { series.format_mean_and_peak() }
}

/// Returns the time of a peak to the minute, without the year, or as a day.
fn format_peak_time(series: &Series, utc_offset: i32, has_year: bool) -> String {
    let time = format_local_time(series.peak_time, utc_offset);
    let part = if has_year { time.get(..10) } else { time.get(5..16) };
    part.unwrap_or(&time).to_owned()
}

/// Appends the number of rows of each path, and the times of the first and the last row.
fn push_span(note: &mut String, paths: &[LabeledSeries<'_>], (first, last): (u64, u64)) {
    let rows = paths.iter().map(|path| path.summary.rows as usize);
    let (least, most) = (rows.clone().min().unwrap_or_default(), rows.max().unwrap_or_default());
    let without_data = paths.iter().map(|path| path.summary.without_data).max().unwrap_or_default();
    // Writing into a String cannot fail.
    let _ = match least == most {
        true => write!(note, " of {} each", count(most, "row")),
        false => write!(note, " of {least} to {most} rows each"),
    };
    let utc_offset = paths.first().map_or(0, |path| path.summary.utc_offset);
    let (first, last) = (format_local_time(first, utc_offset), format_local_time(last, utc_offset));
    let _ = write!(note, " from {first} to {last}");
    if without_data > 0 {
        let _ = write!(note, ", up to {without_data} without data");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(data: &str, names: Option<&[String]>) -> SeriesSummary {
        SeriesSummary::parse(data, names, 3_600).expect("a series")
    }

    fn render(data: &[&str], names: Option<&[String]>) -> RenderedResult {
        let summaries: Vec<SeriesSummary> = data.iter().map(|data| parse(data, names)).collect();
        let labels = ["a", "b", "c"];
        let paths = labels.iter().zip(&summaries);
        let paths: Vec<_> = paths.map(|(label, summary)| LabeledSeries { label, summary }).collect();
        render_series_table("path", &paths).expect("a table")
    }

    const BUSY: &str = r#"[{"time":1795854060,"cpu":0.5,"mem":1073741824,"maxmem":4294967296,"netin":1024,"maxcpu":4,"x":0},
        {"time":1795854120,"cpu":0.1,"mem":2147483648,"maxmem":4294967296,"netin":0,"maxcpu":4,"x":0,"iowait":0.004}]"#;
    const EVEN: &str = r#"[{"time":1795854060,"cpu":0.2,"mem":1024,"maxmem":1024,"maxcpu":1},
        {"time":1795854120,"cpu":0.2,"mem":1024,"maxmem":1024,"maxcpu":1}]"#;
    const EMPTY: &str = r#"[{"time":1795854060}]"#;

    #[test]
    fn a_table_has_mean_and_peak_of_what_changes() {
        let rendered = render(&[BUSY, EVEN, EMPTY], None);
        assert_eq!(
            rendered.text,
            "path\tcpu\tpeak at\tmaxcpu\tmem\tmaxmem\tnetin\n\
             a\t30.0/50.0%\t11-28T09:21\t4\t1.5/2GiB\t4GiB\t512B/1KiB/s\n\
             b\t20.0%\t-\t1\t1KiB\t1KiB\t-\n"
        );
        assert_eq!(
            rendered.note.as_deref(),
            Some(
                "mean/peak of 1 to 2 rows each from 2026-11-28T09:21:00+01:00 to 2026-11-28T09:22:00+01:00, up to 1 \
                 without data; no values in this time: c; never above 1%: iowait; always 0: x; a path alone has last values \
                 and each time of a peak; format=table has rows"
            )
        );
    }

    #[test]
    fn named_series_have_columns_in_their_order() {
        let names = ["maxcpu".to_owned(), "mem".to_owned()];
        let text = render(&[BUSY, EVEN, BUSY], Some(&names)).text;
        assert_eq!(
            text,
            "path\tmaxcpu\tmem\tpeak at\na\t4\t1.5/2GiB\t11-28T09:22\nb\t1\t1KiB\t-\nc\t4\t1.5/2GiB\t11-28T09:22\n"
        );
    }

    #[test]
    fn peaks_of_a_long_time_have_a_day_with_its_year() {
        let long = r#"[{"time":1764318060,"cpu":0.5},{"time":1795854120,"cpu":0.1}]"#;
        let text = render(&[long, long, long], None).text;
        assert_eq!(text.lines().nth(1), Some("a\t30.0/50.0%\t2025-11-28"));
    }
}
