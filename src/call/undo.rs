//! The call that brings back what a change replaces. A call is offered only where it brings all of it back, or all but
//! what the words of the effect call lost.

use super::planned_call::{PlannedCall, PlannedOperation};
use super::present_state::ObjectReader;
use super::undo_disks::undo_disk_option;
use crate::base::list_text::list_items;
use crate::policy::Risk;
use crate::pve::Method;
use crate::pve::guests::GuestKind;
use crate::pve::knowledge::effects::{CreationDefault, Fact, Undo};
use crate::pve::knowledge::interfaces::{
    FamilyChange, FamilyUndo, can_be_created, find_family_changes, is_address_parameter,
};
use crate::pve::knowledge::passwords::SecretPart;
use crate::pve::knowledge::preconditions::refuses_used_name;
use crate::pve::knowledge::restart::waits_for_start;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::is_true;
use crate::render::object_state::{ObjectState, has_disk_name, to_text};
use crate::render::question::names_an_option;
use crate::render::undo::UndoCall;
use crate::sanitize;
use serde_json::{Map, Value};

/// The state that a change replaces, as far as its undo needs it.
#[derive(Default)]
pub(super) struct StateBefore {
    /// The object at the path of the call.
    pub(super) object: Option<Map<String, Value>>,
    /// The rows of the access control list.
    pub(super) grants: Option<Vec<Value>>,
    /// The numbers and the pools of the guests that the call moves to another pool.
    pub(super) pools: Vec<(u32, String)>,
    /// The VM of a moved disk is known to be off.
    pub(super) is_stopped: bool,
}

