//! Secrets in plain text, told by how they look: keys, tickets, tokens, hashes of passwords, addresses with a login, and
//! what follows the name of a secret. One look at each byte; whatever looks behind or ahead of it has a bound, or takes
//! what it saw out.

use super::names::{Word, may_be_secret, word};
use super::{HIDDEN, is_hidden};
use std::borrow::Cow;

/// No shorter text holds a secret that could be told: `otp=1`.
pub(super) const SHORTEST: usize = 5;
/// How far a name reaches back.
const NAME: usize = 40;
/// How far a login in an address, or a ticket, reaches.
const FAR: usize = 512;

/// Plain text, its secrets replaced by `(hidden)`: a task's log, an error.
pub fn text(text: &str) -> Cow<'_, str> {
    let (mut out, mut kept) = (String::new(), 0);
    while let Some((start, end)) = next(text, kept) {
        out.push_str(text.get(kept..start).unwrap_or_default());
        out.push_str(HIDDEN);
        kept = end;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// The next secret from `from` on: its start, and its end behind it.
pub(super) fn next(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let clean = clean_bytes(u64::from_le_bytes(*word));
            at += clean;
            if clean < 8 {
                break;
            }
        }
        let byte = *bytes.get(at)?;
        let found = match byte {
            b':' | b'=' => pair(text, from, at),
            b'$' => crypt(bytes, at),
            b'-' => pem(text, at),
            b'_' => client_token(bytes, from, at),
            b'B' | b'b' => bearer(bytes, from, at),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        at += 1;
    }
}

/// How many bytes of the word, from the lowest, are none that [`next`] looks at. A bit above the lowest that is set may be
/// wrong, which nobody looks at.
#[inline(always)]
fn clean_bytes(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let is = |word: u64, byte: u8| {
        let differs = word ^ (ONES * u64::from(byte));
        differs.wrapping_sub(ONES) & !differs
    };
    // `=` and `-` differ in one bit, as do `b` and `B`.
    let names = is(word, b':') | is(word | (ONES * 0x10), b'=') | is(word, b'_');
    let found = (names | is(word, b'$') | is(word | (ONES * 0x20), b'b')) & (ONES * 0x80);
    (found.trailing_zeros() / 8) as usize
}

