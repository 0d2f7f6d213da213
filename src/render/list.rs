//! A rendered table, as text and as JSON.

/// The maximum number of rows of one cluster. No cluster has as many. The limit bounds the memory of a hostile response.
pub(crate) const MAX_ROWS: usize = 100_000;

/// The most rows that a list of tasks, or the log of a cluster, has with the UPID of each. A longer one has those of tasks
/// that did not end well.
pub(crate) const MAX_ROWS_WITH_UPIDS: usize = 10;

/// A rendered table, with the facts that it does not show.
#[derive(Clone, Debug)]
pub struct RenderedList {
    /// The table. Empty if it has no rows.
    pub text: String,
    /// Sentences beside the table.
    pub notes: Vec<String>,
    /// The JSON text of an object without the notes, if the form has it.
    pub structured: Option<String>,
}

/// The forms in which a list is rendered, and their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListForm {
    /// The list is rendered as JSON too.
    pub has_json: bool,
    /// The maximum of the rows in bytes, of the text and of the JSON each.
    pub max_bytes: usize,
}

impl ListForm {
    /// Text and JSON of any size.
    pub const UNLIMITED: Self = Self { has_json: true, max_bytes: usize::MAX };

    /// Returns the JSON that `write` makes, if it is part of the form.
    pub(super) fn json(self, write: impl FnOnce() -> String) -> Option<String> {
        self.has_json.then(write)
    }

    /// Returns whether a list that was rendered without a limit is within this one.
    pub fn admits(self, list: &RenderedList) -> bool {
        let json = list.structured.as_ref().filter(|_| self.has_json);
        list.text.len().max(json.map_or(0, String::len)) <= self.max_bytes
    }
}
