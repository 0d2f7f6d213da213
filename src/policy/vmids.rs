//! Guest numbers in paths, names and lists of API calls.

use crate::base::list_text::split_list;
use std::net::Ipv6Addr;

/// Parameters that are numbers of guests, or ids that begin with one.
pub const VMID_PARAMETERS: [&str; 9] =
    ["vmid", "vmids", "vms", "guests", "target-vmid", "newid", "exclude", "resources", "sid"];

/// Parameters that are free texts. A number in them names no guest.
pub const TEXT_PARAMETERS: [&str; 7] =
    ["comment", "description", "hostname", "name", "notes", "notes-template", "tags"];

/// Parameters that hold a disk, without the number at their end. A test compares them with the descriptions of the API.
pub const DISK_PARAMETERS: [&str; 9] =
    ["efidisk", "ide", "mp", "rootfs", "sata", "scsi", "tpmstate", "unused", "virtio"];

/// Prefixes of a guest's number in the names of its volumes and backups, the id of its HA resource and the paths of its
/// images (PVE: storage plugins, vzdump, PBS).
const VMID_PREFIXES: [&str; 14] = [
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
    "vm/",
    "ct/",
    "qemu/",
    "lxc/",
];

/// Prefixes of a guest's number in the id of its HA resource. A storage may have such a name: then `vm:104` is a new disk.
const RESOURCE_PREFIXES: [&str; 2] = ["vm:", "ct:"];

/// Returns whether a character may be in the id of a storage. The id of an HA resource follows none: `local-lvm:100` is
/// a new disk.
fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Calls `each` for every guest number in the value of a parameter of a known operation.
pub fn for_each_vmid_in_parameter(name: &str, value: &str, each: &mut dyn FnMut(u32)) {
    match DISK_PARAMETERS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit())) {
        true => for_each_vmid_in_volume(value, each),
        false => for_each_vmid_in_name(value, each),
    }
}

/// Calls `each` for every guest number in the names of volumes, backups or resources.
pub fn for_each_vmid_in_name(text: &str, each: &mut dyn FnMut(u32)) {
    for_each_vmid_after(&RESOURCE_PREFIXES, text, each);
    for_each_vmid_in_volume(text, each);
}

/// Calls `each` for every guest number in the names of volumes or backups.
pub fn for_each_vmid_in_volume(text: &str, each: &mut dyn FnMut(u32)) {
    for_each_vmid_after(&VMID_PREFIXES, text, each);
    split_list(text).for_each(|item| for_each_vmid_in_folders(item, false, each));
    // The path names the storage, so the volume has no colon.
    if let Some((_, volume)) = text.split_once("/content/") {
        let volume = split_list(volume).next().expect("a split has a first part");
        for_each_vmid_in_folders(volume, true, each);
    }
}

fn for_each_vmid_after(prefixes: &[&str], text: &str, each: &mut dyn FnMut(u32)) {
    for before in prefixes {
        let mut rest = text;
        while let Some((earlier, after)) = rest.split_once(before) {
            if before.ends_with(':') && earlier.ends_with(is_id_char) {
                rest = after;
                continue;
            }
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if let Some(Ok(number)) = after.get(..digits).map(str::parse) {
                each(number);
            }
            rest = after;
        }
    }
}

/// Calls `each` for every guest in whose folder a volume is (PVE: `100/any.qcow2`, and for a linked clone
/// `9000/base.qcow2/100/any.qcow2`). A volume begins after a colon. `is_volume`: it also begins with the item.
fn for_each_vmid_in_folders(item: &str, is_volume: bool, each: &mut dyn FnMut(u32)) {
    // The last part is the file.
    let Some((folders, _)) = item.rsplit_once('/') else { return };
    let starts_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let (mut in_volume, mut in_url) = (is_volume && starts_with_digit(item), false);
    for (n, folder) in folders.split('/').enumerate() {
        if is_address(folder) {
            continue;
        }
        if in_volume && let Ok(number) = folder.parse() {
            each(number);
        }
        // The number after the colon of a URL is a port.
        in_url |= n > 0 && folder.is_empty();
        if is_volume || in_url {
            continue;
        }
        in_volume |= folder.split(':').skip(1).any(starts_with_digit);
        let first_folder = folder.rsplit_once(':').map(|(_, last)| last).filter(|last| starts_with_digit(last));
        first_folder.and_then(|first| first.parse().ok()).into_iter().for_each(&mut *each);
    }
}

