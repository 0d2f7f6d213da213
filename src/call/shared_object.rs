//! Objects that guests share: jobs, rules, storages, firewall groups, mappings, networks. A change of one may affect every
//! guest that uses it, and its path names no guest.

use crate::base::json_scan::unquote;
use crate::policy::{Risk, for_each_vmid_in_list, for_each_vmid_in_volume};
use crate::pve::params::ApiParams;
use crate::render::object_state::has_disk_name;

/// The object that a change edits, as far as guests share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SharedObject {
    /// The call names all guests that it affects.
    None,
    /// Any guest may use the object.
    AnyGuest,
    /// A backup job, by its id.
    BackupJob(String),
    /// An HA rule, by its name.
    HaRule(String),
    /// Volumes whose names do not tell their guest, as configs name them: an ISO image, or a LUN.
    Volumes(Vec<String>),
}

/// The guests that an object has now.
pub(super) enum Members {
    Listed(Vec<u32>),
    /// All guests, a whole node, or a selection that could not be read.
    AnyGuest,
}

impl SharedObject {
    /// Returns the object of an operation. An operation that is not listed here may affect any guest.
    pub(super) fn from_operation(template: &str, segments: &[&str], params: &ApiParams, risk: Risk) -> Self {
        let parts: Vec<&str> = template.split('/').skip(1).collect();
        let name = || segments.last().map_or_else(String::new, |name| (*name).to_owned());
        let is_given = |wanted: &str| params.names().any(|name| name == wanted);
        match parts.as_slice() {
            // Permissions, notifications, certificates and the like belong to no guest.
            ["access", ..] | ["cluster", "acme" | "metrics" | "notifications" | "jobs", ..] => Self::None,
            // The options of HA decide what happens to its guests.
            ["cluster", "options"]
                if !risk.is_sensitive() && !["ha", "crs", "delete"].iter().any(|name| is_given(name)) =>
            {
                Self::None
            }
            // The path or a parameter names the guests.
            ["cluster", "ha", "resources" | "rules"]
            | ["cluster", "ha", "resources", ..]
            | ["cluster", "replication", ..]
            | ["cluster", "bulk-action", ..]
            | ["cluster", "backup"] => Self::None,
            ["cluster", "ha", "rules", _] => Self::HaRule(name()),
            ["cluster", "backup", _] => Self::BackupJob(name()),
            // A new object has no guests yet.
            ["cluster", "ha", "groups"]
            | ["cluster", "mapping", _]
            | ["cluster", "qemu", "custom-cpu-models"]
            | ["cluster", "sdn", "zones" | "vnets" | "controllers" | "dns" | "ipams" | "lock"]
            | ["cluster", "sdn", "fabrics", _] => Self::None,
            // A volume group for a new storage overwrites a disk, which guests may use.
            ["storage"] if !risk.irreversible => Self::None,
            ["cluster", "firewall", "aliases" | "ipset" | "groups"] if !is_given("rename") => Self::None,
            ["nodes", _, "ceph", "mon" | "mgr" | "mds", _] | ["nodes", _, "ceph", "pool" | "start" | "init"]
                if !risk.is_sensitive() =>
            {
                Self::None
            }
            ["nodes", _, "ceph", "osd", _, "in" | "scrub"] | ["nodes", _, "ceph", "fs", _] if !risk.is_sensitive() => {
                Self::None
            }
            ["nodes", _, "ceph", ..] => Self::AnyGuest,
            ["nodes", _, "storage", _, "content", _] if risk.is_sensitive() => find_iso_image(segments),
            ["nodes", _, "qemu" | "lxc"] | ["nodes", _, "qemu" | "lxc", _, "config"] => find_ownerless_disks(params),
            // The scope of these is a node, or the guests that they name.
            [
                "nodes",
                _,
                "qemu" | "lxc" | "vzdump" | "tasks" | "replication" | "storage" | "disks" | "firewall",
                ..,
            ]
            | ["nodes", _, "stopall" | "startall" | "suspendall" | "migrateall" | "status" | "services", ..]
            | ["nodes", _, "apt" | "aplinfo" | "certificates" | "config" | "dns" | "hosts" | "network", ..]
            | ["nodes", _, "subscription" | "time" | "wakeonlan"]
            | ["nodes", _, "scan" | "query-url-metadata" | "query-oci-repo-tags", ..]
            | ["pools", ..] => Self::None,
            _ => Self::AnyGuest,
        }
    }

    /// Returns the path of the object, and the member that lists its guests.
    pub(super) fn member_list(&self) -> Option<(Vec<&str>, &'static str)> {
        match self {
            Self::None | Self::AnyGuest | Self::Volumes(_) => None,
            Self::BackupJob(id) => Some((vec!["cluster", "backup", id], "vmid")),
            Self::HaRule(name) => Some((vec!["cluster", "ha", "rules", name], "resources")),
        }
    }
}

/// Returns the ISO image of a path of a volume, `…/storage/local/content/local:iso/a.iso`. The path may leave the storage
/// out of the name.
fn find_iso_image(segments: &[&str]) -> SharedObject {
    let [_, _, _, storage, _, name @ ..] = segments else { return SharedObject::AnyGuest };
    let name = name.join("/");
    let volume = name.split_once(':').map_or(name.as_str(), |(_, volume)| volume);
    match volume.starts_with("iso/") {
        true => SharedObject::Volumes(vec![format!("{storage}:{volume}")]),
        false => SharedObject::None,
    }
}

/// Returns the present volumes that a call gives to a guest as disks, and whose names tell no guest. (PVE: a LUN is named by
/// its target alone, and a number after the storage is the size of a new disk.)
fn find_ownerless_disks(params: &ApiParams) -> SharedObject {
    let is_ownerless = |volume: &str| {
        let (mut has_owner, name) = (false, volume.split_once(':').map_or("", |(_, name)| name));
        for_each_vmid_in_volume(volume, &mut |_| has_owner = true);
        let is_new = name.parse::<f64>().is_ok() || matches!(name, "" | "cloudinit");
        !has_owner && !is_new && !name.starts_with("iso/")
    };
    let values = params.iter().filter(|(name, _)| has_disk_name(name)).flat_map(|(_, value)| value.split(','));
    let volumes = values.filter_map(|part| match part.trim().split_once('=') {
        Some(("file" | "volume", volume)) => Some(volume),
        Some(_) => None,
        None => Some(part.trim()),
    });
    let volumes: Vec<String> = volumes.filter(|volume| is_ownerless(volume)).map(str::to_owned).collect();
    if volumes.is_empty() { SharedObject::None } else { SharedObject::Volumes(volumes) }
}

impl Members {
    /// Reads the JSON of the list of guests, a text or a number. A job without a list has all guests, those of a pool, or
    /// all but some.
    pub(super) fn from_list(list: Option<&str>) -> Self {
        let list = list.map(unquote).unwrap_or_default().replace("vm:", "").replace("ct:", "");
        let mut vmids = Vec::new();
        for_each_vmid_in_list(&list, &mut |vmid| vmids.push(vmid));
        if vmids.is_empty() { Self::AnyGuest } else { Self::Listed(vmids) }
    }
}
