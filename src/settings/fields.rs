//! One named object of clusters.json while it is being read: each field is taken once, and what is wrong with any of
//! them is noted, so that all of it is said at once.

use super::Problems;
use super::file::{is_comment, unknown};
use super::json::Json;
use std::path::Path;
use zeroize::Zeroizing;

/// What a field of [`Access`](crate::policy::Access) may hold.
pub(super) const ACCESS: &str = r#""read", "operate" or "full""#;

/// The value that a word stands for. The error goes on after the field's name.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)], form: &str, text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("is none of its words: write {form}"))
}

/// The fields that nobody has asked for yet, and where problems with them go.
pub(super) struct Entry<'a> {
    kind: &'static str,
    pub(super) name: &'a str,
    /// Where relative paths start.
    pub(super) directory: &'a Path,
    fields: Vec<(String, Json)>,
    problems: &'a mut Problems,
}

impl<'a> Entry<'a> {
    /// The fields of the `kind` called `name`; those that are not `known`, or stand twice, are problems.
    pub(super) fn new(
        kind: &'static str,
        name: &'a str,
        fields: Vec<(String, Json)>,
        known: &[&'static str],
        directory: &'a Path,
        problems: &'a mut Problems,
    ) -> Self {
        let mut entry = Self { kind, name, directory, fields: Vec::new(), problems };
        for (field, value) in fields {
            if is_comment(&field) {
                continue;
            } else if !known.contains(&field.as_str()) {
                entry.wrong(&field, unknown(&field, known));
            } else if entry.has(&field) {
                entry.wrong(&field, "stands twice: keep one");
            } else if !matches!(value, Json::Null) {
                // null is what generators write for a field that is absent.
                entry.fields.push((field, value));
            }
        }
        entry
    }

    /// Whether the field is a list.
    pub(super) fn is_list(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, value)| name == field && matches!(value, Json::List(_)))
    }

    /// Notes what is wrong with a field; the text goes on after its name.
    pub(super) fn wrong(&mut self, field: &str, text: impl Into<String>) {
        self.problems.field(self.kind, self.name, field, text);
    }

    /// Whether the field stands there, not yet taken.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == field)
    }

    /// The field's value; nobody else gets it.
    pub(super) fn take(&mut self, field: &str) -> Option<Json> {
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        Some(self.fields.swap_remove(at).1)
    }

    /// The field's text as `read` understands it; `form` says what a right one looks like.
    pub(super) fn text<T>(
        &mut self,
        field: &str,
        form: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let result = match self.take(field)? {
            Json::Text(text) if text.is_empty() => Err(format!("is empty: write a string, {form}")),
            Json::Text(text) => read(&Zeroizing::new(text)),
            other => Err(format!("is {}: write a string, {form}", other.kind())),
        };
        result.map_err(|why| self.wrong(field, why)).ok()
    }

    /// The field's true or false; false where it is absent. `None` is something else, which is noted.
    pub(super) fn flag(&mut self, field: &str) -> Option<bool> {
        match self.take(field) {
            None => Some(false),
            Some(Json::Bool(on)) => Some(on),
            Some(other) => {
                self.wrong(field, format!("is {}: write true or false", other.kind()));
                None
            }
        }
    }

    /// Every text of a list as `read` understands it, each once.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        field: &str,
        form: &str,
        list: Vec<Json>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let total = list.len();
        let mut values = Vec::new();
        for (i, item) in list.into_iter().enumerate() {
            let result = match item {
                Json::Text(text) => read(&Zeroizing::new(text)),
                other => Err(format!("is {}: write a string, {form}", other.kind())),
            };
            match result {
                Ok(value) if values.contains(&value) => {
                    self.wrong(field, format!("entry {} stands twice: keep one", i + 1));
                }
                Ok(value) => values.push(value),
                Err(why) => self.wrong(field, format!("entry {} {why}", i + 1)),
            }
        }
        (values.len() == total).then_some(values)
    }

    /// The same for a field that must be there.
    pub(super) fn required<T>(
        &mut self,
        field: &str,
        form: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(field) {
            self.wrong(field, format!("is missing: write a string, {form}"));
        }
        self.text(field, form, read)
    }
}
