//! Secrets taken out of JSON text, in one pass and without a tree: the answer of a cluster, of megabytes.

use super::secret_names::{FieldClass, classify_field};
use super::{HIDDEN, LogRedactor, is_hidden, secret_patterns};
use crate::base::json_scan;
use std::borrow::Cow;

/// An answer of Proxmox, its secrets replaced by `(hidden)`: strings and numbers of members with a secret name, all that
/// stand in them where those are lists or objects, and in other strings what looks like a secret. `null`, booleans (0 and
/// 1 too) and what Proxmox masked stay. The outcome is JSON of the same form; a text that isn't JSON is taken for plain
/// text.
pub fn redact_json(json: String) -> String {
    let mut pass = RedactionPass {
        json: &json,
        copied_until: 0,
        out: String::new(),
        context_markers: [None; 3],
        log_redactor: LogRedactor::default(),
    };
    if pass.run().is_none() {
        return match super::redact_text(&json) {
            Cow::Borrowed(_) => json,
            Cow::Owned(text) => text,
        };
    }
    if pass.copied_until == 0 {
        return json;
    }
    let RedactionPass { copied_until: kept, mut out, .. } = pass;
    out.push_str(json.get(kept..).unwrap_or_default());
    out
}

/// What tells that a common name is a secret's in this answer: a new token, a DNS server, an ACME plugin. Members come in
/// any order, so all of the text is asked, and only where it matters.
const CONTEXT_MARKERS: [&str; 3] = ["\"full-tokenid\"", "\"powerdns\"", "\"plugin\":"];

/// Bytes around a value in which its name is looked for.
const NAME_SEARCH_BYTES: usize = 400;

struct RedactionPass<'a> {
    json: &'a str,
    /// Up to where it is in `out`.
    copied_until: usize,
    out: String,
    /// Which of [`CONTEXT_MARKERS`] are there, as far as was asked.
    context_markers: [Option<bool>; 3],
    /// Of a log.
    log_redactor: LogRedactor,
}

