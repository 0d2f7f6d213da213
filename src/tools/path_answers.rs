//! One text of the answers to several paths: what several of them have in common is said once.

use super::errors::SplitError;
use super::output::{RenderedPart, format_notes};
use crate::call::split_leading_method;
use crate::render::output::{
    LabeledLines, LabeledRows, LabeledSeries, MIN_TABLE_SERIES, MergeablePart, RenderedResult, merge_lines, merge_rows,
    render_series_table,
};

/// The least length of a text that is not repeated.
const MIN_REPEATED_BYTES: usize = 40;

/// The answer to a path, or the reason why there is none.
pub(super) struct PathAnswer<'a> {
    /// As the caller typed it.
    pub(super) typed: &'a str,
    /// Further paths with the same error.
    pub(super) others: Vec<&'a str>,
    pub(super) result: Result<PathContent, SplitError>,
}

/// The answer to a path with what is known of the path.
pub(super) struct PathContent {
    pub(super) template: String,
    /// The parameters of the path with their values.
    pub(super) values: Vec<(String, String)>,
    /// Notes of the call itself.
    pub(super) notes: Vec<String>,
    pub(super) part: RenderedPart,
}

impl PathContent {
    /// Returns whether the answer has the kind of another one. Lists of VMs and of containers are alike.
    fn is_like(&self, other: &Self) -> bool {
        let is_list = self.part.mergeable.as_ref().is_some_and(|part| !part.is_object());
        let find_kind = |content: &Self| content.template.replace("/lxc/", "/qemu/");
        self.template == other.template || is_list && find_kind(self) == find_kind(other)
    }
}

/// A part of the text.
struct Entry {
    heading: String,
    text: String,
    notes: Vec<String>,
    /// The hash of the answer of the cluster, unless the text is an error, a reference, or of several answers.
    hash: Option<u64>,
    /// The text is the answer of the cluster, rather than an error or a reference.
    is_answer: bool,
}

/// Joins the answers. With `are_merged`, equal answers are said once, and answers of one kind are one table. `max_bytes`
/// is the limit of one answer (0: none).
pub(super) fn join_answers(answers: &[PathAnswer<'_>], are_merged: bool, max_bytes: usize) -> String {
    let mut entries: Vec<Option<Entry>> = answers.iter().map(|answer| Some(Entry::new(answer))).collect();
    if are_merged {
        for group in find_groups(answers) {
            let singles = group.iter().filter_map(|at| entries[*at].as_ref()).map(Entry::len).sum();
            let cap = if max_bytes == 0 { usize::MAX } else { max_bytes.saturating_mul(group.len()) };
            let merged = merge_group(answers, &group).filter(|entry| entry.len() < singles && entry.text.len() <= cap);
            if let Some(entry) = merged {
                group.iter().for_each(|at| entries[*at] = None);
                entries[group[0]] = Some(entry);
            }
        }
        refer_to_equal(&mut entries);
    }
    let mut entries: Vec<Entry> = entries.into_iter().flatten().collect();
    let common = take_common_notes(&mut entries);
    let texts = entries.iter().map(|Entry { heading, text, notes, .. }| {
        let notes = format_notes('\n', notes);
        format!("{heading}{}{notes}", text.trim_end())
    });
    let mut text = texts.collect::<Vec<_>>().join("\n\n");
    if !common.is_empty() {
        text.push_str(&format!("\n\n(each: {})", common.join("; ")));
    }
    text
}

impl Entry {
    fn new(answer: &PathAnswer<'_>) -> Self {
        let typed = answer.typed;
        match &answer.result {
            Ok(PathContent { notes, part, .. }) => Self {
                heading: format!("{typed}:\n"),
                text: part.text.clone(),
                notes: notes.iter().chain(&part.remarks).chain(&part.note).cloned().collect(),
                hash: Some(part.hash),
                is_answer: true,
            },
            Err(error) => Self {
                heading: format!("{}: ", answer.name_paths()),
                text: format!("failed: {error}"),
                notes: Vec::new(),
                hash: None,
                is_answer: false,
            },
        }
    }

    /// Returns the bytes of the entry.
    fn len(&self) -> usize {
        self.heading.len() + self.text.len() + self.notes.iter().map(String::len).sum::<usize>()
    }
}

impl PathAnswer<'_> {
    /// Returns the paths of the answer.
    pub(super) fn name_paths(&self) -> String {
        std::iter::once(&self.typed).chain(&self.others).copied().collect::<Vec<_>>().join(", ")
    }
}

