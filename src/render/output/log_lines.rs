//! The lines of system logs in short: lines that are equal but for times and numbers are one.

use crate::render::labels::{count, format_local_time};
use crate::render::output::json_path::list_rows;
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::table_writer::log_line;
use crate::render::output::wanted_value::{ReadingTime, TimeSpan};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

/// The most different numbers of a place in equal lines that are named. Of more, the least and the greatest are.
const MAX_NAMED_NUMBERS: usize = 4;

/// The most times that one line has.
const MAX_TIMES: usize = 24;

/// The words of lines about failures. Such a line is joined with others only if their texts are equal.
const FAILURE_WORDS: [&str; 32] = [
    "abort",
    "alert",
    "bad ",
    "can't",
    "cannot",
    "corrupt",
    "crit",
    "degraded",
    "denied",
    "dropped",
    "error",
    "exceed",
    "fail",
    "fatal",
    " full",
    "invalid",
    "kill",
    "lost",
    "missing",
    "no space",
    "not ",
    "oom-",
    "panic",
    "refused",
    "retry",
    "segfault",
    "stale",
    "timed out",
    "timeout",
    "unable",
    "warn",
    "wrong",
];

/// The least time after the start of a range at which a first line is late.
const MIN_LATE_SECONDS: u64 = 600;

/// The place of a number in a template. A text of an answer keeps the escapes of JSON, so it has none.
const NUMBER_MARK: char = '\u{0}';

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A line of a log: `2026-11-29 01:02:00 pve1 cron[12]: text`, or with the time as `Nov 29 01:02:00`.
#[derive(Clone, Copy)]
struct LogLine<'a> {
    date: &'a str,
    clock: &'a str,
    host: &'a str,
    program: &'a str,
    /// The number of the process, with its brackets.
    pid: &'a str,
    message: &'a str,
}

/// The lines of one of several logs.
pub struct MergeableLines {
    lines: Vec<String>,
    /// The caller chose them among the lines of the log.
    are_chosen: bool,
    total: usize,
}

/// The lines of one path, with its name.
pub struct LabeledLines<'a> {
    pub label: &'a str,
    pub lines: &'a MergeableLines,
}

/// Lines that are one.
struct LineGroup<'a> {
    whole: &'a str,
    /// The message without its numbers.
    template: String,
    first: Option<LogLine<'a>>,
    last: Option<LogLine<'a>>,
    /// The first different times.
    times: Vec<(&'a str, &'a str)>,
    hosts: BTreeSet<&'a str>,
    pids: BTreeSet<&'a str>,
    /// The numbers at each place.
    numbers: Vec<NumberSet<'a>>,
    count: usize,
}

impl OutputOptions {
    /// Renders the lines of a system log. Returns `None` for any other list, and if no lines are equal.
    pub(super) fn summarize_lines(&self, list: &str) -> Option<RenderedResult> {
        let page = self.select_rows(list)?;
        let lines = page.rows.iter().map(|row| log_line(row)).collect::<Option<Vec<_>>>()?;
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let (text, note) = join_lines(&lines, !self.filter.is_empty())?;
        Some(page.finish(text, vec![note], true))
    }
}

/// Returns the text of lines in the order of the first of equal ones, and a note about it. `are_chosen` lines are equal
/// only with the same numbers, and have each of their times. Returns `None` if no lines are equal.
fn join_lines(lines: &[&str], are_chosen: bool) -> Option<(String, String)> {
    let mut groups: Vec<LineGroup<'_>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for whole in lines {
        let Some(line) = LogLine::parse(whole) else {
            groups.push(LineGroup::new(whole, None, String::new(), Vec::new()));
            continue;
        };
        let is_exact = are_chosen || is_failure(line.message) || line.message.contains("UPID:");
        let (template, numbers) = match is_exact {
            true => (line.message.to_owned(), Vec::new()),
            false => split_numbers(line.message),
        };
        let key = format!("{}{NUMBER_MARK}{template}", line.program);
        match places.get(&key) {
            Some(place) => groups[*place].add(line, numbers),
            None => {
                places.insert(key, groups.len());
                groups.push(LineGroup::new(whole, Some(line), template, numbers));
            }
        }
    }
    if groups.len() == lines.len() {
        return None;
    }
    let mut text = String::new();
    groups.iter().for_each(|group| group.push(&mut text, are_chosen));
    let equal = match are_chosen {
        true => "those equal but for times and pids",
        false => "those equal but for times, pids and numbers (a–b: least and greatest)",
    };
    let note = format!("{} in {}: {equal} are one: format=table has each", count(lines.len(), "line"), groups.len());
    Some((text, note))
}

