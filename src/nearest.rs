//! The nearest of some known words to one that was mistyped, for error texts that say what was meant.

/// Words longer than this are never compared: they come from strangers, and the comparison's time grows with the
/// product of both lengths.
const LONGEST: usize = 64;

/// The word of `among` that takes the fewest edits (insert, delete, replace, swap two neighbours) from `word`, not
/// counting upper and lower case; the first of several. `None` when none is within a third of the word's length.
pub fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word)?;
    let allowed = (word.len() / 3).max(1);
    among
        .filter_map(|known| Some((distance(&word, &folded(known)?), known)))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

fn folded(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word.chars().take(LONGEST + 1).flat_map(char::to_lowercase).collect();
    (!letters.is_empty() && letters.len() <= LONGEST).then_some(letters)
}

/// The edits between `a` and `b`, row by row over `a`; only the last two rows are kept.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["url", "urls", "verify_ssl", "token_id"];

    #[test]
    fn the_word_with_the_fewest_edits_is_meant() {
        for (typed, meant) in [
            ("verify_tls", Some("verify_ssl")),
            ("VerifySSL", Some("verify_ssl")),
            ("tokenid", Some("token_id")),
            ("token_di", Some("token_id")),
            ("ulr", Some("url")),
            ("URLS", Some("urls")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, FIELDS.into_iter()), meant, "{typed}");
        }
    }

    #[test]
    fn a_word_of_any_length_is_answered_at_once() {
        assert_eq!(nearest(&"u".repeat(10_000_000), FIELDS.into_iter()), None);
    }
}
