//! Lists: the rows that were asked for, in the order asked for. Only rows that are to be sorted are ever held together;
//! the others pass by once.

use super::View;
use super::json::{decoded, kind, number, pick, walk};
use super::names::{push_names, unknown};
use super::page::{Page, Part, Place};
use crate::tools::shape::MAX_ROWS;
use std::borrow::Cow;
use std::cmp::Ordering;

/// How many rows a list has, and how many of them match.
pub struct Counts {
    /// All.
    pub total: usize,
    /// Those that the filter lets through.
    pub matched: usize,
    /// What to say of a key that no row has.
    pub absent: Option<String>,
}

/// What a row is sorted by: numbers before texts, and what is missing last, also where the order is turned around.
enum Key<'a> {
    Number(f64),
    Text(Cow<'a, str>),
    Missing,
}

impl<'a> Key<'a> {
    fn of(raw: Option<&'a str>) -> Self {
        match raw.filter(|raw| *raw != "null") {
            None => Self::Missing,
            Some(raw) => number(raw).map_or_else(|| Self::Text(decoded(raw)), Self::Number),
        }
    }

    fn order(&self, other: &Self, descending: bool) -> Ordering {
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
pub fn select<'a>(view: &View, list: &'a str, each: &mut dyn FnMut(usize, &'a str)) -> Result<Counts, String> {
    // One pass over a row finds everything that is looked at: first what decides about it, then what will be shown.
    let mut paths: Vec<String> = view.filter.iter().map(|c| c.key.clone()).collect();
    paths.extend(view.sort.iter().map(|(key, _)| key.clone()));
    let deciding = paths.len();
    paths.extend(view.fields.iter().flatten().cloned());
    let mut seen = vec![false; paths.len()];
    let mut looking = paths.as_slice();
    let mut found = Vec::new();
    let mut counts = Counts { total: 0, matched: 0, absent: None };
    let mut problem = None;
    let mut held: Vec<(usize, &'a str)> = Vec::new();
    let mut keys: Vec<Key<'a>> = Vec::new();
    let page = view.offset..view.offset.saturating_add(view.limit);
    walk(list, &mut |_, row| {
        let at = counts.total;
        counts.total += 1;
        if !paths.is_empty() {
            if !row.starts_with('{') {
                problem =
                    Some(format!("fields, filter and sort need a list of objects, yet row {at} is {}", kind(row)));
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
            if !view.filter.iter().zip(&found).all(|(condition, raw)| condition.holds(*raw)) {
                return true;
            }
        }
        counts.matched += 1;
        if view.sort.is_empty() {
            if page.contains(&(counts.matched - 1)) {
                each(at, row);
            }
            return true;
        }
        if held.len() == MAX_ROWS {
            problem = Some(format!("sort takes at most {MAX_ROWS} rows: leave fewer with filter"));
            return false;
        }
        held.push((at, row));
        keys.extend(found.iter().skip(view.filter.len()).take(view.sort.len()).map(|raw| Key::of(*raw)));
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
        let fields = view.fields.as_ref().is_some_and(|fields| fields.iter().all(|f| absent.contains(&f.as_str())));
        if fields {
            return Err(unknown(first, list));
        }
        counts.absent = Some(unknown(first, list));
    }
    if !view.sort.is_empty() {
        let width = view.sort.len();
        let mut sorted: Vec<usize> = (0..held.len()).collect();
        sorted.sort_by(|&a, &b| {
            let by = |(n, (_, descending)): (usize, &(String, bool))| match (
                keys.get(a * width + n),
                keys.get(b * width + n),
            ) {
                (Some(a), Some(b)) => a.order(b, *descending),
                _ => Ordering::Equal,
            };
            view.sort.iter().enumerate().map(by).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        });
        for (at, row) in sorted.into_iter().skip(page.start).take(page.len()).filter_map(|n| held.get(n)) {
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
pub fn list<'a>(
    view: &View,
    page: &mut Page,
    list: &'a str,
    place: &Place,
) -> Result<Option<(usize, &'a str)>, String> {
    page.open("[", ']');
    let (mut shown, mut full, mut first) = (0, false, None);
    let counts = select(view, list, &mut |at, row| {
        first = first.or(Some((at, row)));
        if full {
            return;
        }
        let before = page.text.len();
        let room = page.left().saturating_sub(usize::from(shown > 0));
        page.text.push_str(if shown == 0 { "" } else { "," });
        full = match &view.fields {
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
    told(view, page, place, counts, shown + usize::from(large.is_some()), full);
    if full && view.fields.is_none() && large.is_none() {
        smaller(page, place, first.map_or("", |(_, row)| row));
    }
    if large.is_none() {
        page.close();
    }
    Ok(large)
}

/// Notes which rows are shown.
pub fn told(view: &View, page: &mut Page, place: &Place, counts: Counts, shown: usize, cut: bool) {
    let Counts { total, matched, absent } = counts;
    page.note(&absent.unwrap_or_default());
    if !view.filter.is_empty() {
        page.note(&format!("{matched} of {total} rows match"));
    }
    if shown < matched {
        page.part(&Part { unit: "rows", offset: view.offset, shown, of: matched, size: "", cut }, place);
    }
}

/// Notes how rows of objects like `row` can be made smaller.
fn smaller(page: &mut Page, place: &Place, row: &str) {
    let mut names = Vec::new();
    if place.path.is_empty() && row.starts_with('{') {
        walk(row, &mut |key, _| {
            names.push(decoded(key));
            names.len() <= 12
        });
    }
    if names.len() > 1 {
        let mut note = String::from("fields=… (");
        push_names(&mut note, names.iter().map(|name| &**name), 12);
        note.push_str(") makes rows smaller, filter=… leaves fewer");
        page.note(&note);
    }
}
