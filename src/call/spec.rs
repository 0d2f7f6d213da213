//! The call that a caller asks for.

use crate::pve::Method;
use serde_json::{Map, Value};

/// The call that a caller asks for, as it was typed.
#[derive(Clone, Copy)]
pub struct CallSpec<'a> {
    /// `None` where the method is written in front of the path, or omitted: then it is GET.
    pub method: Option<Method>,
    /// A path, or a shorthand that starts at a guest or a task. It may have a query.
    pub path: &'a str,
    pub data: Option<&'a Map<String, Value>>,
    /// Fetches a paged list whole, because it is to be filtered or sorted.
    pub fetch_all: bool,
    /// The call is only described, and never sent.
    pub is_dry_run: bool,
}