/// Whether this is one word of at least so many characters that looks drawn by lot: letters and digits, and no
/// fingerprint, which is all hexadecimal digits.
pub(super) fn is_random(text: &str, least: usize) -> bool {
    let has = |class: fn(&u8) -> bool| text.as_bytes().iter().any(class);
    text.len() >= least
        && !has(u8::is_ascii_whitespace)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

/// Whether this is the form of an API token's secret.
pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes
            .iter()
            .enumerate()
            .all(|(n, b)| if matches!(n, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Where, from `at` on and for at most `most` bytes, those of a class end.
fn run(bytes: &[u8], at: usize, most: usize, class: &dyn Fn(u8) -> bool) -> usize {
    at + bytes.get(at..).unwrap_or_default().iter().take(most).take_while(|b| class(**b)).count()
}

/// Where, back from `at` and for at most `most` bytes, those of a class begin; not before `from`.
fn back(bytes: &[u8], from: usize, at: usize, most: usize, class: &dyn Fn(u8) -> bool) -> usize {
    at - bytes.get(from..at).unwrap_or_default().iter().rev().take(most).take_while(|b| class(**b)).count()
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

fn is_quote(b: u8) -> bool {
    matches!(b, b'"' | b'\'' | b'`')
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Whether a byte stands in a word: no space, control character, quote or separator.
fn is_word(b: u8) -> bool {
    b > b' ' && b != 0x7f && !is_quote(b) && !matches!(b, b',' | b';' | b'&' | b'<' | b'>')
}

/// A `:` or `=`: in a ticket, in an address, behind an API token's name, or behind any name.
fn pair(text: &str, from: usize, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let rest = bytes.get(at + 1..)?;
    match (bytes.get(at)?, rest) {
        (b':', [b'/', b'/', ..]) => return address(bytes, from, at),
        (b':', [b':', ..]) => return ticket(bytes, from, at),
        _ => {}
    }
    // `user@realm!name=uuid`, and with a `:` that of a backup server.
    if rest.get(8) == Some(&b'-') && rest.get(..36).is_some_and(is_uuid) {
        let name = back(bytes, from, at, 128, &is_name);
        if name > from && bytes.get(name - 1) == Some(&b'!') {
            return Some((at + 1, at + 37));
        }
    }
    named(text, from, at)
}

/// What a name stands in front of: `password=…`, `cipassword: …`, `"secret" : "…"`, `PASSWORD='…'`, `token => …`.
fn named(text: &str, from: usize, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut before = bytes.get(from..at)?;
    while let [less @ .., b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\'] = before {
        if at - from - less.len() > 9 {
            return None;
        }
        before = less;
    }
    if !may_be_secret(before.get(before.len().saturating_sub(NAME)..)?) {
        return None;
    }
    let end = back(bytes, from, at, 4, &is_blank);
    // JSON within text within JSON has its quotes escaped.
    let end = back(bytes, from, end, 1, &is_quote);
    let end = back(bytes, from, end, 4, &|b| b == b'\\');
    let start = back(bytes, from, end, NAME, &is_name);
    let word = word(text.get(start..end)?);
    if word == Word::None {
        return None;
    }
    let sets = bytes.get(at) == Some(&b'=');
    let value = run(bytes, at + 1, 1, &|b| sets && b == b'>');
    let value = run(bytes, value, 16, &is_blank);
    let spaced = value > at + 1;
    let open = run(bytes, value, 4, &|b| b == b'\\');
    let (start, end) = match bytes.get(open) {
        Some(quote) if is_quote(*quote) => (open + 1, closing(bytes, open + 1, *quote, open > value)),
        _ if word == Word::Line => (value, run(bytes, value, usize::MAX, &|b| b >= b' ' && !is_quote(b))),
        // Where it may turn out to be none, the next name would look at the same again.
        _ if word == Word::Sure || sets && word != Word::Key => (value, run(bytes, value, usize::MAX, &is_word)),
        _ => (value, run(bytes, value, FAR, &is_word)),
    };
    let said = text.get(start..end)?;
    let secret = match word {
        Word::None => false,
        Word::Key => is_random(said, 20),
        Word::Unsure if !sets && start == value => is_random(said, 16),
        Word::Sure if !sets && spaced && start == value => !PROSE.contains(&said),
        _ => true,
    };
    let nothing = is_hidden(said) || matches!(said, "null" | "true" | "false");
    if !secret || nothing {
        return None;
    }
    let cut = start == value && end - start == FAR;
    Some((start, if cut { run(bytes, end, usize::MAX, &is_word) } else { end }))
}

/// What follows `password: ` in a sentence about one.
const PROSE: [&str; 16] = [
    "is", "was", "must", "not", "value", "property", "invalid", "type", "too", "the", "unable", "missing", "required",
    "wrong", "failed", "ok",
];

/// Where a quoted text ends, or its line. Where the quotes are escaped themselves, their backslashes are none of it.
fn closing(bytes: &[u8], start: usize, quote: u8, escaped: bool) -> usize {
    let mut at = start;
    while let Some(&byte) = bytes.get(at).filter(|b| !matches!(b, b'\n' | b'\r')) {
        if byte == quote {
            break;
        }
        let skips = byte == b'\\' && !escaped && bytes.get(at + 1).is_some_and(u8::is_ascii_graphic);
        at += 1 + usize::from(skips);
    }
    if escaped { back(bytes, start, at, 4, &|b| b == b'\\') } else { at }
}

/// The password of `scheme://user:password@host`, all of `otpauth://…`.
fn address(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let start = at + 3;
    let scheme = back(bytes, from, at, NAME, &|b| b.is_ascii_alphabetic());
    if bytes.get(scheme..at)?.eq_ignore_ascii_case(b"otpauth") {
        // Its parameters stand between `&`.
        return Some((scheme, run(bytes, start, usize::MAX, &|b| is_word(b) || b == b'&')));
    }
    let end = run(bytes, start, FAR, &|b| {
        is_name(b) || (b >= b'!' && !is_quote(b) && !matches!(b, b'/' | b'?' | b'#' | b'<' | b'>'))
    });
    let login = bytes.get(start..end)?;
    let login = login.get(..login.iter().rposition(|b| *b == b'@')?)?;
    let password = start + login.iter().position(|b| *b == b':')? + 1;
    let end = start + login.len();
    (password < end && bytes.get(password..end)? != HIDDEN.as_bytes()).then_some((password, end))
}

/// A ticket at the first `:` of its `::`: `PVE:user@realm:4EEC61E2::signature`, `PVEVNC:4EEC61E2::signature`, and those of
/// a mail gateway or a backup server.
fn ticket(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let time = at.checked_sub(9).filter(|time| *time >= from)?;
    let stamp = bytes.get(time..at)?.strip_prefix(b":")?;
    if !stamp.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let end = run(bytes, at + 2, usize::MAX, &is_base64);
    let is_ticket = end - at >= 22;
    is_ticket.then(|| (back(bytes, from, time, FAR, &|b| is_word(b) && b.is_ascii() && b != b'='), end))
}

/// The hash of a password, as crypt(3) writes it: `$6$salt$hash`.
fn crypt(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let name = run(bytes, at + 1, 10, &|b| b.is_ascii_alphanumeric() || b == b'-');
    if bytes.get(name) != Some(&b'$') || name == at + 1 {
        return None;
    }
    let end = run(bytes, name + 1, FAR, &|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'=' | b',' | b'+' | b'-')
    });
    let hash = bytes.get(name + 1..end)?;
    (hash.len() >= 20 && hash.contains(&b'$')).then_some((at, end))
}

/// A private key, to its end or the text's.
fn pem(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let label = rest.strip_prefix("-----BEGIN ")?;
    let label = label.get(..run(label.as_bytes(), 0, 64, &|b| b != b'-' && b.is_ascii()))?;
    if !label.contains("PRIVATE KEY") {
        return None;
    }
    let end = rest.find(KEY_ENDS).map_or(text.len(), |last| {
        let label = at + last + KEY_ENDS.len();
        // Nothing of the next line: a name in there would be taken away from its secret.
        let label = run(text.as_bytes(), label, 64, &|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
        run(text.as_bytes(), label, 5, &|b| b == b'-')
    });
    Some((at, end))
}

/// What the last line of a key begins with.
pub(super) const KEY_ENDS: &str = "-----END ";

/// Whether a text ends within a private key.
pub(super) fn opens_key(text: &str) -> bool {
    let last = text.rfind("-----BEGIN ").and_then(|at| text.get(at..));
    last.is_some_and(|last| pem(last, 0).is_some() && !last.contains(KEY_ENDS))
}

/// Whether a line may be one of a private key between its first and its last: base64, its headers, or nothing. A line
/// of JSON text may have its slashes escaped.
pub(super) fn is_of_key(line: &str) -> bool {
    let line = line.trim();
    line.bytes().all(|b| is_base64(b) || b == b'\\') || line.starts_with("Proc-Type:") || line.starts_with("DEK-Info:")
}

/// A token of this server's own clients, `pmcp_…`, at its `_`.
fn client_token(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let start = at.checked_sub(4).filter(|start| *start >= from)?;
    if bytes.get(start..at)? != b"pmcp" {
        return None;
    }
    let end = run(bytes, at + 1, FAR, &is_base64);
    (end > at + 16).then_some((start, end))
}

/// What follows `Bearer `.
fn bearer(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let start = at + 7;
    if !bytes.get(at..start)?.eq_ignore_ascii_case(b"bearer ") || back(bytes, from, at, 1, &is_name) < at {
        return None;
    }
    let end = run(bytes, start, usize::MAX, &|b| is_base64(b) || matches!(b, b'.' | b'~'));
    let token = bytes.get(start..end)?;
    (token.len() >= 24 || (token.len() >= 8 && token.iter().any(u8::is_ascii_digit))).then_some((start, end))
}
