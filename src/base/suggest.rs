//! Suggestions for mistyped words in error texts.

/// Longer words are not compared: they come from untrusted input, and the time of a comparison grows with the product
/// of both lengths.
const MAX_LENGTH: usize = 64;

/// Returns the entry of `known` with the fewest edits (insert, delete, replace, swap two neighbours) from `word`,
/// ignoring case, and the first of several. Returns `None` if every entry needs more edits than a third of the word's
/// length.
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = lowercase(word)?;
    let max_edits = (word.chars().count() / 3).max(1);
    known
        .filter_map(|entry| Some((strsim::osa_distance(&word, &lowercase(entry)?), entry)))
        .filter(|(edits, _)| *edits <= max_edits)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, entry)| entry)
}

/// Returns `word` in lower case, or `None` if it is empty or longer than [`MAX_LENGTH`].
fn lowercase(word: &str) -> Option<String> {
    let fits = !word.is_empty() && word.chars().take(MAX_LENGTH + 1).count() <= MAX_LENGTH;
    fits.then(|| word.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["url", "urls", "verify_ssl", "token_id"];

    #[test]
    fn the_word_with_the_fewest_edits_is_suggested() {
        for (typed, suggestion) in [
            ("verify_tls", Some("verify_ssl")),
            ("VerifySSL", Some("verify_ssl")),
            ("tokenid", Some("token_id")),
            ("token_di", Some("token_id")),
            ("ulr", Some("url")),
            ("URLS", Some("urls")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(suggest(typed, FIELDS.into_iter()), suggestion, "{typed}");
        }
    }

    #[test]
    fn a_word_of_any_length_returns_at_once() {
        assert_eq!(suggest(&"u".repeat(10_000_000), FIELDS.into_iter()), None);
    }
}
