//! Redaction of parameters by name and value.

use super::placeholder::{HIDDEN, is_hidden};
use super::secret_names::is_secret_parameter;
use super::secret_patterns::redact_text;
use std::borrow::Cow;

/// The kinds of content of a storage.
const STORAGE_CONTENT_KINDS: [&str; 8] = ["images", "rootdir", "vztmpl", "backup", "iso", "snippets", "import", "none"];

/// Returns a parameter's value with its secrets replaced by [`HIDDEN`].
pub fn redact_parameter<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    // `content` is the content of a file in a guest, but also the kinds of content of a storage.
    let is_storage_content = || name == "content" && value.split(',').all(|kind| STORAGE_CONTENT_KINDS.contains(&kind));
    if is_hidden(value) || !is_secret_parameter(name) || is_storage_content() {
        return redact_text(value);
    }
    Cow::Borrowed(HIDDEN)
}
