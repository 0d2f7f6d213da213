//! The words of each operation, with a weight for how well a word identifies the operation.

use super::thesaurus::meanings;
use super::tokenizer::{split_words, stem};
use crate::pve::method::Method;
use crate::pve::schema::model::{Operation, SchemaModel};
use std::collections::{BTreeMap, HashMap};

// Limits for malicious descriptions. An index of any schema takes less than 600 kB.
const MAX_POSTINGS: usize = 40_000;
const MAX_TERMS: usize = 10_000;
const MAX_TEXT_BYTES: usize = 150_000;

// Weights of a word by its place. The last literal segment of a path names the object, those before it the location.
const LAST_SEGMENT: f32 = 4.0;
const SEGMENT: f32 = 1.6;
/// Share of the weight for each word of a segment of several words (`suspend-disk`).
const SEGMENT_PART_FACTOR: f32 = 0.65;
const PATH_PARAMETER: f32 = 1.0;
/// The first segment of a path, which most paths have in common with others.
const ROOT_SEGMENT: f32 = 0.4;
/// The summary up to a colon, semicolon or bracket.
const SUMMARY: f32 = 2.6;
/// The rest of the summary.
const DETAIL: f32 = 1.4;
const NAME: f32 = 0.8;
const DESCRIPTION: f32 = 0.5;
/// Words of a cluster's own description that are indexed.
const MAX_DESCRIPTION_WORDS: usize = 40;
/// The name of a parameter.
const PARAMETER: f32 = 0.9;
/// Each word of a parameter's name of several words.
const PARAMETER_PART: f32 = 0.35;
/// Weight at which a word gets half of the greatest score.
const HALF_WEIGHT: f32 = 2.0;

/// Segments whose operations are rarely meant by a query that does not mention them.
const AREAS: [&str; 16] = [
    "acme",
    "agent",
    "ceph",
    "certificates",
    "cloudinit",
    "disks",
    "firewall",
    "ha",
    "mapping",
    "metrics",
    "notifications",
    "replication",
    "sdn",
    "services",
    "snapshot",
    "tfa",
];

/// Kind of object that an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationScope {
    Vm,
    Container,
    /// A node without its guests.
    Node,
    Cluster,
    Other,
}

/// An operation that has a word.
#[derive(Clone, Copy)]
pub(super) struct Posting {
    pub(super) operation: u16,
    /// Share of 255 to which the word identifies the operation.
    pub(super) weight: u8,
    /// True if the word occurs only in names of parameters.
    pub(super) only_parameter: bool,
}

/// A word, as ranges of [`SearchIndex::text`] and [`SearchIndex::postings`].
struct Term {
    text_start: u32,
    text_len: u32,
    first_posting: u32,
    posting_count: u32,
}

/// Properties of an operation that affect its rank.
pub(super) struct OperationEntry {
    pub(super) method: Method,
    pub(super) scope: OperationScope,
    /// Number of segments of the path.
    pub(super) depth: u8,
    /// True if the path ends with a parameter, so that it is one object of several.
    pub(super) is_item: bool,
    /// The first of [`AREAS`] in the path, as a bit.
    pub(super) area: u16,
    pub(super) low_priority: bool,
}

/// The words of all operations.
pub(in crate::pve::schema) struct SearchIndex {
    text: String,
    /// In the order of their words.
    terms: Vec<Term>,
    postings: Vec<Posting>,
    pub(super) entries: Vec<OperationEntry>,
}

/// Weight of a word of one operation.
#[derive(Default, Clone, Copy)]
struct WordWeight {
    /// Weight of the places other than parameters.
    text: f32,
    parameter: f32,
}

impl SearchIndex {
    pub(in crate::pve::schema) fn new(model: &SchemaModel) -> Self {
        let mut postings_by_word: BTreeMap<String, Vec<Posting>> = BTreeMap::new();
        let (mut posting_count, mut text_bytes) = (0, 0);
        let mut entries = Vec::with_capacity(model.len());
        for (index, operation) in model.operations().enumerate() {
            entries.push(build_entry(&operation));
            let mut words: Vec<(String, WordWeight)> = weigh(model, &operation).into_iter().collect();
            // The best words come first, in case a limit is reached. Equal words are in alphabetical order.
            words.sort_by(|(a, x), (b, y)| y.text.total_cmp(&x.text).then_with(|| a.cmp(b)));
            for (word, weight) in words {
                let is_new = !postings_by_word.contains_key(&word);
                text_bytes += if is_new { word.len() } else { 0 };
                let is_full = postings_by_word.len() == MAX_TERMS || text_bytes > MAX_TEXT_BYTES;
                if posting_count == MAX_POSTINGS || is_new && is_full {
                    continue;
                }
                posting_count += 1;
                let sum = weight.text + weight.parameter;
                postings_by_word.entry(word).or_default().push(Posting {
                    operation: index as u16,
                    weight: (255.0 * sum / (sum + HALF_WEIGHT)) as u8,
                    only_parameter: weight.text == 0.0,
                });
            }
        }
        Self::pack(postings_by_word, entries, posting_count)
    }

    fn pack(
        postings_by_word: BTreeMap<String, Vec<Posting>>,
        entries: Vec<OperationEntry>,
        posting_count: usize,
    ) -> Self {
        let mut text = String::new();
        let mut terms = Vec::with_capacity(postings_by_word.len());
        let mut postings = Vec::with_capacity(posting_count);
        for (word, list) in postings_by_word {
            terms.push(Term {
                text_start: text.len() as u32,
                text_len: word.len() as u32,
                first_posting: postings.len() as u32,
                posting_count: list.len() as u32,
            });
            text.push_str(&word);
            postings.extend(list);
        }
        text.shrink_to_fit();
        Self { text, terms, postings, entries }
    }

