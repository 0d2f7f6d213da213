//! Characters that are not seen, made visible. What comes back from a cluster was written by whoever could name a guest
//! or fill a log: with a control character, one that has no width or one that turns the direction of reading, it could
//! show a person something else than a model reads.
//!
//! They are shown as the escapes that JSON has for them, so that text which is JSON stays JSON. Private use is left
//! alone: it is seen, as a box if nothing else.

use std::borrow::Cow;
use std::fmt::Write;

const ONES: u64 = 0x0101_0101_0101_0101;

/// What a byte of text may be the start of: one that wants a look where a bit is set. That is the control characters but
/// `\n` and `\t`, DEL, and the first bytes of the characters [`is_invisible`] knows.
const SUSPECT_BYTES: [u64; 4] = {
    let mut bits = [0xffff_ffff & !(1 << b'\n' | 1 << b'\t'), 1 << (0x7f - 64), 0, 0];
    let leads = [0xc2, 0xcd, 0xd8, 0xe1, 0xe2, 0xe3, 0xef, 0xf0, 0xf3];
    let mut n = 0;
    while n < leads.len() {
        bits[leads[n] as usize / 64] |= 1 << (leads[n] % 64);
        n += 1;
    }
    bits
};

/// Makes a text visible that is to be read, JSON or not: each unseen character becomes its escape, `\u202e`. Of JSON
/// text, a carriage return between tokens becomes one as well, where it does not belong; nodes write none.
pub fn escape_text(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    loop {
        at = find_suspect(bytes, at, 0x7f);
        let Some(unseen) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let next = at + unseen.len_utf8();
        if is_invisible(unseen) {
            out.push_str(text.get(kept..at).unwrap_or_default());
            push_escape(&mut out, "\\", unseen);
            kept = next;
        }
        at = next;
    }
    append_rest(text, out, kept)
}

/// Makes JSON text visible that a program will read: an unseen character, or its escape, becomes the escape of an
/// escape, `\\u202e`, which the program then has as text. Whitespace between tokens stays.
pub fn escape_json(text: String) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    loop {
        at = find_suspect(bytes, at, b'\\');
        let Some(found) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        if found != '\\' {
            let next = at + found.len_utf8();
            // Of the controls below a space, valid JSON has only a carriage return, between tokens.
            if found >= ' ' && is_invisible(found) {
                out.push_str(text.get(kept..at).unwrap_or_default());
                push_escape(&mut out, "\\\\", found);
                kept = next;
            }
            at = next;
            continue;
        }
        let (escapes, length) = measure_escape(bytes, at);
        for _ in 0..escapes {
            out.push_str(text.get(kept..at).unwrap_or_default());
            out.push('\\');
            kept = at;
            at += length / escapes;
        }
        at += if escapes == 0 { length } else { 0 };
    }
    match append_rest(&text, out, kept) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

/// The text with what was put in before `kept`, if anything was.
fn append_rest(text: &str, mut out: String, kept: usize) -> Cow<'_, str> {
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// Where, from `at` on, the next byte is that [`SUSPECT_BYTES`] names, or `also`; the text's end where none is.
fn find_suspect(bytes: &[u8], mut at: usize, also: u8) -> usize {
    let other = ONES * u64::from(also);
    loop {
        // Plain ASCII goes by words. A byte above the lowest that matches may match as well, which the look below undoes.
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let word = u64::from_le_bytes(*word);
            let special = word ^ other;
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let delete = word.wrapping_add(ONES);
            if (control | delete | word | (special.wrapping_sub(ONES) & !special)) & (ONES * 0x80) != 0 {
                break;
            }
            at += 8;
        }
        for _ in 0..8 {
            let Some(&byte) = bytes.get(at) else { return at };
            let bits = SUSPECT_BYTES.get(usize::from(byte / 64)).copied().unwrap_or_default();
            if bits >> (byte % 64) & 1 != 0 || byte == also {
                return at;
            }
            at += 1;
        }
    }
}

