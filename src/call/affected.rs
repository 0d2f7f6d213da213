//! The guests that a change affects. These are the guest of its path and the guests that its parameters or volumes name.
//! A change that works on many guests at once affects those of a node, a pool or the cluster.

use super::shared_object::{Members, SharedObject};
use crate::base::list_text::split_list;
use crate::policy::{
    Risk, RiskKind, TEXT_PARAMETERS, VMID_PARAMETERS, for_each_vmid_in_list, for_each_vmid_in_name,
    for_each_vmid_in_parameter, is_in_pool,
};
use crate::pve::guests::Guest;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use std::collections::BTreeSet;

/// The scope of a change beside the guests that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AffectedScope {
    NamedOnly,
    /// Every guest on this node.
    Node(String),
    /// Every guest in this pool.
    Pool(String),
    /// Every guest of the cluster.
    Cluster,
}

/// The smallest number of a guest (PVE).
const MIN_VMID: u32 = 100;

/// Options of a node that concern the guests on it.
const NODE_GUEST_OPTIONS: [&str; 2] = ["ballooning-target", "startall-onboot-delay"];

/// Services of a node that the guests of the other nodes need too.
const CLUSTER_SERVICES: [&str; 3] = ["corosync", "pve-cluster", "pve-ha-crm"];

/// Returns the scope of a known operation. An operation on many guests has one parameter that selects them. A number in
/// any other place does not narrow the scope.
fn determine_scope(template: &str, segments: &[&str], params: &ApiParams, risk: Risk) -> AffectedScope {
    // A path that is shorter than its template would have the widest scope.
    let node = || segments.get(1).map_or(AffectedScope::Cluster, |node| AffectedScope::Node((*node).to_owned()));
    let given = |name: &str| params.iter().find(|(given, value)| *given == name && !value.is_empty());
    let resets = |name: &str| given("delete").is_some_and(|(_, list)| split_list(list).any(|word| word == name));
    let chosen = |name: &str| {
        let mut any = false;
        params
            .iter()
            .filter(|(given, _)| *given == name)
            .for_each(|(_, value)| for_each_vmid_in_list(value, &mut |_| any = true));
        any
    };
    let parts: Vec<&str> = template.split('/').skip(1).collect();
    match parts.as_slice() {
        // Commands in a guest affect that guest. Commands, files and devices of a node may affect every guest.
        ["nodes", _, "qemu" | "lxc", rest @ ..] if risk.kind != RiskKind::Execute || runs_in_guest(rest) => {
            AffectedScope::NamedOnly
        }
        _ if risk.kind == RiskKind::Execute => AffectedScope::Cluster,
        // A backup with `stop` ends the jobs of other users.
        ["nodes", _, "vzdump"] if given("stop").is_some_and(|(_, stop)| stop != "0") => node(),
        // A backup of a whole pool or node. A backup of a few guests names them.
        ["nodes", _, "vzdump"] if chosen("vmid") => AffectedScope::NamedOnly,
        ["nodes", _, "vzdump"] => given("pool").map_or_else(node, |(_, pool)| AffectedScope::Pool(pool.to_owned())),
        ["cluster", "backup", ..] if chosen("vmid") => AffectedScope::NamedOnly,
        ["cluster", "backup", ..] => match given("pool") {
            Some((_, pool)) => AffectedScope::Pool(pool.to_owned()),
            // The selection of an existing job is unchanged.
            None if parts.len() > 2 && given("all").is_none() && given("exclude").is_none() => AffectedScope::NamedOnly,
            None => AffectedScope::Cluster,
        },
        ["nodes", _, "stopall" | "startall" | "suspendall" | "migrateall"] if chosen("vms") => AffectedScope::NamedOnly,
        ["nodes", _, "stopall" | "startall" | "suspendall" | "migrateall"] => node(),
        // The UPID of a task of one guest has its number. A task on many guests, or on the node, has none.
        ["nodes", _, "tasks", _] if segments.get(3).is_none_or(|upid| !names_reached_guests(upid)) => {
            let is_ceph =
                segments.get(3).and_then(|upid| upid.split(':').nth(5)).is_some_and(|k| k.starts_with("ceph"));
            if is_ceph { AffectedScope::Cluster } else { node() }
        }
        ["nodes", _, "tasks" | "replication", _, ..] => AffectedScope::NamedOnly,
        ["nodes", _, "storage", _, "prunebackups"] if chosen("vmid") => AffectedScope::NamedOnly,
        // A storage may be shared.
        ["nodes", _, "storage", _, "prunebackups"] => AffectedScope::Cluster,
        // Guests run snippets at their start.
        ["nodes", _, "storage", _, "content", _]
            if risk.is_sensitive() && segments.iter().any(|segment| is_snippet(segment)) =>
        {
            AffectedScope::Cluster
        }
        // The configs of guests name their ISO images. Templates belong to no guest.
        ["nodes", _, "storage", _, "content", _] => AffectedScope::NamedOnly,
        ["nodes", _, "ceph", ..] if risk.is_sensitive() => AffectedScope::Cluster,
        // A disk may be a LUN that nodes share, or hold copies of the guests of other nodes.
        ["nodes", _, "disks", ..] => AffectedScope::Cluster,
        // New files, and questions to other hosts.
        ["nodes", _, "storage", _, "download-url" | "oci-registry-pull" | "upload"]
        | ["nodes", _, "aplinfo" | "scan" | "query-url-metadata" | "query-oci-repo-tags" | "subscription", ..]
        | ["cluster", "acme", ..] => AffectedScope::NamedOnly,
        // The quorum of all nodes, and the HA manager of all guests, depend on these services of each node.
        ["nodes", _, "services", ..]
            if risk.is_sensitive() && segments.get(3).is_some_and(|name| CLUSTER_SERVICES.contains(name)) =>
        {
            AffectedScope::Cluster
        }
        // A pending change of the network takes effect with the next start of the node at the latest.
        ["nodes", _, "network", ..] => node(),
        ["nodes", _, "config"] if NODE_GUEST_OPTIONS.iter().any(|name| given(name).is_some() || resets(name)) => node(),
        // Power of the node, its disks, its network.
        ["nodes", _, ..] if risk.is_sensitive() => node(),
        ["cluster", "bulk-action", ..] if chosen("vms") => AffectedScope::NamedOnly,
        ["cluster", "bulk-action" | "ceph", ..] | ["cluster", "ha", "status", ..] => AffectedScope::Cluster,
        // Members of the cluster, and the network of all nodes.
        ["cluster", "config", ..] | ["cluster", "sdn"] if risk.is_sensitive() => AffectedScope::Cluster,
        ["pools"] => given("poolid").map_or(AffectedScope::NamedOnly, |(_, pool)| AffectedScope::Pool(pool.to_owned())),
        ["pools", ..] => segments.get(1..).map_or(AffectedScope::Cluster, |pool| AffectedScope::Pool(pool.join("/"))),
        // A guest without its storage has no disks.
        ["storage", _] if risk.is_sensitive() || given("disable").or(given("nodes")).is_some() => {
            AffectedScope::Cluster
        }
        _ => AffectedScope::NamedOnly,
    }
}

