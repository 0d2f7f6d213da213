//! Finds operations by an administrator's words.
//!
//! Each word of a question, and each word the API has for the same thing, is looked up among the words of the
//! operations; rare words say more than common ones, a path's last name more than a parameter (BM25F, in short). Verbs
//! say which method is meant; "vm", "container", "node" whose operations. A question that is a path or an internal name
//! finds that first.

mod index;
mod paths;
mod thesaurus;
mod words;

pub(super) use index::Index;

use super::{Method, Operation, Schema};
use crate::nearest::nearest;
use index::{Posting, Scope};
use thesaurus::{Hint, meanings};

/// Of a question that is longer, the rest is not read.
const MAX_LETTERS: usize = 400;
const MAX_WORDS: usize = 40;

/// Words that are nothing we know, for which the nearest known one is taken.
const MAX_TYPOS: usize = 4;

/// How much another word for the same thing counts, one that only comes near, and one that may be meant.
const SYNONYM: f32 = 0.85;
const NEAR: f32 = 0.45;
const TYPO: f32 = 0.7;
const PLACE: f32 = 0.6;
/// A second word for the same thing.
const ALSO: f32 = 0.2;
/// How much of a score is lost where no word of the question is there.
const COVERED: f32 = 0.6;

const HARDWARE: [&str; 22] = [
    "disk", "drive", "nic", "network", "cpu", "core", "vcpu", "memory", "ram", "cdrom", "iso", "bios", "tpm", "usb",
    "pci", "gpu", "vlan", "tag", "note", "hostname", "mac", "hotplug",
];

/// What parameters' names may add at most.
const MAX_PARAMETERS: f32 = 1.6;

impl Schema {
    /// At most `limit` operations that these words ask for, the best first: a question, key words, a path (with or
    /// without method and values) or an internal name (`vm_start`). The first 400 characters and 40 words count. Empty
    /// where nothing fits.
    pub fn search(&self, query: &str, limit: usize) -> Vec<Operation<'_>> {
        let query: String = query.chars().take(MAX_LETTERS).collect();
        let query = query.trim();
        let mut found = paths::named(self, query);
        for (_, at) in ranked(self.index(), query) {
            if !found.contains(&at) {
                found.push(at);
            }
        }
        found.into_iter().take(limit).filter_map(|at| self.operation(at as usize)).collect()
    }
}

/// A question's word: the words to look for, each with how much it counts.
type Group = Vec<(String, f32)>;

/// What a question asks for.
struct Question {
    groups: Vec<Group>,
    hint: Option<Hint>,
    vm: bool,
    container: bool,
    guest: bool,
    node: bool,
    cluster: bool,
    /// All of a kind are asked for.
    many: bool,
}

fn asked(index: &Index, query: &str) -> Question {
    let mut stems = words::words(query);
    stems.truncate(MAX_WORDS);
    let has = |word: &str| stems.iter().any(|stem| stem == word);
    let stem_has = |list: &[&str]| list.iter().any(|word| has(&words::stem(word)));
    let mut question = Question {
        groups: Vec::new(),
        hint: yes_or_no(query).then_some(Hint::Read),
        vm: stem_has(&["vm", "qemu", "kvm", "qm", "cloudinit", "agent"]),
        container: stem_has(&["container", "lxc", "ct", "pct"]),
        guest: stem_has(&["guest", "vm", "qemu", "container", "lxc", "ct", "machine", "instance", "agent"]),
        node: stem_has(&["node", "host", "hypervisor", "server"]),
        cluster: stem_has(&["cluster", "datacenter"]),
        many: stem_has(&["list", "all", "which", "available", "overview"]),
    };
    let mut typos = 0;
    for (at, stem) in stems.iter().enumerate() {
        let meaning = meanings().get(stem);
        // "update" is a verb, but for what is installed it is a thing.
        let verb =
            stem == "updat" && at == 0 && stems.len() > 1 && !stem_has(&["package", "apt", "system", "node", "list"]);
        let hint = if verb { Some(Hint::Change) } else { meaning.and_then(|meaning| meaning.hint) };
        if question.hint.is_none() {
            question.hint = hint;
        }
        if verb || meaning.is_some_and(|meaning| meaning.silent) {
            continue;
        }
        let place = ["nod", "cluster", "datacent", "host", "server"].contains(&stem.as_str());
        let mut group: Group = vec![(stem.clone(), 1.0)];
        if let Some(meaning) = meaning {
            group
                .extend(meaning.synonyms.iter().map(|(word, near)| (word.clone(), if *near { NEAR } else { SYNONYM })));
        } else if index.postings(stem).is_empty() && stem.len() > 3 && typos < MAX_TYPOS {
            typos += 1;
            group = meant(index, stem, &mut question.hint);
        }
        if place && stems.len() > 1 {
            // Where something is says less than what.
            group.iter_mut().for_each(|(_, part)| *part *= PLACE);
        }
        if group.iter().any(|(word, _)| !index.postings(word).is_empty()) {
            question.groups.push(group);
        }
    }
    // A guest's hardware has no paths of its own: it is in the configuration.
    let hardware = stem_has(&HARDWARE);
    if question.guest && (question.hint == Some(Hint::Change) || hardware && question.hint == Some(Hint::Create)) {
        question.groups.push(vec![("config".to_owned(), if hardware { 1.0 } else { 0.4 })]);
    }
    // Nothing but verbs: they are what is looked for.
    if question.groups.is_empty() {
        question.groups = stems.iter().map(|stem| vec![(stem.clone(), 1.0)]).collect();
    }
    question
}

