//! Secrets taken out of what is shown: by the names that Proxmox gives them, and by how they look. What is kept for an
//! audit, shown by a dry run, or handed on of an answer goes through here.
//!
//! It is the last net, not the lock: what a token of the cluster may not read never comes here, and a password that
//! stands alone in a sentence looks like any other word.

pub mod escape_invisible;
mod redact_json;
mod redact_log;
mod secret_names;
mod secret_patterns;

pub use redact_json::redact_json;
pub use redact_log::LogRedactor;
pub use secret_names::{is_secret_field, is_secret_parameter};
pub use secret_patterns::redact_text;

use std::borrow::Cow;

/// What stands in place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// What may be shown of a parameter's value.
pub fn redact_parameter<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    // What a storage is for has the same name as what is written into a file.
    let kinds = |list: &str| list.split(',').all(|kind| STORAGE_CONTENT_KINDS.contains(&kind));
    if is_hidden(value) || !is_secret_parameter(name) || (name == "content" && kinds(value)) {
        return redact_text(value);
    }
    Cow::Borrowed(HIDDEN)
}

/// The kinds of a storage's content.
const STORAGE_CONTENT_KINDS: [&str; 8] = ["images", "rootdir", "vztmpl", "backup", "iso", "snippets", "import", "none"];

/// Whether a value shows no secret: it is empty, or hidden already, here or by Proxmox (`**********`).
fn is_hidden(value: &str) -> bool {
    value == HIDDEN || value.bytes().all(|b| b == b'*')
}

#[cfg(test)]
mod tests;
