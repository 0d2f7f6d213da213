//! Questions in words that no operation has: the operations that answer them, or the sentence that the API has none.
//!
//! `topics.tsv` has two kinds of lines. `=name` and words define a name for these words. Any other line is a topic: its
//! words, a sentence or nothing, and operations, the best first. Each word, or one of several with `|` between them, must
//! be in the query, and none after a `!`. `@name` is one of the words of that name.

use super::operation_name::OperationName;
use super::query_word::QueryWord;
use super::tokenizer::stem;
use crate::pve::schema::model::SchemaModel;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

const TOPICS: &str = include_str!("topics.tsv");

/// The most operations of topics in one answer. The ranking of words has the other places.
const MAX_OPERATIONS: usize = 3;

/// The words of a topic that hardly fits by accident.
const CERTAIN_WORDS: usize = 3;

struct SearchTopic {
    /// One stem of each group must be in the query.
    groups: Vec<Vec<String>>,
    /// No stem of these may be in the query.
    excluded: Vec<String>,
    note: Option<&'static str>,
    operations: Vec<OperationName>,
}

impl SearchTopic {
    fn parse(names: &HashMap<&'static str, &'static str>, line: &'static str) -> Self {
        let mut columns = line.split('\t');
        let mut column = || columns.next().expect("words, sentence, operations");
        let (words, note, operations) = (column(), column(), column());
        let stems = |words: &'static str| {
            let named = words.split('|').flat_map(|word| match word.strip_prefix('@') {
                Some(name) => names.get(name).expect("a name defined above").split('|'),
                None => word.split('|'),
            });
            named.map(stem).collect::<Vec<_>>()
        };
        let (excluded, groups): (Vec<&str>, Vec<&str>) = words.split(' ').partition(|word| word.starts_with('!'));
        Self {
            groups: groups.into_iter().map(stems).collect(),
            excluded: excluded.into_iter().flat_map(|word| stems(&word[1..])).collect(),
            note: Some(note).filter(|note| !note.is_empty()),
            operations: OperationName::parse_all(operations),
        }
    }

    fn fits(&self, words: &[QueryWord]) -> bool {
        let is_said = |wanted: &String| words.iter().any(|word| word.stem == *wanted);
        self.groups.iter().all(|group| group.iter().any(is_said)) && !self.excluded.iter().any(is_said)
    }
}

/// Returns all topics, the one with the most words first.
fn all_topics() -> &'static [SearchTopic] {
    static ALL: LazyLock<Vec<SearchTopic>> = LazyLock::new(|| {
        let (names, lines): (Vec<&str>, Vec<&str>) = TOPICS.lines().partition(|line| line.starts_with('='));
        let names = names.into_iter().map(|line| line[1..].split_once('\t').expect("a name and words")).collect();
        let mut topics: Vec<SearchTopic> = lines.into_iter().map(|line| SearchTopic::parse(&names, line)).collect();
        topics.sort_by_key(|topic| std::cmp::Reverse(topic.groups.len()));
        topics
    });
    &ALL
}

/// Returns whether a topic needs or excludes a word.
pub(super) fn has_word(stem: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        let of_topic = |topic: &'static SearchTopic| topic.groups.iter().flatten().chain(&topic.excluded);
        all_topics().iter().flat_map(of_topic).map(String::as_str).collect()
    });
    WORDS.contains(stem)
}

/// Returns the topics of a query, the one with the most words first.
fn find_topics(words: &[QueryWord]) -> Vec<&'static SearchTopic> {
    all_topics().iter().filter(|topic| topic.fits(words)).collect()
}

/// The operations of the topics of a query.
pub(super) struct TopicOperations {
    /// Indexes, the best first.
    pub(super) operations: Vec<usize>,
    /// True if a topic has so many words that it hardly fits by accident.
    pub(super) is_certain: bool,
}

/// Returns the first operations of the topics of a query, as far as the schema has them.
pub(super) fn find_operations(model: &SchemaModel, words: &[QueryWord]) -> TopicOperations {
    let topics = find_topics(words);
    let is_certain = topics.first().is_some_and(|topic| topic.groups.len() >= CERTAIN_WORDS);
    // The first operation of each topic comes before the second of any.
    let places = topics.iter().map(|topic| topic.operations.len()).max().unwrap_or(0);
    let in_turn = (0..places).flat_map(|place| topics.iter().filter_map(move |topic| topic.operations.get(place)));
    let mut found = Vec::new();
    for operation in in_turn {
        found.extend(operation.find(model).filter(|operation| !found.contains(operation)));
    }
    found.truncate(MAX_OPERATIONS);
    TopicOperations { operations: found, is_certain }
}

/// Returns the sentence of the first topic that has one.
pub(super) fn find_note(words: &[QueryWord]) -> Option<&'static str> {
    find_topics(words).into_iter().find_map(|topic| topic.note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;

    #[test]
    fn every_topic_names_operations_that_exist() {
        let names: HashMap<&str, &str> =
            TOPICS.lines().filter_map(|line| line.strip_prefix('=')?.split_once('\t')).collect();
        for line in TOPICS.lines().filter(|line| !line.starts_with('=')) {
            let topic = SearchTopic::parse(&names, line);
            assert!(!topic.operations.is_empty(), "{line}");
            for operation in &topic.operations {
                assert!(operation.find(embedded_schema()).is_some(), "{}: {line}", operation.template);
            }
        }
    }
}
