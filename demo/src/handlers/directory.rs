//! Directories of the API.

use serde_json::{Value, json};

/// Returns a row for each name below a path, under this key.
pub(crate) fn directory_rows(key: &str, names: &[&str]) -> Value {
    names.iter().map(|name| json!({key: name})).collect()
}