/// Returns whether an operation that runs commands, given by the rest of its path, is bound to its guest.
fn runs_in_guest(rest: &[&str]) -> bool {
    matches!(rest, [_, "agent", ..] | [_, "sendkey" | "vncproxy" | "termproxy" | "spiceproxy" | "vncwebsocket"])
}

/// Returns whether a segment of a path is a volume of snippets, or the folder of one.
fn is_snippet(segment: &str) -> bool {
    let volume = segment.rsplit(':').next().unwrap_or_default();
    volume.split('/').next() == Some("snippets")
}

/// Returns whether the UPID of a task names all guests that it works on: one of these kinds works on none.
fn names_reached_guests(upid: &str) -> bool {
    const WITHOUT_GUESTS: [&str; 6] = ["aptupdate", "download", "imgcopy", "spiceshell", "vncshell", "termproxy"];
    let mut parts = upid.split(':').skip(5);
    let kind = parts.next().unwrap_or_default();
    let mut names_one = WITHOUT_GUESTS.contains(&kind);
    for_each_vmid_in_list(parts.next().unwrap_or_default(), &mut |_| names_one = true);
    names_one
}

/// Returns the numbers of the guests that a change names. Only the parameters of a known operation are known to hold disks.
fn collect_named_vmids(segments: &[&str], params: &ApiParams, is_known: bool) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut add = |number| _ = found.insert(number);
    let mut before = "";
    for segment in segments {
        match before {
            "qemu" | "lxc" | "replication" => for_each_vmid_in_list(segment, &mut add),
            // UPID:node:pid:pstart:start:type:id:user:
            "tasks" => for_each_vmid_in_list(segment.split(':').nth(6).unwrap_or_default(), &mut add),
            "resources" => {
                for_each_vmid_in_list(segment, &mut add);
                for_each_vmid_in_name(segment, &mut add);
            }
            _ => for_each_vmid_in_name(segment, &mut add),
        }
        before = segment;
    }
    // The name of a volume may have slashes, which make it several segments.
    for_each_vmid_in_name(&format!("/{}", segments.join("/")), &mut add);
    for (name, value) in params.iter().filter(|(name, _)| !TEXT_PARAMETERS.contains(name)) {
        if VMID_PARAMETERS.contains(&name) || (name == "id" && segments.contains(&"replication")) {
            for_each_vmid_in_list(value, &mut add);
        }
        let mut add_large = |number| {
            // A smaller number is a part of something else, such as a calendar event (`*:0/15`).
            if number >= MIN_VMID {
                add(number);
            }
        };
        match is_known {
            true => for_each_vmid_in_parameter(name, value, &mut add_large),
            false => for_each_vmid_in_name(value, &mut add_large),
        }
    }
    found
}

