//! A table of events: tasks, or messages of a log. Each day has a line of its own, and equal events are one row.

use crate::render::cell::push_row;
use crate::render::labels::{format_duration, format_local_time, format_zone};
use crate::render::list::MAX_ROWS_WITH_UPIDS;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

/// The seconds of a day.
const DAY: u64 = 86_400;

/// The most seconds between the times of day at which a job starts.
const MAX_SPREAD: u64 = 600;

/// The most rows with the same cells that an event is compared with, so that a long list takes no square of its time.
const MAX_COMPARED: usize = 8;

/// The most nodes that a row names.
const MAX_NAMED_NODES: usize = 16;

/// The least rows of a table that says the equal cells of a column once.
const MIN_EQUAL_ROWS: usize = 3;

/// The events that an event is joined with in one row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// No other one. Its UPID is always shown.
    Alone,
    /// Those at about the same time of other nodes and of consecutive days.
    Timed,
    /// Those of other nodes and of consecutive days, one of each node per day.
    Daily,
    /// All of a day.
    Message,
}

/// One event.
pub struct Event<'a> {
    pub kind: EventKind,
    /// In seconds since 1970.
    pub time: u64,
    pub duration: Option<u64>,
    pub node: &'a str,
    /// The cells in the order of the columns, which joined events have in common.
    pub cells: Vec<Cow<'a, str>>,
    pub upid: &'a str,
}

/// Events that are one row.
struct EventGroup<'a> {
    kind: EventKind,
    /// The last day, in days since 1970 in the zone of the table.
    day: u64,
    /// The number of consecutive days that end with it.
    days: u64,
    /// The least and the greatest time of day, in seconds.
    times: (u64, u64),
    durations: Option<(u64, u64)>,
    nodes: BTreeSet<&'a str>,
    /// The number of events of a day.
    count: usize,
    cells: Vec<Cow<'a, str>>,
    upid: &'a str,
}

/// The text of events.
pub struct EventTable {
    pub text: String,
    /// The number of rows.
    pub rows: usize,
    /// UPIDs are left out.
    pub has_short_rows: bool,
}

/// Renders events. `headers` are the names of the column of times, and of the cells.
pub fn render_events(headers: &[&str], events: Vec<Event<'_>>, utc_offset: i32) -> EventTable {
    let groups = join_events(events, utc_offset);
    let shows_upids = groups.len() <= MAX_ROWS_WITH_UPIDS;
    let has_upid = |group: &EventGroup<'_>| match group.kind {
        EventKind::Alone => true,
        _ => shows_upids && group.days == 1 && group.count == 1,
    };
    let headers: Vec<&str> = [headers[0], "duration", "node"].into_iter().chain(headers[1..].iter().copied()).collect();
    let rows: Vec<Vec<String>> = groups.iter().map(EventGroup::format).collect();
    let mut text = String::new();
    let (mut columns, mut separator) = (Vec::new(), "in each row: ");
    for (at, header) in headers.iter().enumerate() {
        let first = &rows[0][at];
        let is_equal = rows.iter().all(|row| row[at] == *first);
        // The time and the last column are always shown.
        match is_equal && (rows.len() >= MIN_EQUAL_ROWS || first.is_empty()) && at > 1 && at + 1 < headers.len() {
            true if first.is_empty() => {}
            true => {
                // Writing into a String cannot fail.
                let _ = write!(text, "{separator}{header} {first}");
                separator = ", ";
            }
            false if at == 1 && rows.iter().all(|row| row[1].is_empty()) => {}
            false => columns.push(at),
        }
    }
    text.push_str(if text.is_empty() { "" } else { "\n" });
    let upids: Vec<&str> = groups.iter().map(|group| if has_upid(group) { group.upid } else { "" }).collect();
    let has_upids = upids.iter().any(|upid| !upid.is_empty());
    let header = columns.iter().map(|at| headers[*at]).chain(has_upids.then_some("upid"));
    push_row(&mut text, header.map(Cow::Borrowed));
    let mut day = None;
    for ((group, row), upid) in groups.iter().zip(&rows).zip(&upids) {
        if day != Some(group.day) {
            let zone = if day.is_none() { format!(", times in {}", format_zone(utc_offset)) } else { String::new() };
            let _ = writeln!(text, "{}{zone}:", format_day(group.day));
            day = Some(group.day);
        }
        let cells = columns.iter().map(|at| row[*at].as_str()).chain(Some(*upid).filter(|upid| !upid.is_empty()));
        push_row(&mut text, cells.map(Cow::Borrowed));
    }
    let has_short_rows = groups.iter().zip(&upids).any(|(group, upid)| upid.is_empty() && !group.upid.is_empty());
    EventTable { text, rows: groups.len(), has_short_rows }
}