impl PlannedCall<'_> {
    /// Reads what the undo of the call needs.
    pub(super) fn read_state_before(&self, reader: &ObjectReader<'_>) -> StateBefore {
        let mut before = StateBefore::default();
        if !self.can_be_undone() {
            return before;
        }
        if self.path.as_str() == "/access/acl" {
            before.grants = reader.read_value(self.path.clone()).ok();
        } else if self.changed_pool().is_some() && self.moves_between_pools() {
            // An earlier call of a list may have moved them already.
            let handle = self.cluster.with_new_lookups();
            let guests = handle.look_up_guests().unwrap_or_default().iter();
            let moved = guests.filter(|guest| self.affected.names(guest.vmid));
            before.pools = moved.map(|guest| (guest.vmid, guest.pool.clone())).collect();
        } else if let Some(guest) = self.guest_of_moved_disk() {
            before.object = reader.read_value(guest.path(&["config"])).ok();
            let status = reader.read_value::<Map<String, Value>>(guest.path(&["status", "current"])).ok();
            before.is_stopped = status.is_some_and(|status| status.get("status").is_some_and(|s| s == "stopped"));
        } else if self.facts().contains(&Fact::Object) {
            before.object = reader.read_object(&self.path).ok();
        }
        before
    }

    /// Returns the state that the undo needs, with an object that was read already.
    pub(super) fn complete_state_before(&self, object: Option<&Map<String, Value>>) -> StateBefore {
        match object.filter(|_| self.facts().contains(&Fact::Object)) {
            Some(object) => StateBefore { object: Some(object.clone()), ..StateBefore::default() },
            None => self.read_state_before(&ObjectReader::new(self.cluster)),
        }
    }

    fn can_be_undone(&self) -> bool {
        let undo = self.effect().map(|effect| effect.undo);
        let is_undone_by_words = matches!(undo, Some(Undo::Never | Undo::Partly(_)));
        // The undo of a new object deletes it, without its secrets.
        let template = self.operation.template.as_deref().unwrap_or_default();
        let creates = self.method == Method::Post && (self.created_guest().is_some() || refuses_used_name(template));
        // The words say that the deletion of the new object undoes the rest.
        let is_deleted_again = matches!(undo, Some(Undo::Partly(_))) && creates;
        // The words say that the old value undoes the rest.
        let is_set_back =
            matches!(undo, Some(Undo::Partly(_))) && self.method == Method::Put && self.facts().contains(&Fact::Object);
        let has_secret = !creates && self.operation.secrets.iter().any(|(_, part)| *part != SecretPart::None);
        self.is_change()
            && self.operation.is_known
            && self.risk != Risk::UNKNOWN
            && (!self.risk.irreversible && !is_undone_by_words || is_deleted_again || is_set_back)
            && !has_secret
    }

    /// Returns the call that brings the present state back, if there is one.
    pub(super) fn find_undo(&self, before: &StateBefore) -> Option<UndoCall> {
        if !self.can_be_undone() {
            return None;
        }
        let template = self.operation.template.as_deref()?;
        let undo = match (self.method, template) {
            (Method::Put, "/access/acl") => self.undo_grant(before.grants.as_deref()?),
            _ if self.changed_pool().is_some() => self.undo_membership(&before.pools),
            _ if self.guest_of_moved_disk().is_some() => {
                self.undo_moved_disk(before.object.as_ref()?, before.is_stopped)
            }
            (Method::Put | Method::Post, _) if self.facts().contains(&Fact::Object) => {
                self.set_back(before.object.as_ref()?)
            }
            (Method::Delete, _) => self.create_again(before.object.as_ref()?),
            (Method::Post, _) => self.undo_action(template).or_else(|| self.remove_created()),
            _ => None,
        }?;
        // A call with a secret in it would be shown without the secret.
        let is_plain = |(name, value): &(String, String)| sanitize::redact_parameter(name, value) == value.as_str();
        let mut calls = std::iter::once(&undo).chain(&undo.more);
        calls.all(|call| call.data.iter().all(is_plain)).then_some(undo)
    }

    /// Returns whether the words for the way back may promise it: the values that are to be set back are known, and calls
    /// can set them.
    pub(super) fn may_be_undone(&self, state: &ObjectState<'_>) -> bool {
        let facts = self.facts();
        match &state.options {
            Some(Err(_)) if facts.contains(&Fact::Object) => false,
            Some(Ok(now)) if is_interface(&self.operation) => {
                self.find_interface_undo(now).is_some() && self.method == Method::Put
                    || self.find_undo(&self.complete_state_before(Some(now))).is_some()
            }
            _ => true,
        }
    }

    /// Returns the parameters that set the address families of an interface back. Returns `None` if no call can.
    fn find_interface_undo(&self, now: &Map<String, Value>) -> Option<FamilyUndo> {
        let mut undo = FamilyUndo::default();
        for change in find_family_changes(now, &self.params) {
            let of_family = change.find_undo()?;
            undo.data.extend(of_family.data);
            undo.unset.extend(of_family.unset);
        }
        Some(undo)
    }

    /// Returns whether the object is known to have all values that the call sets.
    pub(super) fn is_as_before(&self, before: &StateBefore) -> bool {
        let Some(now) = before.object.as_ref().filter(|_| self.facts().contains(&Fact::Object)) else { return false };
        let mut options = self.params.iter().filter(|(name, _)| names_an_option(name)).peekable();
        let keeps_families =
            !is_interface(&self.operation) || find_family_changes(now, &self.params).iter().all(FamilyChange::is_kept);
        options.peek().is_some()
            && keeps_families
            && !self.has_param("delete")
            && options.all(|(name, value)| now.get(name).is_some_and(|known| to_text(known) == value))
    }

    pub(super) fn has_param(&self, name: &str) -> bool {
        self.params.names().any(|given| given == name)
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// Returns the same call with the present values. An option that is not set now is unset again.
    fn set_back(&self, now: &Map<String, Value>) -> Option<UndoCall> {
        let guest = self.path_guest().filter(|_| self.path.as_str().ends_with("/config"));
        let schema = self.cluster.schema();
        let segments: Vec<_> = self.path.segments().collect();
        let found = schema.match_path(&segments).ok()?;
        let operation = found.operation(self.method)?;
        let mut names: Vec<&str> = self.params.names().filter(|name| names_an_option(name)).collect();
        names.sort_unstable();
        names.dedup();
        let removed: Vec<&str> = list_items(self.param("delete").unwrap_or_default()).collect();
        if ["revert", "moveto"].iter().any(|name| self.has_param(name)) {
            return None;
        }
        let (mut data, mut unset) = (Vec::new(), Vec::new());
        for name in names.iter().chain(&removed) {
            if let Some(guest) = guest.as_ref().filter(|_| has_disk_name(name)) {
                let disk = undo_disk_option(guest.kind, now, name, self.param(name))?;
                unset.extend(disk.unset);
                data.extend(disk.data);
                continue;
            }
            match now.get(*name).filter(|value| !value.is_null()) {
                Some(value) => {
                    let value = to_text(value);
                    let is_same = self.param(name) == Some(value.as_str());
                    let is_required = operation.parameter(name).is_some_and(|parameter| parameter.is_required());
                    if !is_same || is_required {
                        data.push(((*name).to_owned(), value));
                    }
                }
                None if removed.contains(name) => {}
                None => unset.push((*name).to_owned()),
            }
        }
        // A parameter that Proxmox requires is no change by itself.
        let is_changed = |(name, value): &(String, String)| self.param(name) != Some(value.as_str());
        let mut changes = !unset.is_empty() || data.iter().any(is_changed);
        if is_interface(&self.operation) {
            // The addresses are written as the call names them, and set back as a whole.
            data.retain(|(name, _)| !is_address_parameter(name));
            unset.retain(|name| !is_address_parameter(name));
            changes |= !find_family_changes(now, &self.params).iter().all(FamilyChange::is_kept);
            let undo = self.find_interface_undo(now)?;
            data.extend(undo.data.into_iter().map(|(name, value)| (name.to_owned(), value)));
            unset.extend(undo.unset.into_iter().map(str::to_owned));
        }
        // A disk may have brought the boot order back already.
        let mut given: Vec<String> = Vec::new();
        data.retain(|(name, _)| {
            !given.contains(name) && {
                given.push(name.clone());
                true
            }
        });
        if !changes {
            return None;
        }
        if !unset.is_empty() {
            operation.parameter("delete")?;
            data.push(("delete".into(), unset.join(",")));
        }
        let waiting = guest.map(|guest| {
            let hotplug = now.get("hotplug").map(to_text).unwrap_or_default();
            let waits = |name: &&&str| waits_for_start(guest.kind, name, &hotplug);
            names.iter().chain(&removed).filter(waits).map(|name| (*name).to_owned()).collect()
        });
        Some(UndoCall {
            method: self.method,
            path: self.path.clone(),
            data,
            takes_digest: operation.parameter("digest").is_some(),
            waiting: waiting.unwrap_or_default(),
            remark: None,
            more: Vec::new(),
        })
    }

    /// Returns the call that creates a deleted object again with its present values.
    fn create_again(&self, now: &Map<String, Value>) -> Option<UndoCall> {
        if !matches!(self.effect()?.undo, Undo::By(_)) {
            return None;
        }
        let segments: Vec<_> = self.path.segments().collect();
        let (last, parent) = segments.split_last()?;
        let schema = self.cluster.schema();
        let found = schema.match_path(parent).ok()?;
        let operation = found.operation(Method::Post)?;
        let template = self.operation.template.as_deref()?;
        let id = template.rsplit('/').next()?.strip_prefix('{')?.strip_suffix('}')?;
        // (PVE: a new rule is the first one.)
        if id == "pos" && last != "0" {
            return None;
        }
        let mut data = Vec::new();
        for (name, value) in now.iter().filter(|(_, value)| !value.is_null()) {
            let is_option = names_an_option(name) && name != id && operation.parameter(name).is_some();
            if is_option && !operation.is_path_parameter(name) {
                data.push((name.clone(), to_text(value)));
            }
        }
        if operation.parameter(id).is_some() {
            data.push((id.to_owned(), last.to_string()));
        }
        let is_unset = |default: &&CreationDefault| !default.unless.iter().any(|name| now.contains_key(*name));
        let default = self.effect().and_then(|effect| effect.creation_default.as_ref()).filter(is_unset);
        data.extend(default.map(|default| (default.parameter.to_owned(), default.value.to_owned())));
        if is_interface(&self.operation) {
            // (PVE: an address is refused beside the cidr.)
            let has_cidr = |name: &str| now.contains_key(if name.ends_with('6') { "cidr6" } else { "cidr" });
            data.retain(|(name, _)| !is_address_parameter(name) || name.starts_with("cidr") || !has_cidr(name));
            let mut params = ApiParams::new();
            data.iter().for_each(|(name, value)| params.push(name, value));
            can_be_created(now, &params).then_some(())?;
        }
        let has = |name: &str| data.iter().any(|(given, _)| given == name) || operation.is_path_parameter(name);
        if !operation.parameters().filter(|parameter| parameter.is_required()).all(|parameter| has(parameter.name())) {
            return None;
        }
        Some(UndoCall::new(Method::Post, ApiPath::from_segments(parent).ok()?, data))
    }

    /// Returns the opposite of a power action, of a migration or of a clone.
    fn undo_action(&self, template: &str) -> Option<UndoCall> {
        let guest = self.path_guest()?;
        let rest = template.split_once("/{vmid}")?.1;
        let action = match rest {
            "/status/start" => "shutdown",
            "/status/shutdown" => "start",
            "/status/suspend" if guest.kind == GuestKind::Qemu && !self.has_param("todisk") => "resume",
            "/migrate" => {
                let target = self.param("target").filter(|_| !self.has_param("targetstorage"))?;
                let path =
                    ApiPath::from_segments(&["nodes", target, guest.kind.as_str(), &guest.vmid, "migrate"]).ok()?;
                let mut data = vec![("target".to_owned(), guest.node)];
                let kept = self.params.iter().filter(|(name, _)| *name != "target");
                data.extend(kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
                return Some(UndoCall::new(Method::Post, path, data));
            }
            "/clone" => {
                let node = self.param("target").unwrap_or(&guest.node);
                let path = ApiPath::from_segments(&["nodes", node, guest.kind.as_str(), self.param("newid")?]).ok()?;
                return Some(UndoCall::new(Method::Delete, path, Vec::new()));
            }
            _ => return None,
        };
        Some(UndoCall::new(Method::Post, guest.path(&["status", action]), Vec::new()))
    }

    /// Returns the call that deletes what the call creates.
    fn remove_created(&self) -> Option<UndoCall> {
        let template = self.operation.template.as_deref()?;
        let path = match template.ends_with("/firewall/rules") || template == "/cluster/firewall/groups/{group}" {
            // (PVE: a new rule is the first one.)
            true if self.param("pos").is_none_or(|pos| pos == "0") => self.child_path("0")?,
            true => return None,
            false => self.find_created_path()?,
        };
        let undo = UndoCall::new(Method::Delete, path, Vec::new());
        // (PVE: a running guest can't be deleted, and only a container can be deleted by force.)
        Some(match self.created_guest().filter(|_| self.param("start") == Some("1")).map(|guest| guest.kind) {
            Some(GuestKind::Lxc) => UndoCall { data: vec![("force".to_owned(), "1".to_owned())], ..undo },
            Some(GuestKind::Qemu) => UndoCall { remark: Some("stop the VM first: POST …/status/stop"), ..undo },
            None => undo,
        })
    }

    /// Returns the path of the object that the call creates, if it can be deleted there.
    pub(super) fn find_created_path(&self) -> Option<ApiPath> {
        let schema = self.cluster.schema();
        let names_child = |name: &str, value: &str| {
            let path = self.child_path(value)?;
            let segments: Vec<_> = path.segments().collect();
            let found = schema.match_path(&segments).ok()?;
            let delete = found.operation(Method::Delete)?;
            let last = delete.template().rsplit('/').next()?;
            (last.strip_prefix('{')?.strip_suffix('}')? == name).then_some(path)
        };
        if let Some(path) = self.params.iter().find_map(|(name, value)| names_child(name, value)) {
            return Some(path);
        }
        // The path of a new API token is that of the token itself.
        let segments: Vec<_> = self.path.segments().collect();
        let found = schema.match_path(&segments).ok()?;
        let is_own_path = self.effect().is_some_and(|effect| matches!(effect.undo, Undo::By(_)));
        (is_own_path && found.operation(Method::Delete).is_some()).then(|| self.path.clone())
    }

    fn child_path(&self, name: &str) -> Option<ApiPath> {
        let mut segments: Vec<String> = self.path.segments().map(|segment| segment.into_owned()).collect();
        segments.push(name.to_owned());
        ApiPath::from_segments(&segments).ok()
    }

    /// Returns the same call with the opposite of `delete`, if no grant of it exists yet, or all of them do.
    fn undo_grant(&self, grants: &[Value]) -> Option<UndoCall> {
        let text = |row: &Value, name: &str| row.get(name).map(to_text).unwrap_or_default();
        let path = self.param("path")?;
        let items = |name: &str| list_items(self.param(name).unwrap_or_default());
        let holders = || ["users", "groups", "tokens"].iter().flat_map(|name| items(name));
        let pairs: Vec<(&str, &str)> =
            items("roles").flat_map(|role| holders().map(move |holder| (role, holder))).collect();
        let find = |(role, holder): &(&str, &str)| {
            grants
                .iter()
                .find(|row| text(row, "path") == path && text(row, "roleid") == *role && text(row, "ugid") == *holder)
        };
        let found: Vec<Option<&Value>> = pairs.iter().map(find).collect();
        let mut data: Vec<(String, String)> = self
            .params
            .iter()
            .filter(|(name, _)| !matches!(*name, "delete" | "propagate"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        match self.param("delete") == Some("1") {
            true => {
                let propagates: Vec<bool> = found
                    .iter()
                    .map(|row| row.map(|row| row.get("propagate").is_some_and(is_true)))
                    .collect::<Option<_>>()?;
                let first = *propagates.first()?;
                propagates.iter().all(|one| *one == first).then_some(())?;
                data.push(("propagate".into(), u8::from(first).to_string()));
            }
            false if found.iter().all(Option::is_none) => data.push(("delete".into(), "1".into())),
            false => return None,
        }
        Some(UndoCall::new(Method::Put, self.path.clone(), data))
    }

    /// Returns the pool whose members the call changes.
    pub(super) fn changed_pool(&self) -> Option<&str> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known)?;
        let is_change = self.method == Method::Put && matches!(template, "/pools" | "/pools/{poolid}");
        (is_change && (self.has_param("vms") || self.has_param("storage"))).then_some(())?;
        self.param("poolid").or_else(|| self.operation.path_value("poolid"))
    }

    /// Returns whether the guests of a call leave the pools that they are in.
    pub(super) fn moves_between_pools(&self) -> bool {
        self.param("allow-move") == Some("1") && self.param("delete") != Some("1") && self.has_param("vms")
    }

    /// Returns the same call with the opposite of `delete`, or those that move guests back to their pools. (PVE: a guest that
    /// is a member already is an error.)
    fn undo_membership(&self, pools: &[(u32, String)]) -> Option<UndoCall> {
        if self.has_param("comment") {
            return None;
        }
        let kept = self.params.iter().filter(|(name, _)| !matches!(*name, "delete" | "allow-move"));
        let mut data: Vec<_> = kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut calls = Vec::new();
        if self.moves_between_pools() {
            if pools.len() != self.affected.named_vmids().len() {
                return None;
            }
            let mut left: Vec<(&str, Vec<String>)> = Vec::new();
            for (vmid, pool) in pools {
                match left.iter_mut().find(|(known, _)| known == pool) {
                    Some((_, vmids)) => vmids.push(vmid.to_string()),
                    None => left.push((pool, vec![vmid.to_string()])),
                }
            }
            data.retain(|(name, _)| name != "vms");
            for (pool, vmids) in left {
                let vmids = ("vms".to_owned(), vmids.join(","));
                if pool.is_empty() {
                    data.push(vmids);
                    continue;
                }
                let back = vec![vmids, ("poolid".into(), pool.to_owned()), ("allow-move".into(), "1".into())];
                calls.push(UndoCall::new(Method::Put, ApiPath::from_static("/pools"), back));
            }
        }
        if data.iter().any(|(name, _)| matches!(name.as_str(), "vms" | "storage")) {
            if self.param("delete") != Some("1") {
                data.push(("delete".into(), "1".into()));
            }
            calls.push(UndoCall::new(Method::Put, self.path.clone(), data));
        }
        let mut calls = calls.into_iter();
        let first = calls.next()?;
        Some(UndoCall { more: calls.collect(), ..first })
    }
}

/// Returns whether an operation changes or deletes a network interface.
fn is_interface(operation: &PlannedOperation) -> bool {
    operation.is_known && operation.template.as_deref() == Some("/nodes/{node}/network/{iface}")
}

/// Returns the digest of an object.
pub(super) fn digest_of(object: &Map<String, Value>) -> Option<&str> {
    object.get("digest").and_then(Value::as_str)
}
