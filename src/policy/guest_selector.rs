//! Guests that nothing may change, as an operator names them, and where a call names a guest.

use std::fmt;

/// Guests that nothing may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestSelector {
    /// The one with this number.
    Vmid(u32),
    /// Those in this pool.
    Pool(String),
    /// Those with this tag.
    Tag(String),
}

impl GuestSelector {
    /// Reads `100`, `pool:prod` or `tag:critical`. The error goes on after the field's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write a guest's number, \"pool:NAME\" or \"tag:NAME\"";
        let named = |name: &str| match name.trim() {
            "" => Err(format!("has no name: {FORM}")),
            name => Ok(name.to_owned()),
        };
        match text.split_once(':') {
            Some(("pool", name)) => named(name).map(Self::Pool),
            Some(("tag", name)) => named(name).map(Self::Tag),
            _ => match text.trim().parse() {
                Ok(vmid @ 100..=999_999_999) => Ok(Self::Vmid(vmid)),
                _ => Err(format!("names no guests: {FORM}")),
            },
        }
    }

    /// Whether a guest is one of them. Proxmox takes tags in any case, pools as they stand.
    pub fn matches(&self, vmid: u32, pool: &str, tags: &[&str]) -> bool {
        match self {
            Self::Vmid(number) => *number == vmid,
            // (PVE: `prod/web` is a pool within `prod`.)
            Self::Pool(name) => pool.strip_prefix(name.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/')),
            Self::Tag(name) => tags.iter().any(|tag| tag.eq_ignore_ascii_case(name)),
        }
    }
}

impl fmt::Display for GuestSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vmid(number) => write!(f, "{number}"),
            Self::Pool(name) => write!(f, "pool:{name}"),
            Self::Tag(name) => write!(f, "tag:{name}"),
        }
    }
}

/// What goes before a guest's number in the names of its volumes and backups, in the ids of its HA resource, and in the
/// paths of its images (PVE: storage plugins, vzdump, PBS).
const VMID_PREFIXES: [&str; 16] = [
    "vm-",
    "base-",
    "subvol-",
    "basevol-",
    "vzdump-qemu-",
    "vzdump-lxc-",
    "vzdump-openvz-",
    "images/",
    "rootdir/",
    "private/",
    "vm:",
    "ct:",
    "vm/",
    "ct/",
    "qemu/",
    "lxc/",
];

/// The numbers of guests in the name of a volume, a backup or a resource, or in a list of such.
pub fn for_each_vmid_in_name(text: &str, each: &mut dyn FnMut(u32)) {
    for before in VMID_PREFIXES {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(before) {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if let Some(Ok(number)) = after.get(..digits).map(str::parse) {
                each(number);
            }
            rest = after;
        }
    }
    for (at, _) in text.match_indices(':') {
        let (before, after) = text.split_at(at);
        // A port is no guest.
        if !split_list(before).last().is_some_and(|word| word.contains("//")) {
            for_each_vmid_in_folders(after.trim_start_matches(':'), each);
        }
    }
    // A volume of the storage that the path names.
    if let Some((_, volume)) = text.split_once("/content/") {
        for_each_vmid_in_folders(volume, each);
    }
}

/// The guests whose folders a volume is in, whatever it is called there (PVE: `100/any.qcow2`, and of a linked clone
/// `9000/base.qcow2/100/any.qcow2`).
fn for_each_vmid_in_folders(volume: &str, each: &mut dyn FnMut(u32)) {
    let volume = split_list(volume).next().unwrap_or_default();
    if let Some((folders, _)) = volume.rsplit_once('/')
        && volume.starts_with(|c: char| c.is_ascii_digit())
    {
        folders.split('/').filter_map(|folder| folder.parse().ok()).for_each(each);
    }
}

/// The parts of a list, as Proxmox splits one: at commas, semicolons and white space of any kind, or at zero bytes.
pub(super) fn split_list(list: &str) -> impl DoubleEndedIterator<Item = &str> {
    list.split(|c: char| matches!(c, ',' | ';') || c.is_whitespace() || c.is_control())
}

/// The numbers of guests in a list of numbers; one of a replication job (`100-0`) counts as its guest's.
pub fn for_each_vmid_in_list(text: &str, each: &mut dyn FnMut(u32)) {
    for part in split_list(text) {
        if let Ok(number) = part.split('-').next().unwrap_or_default().parse() {
            each(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_named_by_number_pool_or_tag() {
        let has = |what: &str| GuestSelector::parse(what).expect(what).matches(100, "prod/web", &["Critical", "db"]);
        for what in ["100", "pool:prod", "pool:prod/web", "tag:critical", "tag:DB", " 100 "] {
            assert!(has(what), "{what}");
        }
        for what in ["101", "pool:pro", "pool:web", "tag:crit"] {
            assert!(!has(what), "{what}");
        }
        for what in ["", "web01", "99", "pool:", "tag: ", "-100", "node:pve1", "1e3"] {
            assert!(GuestSelector::parse(what).is_err(), "{what}");
        }
    }

    #[test]
    fn a_guest_is_known_by_the_names_of_what_it_has() {
        for (text, numbers) in [
            ("local-lvm:vm-100-disk-0", vec![100]),
            ("local:100/vm-100-disk-0.qcow2,size=32G", vec![100]),
            ("nfs:base-100-disk-0/vm-101-disk-0", vec![101, 100]),
            ("local:backup/vzdump-lxc-102-2026_01_01-00_00_00.tar.zst", vec![102]),
            ("pbs:backup/ct/103/2026-01-01T00:00:00Z", vec![103]),
            ("vm:104,ct:105", vec![104, 105]),
            ("local:106/any.qcow2,size=1G", vec![106]),
            ("local:107/base.qcow2/108/any.qcow2", vec![107, 108]),
            ("/nodes/pve1/storage/local/content/109/any.raw", vec![109]),
            ("local:iso/debian-12.iso", vec![]),
            ("see https://pve1.example:8006/ and 10.0.0.0/24", vec![]),
        ] {
            let mut found = Vec::new();
            for_each_vmid_in_name(text, &mut |n| found.push(n));
            found.dedup();
            assert_eq!(found, numbers, "{text}");
        }
        let mut found = Vec::new();
        for_each_vmid_in_list("100, 101;102 103-0,x", &mut |n| found.push(n));
        assert_eq!(found, [100, 101, 102, 103]);
        for odd in ["104\r105", "104\x00105", "104\u{a0}105", "104\x0b105"] {
            let mut found = Vec::new();
            for_each_vmid_in_list(odd, &mut |n| found.push(n));
            assert_eq!(found, [104, 105], "{odd:?}");
        }
    }
}