/// The guests that a change affects.
#[derive(Clone)]
pub(super) struct AffectedGuests {
    named_vmids: BTreeSet<u32>,
    scope: AffectedScope,
    created_vmid: Option<u32>,
    shared: SharedObject,
}

impl AffectedGuests {
    /// Returns the affected guests of a call: none for a read. `template` is that of the operation where the embedded
    /// facts know it. An unknown operation may affect every guest.
    pub(super) fn from_operation(path: &ApiPath, template: Option<&str>, params: &ApiParams, risk: Risk) -> Self {
        if risk.is_read_only() {
            return Self {
                named_vmids: BTreeSet::new(),
                scope: AffectedScope::NamedOnly,
                created_vmid: None,
                shared: SharedObject::None,
            };
        }
        let decoded: Vec<_> = path.segments().collect();
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        Self {
            named_vmids: collect_named_vmids(&segments, params, template.is_some()),
            scope: template
                .map_or(AffectedScope::Cluster, |template| determine_scope(template, &segments, params, risk)),
            created_vmid: template.and_then(|template| parse_created_vmid(template, params)),
            shared: template.map_or(SharedObject::AnyGuest, |template| {
                SharedObject::from_operation(template, &segments, params, risk)
            }),
        }
    }

    /// Selects the affected guests of a list.
    pub(super) fn select_from<'g>(&self, guests: &'g [Guest]) -> impl Iterator<Item = &'g Guest> {
        guests.iter().filter(move |guest| {
            self.names(guest.vmid)
                || match &self.scope {
                    AffectedScope::NamedOnly => false,
                    AffectedScope::Node(node) => guest.node == *node || guest.node.is_empty(),
                    AffectedScope::Pool(pool) => is_in_pool(&guest.pool, pool),
                    AffectedScope::Cluster => true,
                }
        })
    }

    /// Returns whether the change affects no guest, as far as the call itself shows.
    pub(super) fn is_empty(&self) -> bool {
        self.named_vmids.is_empty() && self.scope == AffectedScope::NamedOnly
    }

    /// Returns whether the change affects the guest with this number and no other.
    pub(super) fn is_only(&self, vmid: u32) -> bool {
        self.scope == AffectedScope::NamedOnly && self.named_vmids.len() == 1 && self.names(vmid)
    }

    /// Returns whether the call names the guest with this number.
    pub(super) fn names(&self, vmid: u32) -> bool {
        self.named_vmids.contains(&vmid)
    }

    pub(super) fn named_vmids(&self) -> &BTreeSet<u32> {
        &self.named_vmids
    }

    pub(super) fn scope(&self) -> &AffectedScope {
        &self.scope
    }

    /// Returns the object of the change that guests may share.
    pub(super) fn shared(&self) -> &SharedObject {
        &self.shared
    }

    /// Returns what the change reaches with the guests that its shared object has now.
    pub(super) fn with_members(&self, members: Members) -> Self {
        let mut reached = Self {
            named_vmids: self.named_vmids.clone(),
            scope: self.scope.clone(),
            created_vmid: self.created_vmid,
            shared: SharedObject::None,
        };
        match members {
            Members::Listed(vmids) => reached.named_vmids.extend(vmids),
            Members::AnyGuest => reached.scope = AffectedScope::Cluster,
        }
        reached
    }

    /// Returns whether the change creates the guest with this number.
    pub(super) fn creates(&self, vmid: u32) -> bool {
        self.created_vmid == Some(vmid)
    }
}

