//! Texts as JSON strings. Most of what the server sends is text that is JSON already, so every few bytes want an escape:
//! of a large answer this is the costliest part. It goes by words of eight bytes, at any optimisation level.

/// Bytes gathered before they go to the output.
const ROOM: usize = 256;
/// The most that one step adds: a word of clean bytes, then an escape.
const STEP: usize = 8 + 6;

/// Appends `text` as a JSON string, quotes included.
pub fn push_json_str(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    let (mut gathered, mut len) = ([0; ROOM], 0);
    while !rest.is_empty() {
        if len > ROOM - STEP {
            out.extend_from_slice(gathered.get(..len).unwrap_or_default());
            len = 0;
        }
        let word = rest.first_chunk().copied().unwrap_or_else(|| padded(rest));
        if let Some(place) = gathered.get_mut(len..len + 8) {
            place.copy_from_slice(&word);
        }
        let clean = clean_bytes(u64::from_le_bytes(word)).min(rest.len());
        len += clean;
        rest = rest.get(clean..).unwrap_or_default();
        if clean < 8
            && let Some((special, after)) = rest.split_first()
        {
            let (escape, taken) = escape(*special, after);
            if let Some(place) = gathered.get_mut(len..len + 6) {
                place.copy_from_slice(&escape.0);
            }
            len += escape.1;
            rest = after.get(taken..).unwrap_or_default();
        }
    }
    out.extend_from_slice(gathered.get(..len).unwrap_or_default());
    out.push(b'"');
}

/// The last bytes of a text as a word.
#[cold]
fn padded(rest: &[u8]) -> [u8; 8] {
    let mut word = [b' '; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    word
}

/// How many bytes of the word, from the lowest, need no look: 8 if all. Those that do are control characters, `"`, `\`,
/// and the first bytes of what [`escape`] takes for a line end.
///
/// `(x - 1) & !x` has the highest bit of the lowest zero byte set, and none below it; likewise for less than any number
/// up to 0x80. A bit above the lowest may be wrong, which nobody looks at.
fn clean_bytes(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // `"` is 0x22; with this bit turned it follows the control characters, and the space makes room for it.
    let control_or_quote = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21) & !word;
    let backslash = word ^ (ONES * 0x5c);
    // 0xc2 and 0xe2 differ in one bit.
    let line_end = (word | (ONES * 0x20)) ^ (ONES * 0xe2);
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let found = (control_or_quote | zero(backslash) | zero(line_end)) & (ONES * 0x80);
    (found.trailing_zeros() / 8) as usize
}

/// What stands for a special byte, with its length, and how many of the bytes after it that takes too.
///
/// Some clients split an event's lines where Unicode does, so its line ends (U+0085, U+2028, U+2029) are escaped as well.
fn escape(special: u8, after: &[u8]) -> (([u8; 6], usize), usize) {
    let short = |letter| (([b'\\', letter, 0, 0, 0, 0], 2), 0);
    match (special, after) {
        (b'"' | b'\\', _) => short(special),
        (b'\n', _) => short(b'n'),
        (b'\t', _) => short(b't'),
        (b'\r', _) => short(b'r'),
        (0x08, _) => short(b'b'),
        (0x0c, _) => short(b'f'),
        (0xc2, [0x85, ..]) => ((*b"\\u0085", 6), 1),
        (0xe2, [0x80, 0xa8, ..]) => ((*b"\\u2028", 6), 2),
        (0xe2, [0x80, 0xa9, ..]) => ((*b"\\u2029", 6), 2),
        (0..0x20, _) => {
            let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
            (([b'\\', b'u', b'0', b'0', digit(special >> 4), digit(special & 15)], 6), 0)
        }
        _ => (([special, 0, 0, 0, 0, 0], 1), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::push_json_str;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        push_json_str(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_client_finds_a_line_end_within_a_text() {
        assert_eq!(json("a\u{2028}b\u{2029}c\u{85}d\né\u{2029}"), "\"a\\u2028b\\u2029c\\u0085d\\né\\u2029\"");
    }

    #[test]
    fn every_character_at_every_place_reads_back_as_it_was() {
        let odd = ['\u{80}', '\u{84}', '\u{86}', '\u{a0}', '¢', 'é', 'â', '–', '…', '\u{2027}', '\u{202a}', '€', '😀'];
        for c in ('\0'..='\u{ff}').chain(odd) {
            for (before, after) in (0..18).flat_map(|before| [0, 3, 9].map(|after| (before, after))) {
                let text = format!("{}{c}{c}{}", "x".repeat(before), "y".repeat(after));
                assert_eq!(serde_json::from_str::<String>(&json(&text)).unwrap(), text, "{c:?} {before} {after}");
                if c != '\u{85}' {
                    assert_eq!(json(&text), serde_json::to_string(&text).unwrap());
                }
            }
        }
    }

    #[test]
    fn long_texts_keep_each_byte() {
        for length in (0..600).step_by(7) {
            let text: String = "\"\u{1}a\\\u{2028}bcdefgh–\n".chars().cycle().take(length).collect();
            assert_eq!(serde_json::from_str::<String>(&json(&text)).unwrap(), text);
        }
    }
}
