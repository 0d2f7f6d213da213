//! Which guests a change reaches: the one of its path, those its parameters name, those whose volumes it names, and all
//! of a node or a cluster where it works on many at once. Protected guests are refused here.

use crate::call::resolve_path::ClusterLookup;
use crate::policy::{ClusterPolicy, GuestSelector, Risk, RiskKind, for_each_vmid_in_list, for_each_vmid_in_name};
use crate::pve::guests::Guest;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use std::fmt::Write;

/// Guests that a refusal names.
const MAX_NAMED_GUESTS: usize = 5;

/// What a change reaches beside the guests it names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AffectedScope {
    /// Nothing.
    NamedOnly,
    /// Every guest on this node.
    Node(String),
    /// Every guest in this pool.
    Pool(String),
    /// Every guest.
    Cluster,
}

/// Parameters that are numbers of guests, or ids that begin with one (a replication job's).
const VMID_PARAMETERS: [&str; 8] = ["vmid", "vmids", "vms", "guests", "target-vmid", "newid", "exclude", "resources"];

/// What a change of a known operation reaches beside what it names. What works on many guests at once says of which in
/// a parameter of its own: a number that stands anywhere else does not make it fewer.
fn determine_scope(template: &str, segments: &[&str], params: &ApiParams, risk: Risk) -> AffectedScope {
    let node = || AffectedScope::Node(segments.get(1).copied().unwrap_or_default().to_owned());
    let given = |name: &str| params.iter().find(|(given, value)| *given == name && !value.is_empty());
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
        // No guest is safe from what runs on a node as root.
        ["nodes", _, "qemu" | "lxc", ..] if given("args").or(given("hookscript")).is_none() => AffectedScope::NamedOnly,
        ["nodes", ..] if risk.kind == RiskKind::Execute => AffectedScope::Cluster,
        // It ends the jobs of others.
        ["nodes", _, "vzdump"] if given("stop").is_some_and(|(_, stop)| stop != "0") => node(),
        // A backup of a whole pool or node; one of a few guests names them.
        ["nodes", _, "vzdump"] if chosen("vmid") => AffectedScope::NamedOnly,
        ["nodes", _, "vzdump"] => given("pool").map_or_else(node, |(_, pool)| AffectedScope::Pool(pool.to_owned())),
        ["cluster", "backup", ..] if chosen("vmid") => AffectedScope::NamedOnly,
        ["cluster", "backup", ..] => match given("pool") {
            Some((_, pool)) => AffectedScope::Pool(pool.to_owned()),
            // Of a job that is there, what it backs up stays as it is.
            None if parts.len() > 2 && given("all").is_none() && given("exclude").is_none() => AffectedScope::NamedOnly,
            None => AffectedScope::Cluster,
        },
        ["nodes", _, "stopall" | "startall" | "suspendall" | "migrateall"] if chosen("vms") => AffectedScope::NamedOnly,
        ["nodes", _, "stopall" | "startall" | "suspendall" | "migrateall"] => node(),
        // A task or a job of a guest is known by its number; a task that works on many has none.
        ["nodes", _, "tasks", _] if is_bulk_task(segments.get(3).copied().unwrap_or_default()) => node(),
        ["nodes", _, "tasks" | "replication", _, ..] => AffectedScope::NamedOnly,
        ["nodes", _, "storage", _, "prunebackups"] if chosen("vmid") => AffectedScope::NamedOnly,
        // A storage may be shared.
        ["nodes", _, "storage", _, "prunebackups"] => AffectedScope::Cluster,
        // An ISO image or a template is no guest's.
        ["nodes", _, "storage", _, "content", _] => AffectedScope::NamedOnly,
        ["nodes", _, "ceph", ..] if risk.irreversible => AffectedScope::Cluster,
        // Power of the node, its disks, its network: whatever can't be undone there.
        ["nodes", _, ..] if risk.irreversible => node(),
        ["cluster", "bulk-action", ..] if chosen("vms") => AffectedScope::NamedOnly,
        ["cluster", "bulk-action" | "ceph", ..] | ["cluster", "ha", "status", ..] => AffectedScope::Cluster,
        // Who belongs to the cluster; the network of all nodes.
        ["cluster", "config", ..] | ["cluster", "sdn"] if risk.irreversible => AffectedScope::Cluster,
        ["pools"] => given("poolid").map_or(AffectedScope::NamedOnly, |(_, pool)| AffectedScope::Pool(pool.to_owned())),
        ["pools", ..] => AffectedScope::Pool(segments.get(1..).unwrap_or_default().join("/")),
        // Without its storage a guest has no disks.
        ["storage", _] if risk.irreversible || given("disable").or(given("nodes")).is_some() => AffectedScope::Cluster,
        _ => AffectedScope::NamedOnly,
    }
}

