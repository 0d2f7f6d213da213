//! What is wrong with clusters.json, all of it at once.

use super::field::looks_like_uuid;
use std::fmt;

/// Everything that is wrong with a configuration; `Display` gives one line each: where, what, and what to write
/// instead. No text of it holds a value that could be a secret.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

#[derive(Debug)]
struct Problem {
    cluster: Option<String>,
    field: Option<String>,
    text: String,
}

impl Problems {
    /// How many there are; a load that failed has at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A problem of the file as a whole.
    pub(super) fn file(&mut self, text: impl Into<String>) {
        self.0.push(Problem { cluster: None, field: None, text: text.into() });
    }

    /// A problem of a top-level field.
    pub(super) fn top(&mut self, field: &str, text: impl Into<String>) {
        self.0.push(Problem { cluster: None, field: Some(shown(field)), text: text.into() });
    }

    /// A problem of a cluster as a whole.
    pub(super) fn cluster(&mut self, cluster: &str, text: impl Into<String>) {
        self.0.push(Problem { cluster: Some(shown(cluster)), field: None, text: text.into() });
    }

    /// A problem of one field of a cluster.
    pub(super) fn field(&mut self, cluster: &str, field: &str, text: impl Into<String>) {
        self.0.push(Problem { cluster: Some(shown(cluster)), field: Some(shown(field)), text: text.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { cluster, field, text }) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            match (cluster, field) {
                (Some(cluster), Some(field)) => write!(f, "cluster \"{cluster}\", field \"{field}\": {text}")?,
                (Some(cluster), None) => write!(f, "cluster \"{cluster}\": {text}")?,
                (None, Some(field)) => write!(f, "field \"{field}\": {text}")?,
                (None, None) => f.write_str(text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A name as it can be shown: printable, short, and not a secret that slipped in front of a colon.
fn shown(name: &str) -> String {
    const LONGEST: usize = 64;
    if looks_like_uuid(name) || name.contains('=') {
        return "(not shown)".into();
    }
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
