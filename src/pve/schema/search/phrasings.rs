//! What users say when they mean an operation.
//!
//! A line of `phrasings.tsv` has operations, the best first, and phrasings with `; ` between them. The words of a query
//! are compared with all words of a line (BM25): words that few lines have count most, repeated words a little more.

use super::operation_name::{OperationName, find_best};
use super::query_word::QueryWord;
use super::thesaurus::meanings;
use super::tokenizer::split_words;
use crate::pve::schema::model::SchemaModel;
use std::collections::HashMap;
use std::sync::LazyLock;

const PHRASINGS: &str = include_str!("phrasings.tsv");

/// The operations that one query finds.
const MAX_OPERATIONS: usize = 12;

/// Words that a phrasing has by accident.
const ACCIDENTAL_WORDS: &str = "\
    the a an of for in on to with from my me it its at by into and or as be is are do does did we our you your this \
    that these those there can could should";

// Weights of words that replace a query's word.
const SYNONYM: f32 = 0.3;
const NEAR_SYNONYM: f32 = 0.15;

/// How much the length of a line lowers its scores (`b` of BM25).
const LENGTH_SHARE: f32 = 0.3;
/// How soon repeated words stop to count (`k1` of BM25).
const SATURATION: f32 = 1.0;
/// How much less each further operation of a line is meant.
const PLACE_DISCOUNT: f32 = 0.3;

/// How much the one phrasing counts that a query has best.
const BEST_PHRASING: f32 = 1.0;

/// The score of a line for one of its words.
struct LineScore {
    line: usize,
    score: f32,
}

/// One phrasing of a line.
struct Phrasing {
    line: usize,
    /// Sum of the rarities of its words.
    rarity: f32,
}

#[derive(Default)]
struct WordEntry {
    rarity: f32,
    /// The lines that have the word, or a synonym of it, with the rarity of the word in their scores.
    lines: Vec<LineScore>,
    /// The phrasings that have the word itself.
    phrasings: Vec<usize>,
}

struct PhrasingIndex {
    /// The operations of each line.
    operations: Vec<Vec<OperationName>>,
    phrasings: Vec<Phrasing>,
    entries_by_word: HashMap<String, WordEntry>,
}

impl PhrasingIndex {
    fn parse(text: &str) -> Self {
        let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
        let weights_by_line: Vec<Vec<HashMap<String, f32>>> = lines
            .iter()
            .map(|(_, phrasings)| phrasings.split("; ").map(|phrasing| weigh_words(split_words(phrasing))).collect())
            .collect();
        let counts: Vec<HashMap<String, f32>> =
            weights_by_line.iter().map(|phrasings| sum_weights(phrasings)).collect();
        let lengths: Vec<f32> = counts.iter().map(|words| words.values().sum()).collect();
        let mean_length = lengths.iter().sum::<f32>() / lengths.len() as f32;
        let mut entries_by_word: HashMap<String, WordEntry> = HashMap::new();
        for (line, words) in counts.into_iter().enumerate() {
            let norm = SATURATION * (1.0 - LENGTH_SHARE + LENGTH_SHARE * lengths[line] / mean_length);
            for (word, count) in words {
                let score = count * (SATURATION + 1.0) / (count + norm);
                entries_by_word.entry(word).or_default().lines.push(LineScore { line, score });
            }
        }
        for entry in entries_by_word.values_mut() {
            entry.rarity = (1.0 + lines.len() as f32 / (entry.lines.len() as f32 + 0.5)).ln();
            entry.lines.iter_mut().for_each(|scored| scored.score *= entry.rarity);
        }
        let mut phrasings = Vec::new();
        for (line, of_line) in weights_by_line.iter().enumerate() {
            for weights in of_line {
                let mut rarity = 0.0;
                for (word, _) in weights.iter().filter(|(_, weight)| **weight == 1.0) {
                    let entry = entries_by_word.get_mut(word).expect("a word of a line");
                    entry.phrasings.push(phrasings.len());
                    rarity += entry.rarity;
                }
                phrasings.push(Phrasing { line, rarity });
            }
        }
        let operations = lines.iter().map(|(operations, _)| OperationName::parse_all(operations)).collect();
        Self { operations, phrasings, entries_by_word }
    }