/// Whether a task works on many guests (PVE: its id in the UPID is empty then).
fn is_bulk_task(upid: &str) -> bool {
    let mut parts = upid.split(':').skip(5);
    let bulk = ["vzdump", "stopall", "startall", "suspendall", "migrateall"];
    parts.next().is_some_and(|kind| bulk.contains(&kind)) && parts.next().is_none_or(str::is_empty)
}

/// The numbers of the guests that a change names.
fn collect_named_vmids(segments: &[&str], params: &ApiParams) -> Vec<u32> {
    let mut found = Vec::new();
    let mut add = |number| found.push(number);
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
    // A volume's name may have slashes, and then it is several segments.
    for_each_vmid_in_name(&format!("/{}", segments.join("/")), &mut add);
    for (name, value) in params.iter() {
        if VMID_PARAMETERS.contains(&name) || name == "sid" || (name == "id" && segments.contains(&"replication")) {
            for_each_vmid_in_list(value, &mut add);
        }
        for_each_vmid_in_name(value, &mut add);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What a change reaches.
pub(crate) struct AffectedGuests {
    named_vmids: Vec<u32>,
    scope: AffectedScope,
    /// The guest that it makes.
    created_vmid: Option<u32>,
}

impl AffectedGuests {
    /// By a change of this operation, where this program's facts know it.
    pub(crate) fn from_operation(path: &ApiPath, template: Option<&str>, params: &ApiParams, risk: Risk) -> Self {
        let owned: Vec<_> = path.segments().collect();
        let segments: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let named = collect_named_vmids(&segments, params);
        let reach = match template {
            Some(template) => determine_scope(template, &segments, params, risk),
            // Nobody knows what it does.
            None => AffectedScope::Cluster,
        };
        Self {
            named_vmids: named,
            scope: reach,
            created_vmid: template.and_then(|template| parse_created_vmid(template, params)),
        }
    }

    /// Those of the guests there are that it reaches.
    pub(crate) fn select_from<'g>(&self, guests: &'g [Guest]) -> impl Iterator<Item = &'g Guest> {
        let within = |rest: &str| rest.is_empty() || rest.starts_with('/');
        guests.iter().filter(move |guest| {
            self.named_vmids.contains(&guest.vmid)
                || match &self.scope {
                    AffectedScope::NamedOnly => false,
                    AffectedScope::Node(node) => guest.node == *node || guest.node.is_empty(),
                    // (PVE: `prod/web` is a pool within `prod`.)
                    AffectedScope::Pool(pool) => guest.pool.strip_prefix(pool.as_str()).is_some_and(within),
                    AffectedScope::Cluster => true,
                }
        })
    }

    /// Whether it reaches no guest, as far as can be told without asking for them.
    pub(crate) fn is_empty(&self) -> bool {
        self.named_vmids.is_empty() && self.scope == AffectedScope::NamedOnly
    }

    /// Refuses it where it reaches a protected guest. What can't be known is taken for protected.
    ///
    /// # Errors
    /// It reaches one, or may: a clause that says which.
    pub(crate) fn check_protection(&self, policy: &ClusterPolicy, lookup: &ClusterLookup<'_>) -> Result<(), String> {
        let by_number = |vmid: &&u32| policy.protect.contains(&GuestSelector::Vmid(**vmid));
        if let Some(vmid) = self.named_vmids.iter().find(by_number) {
            return Err(format!("guest {vmid} is protected on this cluster"));
        }
        let covers_pool =
            |pool: &str| policy.protect.iter().any(|p| matches!(p, GuestSelector::Pool(_)) && p.matches(0, pool, &[]));
        if let AffectedScope::Pool(pool) = &self.scope
            && covers_pool(pool)
        {
            return Err(format!("pool {pool} is protected on this cluster"));
        }
        let only_numbers = policy.protect.iter().all(|p| matches!(p, GuestSelector::Vmid(_)));
        if self.is_empty() || (self.scope == AffectedScope::NamedOnly && only_numbers) {
            return Ok(());
        }
        let unseen = |why: &str| {
            format!("guests are protected on this cluster, and whether it reaches one can't be seen ({why})")
        };
        let guests = lookup.visible_guests().map_err(unseen)?;
        if let AffectedScope::Node(node) = &self.scope {
            // (PVE: a node may also be reached by a name that only the resolver knows.)
            let nodes = lookup.nodes().map_err(unseen)?;
            if !nodes.iter().any(|(name, _)| name == node) {
                return Err(unseen(&format!("{node} is no node of the cluster's list")));
            }
        }
        let covered = |guest: &&Guest| policy.protects(guest.vmid, &guest.pool, &guest.iter_tags().collect::<Vec<_>>());
        let mut text = String::new();
        for guest in self.select_from(guests).filter(covered).take(MAX_NAMED_GUESTS) {
            let _ = write!(text, "{}{} (`{}`)", if text.is_empty() { "" } else { ", " }, guest.vmid, guest.name);
        }
        if !text.is_empty() {
            return Err(format!("it reaches what is protected on this cluster: {text}"));
        }
        // A guest that isn't seen may be in a protected pool; one that is only to be made is in none.
        let listed = |vmid: &u32| guests.iter().any(|guest| guest.vmid == *vmid);
        // Nor is it known where it is.
        let unseen = policy.protect.iter().find(|p| matches!(p, GuestSelector::Vmid(vmid) if !listed(vmid)));
        if let (AffectedScope::Node(_) | AffectedScope::Cluster, Some(unseen)) = (&self.scope, unseen) {
            return Err(format!(
                "guest {unseen} is protected on this cluster and not in its list, so that it may be reached (the API token \
                 needs VM.Audit on it; if there is no such guest, \"protect\" should not name it)"
            ));
        }
        match self.named_vmids.iter().find(|vmid| self.created_vmid != Some(**vmid) && !listed(vmid)) {
            Some(vmid) if !only_numbers => Err(format!(
                "guests are protected on this cluster by pool or tag, and guest {vmid} is not in its list (a new one \
                 appears within seconds; the API token needs VM.Audit on it)"
            )),
            _ => Ok(()),
        }
    }
}

/// The number of the guest that a change makes. With `force` it is one that may be there.
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
        ] {
            let segments: Vec<&str> = path.split('/').skip(1).collect();
            assert_eq!(collect_named_vmids(&segments, &params(given)), numbers, "{path} {given:?}");
        }
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
        for whole in ["stopall", "suspendall", "migrateall", "vzdump", "status", "disks/wipedisk"] {
            assert_eq!(scope_of(&format!("/nodes/{{node}}/{whole}"), &[]), node, "{whole}");
        }
        for all in ["vncshell", "execute", "ceph/pool/{name}", "storage/{storage}/prunebackups"] {
            assert_eq!(scope_of(&format!("/nodes/{{node}}/{all}"), &[]), AffectedScope::Cluster, "{all}");
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
