//! Parses a query: the words to search, the method, and the kind of object.

use super::index::SearchIndex;
use super::query_word::{BACKGROUND, QueryWord};
use super::thesaurus::{MethodHint, meanings};
use super::tokenizer::stem;

// Weights of words that replace a query's word.
const SYNONYM: f32 = 0.85;
const NEAR_SYNONYM: f32 = 0.45;

/// Factor for words about the location of an object.
const PLACE_FACTOR: f32 = 0.6;
const PLACES: &str = "node host server cluster datacenter";

const GUESTS: &str = "guest vm machine instance agent container ct lxc ubuntu windows";

/// Settings of a guest without a path of their own.
const HARDWARE: &str = "\
    static gateway onboot autostart cloudinit efidisk tpmstate bridge disk drive nic network cpu core vcpu \
    memory ram cdrom iso bios tpm usb pci gpu vlan tag note hostname mac hotplug mountpoint mount bootorder \
    startup";

/// Words that refer to a guest without naming it.
const GUEST_ONLY_WORDS: &str = "\
    automatically iops onboot autostart cloudinit efidisk tpmstate nic vcpu cdrom bios ovmf uefi tpm balloon \
    hotplug bootorder nested virtualization virtual emulation display";

/// Words for what a guest belongs to. A query with one of them is not about the guest itself.
const GUEST_CONTEXT_WORDS: &str = "\
    let permission acl right privilege access role pool ha affinity replication job task notification token";

const RIGHTS: &str = "permission acl right privilege access";
/// Holders of rights.
const RIGHT_HOLDERS: &str = "user group token";

/// Words of a request without another verb.
const WISHES: &str = "want like need should must";

/// Objects that have operations for faults of their own, or receive messages about faults.
const FAULT_SUBJECTS: &str = "mail email notification notify alert message telegram webhook disk drive ssd osd";

/// Words of a query about a fault. The logs of tasks contain the causes.
const FAULT_WORDS: &str = "did not cannot fail failure why";

/// A word to search, with the factor of its score.
pub(super) struct WeightedWord {
    pub(super) stem: String,
    pub(super) weight: f32,
}

/// A parsed query.
#[derive(Default)]
pub(super) struct SearchQuery {
    /// The words to search. The words of a group are synonyms.
    pub(super) groups: Vec<Vec<WeightedWord>>,
    pub(super) hint: Option<MethodHint>,
    pub(super) vm: bool,
    pub(super) container: bool,
    /// True if the query is about guests of any kind.
    pub(super) guest: bool,
    pub(super) node: bool,
    pub(super) cluster: bool,
    /// The areas that the query mentions, as bits of `OperationEntry::area`.
    pub(super) areas: u16,
    /// True if the query asks for all objects of a kind.
    pub(super) wants_list: bool,
    /// True if the query begins with a noun, as "boot order of …", and is no command.
    pub(super) names_thing: bool,
    /// True if the query begins as a question about what is, and asks for nothing else.
    pub(super) is_question: bool,
}

