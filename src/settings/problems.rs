//! What is wrong with clusters.json, all of it at once.

use super::field::{self, UUID_LEN};
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
        self.add(None, None, text.into());
    }

    /// A problem of a top-level field.
    pub(super) fn top(&mut self, field: &str, text: impl Into<String>) {
        self.add(None, Some(field), text.into());
    }

    /// A problem of the `kind` called `name` (such as a cluster) as a whole.
    pub(super) fn entry(&mut self, kind: &'static str, name: &str, text: impl Into<String>) {
        self.add(Some((kind, name)), None, text.into());
    }

    /// A problem of one field of it.
    pub(super) fn field(&mut self, kind: &'static str, name: &str, field: &str, text: impl Into<String>) {
        self.add(Some((kind, name)), Some(field), text.into());
    }

    fn add(&mut self, of: Option<(&'static str, &str)>, field: Option<&str>, text: String) {
        let of = of.map(|(kind, name)| (kind, shown(name)));
        self.0.push(Problem { of, field: field.map(shown), text: without_uuids(text) });
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
    if field::holds_secret(name) || name.contains('=') {
        return HIDDEN.into();
    }
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// A text as it can be shown: a suggestion in it may be made of a value that has a secret within.
fn without_uuids(mut text: String) -> String {
    while let Some(at) = field::uuid_in(&text) {
        text.replace_range(at..at + UUID_LEN, HIDDEN);
    }
    text
}

/// What stands in place of what can't be shown.
const HIDDEN: &str = "(not shown)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_within_a_name_or_a_suggestion_is_not_shown() {
        const SECRET: &str = "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b";
        let mut problems = Problems::default();
        for name in [SECRET, &format!("ro {SECRET}"), &format!("é{SECRET}é"), &format!("{}{SECRET}", "x".repeat(50))]
        {
            problems.field("cluster", name, name, format!("write {SECRET}: é{SECRET}"));
            problems.top(name, "is unknown");
        }
        problems.entry("client", "my pmcp_0123456789", "is unknown");
        let shown = problems.to_string();
        assert_eq!(shown.matches(HIDDEN).count(), 4 * 5 + 1, "{shown}");
        assert!(!shown.contains("0f5e") && !shown.contains("pmcp_"), "{shown}");
    }
}
