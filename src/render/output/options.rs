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
    /// `None` if the caller named no format.
    pub format: Option<OutputFormat>,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// The values as the cluster sends them.
    Json,
    /// Tables and lines, with times, sizes and shares in a form for readers.
    Table,
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
    /// The caller named no format, so that a time series is summarized.
    pub(super) has_default_form: bool,
    /// The answer is a time series.
    pub(super) is_series: bool,
    /// The rows of the answer are the options of a guest, each with its value and the one that waits.
    pub(super) is_option_list: bool,
    pub(super) topic: AnswerTopic,
    /// The key that identifies the rows of the answer.
    pub(super) id_key: Option<String>,
    /// The zone of the times in tables, in seconds east of UTC.
    pub(super) utc_offset: i32,
    /// The fields that are options of the object, with the words for an option that is not set.
    pub(super) unset: Vec<(String, String)>,
    /// The answer is one of several, so that conditions on rows leave an object as it is.
    pub(super) is_one_of_many: bool,
    /// The number of rows of the whole list, of which the answer has a part.
    pub(super) total_beside: Option<usize>,
    /// The rows are the answers to several paths, each an object.
    pub(super) are_objects: bool,
}

/// The answers that have a short form of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerTopic {
    #[default]
    Other,
    /// Volumes of a storage, or marks of a pruning.
    Backups,
    /// Privileges of roles, of one role, or on paths.
    Privileges,
    /// The log of the cluster.
    ClusterLog,
    /// Tasks of a node.
    Tasks,
    /// The newest tasks of each node.
    NewestTasks,
    /// The lines of a node's system log.
    SystemLog,
    /// The services of a node.
    Services,
    /// The options of a guest with those that wait.
    Pending,
}

impl AnswerTopic {
    /// Returns whether the answers of several nodes have one short form.
    pub(super) fn is_mergeable(self) -> bool {
        matches!(self, Self::Tasks | Self::NewestTasks | Self::SystemLog | Self::Services)
    }
}

/// What is known of an answer beside its text.
#[derive(Clone, Debug, Default)]
pub struct AnswerFacts {
    /// The answer is a time series.
    pub is_series: bool,
    /// The rows of the answer are the options of a guest.
    pub is_option_list: bool,
    pub topic: AnswerTopic,
    /// The key that identifies the rows of the answer.
    pub id_key: Option<String>,
    /// The zone of the node, in seconds east of UTC.
    pub utc_offset: i32,
    /// Those of the fields that are options, with the words for an option that is not set.
    pub unset: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct SortField {
    pub(super) key: String,
    pub(super) descending: bool,
}

impl Default for OutputOptions {
    /// Shows the whole answer.
    fn default() -> Self {
        Self {
            fields: None,
            filter: Vec::new(),
            sort: Vec::new(),
            limit: usize::MAX,
            offset: 0,
            table: false,
            has_default_form: false,
            is_series: false,
            is_option_list: false,
            topic: AnswerTopic::Other,
            id_key: None,
            utc_offset: 0,
            unset: Vec::new(),
            is_one_of_many: false,
            total_beside: None,
            are_objects: false,
        }
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
            table: arguments.format != Some(OutputFormat::Json),
            has_default_form: arguments.format.is_none(),
            ..Self::default()
        })
    }

    /// Returns true if the whole answer is shown as it is.
    pub fn is_plain(&self) -> bool {
        !self.selects() && !self.table
    }

    /// Returns true if the caller chooses a part of the answer, or its order.
    pub fn selects(&self) -> bool {
        self.fields.is_some() || self.selects_rows()
    }

    /// Returns true if the caller chooses rows of the answer, or their order.
    pub(super) fn selects_rows(&self) -> bool {
        !self.filter.is_empty() || !self.sort.is_empty() || self.limit != usize::MAX || self.offset != 0
    }

    /// Returns true if the caller orders the rows by a key, or has a condition on it.
    pub(super) fn orders_or_filters_by(&self, key: &str) -> bool {
        self.sort.iter().any(|field| field.key == key) || self.filter.iter().any(|condition| condition.key == key)
    }

    /// Returns true if the caller names a key for fields, the order or a condition.
    pub fn names_key(&self, key: &str) -> bool {
        self.orders_or_filters_by(key) || self.fields().iter().any(|field| field == key)
    }

    /// Returns true if values are written in a form for readers.
    pub fn is_readable(&self) -> bool {
        self.table
    }

    /// Returns true if the zone of the node matters: for times in tables, and for dates in conditions.
    pub fn needs_zone(&self) -> bool {
        self.table || self.filter.iter().any(FilterCondition::is_about_time)
    }

    /// Returns the keys that the caller asks for.
    pub fn fields(&self) -> &[String] {
        self.fields.as_deref().unwrap_or_default()
    }

    /// Returns the same choice as JSON, for programs.
    #[must_use]
    pub fn as_json(&self) -> Self {
        Self { table: false, has_default_form: false, ..self.clone() }
    }

    /// Sets what is known of the answer of one path.
    #[must_use]
    pub fn for_answer(&self, facts: AnswerFacts) -> Self {
        let AnswerFacts { is_series, is_option_list, topic, id_key, utc_offset, unset } = facts;
        Self { is_series, is_option_list, topic, id_key, utc_offset, unset, ..self.clone() }
    }

    /// Returns the options for one of several answers.
    #[must_use]
    pub fn for_one_of_many(&self) -> Self {
        Self { is_one_of_many: true, ..self.clone() }
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
