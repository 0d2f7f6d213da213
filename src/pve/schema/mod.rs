//! The API of a cluster: every operation (a method of a path template), its parameters, privileges and risk.
//!
//! A [`Schema`] is read from the description that a node serves ([`read_description`]), or from the facts packed into
//! the program ([`embedded_schema`]). `reader` parses either of them, `packed` keeps the result in less than 4 MiB and
//! `model` gives access to it. `path_tree` finds the operations of a path and `search` those for plain words. `cache`
//! chooses and keeps a cluster's schema. [`parameter_check`] checks parameters against an operation.

pub mod facts;
pub mod parameter_check;

mod cache;
mod error;
mod limited_value;
mod load;
mod model;
mod packed;
mod path_tree;
mod reader;
mod search;
mod searchable;
mod store;

pub use cache::SchemaTimings;
pub(super) use cache::{SchemaCache, SchemaSource};
pub use error::{SchemaError, SchemaLimit};
pub use load::{embedded_schema, read_description};
pub use model::{Operation, ParameterSpec, PathMatch, SchemaModel, fold_families};
pub use path_tree::PathMismatch;
pub use searchable::Schema;
