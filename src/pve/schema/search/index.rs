//! Which words an operation is known by, and how well each of them says what it is.

use super::super::{Method, Operation, Schema};
use super::thesaurus::meanings;
use super::tokenizer::{split_words, stem};
use std::collections::{BTreeMap, HashMap};

/// Of what a description served in a cluster's name may make: an index of any schema takes less than 600 kB.
const MAX_POSTINGS: usize = 40_000;
const MAX_TERMS: usize = 10_000;
const MAX_TEXT: usize = 150_000;

/// How much a word's place says. The last literal segment of a path names the thing, those before it where it is.
const LAST_SEGMENT: f32 = 4.0;
const SEGMENT: f32 = 1.6;
/// Each part of a segment of several words (`suspend-disk`), of what the whole would count.
const SEGMENT_PART_FACTOR: f32 = 0.65;
const PATH_PARAMETER: f32 = 1.0;
/// The first segments of most paths.
const ROOT_SEGMENT: f32 = 0.4;
/// The summary up to a colon or bracket, and what comes after.
const SUMMARY: f32 = 2.6;
const DETAIL: f32 = 1.4;
const NAME: f32 = 0.8;
const DESCRIPTION: f32 = 0.5;
/// More of a cluster's words for an operation are not looked at.
const MAX_DESCRIPTION: usize = 40;
/// A parameter of this name, and one whose name has the word in it.
const PARAMETER: f32 = 0.9;
const PARAMETER_PART: f32 = 0.35;
/// At this weight a word says half of what it could.
const HALF_WEIGHT: f32 = 2.0;

/// Segments whose operations are rarely meant where a question says nothing of them.
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

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationScope {
    Vm,
    Container,
    /// A node, but no guest on it.
    Node,
    Cluster,
    Other,
}

/// One operation that a word belongs to.
#[derive(Clone, Copy)]
pub(super) struct Posting {
    pub(super) operation: u16,
    /// How well the word says what the operation is: of 255.
    pub(super) weight: u8,
    /// Whether only a parameter has the word.
    pub(super) only_parameter: bool,
}

struct Term {
    start: u32,
    len: u32,
    first: u32,
    count: u32,
}

/// What is known of an operation beside its words.
pub(super) struct OperationEntry {
    pub(super) method: Method,
    pub(super) scope: OperationScope,
    /// Segments of the path.
    pub(super) depth: u8,
    /// Whether the path ends with a parameter: one thing of several.
    pub(super) is_item: bool,
    /// Which of the areas the path goes through: a bit.
    pub(super) area: u16,
    /// Said of those that lead to others, or that others replace.
    pub(super) low_priority: bool,
}

/// The words of all operations.
pub(in super::super) struct SearchIndex {
    text: String,
    terms: Vec<Term>,
    postings: Vec<Posting>,
    pub(super) entries: Vec<OperationEntry>,
}

#[derive(Default, Clone, Copy)]
struct WordWeight {
    total: f32,
    parameter: f32,
}

impl SearchIndex {
    pub(in super::super) fn new(schema: &Schema) -> Self {
        let mut found: BTreeMap<String, Vec<Posting>> = BTreeMap::new();
        let (mut postings, mut text) = (0, 0);
        let mut entries = Vec::with_capacity(schema.len());
        for (at, operation) in schema.operations().enumerate() {
            entries.push(build_entry(&operation));
            let mut known = weigh(&operation);
            // What can be changed there can be read there.
            if operation.method() == Method::Get && operation.template().ends_with("/config") {
                let segments: Vec<&str> = operation.template().split('/').filter(|s| !s.is_empty()).collect();
                let here = schema.match_path(&segments).ok();
                let changes = here.iter().flat_map(|found| found.operations()).find(|o| o.method() == Method::Put);
                if let Some(changes) = changes {
                    add_parameter_words(&changes, 1.0, &mut known);
                }
            }
            let mut known: Vec<(String, WordWeight)> = known.into_iter().collect();
            // The best words come first, should the bound be met. The word decides between equals.
            known.sort_by(|(a, x), (b, y)| y.total.total_cmp(&x.total).then_with(|| a.cmp(b)));
            for (word, weight) in known {
                let new = !found.contains_key(&word);
                text += if new { word.len() } else { 0 };
                if postings == MAX_POSTINGS || new && (found.len() == MAX_TERMS || text > MAX_TEXT) {
                    continue;
                }
                postings += 1;
                let sum = weight.total + weight.parameter;
                found.entry(word).or_default().push(Posting {
                    operation: at as u16,
                    weight: (255.0 * sum / (sum + HALF_WEIGHT)) as u8,
                    only_parameter: weight.total == 0.0,
                });
            }
        }
        Self::pack(found, entries, postings)
    }

    fn pack(found: BTreeMap<String, Vec<Posting>>, entries: Vec<OperationEntry>, postings: usize) -> Self {
        let mut index = Self {
            text: String::new(),
            terms: Vec::with_capacity(found.len()),
            postings: Vec::with_capacity(postings),
            entries,
        };
        for (word, list) in found {
            let (start, first) = (index.text.len() as u32, index.postings.len() as u32);
            index.terms.push(Term { start, len: word.len() as u32, first, count: list.len() as u32 });
            index.text.push_str(&word);
            index.postings.extend(list);
        }
        index.text.shrink_to_fit();
        index
    }

