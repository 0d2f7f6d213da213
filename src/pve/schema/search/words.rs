//! A text as the words that are compared: lower case, fixed phrases as one word, endings off. Questions and the texts
//! of operations go through the same function, so it need not be right, only the same for both.

/// The words of a text. Numbers, single letters and the digits at a word's end are left out: they name things of one
/// cluster (`pve1`, `vm 100`, `net0`), not what an operation does.
pub(super) fn words(text: &str) -> Vec<String> {
    tokens(text).into_iter().map(|(stem, _)| stem).collect()
}

/// The words of a text, each with whether it is the name of a thing by its form: "backups" and "migration" are,
/// "backup" may be a verb.
pub(super) fn tokens(text: &str) -> Vec<(String, bool)> {
    let lower = text.to_lowercase().replace(['’', '`'], "'").replace("'s", "").replace("n't", " not");
    let plain: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter(|word| word.len() > 1)
        .collect();
    let mut out = Vec::with_capacity(plain.len());
    let mut rest = plain.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let phrase = after.first().and_then(|next| phrase(word, next));
        let stem = stem(phrase.unwrap_or(word));
        let thing = word.ends_with('s') && !word.ends_with("ss") && stem.len() < word.len();
        out.push((stem, thing || word.ends_with("ation")));
        rest = if phrase.is_some() { after.get(1..).unwrap_or_default() } else { after };
    }
    out
}

/// Two words that are one in the field.
fn phrase(first: &str, second: &str) -> Option<&'static str> {
    PHRASES.iter().find(|(a, b, _)| *a == first && *b == second.trim_end_matches('s')).map(|(.., one)| *one)
}

const PHRASES: &[(&str, &str, &str)] = &[
    ("access", "control", "acl"),
    ("active", "directory", "ad"),
    ("api", "key", "token"),
    ("api", "token", "token"),
    ("at", "boot", "onboot"),
    ("back", "up", "backup"),
    ("backed", "up", "backup"),
    ("backing", "up", "backup"),
    ("backup", "server", "pbs"),
    ("block", "device", "disk"),
    ("boot", "order", "bootorder"),
    ("bring", "up", "start"),
    ("brought", "up", "start"),
    ("cd", "drive", "cdrom"),
    ("cd", "rom", "cdrom"),
    ("cloud", "init", "cloudinit"),
    ("data", "center", "datacenter"),
    ("data", "store", "datastore"),
    ("dvd", "drive", "cdrom"),
    ("efi", "disk", "efidisk"),
    ("enterprise", "repo", "repository"),
    ("file", "system", "filesystem"),
    ("find", "out", "find"),
    ("free", "id", "nextid"),
    ("free", "vmid", "nextid"),
    ("get", "rid", "remove"),
    ("give", "me", "show"),
    ("graphic", "card", "gpu"),
    ("graphics", "card", "gpu"),
    ("guest", "agent", "agent"),
    ("hard", "disk", "disk"),
    ("hard", "drive", "disk"),
    ("high", "availability", "ha"),
    ("highly", "available", "ha"),
    ("host", "name", "hostname"),
    ("how", "full", "show"),
    ("how", "long", "show"),
    ("how", "many", "show"),
    ("how", "much", "show"),
    ("how", "often", "show"),
    ("how", "old", "show"),
    ("ip", "address", "ip"),
    ("ip", "addresse", "ip"),
    ("ip", "set", "ipset"),
    ("let", "encrypt", "letsencrypt"),
    ("lets", "encrypt", "letsencrypt"),
    ("license", "key", "subscription"),
    ("local", "lvm", "storage"),
    ("local", "zfs", "storage"),
    ("lock", "out", "disable"),
    ("log", "in", "login"),
    ("log", "into", "login"),
    ("logged", "in", "login"),
    ("mail", "address", "email"),
    ("mail", "server", "smtp"),
    ("mount", "point", "mountpoint"),
    ("multi", "factor", "tfa"),
    ("network", "card", "nic"),
    ("network", "device", "nic"),
    ("network", "interface", "nic"),
    ("next", "id", "nextid"),
    ("next", "vmid", "nextid"),
    ("no", "backup", "uncovered"),
    ("node", "affinity", "affinity"),
    ("not", "backed", "uncovered"),
    ("on", "boot", "onboot"),
    ("open", "port", "firewallrule"),
    ("operating", "system", "os"),
    ("power", "cycle", "powercycle"),
    ("power", "down", "shutdown"),
    ("power", "off", "poweroff"),
    ("power", "on", "poweron"),
    ("powered", "off", "poweroff"),
    ("powered", "on", "poweron"),
    ("right", "away", "now"),
    ("right", "now", "now"),
    ("roll", "back", "rollback"),
    ("rolled", "back", "rollback"),
    ("second", "factor", "tfa"),
    ("security", "update", "upgrade"),
    ("service", "account", "user"),
    ("shut", "down", "shutdown"),
    ("single", "sign", "openid"),
    ("software", "update", "upgrade"),
    ("ssh", "key", "sshkeys"),
    ("ssl", "certificate", "certificate"),
    ("storage", "device", "disk"),
    ("system", "log", "syslog"),
    ("system", "update", "upgrade"),
    ("time", "zone", "timezone"),
    ("tls", "certificate", "certificate"),
    ("tpm", "state", "tpmstate"),
    ("turn", "off", "turnoff"),
    ("turn", "on", "turnon"),
    ("two", "factor", "tfa"),
    ("virtual", "machine", "vm"),
    ("web", "hook", "webhook"),
];

/// Words whose last letter is not an ending.
const WHOLE: &[&str] = &[
    "dns", "nfs", "cifs", "zfs", "cephfs", "virtiofs", "btrfs", "mds", "tls", "pbs", "tos", "os", "is", "has", "was",
    "does", "https", "this", "bios", "ping", "note", "running", "changes",
];

/// The word without its endings: plural, -ing, -ed, -ion and the silent e.
pub(super) fn stem(word: &str) -> String {
    let mut word = word.to_owned();
    // An ending may stand before another: settings, databases.
    for _ in 0..3 {
        let Some(shorter) = shorter(&word) else { break };
        word = shorter;
    }
    word
}

fn shorter(word: &str) -> Option<String> {
    if word.len() < 3 || !word.is_ascii() || WHOLE.contains(&word) {
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
            let stems = words(forms);
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{stems:?}");
        }
    }

    #[test]
    fn phrases_are_one_word_and_numbers_none() {
        assert_eq!(words("Power on virtual machines 100 on pve1"), ["poweron", "vm", "on", "pve"]);
        assert_eq!(words("not-backed-up"), ["uncover", "up"]);
        assert_eq!(words("the VM's won't"), ["the", "vm", "wo", "not"]);
        assert_eq!(words("… 7 ' ''s"), Vec::<String>::new());
    }

    #[test]
    fn a_thing_is_told_from_a_verb() {
        assert_eq!(tokens("backups backup"), [("backup".to_owned(), true), ("backup".to_owned(), false)]);
    }
}