/// Joins equal events. The newest ones come first.
fn join_events(mut events: Vec<Event<'_>>, utc_offset: i32) -> Vec<EventGroup<'_>> {
    events.sort_by_key(|event| std::cmp::Reverse(event.time));
    let mut groups: Vec<EventGroup<'_>> = Vec::new();
    // The places of the groups by their day and cells.
    let mut places: HashMap<(u64, Vec<Cow<'_, str>>), Vec<usize>> = HashMap::new();
    for event in events {
        let group = EventGroup::new(event, utc_offset);
        let known = places.entry((group.day, group.cells.clone())).or_default();
        match known.iter().rev().take(MAX_COMPARED).find(|place| groups[**place].has_room_for(&group)) {
            Some(place) => groups[*place].add(group),
            None => {
                known.push(groups.len());
                groups.push(group);
            }
        }
    }
    let mut joined: Vec<EventGroup<'_>> = Vec::new();
    let mut last: HashMap<Vec<Cow<'_, str>>, Vec<usize>> = HashMap::new();
    for group in groups {
        let known = last.entry(group.cells.clone()).or_default();
        match known.iter().rev().take(MAX_COMPARED).find(|place| joined[**place].continues(&group)) {
            Some(place) => joined[*place].add_day(&group),
            None => {
                known.push(joined.len());
                joined.push(group);
            }
        }
    }
    joined
}

impl<'a> EventGroup<'a> {
    fn new(event: Event<'a>, utc_offset: i32) -> Self {
        let Event { kind, time, duration, node, cells, upid } = event;
        let local = time.saturating_add_signed(utc_offset.into());
        let time = local % DAY;
        Self {
            kind,
            day: local / DAY,
            days: 1,
            times: (time, time),
            durations: duration.map(|seconds| (seconds, seconds)),
            nodes: BTreeSet::from([node]),
            count: 1,
            cells,
            upid,
        }
    }

    /// Returns whether an event of the same day with the same cells belongs to the row.
    fn has_room_for(&self, event: &Self) -> bool {
        let is_other_node = || self.nodes.is_disjoint(&event.nodes);
        self.kind == event.kind
            && match self.kind {
                EventKind::Alone => false,
                EventKind::Timed => is_other_node() && self.is_near(event),
                EventKind::Daily => is_other_node(),
                EventKind::Message => true,
            }
    }

    /// Returns whether the row of the day before is the same.
    fn continues(&self, earlier: &Self) -> bool {
        self.kind == earlier.kind
            && matches!(self.kind, EventKind::Timed | EventKind::Daily)
            && self.day == earlier.day + self.days
            && self.nodes == earlier.nodes
            && (self.kind == EventKind::Daily || self.is_near(earlier))
    }

    /// Returns whether all times of day are within the limit.
    fn is_near(&self, other: &Self) -> bool {
        let (first, last) = join_spans(self.times, other.times);
        last - first <= MAX_SPREAD
    }

    fn add(&mut self, event: Self) {
        self.times = join_spans(self.times, event.times);
        self.durations = self.durations.zip(event.durations).map(|(a, b)| join_spans(a, b));
        self.nodes.extend(event.nodes);
        self.count += 1;
    }

    fn add_day(&mut self, earlier: &Self) {
        self.times = join_spans(self.times, earlier.times);
        self.durations = self.durations.zip(earlier.durations).map(|(a, b)| join_spans(a, b));
        self.days += 1;
    }

    /// Returns the cells of the row: its time, its duration, its nodes and what the events have in common.
    fn format(&self) -> Vec<String> {
        let mut time = format_span(self.times, format_clock);
        if self.days > 1 {
            let _ = write!(time, " on {} days since {}", self.days, format_day(self.day + 1 - self.days));
        }
        if self.count > self.nodes.len() {
            let _ = write!(time, " ({} times)", self.count);
        }
        let duration = self.durations.map_or(String::new(), |span| format_span(span, format_seconds));
        let cells = self.cells.iter().map(|cell| cell.clone().into_owned());
        let nodes = match self.nodes.len() {
            ..=MAX_NAMED_NODES => self.nodes.iter().copied().collect::<Vec<_>>().join(","),
            number => format!("{number} nodes"),
        };
        [time, duration, nodes].into_iter().chain(cells).collect()
    }
}

fn join_spans((least, greatest): (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (least.min(other.0), greatest.max(other.1))
}

/// Returns a span, or its only value.
fn format_span((first, last): (u64, u64), format: impl Fn(u64) -> String) -> String {
    let (first, last) = (format(first), format(last));
    if first == last { first } else { format!("{first}–{last}") }
}

/// Returns a time of day to the minute.
fn format_clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60)
}

/// Returns a duration, below one hour to the second.
fn format_seconds(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (minutes @ 1..60, rest @ 1..) => format!("{minutes}m{rest}s"),
        _ => format_duration(seconds),
    }
}

