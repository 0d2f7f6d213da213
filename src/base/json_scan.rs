//! JSON text passed over: checked against the grammar (RFC 8259), and its members found as the text they came as,
//! without a tree and without recursion. Answers of megabytes go through here several times, so it is written to be
//! fast at any optimisation level.

use std::borrow::Cow;

/// Calls `each` with the raw key (empty in a list) and the raw value of every member of an object or list, until it says
/// false. True where the text is an object or list, nothing else, and all of it was wanted.
pub fn walk<'a>(text: &'a str, each: &mut dyn FnMut(&'a str, &'a str) -> bool) -> bool {
    let mut scan = JsonScanner::new(text);
    scan.for_each_member(each).is_some() && scan.is_done()
}

/// What an object's member says that is a string; the first of that name.
pub fn find_string<'a>(object: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut found = None;
    walk(object, &mut |key, value| {
        if unquote(key) == name {
            found = Some(value);
        }
        found.is_none()
    });
    found.filter(|raw| raw.starts_with('"')).map(unquote)
}

/// What a JSON string says; any other value as it stands.
pub fn unquote(raw: &str) -> Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|s| s.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        // Half a surrogate pair passes as JSON, yet is no character: it stays the escape it is.
        Some(inner) => serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned),
    }
}

/// A place in JSON text.
pub struct JsonScanner<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> JsonScanner<'a> {
    /// The start of a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// Passes `byte`, and whitespace before it, if that comes next.
    pub fn consume(&mut self, byte: u8) -> bool {
        self.position = skip_whitespace(self.text.as_bytes(), self.position);
        let found = self.text.as_bytes().get(self.position) == Some(&byte);
        self.position += usize::from(found);
        found
    }

    /// The next value, without the whitespace around it. `None` where it is not JSON.
    pub fn next_value(&mut self) -> Option<&'a str> {
        let start = skip_whitespace(self.text.as_bytes(), self.position);
        self.position = skip_value(self.text.as_bytes(), start)?;
        self.text.get(start..self.position)
    }

    /// What the next key says, and the colon after it passed.
    pub fn next_key(&mut self) -> Option<Cow<'a, str>> {
        let mut escaped = false;
        let raw = self.next_raw_key(&mut escaped)?;
        if escaped {
            return Some(unquote(raw));
        }
        raw.get(1..raw.len() - 1).map(Cow::Borrowed)
    }

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

    /// Whether another member comes before `close`, which is passed. `None` where neither does.
    pub fn advance(&mut self, first: bool, close: u8) -> Option<bool> {
        if self.consume(close) {
            return Some(false);
        }
        (first || self.consume(b',')).then_some(true)
    }

    /// How many bytes are left.
    pub fn remaining_bytes(&self) -> usize {
        self.text.len() - self.position
    }

    /// Whether nothing but whitespace is left.
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

/// Where the whitespace from `at` on ends.
#[inline(always)]
pub fn skip_whitespace(bytes: &[u8], mut at: usize) -> usize {
    // One comparison in most cases: what machines write has no whitespace.
    while let Some(byte @ 0..=b' ') = bytes.get(at) {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b'"' => skip_string(bytes, at + 1, &mut false),
        b'{' | b'[' => skip_nested(bytes, at),
        _ => skip_scalar(bytes, at),
    }
}

/// The end of a number, or of one of the three words.
#[inline(always)]
fn skip_scalar(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b't' => skip_word(bytes, at, b"true"),
        b'f' => skip_word(bytes, at, b"false"),
        b'n' => skip_word(bytes, at, b"null"),
        _ => skip_number(bytes, at),
    }
}

