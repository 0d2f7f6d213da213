//! Which guests a change reaches: the one of its path, those its parameters name, those whose volumes it names, and all
//! of a node or a cluster where it works on many at once. Protected guests are refused here.

use super::place::Sight;
use crate::policy::{Kind, Protected, Risk, Rules, numbers_in, numbers_of};
use crate::pve::guests::Guest;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use std::fmt::Write;

/// Guests that a refusal names.
const NAMED: usize = 5;

/// What a change reaches beside the guests it names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    /// Nothing.
    Named,
    /// Every guest on this node.
    Node(String),
    /// Every guest in this pool.
    Pool(String),
    /// Every guest.
    Cluster,
}

/// Parameters that are numbers of guests, or ids that begin with one (a replication job's).
const NUMBERS: [&str; 6] = ["vmid", "vmids", "vms", "guests", "target-vmid", "newid"];

/// What a change of a known operation reaches beside what it names.
fn reach(template: &str, segments: &[&str], params: &Params, risk: Risk) -> Reach {
    let given = |names: &[&str]| params.iter().any(|(name, value)| names.contains(&name) && !matches!(value, "" | "0"));
    let text = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
    let node = |at: usize| Reach::Node(segments.get(at).copied().unwrap_or_default().to_owned());
    // Only what says which guests are meant makes fewer of them: `exclude` and `all` mean the others too.
    let chosen = given(&["vmid", "vms"]) && !given(&["all", "exclude"]);
    let parts: Vec<&str> = template.split('/').skip(1).collect();
    match parts.as_slice() {
        // It ends the jobs of others.
        ["nodes", _, "vzdump"] if given(&["stop"]) => node(1),
        ["nodes", _, "vzdump" | "stopall" | "startall" | "suspendall" | "migrateall"] if chosen => Reach::Named,
        ["nodes", _, "vzdump"] => text("pool").map_or_else(|| node(1), Reach::Pool),
        ["nodes", _, "stopall" | "startall" | "suspendall" | "migrateall"] => node(1),
        // A guest, a task or a job of a guest is known by its number.
        ["nodes", _, "qemu" | "lxc" | "tasks" | "replication", ..] => Reach::Named,
        // An ISO image or a template is no guest's; what is pruned on a storage that is shared is everybody's.
        ["nodes", _, "storage", _, "content", ..] => Reach::Named,
        ["nodes", _, "storage", _, "prunebackups"] if given(&["vmid"]) => Reach::Named,
        ["nodes", _, "storage", ..] | ["nodes", _, "ceph", ..] if risk.lasting => Reach::Cluster,
        // Power of the node, a shell on it, its disks: whatever can't be undone there.
        ["nodes", _, ..] if risk.lasting || risk.kind == Kind::Execute => node(1),
        ["cluster", "bulk-action", ..] if chosen => Reach::Named,
        ["cluster", "bulk-action", ..] | ["cluster", "ceph", ..] => Reach::Cluster,
        ["cluster", "config", "nodes", _] => node(3),
        ["pools"] => text("poolid").map_or(Reach::Named, Reach::Pool),
        ["pools", ..] => Reach::Pool(segments.get(1..).unwrap_or_default().join("/")),
        // Without its storage a guest has no disks.
        ["storage", _] if risk.lasting => Reach::Cluster,
        _ => Reach::Named,
    }
}

