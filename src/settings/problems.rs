//! What is wrong with clusters.json, all of it at once.

use super::field;
use std::fmt;

/// Everything that is wrong with a configuration; `Display` gives one line each: where, what, and what to write
/// instead. No text of it holds a value that could be a secret.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

#[derive(Debug)]
struct Problem {
    /// What it is a problem of, such as a cluster, and its name.
    of: Option<(&'static str, String)>,
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
        self.0.push(Problem { of: None, field: None, text: text.into() });
    }

    /// A problem of a top-level field.
    pub(super) fn top(&mut self, field: &str, text: impl Into<String>) {
        self.0.push(Problem { of: None, field: Some(shown(field)), text: text.into() });
    }

    /// A problem of the `kind` called `name` (such as a cluster) as a whole.
    pub(super) fn entry(&mut self, kind: &'static str, name: &str, text: impl Into<String>) {
        self.0.push(Problem { of: Some((kind, shown(name))), field: None, text: text.into() });
    }

    /// A problem of one field of it.
    pub(super) fn field(&mut self, kind: &'static str, name: &str, field: &str, text: impl Into<String>) {
        self.0.push(Problem { of: Some((kind, shown(name))), field: Some(shown(field)), text: text.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { of, field, text }) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            match (of, field) {
                (Some((kind, name)), Some(field)) => write!(f, "{kind} \"{name}\", field \"{field}\": {text}")?,
                (Some((kind, name)), None) => write!(f, "{kind} \"{name}\": {text}")?,
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
    if field::looks_like_secret(name) || name.contains('=') {
        return "(not shown)".into();
    }
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