/// The end of the object or list that begins at `at`.
fn skip_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    // What is open around `at`, the innermost as the lowest bit: 1 for an object. Full words go aside.
    let (mut open, mut depth, mut aside) = (0_u64, 0_usize, Vec::new());
    loop {
        at = skip_whitespace(bytes, at);
        let first = *bytes.get(at)?;
        at = match first {
            b'"' => skip_string(bytes, at + 1, &mut false)?,
            b'{' | b'[' => {
                at = skip_whitespace(bytes, at + 1);
                // Both closing brackets are two from their opening ones.
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
        // A value has ended, and with it perhaps what it stands in.
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

/// The end of a key with the colon after it.
#[inline(always)]
fn skip_key(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let at = skip_whitespace(bytes, skip_string(bytes, at + 1, &mut false)?);
    (bytes.get(at) == Some(&b':')).then_some(at + 1)
}

/// The end of a string whose first quote is passed, and whether it has escapes. `None` where it doesn't end or isn't JSON.
pub fn skip_string(bytes: &[u8], mut at: usize, escaped: &mut bool) -> Option<usize> {
    loop {
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let clean = count_clean_bytes(u64::from_le_bytes(*word));
            at += clean;
            if clean < 8 {
                break;
            }
        }
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                *escaped = true;
                at = skip_escape(bytes, at + 1)?;
            }
            0..0x20 => return None,
            // The last bytes of a text that are no whole word.
            _ => at += 1,
        }
    }
}

/// Counts the bytes of the word, from the lowest, that are plain characters of a JSON string.
#[inline(always)]
fn count_clean_bytes(word: u64) -> usize {
    (mark_special_bytes(word).trailing_zeros() / 8) as usize
}

/// Sets the highest bit of each byte of the word that is a quote, a backslash or a control character. Only the lowest
/// bit set is exact.
///
/// `(x - 1) & !x` sets the highest bit of the lowest zero byte and none below it. The same goes for bytes less than any
/// number up to 0x80.
#[inline(always)]
pub fn mark_special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // `"` is 0x22. With this bit flipped it follows the control characters, and the space makes room for it.
    let control_or_quote = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21) & !word;
    let backslash = word ^ (ONES * 0x5c);
    (control_or_quote | (backslash.wrapping_sub(ONES) & !backslash)) & (ONES * 0x80)
}

/// The end of an escape whose backslash is passed.
fn skip_escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => bytes.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        _ => None,
    }
}

fn skip_word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

fn skip_number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    // What follows a leading zero is no part of the number, and no JSON.
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

/// The end of one digit or more.
fn skip_digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let digits = count_leading_digits(u64::from_le_bytes(*word));
        at += digits;
        if digits < 8 {
            return (at > start).then_some(at);
        }
    }
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    (at > start).then_some(at)
}

/// How many bytes of the word, from the lowest, are digits. A digit has 3 in its upper half, and still has when 6 is added.
/// What a byte carries into the next one is of no matter, since it is none itself.
fn count_leading_digits(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (upper, three) = (ONES * 0xf0, ONES * 0x30);
    let other = ((word & upper) ^ three) | ((word.wrapping_add(ONES * 6) & upper) ^ three);
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
    fn a_value_is_json_or_it_is_not() {
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
    fn nesting_without_end_is_counted_not_followed() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200_000] {
            let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
            assert!(is_json(&format!("{open}1{close}")), "{depth}");
            assert!(!is_json(&format!("{open}1{}", &close[1..])), "{depth}");
            assert!(!is_json(&format!("{open}1{}", &close[..close.len() - 1])), "{depth}");
        }
    }

    #[test]
    fn members_are_what_they_came_as() {
        let mut found = Vec::new();
        assert!(walk(r#" {"a" : [1, 2] ,"\"":"x" } "#, &mut |key, value| {
            found.push((key, value));
            true
        }));
        assert_eq!(found, [("\"a\"", "[1, 2]"), ("\"\\\"\"", "\"x\"")]);
        let mut seen = 0;
        assert!(!walk("[1,2,3]", &mut |_, _| {
            seen += 1;
            seen < 2
        }));
        assert_eq!(seen, 2);
        assert!(!walk("1", &mut |_, _| true) && !walk("[] x", &mut |_, _| true));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]
        #[test]
        fn it_takes_for_json_what_serde_does(
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
