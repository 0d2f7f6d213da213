//! Untrusted input in error texts: short, however long it was.

use std::borrow::Cow;

/// Characters that an error repeats of a name from untrusted input.
const MAX_CHARS: usize = 64;

/// Returns the start of a text, with `…` after it if the text is longer.
pub fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        for (text, expected) in
            [("", String::new()), (&*"é".repeat(64), "é".repeat(64)), (&*"é".repeat(65), "é".repeat(64) + "…")]
        {
            assert_eq!(shorten(text), expected);
        }
    }
}
