//! Redaction of JSON text in one pass and without a tree, for responses of megabytes.

use super::placeholder::{HIDDEN, is_hidden};
use super::redact_log::LogRedactor;
use super::redact_parameter::has_encoded_secret;
use super::secret_names::{FieldClass, WordClass, classify_field, classify_word};
use super::secret_patterns::{MIN_SECRET_TEXT_LEN, find_secret, is_uuid, looks_random, redact_text};
use crate::base::json_scan::{decode_unicode_escape, skip_string, skip_whitespace, unquote};
use std::borrow::Cow;

/// Returns an API response with its secrets replaced by [`HIDDEN`]. A member with a secret name loses all strings and
/// numbers, also in its lists and objects. Other strings lose what looks like a secret. `null`, booleans (0 and 1 too)
/// and values that Proxmox masked stay. The result is JSON of the same form. A text that is not JSON is redacted as
/// plain text.
pub fn redact_json(json: &str) -> Cow<'_, str> {
    let mut pass = RedactionPass {
        json,
        copied_until: 0,
        out: String::new(),
        context_markers: [None; 3],
        named_secrets: None,
        log_redactor: LogRedactor::default(),
    };
    if pass.run().is_none() {
        return redact_text(json);
    }
    if pass.copied_until == 0 {
        return Cow::Borrowed(json);
    }
    let RedactionPass { copied_until, mut out, .. } = pass;
    out.push_str(&json[copied_until..]);
    Cow::Owned(out)
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

/// The most open objects and lists that are remembered. The parser of a response accepts no more.
const MAX_DEPTH: usize = 128;

/// An open object or list.
struct Frame {
    start: usize,
    is_list: bool,
    /// Strings of the list so far.
    strings: usize,
    /// The last string of the list names a secret, so the next one is its value: `["lxc.environment", "A=1"]`, and
    /// `["--password", "x"]`.
    names_secret: bool,
}

struct RedactionPass<'a> {
    json: &'a str,
    /// The end of the part that is in `out`.
    copied_until: usize,
    out: String,
    /// Each [`ContextMarker`] that was searched so far: true if it is in the response.
    context_markers: [Option<bool>; 3],
    /// The starts of the objects whose `key` or `name` names a secret, in order, if they were searched so far.
    named_secrets: Option<Vec<usize>>,
    log_redactor: LogRedactor,
}

