//! Text for a model: tables, objects, units and notes.

pub mod cluster_errors;
pub mod clusters;
pub mod command;
pub mod guests;
pub(crate) mod hints;
pub mod list;
pub mod operation;
pub mod outcome;
pub mod output;
pub mod question;
pub mod resources;
pub mod table;
pub mod task;
pub(crate) mod units;
