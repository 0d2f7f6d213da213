//! Secrets taken out of JSON text, in one pass and without a tree: the answer of a cluster, of megabytes.

use super::names::{Field, field};
use super::{HIDDEN, Lines, is_hidden, shapes};
use crate::json;
use std::borrow::Cow;

/// An answer of Proxmox, its secrets replaced by `(hidden)`: strings and numbers of members with a secret name, all that
/// stand in them where those are lists or objects, and in other strings what looks like a secret. `null`, booleans (0 and
/// 1 too) and what Proxmox masked stay. The outcome is JSON of the same form; a text that isn't JSON is taken for plain
/// text.
pub fn answer(json: String) -> String {
    let mut pass = Pass { json: &json, kept: 0, out: String::new(), marks: [None; 3], lines: Lines::default() };
    if pass.all().is_none() {
        return match super::text(&json) {
            Cow::Borrowed(_) => json,
            Cow::Owned(text) => text,
        };
    }
    if pass.kept == 0 {
        return json;
    }
    let Pass { kept, mut out, .. } = pass;
    out.push_str(json.get(kept..).unwrap_or_default());
    out
}

/// What tells that a common name is a secret's in this answer: a new token, a DNS server, an ACME plugin. Members come in
/// any order, so all of the text is asked, and only where it matters.
const MARKS: [&str; 3] = ["\"full-tokenid\"", "\"powerdns\"", "\"plugin\":"];

/// Bytes around a value in which its name is looked for.
const NEAR: usize = 400;

struct Pass<'a> {
    json: &'a str,
    /// Up to where it is in `out`.
    kept: usize,
    out: String,
    /// Which of [`MARKS`] are there, as far as was asked.
    marks: [Option<bool>; 3],
    /// Of a log.
    lines: Lines,
}

impl Pass<'_> {
    /// `None` where it isn't JSON. That is found of strings only: whoever hands on the rest checks it.
    fn all(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        // How many brackets are open of a secret list or object.
        let (mut at, mut inside, mut next) = (0, 0_usize, Field::Plain);
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'"' => {
                    let mut escaped = false;
                    at = json::string(bytes, at, &mut escaped)?;
                    let after = json::space(bytes, at);
                    if bytes.get(after) == Some(&b':') {
                        next = if inside > 0 { Field::Secret } else { self.field(start, at, escaped) };
                        at = after + 1;
                    } else {
                        self.string(start, at, escaped, if inside > 0 { Field::Secret } else { next });
                        next = Field::Plain;
                    }
                }
                b'{' | b'[' => {
                    inside += usize::from(inside > 0 || next == Field::Secret);
                    next = Field::Plain;
                }
                b'}' | b']' => inside = inside.saturating_sub(1),
                b'-' | b'0'..=b'9' => {
                    while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = bytes.get(at) {
                        at += 1;
                    }
                    let switch = at - start == 1 && matches!(byte, b'0' | b'1');
                    if (inside > 0 || next == Field::Secret) && !switch {
                        self.replace(start, at, &format!("\"{HIDDEN}\""));
                    }
                    next = Field::Plain;
                }
                b't' | b'f' | b'n' => next = Field::Plain,
                _ => {}
            }
        }
        Some(())
    }

    /// What the name of a member says, its quotes at `start` and before `end`.
    fn field(&self, start: usize, end: usize, escaped: bool) -> Field {
        let json = self.json;
        match escaped {
            false => field(json.get(start + 1..end - 1).unwrap_or_default()),
            true => field(&json::decoded(json.get(start..end).unwrap_or_default())),
        }
    }

    fn string(&mut self, start: usize, end: usize, escaped: bool, name: Field) {
        let json = self.json;
        let inner = json.get(start + 1..end - 1).unwrap_or_default();
        let secret = match name {
            Field::Plain => false,
            Field::Secret => true,
            // Options have short names.
            Field::Key => shapes::is_random(inner, 16) || self.is_marked(1),
            Field::Value => self.is_named_secret(start, end) || shapes::is_uuid(inner.as_bytes()) && self.is_marked(0),
            Field::Line => self.lines.hides(inner),
            Field::Data => !inner.starts_with("UPID:") && self.is_marked(2),
        };
        if secret {
            if !is_hidden(inner) {
                self.replace(start + 1, end - 1, HIDDEN);
            }
        } else if inner.len() < shapes::SHORTEST {
        } else if escaped {
            if let Cow::Owned(shown) = shapes::text(&decoded(inner)) {
                self.replace(start, end, &serde_json::Value::String(shown).to_string());
            }
        } else {
            let mut from = 0;
            while let Some((first, last)) = shapes::next(inner, from) {
                self.replace(start + 1 + first, start + 1 + last, HIDDEN);
                from = last;
            }
        }
    }

    /// Whether the member is the value of an option with a secret's name: `{"key": "env", "value": "…"}`, in any order.
    fn is_named_secret(&self, start: usize, end: usize) -> bool {
        let mut first = start.saturating_sub(NEAR);
        while !self.json.is_char_boundary(first) {
            first += 1;
        }
        let before = self.json.get(first..start).unwrap_or_default();
        let before = before.rsplit('{').next().unwrap_or_default();
        let mut last = (end + NEAR).min(self.json.len());
        while !self.json.is_char_boundary(last) {
            last -= 1;
        }
        let after = self.json.get(end..last).unwrap_or_default().split('}').next().unwrap_or_default();
        [before, after].iter().any(|text| {
            ["\"key\"", "\"name\""].iter().any(|member| {
                let said = text.split_once(member).and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
                let said = said.and_then(|rest| rest.trim_start().strip_prefix('"')).unwrap_or_default();
                let name = said.split('"').next().unwrap_or_default();
                field(name.rsplit(['/', '.']).next().unwrap_or_default()) == Field::Secret
            })
        })
    }

    fn is_marked(&mut self, mark: usize) -> bool {
        let (Some(known), Some(sign)) = (self.marks.get_mut(mark), MARKS.get(mark)) else { return false };
        *known.get_or_insert_with(|| self.json.contains(sign))
    }

    fn replace(&mut self, start: usize, end: usize, with: &str) {
        self.out.push_str(self.json.get(self.kept..start).unwrap_or_default());
        self.out.push_str(with);
        self.kept = end;
    }
}

/// What the inside of a JSON string says; half a surrogate pair as the replacement character, or a secret beside one
/// would stay.
fn decoded(inner: &str) -> String {
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
                let first = unit(rest);
                rest = rest.get(4..).unwrap_or_default();
                let second = rest.strip_prefix("\\u").map(unit).filter(|_| (0xd800..0xdc00).contains(&first));
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
fn unit(digits: &str) -> u32 {
    digits.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0xfffd)
}
