//! Escapes for invisible characters. The texts of a cluster are untrusted input. A control character, a character
//! without width or one that turns the reading direction could show a person something else than a model reads.
//!
//! The escapes are those of JSON, so that JSON text stays JSON. Characters for private use stay, as they are visible,
//! if only as a box.

use crate::base::json_scan::decode_unicode_escape;
use crate::base::word_scan::{count_unmarked, mark_below, mark_equal, repeat, word_at};
use std::borrow::Cow;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// The invisible characters, in order: Unicode's control characters (Cc) except line feed and tab,
/// `Default_Ignorable_Code_Point`, `Bidi_Control`, line and paragraph separator, and the interlinear annotation marks.
const INVISIBLE: [RangeInclusive<char>; 21] = [
    '\0'..='\u{8}',
    '\u{b}'..='\u{1f}',
    '\u{7f}'..='\u{7f}',
    '\u{80}'..='\u{9f}',
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// The first bytes of the invisible characters in UTF-8, which other characters may share.
const SUSPECT_BYTES: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut n = 0;
    while n < INVISIBLE.len() {
        let mut byte = first_utf8_byte(*INVISIBLE[n].start());
        while byte <= first_utf8_byte(*INVISIBLE[n].end()) {
            suspect[byte as usize] = true;
            byte += 1;
        }
        n += 1;
    }
    suspect
};

const fn first_utf8_byte(c: char) -> u32 {
    match c as u32 {
        code @ 0..0x80 => code,
        code @ 0x80..0x800 => 0xc0 | code >> 6,
        code @ 0x800..0x1_0000 => 0xe0 | code >> 12,
        code => 0xf0 | code >> 18,
    }
}

/// Returns true for a character that shows nothing of itself, or changes how others are shown.
pub fn is_invisible(c: char) -> bool {
    let next = INVISIBLE.partition_point(|range| *range.end() < c);
    INVISIBLE.get(next).is_some_and(|range| *range.start() <= c)
}

/// Replaces each invisible character of a text for a reader, JSON or not, by its escape: `\u202e`. A carriage return
/// between the tokens of JSON text becomes an escape too, where it is not valid. Nodes write none.
pub fn escape_text(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    loop {
        at = find_suspect(bytes, at, 0x7f);
        let Some(found) = text[at..].chars().next() else { break };
        let next = at + found.len_utf8();
        if is_invisible(found) {
            out.push_str(&text[copied..at]);
            push_escape(&mut out, "\\", found);
            copied = next;
        }
        at = next;
    }
    append_rest(text, out, copied)
}

/// Replaces each invisible character in JSON text for a program, and each escape of one, by the escape of an escape:
/// `\\u202e`. The program then reads the escape as text. Whitespace between tokens stays.
pub fn escape_json(text: String) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    loop {
        at = find_suspect(bytes, at, b'\\');
        let Some(found) = text[at..].chars().next() else { break };
        if found != '\\' {
            let next = at + found.len_utf8();
            // Of the control characters below a space, valid JSON has only a carriage return, between tokens.
            if found >= ' ' && is_invisible(found) {
                out.push_str(&text[copied..at]);
                push_escape(&mut out, "\\\\", found);
                copied = next;
            }
            at = next;
            continue;
        }
        let escape = measure_escape(bytes, at);
        let end = at + escape.len;
        // Each escape of the character gets a second backslash.
        for n in 0..escape.invisible_escapes {
            let start = at + n * escape.len / escape.invisible_escapes;
            out.push_str(&text[copied..start]);
            out.push('\\');
            copied = start;
        }
        at = end;
    }
    match append_rest(&text, out, copied) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    }
}

/// Returns `out` with the rest of the text, or the text itself if `out` is empty.
fn append_rest(text: &str, mut out: String, copied: usize) -> Cow<'_, str> {
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Returns the position of the next byte, from `at` on, that is in [`SUSPECT_BYTES`] or is `also`, or the text's end.
fn find_suspect(bytes: &[u8], mut at: usize, also: u8) -> usize {
    loop {
        // Skips plain ASCII by words. A wrong mark costs a look at eight bytes.
        while let Some(word) = word_at(bytes, at) {
            let delete = word.wrapping_add(repeat(1));
            if count_unmarked(word | delete | mark_below(word, 0x20) | mark_equal(word, also)) < 8 {
                break;
            }
            at += 8;
        }
        for _ in 0..8 {
            let Some(&byte) = bytes.get(at) else { return at };
            if SUSPECT_BYTES[usize::from(byte)] || byte == also {
                return at;
            }
            at += 1;
        }
    }
}

/// The escape of one character, or the two of a surrogate pair.
struct MeasuredEscape {
    /// The number of escapes, 0 for a visible character.
    invisible_escapes: usize,
    /// The bytes of all of them.
    len: usize,
}