impl RedactionPass<'_> {
    /// `None` where it isn't JSON. That is found of strings only: whoever hands on the rest checks it.
    fn run(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        // How many brackets are open of a secret list or object.
        let (mut at, mut inside, mut next) = (0, 0_usize, FieldClass::Plain);
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'"' => {
                    let mut escaped = false;
                    at = json_scan::skip_string(bytes, at, &mut escaped)?;
                    let after = json_scan::skip_whitespace(bytes, at);
                    if bytes.get(after) == Some(&b':') {
                        next = if inside > 0 { FieldClass::Secret } else { self.classify_member(start, at, escaped) };
                        at = after + 1;
                    } else {
                        self.redact_string(start, at, escaped, if inside > 0 { FieldClass::Secret } else { next });
                        next = FieldClass::Plain;
                    }
                }
                b'{' | b'[' => {
                    inside += usize::from(inside > 0 || next == FieldClass::Secret);
                    next = FieldClass::Plain;
                }
                b'}' | b']' => inside = inside.saturating_sub(1),
                b'-' | b'0'..=b'9' => {
                    while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = bytes.get(at) {
                        at += 1;
                    }
                    let switch = at - start == 1 && matches!(byte, b'0' | b'1');
                    if (inside > 0 || next == FieldClass::Secret) && !switch {
                        self.replace(start, at, &format!("\"{HIDDEN}\""));
                    }
                    next = FieldClass::Plain;
                }
                b't' | b'f' | b'n' => next = FieldClass::Plain,
                _ => {}
            }
        }
        Some(())
    }

    /// What the name of a member says, its quotes at `start` and before `end`.
    fn classify_member(&self, start: usize, end: usize, escaped: bool) -> FieldClass {
        let json = self.json;
        match escaped {
            false => classify_field(json.get(start + 1..end - 1).unwrap_or_default()),
            true => classify_field(&json_scan::unquote(json.get(start..end).unwrap_or_default())),
        }
    }

    fn redact_string(&mut self, start: usize, end: usize, escaped: bool, name: FieldClass) {
        let json = self.json;
        let inner = json.get(start + 1..end - 1).unwrap_or_default();
        let secret = match name {
            FieldClass::Plain => false,
            FieldClass::Secret => true,
            // Options have short names.
            FieldClass::Key => secret_patterns::looks_random(inner, 16) || self.has_context_marker(1),
            FieldClass::Value => {
                self.is_named_secret(start, end)
                    || secret_patterns::is_uuid(inner.as_bytes()) && self.has_context_marker(0)
            }
            FieldClass::LogLine => self.log_redactor.hides_line(inner),
            FieldClass::Data => !inner.starts_with("UPID:") && self.has_context_marker(2),
        };
        if secret {
            if !is_hidden(inner) {
                self.replace(start + 1, end - 1, HIDDEN);
            }
        } else if inner.len() < secret_patterns::MIN_SECRET_TEXT_LEN {
        } else if escaped {
            if let Cow::Owned(shown) = secret_patterns::redact_text(&decode_string_lossy(inner)) {
                self.replace(start, end, &serde_json::Value::String(shown).to_string());
            }
        } else {
            let mut from = 0;
            while let Some((first, last)) = secret_patterns::find_secret(inner, from) {
                self.replace(start + 1 + first, start + 1 + last, HIDDEN);
                from = last;
            }
        }
    }

    /// Whether the member is the value of an option with a secret's name: `{"key": "env", "value": "…"}`, in any order.
    fn is_named_secret(&self, start: usize, end: usize) -> bool {
        let mut first = start.saturating_sub(NAME_SEARCH_BYTES);
        while !self.json.is_char_boundary(first) {
            first += 1;
        }
        let before = self.json.get(first..start).unwrap_or_default();
        let before = before.rsplit('{').next().unwrap_or_default();
        let mut last = (end + NAME_SEARCH_BYTES).min(self.json.len());
        while !self.json.is_char_boundary(last) {
            last -= 1;
        }
        let after = self.json.get(end..last).unwrap_or_default().split('}').next().unwrap_or_default();
        [before, after].iter().any(|text| {
            ["\"key\"", "\"name\""].iter().any(|member| {
                let said = text.split_once(member).and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
                let said = said.and_then(|rest| rest.trim_start().strip_prefix('"')).unwrap_or_default();
                let name = said.split('"').next().unwrap_or_default();
                classify_field(name.rsplit(['/', '.']).next().unwrap_or_default()) == FieldClass::Secret
            })
        })
    }

    fn has_context_marker(&mut self, mark: usize) -> bool {
        let (Some(known), Some(sign)) = (self.context_markers.get_mut(mark), CONTEXT_MARKERS.get(mark)) else {
            return false;
        };
        *known.get_or_insert_with(|| self.json.contains(sign))
    }

    fn replace(&mut self, start: usize, end: usize, with: &str) {
        self.out.push_str(self.json.get(self.copied_until..start).unwrap_or_default());
        self.out.push_str(with);
        self.copied_until = end;
    }
}

/// What the inside of a JSON string says; half a surrogate pair as the replacement character, or a secret beside one
/// would stay.
fn decode_string_lossy(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        let letter = chars.next().unwrap_or_default();
        rest = chars.as_str();
        out.push(match letter {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = parse_utf16_unit(rest);
                rest = rest.get(4..).unwrap_or_default();
                let second =
                    rest.strip_prefix("\\u").map(parse_utf16_unit).filter(|_| (0xd800..0xdc00).contains(&first));
                match second {
                    Some(second @ 0xdc00..=0xdfff) => {
                        rest = rest.get(6..).unwrap_or_default();
                        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).unwrap_or_default()
                    }
                    _ => char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            other => other,
        });
    }
    out.push_str(rest);
    out
}

/// The unit of UTF-16 that four digits say.
fn parse_utf16_unit(digits: &str) -> u32 {
    digits.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0xfffd)
}
