//! Redaction of JSON text in one pass and without a tree, for responses of megabytes.

use super::placeholder::{HIDDEN, is_hidden};
use super::redact_log::LogRedactor;
use super::secret_names::{FieldClass, classify_field};
use super::secret_patterns::{MIN_SECRET_TEXT_LEN, find_secret, is_uuid, looks_random, redact_text};
use crate::base::json_scan::{decode_unicode_escape, skip_string, skip_whitespace, unquote};
use std::borrow::Cow;

/// Returns an API response with its secrets replaced by [`HIDDEN`]. A member with a secret name loses all strings and
/// numbers, also in its lists and objects. Other strings lose what looks like a secret. `null`, booleans (0 and 1 too)
/// and values that Proxmox masked stay. The result is JSON of the same form. A text that is not JSON is redacted as
/// plain text.
pub fn redact_json(json: String) -> String {
    let mut pass = RedactionPass {
        json: &json,
        copied_until: 0,
        out: String::new(),
        context_markers: [None; 3],
        log_redactor: LogRedactor::default(),
    };
    if pass.run().is_none() {
        return match redact_text(&json) {
            Cow::Borrowed(_) => json,
            Cow::Owned(text) => text,
        };
    }
    if pass.copied_until == 0 {
        return json;
    }
    let RedactionPass { copied_until, mut out, .. } = pass;
    out.push_str(&json[copied_until..]);
    out
}

/// A text that tells that a common name is the name of a secret in this response. Members come in any order, so the
/// whole response is searched, and only if it matters.
#[derive(Clone, Copy)]
enum ContextMarker {
    NewToken,
    DnsServer,
    AcmePlugin,
}

impl ContextMarker {
    fn text(self) -> &'static str {
        match self {
            Self::NewToken => "\"full-tokenid\"",
            Self::DnsServer => "\"powerdns\"",
            Self::AcmePlugin => "\"plugin\":",
        }
    }
}

/// Bytes before and after a value that are searched for its name.
const NAME_SEARCH_BYTES: usize = 400;

struct RedactionPass<'a> {
    json: &'a str,
    /// The end of the part that is in `out`.
    copied_until: usize,
    out: String,
    /// Each [`ContextMarker`] that was searched so far: true if it is in the response.
    context_markers: [Option<bool>; 3],
    log_redactor: LogRedactor,
}

