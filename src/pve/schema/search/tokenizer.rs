//! Splits texts into the words that searches compare: lower case, fixed phrases as one word, without endings. Queries
//! and the texts of operations pass the same function, so a stem has to be consistent, not linguistically right.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Characters of a query that are read.
pub(super) const MAX_QUERY_CHARS: usize = 400;

/// Phrases of two words and the one word they mean, one phrase a line.
const PHRASES: &str = include_str!("phrases.txt");

/// Words after which a possible verb is a noun: "the last backup".
const NOUN_MARKERS: &[&str] =
    &["last", "latest", "newest", "recent", "oldest", "previous", "existing", "my", "any", "which", "stuck", "failed"];

/// Words whose last letters are not an ending.
const UNSTEMMED: &[&str] = &[
    "dns", "nfs", "cifs", "zfs", "cephfs", "virtiofs", "btrfs", "mds", "tls", "pbs", "tos", "os", "is", "has", "was",
    "does", "https", "this", "bios", "ping", "note", "running", "changes",
];

/// A word of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) stem: String,
    /// True if the form shows a noun, such as "backups" and "migration". "backup" may be a verb.
    pub(super) is_noun: bool,
}

/// Returns the stems of a text's words. Numbers, single letters and digits at a word's end are left out, because they
/// name objects of one cluster (`pve1`, `vm 100`, `net0`).
pub(super) fn split_words(text: &str) -> Vec<String> {
    tokenize(text).into_iter().map(|token| token.stem).collect()
}

/// Like [`split_words`], with the form of each word.
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let lower = text.to_lowercase().replace(['’', '`'], "'").replace("'s", "").replace("n't", " not");
    let lower = join_initials(&lower);
    let mut words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .map(|word| if is_disk_name(word) { "disk" } else { word })
        .filter(|word| word.len() > 1)
        .collect();
    join_particle(&mut words);
    let mut tokens = Vec::with_capacity(words.len());
    let mut rest = words.as_slice();
    let mut after_marker = false;
    while let Some((word, after)) = rest.split_first() {
        let phrase = after.first().and_then(|next| find_phrase(word, next));
        let stem = stem(phrase.unwrap_or(word));
        let is_plural = word.ends_with('s') && !word.ends_with("ss") && stem.len() < word.len();
        tokens.push(Token { stem, is_noun: is_plural || after_marker || word.ends_with("ation") });
        after_marker = phrase.is_none() && NOUN_MARKERS.contains(word);
        rest = if phrase.is_some() { &after[1..] } else { after };
    }
    tokens
}

/// Writes abbreviations with dots as one word: "s.m.a.r.t.".
fn join_initials(text: &str) -> String {
    let join = |word: &str| match word.split('.').filter(|part| !part.is_empty()).all(|part| part.len() == 1) {
        true => word.replace('.', ""),
        false => word.to_owned(),
    };
    text.split_whitespace().map(join).collect::<Vec<_>>().join(" ")
}

/// Returns whether a word, without the digits at its end, is the name of a disk on a node: `sda`, `nvme0n1`.
fn is_disk_name(word: &str) -> bool {
    word.len() == 3 && word.starts_with("sd") && word != "sdn"
        || word.strip_prefix("nvme").is_some_and(|rest| rest.ends_with('n'))
}

/// Moves the particle at a query's end to its verb: "turn the mail server (back) on (again)".
fn join_particle(words: &mut Vec<&str>) {
    words.pop_if(|word| *word == "again");
    let verb = words.iter().position(|word| ["turn", "switch", "power", "bring", "shut", "boot"].contains(word));
    let (Some(verb), Some(last)) = (verb, words.last().copied()) else { return };
    if verb + 2 < words.len() && ["on", "off", "up", "down"].contains(&last) {
        words.pop();
        words.pop_if(|word| *word == "back");
        words.insert(verb + 1, last);
    }
}

/// Returns the one word that two words mean.
fn find_phrase(first: &str, second: &str) -> Option<&'static str> {
    static TABLE: LazyLock<HashMap<(&str, &str), &str>> = LazyLock::new(|| {
        let phrases = PHRASES.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        phrases.map(|words| ((words[0], words[1]), words[2])).collect()
    });
    TABLE.get(&(first, second.trim_end_matches('s'))).copied()
}

/// Returns a word without its endings: plural, -ing, -ed, -ion and the silent e.
pub(super) fn stem(word: &str) -> String {
    let mut word = word.to_owned();
    // Some words have several endings: settings, databases.
    for _ in 0..3 {
        let Some(shorter) = strip_ending(&word) else { break };
        word = shorter;
    }
    word
}

fn strip_ending(word: &str) -> Option<String> {
    if word.len() < 3 || !word.is_ascii() || UNSTEMMED.contains(&word) {
        return None;
    }
    let has_vowel = |stem: &str| stem.len() > 2 && stem.bytes().any(|c| b"aeiouy".contains(&c));
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 2) {
        return Some(format!("{stem}y"));
    }
    if let Some(stem) = word.strip_suffix("es")
        && ["s", "x", "z", "ch", "sh"].iter().any(|end| stem.ends_with(end))
        && stem.len() > 2
    {
        return Some(stem.to_owned());
    }
    if let Some(stem) = word.strip_suffix('s')
        && (stem.ends_with("pu") || !["s", "u", "i"].iter().any(|end| stem.ends_with(end)))
    {
        return Some(stem.to_owned());
    }
    let verb = word.strip_suffix("ing").or_else(|| word.strip_suffix("ed").filter(|stem| !stem.ends_with('e')));
    if let Some(stem) = verb.filter(|stem| has_vowel(stem)) {
        let is_doubled = matches!(stem.as_bytes(), [.., a, b] if a == b && !b"lsz".contains(b));
        return Some(stem[..stem.len() - usize::from(is_doubled)].to_owned());
    }
    if let Some(stem) = word.strip_suffix("ion").filter(|stem| stem.ends_with('t') && stem.len() > 4) {
        return Some(stem.to_owned());
    }
    word.strip_suffix('e').filter(|stem| stem.len() > 2 && !stem.ends_with('e')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_are_one_word() {
        for forms in [
            "snapshot snapshots",
            "policy policies",
            "address addresses",
            "alias aliases",
            "pending pend",
            "stopped stopping stop",
            "clone cloned cloning clones",
            "release releases",
            "migrate migrated migrating migration",
            "schedule scheduled scheduling",
            "node nodes",
            "cpu cpus",
            "vm vms VM's",
        ] {
            let stems = split_words(forms);
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{stems:?}");
        }
    }

    #[test]
    fn phrases_are_one_word_and_numbers_none() {
        assert_eq!(split_words("Power on virtual machines 100 on pve1"), ["poweron", "vm", "on", "pve"]);
        assert_eq!(split_words("not-backed-up"), ["uncover", "up"]);
        assert_eq!(split_words("the VM's won't"), ["the", "vm", "wo", "not"]);
        assert_eq!(split_words("… 7 ' ''s"), Vec::<String>::new());
        assert_eq!(
            split_words("S.M.A.R.T. of /dev/sdc, nvme0n1 and sdn"),
            ["smart", "of", "dev", "disk", "disk", "and", "sdn"]
        );
    }

    #[test]
    fn a_noun_is_distinguished_from_a_verb() {
        let token = |is_noun| Token { stem: "backup".to_owned(), is_noun };
        assert_eq!(tokenize("backups backup"), [token(true), token(false)]);
    }
}