/// Of the escape whose backslash is at `at`: how many escapes stand for one unseen character, none if it is no such one,
/// and how many bytes they take.
fn measure_escape(bytes: &[u8], at: usize) -> (usize, usize) {
    let Some(&letter) = bytes.get(at + 1) else { return (0, 1) };
    match letter {
        b'b' | b'f' | b'r' => (1, 2),
        b'u' => {
            let Some(first) = parse_utf16_escape(bytes, at) else { return (0, 2) };
            // A half of a pair alone is no character.
            if let Some(one) = char::from_u32(first) {
                return (usize::from(is_invisible(one)), 6);
            }
            match parse_utf16_escape(bytes, at + 6) {
                Some(second @ 0xdc00..=0xdfff) if first < 0xdc00 => {
                    let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    (char::from_u32(both).map_or(0, |c| 2 * usize::from(is_invisible(c))), 12)
                }
                _ => (0, 6),
            }
        }
        // What is no escape isn't JSON, but passed over it must not be either.
        _ => (0, 1 + usize::from(letter.is_ascii_graphic())),
    }
}

/// What a `\u` escape at `at` says: one unit of UTF-16.
fn parse_utf16_escape(bytes: &[u8], at: usize) -> Option<u32> {
    let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    hex.iter().try_fold(0, |all, digit| Some(all << 4 | char::from(*digit).to_digit(16)?))
}

/// Appends the escape of an unseen character, after `backslash`.
pub fn push_escape(out: &mut String, backslash: &str, c: char) {
    let short = match c {
        '\u{8}' => "b",
        '\u{c}' => "f",
        '\r' => "r",
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "{backslash}u{unit:04x}");
            }
            return;
        }
    };
    out.push_str(backslash);
    out.push_str(short);
}

/// Whether a character isn't seen as itself: Unicode's control characters (Cc) but line feed and tab,
/// `Default_Ignorable_Code_Point`, `Bidi_Control`, line and paragraph separator, and the annotation marks.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_without_unseen_characters_is_the_same_memory() {
        for plain in ["", "a\tb\nc", "{\"näme\":\"Größe – 大小 😀 \u{e000}\"}", &"x".repeat(1000)] {
            assert!(matches!(escape_text(plain), Cow::Borrowed(shown) if shown == plain));
            let plain = plain.to_owned();
            let at = plain.as_ptr();
            let shown = escape_json(plain);
            assert_eq!(shown.as_ptr(), at);
        }
    }

    #[test]
    fn each_unseen_character_is_shown_and_no_other_wherever_it_stands() {
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
    fn a_reader_of_text_sees_the_escape() {
        assert_eq!(escape_text("a\u{202e}b\u{1b}[0m\u{e0001}"), "a\\u202eb\\u001b[0m\\udb40\\udc01");
        assert_eq!(escape_text("line\r\n"), "line\\r\n");
        assert_eq!(escape_text("{\"a\":\"\\\\\u{202e}\"}"), "{\"a\":\"\\\\\\u202e\"}");
        assert_eq!(escape_text(r#"{"a":"\u202e"}"#), r#"{"a":"\u202e"}"#);
    }

    #[test]
    fn a_program_reads_the_escape_as_text() {
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
        fn what_a_program_reads_is_what_a_reader_sees(
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
            let seen = escape_text(&given).into_owned();
            for form in [raw.clone(), escaped] {
                prop_assert_eq!(&serde_json::from_str::<String>(&escape_json(form)).unwrap(), &seen);
            }
            prop_assert_eq!(serde_json::from_str::<String>(&escape_text(&raw)).unwrap(), given);
        }

        #[test]
        fn no_text_is_cut_amid_a_character(given in ".*", also in "[\\\\u0-9a-fdb\u{202e}é]*") {
            prop_assert!(!escape_json(given + &also).chars().any(|c| c >= ' ' && is_invisible(c)));
        }
    }
}
