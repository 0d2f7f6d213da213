//! A text as the words that are compared: lower case, fixed phrases as one word, endings off. Questions and the texts
//! of operations go through the same function, so it need not be right, only the same for both.

use std::sync::LazyLock;

/// The words of a text. Numbers, single letters and the digits at a word's end are left out: they name things of one
/// cluster (`pve1`, `vm 100`, `net0`), not what an operation does.
pub(super) fn split_words(text: &str) -> Vec<String> {
    tokenize(text).into_iter().map(|(stem, _)| stem).collect()
}

/// The words of a text, each with whether it is the name of a thing by its form: "backups" and "migration" are,
/// "backup" may be a verb.
pub(super) fn tokenize(text: &str) -> Vec<(String, bool)> {
    let lower = text.to_lowercase().replace(['’', '`'], "'").replace("'s", "").replace("n't", " not");
    let mut plain: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter(|word| word.len() > 1)
        .collect();
    join_particle(&mut plain);
    let mut out = Vec::with_capacity(plain.len());
    let mut rest = plain.as_slice();
    let mut after_marker = false;
    while let Some((word, after)) = rest.split_first() {
        let phrase = after.first().and_then(|next| find_phrase(word, next));
        let stem = stem(phrase.unwrap_or(word));
        let many = word.ends_with('s') && !word.ends_with("ss") && stem.len() < word.len();
        out.push((stem, many || after_marker || word.ends_with("ation")));
        after_marker = phrase.is_none() && NOUN_MARKERS.contains(word);
        rest = if phrase.is_some() { after.get(1..).unwrap_or_default() } else { after };
    }
    out
}

/// After these, what could be a verb is a thing: "the last backup".
const NOUN_MARKERS: &[&str] =
    &["last", "latest", "newest", "recent", "oldest", "previous", "existing", "my", "any", "which", "stuck", "failed"];

/// Puts a question's last word back beside its verb: "turn the mail server (back) on".
fn join_particle(plain: &mut Vec<&str>) {
    let verb = plain.iter().position(|word| ["turn", "switch", "power", "bring", "shut", "boot"].contains(word));
    let (Some(verb), Some(last)) = (verb, plain.last().copied()) else { return };
    if verb + 2 < plain.len() && ["on", "off", "up", "down"].contains(&last) {
        plain.pop();
        plain.pop_if(|word| *word == "back");
        plain.insert(verb + 1, last);
    }
}

/// Two words that are one in the field.
fn find_phrase(first: &str, second: &str) -> Option<&'static str> {
    static TABLE: LazyLock<Vec<[&str; 3]>> = LazyLock::new(|| {
        let mut words = PHRASES.split_whitespace();
        std::iter::from_fn(|| Some([words.next()?, words.next()?, words.next()?])).collect()
    });
    TABLE.iter().find(|[a, b, _]| *a == first && *b == second.trim_end_matches('s')).map(|[.., one]| *one)
}

/// Phrases of two words and the one word they mean, one phrase a line.
const PHRASES: &str = include_str!("phrases.txt");

/// Words whose last letter is not an ending.
const UNSTEMMED: &[&str] = &[
    "dns", "nfs", "cifs", "zfs", "cephfs", "virtiofs", "btrfs", "mds", "tls", "pbs", "tos", "os", "is", "has", "was",
    "does", "https", "this", "bios", "ping", "note", "running", "changes",
];

/// The word without its endings: plural, -ing, -ed, -ion and the silent e.
pub(super) fn stem(word: &str) -> String {
    let mut word = word.to_owned();
    // An ending may stand before another: settings, databases.
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
    let vowel = |stem: &str| stem.len() > 2 && stem.bytes().any(|c| b"aeiouy".contains(&c));
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
        && !["s", "u", "i"].iter().any(|end| stem.ends_with(end))
    {
        return Some(stem.to_owned());
    }
    let verb = word.strip_suffix("ing").or_else(|| word.strip_suffix("ed").filter(|stem| !stem.ends_with('e')));
    if let Some(stem) = verb.filter(|stem| vowel(stem)) {
        let twice = stem.as_bytes().windows(2).next_back().is_some_and(|w| matches!(w, [a, b] if a == b));
        let doubled = twice && !["l", "s", "z"].iter().any(|end| stem.ends_with(end));
        return Some(stem.get(..stem.len() - usize::from(doubled)).unwrap_or(stem).to_owned());
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
    }

    #[test]
    fn a_noun_is_distinguished_from_a_verb() {
        assert_eq!(tokenize("backups backup"), [("backup".to_owned(), true), ("backup".to_owned(), false)]);
    }
}
