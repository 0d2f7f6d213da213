//! The check of the names in a call against the cluster: a new object whose name is in use, and a target that does not
//! exist. What can't be read is left to the node.

use super::earlier_calls::{EarlierCalls, Existence, FuturePower};
use super::operation::find_embedded_operation;
use super::planned_call::PlannedCall;
use super::preconditions::CertainFailure;
use super::present_state::{ObjectReader, PathGuest, PresentState};
use super::space_needs::find_local_disk;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::guests::GuestKind;
use crate::pve::knowledge::preconditions::{find_target_parameters, refuses_used_name};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::object_state::{kind_name, label_listed, quote_word, snapshot_name, text_of};
use serde_json::{Map, Value};
use std::time::Instant;

impl PlannedCall<'_> {
    /// Returns the reason why the names in the call certainly make it fail, after the earlier calls of its list.
    pub(super) fn check_names(
        &self,
        template: &str,
        present: &PresentState<'_>,
        deadline: Instant,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let reader = ObjectReader::until(self.cluster, deadline);
        self.check_new_guest(&reader, earlier)
            .or_else(|| self.check_resource_kind(template, earlier))
            .or_else(|| self.check_new_snapshot(template, &reader, earlier))
            .or_else(|| self.check_new_object(template, &reader, earlier))
            .or_else(|| self.check_targets(template, &reader, deadline, earlier))
            .or_else(|| self.check_local_disks(template, &reader, earlier))
            .or_else(|| self.check_membership(earlier))
            .or_else(|| self.check_pool(template, present, &reader, earlier))
    }

    /// Checks the number of a new guest.
    fn check_new_guest(&self, reader: &ObjectReader<'_>, earlier: EarlierCalls<'_, '_>) -> Option<CertainFailure> {
        let vmid = self.created_guest()?.vmid;
        let forecast = earlier.forecast_guest(vmid);
        // A guest that moves to another cluster may be deleted by then.
        if forecast.existence != Existence::AsNow || forecast.power == FuturePower::Open {
            return None;
        }
        let listed = self.cluster.look_up_guests().ok()?.iter().find(|guest| guest.vmid == vmid)?;
        let guest = PathGuest { kind: listed.kind, node: listed.node.clone(), vmid: vmid.to_string() };
        // The list may still have a guest that was just deleted.
        let config: Map<String, Value> = reader.read_value(guest.try_path(&["config"]).ok()?).ok()?;
        let name = Some(listed.name.as_str()).filter(|name| !name.is_empty());
        let name = name.map(|name| format!(" {}", quote_word(name))).unwrap_or_default();
        config.contains_key("digest").then(|| CertainFailure::UsedNumber {
            operation: self.operation_line(),
            guest: format!("{} {vmid}{name} on {}", kind_name(listed.kind), quote_word(&listed.node)),
        })
    }

    /// Checks that a new HA resource names its guest by the right kind.
    fn check_resource_kind(&self, template: &str, earlier: EarlierCalls<'_, '_>) -> Option<CertainFailure> {
        let sid = self.param("sid").filter(|_| self.method == Method::Post && template == "/cluster/ha/resources")?;
        let (kind, vmid) = sid.split_once(':')?;
        let vmid: u32 = vmid.parse().ok()?;
        if earlier.forecast_guest(vmid).existence != Existence::AsNow {
            return None;
        }
        let guest = self.cluster.look_up_guests().ok()?.iter().find(|guest| guest.vmid == vmid)?;
        let right = match guest.kind {
            GuestKind::Qemu => "vm",
            GuestKind::Lxc => "ct",
        };
        (matches!(kind, "vm" | "ct") && kind != right).then(|| CertainFailure::OtherKind {
            operation: self.operation_line(),
            guest: label_listed(guest),
            sid: format!("{right}:{vmid}"),
        })
    }

    /// Checks the name of a new snapshot.
    fn check_new_snapshot(
        &self,
        template: &str,
        reader: &ObjectReader<'_>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let path = self.find_new_snapshot(template)?;
        let (guest, name) = (self.path_guest()?, self.param("snapname")?);
        if earlier.forecast_object(&path) != Existence::AsNow {
            return None;
        }
        let forecast = earlier.forecast_guest(guest.vmid.parse().ok()?);
        if forecast.existence != Existence::AsNow || forecast.power == FuturePower::Open {
            return None;
        }
        let rows: Vec<Value> = reader.read_value(guest.path(&["snapshot"])).ok()?;
        rows.iter().filter_map(snapshot_name).any(|used| used == name).then(|| CertainFailure::UsedName {
            operation: self.operation_line(),
            object: format!("snapshot {} of {}", quote_word(name), describe_guest(&guest)),
        })
    }

    /// Checks the name of a new object that is no guest and no snapshot.
    fn check_new_object(
        &self,
        template: &str,
        reader: &ObjectReader<'_>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let path = self.find_new_object(template)?;
        if earlier.forecast_object(&path) != Existence::AsNow || earlier.may_remove_others(&path) {
            return None;
        }
        find_embedded_operation(Method::Get, &path).filter(|read| read.risk().is_read_only())?;
        let object: Map<String, Value> = reader.read_value(path.clone()).ok()?;
        (!object.is_empty()).then(|| CertainFailure::UsedName {
            operation: self.operation_line(),
            object: path.segments().next_back().map(|name| quote_word(&name)).unwrap_or_default(),
        })
    }

    /// Checks the node and the storage to which the call brings something.
    fn check_targets(
        &self,
        template: &str,
        reader: &ObjectReader<'_>,
        deadline: Instant,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let targets = find_target_parameters(self.method, template)?;
        // (PVE: a clone takes this word for its own node.)
        let node = self.param(targets.node).filter(|node| *node != "localhost");
        if let Some(node) = node.filter(|node| self.cluster.lacks_node(node, deadline)) {
            let what = format!("the cluster has no node {}", quote_word(node));
            return Some(CertainFailure::AbsentTarget { operation: self.operation_line(), what, list: "/nodes" });
        }
        let storage = self.param(targets.storage).filter(|name| !name.is_empty() && !self.has_param("target-vmid"))?;
        let path = ApiPath::from_segments(&["storage", storage]).ok()?;
        if earlier.forecast_object(&path) != Existence::AsNow {
            return None;
        }
        let operation = self.operation_line();
        match reader.read_value::<Map<String, Value>>(path) {
            Ok(config) => {
                let content = find_other_content(&config).filter(|_| template == "/nodes/{node}/vzdump")?;
                Some(CertainFailure::NoBackupStorage { operation, storage: quote_word(storage), content })
            }
            Err(reason) if reason.is_absent => {
                let what = format!("the cluster has no storage {}", quote_word(storage));
                Some(CertainFailure::AbsentTarget { operation, what, list: "/storage" })
            }
            Err(_) => None,
        }
    }

    /// Describes the storage of a backup job that accepts no backups. (PVE: the job is made, and its runs fail.)
    pub(super) fn describe_job_storage(&self, reader: &ObjectReader<'_>) -> Option<String> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known && self.is_change())?;
        let storage =
            self.param("storage").filter(|_| matches!(template, "/cluster/backup" | "/cluster/backup/{id}"))?;
        let config = reader.read_value(ApiPath::from_segments(&["storage", storage]).ok()?).ok()?;
        let content = find_other_content(&config)?;
        Some(format!("storage {} accepts no backups ({content}), so each run would fail", quote_word(storage)))
    }

    /// Checks that a guest which is cloned to another node has all disks on shared storages.
    fn check_local_disks(
        &self,
        template: &str,
        reader: &ObjectReader<'_>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let guest = self.path_guest().filter(|_| self.method == Method::Post && template.ends_with("/clone"))?;
        let target = self.param("target").filter(|node| *node != "localhost" && *node != guest.node)?;
        let forecast = earlier.forecast_guest(guest.vmid.parse().ok()?);
        if forecast.existence != Existence::AsNow || forecast.is_changed || self.has_param("snapname") {
            return None;
        }
        let config = reader.read_before(guest.path(&["config"])).ok()?;
        let disk = find_local_disk(reader, &guest.node, &config)?;
        Some(CertainFailure::LocalDisk {
            operation: self.operation_line(),
            disk: quote_word(&disk),
            target: quote_word(target),
        })
    }

    /// Checks that guests which the call puts into a pool are in no pool.
    fn check_membership(&self, earlier: EarlierCalls<'_, '_>) -> Option<CertainFailure> {
        let is_on = |name: &str| self.param(name).is_some_and(|on| on != "0");
        let target = self.changed_pool().filter(|_| self.has_param("vms") && !is_on("delete"))?;
        let guests = self.cluster.look_up_guests().ok()?.iter();
        let mut named = guests.filter(|guest| self.affected.names(guest.vmid));
        let is_refused = |pool: &str| !pool.is_empty() && (pool == target || !is_on("allow-move"));
        let guest = named.find(|guest| is_refused(earlier.forecast_pool(guest)))?;
        let pool = earlier.forecast_pool(guest);
        Some(CertainFailure::PoolMember {
            operation: self.operation_line(),
            guest: label_listed(guest),
            pool: quote_word(pool),
            is_target: pool == target,
        })
    }

    /// Checks that a pool which the call deletes has no members.
    fn check_pool(
        &self,
        template: &str,
        present: &PresentState<'_>,
        reader: &ObjectReader<'_>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<CertainFailure> {
        let template = Some(template).filter(|_| self.method == Method::Delete)?;
        let pool = match (template, self.param("poolid")) {
            ("/pools/{poolid}", _) => present.state.options.as_ref()?.as_ref().ok()?.clone(),
            ("/pools", Some(name)) => {
                let mut params = ApiParams::new();
                params.push("poolid", name);
                let rows: Vec<Map<String, Value>> = reader.read(ApiPath::from_static("/pools"), params).ok()?;
                rows.into_iter().find(|row| text_of(row, "poolid") == name)?
            }
            _ => return None,
        };
        let count = pool.get("members")?.as_array()?.len();
        let is_changed =
            !earlier.changers_of(&ApiPath::from_static("/pools")).is_empty() || earlier.may_remove_others(&self.path);
        (count > 0 && !is_changed).then(|| CertainFailure::PoolWithMembers { operation: self.operation_line(), count })
    }

    /// Returns the path of the snapshot that the call takes.
    pub(super) fn find_new_snapshot(&self, template: &str) -> Option<ApiPath> {
        let guest = self.path_guest().filter(|_| self.method == Method::Post && template.ends_with("/snapshot"))?;
        guest.try_path(&["snapshot", self.param("snapname")?]).ok()
    }

    /// Returns the path of the new object whose name must be free. Guests and snapshots have checks of their own.
    pub(super) fn find_new_object(&self, template: &str) -> Option<ApiPath> {
        (self.method == Method::Post && refuses_used_name(template)).then(|| self.find_created_path())?
    }
}

/// Returns the content of a storage that accepts no backups.
fn find_other_content(config: &Map<String, Value>) -> Option<String> {
    let content = text_of(config, "content");
    let is_known = !content.is_empty() && !list_items(content).any(|one| one == "backup");
    is_known.then(|| format!("content {}", quote_word(content)))
}

fn describe_guest(guest: &PathGuest) -> String {
    format!("{} {}", kind_name(guest.kind), guest.vmid)
}
