//! What a question asks for: the words to look for, the method, and of what.

use super::index::SearchIndex;
use super::thesaurus::{MethodHint, meanings};
use super::tokenizer::{stem, tokenize};
use crate::base::suggest::suggest;

/// Of a question that is longer, the rest is not read.
const MAX_QUERY_WORDS: usize = 40;

/// Words that are nothing we know, for which the nearest known one is taken.
const MAX_TYPOS: usize = 4;

/// How much another word for the same thing counts, one that only comes near, and one that may be meant.
const SYNONYM: f32 = 0.85;
const NEAR_SYNONYM: f32 = 0.45;
const TYPO: f32 = 0.6;
/// Where something is says less than what.
const PLACE_FACTOR: f32 = 0.6;
const PLACES: &str = "node host server cluster datacenter";

const GUESTS: &str = "guest vm machine instance agent container ct lxc ubuntu windows";

/// What a guest has that has no path of its own.
const HARDWARE: &str = "\
    static gateway onboot autostart cloudinit efidisk tpmstate bridge disk drive nic network cpu core vcpu \
    memory ram cdrom iso bios tpm usb pci gpu vlan tag note hostname mac hotplug mountpoint mount bootorder \
    startup";

/// What only a guest has, so that it need not be named.
const GUEST_ONLY_WORDS: &str = "\
    automatically iops onboot autostart cloudinit efidisk tpmstate nic vcpu cdrom bios ovmf uefi tpm balloon \
    hotplug bootorder nested virtualization virtual emulation display";

/// What a guest is given or put into: the question is not of the guest itself.
const GUEST_CONTEXT_WORDS: &str = "\
    let permission acl right privilege access role pool ha affinity replication job task notification token";

const RIGHTS: &str = "permission acl right privilege access";
/// Who has rights.
const RIGHT_HOLDERS: &str = "user group token";

/// What has its own word for a fault, or is told of it.
const FAULT_SUBJECTS: &str = "mail email notification notify alert disk drive ssd osd";

/// Words of a question that tells of a fault. What was wrong stands in the logs of tasks.
const FAULT_WORDS: &str = "did not cannot fail failure why";

/// The words to look for in a question's word's place, each with how much it counts.
pub(super) type SynonymGroup = Vec<(String, f32)>;

/// What a question asks for.
#[derive(Default)]
pub(super) struct SearchQuery {
    pub(super) groups: Vec<SynonymGroup>,
    pub(super) hint: Option<MethodHint>,
    pub(super) vm: bool,
    pub(super) container: bool,
    /// A guest of either kind.
    pub(super) guest: bool,
    pub(super) node: bool,
    pub(super) cluster: bool,
    /// Of what is said anything, as the bits of `OperationEntry::area`.
    pub(super) areas: u16,
    /// All of a kind are asked for.
    pub(super) wants_list: bool,
}

impl SearchQuery {
    pub(super) fn new(index: &SearchIndex, query: &str) -> Self {
        let words = parse_words(index, query);
        let has = |list: &str| words.iter().any(|word| is_stem_of(&word.stem, list));
        let (vm, container) = (has("vm qemu kvm qm cloudinit"), has("container lxc ct pct"));
        let around = has(GUEST_CONTEXT_WORDS);
        let rights = has(RIGHTS);
        let node = has("node host hypervisor server");
        let hardware = has(HARDWARE);
        let own = !node && !has("bond") && has(GUEST_ONLY_WORDS);
        let guest = !around;
        let mut question = Self {
            vm: guest && (vm || has("agent")),
            container: guest && container,
            guest: guest && (vm || container || own || has(GUESTS)),
            node,
            cluster: has("cluster datacenter"),
            wants_list: has("list all which available overview"),
            hint: asks_possibility(query).then_some(MethodHint::Read),
            ..Self::default()
        };
        // "update" is a verb, but for what is installed it is a thing.
        let installed = words.len() == 1 || has("package apt system node list upgrade");
        for (at, QueryWord { stem: word, is_noun: thing, weight: part }) in words.iter().enumerate() {
            let verb = at == 0 && word == "updat" && !installed && !thing;
            let meaning = meanings().get(word);
            let hint = if verb { Some(MethodHint::Change) } else { meaning.and_then(|meaning| meaning.hint) };
            // "Backup status" asks for one.
            let of = || words.get(at + 1).and_then(|next| meanings().get(&next.stem)?.hint) == Some(MethodHint::Read);
            if question.hint.is_none() {
                question.hint = hint.filter(|hint| *hint != MethodHint::Action || !thing && !of());
            }
            if verb || meaning.is_some_and(|meaning| meaning.is_stop_word) {
                continue;
            }
            let place = words.len() > 1
                && (is_stem_of(word, PLACES)
                    || around && is_stem_of(word, GUESTS)
                    || rights && is_stem_of(word, RIGHT_HOLDERS));
            question.add_group(index, expand_synonyms(word, part * if place { PLACE_FACTOR } else { 1.0 }));
        }
        let silent = |word: &&QueryWord| meanings().get(&word.stem).is_some_and(|meaning| meaning.is_stop_word);
        let first = words.iter().find(|word| !silent(word));
        // Nobody is told to do "backups of …".
        if question.hint.is_none() && first.is_some_and(|word| word.is_noun) {
            question.hint = Some(MethodHint::Read);
        }
        let reads = question.hint == Some(MethodHint::Read);
        let act = |word: &QueryWord| {
            meanings().get(&word.stem).is_some_and(|meaning| meaning.hint == Some(MethodHint::Action))
        };
        if has("backup") && has("without missing lack never uncovered") {
            question.hint = Some(MethodHint::Read);
            question.add_group(index, vec![(stem("uncovered"), 1.5)]);
        } else if reads && question.areas == 0 && has("log output status progress") && words.iter().any(act) {
            question.add_group(index, vec![(stem("task"), 1.0)]);
        } else if reads && has("backup") && !has("job schedule") {
            // There is no path of backups: they are files on a storage.
            question.add_group(index, vec![(stem("content"), 0.7)]);
        }
        if reads && node && question.vm != question.container && has("run live located") {
            question.add_group(index, vec![(stem("resource"), 2.0)]);
        }
        // "Which VMs are off" asks for a list of them.
        if reads && words.iter().any(|word| word.is_noun && is_stem_of(&word.stem, GUESTS)) {
            question.add_group(index, vec![(stem("list"), 0.8), (stem("resource"), 0.8)]);
        }
        let nothing = |word: &QueryWord| silent(&word) || word.stem == "running" || is_stem_of(&word.stem, PLACES);
        if has("running") && words.iter().all(nothing) {
            question.add_group(index, vec![(stem("vm"), 1.0), (stem("container"), 1.0)]);
        }
        if has("log") && node {
            question.add_group(index, vec![(stem("syslog"), 1.0), (stem("journal"), 1.0)]);
        }
        if has(FAULT_WORDS)
            && !has(FAULT_SUBJECTS)
            && matches!(question.hint, None | Some(MethodHint::Read | MethodHint::Action))
        {
            question.hint = Some(MethodHint::Read);
            question.add_group(index, vec![(stem("task"), 0.8), (stem("log"), 0.8)]);
        }
        // "New vm with 4 cores": the guest is made, not what it has.
        let made =
            question.hint == Some(MethodHint::Create) && first.is_some_and(|word| is_stem_of(&word.stem, GUESTS));
        let config = match question.hint {
            _ if made => 0.0,
            Some(MethodHint::Change | MethodHint::Create) if hardware || own => 1.2,
            Some(MethodHint::Change) => 0.4,
            Some(MethodHint::Read) if hardware || own || has("configure") => 0.8,
            None if own => 0.7,
            _ => 0.0,
        };
        if question.guest && config > 0.0 {
            question.add_group(index, vec![(stem("config"), config)]);
        }
        // Nothing but verbs: they are what is looked for.
        if question.groups.is_empty() {
            question.groups = words.into_iter().map(|word| vec![(word.stem, 1.0)]).collect();
        }
        question
    }

