//! A scanner for JSON text (RFC 8259) that validates it and finds members as raw text, without a tree and without
//! recursion. Answers of megabytes pass through it several times.

use super::word_scan::{count_unmarked, mark_below, mark_equal, repeat, skip_clean};
use std::borrow::Cow;

/// Calls `each` with the raw key (empty in a list) and the raw value of every member of an object or list, until it
/// returns false. Returns true if the text is exactly one object or list and `each` accepted all members.
pub fn walk<'a>(text: &'a str, each: &mut dyn FnMut(&'a str, &'a str) -> bool) -> bool {
    let mut scan = JsonScanner::new(text);
    scan.for_each_member(each).is_some() && scan.is_done()
}

/// Returns the decoded string of the first member called `name`, if its value is a string.
pub fn find_string<'a>(object: &'a str, name: &str) -> Option<Cow<'a, str>> {
    find_member(object, name).filter(|raw| raw.starts_with('"')).map(unquote)
}

/// Returns the raw value of the first member called `name`.
pub fn find_member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    walk(object, &mut |key, value| {
        if unquote(key) == name {
            found = Some(value);
        }
        found.is_none()
    });
    found
}

/// Decodes a JSON string. Returns any other value unchanged.
pub fn unquote(raw: &str) -> Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|s| s.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        // Half a surrogate pair is valid JSON but no character, so it stays an escape.
        Some(inner) => serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned),
    }
}

/// A position in JSON text.
pub struct JsonScanner<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> JsonScanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// Skips whitespace, and `byte` if it comes next. Returns true if it did.
    pub fn consume(&mut self, byte: u8) -> bool {
        self.position = skip_whitespace(self.text.as_bytes(), self.position);
        let found = self.text.as_bytes().get(self.position) == Some(&byte);
        self.position += usize::from(found);
        found
    }

    /// Returns the next value without the whitespace around it, or `None` if it is not JSON.
    #[inline]
    pub fn next_value(&mut self) -> Option<&'a str> {
        let start = skip_whitespace(self.text.as_bytes(), self.position);
        self.position = skip_value(self.text.as_bytes(), start)?;
        self.text.get(start..self.position)
    }

    /// Returns the next value like [`Self::next_value`]. Calls `each` with the raw key and value of the members of an
    /// object.
    pub fn next_object(&mut self, each: &mut dyn FnMut(&'a str, &'a str)) -> Option<&'a str> {
        self.position = skip_whitespace(self.text.as_bytes(), self.position);
        if self.text.as_bytes().get(self.position) != Some(&b'{') {
            return self.next_value();
        }
        let start = self.position;
        self.for_each_member(&mut |key, value| {
            each(key, value);
            true
        })?;
        self.text.get(start..self.position)
    }

    /// Returns the next key, decoded, and skips the colon after it.
    #[inline]
    pub fn next_key(&mut self) -> Option<Cow<'a, str>> {
        let mut escaped = false;
        let raw = self.next_raw_key(&mut escaped)?;
        if escaped {
            return Some(unquote(raw));
        }
        raw.get(1..raw.len() - 1).map(Cow::Borrowed)
    }

    #[inline]
    fn next_raw_key(&mut self, escaped: &mut bool) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = skip_whitespace(bytes, self.position);
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let end = skip_string(bytes, start + 1, escaped)?;
        self.position = skip_whitespace(bytes, end);
        if bytes.get(self.position) != Some(&b':') {
            return None;
        }
        self.position += 1;
        self.text.get(start..end)
    }

    /// Returns true if another member follows, and false after skipping `close`. Returns `None` for anything else.
    pub fn advance(&mut self, first: bool, close: u8) -> Option<bool> {
        if self.consume(close) {
            return Some(false);
        }
        (first || self.consume(b',')).then_some(true)
    }

    pub fn remaining_bytes(&self) -> usize {
        self.text.len() - self.position
    }

    /// Returns true if only whitespace is left.
    pub fn is_done(&self) -> bool {
        skip_whitespace(self.text.as_bytes(), self.position) == self.text.len()
    }

    fn for_each_member(&mut self, each: &mut dyn FnMut(&'a str, &'a str) -> bool) -> Option<()> {
        let object = self.consume(b'{');
        if !object && !self.consume(b'[') {
            return None;
        }
        let mut first = true;
        while self.advance(first, if object { b'}' } else { b']' })? {
            first = false;
            let key = if object { self.next_raw_key(&mut false)? } else { "" };
            let value = self.next_value()?;
            if !each(key, value) {
                return None;
            }
        }
        Some(())
    }
}

