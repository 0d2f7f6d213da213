//! The cells of tables: one line each, cut at a limit, `-` if there is no value.

use crate::base::json_scan::decode_unicode_escape;
use crate::base::word_scan::append;
use std::borrow::Cow;

/// The maximum number of characters of a cell. Longer values are cut.
pub(crate) const MAX_CELL_CHARS: usize = 300;

/// Pushes the cells of one row with tabs between them. Returns false if a cell was cut.
pub(crate) fn push_row<'c>(text: &mut String, cells: impl Iterator<Item = Cow<'c, str>>) -> bool {
    push_cells(text, cells, |row, cell| append_text(row, &cell))
}

/// Pushes one row as [`push_row`] does, with cells that `append` writes. It returns false for a cell that was cut.
pub(crate) fn push_cells<C>(
    text: &mut String,
    cells: impl Iterator<Item = C>,
    append: impl Fn(&mut Vec<u8>, C) -> bool,
) -> bool {
    let mut are_whole = true;
    let mut row = Vec::with_capacity(256);
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            row.push(b'\t');
        }
        are_whole &= append(&mut row, cell);
    }
    row.push(b'\n');
    text.push_str(str::from_utf8(&row).expect("cells are whole texts"));
    are_whole
}

/// Appends what [`push_single_line`] pushes, or `-` for an empty text.
pub(crate) fn append_text(out: &mut Vec<u8>, plain: &str) -> bool {
    let plain = if plain.is_empty() { "-" } else { plain };
    if is_short_line(plain) {
        append(out, plain.as_bytes());
        return true;
    }
    let mut line = String::new();
    let is_whole = push_single_line(&mut line, plain);
    out.extend_from_slice(line.as_bytes());
    is_whole
}

fn is_short_line(plain: &str) -> bool {
    plain.len() <= MAX_CELL_CHARS && !plain.bytes().any(|b| b.is_ascii_control())
}

/// Pushes a value with its control characters as spaces, because a list or an object may have line ends and tabs
/// between its tokens. Returns false if the value was cut at [`MAX_CELL_CHARS`].
pub(crate) fn push_single_line(text: &mut String, plain: &str) -> bool {
    if is_short_line(plain) {
        text.push_str(plain);
        return true;
    }
    let mut chars = plain.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.extend(chars.by_ref().take(MAX_CELL_CHARS));
    let cut = chars.next().is_some();
    if cut {
        text.push('…');
    }
    !cut
}

/// Returns the inside of a JSON string as text on one line: the escapes of printable characters are decoded, as those of
/// quotes and of letters. Those of control characters stay, and that of the backslash, so that they differ.
pub(crate) fn decode_line(raw: &str) -> Cow<'_, str> {
    let inside = strip_quotes(raw);
    if !raw.starts_with('"') || !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let unicode = decode_unicode_escape(rest.as_bytes(), at);
        let (decoded, len) = match rest.as_bytes().get(at + 1) {
            Some(b'"') => (Some('"'), 2),
            Some(b'/') => (Some('/'), 2),
            _ => unicode.map_or((None, 2), |escape| (escape.character, escape.len)),
        };
        let len = len.min(rest.len() - at);
        match decoded.filter(|c| !c.is_control() && *c != '\\') {
            Some(character) => text.push(character),
            None => text.push_str(&rest[at..at + len]),
        }
        rest = &rest[at + len..];
    }
    Cow::Owned(text + rest)
}

/// Returns the inside of a JSON string with its escapes, which keep tabs and line ends out of a table. Returns any
/// other value unchanged.
pub(crate) fn strip_quotes(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_printable_characters_are_decoded_and_those_of_control_characters_stay() {
        for (raw, text) in [
            (r#""Al\u00efce M\u00FCller""#, "Alïce Müller"),
            (r#""\ud83d\ude80 \"a\" \/x""#, "🚀 \"a\" /x"),
            (r#""a\nb\tc\u000a\u001b""#, r"a\nb\tc\u000a\u001b"),
            (r#""C:\\new \\u00ef \u005cn""#, r"C:\\new \\u00ef \u005cn"),
            (r#""\ud83d""#, r"\ud83d"),
            (r#""plain""#, "plain"),
            ("17", "17"),
        ] {
            assert_eq!(decode_line(raw), text, "{raw}");
        }
    }
}
