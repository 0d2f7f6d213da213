//! The objects that users speak of, and the operation of each for each kind of verb.
//!
//! A line of `objects.tsv` has keys, and the operations that read, add, change and remove the object. A key is a word, or
//! several with `+` between them that must all be in the query. Words that few objects have count most.

use super::operation_name::{OperationName, find_best};
use super::query_word::QueryWord;
use super::thesaurus::MethodHint;
use super::tokenizer::split_words;
use crate::pve::schema::model::SchemaModel;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

const OBJECTS: &str = include_str!("objects.tsv");

/// The operations that one query finds.
const MAX_OPERATIONS: usize = 10;

/// Share of the score for each word of a key of several words, in addition.
const PAIR_BONUS: f32 = 0.5;

/// How much less each further operation of an object is meant.
const PLACE_DISCOUNT: f32 = 0.4;

struct ApiObject {
    /// The stems of each key.
    keys: Vec<Vec<String>>,
    read: Vec<OperationName>,
    add: Vec<OperationName>,
    change: Vec<OperationName>,
    remove: Vec<OperationName>,
}

struct ObjectIndex {
    objects: Vec<ApiObject>,
    rarity_by_word: HashMap<String, f32>,
}

impl ApiObject {
    fn parse(line: &str) -> Self {
        let mut columns = line.split('\t');
        let mut column = || columns.next().expect("keys and four columns of operations");
        let keys = column().split(' ').map(|key| split_words(&key.replace('+', " "))).collect();
        let mut operations = || OperationName::parse_all(column());
        Self { keys, read: operations(), add: operations(), change: operations(), remove: operations() }
    }

    fn words(&self) -> HashSet<&str> {
        self.keys.iter().flatten().map(String::as_str).collect()
    }

    /// Returns the operations for a kind of verb, the best first.
    fn operations(&self, hint: Option<MethodHint>) -> impl Iterator<Item = &OperationName> {
        let lists = match hint {
            None => [&self.read, &self.change, &self.add],
            Some(MethodHint::Read) => [&self.read, &self.change, &self.read],
            Some(MethodHint::Create) => [&self.add, &self.change, &self.read],
            Some(MethodHint::Change | MethodHint::Action) => [&self.change, &self.add, &self.read],
            Some(MethodHint::Remove) => [&self.remove, &self.change, &self.read],
        };
        lists.into_iter().flatten()
    }
}

fn index() -> &'static ObjectIndex {
    static INDEX: LazyLock<ObjectIndex> = LazyLock::new(|| {
        let objects: Vec<ApiObject> = OBJECTS.lines().map(ApiObject::parse).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in objects.iter().flat_map(ApiObject::words) {
            *counts.entry(word).or_default() += 1;
        }
        let rarity = |count: usize| (1.0 + objects.len() as f32 / (count as f32 + 0.5)).ln();
        let rarity_by_word = counts.into_iter().map(|(word, count)| (word.to_owned(), rarity(count))).collect();
        ObjectIndex { objects, rarity_by_word }
    });
    &INDEX
}

/// Returns whether an object has a word.
pub(super) fn has_word(stem: &str) -> bool {
    index().rarity_by_word.contains_key(stem)
}

/// Returns the indexes of the operations on the objects that a query speaks of, the best first.
pub(super) fn find_operations(model: &SchemaModel, words: &[QueryWord], hint: Option<MethodHint>) -> Vec<usize> {
    let weight_of =
        |wanted: &str| words.iter().filter(|word| word.stem == wanted).map(|word| word.weight).reduce(f32::max);
    let mut ranked: Vec<(f32, &OperationName)> = Vec::new();
    for object in &index().objects {
        let mut said: HashMap<&str, f32> = HashMap::new();
        let mut bonus = 0.0;
        for key in &object.keys {
            let scores = key.iter().map(|word| Some((word, index().rarity_by_word[word] * weight_of(word)?)));
            let Some(scores) = scores.collect::<Option<Vec<_>>>() else { continue };
            if scores.len() > 1 {
                bonus += PAIR_BONUS;
            }
            said.extend(scores.into_iter().map(|(word, score)| (word.as_str(), score)));
        }
        if said.is_empty() {
            continue;
        }
        let mut scores: Vec<f32> = said.into_values().collect();
        scores.sort_by(f32::total_cmp);
        let score = scores.into_iter().sum::<f32>() + bonus;
        for (place, operation) in object.operations(hint).enumerate() {
            ranked.push((score / (1.0 + PLACE_DISCOUNT * place as f32), operation));
        }
    }
    find_best(model, ranked, MAX_OPERATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;

    #[test]
    fn every_object_names_operations_that_exist() {
        for line in OBJECTS.lines() {
            let object = ApiObject::parse(line);
            assert!(object.keys.iter().all(|key| !key.is_empty()), "{line}");
            for operations in [&object.read, &object.add, &object.change, &object.remove] {
                assert!(!operations.is_empty(), "{line}");
                for operation in operations {
                    assert!(operation.find(embedded_schema()).is_some(), "{}: {line}", operation.template);
                }
            }
        }
    }
}
