//! The order of keys: what identifies an object first, then its state, its use, and at last long texts.

use std::cmp::Ordering;

/// The keys that come first, in this order.
const FIRST: &[&str] = &[
    "pos",
    "n",
    "vmid",
    "key",
    "id",
    "sid",
    "Package",
    "OldVersion",
    "Version",
    "name",
    "hostname",
    "node",
    "storage",
    "volid",
    "userid",
    "user",
    "groupid",
    "roleid",
    "poolid",
    "realm",
    "tokenid",
    "ugid",
    "macro",
    "service",
    "path",
    "iface",
    "filename",
    "devpath",
    "subject",
    "type",
    "plugintype",
    "action",
    "status",
    "state",
    "request_state",
    "exitstatus",
    "lock",
    "qmpstatus",
    "health",
    "wearout",
    "model",
    "enabled",
    "enable",
    "disable",
    "active",
    "online",
    "quorate",
    "value",
    "pending",
    "delete",
    "starttime",
    "endtime",
    "time",
    "ctime",
    "snaptime",
    "next-run",
    "notafter",
    "schedule",
    "cpu",
    "cpus",
    "maxcpu",
    "cores",
    "sockets",
    "memory",
    "balloon",
    "swap",
    "mem",
    "maxmem",
    "disk",
    "maxdisk",
    "size",
    "used",
    "avail",
    "total",
    "used_fraction",
    "uptime",
    "loadavg",
    "content",
    "shared",
    "tags",
    "pool",
    "onboot",
    "rootfs",
    "scsi0",
    "virtio0",
    "sata0",
    "ide0",
    "net0",
];

/// The keys that come last, in this order.
const LAST: &[&str] = &[
    "vendor",
    "by_id_link",
    "wwn",
    "Description",
    "comment",
    "description",
    "notes",
    "pid",
    "pstart",
    "smbios1",
    "vmgenid",
    "meta",
    "upid",
    "digest",
];

/// Returns the order of two keys. Keys without a place are sorted by name, numbers by their value.
pub fn compare_keys(a: &str, b: &str) -> Ordering {
    place(a).cmp(&place(b)).then_with(|| compare_names(a, b))
}

/// Returns whether a key comes last.
pub fn is_last(key: &str) -> bool {
    place(key).0 == 2
}

/// Returns whether a key has a place of its own, because readers look for it.
pub fn has_place(key: &str) -> bool {
    place(key).0 != 1
}

fn place(key: &str) -> (u8, usize) {
    if let Some(at) = FIRST.iter().position(|first| *first == key) {
        return (0, at);
    }
    LAST.iter().position(|last| *last == key).map_or((1, 0), |at| (2, at))
}

fn compare_names(a: &str, b: &str) -> Ordering {
    let stem = |key: &str| key.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem_a, stem_b) = (stem(a), stem(b));
    let number = |key: &str, stem: usize| key[stem..].parse::<u64>().unwrap_or(0);
    a[..stem_a].cmp(&b[..stem_b]).then_with(|| number(a, stem_a).cmp(&number(b, stem_b))).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_use() {
        let mut keys = ["digest", "net10", "net2", "cores", "comment", "b", "name", "vmid", "status", "a"];
        keys.sort_by(|a, b| compare_keys(a, b));
        assert_eq!(keys, ["vmid", "name", "status", "cores", "a", "b", "net2", "net10", "comment", "digest"]);
    }
}
