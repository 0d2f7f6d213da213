//! Text for a model: tables, objects, units and notes.

pub mod backup_report;
pub mod briefing;
pub(crate) mod cell;
pub mod changed_object;
pub mod cluster_errors;
pub mod clusters;
pub mod command;
mod example;
pub mod guest_report;
pub mod guests;
pub mod health;
pub(crate) mod hints;
pub(crate) mod labels;
pub mod list;
pub mod object_state;
pub mod operation;
pub mod outcome;
pub mod output;
pub mod overview;
pub mod plan;
pub mod question;
pub mod quoted;
pub mod resources;
pub mod table;
pub mod task;
pub mod undo;
pub(crate) mod units;
