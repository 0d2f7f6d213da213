//! The rows of a list that were asked for, in the order that was asked for. Only rows to be sorted are held together.
//! All others are read once and written.

use crate::base::json_scan::find_member;
use crate::render::cell::strip_quotes;
use crate::render::labels::{count, now_seconds};
use crate::render::list::MAX_ROWS;
use crate::render::output::error::OutputError;
use crate::render::output::filter::RowCondition;
use crate::render::output::json_path::{describe_kind, holds_objects, parse_number, pick, unquote, walk};
use crate::render::output::names::{push_names, quote_short};
use crate::render::output::options::{AnswerTopic, OutputOptions};
use crate::render::output::page_writer::{AnswerPath, PageWriter, RenderedResult, ResultPart};
use crate::render::output::unknown_key::UnknownKey;
use crate::render::output::wanted_value::ReadingTime;
use std::borrow::Cow;
use std::cmp::Ordering;

/// The most tasks of a node in the list of the cluster. (PVE: the running ones, and with those the newest ended ones.)
const MAX_NEWEST_TASKS: usize = 25;

/// The number of rows of a list and of those that match the filter.
#[derive(Default)]
pub struct RowCounts {
    pub total: usize,
    pub matched: usize,
    /// The text about a requested key that no row has.
    pub missing_key: Option<String>,
    /// The fields that no row has, of one of several answers.
    pub missing_fields: Vec<String>,
    /// The number of cursors among the lines of a journal, which are no rows.
    pub cursors: usize,
    /// The values that there are for conditions that no row meets, and the times that dates were read as.
    pub filter_notes: Vec<String>,
}

/// A value to sort by. Numbers come before texts. Missing values come last, also in descending order.
enum SortValue<'a> {
    Number(f64),
    Text(Cow<'a, str>),
    Missing,
}

impl<'a> SortValue<'a> {
    fn from_json(raw: Option<&'a str>) -> Self {
        match raw.filter(|raw| *raw != "null") {
            None => Self::Missing,
            Some(raw) => parse_number(raw).map_or_else(|| Self::Text(unquote(raw)), Self::Number),
        }
    }

    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let order = match (self, other) {
            (Self::Missing, Self::Missing) => return Ordering::Equal,
            (Self::Missing, _) => return Ordering::Greater,
            (_, Self::Missing) => return Ordering::Less,
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        };
        if descending { order.reverse() } else { order }
    }
}

/// The names for the text of a line in a filter. The lines of a journal are texts, those of other logs have a number and
/// the key `t`, and no table shows either key.
const LINE_KEYS: [&str; 5] = ["text", "t", "line", "msg", "message"];

/// The rows of a list that a short form is about.
pub struct SelectedRows<'o, 'a> {
    options: &'o OutputOptions,
    pub rows: Vec<&'a str>,
    counts: RowCounts,
}

impl OutputOptions {
    /// Returns the rows that were asked for, if the text is a list.
    pub(super) fn select_rows<'a>(&self, list: &'a str) -> Option<SelectedRows<'_, 'a>> {
        let mut rows = Vec::new();
        let counts = select(self, list, &mut |_, row| rows.push(row)).ok().filter(|_| list.starts_with('['))?;
        Some(SelectedRows { options: self, rows, counts })
    }
}

impl OutputOptions {
    /// Returns the list of the rows that the caller chose, if the caller chose a part.
    pub fn select_list(&self, list: &str) -> Option<String> {
        let page = self.select_rows(list).filter(|_| self.selects_rows())?;
        Some(format!("[{}]", page.rows.join(",")))
    }
}

impl SelectedRows<'_, '_> {
    /// Returns the number of rows of the whole list.
    pub fn total(&self) -> usize {
        self.counts.total
    }

    /// Returns a short form with its notes, to which it adds the part of the list that it is about. The notes of a joined
    /// list say how many rows it has.
    pub fn finish(self, text: String, notes: Vec<String>, is_joined: bool) -> RenderedResult {
        let Self { options, rows, counts } = self;
        let mut page = PageWriter::new(usize::MAX);
        notes.iter().for_each(|note| page.add_note(note));
        let is_part_sent = options.total_beside.is_some_and(|all| all > counts.total);
        let is_part = rows.len() < counts.total || is_part_sent || options.topic == AnswerTopic::NewestTasks;
        if !is_joined || !options.filter.is_empty() || is_part {
            note_row_counts(options, &mut page, &AnswerPath::default(), counts, rows.len(), false);
        } else {
            note_cursors(&mut page, counts.cursors);
        }
        RenderedResult { text, note: page.finish().1 }
    }
}