    fn word(&self, term: &Term) -> &str {
        self.text.get(term.start as usize..).and_then(|rest| rest.get(..term.len as usize)).unwrap_or("")
    }

    /// All words, in order.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| self.word(term))
    }

    /// The operations that a word belongs to; none for one that is unknown.
    pub(super) fn postings(&self, word: &str) -> &[Posting] {
        let Ok(at) = self.terms.binary_search_by(|term| self.word(term).cmp(word)) else { return &[] };
        let list = self.terms.get(at).and_then(|term| {
            let rest = self.postings.get(term.first as usize..)?;
            rest.get(..term.count as usize)
        });
        list.unwrap_or_default()
    }

    /// The areas that a word speaks of: that of its name, or the one that nearly all its operations are in.
    pub(super) fn areas(&self, word: &str) -> u16 {
        let named = AREAS.iter().position(|area| stem(area) == word).map_or(0, |at| 1 << at);
        let list = self.postings(word);
        let mut each = [0_usize; 16];
        for posting in list {
            let area = self.entries.get(usize::from(posting.operation)).map_or(0, |entry| entry.area);
            if let Some(count) = each.get_mut(area.trailing_zeros() as usize) {
                *count += 1;
            }
        }
        let within = each.iter().position(|count| *count * 4 > list.len() * 3);
        named | within.map_or(0, |at| 1 << at)
    }

    pub(in super::super) fn size_bytes(&self) -> usize {
        self.text.capacity()
            + self.terms.capacity() * size_of::<Term>()
            + self.postings.capacity() * size_of::<Posting>()
            + self.entries.capacity() * size_of::<OperationEntry>()
    }
}

fn build_entry(operation: &Operation<'_>) -> OperationEntry {
    let segments: Vec<&str> = operation.template().split('/').filter(|s| !s.is_empty()).collect();
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
        area: segments.iter().find_map(|s| AREAS.iter().position(|area| area == s)).map_or(0, |at| 1 << at),
        is_item: segments.last().is_some_and(|s| s.starts_with('{')),
        low_priority: operation.has_low_priority(),
    }
}

fn weigh(operation: &Operation<'_>) -> HashMap<String, WordWeight> {
    let mut known: HashMap<String, WordWeight> = HashMap::new();
    let mut add = |mut words: Vec<String>, weight: f32| {
        // A word that stands twice in one place says no more than once.
        words.sort();
        words.dedup();
        for word in words {
            let of = &mut known.entry(word).or_default().total;
            *of = of.max(weight) + of.min(weight) * 0.5;
        }
    };
    let segments = || operation.template().split('/').filter(|s| !s.is_empty());
    let literals: Vec<&str> = segments().filter(|s| !s.starts_with('{')).collect();
    for (place, segment) in literals.iter().rev().enumerate() {
        let root = place + 1 == literals.len();
        let weight = if place == 0 {
            LAST_SEGMENT
        } else if root {
            ROOT_SEGMENT
        } else {
            SEGMENT
        };
        let words = split_words(segment);
        let whole = words.len() == 1;
        add(words, if whole { weight } else { weight * SEGMENT_PART_FACTOR });
    }
    for parameter in segments().filter(|s| s.starts_with('{')) {
        add(split_words(parameter), PATH_PARAMETER);
    }
    let summary = operation.summary();
    let (main, detail) = summary.split_at(summary.find([':', '(', ';']).unwrap_or(summary.len()));
    add(split_words(main), SUMMARY);
    add(split_words(detail), DETAIL);
    // Names are full of verbs that only say the method again.
    let silent = |word: &String| word == "index" || meanings().get(word).is_some_and(|meaning| meaning.is_stop_word);
    let name = split_words(operation.name()).into_iter().filter(|word| word != "updat" && !silent(word)).collect();
    add(name, NAME);
    let description: Vec<&str> = operation.description().split_whitespace().take(MAX_DESCRIPTION).collect();
    add(split_words(&description.join(" ")), DESCRIPTION);
    // A parameter is rather looked for to be changed than to be given when a thing is made.
    let changes = if operation.method() == Method::Put || literals.last() == Some(&"config") { 1.0 } else { 0.85 };
    add_parameter_words(operation, changes, &mut known);
    known
}

/// Adds the words of an operation's parameters.
fn add_parameter_words(operation: &Operation<'_>, part: f32, known: &mut HashMap<String, WordWeight>) {
    for parameter in operation.parameters().filter(|p| !operation.is_path_parameter(p.name())) {
        let parts = split_words(parameter.family().unwrap_or(parameter.name()));
        let weight = part * if parts.len() == 1 { PARAMETER } else { PARAMETER_PART };
        for word in parts {
            let of = &mut known.entry(word).or_default().parameter;
            *of = of.max(weight);
        }
    }
}
