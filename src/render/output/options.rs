//! The options of showing an answer.

use crate::render::output::error::{ArgumentError, MAX_SORT_KEYS, OutputError};
use crate::render::output::filter::{FilterCondition, parse_filter};
use crate::render::output::keys::parse_keys;

/// The options as a caller typed them.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputArguments<'a> {
    pub fields: Option<&'a str>,
    pub filter: Option<&'a str>,
    pub sort: Option<&'a str>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
    pub table: bool,
}

/// The part of an answer that is shown, and its form.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// The keys in their order, `None` for all.
    pub(super) fields: Option<Vec<String>>,
    /// All of them must hold.
    pub(super) filter: Vec<FilterCondition>,
    pub(super) sort: Vec<SortField>,
    /// The maximum number of rows, of members of an object, or of lines or characters of a text.
    pub(super) limit: usize,
    /// The number of them that is skipped first.
    pub(super) offset: usize,
    pub(super) table: bool,
}

#[derive(Clone, Debug)]
pub(super) struct SortField {
    pub(super) key: String,
    pub(super) descending: bool,
}

impl Default for OutputOptions {
    /// Shows the whole answer.
    fn default() -> Self {
        Self { fields: None, filter: Vec::new(), sort: Vec::new(), limit: usize::MAX, offset: 0, table: false }
    }
}

impl OutputOptions {
    pub fn parse(arguments: &OutputArguments<'_>) -> Result<Self, OutputError> {
        let invalid = |argument| move |cause: ArgumentError| OutputError::Argument { argument, cause };
        let keys = |argument, text: Option<&str>| match text {
            Some(text) => parse_keys(text).map_err(invalid(argument)),
            None => Ok(None),
        };
        let sort = keys("sort", arguments.sort)?.unwrap_or_default();
        if sort.len() > MAX_SORT_KEYS {
            return Err(invalid("sort")(ArgumentError::TooManySortKeys));
        }
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            fields: keys("fields", arguments.fields)?.filter(|fields| !fields.is_empty()),
            filter: parse_filter(arguments.filter.unwrap_or_default()).map_err(invalid("filter"))?,
            sort: sort.into_iter().map(SortField::parse).collect(),
            // As in Proxmox, 0 is no limit.
            limit: arguments.limit.filter(|limit| *limit > 0).map_or(usize::MAX, count),
            offset: arguments.offset.map_or(0, count),
            table: arguments.table,
        })
    }

    /// Returns true if the whole answer is shown as it is.
    pub fn is_plain(&self) -> bool {
        self.fields.is_none()
            && self.filter.is_empty()
            && self.sort.is_empty()
            && self.limit == usize::MAX
            && self.offset == 0
            && !self.table
    }
}

impl SortField {
    /// Parses `mem`, `-mem`, or the forms of SQL, `mem desc` and `mem asc`.
    fn parse(text: String) -> Self {
        let (key, descending) = match (text.strip_prefix('-'), text.strip_suffix(" desc")) {
            (Some(key), _) | (_, Some(key)) => (key, true),
            _ => (text.strip_suffix(" asc").unwrap_or(&text), false),
        };
        Self { key: key.trim().to_owned(), descending }
    }
}
