//! The answers to several paths of one kind as one table, with a column for what differs between the paths.

use crate::base::json_scan::find_member;
use crate::render::cell::MAX_CELL_CHARS;
use crate::render::list::MAX_ROWS;
use crate::render::output::json_path::{list_rows, unquote, walk};
use crate::render::output::log_lines::MergeableLines;
use crate::render::output::object_writer::{cell, find_only_list, is_empty};
use crate::render::output::options::{AnswerTopic, OutputOptions};
use crate::render::output::page_writer::RenderedResult;
use crate::render::output::rows::describe_sent_part;
use crate::render::output::series::SeriesSummary;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The most bytes of a list that is kept for a table of several.
const MAX_LIST_BYTES: usize = 256 * 1024;

/// The most members of an object that becomes a row.
const MAX_OBJECT_MEMBERS: usize = 60;

/// The part of an answer that can become a part of a table of several answers.
pub enum MergeablePart {
    Series(SeriesSummary),
    Rows(MergeableRows),
    Lines(MergeableLines),
}

impl MergeablePart {
    /// Returns whether the answer is one object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.options.are_objects)
    }
}

/// A list of objects, and the way in which it is shown.
pub struct MergeableRows {
    options: OutputOptions,
    list: String,
    /// The key of the list, if the answer is an object that has nothing else.
    key: Option<String>,
}

/// The rows of one path, with its name in the table.
#[derive(Clone, Copy)]
pub struct LabeledRows<'a> {
    pub label: &'a str,
    pub rows: &'a MergeableRows,
}

impl OutputOptions {
    /// Returns the part of an answer for a table of several, if the caller did not choose its rows or JSON.
    pub(super) fn find_mergeable(&self, data: &str) -> Option<MergeablePart> {
        if let Some(summary) = self.summarize_series(data) {
            return Some(MergeablePart::Series(summary));
        }
        let selects_rows = match self.topic {
            // Their rows have their nodes.
            AnswerTopic::Tasks | AnswerTopic::NewestTasks | AnswerTopic::SystemLog => {
                self.limit != usize::MAX || self.offset != 0 || !self.sort.is_empty()
            }
            _ => self.selects_rows(),
        };
        let is_table = self.table && !selects_rows && !self.is_series && !self.is_option_list;
        if !is_table || data.len() > MAX_LIST_BYTES {
            return None;
        }
        if self.topic == AnswerTopic::SystemLog && self.fields.is_none() {
            return MergeableLines::read(self, data).map(MergeablePart::Lines);
        }
        let (key, list) = match find_only_list(data) {
            Some((key, list, empty)) if empty.is_empty() && self.fields.is_none() => (Some(key), list),
            _ => (None, data),
        };
        let rows = |list: String, options: Self| MergeablePart::Rows(MergeableRows { options, list, key });
        if holds_only_objects(list) {
            return Some(rows(list.to_owned(), self.clone()));
        }
        let object = self.find_row(data)?;
        Some(rows(format!("[{object}]"), Self { are_objects: true, ..self.clone() }))
    }

    /// Returns an object as a row, if each of its values has room in a cell.
    fn find_row(&self, object: &str) -> Option<String> {
        let (mut row, mut fits) = (serde_json::Map::new(), object.starts_with('{'));
        walk(object, &mut |key, raw| {
            if !is_empty(raw) {
                let value = serde_json::from_str(raw);
                fits &= cell(&unquote(key), raw, self.utc_offset).chars().count() <= MAX_CELL_CHARS && value.is_ok();
                row.extend(value.ok().map(|value: Value| (unquote(key).into_owned(), value)));
            }
            fits &= row.len() <= MAX_OBJECT_MEMBERS;
            fits
        });
        for (option, words) in &self.unset {
            row.entry(option).or_insert_with(|| words.as_str().into());
        }
        (fits && !row.is_empty()).then(|| Value::Object(row).to_string())
    }
}