impl RedactionPass<'_> {
    /// Returns `None` if a string is not JSON. Other errors are left to the parser of the response.
    fn run(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        // The number of open brackets since a list or object with a secret name began.
        let mut secret_depth = 0_usize;
        let (mut at, mut class) = (0, FieldClass::Plain);
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'"' => {
                    let mut escaped = false;
                    at = skip_string(bytes, at, &mut escaped)?;
                    let after = skip_whitespace(bytes, at);
                    let inherited = (secret_depth > 0).then_some(FieldClass::Secret);
                    if bytes.get(after) == Some(&b':') {
                        class = inherited.unwrap_or_else(|| self.classify_member(start, at, escaped));
                        at = after + 1;
                    } else {
                        self.redact_string(start, at, escaped, inherited.unwrap_or(class));
                        class = FieldClass::Plain;
                    }
                }
                b'{' | b'[' => {
                    secret_depth += usize::from(secret_depth > 0 || class == FieldClass::Secret);
                    class = FieldClass::Plain;
                }
                b'}' | b']' => secret_depth = secret_depth.saturating_sub(1),
                b'-' | b'0'..=b'9' => {
                    while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = bytes.get(at) {
                        at += 1;
                    }
                    let is_boolean = at - start == 1 && matches!(byte, b'0' | b'1');
                    if (secret_depth > 0 || class == FieldClass::Secret) && !is_boolean {
                        self.replace(start, at, &format!("\"{HIDDEN}\""));
                    }
                    class = FieldClass::Plain;
                }
                b't' | b'f' | b'n' => class = FieldClass::Plain,
                _ => {}
            }
        }
        Some(())
    }

    /// Classifies the name of a member from its opening quote to after its closing quote.
    fn classify_member(&self, start: usize, end: usize, escaped: bool) -> FieldClass {
        match escaped {
            false => classify_field(&self.json[start + 1..end - 1]),
            true => classify_field(&unquote(&self.json[start..end])),
        }
    }

    fn redact_string(&mut self, start: usize, end: usize, escaped: bool, class: FieldClass) {
        let inner = &self.json[start + 1..end - 1];
        let is_secret = match class {
            FieldClass::Plain => false,
            FieldClass::Secret => true,
            // The names of options are short.
            FieldClass::Key => looks_random(inner, 16) || self.has_context_marker(ContextMarker::DnsServer),
            FieldClass::Value => {
                self.is_named_secret(start, end)
                    || is_uuid(inner.as_bytes()) && self.has_context_marker(ContextMarker::NewToken)
            }
            FieldClass::LogLine => self.log_redactor.hides_line(inner),
            FieldClass::Data => !inner.starts_with("UPID:") && self.has_context_marker(ContextMarker::AcmePlugin),
        };
        if is_secret {
            if !is_hidden(inner) {
                self.replace(start + 1, end - 1, HIDDEN);
            }
        } else if inner.len() < MIN_SECRET_TEXT_LEN {
        } else if escaped {
            if let Cow::Owned(redacted) = redact_text(&decode_string_lossy(inner)) {
                self.replace(start, end, &serde_json::Value::String(redacted).to_string());
            }
        } else {
            let mut from = 0;
            while let Some(secret) = find_secret(inner, from) {
                self.replace(start + 1 + secret.start, start + 1 + secret.end, HIDDEN);
                from = secret.end;
            }
        }
    }

    /// Returns true for the value of an option with a secret name: `{"key": "env", "value": "…"}`, in any order.
    fn is_named_secret(&self, start: usize, end: usize) -> bool {
        let first = self.json.ceil_char_boundary(start.saturating_sub(NAME_SEARCH_BYTES));
        let last = self.json.floor_char_boundary(end + NAME_SEARCH_BYTES);
        let before = self.json[first..start].rsplit('{').next().expect("a split has a first part");
        let after = self.json[end..last].split('}').next().expect("a split has a first part");
        let names_secret = |text: &str, member: &str| {
            let value = text.split_once(member).and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
            let name = value.and_then(|value| value.trim_start().strip_prefix('"')?.split('"').next());
            let last_part = name.and_then(|name| name.rsplit(['/', '.']).next());
            last_part.is_some_and(|name| classify_field(name) == FieldClass::Secret)
        };
        [before, after].iter().any(|text| ["\"key\"", "\"name\""].iter().any(|member| names_secret(text, member)))
    }

    fn has_context_marker(&mut self, marker: ContextMarker) -> bool {
        *self.context_markers[marker as usize].get_or_insert_with(|| self.json.contains(marker.text()))
    }

    fn replace(&mut self, start: usize, end: usize, with: &str) {
        self.out.push_str(&self.json[self.copied_until..start]);
        self.out.push_str(with);
        self.copied_until = end;
    }
}

/// Decodes the inside of a JSON string. Half a surrogate pair becomes the replacement character, because a secret next
/// to it must still be found.
fn decode_string_lossy(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut copied = 0;
    while let Some(at) = inner[copied..].find('\\').map(|at| copied + at) {
        out.push_str(&inner[copied..at]);
        if let Some(escape) = decode_unicode_escape(inner.as_bytes(), at) {
            out.push(escape.character.unwrap_or(char::REPLACEMENT_CHARACTER));
            copied = at + escape.len;
            continue;
        }
        let letter = inner[at + 1..].chars().next();
        out.extend(letter.map(|letter| match letter {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        }));
        copied = at + 1 + letter.map_or(0, char::len_utf8);
    }
    out.push_str(&inner[copied..]);
    out
}
