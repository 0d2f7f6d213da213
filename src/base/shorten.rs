//! Untrusted input in error texts: short, however long it was.

use std::borrow::Cow;

/// Characters that an error repeats of a name from untrusted input.
const MAX_CHARS: usize = 64;

/// Returns the start of a text, with `…` after it if the text is longer.
pub fn shorten(text: &str) -> Cow<'_, str> {
    shorten_to(text, MAX_CHARS)
}

/// Returns at most `max` characters of a text, with `…` after them if the text is longer.
pub fn shorten_to(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// Names of a list that an error or an answer repeats. No part of Proxmox's API has as many.
const MAX_NAMES: usize = 100;

/// Joins the names of a list, each shortened, and the number of those beyond the hundredth.
pub fn join_names<S: AsRef<str>>(names: &[S]) -> String {
    let mut text = names.iter().take(MAX_NAMES).map(|name| shorten(name.as_ref())).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(MAX_NAMES) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_at_a_number_of_names() {
        assert_eq!(join_names(&["a", "b"]), "a, b");
        let many = vec!["x".repeat(1_000); 5_000];
        assert!(join_names(&many).len() < 10_000 && join_names(&many).ends_with("… and 4900 more"));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        for (text, expected) in
            [("", String::new()), (&*"é".repeat(64), "é".repeat(64)), (&*"é".repeat(65), "é".repeat(64) + "…")]
        {
            assert_eq!(shorten(text), expected);
        }
    }
}
