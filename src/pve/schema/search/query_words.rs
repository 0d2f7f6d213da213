//! The words of a query: corrected, and weighted by the clause that they are in.
//!
//! Users tell a story around what they want: "after the update the vm hangs, how do I kill it". The words of the clause
//! that asks count in full, those of the story less.

use super::index::SearchIndex;
use super::objects;
use super::phrasings;
use super::query_word::{BACKGROUND, QueryWord, STORY, TYPO};
use super::thesaurus::{MethodHint, meanings};
use super::tokenizer::{MAX_QUERY_CHARS, Token, stem, tokenize};
use super::topics;
use crate::base::suggest::suggest;
use std::collections::HashMap;
use std::sync::LazyLock;

/// German words, and spellings, with the word that the other lists have. Each line has both.
const ALIASES: &str = include_str!("aliases.txt");

/// Words of a query that are read.
const MAX_QUERY_WORDS: usize = 40;

/// Unknown words of a query that are replaced by the most similar known word.
const MAX_TYPOS: usize = 4;

/// Shortest word that is corrected.
const MIN_CORRECTED: usize = 5;
/// Shortest word that may have two wrong letters.
const MIN_TWO_EDITS: usize = 10;
/// Shortest part of a compound word.
const MIN_PART: usize = 3;

/// Words that begin a clause about a time or reason.
const BACKGROUND_STARTS: &str = "after since because when while if before although though until unless as";

/// Words that begin a further clause.
const CONJUNCTIONS: &str = "but so then";

/// Words after which `when` asks a question.
const AUXILIARIES: &str = "is are was were does do did will has have can";

/// First words of a clause that asks.
const QUESTION_STARTS: &str = "\
    what which who whose where why how is are does do did can could may please show list give tell find i'd need want \
    let see check look";

/// Texts in a clause that asks.
const REQUESTS: [&str; 17] = [
    "i want",
    "i need",
    "i'd like",
    "i would like",
    "i like to",
    "need to",
    "want to",
    "how to",
    "how do",
    "how can",
    "where do",
    "where can",
    "please",
    "should be",
    "should start",
    "must be",
    "must not",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum ClauseRole {
    Request,
    Story,
    Background,
}

/// Returns the words of a query. Unknown words are corrected or left out. The index has the words of a cluster's own
/// description.
pub(super) fn parse_words(index: Option<&SearchIndex>, query: &str) -> Vec<QueryWord> {
    let query: String = query.chars().take(MAX_QUERY_CHARS).collect();
    let clauses = split_clauses(&query);
    let has_request = clauses.iter().any(|(_, role)| *role == ClauseRole::Request);
    let is_story = clauses.len() > 1;
    let mut words: Vec<QueryWord> = Vec::new();
    let mut unknown_words = 0;
    for (text, role) in clauses {
        let weight = match role {
            ClauseRole::Story if has_request => STORY,
            ClauseRole::Background if is_story => BACKGROUND,
            _ => 1.0,
        };
        for Token { stem, is_noun } in tokenize(text) {
            if is_known(index, &stem) {
                words.push(QueryWord { stem, is_noun, weight });
                continue;
            }
            if let Some(meant) = aliases().get(stem.as_str()) {
                words.push(QueryWord { stem: meant.clone(), is_noun, weight });
                continue;
            }
            if let Some(parts) = split_compound(index, &stem) {
                words.extend(parts.into_iter().map(|stem| QueryWord { stem, is_noun, weight }));
                continue;
            }
            unknown_words += 1;
            if stem.len() >= MIN_CORRECTED && unknown_words <= MAX_TYPOS {
                let corrected = correct_typo(index, &stem);
                words.extend(corrected.map(|stem| QueryWord { stem, is_noun, weight: weight * TYPO }));
            }
        }
    }
    words.truncate(MAX_QUERY_WORDS);
    words
}

/// Splits a query into its clauses.
fn split_clauses(query: &str) -> Vec<(&str, ClauseRole)> {
    let mut starts = vec![0];
    let mut from = 0;
    let mut ended = false;
    let is_in = |list: &str, word: &str| list.split_whitespace().any(|known| known.eq_ignore_ascii_case(word.trim()));
    let words: Vec<&str> = query.split_inclusive(char::is_whitespace).collect();
    for (place, word) in words.iter().enumerate() {
        let bare = word.trim();
        // "http and https" is one thing, "and how do I" is a further question.
        let asks_more =
            || is_in("and", bare) && words[place + 1..].iter().take(2).any(|next| is_in(QUESTION_STARTS, next));
        if from > 0 && (ended || is_in(BACKGROUND_STARTS, bare) || is_in(CONJUNCTIONS, bare) || asks_more()) {
            starts.push(from);
        }
        ended = bare.ends_with([',', ';', '.', '?', '!', ':', ')']) || bare.starts_with('(') && from > 0 || bare == "-";
        from += word.len();
    }
    starts.push(query.len());
    let clauses = starts.windows(2).map(|range| query[range[0]..range[1]].trim());
    clauses.filter(|clause| !clause.is_empty()).map(|clause| (clause, find_role(clause))).collect()
}

fn find_role(clause: &str) -> ClauseRole {
    let lower = clause.to_lowercase();
    let mut words = lower.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\''));
    let has = |list: &str, word: &str| list.split_whitespace().any(|known| known == word);
    let Some(mut first) = words.next() else { return ClauseRole::Story };
    if first == "and" || has(CONJUNCTIONS, first) {
        let Some(second) = words.next() else { return ClauseRole::Story };
        first = second;
    }
    let second = words.next().unwrap_or_default();
    if has(BACKGROUND_STARTS, first) && !(matches!(first, "when" | "since") && has(AUXILIARIES, second)) {
        return ClauseRole::Background;
    }
    // "enabled the firewall" says what the user did.
    let is_command = || {
        !first.ends_with("ed")
            && meanings().get(&stem(first)).is_some_and(|meaning| meaning.hint.is_some_and(MethodHint::changes))
    };
    match has(QUESTION_STARTS, first) || REQUESTS.iter().any(|text| lower.contains(text)) || is_command() {
        true => ClauseRole::Request,
        false => ClauseRole::Story,
    }
}