/// Renders the lists of several paths in one table. `header` is the name of the column with their labels. Returns `None`
/// if the lists say nothing different, or have other values of that name.
pub fn merge_rows(header: &str, lists: &[LabeledRows<'_>]) -> Option<RenderedResult> {
    let (without_snapshots, with_rows): (Vec<LabeledRows<'_>>, Vec<LabeledRows<'_>>) =
        lists.iter().partition(|list| is_present_state_alone(&list.rows.list));
    if !without_snapshots.is_empty() && !with_rows.is_empty() {
        let mut rendered = merge_labeled(header, &with_rows)?;
        let labels: Vec<&str> = without_snapshots.iter().map(|list| list.label).collect();
        let note = rendered.note.map_or(String::new(), |note| format!("; {note}"));
        rendered.note = Some(format!("no snapshots: {}{note}", labels.join(", ")));
        return Some(rendered);
    }
    if lists.len() > 1 { merge_labeled(header, lists) } else { None }
}

/// Returns whether a list of snapshots has none. (PVE: its last row is the present state.)
fn is_present_state_alone(list: &str) -> bool {
    let is = |row: &str, name, value| find_member(row, name).is_some_and(|raw| unquote(raw) == value);
    matches!(list_rows(list).as_slice(), [row] if is(row, "name", "current") && is(row, "description", "You are here!"))
}

fn merge_labeled(header: &str, lists: &[LabeledRows<'_>]) -> Option<RenderedResult> {
    // An object of a guest has its number.
    let has_number = |list: &LabeledRows<'_>| {
        find_member(list.rows.list.trim_matches(['[', ']']), "vmid").is_some_and(|vmid| unquote(vmid) == list.label)
    };
    let header =
        if lists.iter().all(|list| list.rows.options.are_objects && has_number(list)) { "vmid" } else { header };
    let mut rows: Vec<MergedRow<'_>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    // The sum of the sizes counts each row.
    let has_sizes = lists.iter().any(|list| has_member(&list.rows.list, "size"));
    for (at, list) in lists.iter().enumerate() {
        walk(&list.rows.list, &mut |_, row| {
            let key = if has_sizes { None } else { Some(sort_keys(row)) };
            let place = key.as_ref().and_then(|key| places.get(key)).filter(|place| !rows[**place].lists.contains(&at));
            match place {
                Some(place) => rows[*place].lists.push(at),
                None => {
                    places.extend(key.map(|key| (key, rows.len())));
                    rows.push(MergedRow { row, lists: vec![at] });
                }
            }
            true
        });
    }
    if has_sizes {
        let sorted: HashSet<String> = lists.iter().map(|list| sort_keys(&list.rows.list)).collect();
        (sorted.len() == lists.len()).then_some(())?;
    }
    if lists.iter().any(|list| list.rows.options.are_objects != lists[0].rows.options.are_objects) {
        return None;
    }
    let says_same = lists.len() > 1 && rows.iter().all(|row| row.lists.len() == lists.len());
    if rows.len() > MAX_ROWS || says_same {
        return None;
    }
    let has_label = |row: &MergedRow<'_>| {
        find_member(row.row, header).map(|value| unquote(value) == lists[row.lists[0]].label && row.lists.len() == 1)
    };
    let are_labeled = match rows.iter().map(has_label).collect::<Option<Vec<bool>>>() {
        Some(labeled) if labeled.iter().all(|is_label| *is_label) => true,
        _ if rows.iter().any(|row| find_member(row.row, header).is_some()) => return None,
        _ => false,
    };
    let MergeableRows { options: first, key, .. } = lists.first()?.rows;
    lists.iter().all(|list| list.rows.key == *key).then_some(())?;
    let mut fields = first.fields.clone();
    if let Some(fields) = fields.as_mut().filter(|fields| !fields.iter().any(|field| field == header)) {
        fields.insert(0, header.to_owned());
    }
    let id_key = if are_labeled { first.id_key.clone() } else { Some(header.to_owned()) };
    let options = OutputOptions { fields, id_key, total_beside: None, ..first.clone() };
    let mut merged = String::from("[");
    for MergedRow { row, lists: places } in &rows {
        merged.push_str(if merged.len() == 1 { "" } else { "," });
        if are_labeled {
            merged.push_str(row);
            continue;
        }
        let labels: Vec<&str> = places.iter().map(|place| lists[*place].label).collect();
        let (key, value) = (serde_json::Value::from(header), serde_json::Value::from(labels.join(",")));
        let members = row.strip_prefix('{').expect("a row is an object");
        let comma = if members.trim_start().starts_with('}') { "" } else { "," };
        merged.push_str(&format!("{{{key}:{value}{comma}{members}"));
    }
    merged.push(']');
    let answer = match key {
        Some(key) => format!("{{{}:{merged}}}", serde_json::Value::from(key.as_str())),
        None => merged,
    };
    let mut rendered = options.render_data(&answer, None, 0).ok()?;
    for LabeledRows { label, rows: MergeableRows { options, list, .. } } in lists {
        let sent = list_rows(list).len();
        if let Some(all) = options.total_beside.filter(|all| *all > sent) {
            let note = rendered.note.take().map_or(String::new(), |note| format!("{note}; "));
            rendered.note = Some(format!("{note}{label}: {}", describe_sent_part(sent, all)));
        }
    }
    Some(rendered)
}

/// Returns JSON with the keys of its objects in their order. (PVE: a node sends them in any order.)
pub fn sort_keys(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json).map_or_else(|_| json.to_owned(), |value| value.to_string())
}

/// A row, and the places of the lists that have it.
struct MergedRow<'a> {
    row: &'a str,
    lists: Vec<usize>,
}

/// Returns whether a value is a list of at least one object, and of nothing else. Lines of a log are not meant.
fn holds_only_objects(data: &str) -> bool {
    let (mut has_rows, mut are_objects) = (false, data.starts_with('['));
    if are_objects {
        walk(data, &mut |_, row| {
            let is_line = || find_member(row, "t").is_some() && find_member(row, "n").is_some();
            are_objects = row.starts_with('{') && !is_line();
            has_rows = true;
            are_objects
        });
    }
    has_rows && are_objects
}

