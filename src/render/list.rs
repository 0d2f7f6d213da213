//! A rendered table, as text and as JSON.

use super::table::{CellFormat, Column};

/// A rendered table, with the facts that it does not show.
#[derive(Clone, Debug)]
pub struct RenderedList {
    /// The table. Empty if it has no rows.
    pub text: String,
    /// Sentences beside the table.
    pub notes: Vec<String>,
    /// The JSON text of an object without the notes, in [`ListForm::TextAndJson`].
    pub structured: Option<String>,
}

/// The forms in which a list is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    Text,
    TextAndJson,
}

impl ListForm {
    /// Returns the JSON that `write` makes, if it is part of the form.
    pub(super) fn json(self, write: impl FnOnce() -> String) -> Option<String> {
        (self == Self::TextAndJson).then(write)
    }
}

pub(super) const fn column(key: &'static str, format: CellFormat) -> Column {
    Column { key, format }
}