/// Returns the date of a day since 1970.
fn format_day(day: u64) -> String {
    format_local_time(day.saturating_mul(DAY), 0).chars().take_while(|c| *c != 'T').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: u64 = 1_795_824_000;

    fn event<'a>(kind: EventKind, time: u64, node: &'a str, cell: &'a str) -> Event<'a> {
        Event { kind, time, duration: Some(60), node, cells: vec![cell.into(), "OK".into()], upid: "UPID:x:" }
    }

    fn render(events: Vec<Event<'_>>, utc_offset: i32) -> String {
        render_events(&["start", "type", "status"], events, utc_offset).text
    }

    #[test]
    fn nightly_runs_of_equal_nodes_are_one_row_and_a_missing_night_is_seen() {
        let nights = (0..6).flat_map(|night| ["pve1", "pve2"].map(|node| (night, node)));
        let nights = nights.filter(|night| *night != (2, "pve2"));
        let events = nights.map(|(night, node)| event(EventKind::Daily, MIDNIGHT + night * DAY, node, "vzdump"));
        assert_eq!(
            render(events.collect(), 0),
            "in each row: type vzdump\nstart\tduration\tnode\tstatus\tupid\n2026-12-03, times in UTC:\n\
             00:00 on 3 days since 2026-12-01\t1m\tpve1,pve2\tOK\n2026-11-30:\n00:00\t1m\tpve1\tOK\tUPID:x:\n2026-11-29:\n\
             00:00 on 2 days since 2026-11-28\t1m\tpve1,pve2\tOK\n"
        );
    }

    #[test]
    fn only_events_of_one_kind_and_time_are_joined() {
        let at = |kind, time| event(kind, MIDNIGHT + time, "pve1", "qmstart");
        let timed = vec![at(EventKind::Timed, 0), at(EventKind::Timed, 60), at(EventKind::Timed, DAY + 7_200)];
        assert_eq!(render(timed, 0).matches("\tOK").count(), 3);
        let near = vec![at(EventKind::Timed, 0), at(EventKind::Timed, DAY + 60)];
        assert!(render(near, 0).contains("00:00–00:01 on 2 days since 2026-11-28\t1m\tpve1\tqmstart\tOK\n"));
        let alone = vec![at(EventKind::Alone, 0), at(EventKind::Alone, 0)];
        assert_eq!(render(alone, 0).matches("UPID:x:").count(), 2);
        let messages = vec![at(EventKind::Message, 0), at(EventKind::Message, 60), at(EventKind::Message, DAY)];
        assert!(render(messages, 0).contains("00:00–00:01 (2 times)"));
    }

    #[test]
    fn durations_are_exact_below_one_hour() {
        let texts = [59, 60, 944, 3_599, 3_661].map(format_seconds);
        assert_eq!(texts, ["59s", "1m", "15m44s", "59m59s", "1h1m"]);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let text = render(vec![event(EventKind::Timed, MIDNIGHT, "pve1", "a")], -3_600);
        assert!(text.contains("2026-11-27, times in -01:00:\n23:00\t"), "{text}");
    }
}