/// Returns the number of the guest that a change creates. With `force` the guest may exist already.
fn parse_created_vmid(template: &str, params: &ApiParams) -> Option<u32> {
    let name = match template {
        _ if params.iter().any(|(name, value)| name == "force" && !matches!(value, "" | "0")) => return None,
        "/nodes/{node}/qemu" | "/nodes/{node}/lxc" => "vmid",
        _ if template.ends_with("/clone") => "newid",
        _ => return None,
    };
    params.iter().find(|(given, _)| *given == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;

    fn params(pairs: &[(&str, &str)]) -> ApiParams {
        let mut params = ApiParams::new();
        pairs.iter().for_each(|(name, value)| params.push(name, value));
        params
    }

    #[test]
    fn a_change_names_guests_in_many_ways() {
        for (path, given, numbers) in [
            ("/nodes/pve1/qemu/100/status/stop", &[][..], &[100][..]),
            ("/nodes/pve1/qemu", &[("vmid", "100"), ("force", "1")], &[100]),
            ("/nodes/pve1/qemu/101/clone", &[("newid", "200")], &[101, 200]),
            ("/nodes/pve1/qemu/101/config", &[("scsi1", "local-lvm:vm-100-disk-0,size=1G")], &[100, 101]),
            ("/nodes/pve1/qemu/101/config", &[("scsi1", "local-lvm:9999"), ("scsi2", "vm-lvm:104.5")], &[101]),
            ("/nodes/pve1/lxc/101/config", &[("mp0", "local-lvm:105,mp=/srv"), ("rootfs", "volume=lvm:106")], &[101]),
            ("/nodes/pve1/qemu/101/config", &[("scsi1", "local-lvm:0,import-from=nas:105/any.qcow2")], &[101, 105]),
            ("/nodes/pve1/vzdump", &[("vmid", "100,101")], &[100, 101]),
            ("/nodes/pve1/storage/local/content/local:100/vm-100-disk-0.raw", &[], &[100]),
            ("/nodes/pve1/storage/pbs/content/pbs:backup/vm/100/2026-01-01T00:00:00Z", &[], &[100]),
            ("/nodes/pve1/tasks/UPID:pve1:00000001:00000001:00000001:qmstart:100:root@pam:", &[], &[100]),
            ("/cluster/ha/resources/vm:100", &[], &[100]),
            ("/cluster/ha/resources", &[("sid", "100")], &[100]),
            ("/cluster/ha/rules", &[("resources", "vm:100,ct:101")], &[100, 101]),
            ("/cluster/ha/rules", &[("resources", "100,101")], &[100, 101]),
            ("/nodes/pve1/storage/local/content/100/any.raw", &[], &[100]),
            ("/cluster/replication/100-0", &[], &[100]),
            ("/cluster/replication", &[("id", "100-0")], &[100]),
            ("/pools", &[("vms", "100;101"), ("delete", "1")], &[100, 101]),
            ("/nodes/pve1/network/vmbr0", &[("address", "192.0.2.1")], &[]),
            ("/cluster/backup", &[("schedule", "*:0/15")], &[]),
            ("/nodes/pve1/qemu/101/config", &[("name", "vm-100"), ("description", "as vm-100")], &[101]),
        ] {
            let segments: Vec<&str> = path.split('/').skip(1).collect();
            let found: Vec<u32> = collect_named_vmids(&segments, &params(given), true).into_iter().collect();
            assert_eq!(found, numbers, "{path} {given:?}");
        }
    }

    #[test]
    fn a_storage_may_have_the_name_of_a_kind_of_guest() {
        let collect = |path: &str, given: (&str, &str), is_known| {
            let segments: Vec<&str> = path.split('/').skip(1).collect();
            collect_named_vmids(&segments, &params(&[given]), is_known).into_iter().collect::<Vec<u32>>()
        };
        let config = "/nodes/pve1/qemu/101/config";
        assert_eq!(collect(config, ("scsi1", "vm:104"), true), [101]);
        assert_eq!(collect("/cluster/ha/rules", ("resources", "vm:104"), true), [104]);
        // An operation without a description may mean the guest.
        assert_eq!(collect(config, ("scsi1", "vm:104"), false), [101, 104]);
    }

    #[test]
    fn disks_are_the_parameters_that_the_descriptions_call_volumes() {
        use crate::policy::DISK_PARAMETERS;
        let mut found = BTreeSet::new();
        for operation in embedded_schema().operations() {
            for parameter in operation.parameters() {
                let stem = parameter.name().trim_end_matches("[n]").trim_end_matches(|c: char| c.is_ascii_digit());
                let formats = || parameter.nested_parameters().map(|key| key.format());
                let is_disk =
                    formats().any(|format| format.starts_with("pve-volume-id") || format == "pve-lxc-mp-string");
                let is_listed = DISK_PARAMETERS.contains(&stem);
                assert_eq!(is_disk, is_listed, "{} {}", operation.template(), parameter.name());
                found.extend(is_disk.then_some(stem));
            }
        }
        assert!(found.iter().eq(DISK_PARAMETERS.iter()), "{found:?}");
    }

    #[test]
    fn what_works_on_many_guests_at_once_is_known() {
        let scope_of = |template: &str, given: &[(&str, &str)]| {
            let method = [crate::pve::Method::Post, crate::pve::Method::Delete, crate::pve::Method::Put];
            let operation =
                method.iter().find_map(|m| embedded_schema().find_by_template(*m, template)).expect(template);
            let segments: Vec<&str> = template.split('/').skip(1).collect();
            determine_scope(template, &segments, &params(given), operation.risk())
        };
        let node = AffectedScope::Node("{node}".into());
        for whole in ["stopall", "suspendall", "migrateall", "vzdump", "status", "network", "network/{iface}"] {
            assert_eq!(scope_of(&format!("/nodes/{{node}}/{whole}"), &[]), node, "{whole}");
        }
        for all in ["vncshell", "execute", "ceph/pool/{name}", "storage/{storage}/prunebackups", "disks/wipedisk"] {
            assert_eq!(scope_of(&format!("/nodes/{{node}}/{all}"), &[]), AffectedScope::Cluster, "{all}");
        }
        for free in ["storage/{storage}/download-url", "aplinfo", "subscription", "config"] {
            assert_eq!(scope_of(&format!("/nodes/{{node}}/{free}"), &[]), AffectedScope::NamedOnly, "{free}");
        }
        for options in [("ballooning-target", "1"), ("delete", "ballooning-target")] {
            assert_eq!(scope_of("/nodes/{node}/config", &[options]), node);
        }
        // A number that says of nothing which guests.
        assert_eq!(scope_of("/nodes/{node}/vzdump", &[("all", "1"), ("exclude", "101")]), node);
        assert_eq!(scope_of("/nodes/{node}/vzdump", &[("notes-template", "vm-101")]), node);
        assert_eq!(scope_of("/cluster/bulk-action/guest/migrate", &[("target", "vm-101")]), AffectedScope::Cluster);
        assert_eq!(scope_of("/cluster/backup", &[("all", "1"), ("exclude", "101")]), AffectedScope::Cluster);
        assert_eq!(scope_of("/cluster/backup/{id}", &[]), AffectedScope::NamedOnly);
        assert_eq!(scope_of("/nodes/{node}/stopall", &[("vms", "101")]), AffectedScope::NamedOnly);
        assert_eq!(scope_of("/nodes/{node}/vzdump", &[("vmid", "101")]), AffectedScope::NamedOnly);
        assert_eq!(scope_of("/nodes/{node}/vzdump", &[("pool", "prod")]), AffectedScope::Pool("prod".into()));
        assert_eq!(scope_of("/pools", &[("poolid", "prod")]), AffectedScope::Pool("prod".into()));
        assert_eq!(scope_of("/cluster/bulk-action/guest/shutdown", &[]), AffectedScope::Cluster);
        assert_eq!(scope_of("/storage/{storage}", &[]), AffectedScope::Cluster);
        assert_eq!(scope_of("/nodes/{node}/qemu/{vmid}/status/stop", &[]), AffectedScope::NamedOnly);
        assert_eq!(scope_of("/nodes/{node}/apt/update", &[]), AffectedScope::NamedOnly);
    }
}
