//! A log line by line, where a private key reaches over several of them and only its first and last look like one.

use super::{HIDDEN, secret_patterns};
use std::borrow::Cow;

/// Remembers whether the lines so far end within a private key.
#[derive(Default)]
pub struct LogRedactor {
    within_key: bool,
}

impl LogRedactor {
    /// The next line, its secrets replaced by `(hidden)`.
    pub fn redact_line<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        if self.hides_line(line) { Cow::Borrowed(HIDDEN) } else { super::redact_text(line) }
    }

    /// Whether all of the next line is of a private key that began on one before. What can't be of one ends it, so that
    /// whoever writes a beginning alone hides nothing else.
    pub(super) fn hides_line(&mut self, line: &str) -> bool {
        let ends = line.contains(secret_patterns::KEY_END_MARKER);
        let hides = self.within_key && (ends || secret_patterns::is_key_line(line));
        self.within_key = if hides { !ends } else { secret_patterns::opens_key(line) };
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

    #[test]
    fn a_key_in_the_rows_of_a_log_is_hidden() {
        let log = r#"[{"n":1,"t":"-----BEGIN PRIVATE KEY-----"},{"n":2,"t":"MIIE\/bq"},{"t":"-----END PRIVATE KEY-----"},{"t":"web01","name":"MIIE"}]"#;
        let shown = r#"[{"n":1,"t":"(hidden)"},{"n":2,"t":"(hidden)"},{"t":"(hidden)"},{"t":"web01","name":"MIIE"}]"#;
        assert_eq!(crate::sanitize::redact_json(log.into()), shown);
    }
}