/// The numbers of the guests that a change names.
fn named(segments: &[&str], params: &Params) -> Vec<u32> {
    let mut found = Vec::new();
    let mut add = |number| found.push(number);
    let mut before = "";
    for segment in segments {
        match before {
            "qemu" | "lxc" | "replication" | "content" => numbers_of(segment, &mut add),
            // UPID:node:pid:pstart:start:type:id:user:
            "tasks" => numbers_of(segment.split(':').nth(6).unwrap_or_default(), &mut add),
            "resources" => {
                numbers_of(segment, &mut add);
                numbers_in(segment, &mut add);
            }
            _ => numbers_in(segment, &mut add),
        }
        before = segment;
    }
    // A volume's name may have slashes, and then it is several segments.
    numbers_in(&segments.join("/"), &mut add);
    for (name, value) in params.iter() {
        if NUMBERS.contains(&name) || name == "sid" || (name == "id" && segments.contains(&"replication")) {
            numbers_of(value, &mut add);
        }
        numbers_in(value, &mut add);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What a change reaches.
pub(super) struct Touched {
    named: Vec<u32>,
    reach: Reach,
    /// The guest that it makes.
    new: Option<u32>,
}

impl Touched {
    /// By a change of this operation, where that is known.
    pub(super) fn of(path: &ApiPath, template: Option<&str>, params: &Params, risk: Risk) -> Self {
        let owned: Vec<_> = path.segments().collect();
        let segments: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let named = named(&segments, params);
        let reach = match template {
            Some(template) => reach(template, &segments, params, risk),
            // Nobody knows what it does.
            None => Reach::Cluster,
        };
        Self { named, reach, new: template.and_then(|template| new(template, params)) }
    }

    /// Those of the guests there are that it reaches.
    pub(super) fn among<'g>(&self, guests: &'g [Guest]) -> impl Iterator<Item = &'g Guest> {
        guests.iter().filter(move |guest| {
            self.named.contains(&guest.vmid)
                || match &self.reach {
                    Reach::Named => false,
                    Reach::Node(node) => guest.node == *node || guest.node.is_empty(),
                    Reach::Pool(pool) => guest.pool == *pool,
                    Reach::Cluster => true,
                }
        })
    }

    /// Whether it reaches no guest, as far as can be told without asking for them.
    pub(super) fn is_nothing(&self) -> bool {
        self.named.is_empty() && self.reach == Reach::Named
    }

    /// Refuses it where it reaches a protected guest. What can't be known is taken for protected.
    ///
    /// # Errors
    /// It reaches one, or may: a clause that says which.
    pub(super) fn check(&self, rules: &Rules, sight: &Sight<'_>) -> Result<(), String> {
        let by_number = |vmid: &&u32| rules.protect.contains(&Protected::Vmid(**vmid));
        if let Some(vmid) = self.named.iter().find(by_number) {
            return Err(format!("guest {vmid} is protected on this cluster"));
        }
        let covers_pool =
            |pool: &str| rules.protect.iter().any(|p| matches!(p, Protected::Pool(_)) && p.has(0, pool, &[]));
        if let Reach::Pool(pool) = &self.reach
            && covers_pool(pool)
        {
            return Err(format!("pool {pool} is protected on this cluster"));
        }
        let only_numbers = rules.protect.iter().all(|p| matches!(p, Protected::Vmid(_)));
        if self.is_nothing() || (self.reach == Reach::Named && only_numbers) {
            return Ok(());
        }
        let unseen = |why: &str| {
            format!("guests are protected on this cluster, and whether it reaches one can't be seen ({why})")
        };
        let guests = sight.known().map_err(unseen)?;
        if let Reach::Node(node) = &self.reach {
            // (PVE: a node may also be reached by a name that only the resolver knows.)
            let nodes = sight.nodes().map_err(unseen)?;
            if !nodes.iter().any(|(name, _)| name == node) {
                return Err(unseen(&format!("{node} is no node of the cluster's list")));
            }
        }
        let covered = |guest: &&Guest| rules.protects(guest.vmid, &guest.pool, &guest.each_tag().collect::<Vec<_>>());
        let mut text = String::new();
        for guest in self.among(guests).filter(covered).take(NAMED) {
            let _ = write!(text, "{}{} (`{}`)", if text.is_empty() { "" } else { ", " }, guest.vmid, guest.name);
        }
        if !text.is_empty() {
            return Err(format!("it reaches what is protected on this cluster: {text}"));
        }
        // What reaches guests without naming them may reach those that the token doesn't see.
        let hidden = rules.protect.iter().find_map(|protected| match protected {
            Protected::Vmid(vmid) if !guests.iter().any(|guest| guest.vmid == *vmid) => Some(vmid),
            _ => None,
        });
        if let Some(vmid) = hidden.filter(|_| self.reach != Reach::Named) {
            return Err(format!(
                "guest {vmid} is protected on this cluster, and whether this reaches it can't be seen: it is not in the \
                 list of guests (the API token needs VM.Audit on it)"
            ));
        }
        // A guest that isn't seen may be in a protected pool; one that is only to be made is in none.
        let seen = |vmid: &u32| self.new == Some(*vmid) || guests.iter().any(|guest| guest.vmid == *vmid);
        match self.named.iter().find(|vmid| !seen(vmid)) {
            Some(vmid) if !only_numbers => Err(format!(
                "guests are protected on this cluster by pool or tag, and guest {vmid} is not in its list (a new one \
                 appears within seconds; the API token needs VM.Audit on it)"
            )),
            _ => Ok(()),
        }
    }
}