impl RedactionPass<'_> {
    /// Returns `None` if a string is not JSON. Other errors are left to the parser of the response.
    fn run(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        // The number of open brackets since a list or object with a secret name began.
        let mut secret_depth = 0_usize;
        let (mut at, mut class) = (0, FieldClass::Plain);
        let (mut frames, mut depth): (Vec<Frame>, usize) = (Vec::new(), 0);
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
                        let frame = if frames.len() == depth { frames.last_mut() } else { None };
                        let object = frame.as_ref().filter(|frame| !frame.is_list).map(|frame| frame.start);
                        let listed = frame.filter(|frame| frame.is_list).and_then(|frame| {
                            let text = &self.json[start + 1..at - 1];
                            let is_last = bytes.get(after) == Some(&b']');
                            frame.classify_item(text, is_last).then_some(FieldClass::Secret)
                        });
                        self.redact_string(start, at, escaped, inherited.or(listed).unwrap_or(class), object);
                        class = FieldClass::Plain;
                    }
                }
                b'{' | b'[' => {
                    secret_depth += usize::from(secret_depth > 0 || class == FieldClass::Secret);
                    class = FieldClass::Plain;
                    if depth < MAX_DEPTH {
                        frames.push(Frame { start, is_list: byte == b'[', strings: 0, names_secret: false });
                    }
                    depth += 1;
                }
                b'}' | b']' => {
                    secret_depth = secret_depth.saturating_sub(1);
                    depth = depth.saturating_sub(1);
                    frames.truncate(depth);
                }
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

    /// Redacts a string. `object` is the start of the object whose member it is.
    fn redact_string(&mut self, start: usize, end: usize, escaped: bool, class: FieldClass, object: Option<usize>) {
        let inner = &self.json[start + 1..end - 1];
        let is_secret = match class {
            FieldClass::Plain => false,
            FieldClass::Secret => true,
            // The names of options are short.
            FieldClass::Key => {
                // The placeholder of a part is not random.
                looks_random(inner, 16) && !inner.contains(HIDDEN) || self.has_context_marker(ContextMarker::DnsServer)
            }
            FieldClass::Value => {
                object.is_none_or(|object| self.names_secret(object))
                    || is_uuid(inner.as_bytes()) && self.has_context_marker(ContextMarker::NewToken)
            }
            FieldClass::LogLine => self.log_redactor.hides_line(inner),
            FieldClass::Encoded => has_encoded_secret(inner),
            FieldClass::Data => !inner.starts_with("UPID:") && self.has_context_marker(ContextMarker::AcmePlugin),
        };
        if is_secret {
            if !is_hidden(inner) {
                self.replace(start + 1, end - 1, HIDDEN);
            }
        } else if inner.len() < MIN_SECRET_TEXT_LEN {
        } else if escaped {
            if let Cow::Owned(redacted) = redact_text(&decode_json_escapes(inner)) {
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

    /// Returns true for an object that describes an option with a secret name: `{"key": "env", "value": "…"}`, with its
    /// members in any order.
    fn names_secret(&mut self, object: usize) -> bool {
        let named = self.named_secrets.get_or_insert_with(|| find_named_secrets(self.json));
        named.binary_search(&object).is_ok()
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

impl Frame {
    /// Takes the next string of the list. Returns true if it is the value of the secret that the string before names.
    fn classify_item(&mut self, text: &str, is_last: bool) -> bool {
        let option = text.strip_prefix("--");
        let is_pair = self.strings == 1 && is_last;
        let is_value = self.names_secret && option.is_none() && (is_pair || self.strings > 1);
        self.names_secret = match option {
            Some(option) => classify_word(option) != WordClass::NotSecret,
            None => self.strings == 0 && is_secret_option(text),
        };
        // An option may be the first string as well.
        self.strings += if option.is_some() { 2 } else { 1 };
        is_value
    }
}

/// Returns whether an option of a guest or of a service, such as `lxc.environment`, has a secret value.
fn is_secret_option(name: &str) -> bool {
    let last_part = name.rsplit(['/', '.']).next().expect("a split has a first part");
    name.starts_with("lxc.environment") || classify_field(last_part) == FieldClass::Secret
}

/// Returns the starts of the objects whose `key` or `name` names a secret, in order, in one pass.
fn find_named_secrets(json: &str) -> Vec<usize> {
    let bytes = json.as_bytes();
    let mut found = Vec::new();
    // The start of each open object or list, and whether the object names a secret.
    let mut open: Vec<(usize, bool)> = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                let mut escaped = false;
                let Some(end) = skip_string(bytes, at, &mut escaped) else { break };
                at = end;
                let after = skip_whitespace(bytes, at);
                let is_name = || matches!(unquote(&json[start..end]).as_ref(), "key" | "name");
                if bytes.get(after) != Some(&b':') || !is_name() {
                    continue;
                }
                let value = skip_whitespace(bytes, after + 1);
                if bytes.get(value) == Some(&b'"')
                    && let Some(end) = skip_string(bytes, value + 1, &mut escaped)
                {
                    at = end;
                    let names_secret = is_secret_option(&unquote(&json[value..end]));
                    if let Some(last) = open.last_mut().filter(|_| depth <= MAX_DEPTH) {
                        last.1 |= names_secret;
                    }
                }
            }
            b'{' | b'[' => {
                depth += 1;
                if depth <= MAX_DEPTH {
                    open.push((start, false));
                }
            }
            b'}' | b']' => {
                if depth <= MAX_DEPTH
                    && let Some((start, true)) = open.pop()
                {
                    found.push(start);
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    found.extend(open.iter().filter(|(_, names_secret)| *names_secret).map(|(start, _)| *start));
    found.sort_unstable();
    found
}

/// Decodes the inside of a JSON string. Half a surrogate pair becomes the replacement character, because a secret next
/// to it must still be found.
pub fn decode_json_escapes(inner: &str) -> String {
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