    fn add_group(&mut self, index: &SearchIndex, group: SynonymGroup) {
        if group.iter().any(|(word, _)| !index.postings(word).is_empty()) {
            self.areas |= group.iter().map(|(word, _)| index.areas(word)).fold(0, |all, area| all | area);
            self.groups.push(group);
        }
    }
}

/// A question's word.
struct QueryWord {
    stem: String,
    is_noun: bool,
    /// How much it counts: less where it is only what may be meant.
    weight: f32,
}

/// The words of a question, those that nobody knows replaced by the nearest known one.
fn parse_words(index: &SearchIndex, query: &str) -> Vec<QueryWord> {
    let mut typos = 0;
    let mut words = tokenize(query);
    words.truncate(MAX_QUERY_WORDS);
    let known = |word: &String| {
        let hardware = || is_stem_of(word, HARDWARE) || is_stem_of(word, GUEST_ONLY_WORDS);
        meanings().contains_key(word) || !index.postings(word).is_empty() || hardware()
    };
    let read = words.into_iter().filter_map(|(stem, thing)| {
        if known(&stem) {
            return Some(QueryWord { stem, is_noun: thing, weight: 1.0 });
        }
        typos += 1;
        let meant = (stem.len() > 4 && typos <= MAX_TYPOS).then(|| correct_typo(index, &stem)).flatten()?;
        Some(QueryWord { stem: meant.to_owned(), is_noun: thing, weight: TYPO })
    });
    read.collect()
}

/// The known word that is nearest to an unknown one.
fn correct_typo<'i>(index: &'i SearchIndex, word: &str) -> Option<&'i str> {
    let allowed = word.len() / 3;
    // Few mistype the first letter, and many words differ from another only there.
    let near = |known: &&str| {
        known.len() > 2
            && known.len().abs_diff(word.len()) <= allowed
            && known.bytes().take(2).any(|c| word.bytes().next() == Some(c))
    };
    let mut field: Vec<(bool, &str)> = meanings()
        .iter()
        .map(|(word, meaning)| (meaning.is_stop_word, word.as_str()))
        .filter(|(_, word)| near(word))
        .collect();
    field.sort();
    let silent = field.partition_point(|(silent, _)| !silent);
    let (field, silent) = field.split_at_checked(silent).unwrap_or_default();
    let all = field.iter().map(|(_, word)| *word).chain(index.words().filter(near));
    suggest(word, all.chain(silent.iter().map(|(_, word)| *word)))
}

/// Whether a stem is that of one of some words.
fn is_stem_of(stemmed: &str, list: &str) -> bool {
    list.split_whitespace().any(|known| stem(known) == stemmed)
}

/// A word and those that stand for it.
fn expand_synonyms(word: &str, part: f32) -> SynonymGroup {
    let others = meanings().get(word).map(|meaning| meaning.synonyms.as_slice()).unwrap_or_default();
    let others = others.iter().map(|(word, near)| (word.clone(), part * if *near { NEAR_SYNONYM } else { SYNONYM }));
    std::iter::once((word.to_owned(), part)).chain(others).collect()
}

/// Whether a question is if something can be done, not that it be done ("can you …").
fn asks_possibility(query: &str) -> bool {
    let mut words = query.split_whitespace().map(str::to_ascii_lowercase);
    words.next().is_some_and(|word| word == "can")
        && words.next().is_some_and(|word| !["i", "you", "we"].contains(&word.as_str()))
}
