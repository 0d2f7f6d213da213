//! Redaction of a log line by line. A private key spans several lines, of which only the first and the last look like
//! one.

use super::placeholder::HIDDEN;
use super::secret_patterns::{KEY_END_MARKER, is_key_line, opens_key, redact_text};
use std::borrow::Cow;

/// A redactor that remembers whether the lines so far end within a private key.
#[derive(Default)]
pub struct LogRedactor {
    within_key: bool,
}

impl LogRedactor {
    /// Returns the next line with its secrets replaced by [`HIDDEN`].
    pub fn redact_line<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        if self.hides_line(line) { Cow::Borrowed(HIDDEN) } else { redact_text(line) }
    }

    /// Returns true if the whole next line belongs to a private key that began on an earlier line. A line that cannot
    /// belong to one ends it, so that a false beginning hides nothing else.
    pub(super) fn hides_line(&mut self, line: &str) -> bool {
        let ends = line.contains(KEY_END_MARKER);
        let hides = self.within_key && (ends || is_key_line(line));
        self.within_key = if hides { !ends } else { opens_key(line) };
        hides
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hidden_to_its_end_and_nothing_after_it() {
        let mut lines = LogRedactor::default();
        for (line, shown) in [
            ("fine", "fine"),
            ("key: -----BEGIN RSA PRIVATE KEY-----", "key: (hidden)"),
            ("Proc-Type: 4,ENCRYPTED", "(hidden)"),
            ("", "(hidden)"),
            ("MIIEpAIBAAKCAQEA7bq+/", "(hidden)"),
            ("Aw==", "(hidden)"),
            ("-----END RSA PRIVATE KEY-----", "(hidden)"),
            ("done", "done"),
            ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
            ("MIIEpAIBAAKCAQEA7bq", "MIIEpAIBAAKCAQEA7bq"),
            ("-----BEGIN PRIVATE KEY-----", "(hidden)"),
            ("starting worker 1", "starting worker 1"),
            ("password=hunter2", "password=(hidden)"),
        ] {
            assert_eq!(lines.redact_line(line), shown);
        }
    }
}