    fn word(&self, term: &Term) -> &str {
        &self.text[term.text_start as usize..][..term.text_len as usize]
    }

    /// Returns all words in alphabetical order.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| self.word(term))
    }

    /// Returns the operations that have a word.
    pub(super) fn postings(&self, word: &str) -> &[Posting] {
        let Ok(index) = self.terms.binary_search_by(|term| self.word(term).cmp(word)) else { return &[] };
        let term = &self.terms[index];
        &self.postings[term.first_posting as usize..][..term.posting_count as usize]
    }

    /// Returns the areas that a word refers to, as bits: the area of its name, and the one that has nearly all its
    /// operations.
    pub(super) fn areas(&self, word: &str) -> u16 {
        let named = AREAS.iter().position(|area| stem(area) == word).map_or(0, |index| 1 << index);
        let postings = self.postings(word);
        let mut counts = [0_usize; AREAS.len()];
        for posting in postings {
            let area = self.entries[usize::from(posting.operation)].area;
            if area != 0 {
                counts[area.trailing_zeros() as usize] += 1;
            }
        }
        let main = counts.iter().position(|count| *count * 4 > postings.len() * 3);
        named | main.map_or(0, |index| 1 << index)
    }

    pub(in crate::pve::schema) fn size_bytes(&self) -> usize {
        self.text.capacity()
            + self.terms.capacity() * size_of::<Term>()
            + self.postings.capacity() * size_of::<Posting>()
            + self.entries.capacity() * size_of::<OperationEntry>()
    }
}

fn split_path<'s>(operation: &Operation<'s>) -> Vec<&'s str> {
    operation.template().split('/').filter(|s| !s.is_empty()).collect()
}

fn build_entry(operation: &Operation<'_>) -> OperationEntry {
    let segments = split_path(operation);
    OperationEntry {
        method: operation.method(),
        scope: match segments.as_slice() {
            ["nodes", _, "qemu", ..] => OperationScope::Vm,
            ["nodes", _, "lxc", ..] => OperationScope::Container,
            ["nodes", ..] => OperationScope::Node,
            ["cluster", ..] => OperationScope::Cluster,
            _ => OperationScope::Other,
        },
        depth: segments.len().min(255) as u8,
        area: segments.iter().find_map(|s| AREAS.iter().position(|area| area == s)).map_or(0, |index| 1 << index),
        is_item: segments.last().is_some_and(|s| s.starts_with('{')),
        low_priority: operation.has_low_priority(),
    }
}

/// Returns the words of an operation.
fn weigh(model: &SchemaModel, operation: &Operation<'_>) -> HashMap<String, WordWeight> {
    let mut weights: HashMap<String, WordWeight> = HashMap::new();
    let mut add = |mut words: Vec<String>, weight: f32| {
        // A word counts once for each place.
        words.sort();
        words.dedup();
        for word in words {
            let total = &mut weights.entry(word).or_default().text;
            *total = total.max(weight) + total.min(weight) * 0.5;
        }
    };
    let segments = split_path(operation);
    let (parameters, literals): (Vec<&str>, Vec<&str>) = segments.iter().copied().partition(|s| s.starts_with('{'));
    for (from_end, segment) in literals.iter().rev().enumerate() {
        let is_root = from_end + 1 == literals.len();
        let weight = match from_end {
            0 => LAST_SEGMENT,
            _ if is_root => ROOT_SEGMENT,
            _ => SEGMENT,
        };
        let words = split_words(segment);
        let share = if words.len() == 1 { 1.0 } else { SEGMENT_PART_FACTOR };
        add(words, weight * share);
    }
    for parameter in parameters {
        add(split_words(parameter), PATH_PARAMETER);
    }
    let summary = operation.summary();
    let (main, detail) = summary.split_at(summary.find([':', '(', ';']).unwrap_or(summary.len()));
    add(split_words(main), SUMMARY);
    add(split_words(detail), DETAIL);
    // Names are full of verbs that only repeat the method.
    let is_verb = |word: &String| {
        word == "index" || word == "updat" || meanings().get(word).is_some_and(|meaning| meaning.is_stop_word)
    };
    add(split_words(operation.name()).into_iter().filter(|word| !is_verb(word)).collect(), NAME);
    let description: Vec<&str> = operation.description().split_whitespace().take(MAX_DESCRIPTION_WORDS).collect();
    add(split_words(&description.join(" ")), DESCRIPTION);
    // Queries for a parameter are rather about changing it than about creating an object with it.
    let changes = operation.method() == Method::Put || literals.last() == Some(&"config");
    add_parameter_words(operation, if changes { 1.0 } else { 0.85 }, &mut weights);
    // A configuration that can be changed on the same path has the same parameters.
    if operation.method() == Method::Get && operation.template().ends_with("/config") {
        let change = model.match_path(&segments).ok().and_then(|found| found.operation(Method::Put));
        if let Some(change) = change {
            add_parameter_words(&change, 1.0, &mut weights);
        }
    }
    weights
}

fn add_parameter_words(operation: &Operation<'_>, factor: f32, weights: &mut HashMap<String, WordWeight>) {
    for parameter in operation.parameters().filter(|p| !operation.is_path_parameter(p.name())) {
        let words = split_words(parameter.family().unwrap_or(parameter.name()));
        let weight = factor * if words.len() == 1 { PARAMETER } else { PARAMETER_PART };
        for word in words {
            let total = &mut weights.entry(word).or_default().parameter;
            *total = total.max(weight);
        }
    }
}
