//! Reader of the fields of one cluster or client. It takes each field once and records all errors.

use super::errors::{ConfigErrors, EntryKind, FieldError};
use super::ordered_json::OrderedJson;
use std::path::Path;
use zeroize::Zeroizing;

/// Values of a field of type [`AccessLevel`](crate::policy::AccessLevel).
pub(super) const ACCESS_VALUES: &str = r#""read", "operate" or "full""#;

/// Fields that are not read yet, and the errors of the file.
pub(super) struct EntryReader<'a> {
    kind: EntryKind,
    pub(super) name: &'a str,
    /// Directory of relative paths.
    pub(super) directory: &'a Path,
    fields: Vec<(String, OrderedJson)>,
    errors: &'a mut ConfigErrors,
}

impl<'a> EntryReader<'a> {
    /// Returns a reader of the fields. Unknown and repeated fields are errors.
    pub(super) fn new(
        kind: EntryKind,
        name: &'a str,
        fields: Vec<(String, OrderedJson)>,
        known: &[&'static str],
        directory: &'a Path,
        errors: &'a mut ConfigErrors,
    ) -> Self {
        let mut unread: Vec<(String, OrderedJson)> = Vec::new();
        for (field, value) in fields {
            if is_comment(&field) {
                continue;
            } else if !known.contains(&field.as_str()) {
                errors.add_field_error(kind, name, &field, FieldError::unknown_field(&field, known));
            } else if unread.iter().any(|(other, _)| *other == field) {
                errors.add_field_error(kind, name, &field, FieldError::Duplicate);
            } else if !matches!(value, OrderedJson::Null) {
                // Generators write null for a field without a value.
                unread.push((field, value));
            }
        }
        Self { kind, name, directory, fields: unread, errors }
    }

    pub(super) fn add_error(&mut self, field: &str, cause: FieldError) {
        self.errors.add_field_error(self.kind, self.name, field, cause);
    }

    /// Returns whether the field has a value that is not read yet.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == field)
    }

    /// Returns whether the field is a list.
    pub(super) fn is_list(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, value)| name == field && matches!(value, OrderedJson::List(_)))
    }

    /// Removes the field and returns its value.
    pub(super) fn take(&mut self, field: &str) -> Option<OrderedJson> {
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        Some(self.fields.swap_remove(at).1)
    }

    /// Reads an optional string. `form` describes a valid one.
    pub(super) fn read_text<T, E: Into<FieldError>>(
        &mut self,
        field: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let result = match self.take(field)? {
            OrderedJson::String(text) if text.is_empty() => {
                Err(FieldError::Empty { form: format!("a string, {form}") })
            }
            other => parse_string(other, form, parse),
        };
        result.map_err(|cause| self.add_error(field, cause)).ok()
    }

    /// Reads a string that must exist.
    pub(super) fn read_required<T, E: Into<FieldError>>(
        &mut self,
        field: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.has(field) {
            self.add_error(field, FieldError::Missing { form: format!("a string, {form}") });
        }
        self.read_text(field, form, parse)
    }

    /// Reads true or false. Returns `None` for anything else.
    pub(super) fn read_bool(&mut self, field: &str, default: bool) -> Option<bool> {
        let cause = match self.take(field) {
            None => return Some(default),
            Some(OrderedJson::Bool(value)) => return Some(value),
            Some(OrderedJson::String(text)) if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
                FieldError::QuotedBool
            }
            Some(other) => FieldError::wrong_kind(&other, "true or false"),
        };
        self.add_error(field, cause);
        None
    }

    /// Reads an optional list of at least one string. `list_form` describes a valid list, `form` a valid item.
    pub(super) fn read_nonempty_list<T: PartialEq, E: Into<FieldError>>(
        &mut self,
        field: &str,
        list_form: &str,
        form: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let cause = match self.take(field)? {
            OrderedJson::List(list) if list.is_empty() => {
                FieldError::WrongKind { found: "an empty list", form: list_form.to_owned() }
            }
            OrderedJson::List(list) => return self.read_items(field, form, list, parse),
            other => FieldError::wrong_kind(&other, list_form),
        };
        self.add_error(field, cause);
        None
    }

    /// Parses the strings of a list, which must differ.
    pub(super) fn read_items<T: PartialEq, E: Into<FieldError>>(
        &mut self,
        field: &str,
        form: &str,
        list: Vec<OrderedJson>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let total = list.len();
        let mut values = Vec::new();
        for (number, item) in (1..).zip(list) {
            match parse_string(item, form, &parse) {
                Ok(value) if values.contains(&value) => self.add_error(field, FieldError::DuplicateItem { number }),
                Ok(value) => values.push(value),
                Err(cause) => self.add_error(field, FieldError::Item { number, cause: Box::new(cause) }),
            }
        }
        (values.len() == total).then_some(values)
    }
}

/// Parses a word of a fixed set. `values` names all of them.
pub(super) fn parse_choice<T: Copy>(text: &str, values: &'static str, words: &[(&str, T)]) -> Result<T, FieldError> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or(FieldError::InvalidChoice { form: values })
}

fn parse_string<T, E: Into<FieldError>>(
    value: OrderedJson,
    form: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, FieldError> {
    match value {
        OrderedJson::String(text) => parse(&Zeroizing::new(text)).map_err(Into::into),
        other => Err(FieldError::wrong_kind(&other, format!("a string, {form}"))),
    }
}

/// Returns whether a field is a comment. Editors look for `$schema`, and people write `_comment` because JSON has no
/// comments.
pub(super) fn is_comment(field: &str) -> bool {
    field == "$schema" || field.starts_with('_')
}

/// Records the errors of an entry's name. `previous` are the names before it.
pub(super) fn check_name(kind: EntryKind, name: &str, is_valid: bool, previous: &[String], errors: &mut ConfigErrors) {
    if !is_valid {
        errors.add_entry_error(kind, name, FieldError::InvalidName(kind));
    }
    if previous.iter().any(|other| other == name) {
        errors.add_entry_error(kind, name, FieldError::DuplicateEntry(kind));
    }
}