/// The number of the guest that a change makes.
fn new(template: &str, params: &Params) -> Option<u32> {
    // A restore over a guest makes none.
    if params.iter().any(|(name, value)| name == "force" && value != "0") {
        return None;
    }
    let name = match template {
        "/nodes/{node}/qemu" | "/nodes/{node}/lxc" => "vmid",
        _ if template.ends_with("/clone") => "newid",
        _ => return None,
    };
    params.iter().find(|(given, _)| *given == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let mut params = Params::new();
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
            ("/nodes/pve1/storage/local/content/local:100/data.qcow2", &[], &[100]),
            ("/nodes/pve1/storage/local/content/100/data.qcow2", &[], &[100]),
            ("/nodes/pve1/qemu/101/config", &[("scsi1", "local:100/data.qcow2")], &[100, 101]),
            ("/nodes/pve1/vzdump", &[("vmid", "100,101")], &[100, 101]),
            ("/nodes/pve1/storage/local/content/local:100/vm-100-disk-0.raw", &[], &[100]),
            ("/nodes/pve1/storage/pbs/content/pbs:backup/vm/100/2026-01-01T00:00:00Z", &[], &[100]),
            ("/nodes/pve1/tasks/UPID:pve1:00000001:00000001:00000001:qmstart:100:root@pam:", &[], &[100]),
            ("/cluster/ha/resources/vm:100", &[], &[100]),
            ("/cluster/ha/resources", &[("sid", "100")], &[100]),
            ("/cluster/ha/rules", &[("resources", "vm:100,ct:101")], &[100, 101]),
            ("/cluster/replication/100-0", &[], &[100]),
            ("/cluster/replication", &[("id", "100-0")], &[100]),
            ("/pools", &[("vms", "100;101"), ("delete", "1")], &[100, 101]),
            ("/nodes/pve1/network/vmbr0", &[("address", "192.0.2.1")], &[]),
        ] {
            let segments: Vec<&str> = path.split('/').skip(1).collect();
            assert_eq!(named(&segments, &params(given)), numbers, "{path} {given:?}");
        }
    }

    #[test]
    fn what_works_on_many_guests_at_once_is_known() {
        let reach = |template: &str, given: &[(&str, &str)]| {
            let method = [crate::pve::Method::Post, crate::pve::Method::Delete, crate::pve::Method::Put];
            let operation = method.iter().find_map(|m| embedded().named(*m, template)).expect(template);
            let segments: Vec<&str> = template.split('/').skip(1).collect();
            reach(template, &segments, &params(given), operation.risk())
        };
        let node = Reach::Node("{node}".into());
        for whole in ["stopall", "suspendall", "migrateall", "vzdump", "status", "vncshell", "disks/wipedisk"] {
            assert_eq!(reach(&format!("/nodes/{{node}}/{whole}"), &[]), node, "{whole}");
        }
        assert_eq!(reach("/nodes/{node}/stopall", &[("vms", "101")]), Reach::Named);
        assert_eq!(reach("/nodes/{node}/vzdump", &[("vmid", "101")]), Reach::Named);
        assert_eq!(reach("/nodes/{node}/vzdump", &[("pool", "prod")]), Reach::Pool("prod".into()));
        assert_eq!(reach("/pools", &[("poolid", "prod")]), Reach::Pool("prod".into()));
        assert_eq!(reach("/cluster/bulk-action/guest/shutdown", &[]), Reach::Cluster);
        assert_eq!(reach("/storage/{storage}", &[]), Reach::Cluster);
        assert_eq!(reach("/nodes/{node}/qemu/{vmid}/status/stop", &[]), Reach::Named);
        assert_eq!(reach("/nodes/{node}/apt/update", &[]), Reach::Named);
        for others in
            [&[("exclude", "101")][..], &[("all", "1"), ("job-id", "vm-101")], &[("vmid", "101"), ("stop", "1")]]
        {
            assert_eq!(reach("/nodes/{node}/vzdump", others), node, "{others:?}");
        }
        assert_eq!(reach("/nodes/{node}/storage/{storage}/prunebackups", &[]), Reach::Cluster);
        assert_eq!(reach("/nodes/{node}/storage/{storage}/prunebackups", &[("vmid", "101")]), Reach::Named);
        assert_eq!(reach("/nodes/{node}/ceph/pool/{name}", &[]), Reach::Cluster);
        assert_eq!(reach("/cluster/config/nodes/{node}", &[]), node);
    }
}
