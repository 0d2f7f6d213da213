//! The errors of showing an answer.

use crate::base::hint::Hint;
use crate::render::list::MAX_ROWS;
use crate::render::output::names::push_name;
use crate::render::output::unknown_key::UnknownKey;
use std::borrow::Cow;
use thiserror::Error;

/// The maximum number of keys or conditions in one argument. Each is searched in every row.
pub(super) const MAX_KEYS: usize = 64;
/// The maximum number of keys to sort by. Their values are held for every row.
pub(super) const MAX_SORT_KEYS: usize = 8;
/// The maximum length of a key in bytes.
pub(super) const MAX_KEY_BYTES: usize = 1024;

/// A cause for which an answer cannot be shown as asked.
#[derive(Debug, Error)]
pub enum OutputError {
    #[error("{argument}: {cause}")]
    Argument { argument: &'static str, cause: ArgumentError },
    #[error("{0}")]
    UnknownKey(UnknownKey),
    #[error("nothing is at {0}: the list has no such row, counted from 0, or the row has no such key")]
    NothingAtPath(String),
    #[error("fields needs an object or a list of objects, but the answer is {0}")]
    NoFields(&'static str),
    #[error("filter and sort need a list of objects, but this is {kind}")]
    NotAList {
        kind: &'static str,
        /// The members that are lists of objects.
        lists: Vec<String>,
    },
    #[error("fields, filter and sort need a list of objects, but row {row} is {kind}")]
    NotAnObject { row: usize, kind: &'static str },
    #[error("row {row} is a text, whose only key is text: there is no key {key}")]
    UnknownLineKey { row: usize, key: String },
    #[error("filter: {key} has {kind}, which can't be compared with {value}")]
    Incomparable { key: String, kind: &'static str, value: String, example: &'static str },
    #[error("sort takes at most {MAX_ROWS} rows")]
    TooManyRowsToSort,
}

/// A syntax error in the argument `fields`, `filter` or `sort`. Its texts are quoted parts of the argument.
#[derive(Debug, Error)]
pub enum ArgumentError {
    #[error("the quote that starts {0} has no end")]
    UnterminatedQuote(String),
    #[error("a comma is missing before {0}")]
    MissingComma(String),
    #[error("a comma or `and` is missing before {0}")]
    MissingSeparator(String),
    #[error("{0} is not a condition")]
    NotACondition(String),
    #[error("all conditions must hold, there is no `or` in {0}")]
    UnsupportedOr(String),
    #[error("at most {MAX_KEYS} keys, each of at most {MAX_KEY_BYTES} bytes")]
    TooManyKeys,
    #[error("at most {MAX_SORT_KEYS} keys")]
    TooManySortKeys,
}

/// The syntax of the argument `filter`.
const FILTER_SYNTAX: &str = "write key=value, with =, !=, <, <=, >, >=, ~ (contains) or !~, a comma or `and` between \
    conditions, and quotes around a value that holds one of these or |";

impl Hint for OutputError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Argument { cause: ArgumentError::NotACondition(_) | ArgumentError::UnsupportedOr(_), .. } => {
                Some(FILTER_SYNTAX.into())
            }
            Self::NotAList { lists, .. } if !lists.is_empty() => {
                let mut text = String::from("name one of its lists: ");
                for (n, name) in lists.iter().enumerate() {
                    text.push_str(if n == 0 { "fields=" } else { " or fields=" });
                    push_name(&mut text, name);
                }
                Some(text.into())
            }
            Self::Incomparable { example, .. } => Some(format!("write {example}").into()),
            Self::UnknownLineKey { .. } => Some("texts have filter: text~word, and sort: text".into()),
            Self::NotAnObject { kind: "a text", .. } => Some("lines of text have filter: text~word".into()),
            Self::TooManyRowsToSort => Some("leave fewer rows with filter".into()),
            _ => None,
        }
    }
}