/// Says an error that several paths have once.
pub(super) fn share_errors(answers: &mut Vec<PathAnswer<'_>>) {
    let mut kept: Vec<PathAnswer<'_>> = Vec::with_capacity(answers.len());
    for answer in answers.drain(..) {
        let is_equal = |other: &&mut PathAnswer<'_>| match (&other.result, &answer.result) {
            (Err(other), Err(error)) => other == error,
            _ => false,
        };
        match kept.iter_mut().find(is_equal) {
            Some(first) => first.others.push(answer.typed),
            None => kept.push(answer),
        }
    }
    *answers = kept;
}

/// Says a hint that several errors have once.
pub(super) fn share_hints(answers: &mut [PathAnswer<'_>]) {
    let mut hints: Vec<(String, &str)> = Vec::new();
    for answer in answers {
        let Some(hint) = answer.result.as_mut().err().and_then(|error| error.hint.as_mut()) else { continue };
        match hints.iter().find(|(other, _)| other == hint) {
            Some((_, path)) => *hint = format!("as for {path}"),
            None => hints.push((hint.clone(), answer.typed)),
        }
    }
}

/// Returns the places of answers of one kind, each at least two.
fn find_groups(answers: &[PathAnswer<'_>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in 0..answers.len() {
        let Some(content) = mergeable_content(&answers[at]) else { continue };
        let is_alike = |group: &&mut Vec<usize>| {
            mergeable_content(&answers[group[0]]).is_some_and(|first| {
                first.is_like(content) && find_query(answers[group[0]].typed) == find_query(answers[at].typed)
            })
        };
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn mergeable_content<'a>(answer: &'a PathAnswer<'_>) -> Option<&'a PathContent> {
    answer.result.as_ref().ok().filter(|content| content.part.mergeable.is_some())
}

/// Returns the query of a path.
fn find_query(typed: &str) -> &str {
    typed.split_once('?').map_or("", |(_, query)| query)
}

/// Merges the answers at these places, which are of one kind.
fn merge_group(answers: &[PathAnswer<'_>], group: &[usize]) -> Option<Entry> {
    let typed: Vec<&str> = group.iter().map(|at| answers[*at].typed).collect();
    let contents: Vec<&PathContent> = group.iter().filter_map(|at| mergeable_content(&answers[*at])).collect();
    let PathLabels { heading, header, labels } = PathLabels::new(&typed, &contents)?;
    let (mut series, mut rows, mut logs) = (Vec::new(), Vec::new(), Vec::new());
    for (label, content) in labels.iter().zip(&contents) {
        match content.part.mergeable.as_ref()? {
            MergeablePart::Series(summary) => series.push(LabeledSeries { label, summary }),
            MergeablePart::Rows(list) => rows.push(LabeledRows { label, rows: list }),
            MergeablePart::Lines(lines) => logs.push(LabeledLines { label, lines }),
        }
    }
    let RenderedResult { text, note } = match (series.len(), rows.len(), logs.len()) {
        (MIN_TABLE_SERIES.., 0, 0) => render_series_table(&header, &series)?,
        (0, _, 0) => merge_rows(&header, &rows)?,
        (0, 0, _) => merge_lines(&logs)?,
        _ => return None,
    };
    let mut notes = merge_notes(&labels, &contents);
    notes.extend(note);
    Some(Entry { heading: format!("{heading}:\n"), text, notes, hash: None, is_answer: true })
}

/// Returns the notes of several answers: those of all once, others with the label of their answer.
fn merge_notes(labels: &[String], contents: &[&PathContent]) -> Vec<String> {
    let notes_of =
        |content: &PathContent| -> Vec<String> { content.notes.iter().chain(&content.part.remarks).cloned().collect() };
    let all: Vec<Vec<String>> = contents.iter().map(|content| notes_of(content)).collect();
    let is_common = |note: &String| all.iter().all(|notes| notes.contains(note));
    let mut merged: Vec<String> = all[0].iter().filter(|note| is_common(note)).cloned().collect();
    for (label, notes) in labels.iter().zip(&all) {
        merged.extend(notes.iter().filter(|note| !is_common(note)).map(|note| format!("{label}: {note}")));
    }
    merged
}

/// The names of several paths in a table.
struct PathLabels {
    /// The paths with `…` for what differs.
    heading: String,
    /// The name of what differs.
    header: String,
    labels: Vec<String>,
}

impl PathLabels {
    /// Names paths of one kind by what differs between them. Returns `None` if two paths are the same.
    fn new(typed: &[&str], contents: &[&PathContent]) -> Option<Self> {
        let segments: Vec<Vec<&str>> = typed.iter().map(|path| split_segments(path)).collect();
        let first = segments.first()?;
        let shortest = segments.iter().map(Vec::len).min()?;
        let is_shared = |at: usize| segments.iter().all(|path| path[at] == first[at]);
        let lead = (0..shortest).take_while(|at| is_shared(*at)).count();
        let is_shared_end = |at: &usize| segments.iter().all(|path| path[path.len() - at] == first[first.len() - at]);
        let trail = (1..=shortest - lead).take_while(is_shared_end).count();
        let differing = |path: &[&str]| path[lead..path.len() - trail].join("/");
        let values = &contents.first()?.values;
        let is_one_template = contents.iter().all(|content| content.template == contents[0].template);
        let varies = |at: &usize| contents.iter().any(|content| content.values.get(*at) != Some(&values[*at]));
        let varying: Vec<usize> = (0..values.len()).filter(varies).collect();
        let (header, labels): (String, Vec<String>) = match varying.as_slice() {
            [at] if is_one_template => {
                (values[*at].0.clone(), contents.iter().map(|content| content.values[*at].1.clone()).collect())
            }
            _ => ("path".into(), segments.iter().map(|path| differing(path)).collect()),
        };
        let is_distinct = |(at, label): (usize, &String)| !label.is_empty() && !labels[..at].contains(label);
        let are_distinct = labels.iter().enumerate().all(is_distinct);
        let join = |parts: &[&str]| parts.iter().map(|part| format!("/{part}")).collect::<String>();
        let query = match find_query(typed[0]) {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let heading = format!("{}/…{}{query}", join(&first[..lead]), join(&first[first.len() - trail..]));
        are_distinct.then_some(Self { heading, header, labels })
    }
}

/// Returns the segments of a path without a method and a query.
fn split_segments(typed: &str) -> Vec<&str> {
    let (_, path) = split_leading_method(typed);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Replaces each answer that is equal to an earlier one by its path.
fn refer_to_equal(entries: &mut [Option<Entry>]) {
    for at in 1..entries.len() {
        let (earlier, rest) = entries.split_at_mut(at);
        let Some(entry) = rest[0].as_mut().filter(|entry| entry.text.len() >= MIN_REPEATED_BYTES) else { continue };
        // Equal parts of different lists are not equal answers.
        let is_equal =
            |other: &&Entry| (other.hash, &other.text, &other.notes) == (entry.hash, &entry.text, &entry.notes);
        if let Some(first) = earlier.iter().flatten().find(is_equal) {
            let (path, first) = (entry.heading.trim_end(), first.heading.trim_end().trim_end_matches(':'));
            *entry = Entry {
                heading: format!("{path} "),
                text: format!("the same as {first}"),
                notes: Vec::new(),
                hash: None,
                is_answer: false,
            };
        }
    }
}

/// Removes the notes that all of several answers have, and returns them.
fn take_common_notes(entries: &mut [Entry]) -> Vec<String> {
    let mut read: Vec<&mut Entry> = entries.iter_mut().filter(|entry| entry.is_answer).collect();
    let Some((first, others)) = read.split_first_mut().filter(|(_, others)| !others.is_empty()) else {
        return Vec::new();
    };
    let is_common = |note: &String| others.iter().all(|answer| answer.notes.contains(note));
    let common: Vec<String> = first.notes.iter().filter(|note| is_common(note)).cloned().collect();
    read.iter_mut().for_each(|answer| answer.notes.retain(|note| !common.contains(note)));
    common
}
