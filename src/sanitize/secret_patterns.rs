//! Secrets in plain text, told by how they look: keys, tickets, tokens, hashes of passwords, addresses with a login, and
//! what follows the name of a secret. One look at each byte; whatever looks behind or ahead of it has a bound, or takes
//! what it saw out.

use super::secret_names::{SecretWord, classify_word, may_be_secret};
use super::{HIDDEN, is_hidden};
use std::borrow::Cow;

/// No shorter text holds a secret that could be told: `otp=1`.
pub(super) const MIN_SECRET_TEXT_LEN: usize = 5;
/// How far a name reaches back.
const MAX_NAME_LEN: usize = 40;
/// How far a login in an address, or a ticket, reaches.
const MAX_SECRET_LEN: usize = 512;

/// Plain text, its secrets replaced by `(hidden)`: a task's log, an error.
pub fn redact_text(text: &str) -> Cow<'_, str> {
    let (mut out, mut kept) = (String::new(), 0);
    while let Some((start, end)) = find_secret(text, kept) {
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
pub(super) fn find_secret(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let clean = count_clean_bytes(u64::from_le_bytes(*word));
            at += clean;
            if clean < 8 {
                break;
            }
        }
        let byte = *bytes.get(at)?;
        let found = match byte {
            b':' | b'=' => match_separator(text, from, at),
            b'$' => match_crypt_hash(bytes, at),
            b'-' => match_private_key(text, at),
            b'_' => match_client_token(bytes, from, at),
            b'B' | b'b' => match_bearer(bytes, from, at),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        at += 1;
    }
}

