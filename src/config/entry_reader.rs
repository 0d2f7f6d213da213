//! One named object of clusters.json while it is being read: each field is taken once, and what is wrong with any of
//! them is noted, so that all of it is said at once.

use super::ConfigErrors;
use super::load::{describe_unknown_field, is_comment};
use super::ordered_json::OrderedJson;
use std::path::Path;
use zeroize::Zeroizing;

/// What a field of [`AccessLevel`](crate::policy::AccessLevel) may hold.
pub(super) const ACCESS_VALUES: &str = r#""read", "operate" or "full""#;

/// The value that a word stands for. The error goes on after the field's name.
pub(super) fn parse_choice<T: Copy>(words: &[(&str, T)], form: &str, text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("is none of its words: write {form}"))
}

/// The fields that nobody has asked for yet, and where problems with them go.
pub(super) struct EntryReader<'a> {
    kind: &'static str,
    pub(super) name: &'a str,
    /// Where relative paths start.
    pub(super) directory: &'a Path,
    fields: Vec<(String, OrderedJson)>,
    errors: &'a mut ConfigErrors,
}

impl<'a> EntryReader<'a> {
    /// The fields of the `kind` called `name`; those that are not `known`, or stand twice, are problems.
    pub(super) fn new(
        kind: &'static str,
        name: &'a str,
        fields: Vec<(String, OrderedJson)>,
        known: &[&'static str],
        directory: &'a Path,
        errors: &'a mut ConfigErrors,
    ) -> Self {
        let mut entry = Self { kind, name, directory, fields: Vec::new(), errors };
        for (field, value) in fields {
            if is_comment(&field) {
                continue;
            } else if !known.contains(&field.as_str()) {
                entry.add_error(&field, describe_unknown_field(&field, known));
            } else if entry.has(&field) {
                entry.add_error(&field, "stands twice: keep one");
            } else if !matches!(value, OrderedJson::Null) {
                // null is what generators write for a field that is absent.
                entry.fields.push((field, value));
            }
        }
        entry
    }

    /// Whether the field is a list.
    pub(super) fn is_list(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, value)| name == field && matches!(value, OrderedJson::List(_)))
    }

    /// Notes what is wrong with a field; the text goes on after its name.
    pub(super) fn add_error(&mut self, field: &str, text: impl Into<String>) {
        self.errors.add_field_error(self.kind, self.name, field, text);
    }

    /// Whether the field stands there, not yet taken.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == field)
    }

    /// The field's value; nobody else gets it.
    pub(super) fn take(&mut self, field: &str) -> Option<OrderedJson> {
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        Some(self.fields.swap_remove(at).1)
    }

    /// The field's text as `read` understands it; `form` says what a right one looks like.
    pub(super) fn read_text<T>(
        &mut self,
        field: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let result = match self.take(field)? {
            OrderedJson::String(text) if text.is_empty() => Err(format!("is empty: write a string, {form}")),
            OrderedJson::String(text) => parse(&Zeroizing::new(text)),
            other => Err(format!("is {}: write a string, {form}", other.kind())),
        };
        result.map_err(|why| self.add_error(field, why)).ok()
    }

    /// The field's true or false; false where it is absent. `None` is something else, which is noted.
    pub(super) fn read_bool(&mut self, field: &str) -> Option<bool> {
        match self.take(field) {
            None => Some(false),
            Some(OrderedJson::Bool(on)) => Some(on),
            Some(other) => {
                self.add_error(field, format!("is {}: write true or false", other.kind()));
                None
            }
        }
    }

    /// Every text of a list as `read` understands it, each once.
    pub(super) fn read_list<T: PartialEq>(
        &mut self,
        field: &str,
        form: &str,
        list: Vec<OrderedJson>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let total = list.len();
        let mut values = Vec::new();
        for (i, item) in list.into_iter().enumerate() {
            let result = match item {
                OrderedJson::String(text) => parse(&Zeroizing::new(text)),
                other => Err(format!("is {}: write a string, {form}", other.kind())),
            };
            match result {
                Ok(value) if values.contains(&value) => {
                    self.add_error(field, format!("entry {} stands twice: keep one", i + 1));
                }
                Ok(value) => values.push(value),
                Err(why) => self.add_error(field, format!("entry {} {why}", i + 1)),
            }
        }
        (values.len() == total).then_some(values)
    }

    /// The same for a field that must be there.
    pub(super) fn read_required<T>(
        &mut self,
        field: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(field) {
            self.add_error(field, format!("is missing: write a string, {form}"));
        }
        self.read_text(field, form, parse)
    }
}
