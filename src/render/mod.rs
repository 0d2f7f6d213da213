//! Text for a model: tables, objects, units and notes.

pub mod output;
pub mod table;
pub(crate) mod units;