/// How many bytes of the word, from the lowest, are none that [`find_secret`] looks at. A bit above the lowest that is set may be
/// wrong, which nobody looks at.
#[inline(always)]
fn count_clean_bytes(word: u64) -> usize {
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
pub(super) fn looks_random(text: &str, least: usize) -> bool {
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
fn scan_forward(bytes: &[u8], at: usize, most: usize, class: &dyn Fn(u8) -> bool) -> usize {
    at + bytes.get(at..).unwrap_or_default().iter().take(most).take_while(|b| class(**b)).count()
}

/// Where, back from `at` and for at most `most` bytes, those of a class begin; not before `from`.
fn scan_back(bytes: &[u8], from: usize, at: usize, most: usize, class: &dyn Fn(u8) -> bool) -> usize {
    at - bytes.get(from..at).unwrap_or_default().iter().rev().take(most).take_while(|b| class(**b)).count()
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

fn is_blank_byte(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

fn is_quote_byte(b: u8) -> bool {
    matches!(b, b'"' | b'\'' | b'`')
}

fn is_base64_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Whether a byte stands in a word: no space, control character, quote or separator.
fn is_word_byte(b: u8) -> bool {
    b > b' ' && b != 0x7f && !is_quote_byte(b) && !matches!(b, b',' | b';' | b'&' | b'<' | b'>')
}

/// A `:` or `=`: in a ticket, in an address, behind an API token's name, or behind any name.
fn match_separator(text: &str, from: usize, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let rest = bytes.get(at + 1..)?;
    match (bytes.get(at)?, rest) {
        (b':', [b'/', b'/', ..]) => return match_url_password(bytes, from, at),
        (b':', [b':', ..]) => return match_ticket(bytes, from, at),
        _ => {}
    }
    // `user@realm!name=uuid`, and with a `:` that of a backup server.
    if rest.get(8) == Some(&b'-') && rest.get(..36).is_some_and(is_uuid) {
        let name = scan_back(bytes, from, at, 128, &is_name_byte);
        if name > from && bytes.get(name - 1) == Some(&b'!') {
            return Some((at + 1, at + 37));
        }
    }
    match_named_value(text, from, at)
}

/// What a name stands in front of: `password=…`, `cipassword: …`, `"secret" : "…"`, `PASSWORD='…'`, `token => …`.
fn match_named_value(text: &str, from: usize, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut before = bytes.get(from..at)?;
    while let [less @ .., b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\'] = before {
        if at - from - less.len() > 9 {
            return None;
        }
        before = less;
    }
    if !may_be_secret(before.get(before.len().saturating_sub(MAX_NAME_LEN)..)?) {
        return None;
    }
    let end = scan_back(bytes, from, at, 4, &is_blank_byte);
    // JSON within text within JSON has its quotes escaped.
    let end = scan_back(bytes, from, end, 1, &is_quote_byte);
    let end = scan_back(bytes, from, end, 4, &|b| b == b'\\');
    let start = scan_back(bytes, from, end, MAX_NAME_LEN, &is_name_byte);
    let word = classify_word(text.get(start..end)?);
    if word == SecretWord::NotSecret {
        return None;
    }
    let sets = bytes.get(at) == Some(&b'=');
    let value = scan_forward(bytes, at + 1, 1, &|b| sets && b == b'>');
    let value = scan_forward(bytes, value, 16, &is_blank_byte);
    let spaced = value > at + 1;
    let open = scan_forward(bytes, value, 4, &|b| b == b'\\');
    let (start, end) = match bytes.get(open) {
        Some(quote) if is_quote_byte(*quote) => (open + 1, find_closing_quote(bytes, open + 1, *quote, open > value)),
        _ if word == SecretWord::WholeLine => {
            (value, scan_forward(bytes, value, usize::MAX, &|b| b >= b' ' && !is_quote_byte(b)))
        }
        // Where it may turn out to be none, the next name would look at the same again.
        _ if word == SecretWord::Always || sets && word != SecretWord::Key => {
            (value, scan_forward(bytes, value, usize::MAX, &is_word_byte))
        }
        _ => (value, scan_forward(bytes, value, MAX_SECRET_LEN, &is_word_byte)),
    };
    let said = text.get(start..end)?;
    let secret = match word {
        SecretWord::NotSecret => false,
        SecretWord::Key => looks_random(said, 20),
        SecretWord::IfAssigned if !sets && start == value => looks_random(said, 16),
        SecretWord::Always if !sets && spaced && start == value => !WORDS_AFTER_PASSWORD.contains(&said),
        _ => true,
    };
    let nothing = is_hidden(said) || matches!(said, "null" | "true" | "false");
    if !secret || nothing {
        return None;
    }
    let cut = start == value && end - start == MAX_SECRET_LEN;
    Some((start, if cut { scan_forward(bytes, end, usize::MAX, &is_word_byte) } else { end }))
}

/// What follows `password: ` in a sentence about one.
const WORDS_AFTER_PASSWORD: [&str; 16] = [
    "is", "was", "must", "not", "value", "property", "invalid", "type", "too", "the", "unable", "missing", "required",
    "wrong", "failed", "ok",
];

/// Where a quoted text ends, or its line. Where the quotes are escaped themselves, their backslashes are none of it.
fn find_closing_quote(bytes: &[u8], start: usize, quote: u8, escaped: bool) -> usize {
    let mut at = start;
    while let Some(&byte) = bytes.get(at).filter(|b| !matches!(b, b'\n' | b'\r')) {
        if byte == quote {
            break;
        }
        let skips = byte == b'\\' && !escaped && bytes.get(at + 1).is_some_and(u8::is_ascii_graphic);
        at += 1 + usize::from(skips);
    }
    if escaped { scan_back(bytes, start, at, 4, &|b| b == b'\\') } else { at }
}

/// The password of `scheme://user:password@host`, all of `otpauth://…`.
fn match_url_password(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let start = at + 3;
    let scheme = scan_back(bytes, from, at, MAX_NAME_LEN, &|b| b.is_ascii_alphabetic());
    if bytes.get(scheme..at)?.eq_ignore_ascii_case(b"otpauth") {
        // Its parameters stand between `&`.
        return Some((scheme, scan_forward(bytes, start, usize::MAX, &|b| is_word_byte(b) || b == b'&')));
    }
    let end = scan_forward(bytes, start, MAX_SECRET_LEN, &|b| {
        is_name_byte(b) || (b >= b'!' && !is_quote_byte(b) && !matches!(b, b'/' | b'?' | b'#' | b'<' | b'>'))
    });
    let login = bytes.get(start..end)?;
    let login = login.get(..login.iter().rposition(|b| *b == b'@')?)?;
    let password = start + login.iter().position(|b| *b == b':')? + 1;
    let end = start + login.len();
    (password < end && bytes.get(password..end)? != HIDDEN.as_bytes()).then_some((password, end))
}

/// A ticket at the first `:` of its `::`: `PVE:user@realm:4EEC61E2::signature`, `PVEVNC:4EEC61E2::signature`, and those of
/// a mail gateway or a backup server.
fn match_ticket(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let time = at.checked_sub(9).filter(|time| *time >= from)?;
    let stamp = bytes.get(time..at)?.strip_prefix(b":")?;
    if !stamp.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let end = scan_forward(bytes, at + 2, usize::MAX, &is_base64_byte);
    let is_ticket = end - at >= 22;
    is_ticket
        .then(|| (scan_back(bytes, from, time, MAX_SECRET_LEN, &|b| is_word_byte(b) && b.is_ascii() && b != b'='), end))
}

/// The hash of a password, as crypt(3) writes it: `$6$salt$hash`.
fn match_crypt_hash(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let name = scan_forward(bytes, at + 1, 10, &|b| b.is_ascii_alphanumeric() || b == b'-');
    if bytes.get(name) != Some(&b'$') || name == at + 1 {
        return None;
    }
    let end = scan_forward(bytes, name + 1, MAX_SECRET_LEN, &|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'=' | b',' | b'+' | b'-')
    });
    let hash = bytes.get(name + 1..end)?;
    (hash.len() >= 20 && hash.contains(&b'$')).then_some((at, end))
}

/// A private key, to its end or the text's.
fn match_private_key(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let label = rest.strip_prefix("-----BEGIN ")?;
    let label = label.get(..scan_forward(label.as_bytes(), 0, 64, &|b| b != b'-' && b.is_ascii()))?;
    if !label.contains("PRIVATE KEY") {
        return None;
    }
    let end = rest.find(KEY_END_MARKER).map_or(text.len(), |last| {
        let label = at + last + KEY_END_MARKER.len();
        // Nothing of the next line: a name in there would be taken away from its secret.
        let label =
            scan_forward(text.as_bytes(), label, 64, &|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
        scan_forward(text.as_bytes(), label, 5, &|b| b == b'-')
    });
    Some((at, end))
}

/// What the last line of a key begins with.
pub(super) const KEY_END_MARKER: &str = "-----END ";

/// Whether a text ends within a private key.
pub(super) fn opens_key(text: &str) -> bool {
    let last = text.rfind("-----BEGIN ").and_then(|at| text.get(at..));
    last.is_some_and(|last| match_private_key(last, 0).is_some() && !last.contains(KEY_END_MARKER))
}

/// Whether a line may be one of a private key between its first and its last: base64, its headers, or nothing. A line
/// of JSON text may have its slashes escaped.
pub(super) fn is_key_line(line: &str) -> bool {
    let line = line.trim();
    line.bytes().all(|b| is_base64_byte(b) || b == b'\\')
        || line.starts_with("Proc-Type:")
        || line.starts_with("DEK-Info:")
}

/// A token of this server's own clients, `pmcp_…`, at its `_`.
fn match_client_token(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let start = at.checked_sub(4).filter(|start| *start >= from)?;
    if bytes.get(start..at)? != b"pmcp" {
        return None;
    }
    let end = scan_forward(bytes, at + 1, MAX_SECRET_LEN, &is_base64_byte);
    (end > at + 16).then_some((start, end))
}

/// What follows `Bearer `.
fn match_bearer(bytes: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let start = at + 7;
    if !bytes.get(at..start)?.eq_ignore_ascii_case(b"bearer ") || scan_back(bytes, from, at, 1, &is_name_byte) < at {
        return None;
    }
    let end = scan_forward(bytes, start, usize::MAX, &|b| is_base64_byte(b) || matches!(b, b'.' | b'~'));
    let token = bytes.get(start..end)?;
    (token.len() >= 24 || (token.len() >= 8 && token.iter().any(u8::is_ascii_digit))).then_some((start, end))
}
