//! Pools of guests and storages.

use std::collections::BTreeSet;

/// A pool. The guests name their pool themselves.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) comment: Option<String>,
    pub(crate) storages: BTreeSet<String>,
}
