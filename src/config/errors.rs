//! What is wrong with clusters.json, all of it at once.

use super::field_parsers;
use crate::sanitize::{NOT_SHOWN, UUID_LEN, find_uuid};
use std::fmt;

/// Everything that is wrong with a configuration; `Display` gives one line each: where, what, and what to write
/// instead. No text of it holds a value that could be a secret.
#[derive(Debug, Default)]
pub struct ConfigErrors(Vec<ConfigError>);

#[derive(Debug)]
struct ConfigError {
    /// What it is a problem of, such as a cluster, and its name.
    subject: Option<(&'static str, String)>,
    field: Option<String>,
    text: String,
}

impl ConfigErrors {
    /// How many there are; a load that failed has at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A problem of the file as a whole.
    pub(super) fn add_file_error(&mut self, text: impl Into<String>) {
        self.push(None, None, text.into());
    }

    /// A problem of a top-level field.
    pub(super) fn add_top_level_error(&mut self, field: &str, text: impl Into<String>) {
        self.push(None, Some(field), text.into());
    }

    /// A problem of the `kind` called `name` (such as a cluster) as a whole.
    pub(super) fn add_entry_error(&mut self, kind: &'static str, name: &str, text: impl Into<String>) {
        self.push(Some((kind, name)), None, text.into());
    }

    /// A problem of one field of it.
    pub(super) fn add_field_error(&mut self, kind: &'static str, name: &str, field: &str, text: impl Into<String>) {
        self.push(Some((kind, name)), Some(field), text.into());
    }

    fn push(&mut self, of: Option<(&'static str, &str)>, field: Option<&str>, text: String) {
        let of = of.map(|(kind, name)| (kind, sanitize_name(name)));
        self.0.push(ConfigError { subject: of, field: field.map(sanitize_name), text: hide_uuids(text) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ConfigError { subject: of, field, text }) in self.0.iter().enumerate() {
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

impl std::error::Error for ConfigErrors {}

/// A name as it can be shown: printable, short, and not a secret that slipped in front of a colon.
fn sanitize_name(name: &str) -> String {
    const LONGEST: usize = 64;
    if field_parsers::contains_secret(name) || name.contains('=') {
        return NOT_SHOWN.into();
    }
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// A text as it can be shown: a suggestion in it may be made of a value that has a secret within.
fn hide_uuids(mut text: String) -> String {
    while let Some(at) = find_uuid(&text) {
        text.replace_range(at..at + UUID_LEN, NOT_SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_within_a_name_or_a_suggestion_is_not_shown() {
        const SECRET: &str = "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b";
        let mut problems = ConfigErrors::default();
        for name in [SECRET, &format!("ro {SECRET}"), &format!("é{SECRET}é"), &format!("{}{SECRET}", "x".repeat(50))]
        {
            problems.add_field_error("cluster", name, name, format!("write {SECRET}: é{SECRET}"));
            problems.add_top_level_error(name, "is unknown");
        }
        problems.add_entry_error("client", "my pmcp_0123456789", "is unknown");
        let shown = problems.to_string();
        assert_eq!(shown.matches(NOT_SHOWN).count(), 4 * 5 + 1, "{shown}");
        assert!(!shown.contains("0f5e") && !shown.contains("pmcp_"), "{shown}");
    }
}