/// Renders the logs of several nodes as one, in the order of their times. Returns `None` if no lines are equal.
pub fn merge_lines(logs: &[LabeledLines<'_>]) -> Option<RenderedResult> {
    let mut lines: Vec<(String, &str)> = Vec::new();
    for log in logs {
        // A line without a time follows the one before it.
        let mut time = String::new();
        for whole in &log.lines.lines {
            let line = LogLine::parse(whole);
            time = line.map_or(time, |line| line.sort_key());
            // Each line names its host.
            line.filter(|line| line.host == log.label)?;
            lines.push((time.clone(), whole));
        }
    }
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    let lines: Vec<&str> = lines.into_iter().map(|(_, line)| line).collect();
    let are_chosen = logs.iter().any(|log| log.lines.are_chosen);
    let (text, mut note) = join_lines(&lines, are_chosen)?;
    if are_chosen {
        let total: usize = logs.iter().map(|log| log.lines.total).sum();
        // Writing into a String cannot fail.
        let _ = write!(note, "; {} of {total} rows match", lines.len());
    }
    Some(RenderedResult { text, note: Some(note) })
}

/// Returns the time of the first line of a log, as the log has it, if it is later than `since` by more than lines are
/// apart. `since` is in seconds since 1970, as a clock in the zone of the log shows them.
pub fn find_late_start(list: &str, since: u64) -> Option<String> {
    let rows = list_rows(list);
    let texts: Vec<Cow<'_, str>> = rows.iter().filter_map(|row| log_line(row)).collect();
    let lines = texts.iter().filter_map(|text| LogLine::parse(text));
    let (mut first, mut last, mut gap) = (None, since, MIN_LATE_SECONDS);
    for line in lines {
        let time = line.read_time(since)?;
        match first {
            None => first = Some((line, time)),
            Some(_) => gap = gap.max(time.saturating_sub(last)),
        }
        last = time;
    }
    let (line, time) = first?;
    (time.saturating_sub(since) > gap).then(|| format!("{} {}", line.date, line.clock))
}

/// The different numbers at one place of equal lines.
struct NumberSet<'a> {
    /// The first ones.
    named: Vec<&'a str>,
    has_more: bool,
    /// The least and the greatest one with their values, unless one is no number, such as an address.
    span: Option<[(f64, &'a str); 2]>,
}

impl<'a> NumberSet<'a> {
    fn new(number: &'a str) -> Self {
        let span = number.parse().ok().map(|value| [(value, number); 2]);
        Self { named: vec![number], has_more: false, span }
    }

    fn add(&mut self, number: &'a str) {
        if self.named.contains(&number) {
            return;
        }
        match self.named.len() {
            MAX_NAMED_NUMBERS => self.has_more = true,
            _ => self.named.push(number),
        }
        self.span = self.span.zip(number.parse().ok()).map(|([least, greatest], value)| {
            let is_less = |a: f64, b: f64| a.total_cmp(&b).is_lt();
            [
                if is_less(value, least.0) { (value, number) } else { least },
                if is_less(greatest.0, value) { (value, number) } else { greatest },
            ]
        });
    }

    fn push(&self, line: &mut String) {
        // Writing into a String cannot fail.
        let _ = match (self.named.as_slice(), self.span) {
            ([number], _) => write!(line, "{number}"),
            (_, Some([(_, least), (_, greatest)])) if self.has_more => write!(line, "{least}–{greatest}"),
            (named, _) => write!(line, "{{{}{}}}", named.join(", "), if self.has_more { ", …" } else { "" }),
        };
    }
}

impl MergeableLines {
    /// Reads the lines of a log that were asked for.
    pub fn read(options: &OutputOptions, list: &str) -> Option<Self> {
        let page = options.select_rows(list)?;
        let lines = page.rows.iter().map(|row| log_line(row)).collect::<Option<Vec<_>>>()?;
        let lines: Vec<String> = lines.into_iter().map(Cow::into_owned).collect();
        let (are_chosen, total) = (!options.filter.is_empty(), page.total());
        (!lines.is_empty()).then_some(Self { lines, are_chosen, total })
    }
}

impl<'a> LogLine<'a> {
    /// Returns a text in the order of time.
    fn sort_key(&self) -> String {
        match MONTHS.iter().position(|month| self.date.starts_with(month)) {
            Some(month) => format!("{month:02}-{:0>2} {}", self.date[3..].trim(), self.clock),
            None => format!("{} {}", self.date, self.clock),
        }
    }

    /// Returns the time in seconds since 1970, as a clock in the zone of the log shows them. A time without a year is the
    /// first one that is at most a day before `since`.
    fn read_time(&self, since: u64) -> Option<u64> {
        let read = |date: &str| {
            let text = format!("{date} {}", self.clock);
            TimeSpan::parse(&text, ReadingTime { utc_offset: 0, now: since }).map(|span| span.first)
        };
        let Some(month) = MONTHS.iter().position(|month| self.date.starts_with(month)) else { return read(self.date) };
        let year: u32 = format_local_time(since, 0).get(..4)?.parse().ok()?;
        let day = self.date[3..].trim();
        let mut years = (year - 1..=year + 1).filter_map(|year| read(&format!("{year}-{:02}-{day:0>2}", month + 1)));
        years.find(|time| *time + 86_400 >= since)
    }

    fn parse(line: &'a str) -> Option<Self> {
        let next = |text: &'a str| {
            let text = text.trim_start_matches(' ');
            text.split_once(' ').filter(|(word, _)| !word.is_empty())
        };
        let (first, rest) = next(line)?;
        let (date, clock, rest) = if MONTHS.contains(&first) {
            let (day, rest) = next(rest)?;
            let date = line.get(..line.len() - rest.len() - 1).filter(|_| day.parse::<u8>().is_ok())?;
            let (clock, rest) = next(rest)?;
            (date, clock, rest)
        } else if let Some((date, clock)) = first.split_once('T') {
            (date, clock, rest)
        } else {
            let (clock, rest) = next(rest)?;
            (first, clock, rest)
        };
        let is_clock = clock.len() >= 8 && clock.as_bytes()[2] == b':' && clock.as_bytes()[5] == b':';
        let is_date = MONTHS.contains(&first) || date.len() == 10 && date.as_bytes()[4] == b'-';
        let (host, rest) = next(rest).filter(|_| is_clock && is_date)?;
        let (tag, message) = rest.split_once(": ").unwrap_or(("", rest));
        let (program, pid) = match tag.find('[') {
            Some(at) if tag.ends_with(']') => tag.split_at(at),
            _ => (tag, ""),
        };
        Some(Self { date, clock, host, program, pid, message })
    }
}

impl<'a> LineGroup<'a> {
    fn new(whole: &'a str, line: Option<LogLine<'a>>, template: String, numbers: Vec<&'a str>) -> Self {
        Self {
            whole,
            template,
            first: line,
            last: line,
            times: line.iter().map(|line| (line.date, line.clock)).collect(),
            hosts: line.iter().map(|line| line.host).collect(),
            pids: line.iter().map(|line| line.pid).collect(),
            numbers: numbers.into_iter().map(NumberSet::new).collect(),
            count: 1,
        }
    }

    fn add(&mut self, line: LogLine<'a>, numbers: Vec<&'a str>) {
        self.last = Some(line);
        let time = (line.date, line.clock);
        // The lines are in the order of their times.
        if self.times.len() <= MAX_TIMES && self.times.last() != Some(&time) {
            self.times.push(time);
        }
        self.hosts.insert(line.host);
        self.pids.insert(line.pid);
        self.numbers.iter_mut().zip(numbers).for_each(|(known, number)| known.add(number));
        self.count += 1;
    }

    /// Appends the line with the numbers that there were in its places.
    fn push(&self, text: &mut String, has_each_time: bool) {
        let (Some(first), Some(last), 2..) = (self.first, self.last, self.count) else {
            push_line(text, self.whole);
            return;
        };
        let mut line = format!("{} {}", first.date, first.clock);
        if has_each_time && self.times.len() <= MAX_TIMES {
            for times in self.times.windows(2) {
                let [(before, _), (date, clock)] = times else { continue };
                let _ = if before == date { write!(line, ", {clock}") } else { write!(line, ", {date} {clock}") };
            }
        } else if first.date != last.date {
            let _ = write!(line, "–{} {}", last.date, last.clock);
        } else if first.clock != last.clock {
            let _ = write!(line, "–{}", last.clock);
        }
        let hosts: Vec<&str> = self.hosts.iter().copied().collect();
        let _ = write!(line, " ({} times) {} ", self.count, hosts.join(","));
        line.push_str(first.program);
        line.push_str(if self.pids.len() == 1 { first.pid } else { "" });
        line.push_str(if first.program.is_empty() { "" } else { ": " });
        let mut numbers = self.numbers.iter();
        for part in self.template.split_inclusive(NUMBER_MARK) {
            line.push_str(part.trim_end_matches(NUMBER_MARK));
            if part.ends_with(NUMBER_MARK) {
                numbers.next().expect("each mark is a number").push(&mut line);
            }
        }
        push_line(text, &line);
    }
}

/// Appends a line, without its control characters.
fn push_line(text: &mut String, line: &str) {
    text.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
    text.push('\n');
}

/// Returns whether a message is about a failure.
fn is_failure(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    FAILURE_WORDS.iter().any(|word| message.contains(word)) || message.ends_with("down")
}

/// Returns a message without its numbers, and the numbers. A number has no letter before it, and has at most a unit
/// after it.
fn split_numbers(message: &str) -> (String, Vec<&str>) {
    let bytes = message.as_bytes();
    let (mut template, mut numbers, mut done, mut at) = (String::new(), Vec::new(), 0, 0);
    while at < bytes.len() {
        let is_start = bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        if !is_start {
            at += 1;
            continue;
        }
        let has_part = |end: usize| bytes[end] == b'.' && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        let mut end = at;
        while end < bytes.len() && (bytes[end].is_ascii_digit() || has_part(end)) {
            end += 1;
        }
        let unit = bytes[end..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let after = bytes.get(end + unit);
        if unit <= 3 && !after.is_some_and(u8::is_ascii_digit) {
            template.push_str(&message[done..at]);
            template.push(NUMBER_MARK);
            numbers.push(&message[at..end]);
            done = end;
        }
        at = end;
    }
    template.push_str(&message[done..]);
    (template, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_equal_but_for_times_and_numbers_are_one() {
        let lines = [
            "Nov 28 23:59:00 pve1 CRON[10]: (root) CMD (hourly)",
            "Nov 29 00:01:00 pve1 pvestatd[7]: status update time (0.641 seconds)",
            "Nov 29 00:59:00 pve2 CRON[12]: (root) CMD (hourly)",
            "Nov 29 01:01:00 pve1 pvestatd[7]: status update time (12.5 seconds)",
            "Nov 29 01:02:00 pve1 kernel: nvme0n1: I/O error, sector 5",
            "Nov 29 01:02:01 pve1 kernel: nvme0n1: I/O error, sector 6",
            "Nov 29 01:02:02 pve1 kernel: nvme0n1: I/O error, sector 6",
            "-- Reboot --",
        ];
        let (text, note) = join_lines(&lines, false).expect("a summary");
        assert_eq!(
            text,
            "Nov 28 23:59:00–Nov 29 00:59:00 (2 times) pve1,pve2 CRON: (root) CMD (hourly)\n\
             Nov 29 00:01:00–01:01:00 (2 times) pve1 pvestatd[7]: status update time ({0.641, 12.5} seconds)\n\
             Nov 29 01:02:00 pve1 kernel: nvme0n1: I/O error, sector 5\n\
             Nov 29 01:02:01–01:02:02 (2 times) pve1 kernel: nvme0n1: I/O error, sector 6\n\
             -- Reboot --\n"
        );
        assert!(note.starts_with("8 lines in 5"), "{note}");
        let (text, _) = join_lines(&lines[..4], true).expect("a summary");
        assert_eq!(
            text,
            "Nov 28 23:59:00, Nov 29 00:59:00 (2 times) pve1,pve2 CRON: (root) CMD (hourly)\n\
             Nov 29 00:01:00 pve1 pvestatd[7]: status update time (0.641 seconds)\n\
             Nov 29 01:01:00 pve1 pvestatd[7]: status update time (12.5 seconds)\n"
        );
        assert!(join_lines(&lines[4..6], false).is_none());
    }

    #[test]
    fn numbers_are_whole_words_with_at_most_a_unit() {
        for (message, numbers) in [
            ("took 5ms at 10.0.0.1 port 22", &["5", "10.0.0.1", "22"][..]),
            ("tap100i0: link 1.5GiB", &["1.5"]),
            ("id 6B0B87E4 0x1f 12ab34", &[]),
            ("sector 5.", &["5"]),
        ] {
            assert_eq!(split_numbers(message).1, numbers, "{message}");
        }
        let mut text = String::new();
        for numbers in [["9", "100", "7.5", "8", "10"], ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]] {
            let mut set = NumberSet::new(numbers[0]);
            numbers.into_iter().for_each(|number| set.add(number));
            set.push(&mut text);
        }
        assert_eq!(text, "7.5–100{10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, …}");
    }
}