    /// Returns the score of each line for the words of a query.
    fn score_lines(&self, words: &[QueryWord]) -> Vec<f32> {
        let mut line_scores = vec![0.0_f32; self.operations.len()];
        let mut have_meaning = vec![false; self.operations.len()];
        let mut shared = vec![0.0_f32; self.phrasings.len()];
        let mut weight_by_word: HashMap<&str, f32> = HashMap::new();
        for word in words {
            let weight = weight_by_word.entry(&word.stem).or_default();
            *weight = weight.max(word.weight);
        }
        let weighted = weigh_words(weight_by_word.keys().map(|word| (*word).to_owned()).collect());
        for (word, synonym_weight) in &weighted {
            let Some(entry) = self.entries_by_word.get(word) else { continue };
            let is_said = *synonym_weight == 1.0;
            let weight = if is_said { weight_by_word[word.as_str()] } else { *synonym_weight };
            let has_meaning = meanings().get(word).is_none_or(|meaning| !meaning.is_stop_word);
            for LineScore { line, score } in &entry.lines {
                line_scores[*line] += weight * score;
                have_meaning[*line] |= has_meaning;
            }
            if is_said {
                entry.phrasings.iter().for_each(|phrasing| shared[*phrasing] += weight * entry.rarity);
            }
        }
        // A phrasing that the query has as a whole counts, however long the query is.
        let mut best = vec![0.0_f32; self.operations.len()];
        for (Phrasing { line, rarity }, shared) in self.phrasings.iter().zip(shared).filter(|(_, shared)| *shared > 0.0)
        {
            best[*line] = best[*line].max(shared * shared / rarity);
        }
        for ((score, best), has_meaning) in line_scores.iter_mut().zip(best).zip(have_meaning) {
            // Lines that share only words such as "which" with the query fit by accident.
            *score = if has_meaning { *score + BEST_PHRASING * best } else { 0.0 };
        }
        line_scores
    }
}

fn index() -> &'static PhrasingIndex {
    static INDEX: LazyLock<PhrasingIndex> = LazyLock::new(|| PhrasingIndex::parse(PHRASINGS));
    &INDEX
}

/// Returns whether a phrasing has a word.
pub(super) fn has_word(stem: &str) -> bool {
    index().entries_by_word.contains_key(stem)
}

/// Returns the words of all phrasings, in any order.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    index().entries_by_word.keys().map(String::as_str)
}

/// Returns the words of phrasings, each with the sum of its weights.
fn sum_weights(phrasings: &[HashMap<String, f32>]) -> HashMap<String, f32> {
    let mut sums = HashMap::new();
    for (word, weight) in phrasings.iter().flatten() {
        *sums.entry(word.clone()).or_default() += weight;
    }
    sums
}

/// Returns words and their synonyms, each with its greatest weight.
fn weigh_words(words: Vec<String>) -> HashMap<String, f32> {
    static ACCIDENTAL: LazyLock<Vec<String>> = LazyLock::new(|| split_words(ACCIDENTAL_WORDS));
    let mut weights: HashMap<String, f32> = HashMap::new();
    for word in words.into_iter().filter(|word| !ACCIDENTAL.contains(word)) {
        for synonym in meanings().get(&word).map(|meaning| meaning.synonyms.as_slice()).unwrap_or_default() {
            let weight = weights.entry(synonym.stem.clone()).or_default();
            *weight = weight.max(if synonym.is_near { NEAR_SYNONYM } else { SYNONYM });
        }
        weights.insert(word, 1.0);
    }
    weights
}

/// Returns the indexes of the operations that users mean by the words of a query, the best first.
pub(super) fn find_operations(model: &SchemaModel, words: &[QueryWord]) -> Vec<usize> {
    let index = index();
    let line_scores = index.score_lines(words);
    let mut ranked: Vec<(f32, &OperationName)> = Vec::new();
    for (score, operations) in line_scores.iter().zip(&index.operations).filter(|(score, _)| **score > 0.0) {
        let score_at = |place: usize| score / (1.0 + PLACE_DISCOUNT * place as f32);
        ranked.extend(operations.iter().enumerate().map(|(place, operation)| (score_at(place), operation)));
    }
    find_best(model, ranked, MAX_OPERATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;
    use crate::pve::schema::search::tokenizer::stem;

    #[test]
    fn every_phrasing_names_operations_that_exist() {
        for line in PHRASINGS.lines() {
            let (operations, phrasings) = line.split_once('\t').expect("operations, a tab, phrasings");
            assert!(!phrasings.is_empty(), "{line}");
            for operation in OperationName::parse_all(operations) {
                assert!(operation.find(embedded_schema()).is_some(), "{}: {line}", operation.template);
            }
        }
    }

    #[test]
    fn words_of_few_lines_and_first_operations_count_most() {
        let index = PhrasingIndex::parse("GET /nodes\tlist the nodes; old nodes\nGET /pools\tlist the pools\n");
        let score =
            |word: &str| index.entries_by_word[&stem(word)].lines.iter().map(|scored| scored.score).fold(0.0, f32::max);
        assert!(score("pool") > score("list"));
        assert!(score("node") > score("old"), "a repeated word counts more");
        assert!(!index.entries_by_word.contains_key("the"));
    }
}
