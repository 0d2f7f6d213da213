//! The way of a call to a cluster's API: plan, authorize, confirm, execute.

pub(crate) mod affected;
pub(crate) mod confirm;
pub(crate) mod hints;
pub(crate) mod operation;
pub(crate) mod plan;
pub(crate) mod resolve_path;
pub(crate) mod state;
