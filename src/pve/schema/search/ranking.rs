//! Ranks the operations of a schema for a query.

use super::index::{OperationEntry, OperationScope, Posting, SearchIndex};
use super::objects;
use super::path_query;
use super::phrasings;
use super::query_words::parse_words;
use super::search_query::{SearchQuery, WeightedWord};
use super::tokenizer::MAX_QUERY_CHARS;
use super::topics;
use crate::pve::method::Method;
use crate::pve::schema::model::{Operation, SchemaModel};
use std::collections::HashMap;

/// Share of the score of a second synonym.
const SECOND_SYNONYM_SHARE: f32 = 0.2;

/// Share of the score that depends on how many of the query's words an operation has.
const COVERAGE_SHARE: f32 = 0.6;

/// Factor for an operation of an area that the query does not mention.
const OTHER_AREA_FACTOR: f32 = 0.8;

/// Weight of the places of operations on the objects that a query speaks of.
const OBJECT_WEIGHT: f32 = 0.9;

/// Weight of the places of a topic that hardly fits by accident.
const CERTAIN_TOPIC_WEIGHT: f32 = 1.2;

/// Share of the score that depends on whether the method is the one that the query's verb asks for.
const VERB_SHARE: f32 = 0.6;

/// Greatest score from names of parameters.
const MAX_PARAMETER_SCORE: f32 = 2.5;

/// Share of the best score below which operations are left out.
const MIN_SCORE_SHARE: f32 = 0.2;

/// Returns at most `limit` operations for a query, the best first.
pub(in crate::pve::schema) fn find_operations<'s>(
    model: &'s SchemaModel,
    index: &SearchIndex,
    query: &str,
    limit: usize,
) -> Vec<Operation<'s>> {
    let query: String = query.chars().take(MAX_QUERY_CHARS).collect();
    let query = query.trim();
    let mut found = path_query::find_named(model, query);
    let words = parse_words(Some(index), query);
    let parsed = SearchQuery::new(index, query, &words);
    if found.is_empty() {
        let topics = topics::find_operations(model, &words);
        let topic_weight = if topics.is_certain { CERTAIN_TOPIC_WEIGHT } else { 1.0 };
        let lists = [
            (1.0, phrasings::find_operations(model, &words)),
            (1.0, rank_operations(index, &parsed)),
            (topic_weight, topics.operations),
            (OBJECT_WEIGHT, objects::find_operations(model, &words, parsed.hint)),
        ];
        found = merge_by_place(&lists, |operation| {
            let fit = parsed.hint.map_or(1.0, |hint| hint.method_fit(index.entries[operation].method));
            1.0 - VERB_SHARE + VERB_SHARE * fit
        });
    } else {
        let of_words = rank_operations(index, &parsed).into_iter().take(limit);
        let further: Vec<usize> = of_words.filter(|operation| !found.contains(operation)).collect();
        found.extend(further);
    }
    found.into_iter().take(limit).filter_map(|operation| model.operation(operation)).collect()
}

/// Returns the sentence of the first topic of a query that has one.
pub(in crate::pve::schema) fn find_note(query: &str) -> Option<&'static str> {
    topics::find_note(&parse_words(None, query))
}

/// Returns at most `limit` groups of operations for a query, the best first. The operations of a group do the same: to a
/// VM and to a container, on one node and in the whole cluster, or at once and as a task.
pub(in crate::pve::schema) fn find_groups<'s>(
    model: &'s SchemaModel,
    index: &SearchIndex,
    query: &str,
    limit: usize,
) -> Vec<Vec<Operation<'s>>> {
    let mut groups: Vec<(TwinKey, Vec<Operation<'s>>)> = Vec::new();
    for operation in find_operations(model, index, query, usize::MAX) {
        let key = TwinKey::new(&operation);
        match groups.iter().position(|(known, _)| *known == key) {
            Some(place) => groups[place].1.push(operation),
            None if groups.len() < limit => groups.push((key, vec![operation])),
            None => {}
        }
    }
    if path_query::find_named(model, query.trim()).is_empty() {
        put_reads_first(index, query, &mut groups);
    }
    let add_twins = |(key, mut group): (TwinKey, Vec<Operation<'s>>)| {
        let is_known = |twin: &Operation<'_>| {
            group.iter().any(|known| (known.method(), known.template()) == (twin.method(), twin.template()))
        };
        let twins: Vec<_> = model.operations().filter(|twin| !is_known(twin) && TwinKey::new(twin) == key).collect();
        group.extend(twins);
        group
    };
    groups.into_iter().map(add_twins).collect()
}