/// Returns whether a part of a text is an IPv6 address, such as the one in `ip6=fd00::105/64`.
fn is_address(part: &str) -> bool {
    part.rsplit('=').next().is_some_and(|value| value.parse::<Ipv6Addr>().is_ok())
}

/// Calls `each` for every guest number in a list. The id of a replication job (`100-0`) and that of a task on a volume
/// (`100@local-lvm`) count as their guest.
pub fn for_each_vmid_in_list(text: &str, each: &mut dyn FnMut(u32)) {
    for part in split_list(text) {
        if let Ok(number) = part.split(['-', '@']).next().expect("a split has a first part").parse() {
            each(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            ("local-lvm:104", vec![]),
            ("ip=192.0.2.5/24,ip6=fd00::105/64,gw6=fd00::1", vec![]),
            ("/cluster/firewall/ipset/web/fd00::105/64", vec![]),
            ("/cluster/firewall/ipset/web/2001:db8:1:2:3:4:5:105/64", vec![]),
            ("my.vm:104,size=1G;object:105.5", vec![]),
            ("/cluster/ha/resources/vm:104", vec![104]),
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
        for_each_vmid_in_list("100, 101;102 103-0,x 104@local-lvm", &mut |n| found.push(n));
        assert_eq!(found, [100, 101, 102, 103, 104]);
        for odd in ["104\r105", "104\x00105", "104\u{a0}105", "104\x0b105"] {
            let mut found = Vec::new();
            for_each_vmid_in_list(odd, &mut |n| found.push(n));
            assert_eq!(found, [104, 105], "{odd:?}");
        }
    }

    #[test]
    fn a_disk_on_a_storage_with_the_name_of_a_kind_is_no_guest() {
        for (name, value, numbers) in [
            ("scsi1", "vm:104", vec![]),
            ("rootfs", "volume=ct:105,size=8G", vec![]),
            ("mp0", "vm:104,mp=/vm:105", vec![]),
            ("scsi1", "vm:vm-106-disk-0", vec![106]),
            ("scsi1", "vm:107/vm-107-disk-0.qcow2", vec![107]),
            ("scsi1", "vm:0,import-from=ct:108/any.raw", vec![108]),
            ("sid", "vm:104", vec![104]),
            ("resources", "vm:104,ct:105", vec![104, 105]),
            ("scsihw", "vm:104", vec![104]),
        ] {
            let mut found = Vec::new();
            for_each_vmid_in_parameter(name, value, &mut |n| found.push(n));
            found.dedup();
            assert_eq!(found, numbers, "{name}={value}");
        }
    }

    /// Looks at every colon and every text after it, which is the meaning and costs the square of the length.
    fn find_in_volumes(text: &str) -> Vec<u32> {
        let separators = |c: char| c == '/' || split_list(c.encode_utf8(&mut [0; 4])).all(str::is_empty);
        let parts = text.split_inclusive(separators).map(|part| match part.trim_end_matches(separators) {
            address if address.parse::<Ipv6Addr>().is_ok() => &part[address.len()..],
            _ => part,
        });
        let text = &parts.collect::<String>();
        let mut found = Vec::new();
        let mut add = |volume: &str| {
            let volume = split_list(volume).next().unwrap();
            if let Some((folders, _)) =
                volume.rsplit_once('/').filter(|_| volume.starts_with(|c: char| c.is_ascii_digit()))
            {
                found.extend(folders.split('/').filter_map(|folder| folder.parse::<u32>().ok()));
            }
        };
        for (at, _) in text.match_indices(':') {
            if !split_list(&text[..at]).last().is_some_and(|word| word.contains("//")) {
                add(text[at..].trim_start_matches(':'));
            }
        }
        if let Some((_, volume)) = text.split_once("/content/") {
            add(volume);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    proptest! {
        #[test]
        fn one_pass_finds_the_volumes_of_every_colon(text in "(a|:|/|1|20|,| |[+]|/content/){0,14}") {
            let mut found = Vec::new();
            for_each_vmid_in_name(&text, &mut |n| found.push(n));
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found, find_in_volumes(&text));
        }
    }
}
