//! Meanings of a query's words: synonyms in the API, requested methods, and words without meaning.

use super::tokenizer::stem;
use crate::pve::method::Method;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Words of queries and their synonyms in the API, one word a line. The synonyms from the first `~` on are only
/// related. The words are not stemmed.
const SYNONYMS: &str = include_str!("synonyms.txt");

/// Kind of method that a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodHint {
    Read,
    Create,
    Change,
    Remove,
    /// An event: start, migrate, back up. The word itself is searched too.
    Action,
}

impl MethodHint {
    /// Returns whether the method changes something.
    pub(super) fn changes(self) -> bool {
        self != Self::Read
    }

    /// Returns how well an operation of this method fits, from 0 to 1.
    pub(super) fn method_fit(self, method: Method) -> f32 {
        match (self, method) {
            (MethodHint::Read, Method::Get) | (MethodHint::Create | MethodHint::Action, Method::Post) => 1.0,
            (MethodHint::Change, Method::Put) | (MethodHint::Remove, Method::Delete) => 1.0,
            (MethodHint::Create | MethodHint::Action, Method::Put) => 0.85,
            (MethodHint::Change, Method::Post) => 0.8,
            (MethodHint::Remove, Method::Put | Method::Post) => 0.6,
            _ => 0.55,
        }
    }
}

/// Verbs that only determine the method.
const METHOD_VERBS: &[(MethodHint, &str)] = &[
    (
        MethodHint::Read,
        "list show get which what is are when why where display view see find check tell many much does did look \
         fetch print query read enumerate available has verify inspect whether know",
    ),
    (MethodHint::Create, "create add new make setup register generate define spin provision build deploy"),
    (
        MethodHint::Change,
        "change set edit modify adjust lower reduce decrease raise limit configure reconfigure alter rename enable \
         disable assign replace give put bring switch swap pin use apply",
    ),
    (MethodHint::Remove, "delete remove destroy drop"),
];

/// Words that determine the method and are searched too.
const SEARCHED_VERBS: &[(MethodHint, &str)] = &[
    (MethodHint::Read, "who happen extract progress log status state history usage output version"),
    (MethodHint::Change, "turnoff turnon attach mount eject insert plug connect let"),
    (MethodHint::Remove, "revoke discard uninstall cancel abort"),
    (MethodHint::Action, ACTIONS),
];

/// Verbs that name an event.
const ACTIONS: &str = "\
    start launch unpause stop shutdown recover powercycle reboot restart reset kill migrate move clone copy \
    duplicate backup restore snapshot rollback resume suspend pause hibernate resize grow enlarge expand extend \
    increase upload download send test run execute open sync join renew order apply regenerate freeze thaw trim \
    poweron poweroff wake boot grant attach detach convert upgrade scrub prune wipe relocate evacuate replicate \
    protect block halt firewallrule import allow permit forbid hand";

/// Words without meaning for the search.
const STOP_WORDS: &str = "\
    the an of for in on to with from my me it its at by into and or as be been being was were will would could \
    should can may might must do how want need like please help us we you your our they there here this that \
    these those if then than so just also via use used using some any one not no never lack now away again currently \
    before after over under about up off without wants needs am have had each another other own proxmox pve api \
    call endpoint operation command way possible able exist thing stuff last next first only enough left \
    certain long old more big small good bad immediately soon still yet really today yesterday morning night week \
    month hour day minute single two three both per until while during because since between within whole entire \
    specific particular existing current work go look put take got won virtual know gone past recent";

/// Meaning of a word.
#[derive(Default)]
pub(super) struct WordMeaning {
    pub(super) hint: Option<MethodHint>,
    /// True if the word is not searched, because it means nothing or only the method.
    pub(super) is_stop_word: bool,
    pub(super) synonyms: Vec<Synonym>,
}

/// A word of the API for a query's word.
pub(super) struct Synonym {
    pub(super) stem: String,
    /// True if the synonym is only related.
    pub(super) is_near: bool,
}

/// Returns the meanings of all known words by their stems.
pub(super) fn meanings() -> &'static HashMap<String, WordMeaning> {
    static MEANINGS: LazyLock<HashMap<String, WordMeaning>> = LazyLock::new(|| {
        let mut all: HashMap<String, WordMeaning> = HashMap::new();
        for word in STOP_WORDS.split_whitespace() {
            all.entry(stem(word)).or_default().is_stop_word = true;
        }
        for (hint, list) in METHOD_VERBS {
            for word in list.split_whitespace() {
                let meaning = all.entry(stem(word)).or_default();
                (meaning.hint, meaning.is_stop_word) = (Some(*hint), true);
            }
        }
        for (hint, list) in SEARCHED_VERBS {
            for word in list.split_whitespace() {
                all.entry(stem(word)).or_default().hint.get_or_insert(*hint);
            }
        }
        for (word, synonyms) in SYNONYMS.lines().filter_map(|line| line.split_once(' ')) {
            let mut is_near = false;
            for synonym in synonyms.split(' ') {
                is_near |= synonym.starts_with('~');
                let synonym = Synonym { stem: stem(synonym.trim_start_matches('~')), is_near };
                all.entry(stem(word)).or_default().synonyms.push(synonym);
            }
        }
        all
    });
    &MEANINGS
}