/// Measures the escape whose backslash is at `at`.
fn measure_escape(bytes: &[u8], at: usize) -> MeasuredEscape {
    let (invisible_escapes, len) = match bytes.get(at + 1) {
        Some(b'b' | b'f' | b'r') => (1, 2),
        Some(b'u') => match decode_unicode_escape(bytes, at) {
            Some(escape) if escape.character.is_some_and(is_invisible) => (escape.len / 6, escape.len),
            Some(escape) => (0, escape.len),
            None => (0, 2),
        },
        // Text that is not JSON may have an invisible character here, which must not be skipped.
        Some(letter) if letter.is_ascii_graphic() => (0, 2),
        _ => (0, 1),
    };
    MeasuredEscape { invisible_escapes, len }
}

/// Appends the shortest JSON escape of an invisible character, with `backslash` for its backslash.
pub fn push_escape(out: &mut String, backslash: &str, c: char) {
    let letter = match c {
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\r' => 'r',
        _ => return push_unicode_escape(out, backslash, c),
    };
    out.push_str(backslash);
    out.push(letter);
}

/// Appends a character as `\uXXXX`, or as two of them for a surrogate pair.
pub fn push_unicode_escape(out: &mut String, backslash: &str, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing into a String cannot fail.
        let _ = write!(out, "{backslash}u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ranges_are_in_order() {
        assert!(INVISIBLE.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        assert!(INVISIBLE.iter().all(|range| range.start() <= range.end()));
    }

    #[test]
    fn a_text_without_invisible_characters_keeps_its_memory() {
        for plain in ["", "a\tb\nc", "{\"näme\":\"Größe – 大小 😀 \u{e000}\"}", &"x".repeat(1000)] {
            assert!(matches!(escape_text(plain), Cow::Borrowed(shown) if shown == plain));
            let plain = plain.to_owned();
            let at = plain.as_ptr();
            let shown = escape_json(plain);
            assert_eq!(shown.as_ptr(), at);
        }
    }

    #[test]
    fn each_invisible_character_is_escaped_at_every_place_and_no_other() {
        for c in '\0'..=char::MAX {
            let (from, to) = if is_invisible(c) { (0, 17) } else { (3, 4) };
            for before in from..to {
                let given = format!("{}{c}z", "x".repeat(before));
                let shown = escape_text(&given);
                assert!(!shown.chars().any(is_invisible), "{c:?}");
                assert_eq!(matches!(shown, Cow::Borrowed(_)), !is_invisible(c), "{c:?} after {before}");
            }
        }
    }

    #[test]
    fn text_shows_the_escape() {
        assert_eq!(escape_text("a\u{202e}b\u{1b}[0m\u{e0001}"), "a\\u202eb\\u001b[0m\\udb40\\udc01");
        assert_eq!(escape_text("line\r\n"), "line\\r\n");
        assert_eq!(escape_text("{\"a\":\"\\\\\u{202e}\"}"), "{\"a\":\"\\\\\\u202e\"}");
        assert_eq!(escape_text(r#"{"a":"\u202e"}"#), r#"{"a":"\u202e"}"#);
    }

    #[test]
    fn json_holds_the_escape_as_text() {
        for (given, shown) in [
            ("\"\u{202e}\"", r#""\\u202e""#),
            (r#""\u202E\u001b""#, r#""\\u202E\\u001b""#),
            (r#""\b\f\r\n\t""#, r#""\\b\\f\\r\n\t""#),
            (r#""\udb40\udc01\ud83d\ude00""#, r#""\\udb40\\udc01\ud83d\ude00""#),
            (r#""\\u202e\\\u202e\"\/""#, r#""\\u202e\\\\u202e\"\/""#),
            (r#""\udb40\\udc01 \udc01\udb40 \udb40""#, r#""\udb40\\udc01 \udc01\udb40 \udb40""#),
            ("{\r\n\t\"a\u{feff}\" :\r1}", "{\r\n\t\"a\\\\ufeff\" :\r1}"),
        ] {
            assert_eq!(escape_json(given.into()), shown);
        }
    }

    proptest! {
        #[test]
        fn programs_and_readers_see_the_same_text(
            pieces in proptest::collection::vec(
                prop_oneof![
                    any::<char>().prop_map(String::from), Just("\u{202e}".into()), Just("\\".into()), Just("u202e".into()), Just("\r".into()),
                    Just("\u{1b}".into()), Just("\u{e0041}".into()), Just("\"".into()), Just("plain text".into()), Just("ü".into()),
                ],
                0..20,
            ),
        ) {
            let given = pieces.concat();
            let raw = serde_json::to_string(&given).unwrap();
            let escaped: String = raw.chars().map(|c| if c.is_ascii() { c.to_string() } else {
                c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }).collect();
            let text = escape_text(&given).into_owned();
            for form in [raw.clone(), escaped] {
                prop_assert_eq!(&serde_json::from_str::<String>(&escape_json(form)).unwrap(), &text);
            }
            prop_assert_eq!(serde_json::from_str::<String>(&escape_text(&raw)).unwrap(), given);
        }

        #[test]
        fn no_text_is_cut_amid_a_character(given in ".*", also in "[\\\\u0-9a-fdb\u{202e}é]*") {
            prop_assert!(!escape_json(given + &also).chars().any(|c| c >= ' ' && is_invisible(c)));
        }
    }
}