impl SearchQuery {
    pub(super) fn new(index: &SearchIndex, text: &str, words: &[QueryWord]) -> Self {
        let has = |list: &str| words.iter().any(|word| is_stem_of(&word.stem, list));
        let (vm, container) = (has("vm qemu kvm qm cloudinit"), has("container lxc ct pct"));
        let is_about_context = has(GUEST_CONTEXT_WORDS);
        let is_about_rights = has(RIGHTS);
        let node = has("node host hypervisor server");
        let has_hardware = has(HARDWARE);
        let implies_guest = !node && !has("bond") && has(GUEST_ONLY_WORDS);
        let mut query = Self {
            vm: !is_about_context && (vm || has("agent")),
            container: !is_about_context && container,
            guest: !is_about_context && (vm || container || implies_guest || has(GUESTS)),
            node,
            cluster: has("cluster datacenter"),
            wants_list: has("list all which available overview"),
            hint: if asks_possibility(text) { Some(MethodHint::Read) } else { find_first_hint(words) },
            ..Self::default()
        };
        for (position, QueryWord { stem: word, weight, .. }) in words.iter().enumerate() {
            if is_stop_word(word) || is_update_verb(words, position) {
                continue;
            }
            let is_place = words.len() > 1
                && (is_stem_of(word, PLACES)
                    || is_about_context && is_stem_of(word, GUESTS)
                    || is_about_rights && is_stem_of(word, RIGHT_HOLDERS));
            query.add_group(index, expand_synonyms(word, weight * if is_place { PLACE_FACTOR } else { 1.0 }));
        }
        let first = words.iter().find(|word| !is_stop_word(&word.stem));
        // "Boot" is a verb too: "boot order of …".
        let has_of = text.split_whitespace().skip(1).take(2).any(|word| word.eq_ignore_ascii_case("of"));
        query.names_thing = (has_of || first.is_some_and(|word| word.is_noun))
            && matches!(query.hint, None | Some(MethodHint::Read | MethodHint::Action))
            && !text.contains(|c: char| c.is_ascii_digit());
        // A query that starts with a noun is no command: "backups of …".
        if query.hint.is_none() && first.is_some_and(|word| word.is_noun) {
            query.hint = Some(MethodHint::Read);
        }
        let reads = query.hint == Some(MethodHint::Read);
        query.is_question = reads && begins_as_question(text);
        let has_action = || words.iter().any(|word| find_hint(&word.stem) == Some(MethodHint::Action));
        if has("backup") && has("without missing lack never uncovered") {
            query.hint = Some(MethodHint::Read);
            query.add_words(index, &[("uncovered", 1.5)]);
        } else if reads && query.areas == 0 && has("log output status progress") && has_action() {
            query.add_words(index, &[("task", 1.0)]);
        } else if reads && has("backup") && !has("job schedule") {
            // Backups have no path of their own. They are files on a storage.
            query.add_words(index, &[("content", 0.7)]);
        }
        if reads && node && query.vm != query.container && has("run live located") {
            query.add_words(index, &[("resource", 2.0)]);
        }
        // "Which VMs are off" asks for a list of them.
        if reads && words.iter().any(|word| word.is_noun && is_stem_of(&word.stem, GUESTS)) {
            query.add_words(index, &[("list", 0.8), ("resource", 0.8)]);
        }
        let is_filler = |word: &str| is_stop_word(word) || word == "running" || is_stem_of(word, PLACES);
        if has("running") && words.iter().all(|word| is_filler(&word.stem)) {
            query.add_words(index, &[("vm", 1.0), ("container", 1.0)]);
        }
        if has("log") && node {
            query.add_words(index, &[("syslog", 1.0), ("journal", 1.0)]);
        }
        if words.iter().any(|word| word.weight > BACKGROUND && is_stem_of(&word.stem, FAULT_WORDS))
            && !has(FAULT_SUBJECTS)
            && matches!(query.hint, None | Some(MethodHint::Read | MethodHint::Action))
        {
            query.hint = Some(MethodHint::Read);
            query.add_words(index, &[("task", 0.8), ("log", 0.8)]);
        }
        // "New vm with 4 cores" creates the guest, not its settings.
        let creates_guest =
            query.hint == Some(MethodHint::Create) && first.is_some_and(|word| is_stem_of(&word.stem, GUESTS));
        let config_weight = match query.hint {
            _ if creates_guest => 0.0,
            Some(MethodHint::Change | MethodHint::Create) if has_hardware || implies_guest => 1.2,
            Some(MethodHint::Change) => 0.4,
            Some(MethodHint::Read) if has_hardware || implies_guest || has("configure") => 0.8,
            None if implies_guest => 0.7,
            _ => 0.0,
        };
        if query.guest && config_weight > 0.0 {
            query.add_words(index, &[("config", config_weight)]);
        }
        // If nothing is left to search, the verbs are searched.
        if query.groups.is_empty() {
            query.groups =
                words.iter().map(|word| vec![WeightedWord { stem: word.stem.clone(), weight: 1.0 }]).collect();
        }
        query
    }