/// Returns a note about members that a short form leaves out, as far as the rows have them.
pub fn describe_left_out(rows: &[&str], members: &[&str]) -> Option<String> {
    let has = |name: &&&str| rows.iter().any(|row| find_member(row, name).is_some());
    let names: Vec<&str> = members.iter().filter(has).copied().collect();
    (!names.is_empty()).then(|| format!("not shown: {}", names.join(", ")))
}

/// Returns the text of a row that is a line, if the key means it.
fn find_line<'a>(row: &'a str, key: &str) -> Option<&'a str> {
    match row.starts_with('"') {
        _ if !LINE_KEYS.contains(&key) => None,
        true => Some(row),
        false => find_member(row, "t").or_else(|| find_member(row, "msg")),
    }
}

/// Returns whether a row is a cursor of a journal. (PVE: `s=…;i=…`, the first and the last row.)
pub fn is_cursor(row: &str) -> bool {
    row.starts_with("\"s=") && row.contains(";i=")
}

/// Passes the rows of the page to `each`, with their places in the list.
pub fn select<'a>(
    options: &OutputOptions,
    list: &'a str,
    each: &mut dyn FnMut(usize, &'a str),
) -> Result<RowCounts, OutputError> {
    // One pass over a row finds the values for the filter, then for the order, then the fields.
    let mut paths: Vec<String> = options.filter.iter().map(|condition| condition.key.clone()).collect();
    paths.extend(options.sort.iter().map(|field| field.key.clone()));
    let named = paths.len();
    // The places of the maximums of each condition.
    let mut maximums = Vec::new();
    for condition in &options.filter {
        let start = paths.len();
        paths.extend(condition.maximum_keys());
        maximums.push(start..paths.len());
    }
    let deciding = paths.len();
    paths.extend(options.fields.iter().flatten().cloned());
    let status = paths[..named].iter().position(|path| path == "status");
    let mut known = vec![false; paths.len()];
    // Fields are only looked for until each was found once.
    let mut wanted = paths.as_slice();
    let mut found = Vec::new();
    let mut counts = RowCounts::default();
    let time = ReadingTime { utc_offset: options.utc_offset, now: now_seconds() };
    let mut conditions: Vec<RowCondition<'_>> =
        options.filter.iter().map(|condition| RowCondition::new(condition, time)).collect();
    let mut error = None;
    let mut rows_to_sort: Vec<(usize, &'a str)> = Vec::new();
    let mut sort_values: Vec<SortValue<'a>> = Vec::new();
    let page = options.offset..options.offset.saturating_add(options.limit);
    let (skips_null, mut next_place) = (holds_objects(list), 0);
    walk(list, &mut |_, row| {
        let place = next_place;
        next_place += 1;
        if skips_null && row == "null" {
            return true;
        }
        if is_cursor(row) {
            counts.cursors += 1;
            return true;
        }
        counts.total += 1;
        if !paths.is_empty() {
            found.clear();
            let is_line = row.starts_with('"')
                && options.fields.is_none()
                && paths.iter().all(|key| find_line(row, key).is_some());
            if row.starts_with('"')
                && options.fields.is_none()
                && let Some(key) = paths.iter().find(|key| find_line(row, key).is_none())
            {
                error = Some(OutputError::UnknownLineKey { row: place, key: quote_short(key) });
                return false;
            }
            if !row.starts_with('{') && !is_line {
                error = Some(OutputError::NotAnObject { row: place, kind: describe_kind(row) });
                return false;
            }
            if is_line || wanted.is_empty() {
                found.resize(wanted.len(), None);
            } else {
                pick(row, wanted, &mut found);
            }
            for (found, key) in found.iter_mut().zip(&paths[..named]) {
                *found = found.or_else(|| find_line(row, key));
            }
            // A table shows this status too.
            if let Some(status) = status.filter(|at| found.get(*at) == Some(&None) && is_running_task(row)) {
                found[status] = Some(r#""running""#);
            }
            for (known, found) in known.iter_mut().zip(&found) {
                *known |= found.is_some();
            }
            if wanted.len() > deciding && known[deciding..].iter().all(|known| *known) {
                wanted = &paths[..deciding];
            }
            let mut is_match = true;
            for ((condition, key), maximums) in conditions.iter_mut().zip(0..).zip(&maximums) {
                let mut maximums = found[maximums.clone()].iter().filter_map(|raw| parse_number((*raw)?));
                is_match &= condition.matches(found[key], maximums.find(|maximum| *maximum > 0.0));
            }
            if !is_match {
                return true;
            }
        }
        counts.matched += 1;
        if options.sort.is_empty() {
            if page.contains(&(counts.matched - 1)) {
                each(place, row);
            }
            return true;
        }
        if rows_to_sort.len() == MAX_ROWS {
            error = Some(OutputError::TooManyRowsToSort);
            return false;
        }
        rows_to_sort.push((place, row));
        sort_values.extend(found[options.filter.len()..named].iter().map(|raw| SortValue::from_json(*raw)));
        true
    });
    if let Some(error) = error {
        return Err(error);
    }
    conditions.iter().try_for_each(RowCondition::check_comparable)?;
    counts.filter_notes.extend(conditions.iter().filter_map(RowCondition::describe_time));
    if counts.matched == 0 {
        counts.filter_notes.extend(conditions.iter().filter_map(RowCondition::describe_values));
    }
    // Proxmox leaves out keys that are not set (`lock`), possibly in every row. So a missing key is not an error,
    // unless it leaves nothing to show. It may still be misspelled.
    let asked = paths.iter().zip(&known).enumerate().filter(|(at, _)| !(named..deciding).contains(at));
    let mut missing: Vec<&str> = asked.filter(|(_, (_, known))| !**known).map(|(_, (key, _))| key.as_str()).collect();
    if counts.total > 0
        && let Some(first) = missing.first()
    {
        let unknown = UnknownKey::new(first, list);
        if options.fields.as_ref().is_some_and(|fields| fields.iter().all(|field| missing.contains(&field.as_str()))) {
            return Err(OutputError::UnknownKey(unknown));
        }
        counts.missing_key = Some(unknown.to_string());
        // It is for another answer.
        if options.is_one_of_many {
            missing.sort_unstable();
            missing.dedup();
            let mut text = String::from("not there: ");
            push_names(&mut text, missing.iter().copied(), 10);
            counts.missing_key = Some(text);
            counts.missing_fields = missing.into_iter().map(str::to_owned).collect();
        }
    }
    if !options.sort.is_empty() {
        let values = |row: usize| &sort_values[row * options.sort.len()..][..options.sort.len()];
        let mut sorted: Vec<usize> = (0..rows_to_sort.len()).collect();
        sorted.sort_by(|&a, &b| {
            let pairs = values(a).iter().zip(values(b)).zip(&options.sort);
            let mut orders = pairs.map(|((a, b), field)| a.compare(b, field.descending));
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        for row in sorted.into_iter().skip(page.start).take(page.len()) {
            let (place, row) = rows_to_sort[row];
            each(place, row);
        }
    }
    Ok(counts)
}

/// The keys of a row that tell whether it is a running task. (PVE: such a task has no end and no status.)
#[derive(Default)]
pub struct TaskKeys {
    has_upid: bool,
    has_end: bool,
}

impl TaskKeys {
    pub fn read(&mut self, raw_key: &str) {
        match strip_quotes(raw_key) {
            "upid" => self.has_upid = true,
            "endtime" | "status" => self.has_end = true,
            _ => {}
        }
    }

    pub fn is_running(&self) -> bool {
        self.has_upid && !self.has_end
    }
}

/// Returns whether a row is a task without an end.
pub fn is_running_task(row: &str) -> bool {
    let mut keys = TaskKeys::default();
    walk(row, &mut |key, _| {
        keys.read(key);
        true
    });
    keys.is_running()
}

/// Appends the fields that an object has as an object. Returns false, with the text incomplete, if it needs more than
/// `room`.
fn project(text: &mut String, object: &str, fields: &[String], room: usize) -> bool {
    let (start, mut found) = (text.len(), Vec::new());
    pick(object, fields, &mut found);
    text.push('{');
    for (field, value) in fields.iter().zip(found).filter_map(|(field, value)| Some((field, value?))) {
        text.push_str(if text.len() == start + 1 { "" } else { "," });
        text.push_str(&serde_json::Value::from(field.as_str()).to_string());
        text.push(':');
        if text.len() - start + value.len() > room {
            return false;
        }
        text.push_str(value);
    }
    text.push('}');
    text.len() - start <= room
}

/// Writes the rows of the page as a JSON list. If not even the first one fits, returns its place in the list and the
/// row itself, of which a part is to be written.
pub fn write_list<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    list: &'a str,
    answer_path: &AnswerPath,
) -> Result<Option<(usize, &'a str)>, OutputError> {
    page.open("[", ']');
    let (mut shown, mut full, mut first) = (0, false, None);
    let counts = select(options, list, &mut |place, row| {
        first = first.or(Some((place, row)));
        if full {
            return;
        }
        let before = page.text.len();
        let room = page.remaining().saturating_sub(usize::from(shown > 0));
        page.text.push_str(if shown == 0 { "" } else { "," });
        full = match &options.fields {
            Some(fields) => !project(&mut page.text, row, fields, room),
            None if row.len() > room => true,
            None => {
                page.text.push_str(row);
                false
            }
        };
        if full { page.text.truncate(before) } else { shown += 1 }
    })?;
    let large = first.filter(|_| full && shown == 0);
    note_row_counts(options, page, answer_path, counts, shown + usize::from(large.is_some()), full);
    if full && options.fields.is_none() && large.is_none() {
        note_smaller_rows(page, answer_path, first.map_or("", |(_, row)| row));
    }
    if large.is_none() {
        page.close();
    }
    Ok(large)
}

/// Describes the part of a list that Proxmox sent.
pub fn describe_sent_part(sent: usize, all: usize) -> String {
    format!(
        "{sent} of {all} rows were sent: limit={all} without params start and limit shows all; params start and limit \
         select others, start={} the last",
        all - sent
    )
}

/// Notes the cursors, which are not shown.
fn note_cursors(page: &mut PageWriter, cursors: usize) {
    if cursors > 0 {
        page.add_note(&format!("not shown: {}", count(cursors, "cursor")));
    }
}

/// Notes which rows are shown.
pub fn note_row_counts(
    options: &OutputOptions,
    page: &mut PageWriter,
    answer_path: &AnswerPath,
    counts: RowCounts,
    shown: usize,
    truncated: bool,
) {
    let RowCounts { total, matched, missing_key, filter_notes, cursors, .. } = counts;
    note_cursors(page, cursors);
    page.add_note(&missing_key.unwrap_or_default());
    if !options.filter.is_empty() {
        page.add_note(&format!("{matched} of {total} rows match"));
    }
    filter_notes.iter().for_each(|note| page.add_note(note));
    match options.total_beside {
        // Proxmox sent a part of the list.
        Some(all) if all > total => page.add_note(&describe_sent_part(total, all)),
        _ if options.topic == AnswerTopic::NewestTasks && total >= MAX_NEWEST_TASKS => page.add_note(&format!(
            "at most the newest {MAX_NEWEST_TASKS} tasks of each node: GET /nodes/{{node}}/tasks has older ones, params \
             errors=1 only failed ones"
        )),
        _ if options.table && options.filter.is_empty() && shown == total && total > 1 => {
            page.add_note(&format!("all {total} rows"));
        }
        _ => {}
    }
    if shown < matched {
        page.note_part(
            &ResultPart { unit: "rows", offset: options.offset, count: shown, total: matched, size: "", truncated },
            answer_path,
        );
    }
}

/// Notes how rows like `row` can be made smaller.
fn note_smaller_rows(page: &mut PageWriter, answer_path: &AnswerPath, row: &str) {
    let mut names = Vec::new();
    if answer_path.path.is_empty() && row.starts_with('{') {
        walk(row, &mut |key, _| {
            names.push(unquote(key));
            names.len() <= 12
        });
    }
    if names.len() > 1 {
        let mut note = String::from("fields=… (");
        push_names(&mut note, names.iter().map(|name| &**name), 12);
        note.push_str(") makes rows smaller, filter=… leaves fewer");
        page.add_note(&note);
    }
}
