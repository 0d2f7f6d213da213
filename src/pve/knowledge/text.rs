//! Untrusted text, made fit for display.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns `text` on one line: joins lines with `; `, makes control characters visible, cuts after `max` characters.
pub(in crate::pve) fn to_one_line(text: &str, max: usize) -> String {
    let mut out = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push_str("; ");
        }
        out.extend(line.chars().take(max.saturating_add(1)).map(make_visible));
        // Checked per line and in bytes: a bound on the work, not the cut itself.
        if out.len() > max.saturating_mul(4) {
            break;
        }
    }
    if let Some((cut, _)) = out.char_indices().nth(max) {
        out.truncate(cut);
        out.push('…');
    }
    out
}

/// Decodes bytes that should be UTF-8. A byte that is not becomes its character of Latin-1, as programs in guests and old
/// tools write it.
pub(in crate::pve) fn decode_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| match char::from(*byte) {
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        }));
    }
    text
}

/// The most bytes of [`to_visible_start`].
const MAX_START_BYTES: usize = 512;

/// Returns the first line of what a server sent, if it is text.
pub(in crate::pve) fn to_visible_start(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_START_BYTES).unwrap_or(bytes);
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let is_text = line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    String::from_utf8_lossy(if is_text { line } else { b"" }).into_owned()
}

/// Returns a picture of a control character, and a space for one that only separates words.
fn make_visible(c: char) -> char {
    match c {
        '\t' | '\r' => ' ',
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        c if c.is_control() => ' ',
        c => c,
    }
}

/// Decodes a text whose bytes of UTF-8 a node sent as a character each. Any other text stays.
///
/// (PVE: the lines of task logs and of the syslog, exit statuses, and what the guest agent reads.)
pub(crate) fn decode_twice_encoded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Decodes each string of a JSON text by [`decode_twice_encoded`].
pub(crate) fn decode_json_strings(json: &str) -> Cow<'_, str> {
    if json.is_ascii() && !json.contains("\\u00") {
        return json.into();
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, string)) = rest.split_once('"') {
        out.push_str(before);
        let mut escaped = false;
        let end = string.bytes().position(|byte| match byte {
            _ if std::mem::take(&mut escaped) => false,
            b'\\' => {
                escaped = true;
                false
            }
            byte => byte == b'"',
        });
        // A string without its end is no JSON, which the reader of the answer has checked.
        let Some((content, after)) = end.and_then(|end| Some((string.get(..end)?, string.get(end + 1..)?))) else {
            return json.into();
        };
        let quoted = format!("\"{content}\"");
        match serde_json::from_str::<String>(&quoted) {
            Ok(text) if !text.is_ascii() => {
                out.push_str(&serde_json::Value::from(decode_twice_encoded(&text)).to_string());
            }
            _ => out.push_str(&quoted),
        }
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

/// Escapes the control characters in the strings of a JSON text, which JSON does not allow there.
pub(in crate::pve) fn escape_controls(json: String) -> String {
    // Usual JSON of a node has none, not even between its tokens.
    if !has_control(json.as_bytes()) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for c in json.chars() {
        match c {
            '\0'..='\x1f' if is_in_string => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
        // A body that grows so much is no answer of a node.
        if out.len() > 2 * json.len() + 1_024 {
            return json;
        }
        is_in_string ^= c == '"' && !is_escaped;
        is_escaped = is_in_string && c == '\\' && !is_escaped;
    }
    out
}

/// Returns true if a byte is a control character of ASCII. A block has no early end, so that vector instructions read it.
fn has_control(bytes: &[u8]) -> bool {
    bytes.chunks(256).any(|block| block.iter().fold(false, |found, byte| found | (*byte < b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_latin1() {
        for (bytes, text) in [
            (&b"Ger\xe4t"[..], "Gerät"),
            ("Gerät".as_bytes(), "Gerät"),
            (b"a\xc3\xa4 \xfc\n", "aä ü\n"),
            (b"\x80x", "\u{fffd}x"),
        ] {
            assert_eq!(decode_bytes(bytes), text);
        }
    }

    #[test]
    fn a_text_encoded_twice_is_decoded_once() {
        for (text, decoded) in
            [("GrÃ¼Ã\u{9f}e", "Grüße"), ("â\u{82}¬", "€"), ("plain", "plain"), ("Grüße", "Grüße"), ("€ Ã¼", "€ Ã¼")]
        {
            assert_eq!(decode_twice_encoded(text), decoded);
        }
        let json = r#"{"n":1,"t":"GrÃ¼n \"x\" \u00c3\u00a4","u":["ü",2]}"#;
        assert_eq!(decode_json_strings(json), r#"{"n":1,"t":"Grün \"x\" ä","u":["ü",2]}"#);
        assert_eq!(decode_json_strings(r#""ü"#), r#""ü"#);
    }

    #[test]
    fn control_characters_are_escaped_in_strings_only() {
        for (json, escaped) in [
            ("{\n\t\"a\": 1}", "{\n\t\"a\": 1}"),
            ("[\"a\0\tb\",\n\"\x1b[0m\"]", "[\"a\\u0000\\u0009b\",\n\"\\u001b[0m\"]"),
            ("[\"\\\"\x01\\\\\",\r\"ü\"]", "[\"\\\"\\u0001\\\\\",\r\"ü\"]"),
        ] {
            assert_eq!(escape_controls(json.to_owned()), escaped);
        }
    }

    #[test]
    fn untrusted_text_becomes_one_plain_line() {
        assert_eq!(to_one_line("a\r\n  b\tc\u{1b}[0m\n\n", 50), "a; b c\u{241b}[0m");
        assert_eq!(to_one_line("äöü", 2), "äö…");
        assert!(to_one_line(&"x\n".repeat(100_000), 100).chars().count() <= 101);
    }
}
