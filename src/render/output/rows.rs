//! Lists: the rows that were asked for, in the order asked for. Only rows that are to be sorted are ever held together;
//! the others pass by once.

use crate::render::output::OutputOptions;
use crate::render::output::json_path::{describe_kind, parse_number, pick, unquote, walk};
use crate::render::output::keys::{describe_unknown_key, push_names};
use crate::render::output::page_writer::{AnswerPath, PageWriter, ResultPart};
use crate::render::table::MAX_ROWS;
use std::borrow::Cow;
use std::cmp::Ordering;

/// How many rows a list has, and how many of them match.
pub struct RowCounts {
    /// All.
    pub total: usize,
    /// Those that the filter lets through.
    pub matched: usize,
    /// What to say of a key that no row has.
    pub missing_key: Option<String>,
}

/// What a row is sorted by: numbers before texts, and what is missing last, also where the order is turned around.
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

/// Gives `each` the rows of the view's page, and what place in the list each has. Errors say which row is no object, or
/// which key no row has.
pub fn select<'a>(
    options: &OutputOptions,
    list: &'a str,
    each: &mut dyn FnMut(usize, &'a str),
) -> Result<RowCounts, String> {
    // One pass over a row finds everything that is looked at: first what decides about it, then what will be shown.
    let mut paths: Vec<String> = options.filter.iter().map(|c| c.key.clone()).collect();
    paths.extend(options.sort.iter().map(|(key, _)| key.clone()));
    let deciding = paths.len();
    paths.extend(options.fields.iter().flatten().cloned());
    let mut seen = vec![false; paths.len()];
    let mut looking = paths.as_slice();
    let mut found = Vec::new();
    let mut counts = RowCounts { total: 0, matched: 0, missing_key: None };
    let mut problem = None;
    let mut rows_to_sort: Vec<(usize, &'a str)> = Vec::new();
    let mut keys: Vec<SortValue<'a>> = Vec::new();
    let page = options.offset..options.offset.saturating_add(options.limit);
    walk(list, &mut |_, row| {
        let at = counts.total;
        counts.total += 1;
        if !paths.is_empty() {
            if !row.starts_with('{') {
                problem = Some(format!(
                    "fields, filter and sort need a list of objects, yet row {at} is {}",
                    describe_kind(row)
                ));
                return false;
            }
            found.clear();
            if !looking.is_empty() {
                pick(row, looking, &mut found);
            }
            for (seen, found) in seen.iter_mut().zip(&found) {
                *seen |= found.is_some();
            }
            if looking.len() > deciding && seen.iter().skip(deciding).all(|seen| *seen) {
                looking = paths.get(..deciding).unwrap_or_default();
            }
            if !options.filter.iter().zip(&found).all(|(condition, raw)| condition.matches(*raw)) {
                return true;
            }
        }
        counts.matched += 1;
        if options.sort.is_empty() {
            if page.contains(&(counts.matched - 1)) {
                each(at, row);
            }
            return true;
        }
        if rows_to_sort.len() == MAX_ROWS {
            problem = Some(format!("sort takes at most {MAX_ROWS} rows: leave fewer with filter"));
            return false;
        }
        rows_to_sort.push((at, row));
        keys.extend(
            found.iter().skip(options.filter.len()).take(options.sort.len()).map(|raw| SortValue::from_json(*raw)),
        );
        true
    });
    if let Some(problem) = problem {
        return Err(problem);
    }
    // Proxmox leaves out what is not set (`lock`), in every row at once where it is set nowhere: no mistake, but a
    // misspelling looks alike.
    let absent: Vec<&str> = paths.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(key, _)| key.as_str()).collect();
    if counts.total > 0
        && let Some(first) = absent.first()
    {
        let fields = options.fields.as_ref().is_some_and(|fields| fields.iter().all(|f| absent.contains(&f.as_str())));
        if fields {
            return Err(describe_unknown_key(first, list));
        }
        counts.missing_key = Some(describe_unknown_key(first, list));
    }
    if !options.sort.is_empty() {
        let width = options.sort.len();
        let mut sorted: Vec<usize> = (0..rows_to_sort.len()).collect();
        sorted.sort_by(|&a, &b| {
            let by = |(n, (_, descending)): (usize, &(String, bool))| match (
                keys.get(a * width + n),
                keys.get(b * width + n),
            ) {
                (Some(a), Some(b)) => a.compare(b, *descending),
                _ => Ordering::Equal,
            };
            options.sort.iter().enumerate().map(by).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        });
        for (at, row) in sorted.into_iter().skip(page.start).take(page.len()).filter_map(|n| rows_to_sort.get(n)) {
            each(*at, row);
        }
    }
    Ok(counts)
}

/// Appends the fields of an object as an object; those that it does not have are left out. False, and nothing whole,
/// where it takes more than `room`.
fn project(text: &mut String, object: &str, fields: &[String], room: usize) -> bool {
    let (start, mut found) = (text.len(), Vec::new());
    pick(object, fields, &mut found);
    text.push('{');
    for (field, value) in fields.iter().zip(found).filter_map(|(f, v)| Some((f, v?))) {
        text.push_str(if text.ends_with('{') && text.len() == start + 1 { "" } else { "," });
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

/// Writes the rows of the view's page as a JSON list. Where not even the first one fits: the place of that one in the
/// list and the row itself, to be shown in part behind what is written.
pub fn write_list<'a>(
    options: &OutputOptions,
    page: &mut PageWriter,
    list: &'a str,
    answer_path: &AnswerPath,
) -> Result<Option<(usize, &'a str)>, String> {
    page.open("[", ']');
    let (mut shown, mut full, mut first) = (0, false, None);
    let counts = select(options, list, &mut |at, row| {
        first = first.or(Some((at, row)));
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
    cut: bool,
) {
    let RowCounts { total, matched, missing_key: absent } = counts;
    page.add_note(&absent.unwrap_or_default());
    if !options.filter.is_empty() {
        page.add_note(&format!("{matched} of {total} rows match"));
    }
    if shown < matched {
        page.note_part(
            &ResultPart {
                unit: "rows",
                offset: options.offset,
                count: shown,
                total: matched,
                size: "",
                truncated: cut,
            },
            answer_path,
        );
    }
}

/// Notes how rows of objects like `row` can be made smaller.
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