/// Returns the end of the whitespace that starts at `at`.
#[inline(always)]
pub fn skip_whitespace(bytes: &[u8], mut at: usize) -> usize {
    // One comparison in most cases, as generated JSON has no whitespace.
    while let Some(byte @ 0..=b' ') = bytes.get(at) {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
    }
    at
}

/// Returns the end of the value that starts at `at`.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b'"' => skip_string(bytes, at + 1, &mut false),
        b'{' | b'[' => skip_nested(bytes, at),
        _ => skip_scalar(bytes, at),
    }
}

/// Returns the end of a number, or of `true`, `false` or `null`.
#[inline(always)]
fn skip_scalar(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b't' => skip_word(bytes, at, b"true"),
        b'f' => skip_word(bytes, at, b"false"),
        b'n' => skip_word(bytes, at, b"null"),
        _ => skip_number(bytes, at),
    }
}

/// Returns the end of the object or list that starts at `at`.
fn skip_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    // The open brackets around `at`, one bit each, the innermost lowest: 1 is an object. Full words go to `aside`.
    let (mut open, mut depth, mut aside) = (0_u64, 0_usize, Vec::new());
    loop {
        at = skip_whitespace(bytes, at);
        let first = *bytes.get(at)?;
        at = match first {
            b'"' => skip_string(bytes, at + 1, &mut false)?,
            b'{' | b'[' => {
                at = skip_whitespace(bytes, at + 1);
                // In ASCII a closing bracket is its opening one plus 2.
                if bytes.get(at) != Some(&(first + 2)) {
                    if depth > 0 && depth.is_multiple_of(64) {
                        aside.push(open);
                    }
                    (open, depth) = (open << 1 | u64::from(first == b'{'), depth + 1);
                    at = if first == b'{' { skip_key(bytes, at)? } else { at };
                    continue;
                }
                at + 1
            }
            _ => skip_scalar(bytes, at)?,
        };
        // A value has ended, and perhaps the containers around it.
        loop {
            if depth == 0 {
                return Some(at);
            }
            at = skip_whitespace(bytes, at);
            match (*bytes.get(at)?, open & 1) {
                (b',', 1) => {
                    at = skip_key(bytes, skip_whitespace(bytes, at + 1))?;
                    break;
                }
                (b',', _) => {
                    at += 1;
                    break;
                }
                (b'}', 1) | (b']', 0) => {
                    (at, open, depth) = (at + 1, open >> 1, depth - 1);
                    if depth > 0 && depth.is_multiple_of(64) {
                        open = aside.pop()?;
                    }
                }
                _ => return None,
            }
        }
    }
}

/// Returns the end of a key and the colon after it.
#[inline(always)]
fn skip_key(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let at = skip_whitespace(bytes, skip_string(bytes, at + 1, &mut false)?);
    (bytes.get(at) == Some(&b':')).then_some(at + 1)
}

/// Returns the end of a string whose opening quote is before `at`, or `None` if it is invalid or unterminated. Sets
/// `escaped` if it has an escape.
pub fn skip_string(bytes: &[u8], mut at: usize, escaped: &mut bool) -> Option<usize> {
    loop {
        at = skip_clean(bytes, at, count_clean_bytes);
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                *escaped = true;
                at = skip_escape(bytes, at + 1)?;
            }
            0..0x20 => return None,
            // One of the last bytes, which fill no whole word.
            _ => at += 1,
        }
    }
}

/// Counts the bytes of the word, from the lowest, that are plain characters of a JSON string.
#[inline(always)]
fn count_clean_bytes(word: u64) -> usize {
    count_unmarked(mark_special_bytes(word))
}

/// Marks the lowest byte of the word that is a quote, a backslash or a control character.
#[inline(always)]
fn mark_special_bytes(word: u64) -> u64 {
    // A quote is 0x22. With this bit flipped it follows the control characters, and the space moves behind it.
    mark_below(word ^ repeat(0x02), 0x21) | mark_equal(word, b'\\')
}

/// Returns the end of an escape whose backslash is before `at`.
fn skip_escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => bytes.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        _ => None,
    }
}

/// A `\u` escape, or the two of a surrogate pair.
pub struct UnicodeEscape {
    /// `None` for half a surrogate pair.
    pub character: Option<char>,
    pub len: usize,
}