/// Returns whether a row of a list has this member.
fn has_member(list: &str, name: &str) -> bool {
    let mut has_member = false;
    walk(list, &mut |_, row| {
        has_member = find_member(row, name).is_some();
        !has_member
    });
    has_member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(options: &OutputOptions, header: &str, lists: &[(&str, &str)]) -> Option<String> {
        let parts: Vec<MergeableRows> = lists
            .iter()
            .map(|(_, list)| match options.find_mergeable(list) {
                Some(MergeablePart::Rows(rows)) => rows,
                _ => panic!("{list} is no list of objects"),
            })
            .collect();
        let lists = lists.iter().zip(&parts).map(|((label, _), rows)| LabeledRows { label, rows });
        merge_rows(header, &lists.collect::<Vec<_>>()).map(|rendered| rendered.text)
    }

    fn table() -> OutputOptions {
        OutputOptions { table: true, is_one_of_many: true, ..OutputOptions::default() }
    }

    #[test]
    fn rows_have_the_paths_that_they_are_from() {
        let lists = [("pve1", r#"[{"a":1},{"a":2}]"#), ("pve2", r#"[{"a":2},{"b":4,"a":3}]"#)];
        let text = merge(&table(), "node", &lists).expect("a table");
        assert_eq!(text, "node\ta\tb\npve1\t1\t-\npve1,pve2\t2\t-\npve2\t3\t4\n");
        let fields = OutputOptions { fields: Some(vec!["b".into(), "a".into()]), ..table() };
        let text = merge(&fields, "node", &lists).expect("a table");
        assert_eq!(text, "node\tb\ta\npve1\t-\t1\npve1,pve2\t-\t2\npve2\t4\t3\n");
    }

    #[test]
    fn rows_with_sizes_are_never_shared() {
        let lists = [("pve1", r#"[{"size":1}]"#), ("pve2", r#"[{"size":1},{"size":2}]"#)];
        assert_eq!(merge(&table(), "node", &lists).expect("a table"), "node\tsize\npve1\t1\npve2\t1\npve2\t2\n");
    }

    #[test]
    fn a_label_that_the_rows_have_is_not_repeated() {
        let lists = [("pve1", r#"[{"node":"pve1","a":1}]"#), ("pve2", r#"[{"node":"pve2","a":1}]"#)];
        assert_eq!(merge(&table(), "node", &lists).expect("a table"), "node\ta\npve1\t1\npve2\t1\n");
        let other = [("pve1", r#"[{"node":"pve3","a":1}]"#), ("pve2", r#"[{"node":"pve2","a":1}]"#)];
        assert_eq!(merge(&table(), "node", &other), None);
    }

    #[test]
    fn only_lists_of_objects_are_merged_by_their_key() {
        let lists = [("100", r#"{"result":[{"name":"a"}]}"#), ("101", r#"{"result":[{"name":"b"}]}"#)];
        assert_eq!(merge(&table(), "vmid", &lists).expect("a table"), "vmid\tname\n100\ta\n101\tb\n");
        let other = [("100", r#"{"result":[{"name":"a"}]}"#), ("101", r#"{"more":[{"name":"b"}]}"#)];
        assert_eq!(merge(&table(), "vmid", &other), None);
    }

    #[test]
    fn objects_are_rows_below_what_they_have_in_common() {
        let table = OutputOptions { unset: vec![("cores".into(), "not set (default 1)".into())], ..table() };
        let lists = [
            ("100", r#"{"name":"a","digest":"x","vga":"serial0, x","cores":2}"#),
            ("101", r#"{"name":"b","digest":"y","vga":"serial0, x","protection":1}"#),
        ];
        assert_eq!(
            merge(&table, "vmid", &lists).expect("a table"),
            "in each row: vga: serial0, x\nvmid\tname\tcores\tprotection\n100\ta\t2\t-\n101\tb\tnot set (default 1)\tyes\n"
        );
        let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(MAX_CELL_CHARS + 1));
        assert!(table.find_mergeable(&long).is_none());
        let other = [("100", r#"{"a":1}"#), ("101", r#"[{"a":2}]"#)];
        assert_eq!(merge(&table, "vmid", &other), None);
    }

    #[test]
    fn equal_lists_and_other_answers_are_not_merged() {
        for (list, other) in
            [(r#"[{"a":1,"b":2}]"#, r#"[{"b":2,"a":1}]"#), (r#"[{"a":1,"size":2}]"#, r#"[{"size":2,"a":1}]"#)]
        {
            assert_eq!(merge(&table(), "node", &[("a", list), ("b", other)]), None);
        }
        for data in ["[]", "{}", "[1]", "{\"a\":null}", r#"[{"a":1},2]"#, r#"[{"n":1,"t":"line"}]"#, "null"] {
            assert!(table().find_mergeable(data).is_none(), "{data}");
        }
        for options in [
            OutputOptions { table: false, ..table() },
            OutputOptions { limit: 1, ..table() },
            OutputOptions { offset: 1, ..table() },
        ] {
            assert!(options.find_mergeable(r#"[{"a":1}]"#).is_none(), "{options:?}");
        }
    }
}