/// Whether a question asks if something is possible, rather than for it to be done ("can you …").
fn yes_or_no(query: &str) -> bool {
    let mut words = query.split_whitespace().map(str::to_ascii_lowercase);
    words.next().is_some_and(|word| word == "can")
        && words.next().is_some_and(|word| !["i", "you", "we"].contains(&word.as_str()))
}

/// The known word that is nearest to an unknown one, with its synonyms.
fn meant(index: &Index, word: &str, hint: &mut Option<Hint>) -> Group {
    let allowed = word.len() / 3;
    let near = |known: &&str| known.len() > 2 && known.len().abs_diff(word.len()) <= allowed;
    let terms = index.words().filter(near);
    let mut known: Vec<&str> = meanings().keys().map(String::as_str).filter(near).collect();
    known.sort_unstable();
    let Some(meant) = nearest(word, known.into_iter().chain(terms)) else { return Vec::new() };
    let meaning = meanings().get(meant);
    if hint.is_none() {
        *hint = meaning.and_then(|meaning| meaning.hint);
    }
    let synonyms = meaning.into_iter().filter(|m| !m.silent).flat_map(|meaning| &meaning.synonyms);
    let near = synonyms.map(|(word, near)| (word.clone(), if *near { NEAR } else { SYNONYM } * TYPO));
    std::iter::once((meant.to_owned(), TYPO)).chain(near).collect()
}

/// The operations that fit, with their scores, the best first.
fn ranked(index: &Index, query: &str) -> Vec<(f32, u16)> {
    let question = asked(index, query);
    let count = index.entries.len();
    let mut text = vec![0.0_f32; count];
    let mut parameters = vec![0.0_f32; count];
    // How much of what the question's words say is there at all.
    let mut covered = vec![0.0_f32; count];
    let mut whole = f32::MIN_POSITIVE;
    let mut best = vec![(0.0_f32, false); count];
    for group in &question.groups {
        best.fill((0.0, false));
        let mut most = 0.0_f32;
        for (word, part) in group {
            let list = index.postings(word);
            let rare = rarity(count, list);
            most = most.max(part * rare);
            for posting in list {
                let score = part * rare * f32::from(posting.weight) / 255.0;
                if let Some(slot) = best.get_mut(posting.operation as usize) {
                    // Two words for the same thing say a little more than one.
                    let more = slot.0.min(score) * ALSO;
                    if slot.0 < score {
                        *slot = (score, posting.of_parameter);
                    }
                    slot.0 += more;
                }
            }
        }
        whole += most;
        for (((score, of_parameter), covered), (text, parameter)) in
            best.iter().zip(&mut covered).zip(text.iter_mut().zip(&mut parameters))
        {
            *(if *of_parameter { parameter } else { text }) += score;
            *covered += if *score > 0.0 { most } else { 0.0 };
        }
    }
    let scored = text.iter().zip(&parameters).zip(&covered).zip(&index.entries).enumerate();
    let mut found: Vec<(f32, u16)> = scored
        .map(|(at, (((text, parameters), covered), entry))| {
            let score = (text + parameters.min(MAX_PARAMETERS)) * fit(&question, entry);
            (score * (1.0 - COVERED + COVERED * covered / whole), at as u16)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    let order = |at: u16| index.entries.get(at as usize).map(|entry| (entry.depth, entry.method != Method::Get, at));
    found.sort_by(|(a, i), (b, j)| b.total_cmp(a).then_with(|| order(*i).cmp(&order(*j))));
    let least = found.first().map_or(0.0, |(score, _)| score * 0.2);
    found.retain(|(score, _)| *score >= least);
    found
}

/// How much is said by a word that these operations have.
fn rarity(count: usize, list: &[Posting]) -> f32 {
    let has: f32 = list.iter().map(|posting| f32::from(posting.weight) / 255.0).sum();
    (1.0 + count as f32 / (has + 0.5)).ln()
}

/// How well an operation fits beside its words.
fn fit(question: &Question, entry: &index::Entry) -> f32 {
    let mut fit = match question.hint {
        Some(hint) => hint.fit(entry.method),
        None if entry.method == Method::Get => 1.0,
        None => 0.85,
    };
    let guest = question.guest || question.vm || question.container;
    fit *= match entry.scope {
        Scope::Vm if question.vm => 1.15,
        Scope::Vm if question.container => 0.6,
        Scope::Container if question.container => 1.15,
        Scope::Container if question.vm => 0.6,
        Scope::Vm | Scope::Container if !guest && (question.node || question.cluster) => 0.7,
        Scope::Container => 0.97,
        Scope::Node if question.node && !guest => 1.15,
        Scope::Cluster if question.cluster && !guest => 1.15,
        Scope::Other if guest => 0.8,
        _ => 1.0,
    };
    if entry.lesser {
        fit *= 0.7;
    }
    if entry.single && question.many {
        fit *= 0.85;
    }
    fit
}
