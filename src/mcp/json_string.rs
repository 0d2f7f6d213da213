//! Texts as JSON strings. Most text that the server sends is JSON itself, so every few bytes need an escape. This is the
//! costliest part of a large answer, so it has no branch for a byte: none could be predicted.
//!
//! A text may be untrusted input, so invisible characters are escaped as in [`crate::sanitize::escape_invisible`]. The
//! result has no character that some client reads as the end of a line.

use crate::sanitize::escape_invisible::{is_invisible, push_escape};

/// Bytes gathered before they go to the output.
const BUFFER_SIZE: usize = 512;
/// Bytes that are read at once.
const BLOCK: usize = 8;
/// The most bytes that a block becomes, which is a power of two.
const MAX_ESCAPED: usize = 2 * BLOCK;

/// What each byte becomes: itself, or a backslash and a letter in the upper byte. It is 0 for a control character without
/// such an escape, DEL, and each part of a character outside ASCII.
const ESCAPES: [u16; 256] = {
    let mut escapes = [0; 256];
    let mut byte = b' ';
    while byte < 0x7f {
        escapes[byte as usize] = byte as u16;
        byte += 1;
    }
    escapes[b'"' as usize] = u16::from_le_bytes(*b"\\\"");
    escapes[b'\\' as usize] = u16::from_le_bytes(*b"\\\\");
    escapes[b'\n' as usize] = u16::from_le_bytes(*b"\\n");
    escapes[b'\t' as usize] = u16::from_le_bytes(*b"\\t");
    escapes
};

/// Appends `text` as a JSON string with its quotes. An invisible character becomes the text of its escape.
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    let (mut buffer, mut len) = ([0; BUFFER_SIZE], 0);
    while let Some((block, after)) = rest.split_first_chunk() {
        if len > BUFFER_SIZE - 2 * MAX_ESCAPED {
            out.extend_from_slice(&buffer[..len]);
            len = 0;
        }
        match escape_block(&mut buffer[len..], *block) {
            Some(written) => {
                len += written;
                rest = after;
            }
            None => {
                out.extend_from_slice(&buffer[..len]);
                len = 0;
                // The characters up to the first that is not in the table.
                while let Some((first, _)) = rest.split_first() {
                    rest = push_char(out, &text[text.len() - rest.len()..]);
                    if ESCAPES[usize::from(*first)] == 0 {
                        break;
                    }
                }
            }
        }
    }
    out.extend_from_slice(&buffer[..len]);
    while !rest.is_empty() {
        rest = push_char(out, &text[text.len() - rest.len()..]);
    }
    out.push(b'"');
}

/// Writes what the bytes of the block become and returns the number of bytes written, or `None` if one is not in
/// [`ESCAPES`].
fn escape_block(buffer: &mut [u8], block: [u8; BLOCK]) -> Option<usize> {
    // Each byte writes two bytes, from a place that the mask keeps in the first half.
    let buffer: &mut [u8; 2 * MAX_ESCAPED] = buffer.first_chunk_mut()?;
    let (mut len, mut is_other) = (0, false);
    for byte in block {
        let escape = ESCAPES[usize::from(byte)];
        is_other |= escape == 0;
        let at = len % MAX_ESCAPED;
        buffer[at..at + 2].copy_from_slice(&escape.to_le_bytes());
        len += 1 + usize::from(escape > 0xff);
    }
    (!is_other).then_some(len)
}

/// Appends the first character of the text and returns the bytes after it.
fn push_char<'a>(out: &mut Vec<u8>, text: &'a str) -> &'a [u8] {
    let mut chars = text.chars();
    if let Some(c) = chars.next() {
        let [first, second] = u8::try_from(c).map_or(0, |byte| ESCAPES[usize::from(byte)]).to_le_bytes();
        if first != 0 {
            out.push(first);
            out.extend((second != 0).then_some(second));
        } else if is_invisible(c) {
            let mut escape = String::new();
            push_escape(&mut escape, "\\\\", c);
            out.extend_from_slice(escape.as_bytes());
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
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
