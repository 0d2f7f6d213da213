//! Errors of clusters.json.

use super::field_parsers::{self, EndpointError, FingerprintError, SecretFormatError, TokenIdError, UserError};
use super::files::FileError;
use super::misplaced_secret::contains_secret;
use super::ordered_json::{JsonSyntaxError, OrderedJson};
use super::token::TokenHashError;
use crate::base::hint::{Hint, render_error};
use crate::base::suggest::suggest;
use crate::policy::AccessLevel;
use crate::sanitize::{NOT_SHOWN, hide_uuids};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// All errors of a configuration file. `Display` writes a line per error: its place, the cause and a hint. Values that may
/// be secrets are hidden.
#[derive(Default)]
pub struct ConfigErrors(Vec<ConfigError>);

/// One error of a configuration file.
#[derive(Debug, Error)]
pub(super) enum ConfigError {
    #[error("the file {0}")]
    File(#[from] FileError),
    #[error(transparent)]
    Syntax(#[from] JsonSyntaxError),
    #[error("the file is empty")]
    EmptyFile { example: &'static str },
    #[error("the file holds {found}")]
    NoObject { found: &'static str, example: &'static str },
    #[error("field \"{field}\": {cause}")]
    TopLevelField { field: String, cause: FieldError },
    #[error("{kind} \"{name}\": {cause}")]
    Entry { kind: EntryKind, name: String, cause: FieldError },
    #[error("{kind} \"{name}\", field \"{field}\": {cause}")]
    EntryField { kind: EntryKind, name: String, field: String, cause: FieldError },
}

/// Kinds of named objects in clusters.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Cluster,
    Client,
}

/// The reason why a field is invalid. It continues a sentence about the field.
#[derive(Debug, Error)]
pub(super) enum FieldError {
    #[error("is missing")]
    Missing { form: String },
    #[error("is empty")]
    Empty { form: String },
    #[error("is {found}")]
    WrongKind { found: &'static str, form: String },
    #[error("is a string")]
    QuotedBool,
    #[error("is not a valid value")]
    InvalidChoice { form: &'static str },
    #[error("is out of range")]
    OutOfRange { form: &'static str },
    #[error("is defined twice")]
    Duplicate,
    #[error("is defined twice")]
    DuplicateEntry(EntryKind),
    #[error("entry {number} is listed twice")]
    DuplicateItem { number: usize },
    #[error("entry {number} {cause}")]
    Item { number: usize, cause: Box<FieldError> },
    #[error("is unknown")]
    UnknownField(KnownNames),
    #[error("names no cluster of this file")]
    UnknownCluster(KnownNames),
    #[error("is a field, not a cluster")]
    MisplacedField { example: &'static str },
    #[error("is not a valid name")]
    InvalidName(EntryKind),
    #[error("is set next to \"{with}\"")]
    Conflict { with: &'static str, remedy: &'static str },
    #[error("is false, so that \"{unused}\" has no effect")]
    VerificationOff { unused: &'static str },
    #[error("has more than one source")]
    SeveralSecrets { sources: Vec<&'static str> },
    #[error("names an environment variable that is not set")]
    UnsetVariable,
    #[error("leads to an empty secret")]
    EmptySecret,
    #[error("is the token of another client too")]
    SharedToken,
    #[error("is true, and access is {access}: it grants nothing without access \"full\"")]
    ExecWithoutFull { access: AccessLevel },
    #[error("has no client")]
    NoClient,
    #[error("names a file that {0}")]
    File(#[from] FileError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    TokenId(#[from] TokenIdError),
    #[error(transparent)]
    SecretFormat(#[from] SecretFormatError),
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    #[error(transparent)]
    TokenHash(#[from] TokenHashError),
    /// The text of the policy's own error.
    #[error("{0}")]
    Policy(String),
}

/// The names that are valid in place of an unknown one.
#[derive(Debug)]
pub(super) struct KnownNames {
    suggestion: Option<String>,
    quoted: String,
}

impl KnownNames {
    fn new<'a>(unknown: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self { suggestion: suggest(unknown, known.clone()).map(str::to_owned), quoted: join_quoted(known) }
    }

    /// Returns the suggestion, else `instead` with all names.
    fn hint(&self, instead: &str) -> Cow<'_, str> {
        match &self.suggestion {
            Some(name) => format!("did you mean \"{name}\"?").into(),
            None => format!("{instead} {}", self.quoted).into(),
        }
    }
}

impl FieldError {
    /// Returns the error of a value that is not what `form` describes.
    pub(super) fn wrong_kind(found: &OrderedJson, form: impl Into<String>) -> Self {
        Self::WrongKind { found: found.kind(), form: form.into() }
    }

    pub(super) fn unknown_field(field: &str, known: &[&'static str]) -> Self {
        Self::UnknownField(KnownNames::new(field, known.iter().copied()))
    }

    pub(super) fn unknown_cluster(name: &str, known: &[String]) -> Self {
        let valid = known.iter().map(String::as_str).filter(|name| field_parsers::is_valid_name(name));
        Self::UnknownCluster(KnownNames::new(name, valid))
    }
}

impl Hint for FieldError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Missing { form } | Self::Empty { form } | Self::WrongKind { form, .. } => {
                format!("write {form}").into()
            }
            Self::InvalidChoice { form } | Self::OutOfRange { form } => format!("write {form}").into(),
            Self::QuotedBool => "remove the quotes: write true or false".into(),
            Self::Duplicate | Self::DuplicateItem { .. } => "keep one".into(),
            Self::DuplicateEntry(kind) => format!("give each {kind} its own name").into(),
            Self::Item { cause, .. } => return cause.hint(),
            Self::UnknownField(known) => known.hint("remove it; the fields here are"),
            Self::UnknownCluster(known) => known.hint("write one of"),
            Self::MisplacedField { example } => format!("put the fields of a cluster under a name, {example}").into(),
            Self::InvalidName(kind) => {
                let exception = if *kind == EntryKind::Client { ", and no token" } else { "" };
                format!("write 1 to 64 letters, digits, \".\", \"_\" or \"-\"{exception}").into()
            }
            Self::Conflict { remedy, .. } => (*remedy).into(),
            Self::VerificationOff { .. } => "remove \"verify_ssl\"".into(),
            Self::SeveralSecrets { sources } => format!("keep one of {}", join_quoted(sources.iter().copied())).into(),
            Self::UnsetVariable => "set it, or write the variable's name alone".into(),
            Self::EmptySecret => "put the token's secret there".into(),
            Self::NoClient => {
                "name the clients that may use the server. To run it without client tokens, remove \"clients\" \
                               and restart the server: it then accepts every caller that reaches it"
                    .into()
            }
            Self::ExecWithoutFull { .. } => "remove \"exec\", or set \"access\": \"full\"".into(),
            Self::SharedToken => "make one for each client with `proxmox-mcp token`".into(),
            Self::File(error) => return error.hint(),
            Self::Endpoint(error) => return error.hint(),
            Self::User(error) => return error.hint(),
            Self::TokenId(error) => return error.hint(),
            Self::SecretFormat(error) => return error.hint(),
            Self::Fingerprint(error) => return error.hint(),
            Self::TokenHash(error) => return error.hint(),
            Self::Policy(_) => return None,
        })
    }
}

impl Hint for ConfigError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::File(error) => error.hint(),
            Self::Syntax(error) => error.hint(),
            Self::EmptyFile { example } => Some(format!("write {example}").into()),
            Self::NoObject { example, .. } => Some(format!("write an object, {example}").into()),
            Self::TopLevelField { cause, .. } | Self::Entry { cause, .. } | Self::EntryField { cause, .. } => {
                cause.hint()
            }
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Client => "client",
        })
    }
}

impl ConfigErrors {
    /// Returns the number of errors, at least one after a failed load.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the single error of a file that cannot be parsed.
    pub(super) fn from_error(error: impl Into<ConfigError>) -> Self {
        Self(vec![error.into()])
    }

    pub(super) fn add_top_level_error(&mut self, field: &str, cause: FieldError) {
        self.0.push(ConfigError::TopLevelField { field: sanitize_name(field), cause });
    }

    /// Adds an error of a cluster or client as a whole.
    pub(super) fn add_entry_error(&mut self, kind: EntryKind, name: &str, cause: FieldError) {
        self.0.push(ConfigError::Entry { kind, name: sanitize_name(name), cause });
    }

    /// Adds an error of a field of a cluster or client.
    pub(super) fn add_field_error(&mut self, kind: EntryKind, name: &str, field: &str, cause: FieldError) {
        self.0.push(ConfigError::EntryField { kind, name: sanitize_name(name), field: sanitize_name(field), cause });
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            // A suggestion may repeat a part of a value that holds a secret.
            f.write_str(&hide_uuids(render_error(error)))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigErrors {
    /// Writes the text of `Display`, which hides secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigErrors {}

/// Returns a name that is printable and short, and hides one that may hold a secret.
fn sanitize_name(name: &str) -> String {
    const LONGEST: usize = 64;
    if contains_secret(name) || name.contains('=') {
        return NOT_SHOWN.into();
    }
    let mut sanitized: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        sanitized.push('…');
    }
    sanitized
}

fn join_quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_within_a_name_or_a_suggestion_is_not_shown() {
        const SECRET: &str = "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b";
        let mut errors = ConfigErrors::default();
        for name in [SECRET, &format!("ro {SECRET}"), &format!("é{SECRET}é"), &format!("{}{SECRET}", "x".repeat(50))]
        {
            let cause = FieldError::Empty { form: format!("{SECRET}: é{SECRET}") };
            errors.add_field_error(EntryKind::Cluster, name, name, cause);
            errors.add_top_level_error(name, FieldError::Duplicate);
        }
        errors.add_entry_error(EntryKind::Client, "my pmcp_0123456789", FieldError::Duplicate);
        let text = errors.to_string();
        assert_eq!(text.matches(NOT_SHOWN).count(), 4 * 5 + 1, "{text}");
        assert!(!text.contains("0f5e") && !text.contains("pmcp_"), "{text}");
        assert_eq!(format!("{errors:?}"), text);
    }
}
