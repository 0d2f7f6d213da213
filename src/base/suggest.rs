//! Suggestions for mistyped words in error texts.

/// Longer words are not compared: they come from untrusted input, and the time of a comparison grows with the product
/// of both lengths.
const MAX_LENGTH: usize = 64;

/// Products of both lengths that one search compares. A search that needs more suggests nothing.
const MAX_STEPS: usize = 32_000_000;

/// Returns the entry of `known` with the fewest edits (insert, delete, replace, swap two neighbours) from `word`,
/// ignoring case, and the first of several. Returns `None` if every entry needs more edits than a third of the word's
/// length.
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    suggest_several(word, known, 1).pop()
}

/// Returns at most `max` entries as [`suggest`] does, the one with the fewest edits first.
pub fn suggest_several<'a>(word: &str, known: impl Iterator<Item = &'a str>, max: usize) -> Vec<&'a str> {
    let Some(word) = ComparedWord::new(word) else { return Vec::new() };
    let max_edits = (word.length / 3).max(1);
    let mut steps = 0;
    let mut found: Vec<(usize, &str)> = Vec::new();
    for entry in known {
        // Most entries are too short or too long, and are not copied.
        if !entry.is_empty() && entry.is_ascii() && entry.len().abs_diff(word.length) > max_edits {
            continue;
        }
        let Some(other) = ComparedWord::new(entry).filter(|other| word.may_be_within(other, max_edits)) else {
            continue;
        };
        steps += word.length * other.length;
        if steps > MAX_STEPS {
            return Vec::new();
        }
        let edits = strsim::osa_distance(&word.text, &other.text);
        let place = found.partition_point(|(known, _)| *known <= edits);
        if edits <= max_edits && place < max {
            found.insert(place, (edits, entry));
            found.truncate(max);
        }
    }
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// A word in lower case.
struct ComparedWord {
    text: String,
    /// Number of characters.
    length: usize,
    /// A bit per group of characters that the word has.
    characters: u64,
}

impl ComparedWord {
    /// Returns `None` for a word that is empty or longer than [`MAX_LENGTH`].
    fn new(word: &str) -> Option<Self> {
        if word.is_empty() || word.chars().take(MAX_LENGTH + 1).count() > MAX_LENGTH {
            return None;
        }
        let text = word.to_lowercase();
        let characters = text.chars().fold(0, |bits, c| bits | 1 << (c as u32 % 64));
        Some(Self { length: text.chars().count(), text, characters })
    }

    /// Returns false if more edits are needed: an edit changes the length by one, and adds or removes one character.
    fn may_be_within(&self, other: &Self, edits: usize) -> bool {
        let added =
            (other.characters & !self.characters).count_ones().max((self.characters & !other.characters).count_ones());
        self.length.abs_diff(other.length) <= edits && added as usize <= edits
    }
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
    fn several_words_are_in_the_order_of_their_edits() {
        assert_eq!(suggest_several("urlx", FIELDS.into_iter(), 3), ["url", "urls"]);
        let known = (0..100_000).map(|_| "abcdefghijklmnopqrstuvwxyz0123456789").chain(["x"]);
        assert!(suggest_several("abcdefghijklmnopqrstuvwxyz012345678", known, 1).is_empty(), "the nearest is unknown");
        let known = (0..50_000).map(|n| format!("web-{n:05}")).collect::<Vec<_>>();
        let near = suggest_several("web-49x99", known.iter().map(String::as_str), 1);
        assert_eq!(near, ["web-49099"], "the last names are compared too");
    }

    #[test]
    fn a_word_of_any_length_returns_at_once() {
        assert_eq!(suggest(&"u".repeat(10_000_000), FIELDS.into_iter()), None);
    }
}