fn is_known(index: Option<&SearchIndex>, word: &str) -> bool {
    meanings().contains_key(word)
        || index.is_some_and(|index| !index.postings(word).is_empty())
        || phrasings::has_word(word)
        || topics::has_word(word)
        || objects::has_word(word)
}

/// Returns the stems of words that callers use for those of the other lists.
fn aliases() -> &'static HashMap<String, String> {
    static STEMS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let lines = ALIASES.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(alias, word)| (stem(alias), stem(word))).collect()
    });
    &STEMS
}

/// Splits an unknown word into two known ones: "fileserver".
fn split_compound(index: Option<&SearchIndex>, word: &str) -> Option<Vec<String>> {
    let is_part = |part: &str| part.len() >= MIN_PART && is_known(index, &stem(part));
    let cut = (MIN_PART..word.len().saturating_sub(MIN_PART - 1))
        .find(|cut| word.is_char_boundary(*cut) && is_part(&word[..*cut]) && is_part(&word[*cut..]))?;
    Some(tokenize(&format!("{} {}", &word[..cut], &word[cut..])).into_iter().map(|token| token.stem).collect())
}

/// Returns the known word most similar to an unknown one. Words with a meaning come first, stop words last.
fn correct_typo(index: Option<&SearchIndex>, word: &str) -> Option<String> {
    let max_edits = if word.len() < MIN_TWO_EDITS { 1 } else { 2 };
    // Many words differ from another only in the first letter, which few callers mistype.
    let is_similar = |known: &&str| {
        known.len() > 3
            && known.len().abs_diff(word.len()) <= max_edits
            && known.bytes().take(2).any(|c| word.bytes().next() == Some(c))
            && strsim::osa_distance(known, word) <= max_edits
    };
    let mut known: Vec<(bool, &str)> = meanings()
        .iter()
        .map(|(word, meaning)| (meaning.is_stop_word, word.as_str()))
        .filter(|(_, word)| is_similar(word))
        .collect();
    known.sort();
    let (stop_words, meaningful): (Vec<_>, Vec<_>) = known.into_iter().partition(|(is_stop_word, _)| *is_stop_word);
    let texts = |words: Vec<(bool, &'static str)>| words.into_iter().map(|(_, word)| word);
    let mut said: Vec<&str> = phrasings::words().filter(is_similar).collect();
    said.sort_unstable();
    let of_api = index.into_iter().flat_map(SearchIndex::words).filter(is_similar);
    suggest(word, texts(meaningful).chain(said).chain(of_api).chain(texts(stop_words))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_has_a_word_of_the_other_lists() {
        for (alias, word) in aliases() {
            assert!(is_known(None, word), "{alias} {word}");
        }
    }

    fn weigh(query: &str) -> Vec<(String, f32)> {
        parse_words(None, query).into_iter().map(|word| (word.stem, word.weight)).collect()
    }

    fn weight_of(query: &str, word: &str) -> f32 {
        let words = weigh(query);
        words.iter().find(|(known, _)| *known == stem(word)).unwrap_or_else(|| panic!("{word}: {words:?}")).1
    }

    #[test]
    fn words_of_the_request_count_more_than_those_of_the_story() {
        for (query, requested, told) in [
            ("after the update the vm hangs, how do I kill it", "kill", "update"),
            ("kill the vm because the host has no memory", "kill", "memory"),
            ("the host was rebooted. show me its network", "network", "rebooted"),
            ("lost my phone and now please remove the second factor", "tfa", "phone"),
        ] {
            assert!(weight_of(query, requested) > weight_of(query, told), "{query}");
        }
        assert_eq!(weight_of("snapshot the vm", "snapshot"), 1.0);
        assert_eq!(weight_of("when was the vm rebooted", "rebooted"), 1.0);
    }

    #[test]
    fn mistyped_and_compound_words_are_known_words() {
        let stems = |query: &str| weigh(query).into_iter().map(|(word, _)| word).collect::<Vec<_>>();
        assert_eq!(stems("storrage snapshto"), [stem("storage"), stem("snapshot")]);
        assert_eq!(stems("festplatte vergrößern"), [stem("disk"), stem("grow")]);
        assert_eq!(stems("fileserver"), [stem("file"), stem("server")]);
        assert_eq!(stems("qqqqqqqqqqq"), Vec::<String>::new());
    }
}
