//! Secrets in plain text, found by their form. These are keys, tickets, tokens, password hashes, addresses with a
//! login, and values after the name of a secret. Each byte is read once. A look back or ahead is bounded, or covers
//! bytes that are redacted.

use super::command_secrets;
use super::placeholder::{HIDDEN, is_hidden};
use super::secret_names::{MAX_NAME_LEN, WordClass, classify_word, may_be_secret};
use crate::base::word_scan::{count_unmarked, mark_equal, repeat, skip_clean};
use std::borrow::Cow;
use std::ops::Range;

/// The beginning of the tokens that this server creates for its clients.
pub const TOKEN_PREFIX: &str = "pmcp_";
/// Bytes of a UUID, the form of every API token secret that Proxmox creates.
pub const UUID_LEN: usize = 36;

/// The length of the shortest text with a recognizable secret: `otp=1`.
pub(super) const MIN_SECRET_TEXT_LEN: usize = 5;
/// Bytes of a login in an address, or of a ticket, that are searched.
const MAX_SECRET_LEN: usize = 512;

/// Returns plain text (a task log, an error) with its secrets replaced by [`HIDDEN`].
pub fn redact_text(text: &str) -> Cow<'_, str> {
    replace_secrets(text, |_| Some(0))
}

/// Replaces the secrets of a text by [`HIDDEN`], each from the place in it that `find_start` returns. One without a place
/// stays.
pub(super) fn replace_secrets(text: &str, find_start: impl Fn(&str) -> Option<usize>) -> Cow<'_, str> {
    let (mut out, mut copied, mut from) = (String::new(), 0, 0);
    while let Some(secret) = find_secret(text, from) {
        from = secret.end;
        if let Some(start) = find_start(&text[secret.clone()]) {
            out.push_str(&text[copied..secret.start + start]);
            out.push_str(HIDDEN);
            copied = secret.end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Finds the next secret from `from` on.
pub(super) fn find_secret(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at = skip_clean(bytes, at, count_clean_bytes);
        let found = match *bytes.get(at)? {
            b':' => match_separator(text, from, at).or_else(|| command_secrets::match_chpasswd(text, at)),
            b'=' => match_separator(text, from, at),
            b'%' => match_encoded_separator(text, from, at),
            b'$' => match_crypt_hash(bytes, at),
            b'-' => match_private_key(text, at)
                .or_else(|| match_option(text, at))
                .or_else(|| command_secrets::match_option(text, at))
                .or_else(|| command_secrets::match_piped(text, from, at)),
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

/// Returns the number of bytes before the first one that [`find_secret`] matches on.
#[inline(always)]
fn count_clean_bytes(word: u64) -> usize {
    // `=` and `-` differ in one bit, as do `b` and `B`.
    let separators = mark_equal(word, b':') | mark_equal(word | repeat(0x10), b'=') | mark_equal(word, b'_');
    let marks = mark_equal(word, b'$') | mark_equal(word, b'%');
    count_unmarked(separators | marks | mark_equal(word | repeat(0x20), b'b'))
}

/// Returns true for one word of at least `min_len` bytes that looks random. It has letters and digits. Hexadecimal
/// digits alone are a fingerprint.
pub(super) fn looks_random(text: &str, min_len: usize) -> bool {
    let has = |class: fn(&u8) -> bool| text.as_bytes().iter().any(class);
    text.len() >= min_len
        && !has(u8::is_ascii_whitespace)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

/// Returns true for the form of a UUID.
pub fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == UUID_LEN
        && bytes
            .iter()
            .enumerate()
            .all(|(n, b)| if matches!(n, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Returns the position of the first UUID.
pub fn find_uuid(text: &str) -> Option<usize> {
    text.as_bytes().windows(UUID_LEN).position(is_uuid)
}

/// Returns the end of the bytes of a class from `at` on, after at most `max` bytes.
fn scan_forward(bytes: &[u8], at: usize, max: usize, class: &dyn Fn(u8) -> bool) -> usize {
    at + bytes.get(at..).map_or(0, |rest| rest.iter().take(max).take_while(|b| class(**b)).count())
}

/// Returns the start of the bytes of a class before `at`, after at most `max` bytes and not before `from`.
fn scan_back(bytes: &[u8], from: usize, at: usize, max: usize, class: &dyn Fn(u8) -> bool) -> usize {
    at - bytes[from..at].iter().rev().take(max).take_while(|b| class(**b)).count()
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

/// Returns true for a byte of a word, which is no space, control character, quote or separator.
fn is_word_byte(b: u8) -> bool {
    b > b' ' && b != 0x7f && !is_quote_byte(b) && !matches!(b, b',' | b';' | b'&' | b'<' | b'>')
}

/// Matches the secret around a `:` or `=`: a ticket, a login in an address, the secret of an API token, a named value.
fn match_separator(text: &str, from: usize, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let rest = bytes.get(at + 1..)?;
    match (bytes.get(at)?, rest) {
        (b':', [b'/', b'/', ..]) => return match_url_password(bytes, from, at),
        (b':', [b':', ..]) => return match_ticket(bytes, from, at),
        _ => {}
    }
    // `user@realm!name=uuid`, with a `:` for a backup server.
    if rest.get(8) == Some(&b'-') && rest.get(..UUID_LEN).is_some_and(is_uuid) {
        let name = scan_back(bytes, from, at, 128, &is_name_byte);
        if name > from && bytes.get(name - 1) == Some(&b'!') {
            return Some(at + 1..at + 1 + UUID_LEN);
        }
    }
    match_named_value(text, from, at, 1)
}

/// Matches the value after the name of a secret and an encoded `=` or `:`, as in the query of an address.
fn match_encoded_separator(text: &str, from: usize, at: usize) -> Option<Range<usize>> {
    match text.as_bytes().get(at + 1..at + 3)? {
        [b'3', b'A' | b'D' | b'a' | b'd'] => match_named_value(text, from, at, 3),
        _ => None,
    }
}

/// Matches the value after the name of a secret: `password=…`, `cipassword: …`, `"secret" : "…"`, `PASSWORD='…'`,
/// `token => …`, `password%3D…`. The separator has `len` bytes.
fn match_named_value(text: &str, from: usize, at: usize, len: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    // Blanks, a quote and its backslashes may be between the name and the separator.
    let mut name = &bytes[from..at];
    while let [shorter @ .., b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\'] = name {
        if at - from - shorter.len() > 9 {
            return None;
        }
        name = shorter;
    }
    if !may_be_secret(&name[name.len().saturating_sub(MAX_NAME_LEN)..]) {
        return None;
    }
    let end = scan_back(bytes, from, at, 4, &is_blank_byte);
    let end = scan_back(bytes, from, end, 1, &is_quote_byte);
    // The quotes of JSON in a text in JSON are escaped.
    let end = scan_back(bytes, from, end, 4, &|b| b == b'\\');
    let start = scan_back(bytes, from, end, MAX_NAME_LEN, &is_name_byte);
    let word = classify_word(text.get(start..end)?);
    if word == WordClass::NotSecret {
        return None;
    }
    let after = at + len;
    let assigned = matches!(bytes.get(after - 1), Some(b'=' | b'D' | b'd'));
    let value = scan_forward(bytes, after, 1, &|b| assigned && b == b'>');
    let value = scan_forward(bytes, value, 16, &is_blank_byte);
    let spaced = value > after;
    let open = scan_forward(bytes, value, 4, &|b| b == b'\\');
    let (start, end) = match bytes.get(open) {
        Some(quote) if is_quote_byte(*quote) => (open + 1, find_closing_quote(bytes, open + 1, *quote, open > value)),
        _ if word == WordClass::WholeLine => {
            (value, scan_forward(bytes, value, usize::MAX, &|b| b >= b' ' && !is_quote_byte(b)))
        }
        _ if word == WordClass::Always || assigned && word != WordClass::IfRandom => {
            (value, scan_forward(bytes, value, usize::MAX, &is_word_byte))
        }
        // The value may turn out not to be secret, and then the next name would scan it again.
        _ => (value, scan_forward(bytes, value, MAX_SECRET_LEN, &is_word_byte)),
    };
    let found = text.get(start..end)?;
    let quoted = start != value;
    let is_secret = match word {
        WordClass::NotSecret => false,
        WordClass::IfRandom => looks_random(found, 20),
        WordClass::IfAssigned if !assigned && !quoted => looks_random(found, 16),
        WordClass::Always if !assigned && spaced && !quoted => !WORDS_AFTER_PASSWORD.contains(&found),
        _ => true,
    };
    if !is_secret || is_hidden(found) || matches!(found, "null" | "true" | "false") {
        return None;
    }
    let cut = !quoted && end - start == MAX_SECRET_LEN;
    Some(start..if cut { scan_forward(bytes, end, usize::MAX, &is_word_byte) } else { end })
}

/// Matches the value of an option of a command line: `--cipassword x`, as Proxmox writes its own commands to logs. With
/// `=` see [`match_named_value`].
fn match_option(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_start = at == 0 || bytes.get(at - 1).is_some_and(|b| is_blank_byte(*b) || is_quote_byte(*b) || *b == b',');
    if !is_start || bytes.get(at + 1) != Some(&b'-') {
        return None;
    }
    let end = scan_forward(bytes, at + 2, MAX_NAME_LEN, &is_name_byte);
    let word = classify_word(text.get(at + 2..end)?);
    // The closing quote and comma of a quoted option.
    let name = end;
    let end = scan_forward(bytes, end, 2, &|b| is_quote_byte(b) || b == b',');
    let value = scan_forward(bytes, end, 16, &is_blank_byte);
    if word == WordClass::NotSecret || value == name {
        return None;
    }
    let (start, end) = match bytes.get(value) {
        Some(quote) if is_quote_byte(*quote) => (value + 1, find_closing_quote(bytes, value + 1, *quote, false)),
        _ => (value, scan_forward(bytes, value, usize::MAX, &is_word_byte)),
    };
    let found = text.get(start..end)?;
    let is_secret = match word {
        // The next word of a sentence about the option is no secret.
        WordClass::Always => {
            !found.is_empty() && !found.starts_with('-') && !WORDS_AFTER_PASSWORD.contains(&found.trim_end_matches(':'))
        }
        _ => looks_random(found, 16),
    };
    (is_secret && !is_hidden(found)).then_some(start..end)
}

/// Words after `password: ` in a sentence about a password.
const WORDS_AFTER_PASSWORD: [&str; 17] = [
    "is", "was", "must", "not", "value", "property", "invalid", "type", "too", "the", "unable", "missing", "required",
    "wrong", "failed", "ok", "and",
];

/// Returns the end of a quoted text, or of its line. The backslashes of an escaped quote are not part of the text.
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

/// Matches the password of `scheme://user:password@host`, or all of `otpauth://…`.
fn match_url_password(bytes: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let start = at + 3;
    let scheme = scan_back(bytes, from, at, MAX_NAME_LEN, &|b| b.is_ascii_alphabetic());
    if bytes[scheme..at].eq_ignore_ascii_case(b"otpauth") {
        // `&` separates its parameters.
        return Some(scheme..scan_forward(bytes, start, usize::MAX, &|b| is_word_byte(b) || b == b'&'));
    }
    let end = scan_forward(bytes, start, MAX_SECRET_LEN, &|b| {
        is_name_byte(b) || (b >= b'!' && !is_quote_byte(b) && !matches!(b, b'/' | b'?' | b'#' | b'<' | b'>'))
    });
    let login = bytes.get(start..end)?;
    let login = login.get(..login.iter().rposition(|b| *b == b'@')?)?;
    let password = start + login.iter().position(|b| *b == b':')? + 1;
    let end = start + login.len();
    (password < end && bytes[password..end] != *HIDDEN.as_bytes()).then_some(password..end)
}

/// Matches a ticket at the first `:` of its `::`: `PVE:user@realm:4EEC61E2::signature`, `PVEVNC:4EEC61E2::signature`,
/// and the tickets of a mail gateway or a backup server.
fn match_ticket(bytes: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let time = at.checked_sub(9).filter(|time| *time >= from)?;
    let stamp = bytes.get(time..at)?.strip_prefix(b":")?;
    if !stamp.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let end = scan_forward(bytes, at + 2, usize::MAX, &is_base64_byte);
    let is_ticket = end - at >= 22;
    is_ticket
        .then(|| scan_back(bytes, from, time, MAX_SECRET_LEN, &|b| is_word_byte(b) && b.is_ascii() && b != b'=')..end)
}

/// Matches a password hash of crypt(3): `$6$salt$hash`.
fn match_crypt_hash(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let name = scan_forward(bytes, at + 1, 10, &|b| b.is_ascii_alphanumeric() || b == b'-');
    if bytes.get(name) != Some(&b'$') || name == at + 1 {
        return None;
    }
    let end = scan_forward(bytes, name + 1, MAX_SECRET_LEN, &|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'=' | b',' | b'+' | b'-')
    });
    let hash = bytes.get(name + 1..end)?;
    (hash.len() >= 20 && hash.contains(&b'$')).then_some(at..end)
}

/// Matches a private key, up to its end or the end of the text.
fn match_private_key(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let label = rest.strip_prefix(KEY_START_MARKER)?;
    let label = label.get(..scan_forward(label.as_bytes(), 0, 64, &|b| b != b'-' && b.is_ascii()))?;
    if !label.contains("PRIVATE KEY") {
        return None;
    }
    let end = rest.find(KEY_END_MARKER).map_or(text.len(), |last| {
        let label = at + last + KEY_END_MARKER.len();
        // The next line stays, as it may hold the name of a secret.
        let label =
            scan_forward(text.as_bytes(), label, 64, &|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
        scan_forward(text.as_bytes(), label, 5, &|b| b == b'-')
    });
    Some(at..end)
}

/// The beginning of the first line of a PEM block.
const KEY_START_MARKER: &str = "-----BEGIN ";
/// The beginning of its last line.
pub(super) const KEY_END_MARKER: &str = "-----END ";

/// Returns true if a text ends within a private key.
pub(super) fn opens_key(text: &str) -> bool {
    let last = text.rfind(KEY_START_MARKER).and_then(|at| text.get(at..));
    last.is_some_and(|last| match_private_key(last, 0).is_some() && !last.contains(KEY_END_MARKER))
}

/// Returns true if a line may be between the first and the last line of a private key: base64, a header, or empty. In
/// JSON text the slashes may be escaped.
pub(super) fn is_key_line(line: &str) -> bool {
    let line = line.trim();
    line.bytes().all(|b| is_base64_byte(b) || b == b'\\')
        || line.starts_with("Proc-Type:")
        || line.starts_with("DEK-Info:")
}

/// Matches a token of a client of this server, `pmcp_…`, at its `_`.
fn match_client_token(bytes: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let end_of_prefix = at + 1;
    let start = end_of_prefix.checked_sub(TOKEN_PREFIX.len()).filter(|start| *start >= from)?;
    if bytes[start..end_of_prefix] != *TOKEN_PREFIX.as_bytes() {
        return None;
    }
    let end = scan_forward(bytes, end_of_prefix, MAX_SECRET_LEN, &is_base64_byte);
    (end - end_of_prefix > 15).then_some(start..end)
}

/// Matches the token after `Bearer `.
fn match_bearer(bytes: &[u8], from: usize, at: usize) -> Option<Range<usize>> {
    let start = at + 7;
    if !bytes.get(at..start)?.eq_ignore_ascii_case(b"bearer ") || scan_back(bytes, from, at, 1, &is_name_byte) < at {
        return None;
    }
    let end = scan_forward(bytes, start, usize::MAX, &|b| is_base64_byte(b) || matches!(b, b'.' | b'~'));
    let token = &bytes[start..end];
    (token.len() >= 24 || (token.len() >= 8 && token.iter().any(u8::is_ascii_digit))).then_some(start..end)
}
