//! The part of a raw answer that a caller asks for, in a size that a model can take. The caller chooses fields, rows,
//! their order, pages, and JSON or a table. A note names everything that was left out, with the arguments that show it.
//!
//! Only the text that is shown is built. Rows are copied as JSON text. A single path into an object (`fields=a.b`) or a
//! list (`fields=12.log`) shows the value there like an answer, with the path as its key. So every value can be
//! reached, page by page.

mod answer;
mod backups;
mod cluster_log;
mod error;
mod events;
mod filter;
mod json_path;
mod key_format;
mod key_order;
mod keys;
mod log_lines;
mod merge;
mod names;
mod object_writer;
mod options;
mod page_writer;
mod pending;
mod privileges;
mod rows;
mod series;
mod series_table;
mod services;
mod table_writer;
mod tasks;
#[cfg(test)]
mod tests;
mod truncate;
mod unknown_key;
mod wanted_value;

pub use error::{ArgumentError, OutputError};
pub(crate) use key_format::KeyFormat;
pub use key_format::has_times;
pub use log_lines::{LabeledLines, find_late_start, merge_lines};
pub use merge::{LabeledRows, MergeablePart, merge_rows, sort_keys};
pub use options::{AnswerFacts, AnswerTopic, OutputArguments, OutputFormat, OutputOptions};
pub use page_writer::RenderedResult;
pub use series_table::{LabeledSeries, MIN_TABLE_SERIES, render_series_table};
pub(super) use table_writer::{append_cell, format_cell};
pub use unknown_key::UnknownKey;
pub use wanted_value::{ReadingTime, TimeSpan, is_clock};
