//! Redaction of parameters by name and value.

use super::placeholder::{HIDDEN, is_hidden};
use super::secret_names::is_secret_parameter;
use super::secret_patterns::redact_text;
use crate::base::encoded_text::decode_text;
use std::borrow::Cow;

/// The kinds of content of a storage.
const STORAGE_CONTENT_KINDS: [&str; 8] = ["images", "rootdir", "vztmpl", "backup", "iso", "snippets", "import", "none"];

/// Returns a parameter's value with its secrets replaced by [`HIDDEN`].
pub fn redact_parameter<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    // `content` is the content of a file in a guest, but also the kinds of content of a storage.
    let is_storage_content = || name == "content" && value.split(',').all(|kind| STORAGE_CONTENT_KINDS.contains(&kind));
    if is_hidden(value) || !is_secret_parameter(name) || is_storage_content() {
        return if has_encoded_secret(value) { Cow::Borrowed(HIDDEN) } else { redact_text(value) };
    }
    Cow::Borrowed(HIDDEN)
}

/// Returns whether a text is the base64 of one with secrets, as the body of a webhook is.
pub(super) fn has_encoded_secret(value: &str) -> bool {
    decode_text(value).is_some_and(|text| matches!(redact_text(&text), Cow::Owned(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    #[test]
    fn secrets_are_found_in_base64() {
        for text in [r#"{"token": "hunter2"}"#, "Authorization: Bearer abc", "curl -u a:hunter2 x"] {
            let encoded = BASE64_STANDARD.encode(text);
            assert_eq!(redact_parameter("body", &encoded), HIDDEN, "{text}");
        }
        let harmless = BASE64_STANDARD.encode(r#"{"text": "{{ message }}"}"#);
        for value in [harmless.as_str(), "local", "c2NzaTA", "0123456789abcdef"] {
            assert_eq!(redact_parameter("body", value), value);
        }
    }
}
