//! What users say when they mean an operation.
//!
//! A line of `phrasings.tsv` has operations, the best first, and phrasings with `; ` between them. The words of a query
//! are compared with all words of a line (BM25): words that few lines have count most, repeated words a little more.

use super::operation_name::OperationName;
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

/// The score of a line for one of its words.
struct LineScore {
    line: usize,
    score: f32,
}

struct PhrasingIndex {
    /// The operations of each line.
    operations: Vec<Vec<OperationName>>,
    /// The scores of the lines for each word, with the rarity of the word.
    scores_by_word: HashMap<String, Vec<LineScore>>,
}

impl PhrasingIndex {
    fn parse(text: &str) -> Self {
        let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('\t')).collect();
        let counts: Vec<HashMap<String, f32>> = lines.iter().map(|(_, phrasings)| count_words(phrasings)).collect();
        let lengths: Vec<f32> = counts.iter().map(|words| words.values().sum()).collect();
        let mean_length = lengths.iter().sum::<f32>() / lengths.len() as f32;
        let mut scores_by_word: HashMap<String, Vec<LineScore>> = HashMap::new();
        for (line, words) in counts.into_iter().enumerate() {
            let norm = SATURATION * (1.0 - LENGTH_SHARE + LENGTH_SHARE * lengths[line] / mean_length);
            for (word, count) in words {
                let score = count * (SATURATION + 1.0) / (count + norm);
                scores_by_word.entry(word).or_default().push(LineScore { line, score });
            }
        }
        for scores in scores_by_word.values_mut() {
            let rarity = (1.0 + lines.len() as f32 / (scores.len() as f32 + 0.5)).ln();
            scores.iter_mut().for_each(|scored| scored.score *= rarity);
        }
        let operations = lines.iter().map(|(operations, _)| OperationName::parse_all(operations)).collect();
        Self { operations, scores_by_word }
    }
}

/// Returns the words of phrasings, each with the sum of its weights.
fn count_words(phrasings: &str) -> HashMap<String, f32> {
    let mut counts = HashMap::new();
    for phrasing in phrasings.split("; ") {
        for (word, weight) in weigh_words(phrasing) {
            *counts.entry(word).or_default() += weight;
        }
    }
    counts
}

/// Returns the words of one phrasing and their synonyms, each with its greatest weight.
fn weigh_words(phrasing: &str) -> HashMap<String, f32> {
    static ACCIDENTAL: LazyLock<Vec<String>> = LazyLock::new(|| split_words(ACCIDENTAL_WORDS));
    let mut weights: HashMap<String, f32> = HashMap::new();
    for word in split_words(phrasing).into_iter().filter(|word| !ACCIDENTAL.contains(word)) {
        for synonym in meanings().get(&word).map(|meaning| meaning.synonyms.as_slice()).unwrap_or_default() {
            let weight = weights.entry(synonym.stem.clone()).or_default();
            *weight = weight.max(if synonym.is_near { NEAR_SYNONYM } else { SYNONYM });
        }
        weights.insert(word, 1.0);
    }
    weights
}

/// Returns the indexes of the operations that users mean by the words of a query, the best first.
pub(super) fn find_operations(model: &SchemaModel, query: &str) -> Vec<usize> {
    static INDEX: LazyLock<PhrasingIndex> = LazyLock::new(|| PhrasingIndex::parse(PHRASINGS));
    let mut line_scores = vec![0.0_f32; INDEX.operations.len()];
    let mut have_meaning = vec![false; INDEX.operations.len()];
    for (word, weight) in weigh_words(query) {
        let has_meaning = meanings().get(&word).is_none_or(|meaning| !meaning.is_stop_word);
        for LineScore { line, score } in INDEX.scores_by_word.get(&word).into_iter().flatten() {
            line_scores[*line] += weight * score;
            have_meaning[*line] |= has_meaning;
        }
    }
    // Lines that share only words such as "which" with the query fit by accident.
    line_scores
        .iter_mut()
        .zip(have_meaning)
        .filter(|(_, has_meaning)| !has_meaning)
        .for_each(|(score, _)| *score = 0.0);
    let mut ranked: Vec<(f32, &OperationName)> = Vec::new();
    for (score, operations) in line_scores.iter().zip(&INDEX.operations).filter(|(score, _)| **score > 0.0) {
        let score_at = |place: usize| score / (1.0 + PLACE_DISCOUNT * place as f32);
        ranked.extend(operations.iter().enumerate().map(|(place, operation)| (score_at(place), operation)));
    }
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut found = Vec::new();
    for (_, operation) in ranked {
        if found.len() == MAX_OPERATIONS {
            break;
        }
        found.extend(operation.find(model).filter(|operation| !found.contains(operation)));
    }
    found
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
            |word: &str| index.scores_by_word[&stem(word)].iter().map(|scored| scored.score).fold(0.0, f32::max);
        assert!(score("pool") > score("list"));
        assert!(score("node") > score("old"), "a repeated word counts more");
        assert!(!index.scores_by_word.contains_key("the"));
    }
}
