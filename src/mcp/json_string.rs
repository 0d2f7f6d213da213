//! Texts as JSON strings. Most of what the server sends is text that is JSON already, so every few bytes want an escape:
//! of a large answer this is the costliest part. It goes by words of eight bytes, at any optimisation level.
//!
//! A text may be anybody's words, so what is not seen is shown on the way, as [`crate::sanitize::escape_invisible`] has it: with that nothing of a
//! text is left that some client would take for the end of a line.

use crate::sanitize::escape_invisible;

/// Bytes gathered before they go to the output.
const BUFFER_SIZE: usize = 256;
/// The most that one step adds: a word of clean bytes, then a short escape.
const MAX_STEP: usize = 8 + 2;

/// Appends `text` as a JSON string, quotes included; unseen characters as a text of their escapes.
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    let (mut gathered, mut len) = ([0; BUFFER_SIZE], 0);
    while !rest.is_empty() {
        if len > BUFFER_SIZE - MAX_STEP {
            out.extend_from_slice(gathered.get(..len).unwrap_or_default());
            len = 0;
        }
        let word = rest.first_chunk().copied().unwrap_or_else(|| pad_word(rest));
        if let Some(place) = gathered.get_mut(len..len + 8) {
            place.copy_from_slice(&word);
        }
        let clean = count_clean_bytes(u64::from_le_bytes(word)).min(rest.len());
        len += clean;
        rest = rest.get(clean..).unwrap_or_default();
        if clean < 8
            && let Some((special, after)) = rest.split_first()
        {
            rest = match short_escape(*special) {
                Some(letter) => {
                    if let Some(place) = gathered.get_mut(len..len + 2) {
                        place.copy_from_slice(&[b'\\', letter]);
                    }
                    len += 2;
                    after
                }
                None => {
                    out.extend_from_slice(gathered.get(..len).unwrap_or_default());
                    len = 0;
                    push_special_char(out, text, rest.len())
                }
            };
        }
    }
    out.extend_from_slice(gathered.get(..len).unwrap_or_default());
    out.push(b'"');
}

/// The last bytes of a text as a word.
#[cold]
fn pad_word(rest: &[u8]) -> [u8; 8] {
    let mut word = [b' '; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    word
}

/// How many bytes of the word, from the lowest, need no look: 8 if all. Those that do are control characters, DEL, `"`, `\`,
/// and all that is not ASCII.
///
/// `(x - 1) & !x` has the highest bit of the lowest zero byte set, and none below it; likewise for less than any number
/// up to 0x80. A bit above the lowest may be wrong, which nobody looks at.
fn count_clean_bytes(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // `"` is 0x22; with this bit turned it follows the control characters, and the space makes room for it.
    let control_or_quote = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21) & !word;
    let backslash = word ^ (ONES * 0x5c);
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let not_ascii = word | word.wrapping_add(ONES);
    let found = (control_or_quote | backslash | not_ascii) & (ONES * 0x80);
    (found.trailing_zeros() / 8) as usize
}

/// What follows the backslash for a character that is seen and has an escape of two bytes.
fn short_escape(special: u8) -> Option<u8> {
    match special {
        b'"' | b'\\' => Some(special),
        b'\n' => Some(b'n'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

/// Appends the character that begins `left` bytes before the end of the text, and returns what follows it.
fn push_special_char<'a>(out: &mut Vec<u8>, text: &'a str, left: usize) -> &'a [u8] {
    let mut chars = text.get(text.len() - left..).unwrap_or_default().chars();
    if let Some(odd) = chars.next() {
        if escape_invisible::is_invisible(odd) {
            let mut escape = String::new();
            escape_invisible::push_escape(&mut escape, "\\\\", odd);
            out.extend_from_slice(escape.as_bytes());
        } else {
            out.extend_from_slice(odd.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    chars.as_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::push_json_string;
    use crate::sanitize::escape_invisible;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        push_json_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_client_finds_a_line_end_within_a_text() {
        assert_eq!(json("a\u{2028}b\u{85}c\r\né\u{2029}"), "\"a\\\\u2028b\\\\u0085c\\\\r\\né\\\\u2029\"");
    }

    #[test]
    fn every_character_at_every_place_reads_back_as_it_is_seen() {
        let odd = ['\u{a0}', '¢', 'é', 'â', '–', '…', '\u{2027}', '\u{202a}', '€', '😀', '\u{e0041}', '\u{10ffff}'];
        for c in ('\0'..='\u{ff}').chain(odd) {
            for (before, after) in (0..18).flat_map(|before| [0, 3, 9].map(|after| (before, after))) {
                let text = format!("{}{c}{c}{}", "x".repeat(before), "y".repeat(after));
                let seen = escape_invisible::escape_text(&text);
                assert_eq!(json(&text), serde_json::to_string(&seen).unwrap(), "{c:?} {before} {after}");
            }
        }
    }

    #[test]
    fn long_texts_keep_each_byte() {
        for length in (0..600).step_by(7) {
            let text: String = "\"\u{1}a\\\u{2028}bcdefgh–\n".chars().cycle().take(length).collect();
            assert_eq!(json(&text), serde_json::to_string(&escape_invisible::escape_text(&text)).unwrap());
        }
    }
}