/// Decodes the escape whose backslash is at `at`. Returns `None` if it is not `\u` with four hex digits.
pub fn decode_unicode_escape(bytes: &[u8], at: usize) -> Option<UnicodeEscape> {
    let unit = |at: usize| {
        let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        hex.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
    };
    let units = [Some(unit(at)?), unit(at + 6)];
    let character = char::decode_utf16(units.into_iter().flatten()).next()?.ok();
    Some(UnicodeEscape { character, len: 6 * character.map_or(1, char::len_utf16) })
}

fn skip_word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

fn skip_number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    // A digit after a leading zero is no part of the number.
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { skip_digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = skip_digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = skip_digits(bytes, at + 1 + usize::from(sign))?;
    }
    Some(at)
}

/// Returns the end of one or more digits.
fn skip_digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = skip_clean(bytes, start, count_leading_digits);
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    (at > start).then_some(at)
}

/// Returns the number of leading digits of the word, from the lowest byte. The upper half of a digit is 3, also after
/// adding 6. A byte that carries into the next one is no digit, so the carry does not matter.
fn count_leading_digits(word: u64) -> usize {
    let (upper, three) = (repeat(0xf0), repeat(0x30));
    let other = ((word & upper) ^ three) | ((word.wrapping_add(repeat(6)) & upper) ^ three);
    (other.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn is_json(text: &str) -> bool {
        let mut scan = JsonScanner::new(text);
        scan.next_value().is_some() && scan.is_done()
    }

    #[test]
    fn valid_and_invalid_values_are_told_apart() {
        for text in ["0", "-0", "1.50", "-1e+9", "0E0", "\"\"", r#""\u00Ff\n""#, "[]", "{ }", " [1 , {\"a\" : [ ] } ] "]
        {
            assert!(is_json(text), "{text}");
        }
        for text in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "tru",
            "nul",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\t\"",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[}",
            "{]",
            "1 2",
            "[1}",
            "{\"a\":1]",
            "\u{a0}1",
            "NaN",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn deep_nesting_needs_no_recursion() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200_000] {
            let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
            assert!(is_json(&format!("{open}1{close}")), "{depth}");
            assert!(!is_json(&format!("{open}1{}", &close[1..])), "{depth}");
            assert!(!is_json(&format!("{open}1{}", &close[..close.len() - 1])), "{depth}");
        }
    }

    #[test]
    fn members_keep_their_raw_text() {
        let mut found = Vec::new();
        assert!(walk(r#" {"a" : [1, 2] ,"\"":"x" } "#, &mut |key, value| {
            found.push((key, value));
            true
        }));
        assert_eq!(found, [("\"a\"", "[1, 2]"), ("\"\\\"\"", "\"x\"")]);
        let mut count = 0;
        assert!(!walk("[1,2,3]", &mut |_, _| {
            count += 1;
            count < 2
        }));
        assert_eq!(count, 2);
        assert!(!walk("1", &mut |_, _| true) && !walk("[] x", &mut |_, _| true));
    }

    #[test]
    fn unicode_escapes_are_decoded_with_their_length() {
        for (text, expected) in [
            (r"\u00e4bc", Some((Some('ä'), 6))),
            (r"\uD83D\ude00", Some((Some('😀'), 12))),
            (r"\u0041\u0042", Some((Some('A'), 6))),
            (r"\ud83d", Some((None, 6))),
            (r"\ud83d\u0041", Some((None, 6))),
            (r"\udc00\ud83d", Some((None, 6))),
            (r"\u00g0", None),
            (r"\u00", None),
            (r"\n", None),
        ] {
            let decoded = decode_unicode_escape(text.as_bytes(), 0).map(|escape| (escape.character, escape.len));
            assert_eq!(decoded, expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]
        #[test]
        fn the_scanner_accepts_the_same_texts_as_serde_json(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("["), Just("]"), Just("{"), Just("}"), Just(","), Just(":"), Just("\"a\""), Just("\"a\":"), Just("\""),
                    Just("\\"), Just("\\u00e9"), Just("0"), Just("12"), Just("-"), Just("."), Just("e"), Just("true"), Just("null"),
                    Just(" "), Just("\n"), Just("é"), Just("longer text than a word"), Just("\u{1}"), Just("1"),
                ],
                0..12,
            ),
        ) {
            let text = pieces.concat();
            for text in [text.clone(), format!("[{text}]"), format!("\"{text}\""), format!("{{\"k\":{text}}}")] {
                prop_assert_eq!(is_json(&text), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
            }
        }
    }
}
