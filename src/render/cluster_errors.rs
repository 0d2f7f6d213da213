//! The clusters that failed, beside the answers of the others.

use super::table::to_json_text;
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

/// The clusters that failed.
#[derive(Default)]
pub struct ClusterErrors<'a> {
    errors: Vec<ClusterFailure<'a>>,
}

/// The failure of every cluster, with a line for each.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AllClustersFailed(String);

/// A cluster that failed.
pub struct ClusterFailure<'a> {
    pub name: &'a str,
    /// `None` where the caller can use only one cluster.
    pub label: Option<&'a str>,
    pub error: ErrorText,
}

impl<'a> ClusterErrors<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, failure: ClusterFailure<'a>) {
        self.errors.push(failure);
    }

    /// Fails if each of `queried` clusters failed.
    pub fn fail_if_all(&self, queried: usize) -> Result<(), AllClustersFailed> {
        if self.errors.len() < queried {
            return Ok(());
        }
        Err(AllClustersFailed(self.notes().collect::<Vec<_>>().join("\n")))
    }

    /// Returns a line for each cluster.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.errors.iter().map(|failure| prefix_cluster(failure.label, &failure.error))
    }

    /// Appends the member `errors` to a JSON object.
    pub fn write_json(&self, structured: &mut String) {
        for (n, ClusterFailure { name, error, .. }) in self.errors.iter().enumerate() {
            structured.push_str(if n == 0 { ",\"errors\":[" } else { "," });
            let _ = write!(structured, "{{\"cluster\":{},\"error\":{}}}", to_json_text(name), to_json_text(&error.0));
        }
        if !self.errors.is_empty() {
            structured.push(']');
        }
    }
}