/// Puts what reads before what changes, if a query asks. If it names a thing only, each read comes before the changes of its
/// path.
fn put_reads_first(index: &SearchIndex, query: &str, groups: &mut Vec<(TwinKey, Vec<Operation<'_>>)>) {
    let query: String = query.chars().take(MAX_QUERY_CHARS).collect();
    let words = parse_words(Some(index), query.trim());
    let parsed = SearchQuery::new(index, query.trim(), &words);
    if parsed.is_question {
        groups.sort_by_key(|(key, _)| key.method != Method::Get);
    } else if parsed.names_thing {
        for at in 1..groups.len() {
            let is_change = |(key, _): &(TwinKey, Vec<Operation<'_>>)| {
                key.method != Method::Get && key.template == groups[at].0.template
            };
            if groups[at].0.method == Method::Get
                && let Some(change) = groups[..at].iter().position(is_change)
            {
                groups[change..=at].rotate_right(1);
            }
        }
    }
}

/// What operations have in common that do the same to different objects.
#[derive(PartialEq, Eq)]
struct TwinKey {
    method: Method,
    template: String,
    required: Vec<String>,
}

impl TwinKey {
    fn new(operation: &Operation<'_>) -> Self {
        let segments: Vec<&str> = operation.template().split('/').filter(|segment| !segment.is_empty()).collect();
        let mut method = operation.method();
        let template = match segments.as_slice() {
            ["nodes", _, "qemu" | "lxc", rest @ ..] => {
                // Changes the configuration as a task.
                if method == Method::Post && rest.last() == Some(&"config") {
                    method = Method::Put;
                }
                format!("guest/{}", rest.join("/"))
            }
            ["nodes", _, area @ ("tasks" | "ceph" | "firewall"), rest @ ..]
            | ["cluster", area @ ("tasks" | "ceph" | "firewall"), rest @ ..] => format!("{area}/{}", rest.join("/")),
            _ => operation.template().to_owned(),
        };
        let names = operation.parameters().filter(|parameter| parameter.is_required());
        let names = names.filter(|parameter| !operation.is_path_parameter(parameter.name()));
        Self { method, template, required: names.map(|parameter| parameter.name().to_owned()).collect() }
    }
}

/// Merges ranked lists by the places of their members, in shares of the weight of each list (reciprocal rank fusion).
/// `fit` is a factor for each.
fn merge_by_place(lists: &[(f32, Vec<usize>)], fit: impl Fn(usize) -> f32) -> Vec<usize> {
    let mut scores: Vec<(f32, usize)> = Vec::new();
    let mut position_by_operation: HashMap<usize, usize> = HashMap::new();
    for (weight, list) in lists {
        for (place, operation) in list.iter().enumerate() {
            let position = *position_by_operation.entry(*operation).or_insert(scores.len());
            if position == scores.len() {
                scores.push((0.0, *operation));
            }
            scores[position].0 += weight / (1.0 + place as f32);
        }
    }
    scores.iter_mut().for_each(|(score, operation)| *score *= fit(*operation));
    scores.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    scores.into_iter().map(|(_, operation)| operation).collect()
}

/// Score of an operation.
#[derive(Clone, Copy, Default)]
struct OperationScore {
    text: f32,
    parameters: f32,
    /// Sum of the greatest possible scores of the groups of which the operation has a word.
    covered: f32,
}

/// Score of an operation for one group of synonyms.
#[derive(Clone, Copy, Default)]
struct GroupScore {
    score: f32,
    only_parameter: bool,
}

/// Returns the indexes of the operations that fit, the best first.
fn rank_operations(index: &SearchIndex, query: &SearchQuery) -> Vec<usize> {
    let mut scores = vec![OperationScore::default(); index.entries.len()];
    let mut group_scores = vec![GroupScore::default(); scores.len()];
    let mut max_covered = f32::MIN_POSITIVE;
    for group in &query.groups {
        group_scores.fill(GroupScore::default());
        let max_score = score_group(index, group, &mut group_scores);
        max_covered += max_score;
        for (total, group) in scores.iter_mut().zip(&group_scores).filter(|(_, group)| group.score > 0.0) {
            *(if group.only_parameter { &mut total.parameters } else { &mut total.text }) += group.score;
            total.covered += max_score;
        }
    }
    let scored = scores.iter().zip(&index.entries).enumerate().map(|(operation, (score, entry))| {
        let coverage = 1.0 - COVERAGE_SHARE + COVERAGE_SHARE * score.covered / max_covered;
        let words = score.text + score.parameters.min(MAX_PARAMETER_SCORE);
        (words * compute_fit(query, entry) * coverage, operation)
    });
    let mut ranked: Vec<(f32, usize)> = scored.filter(|(score, _)| *score > 0.0).collect();
    let order = |operation: usize| {
        let entry = &index.entries[operation];
        (entry.depth, entry.method != Method::Get, operation)
    };
    ranked.sort_by(|(a, i), (b, j)| b.total_cmp(a).then_with(|| order(*i).cmp(&order(*j))));
    let min_score = ranked.first().map_or(0.0, |(best, _)| best * MIN_SCORE_SHARE);
    ranked.into_iter().filter(|(score, _)| *score >= min_score).map(|(_, operation)| operation).collect()
}

/// Adds the scores of one group of synonyms and returns the greatest possible one.
fn score_group(index: &SearchIndex, group: &[WeightedWord], scores: &mut [GroupScore]) -> f32 {
    let mut max_score = 0.0_f32;
    for word in group {
        let postings = index.postings(&word.stem);
        let rarity = compute_rarity(scores.len(), postings);
        max_score = max_score.max(word.weight * rarity);
        for posting in postings {
            let score = word.weight * rarity * f32::from(posting.weight) / 255.0;
            let best = &mut scores[usize::from(posting.operation)];
            // Two synonyms count a little more than one.
            let second = best.score.min(score) * SECOND_SYNONYM_SHARE;
            if best.score < score {
                *best = GroupScore { score, only_parameter: posting.only_parameter };
            }
            best.score += second;
        }
    }
    max_score
}

/// Returns how much a word means that these operations have.
fn compute_rarity(operations: usize, postings: &[Posting]) -> f32 {
    let weight: f32 = postings.iter().map(|posting| f32::from(posting.weight) / 255.0).sum();
    (1.0 + operations as f32 / (weight + 0.5)).ln()
}

/// Returns how well an operation's method, object and area fit.
fn compute_fit(query: &SearchQuery, entry: &OperationEntry) -> f32 {
    let mut fit = match query.hint {
        Some(hint) => hint.method_fit(entry.method),
        None if entry.method == Method::Get => 1.0,
        None => 0.85,
    };
    let any_guest = query.guest || query.vm || query.container;
    fit *= match entry.scope {
        OperationScope::Vm if query.vm => 1.15,
        OperationScope::Vm if query.container => 0.6,
        OperationScope::Container if query.container => 1.15,
        OperationScope::Container if query.vm => 0.6,
        OperationScope::Vm | OperationScope::Container if !any_guest && (query.node || query.cluster) => 0.5,
        OperationScope::Container => 0.97,
        OperationScope::Node if query.node && !any_guest => 1.15,
        OperationScope::Cluster if query.cluster && !any_guest => 1.15,
        OperationScope::Other if any_guest => 0.9,
        _ => 1.0,
    };
    if entry.area & !query.areas != 0 {
        fit *= OTHER_AREA_FACTOR;
    }
    if entry.low_priority {
        fit *= 0.7;
    }
    if entry.is_item && entry.method == Method::Get {
        fit *= if query.wants_list { 0.85 } else { 0.95 };
    }
    fit
}
