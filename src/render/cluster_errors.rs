//! The clusters that failed, beside the answers of the others.

use super::table::to_json_text;
use std::collections::HashMap;
use std::fmt::{Display, Write};

/// Puts the name of the cluster in front of an error. `label` is `None` where the caller can use only one cluster.
pub fn prefix_cluster(label: Option<&str>, error: &dyn Display) -> String {
    match label {
        None => error.to_string(),
        Some(name) => format!("cluster {name}: {error}"),
    }
}

/// The text of an error, complete and without secrets.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ErrorText(pub String);

/// The error of a cluster's answer, with its kind. Of the errors of one kind only the first is shown in full.
#[derive(Clone, Debug)]
pub struct ReadFailure {
    pub error: ErrorText,
    pub kind: String,
}

/// The kinds of errors that are shown in full.
const MAX_KINDS: usize = 10;

/// The names in one list of clusters.
const MAX_NAMES: usize = 100;

/// The clusters that failed.
#[derive(Default)]
pub struct ClusterErrors<'a> {
    errors: Vec<ClusterFailure<'a>>,
}

/// The failure of every cluster, with a line for each kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AllClustersFailed(String);

/// A cluster that failed.
pub struct ClusterFailure<'a> {
    pub name: &'a str,
    /// `None` where the caller can use only one cluster.
    pub label: Option<&'a str>,
    pub failure: ReadFailure,
}

impl<'a> ClusterErrors<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, failure: ClusterFailure<'a>) {
        self.errors.push(failure);
    }

    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.errors.iter().map(|failure| failure.name)
    }

    /// Fails if each of `queried` clusters failed.
    pub fn fail_if_all(&self, queried: usize) -> Result<(), AllClustersFailed> {
        if self.errors.len() < queried {
            return Ok(());
        }
        Err(AllClustersFailed(self.notes().join("\n")))
    }

    /// Returns the failures by their kinds, in the order of the first of each.
    fn kinds(&self) -> Vec<Vec<&ClusterFailure<'a>>> {
        let mut kinds: Vec<Vec<&ClusterFailure<'a>>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for failure in &self.errors {
            let place = *places.entry(&failure.failure.kind).or_insert(kinds.len());
            match kinds.get_mut(place) {
                Some(kind) => kind.push(failure),
                None => kinds.push(vec![failure]),
            }
        }
        kinds
    }

    /// Returns a line for each kind of error, with the names of its clusters.
    pub fn notes(&self) -> Vec<String> {
        let kinds = self.kinds();
        let shown = kinds.iter().take(MAX_KINDS).map(|kind| {
            let (first, others) = kind.split_first().expect("a kind has a failure");
            let text = prefix_cluster(first.label, &first.failure.error);
            match others.len() {
                0 => text,
                n => format!(
                    "{text} ({n} more {} in the same way: {})",
                    if n == 1 { "cluster failed" } else { "clusters failed" },
                    join_names(others.iter().map(|failure| failure.name))
                ),
            }
        });
        let mut notes: Vec<String> = shown.collect();
        let others: Vec<&str> = kinds.iter().skip(MAX_KINDS).flatten().map(|failure| failure.name).collect();
        if !others.is_empty() {
            notes.push(format!(
                "{} more clusters failed in other ways: {}",
                others.len(),
                join_names(others.into_iter())
            ));
        }
        notes
    }

    /// Appends the member `errors` to a JSON object. A cluster that failed like an earlier one names that one.
    pub fn write_json(&self, structured: &mut String) {
        let mut first_of: HashMap<&str, &str> = HashMap::new();
        for (n, ClusterFailure { name, failure, .. }) in self.errors.iter().enumerate() {
            structured.push_str(if n == 0 { ",\"errors\":[" } else { "," });
            let first = *first_of.entry(&failure.kind).or_insert(name);
            let (member, value) = if first == *name { ("error", failure.error.0.as_str()) } else { ("same_as", first) };
            let _ = write!(structured, "{{\"cluster\":{},\"{member}\":{}}}", to_json_text(name), to_json_text(value));
        }
        if !self.errors.is_empty() {
            structured.push(']');
        }
    }
}

/// Joins the names of clusters. After a hundred it says how many more there are.
pub fn join_names<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let mut text = names.take(MAX_NAMES).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_kind_are_shown_once_with_the_names_of_the_clusters() {
        let names: Vec<String> = (0..300).map(|n| format!("c{n:03}")).collect();
        let mut errors = ClusterErrors::new();
        for (n, name) in names.iter().enumerate() {
            let kind = if n == 7 { "timeout" } else { "connect" }.to_owned();
            let error = ErrorText(format!("could not connect to node {n}. hint: check the node"));
            errors.push(ClusterFailure { name, label: Some(name), failure: ReadFailure { error, kind } });
        }
        let notes = errors.notes();
        assert_eq!(notes.len(), 2);
        assert!(notes[0].starts_with("cluster c000: could not connect to node 0. hint: check the node (298 more"));
        assert!(notes[0].ends_with("c100, c101 and 198 more)"), "{}", notes[0]);
        assert_eq!(notes[1], "cluster c007: could not connect to node 7. hint: check the node");
        let mut json = String::from("{\"rows\":[]");
        errors.write_json(&mut json);
        json.push('}');
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["errors"][299], serde_json::json!({"cluster": "c299", "same_as": "c000"}));
        assert_eq!(value["errors"][7]["error"], "could not connect to node 7. hint: check the node");
    }

    #[test]
    fn many_kinds_of_errors_are_cut() {
        let names: Vec<String> = (0..30).map(|n| format!("c{n:03}")).collect();
        let mut errors = ClusterErrors::new();
        for name in &names {
            let failure = ReadFailure { error: ErrorText(name.clone()), kind: name.clone() };
            errors.push(ClusterFailure { name, label: Some(name), failure });
        }
        let notes = errors.notes();
        assert_eq!(notes.len(), 11);
        assert!(notes[10].starts_with("20 more clusters failed in other ways: c010, c011"), "{}", notes[10]);
    }
}