    /// Adds synonyms that the query implies.
    fn add_words(&mut self, index: &SearchIndex, words: &[(&str, f32)]) {
        self.add_group(
            index,
            words.iter().map(|(word, weight)| WeightedWord { stem: stem(word), weight: *weight }).collect(),
        );
    }

    fn add_group(&mut self, index: &SearchIndex, group: Vec<WeightedWord>) {
        if group.iter().any(|word| !index.postings(&word.stem).is_empty()) {
            self.areas |= group.iter().map(|word| index.areas(&word.stem)).fold(0, |all, area| all | area);
            self.groups.push(group);
        }
    }
}

/// Returns the method that the words ask for: of the clause that asks, then of any.
fn find_first_hint(words: &[QueryWord]) -> Option<MethodHint> {
    let hint_at = |position: usize| {
        let word = &words[position];
        if is_update_verb(words, position) {
            return Some(MethodHint::Change);
        }
        // "Backup status" asks for a status.
        let next_reads = || words.get(position + 1).is_some_and(|next| find_hint(&next.stem) == Some(MethodHint::Read));
        find_hint(&word.stem).filter(|hint| *hint != MethodHint::Action || !word.is_noun && !next_reads())
    };
    let (requested, told): (Vec<usize>, Vec<usize>) =
        (0..words.len()).partition(|position| words[*position].is_requested());
    let wishes = |position: &usize| is_stem_of(&words[*position].stem, WISHES);
    let of_request = requested.iter().copied().find_map(hint_at);
    of_request
        .or_else(|| requested.iter().any(wishes).then_some(MethodHint::Change))
        .or_else(|| told.into_iter().find_map(hint_at))
}

/// Returns whether a word is the verb "update". It is a noun for installed software.
fn is_update_verb(words: &[QueryWord], position: usize) -> bool {
    let has = |list: &str| words.iter().any(|word| is_stem_of(&word.stem, list));
    position == 0
        && words[0].stem == "updat"
        && !words[0].is_noun
        && words.len() > 1
        && !has("package apt system node list upgrade")
}

fn is_stop_word(word: &str) -> bool {
    meanings().get(word).is_some_and(|meaning| meaning.is_stop_word)
}

fn find_hint(word: &str) -> Option<MethodHint> {
    meanings().get(word)?.hint
}

/// Returns whether `stemmed` is the stem of a word of a list.
fn is_stem_of(stemmed: &str, list: &str) -> bool {
    list.split_whitespace().any(|known| stem(known) == stemmed)
}

/// Returns a word with its synonyms.
fn expand_synonyms(word: &str, weight: f32) -> Vec<WeightedWord> {
    let synonyms = meanings().get(word).map(|meaning| meaning.synonyms.as_slice()).unwrap_or_default();
    let synonyms = synonyms.iter().map(|synonym| WeightedWord {
        stem: synonym.stem.clone(),
        weight: weight * if synonym.is_near { NEAR_SYNONYM } else { SYNONYM },
    });
    std::iter::once(WeightedWord { stem: word.to_owned(), weight }).chain(synonyms).collect()
}

/// Returns whether a query begins with the word of a question about what is.
fn begins_as_question(text: &str) -> bool {
    const WORDS: &str = "which who whose where when is are does did has";
    let first = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    WORDS.split_whitespace().any(|word| word == first)
}

/// Returns whether a query asks if something is possible ("can a vm …"), instead of requesting it ("can you …").
fn asks_possibility(text: &str) -> bool {
    let mut words = text.split_whitespace().map(str::to_ascii_lowercase);
    words.next().is_some_and(|word| word == "can")
        && words.next().is_some_and(|word| !["i", "you", "we"].contains(&word.as_str()))
}
