//! Untrusted values within a sentence. Each one stays on its line, and its end is visible.

use crate::sanitize::escape_invisible::{is_invisible, push_unicode_escape};
use std::fmt::Write;

/// The longest run of spaces that is shown as it is.
const MAX_SPACES: usize = 3;

/// Appends a value whole: bare if it is one plain word, else in quotes. Blanks and line ends can't hide a part of it.
pub fn push_value(text: &mut String, value: &str) {
    match is_plain_word(value) {
        true => text.push_str(value),
        false => push_quoted(text, value, usize::MAX),
    }
}

/// Appends a value in quotes, cut after `max_chars` characters.
pub fn push_quoted(text: &mut String, value: &str, max_chars: usize) {
    text.push('"');
    let mut spaces = 0;
    let mut chars = value.chars();
    for c in chars.by_ref().take(max_chars) {
        if c == ' ' {
            spaces += 1;
            continue;
        }
        push_spaces(text, std::mem::take(&mut spaces));
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' | '\r' | '\t' => text.extend(c.escape_default()),
            // A blank of another width, and the blank of Braille.
            c if is_invisible(c) || c.is_whitespace() || c == '\u{2800}' => push_unicode_escape(text, "\\", c),
            c => text.push(c),
        }
    }
    push_spaces(text, spaces);
    if chars.next().is_some() {
        text.push('…');
    }
    text.push('"');
}

/// Returns a value in quotes, cut after `max_chars` characters.
pub fn quote(value: &str, max_chars: usize) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    push_quoted(&mut text, value, max_chars);
    text
}

fn push_spaces(text: &mut String, count: usize) {
    match count {
        0..=MAX_SPACES => text.extend(std::iter::repeat_n(' ', count)),
        count => drop(write!(text, " [{count} spaces] ")),
    }
}

/// Returns whether a value needs no quotes to be read as one value.
fn is_plain_word(value: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:/@,=+!".contains(&b);
    !value.is_empty() && value.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_on_one_line_and_hide_nothing() {
        for (value, expected) in [
            ("scsi0", "scsi0"),
            ("local-lvm:vm-100-disk-0,size=32G", "local-lvm:vm-100-disk-0,size=32G"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a\" on \"b", r#""a\" on \"b""#),
            ("a\\n", r#""a\\n""#),
            ("a\r\n\tb", r#""a\r\n\tb""#),
            ("uptime    #x", r#""uptime [4 spaces] #x""#),
            ("x    ", r#""x [4 spaces] ""#),
            ("a\u{2003}b\u{a0}\u{2800}", r#""a\u2003b\u00a0\u2800""#),
            ("a\u{1b}[2J\u{202e}", r#""a\u001b[2J\u202e""#),
            ("1 → 2", r#""1 → 2""#),
        ] {
            let mut text = String::new();
            push_value(&mut text, value);
            assert_eq!(text, expected);
        }
        assert_eq!(quote("äöü", 2), r#""äö…""#);
        assert_eq!(quote("äö", 2), r#""äö""#);
    }
}
