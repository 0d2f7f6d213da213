//! A rendered table, as text and as JSON.

use super::table::{CellFormat, Column};

/// A rendered table, with what surrounds it.
#[derive(Clone, Debug)]
pub struct RenderedList {
    pub text: String,
    /// The JSON text of an object.
    pub structured: String,
}

pub(super) const fn column(key: &'static str, format: CellFormat) -> Column {
    Column { key, format }
}
