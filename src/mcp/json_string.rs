//! Texts as JSON strings. Most text that the server sends is JSON itself, so every few bytes need an escape. This is the
//! costliest part of a large answer, so it reads words of eight bytes.
//!
//! A text may be untrusted input, so invisible characters are escaped as in [`crate::sanitize::escape_invisible`]. The
//! result has no character that some client reads as the end of a line.

use crate::base::json_scan::mark_special_bytes;
use crate::base::word_scan::{count_unmarked, repeat};
use crate::sanitize::escape_invisible::{is_invisible, push_escape};

/// Bytes gathered before they go to the output.
const BUFFER_SIZE: usize = 256;
/// The most bytes that one step adds: a word of clean bytes, then a short escape.
const MAX_STEP: usize = 8 + 2;

/// Appends `text` as a JSON string with its quotes. An invisible character becomes the text of its escape.
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    let (mut buffer, mut len) = ([0; BUFFER_SIZE], 0);
    while !rest.is_empty() {
        if len > BUFFER_SIZE - MAX_STEP {
            out.extend_from_slice(&buffer[..len]);
            len = 0;
        }
        let word = rest.first_chunk().copied().unwrap_or_else(|| pad_word(rest));
        buffer[len..len + 8].copy_from_slice(&word);
        let clean = count_clean_bytes(u64::from_le_bytes(word)).min(rest.len());
        len += clean;
        rest = &rest[clean..];
        if clean < 8
            && let Some((special, after)) = rest.split_first()
        {
            rest = match short_escape(*special) {
                Some(letter) => {
                    buffer[len..len + 2].copy_from_slice(&[b'\\', letter]);
                    len += 2;
                    after
                }
                None => {
                    out.extend_from_slice(&buffer[..len]);
                    len = 0;
                    push_special_char(out, &text[text.len() - rest.len()..])
                }
            };
        }
    }
    out.extend_from_slice(&buffer[..len]);
    out.push(b'"');
}

/// Returns the last bytes of a text as a word.
#[cold]
fn pad_word(rest: &[u8]) -> [u8; 8] {
    let mut word = [b' '; 8];
    word[..rest.len()].copy_from_slice(rest);
    word
}

/// Counts the bytes of the word, from the lowest, that are copied as they are. Other bytes are control characters, DEL,
/// `"`, `\` and parts of characters outside ASCII.
fn count_clean_bytes(word: u64) -> usize {
    let del_or_not_ascii = word | word.wrapping_add(repeat(1));
    count_unmarked(mark_special_bytes(word) | del_or_not_ascii)
}

/// Returns the character after the backslash, for a visible character with an escape of two bytes.
fn short_escape(special: u8) -> Option<u8> {
    match special {
        b'"' | b'\\' => Some(special),
        b'\n' => Some(b'n'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

/// Appends the first character of the text and returns the bytes after it.
fn push_special_char<'a>(out: &mut Vec<u8>, text: &'a str) -> &'a [u8] {
    let mut chars = text.chars();
    if let Some(special) = chars.next() {
        if is_invisible(special) {
            let mut escape = String::new();
            push_escape(&mut escape, "\\\\", special);
            out.extend_from_slice(escape.as_bytes());
        } else {
            out.extend_from_slice(special.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    chars.as_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::push_json_string;
    use crate::sanitize::escape_invisible::escape_text;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        push_json_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_contains_no_line_end_of_any_client() {
        assert_eq!(json("a\u{2028}b\u{85}c\r\né\u{2029}"), "\"a\\\\u2028b\\\\u0085c\\\\r\\né\\\\u2029\"");
    }

    #[test]
    fn every_character_at_every_position_reads_back_as_it_is_shown() {
        let wide = ['\u{a0}', '¢', 'é', 'â', '–', '…', '\u{2027}', '\u{202a}', '€', '😀', '\u{e0041}', '\u{10ffff}'];
        for c in ('\0'..='\u{ff}').chain(wide) {
            for (before, after) in (0..18).flat_map(|before| [0, 3, 9].map(|after| (before, after))) {
                let text = format!("{}{c}{c}{}", "x".repeat(before), "y".repeat(after));
                let shown = escape_text(&text);
                assert_eq!(json(&text), serde_json::to_string(&shown).unwrap(), "{c:?} {before} {after}");
            }
        }
    }

    #[test]
    fn long_texts_keep_each_byte() {
        for length in (0..600).step_by(7) {
            let text: String = "\"\u{1}a\\\u{2028}bcdefgh–\n".chars().cycle().take(length).collect();
            assert_eq!(json(&text), serde_json::to_string(&escape_text(&text)).unwrap());
        }
    }
}
