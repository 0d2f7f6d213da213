//! Removal of the API token's secret from a node's answers.

use crate::base::json_scan::skip_string;
use crate::base::secret::Secret;
use crate::sanitize::decode_json_escapes;
use serde_json::Value;
use std::borrow::Cow;

/// A shorter secret may be part of any answer. Every secret that Proxmox makes is a UUID.
const MIN_SECRET_LEN: usize = 8;

/// The levels of escapes that are looked through: JSON in a string of JSON.
const MAX_ESCAPE_LEVELS: usize = 3;

const REPLACEMENT: &str = "(secret)";

/// Filter that removes one token's secret from untrusted text.
pub(in crate::pve) struct SecretFilter {
    secret: Secret,
}

impl SecretFilter {
    pub(in crate::pve) fn new(secret: Secret) -> Self {
        Self { secret }
    }

    /// Replaces the secret in a message, in case the node, or an attacker in its place, echoes it.
    pub(in crate::pve) fn redact_message(&self, text: String) -> String {
        let secret = self.secret.expose();
        if secret.is_empty() {
            return text;
        }
        let text = if text.contains(secret) { text.replace(secret, REPLACEMENT) } else { text };
        // The escapes of JSON may hide the secret.
        if text.contains('\\') { self.redact_escaped(text) } else { text }
    }

    /// Replaces the secret in the body of an answer, unless the secret is too short.
    pub(in crate::pve) fn redact_body(&self, body: String) -> String {
        if self.secret.expose().len() < MIN_SECRET_LEN { body } else { self.redact_message(body) }
    }

    /// Returns whether a text contains the secret. Returns false if [`SecretFilter::redact_body`] would not replace it.
    pub(in crate::pve) fn contains_secret(&self, text: &str) -> bool {
        self.secret.expose().len() >= MIN_SECRET_LEN && self.is_in_decoded(text)
    }

    /// Replaces the secret in every JSON string whose escapes hide it. In a text that is not JSON, all of it is decoded.
    fn redact_escaped(&self, text: String) -> String {
        let bytes = text.as_bytes();
        let (mut out, mut copied) = (String::new(), 0);
        let mut at = 0;
        while let Some(start) = text[at..].find('"').map(|found| at + found) {
            let mut has_escape = false;
            let Some(end) = skip_string(bytes, start + 1, &mut has_escape) else {
                return if self.is_in_decoded(&text) { REPLACEMENT.to_owned() } else { text };
            };
            if has_escape && self.is_in_decoded(&text[start + 1..end - 1]) {
                let decoded = decode_json_escapes(&text[start + 1..end - 1]);
                let shown = decoded.replace(self.secret.expose(), REPLACEMENT);
                let shown = if self.is_in_decoded(&shown) { REPLACEMENT.to_owned() } else { shown };
                out.push_str(&text[copied..start]);
                out.push_str(&Value::String(shown).to_string());
                copied = end;
            }
            at = end;
        }
        if copied == 0 {
            return if self.is_in_decoded(&text[at..]) { REPLACEMENT.to_owned() } else { text };
        }
        out.push_str(&text[copied..]);
        out
    }

    /// Returns whether a text has the secret, as it is or behind escapes. JSON in a string of JSON is escaped twice.
    fn is_in_decoded(&self, text: &str) -> bool {
        let mut decoded = Cow::Borrowed(text);
        for _ in 0..MAX_ESCAPE_LEVELS {
            if decoded.contains(self.secret.expose()) {
                return true;
            }
            if !decoded.contains('\\') {
                return false;
            }
            decoded = Cow::Owned(decode_json_escapes(&decoded));
        }
        decoded.contains(self.secret.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_hide_no_secret() {
        let secret = "12345678-1234-1234-1234-123456789abc";
        let filter = SecretFilter::new(Secret::new(secret.into()));
        let once = secret.replace('-', "\\u002d");
        let twice = secret.replace('-', "\\\\u002d");
        for hidden in [secret, &once, &twice, &secret.replace('a', "\\u0061")] {
            let body = format!(r#"{{"data":{{"a":"x{hidden}y","b":"a\nb"}}}}"#);
            let shown = filter.redact_body(body.clone());
            assert!(!filter.contains_secret(&shown) && shown.contains("(secret)"), "{body}: {shown}");
            assert!(shown.contains(r#""b":"a\nb"#), "{shown}");
            assert!(filter.contains_secret(&body), "{body}");
            let text = filter.redact_message(format!("401 no such token {hidden}"));
            assert!(!filter.contains_secret(&text), "{text}");
        }
        let fine = r#"{"data":{"a":"line\nline","b":"\u00e9"}}"#;
        assert_eq!(filter.redact_body(fine.into()), fine);
    }
}
