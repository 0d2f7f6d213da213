//! The rows of a list that were asked for, in the order that was asked for. Only rows to be sorted are held together.
//! All others are read once and written.

use crate::render::list::MAX_ROWS;
use crate::render::output::error::OutputError;
use crate::render::output::filter::FilterCondition;
use crate::render::output::json_path::{describe_kind, parse_number, pick, unquote, walk};
use crate::render::output::names::{push_name, push_names};
use crate::render::output::options::OutputOptions;
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use crate::render::output::unknown_key::UnknownKey;
use std::borrow::Cow;
use std::cmp::Ordering;

/// The number of rows of a list and of those that match the filter.
pub struct RowCounts {
    pub total: usize,
    pub matched: usize,
    /// A requested key that no row has.
    pub missing_key: Option<UnknownKey>,
    /// The first values of the key of which the filter wants one.
    pub values: Vec<String>,
}

/// The most values that are named where the filter matches none.
const MAX_KNOWN_VALUES: usize = 8;

/// The most bytes of a value that is named.
const MAX_KNOWN_BYTES: usize = 40;

fn add_known_value(values: &mut Vec<String>, value: &str) {
    let is_short = (1..=MAX_KNOWN_BYTES).contains(&value.len());
    if is_short && values.len() < MAX_KNOWN_VALUES && !values.iter().any(|known| known == value) {
        values.push(value.to_owned());
    }
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

/// Passes the rows of the page to `each`, with their places in the list.
pub fn select<'a>(
    options: &OutputOptions,
    list: &'a str,
    each: &mut dyn FnMut(usize, &'a str),
) -> Result<RowCounts, OutputError> {
    // One pass over a row finds the values for the filter, then for the order, then the fields.
    let mut paths: Vec<String> = options.filter.iter().map(|condition| condition.key.clone()).collect();
    paths.extend(options.sort.iter().map(|field| field.key.clone()));
    let deciding = paths.len();
    paths.extend(options.fields.iter().flatten().cloned());
    let mut known = vec![false; paths.len()];
    // Fields are only looked for until each was found once.
    let mut wanted = paths.as_slice();
    let mut found = Vec::new();
    let mut counts = RowCounts { total: 0, matched: 0, missing_key: None, values: Vec::new() };
    let wanted_value = options.filter.iter().position(FilterCondition::wants_value);
    let mut error = None;
    let mut rows_to_sort: Vec<(usize, &'a str)> = Vec::new();
    let mut sort_values: Vec<SortValue<'a>> = Vec::new();
    let page = options.offset..options.offset.saturating_add(options.limit);
    walk(list, &mut |_, row| {
        let place = counts.total;
        counts.total += 1;
        if !paths.is_empty() {
            if !row.starts_with('{') {
                error = Some(OutputError::NotAnObject { row: place, kind: describe_kind(row) });
                return false;
            }
            found.clear();
            if !wanted.is_empty() {
                pick(row, wanted, &mut found);
            }
            for (known, found) in known.iter_mut().zip(&found) {
                *known |= found.is_some();
            }
            if wanted.len() > deciding && known[deciding..].iter().all(|known| *known) {
                wanted = &paths[..deciding];
            }
            if let Some((condition, _)) =
                options.filter.iter().zip(&found).find(|(condition, raw)| condition.is_incomparable(**raw))
            {
                let (key, value) = (condition.key.clone(), condition.value().to_owned());
                error = Some(OutputError::Incomparable { key, value });
                return false;
            }
            if let Some(raw) = wanted_value.and_then(|at| found[at]).filter(|_| counts.matched == 0) {
                add_known_value(
                    &mut counts.values,
                    &options.filter[wanted_value.unwrap_or(0)].show(raw, options.utc_offset),
                );
            }
            if !options.filter.iter().zip(&found).all(|(condition, raw)| condition.matches(*raw, options.utc_offset)) {
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
        sort_values.extend(found[options.filter.len()..deciding].iter().map(|raw| SortValue::from_json(*raw)));
        true
    });
    if let Some(error) = error {
        return Err(error);
    }
    // Proxmox leaves out keys that are not set (`lock`), possibly in every row. So a missing key is not an error,
    // unless it leaves nothing to show. It may still be misspelled.
    let missing: Vec<&str> =
        paths.iter().zip(&known).filter(|(_, known)| !**known).map(|(key, _)| key.as_str()).collect();
    if counts.total > 0
        && let Some(first) = missing.first()
    {
        let unknown = UnknownKey::new(first, list);
        if options.fields.as_ref().is_some_and(|fields| fields.iter().all(|field| missing.contains(&field.as_str()))) {
            return Err(OutputError::UnknownKey(unknown));
        }
        counts.missing_key = Some(unknown);
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

/// Notes which rows are shown.
pub fn note_row_counts(
    options: &OutputOptions,
    page: &mut PageWriter,
    answer_path: &AnswerPath,
    counts: RowCounts,
    shown: usize,
    truncated: bool,
) {
    let RowCounts { total, matched, missing_key, values } = counts;
    if let Some(key) = missing_key {
        page.add_note(&key.to_string());
    }
    if !options.filter.is_empty() {
        page.add_note(&format!("{matched} of {total} rows match"));
        let wanted = options.filter.iter().find(|condition| condition.wants_value());
        if let Some(condition) = wanted.filter(|_| matched == 0 && !values.is_empty()) {
            let mut note = String::new();
            push_name(&mut note, &condition.key);
            note.push_str(" is there as ");
            push_names(&mut note, values.iter().map(String::as_str), MAX_KNOWN_VALUES);
            page.add_note(&note);
        }
    }
    match options.total_beside {
        // Proxmox sent a part of the list.
        Some(all) if all > total => {
            let last = if total > 0 { format!(" (start={}: the last ones)", all - total) } else { String::new() };
            page.add_note(&format!("{total} of {all} rows were sent: the parameter start selects others{last}"));
        }
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
