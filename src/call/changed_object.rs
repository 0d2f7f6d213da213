//! The object of a change, read again after it. What can't be read is left out of the answer.

use super::guest_wait::{AwaitedGuest, AwaitedState, GuestWaitEnd};
use super::handle::ClusterHandle;
use super::planned_call::PlannedCall;
use super::present_state::{ObjectReader, PathGuest};
use super::undo::StateBefore;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::guests;
use crate::pve::knowledge::messages::Meaning;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::is_true;
use crate::pve::task::Upid;
use crate::render::changed_object::{self, ChangedOptions, GuestPlace};
use crate::render::object_state::{text_of, to_text};
use crate::render::question::names_an_option;
use crate::render::undo::UndoCall;
use serde_json::{Map, Value};
use std::time::Instant;

/// An object that a call changes, kept until the change is done.
#[derive(Clone)]
pub struct ChangedObject {
    subject: ChangedSubject,
    /// The parameters of the call that are no secrets.
    params: ApiParams,
    set: Vec<String>,
    unset: Vec<String>,
    undo: Option<UndoCall>,
    /// The call creates an object.
    is_creation: bool,
    /// The call is one of a list, whose effect and undo are told after its last call.
    is_in_list: bool,
}

/// What is to be told after the last call of a list.
#[derive(Default)]
pub struct ListEffects {
    /// The reasons why changes have no effect yet, each with the numbers of the calls.
    pub missing: Vec<(Vec<usize>, String)>,
    /// The calls that undo the list, in the order in which they are to be made.
    pub undo: Vec<String>,
}

/// What a change is about.
#[derive(Clone)]
enum ChangedSubject {
    /// The state of a guest. It may have moved to the node of a second place.
    Guest {
        guest: PathGuest,
        origin: Option<String>,
    },
    GuestOptions(PathGuest),
    GuestDisk {
        guest: PathGuest,
        disk: String,
    },
    GuestRemoval {
        guest: PathGuest,
        name: String,
    },
    Snapshot {
        guest: PathGuest,
        name: String,
    },
    Rollback {
        guest: PathGuest,
        snapshot: String,
    },
    /// A new rule in a list of firewall rules.
    FirewallRule(ApiPath),
    /// The backup of guests on a storage.
    Backup {
        node: String,
        storage: String,
        vmid: String,
    },
    HaResource(String),
    Grants(String),
    Pool(String),
    /// The network configuration of a node, which is applied later.
    PendingNetwork {
        node: String,
    },
    /// Options of an object with a path of its own.
    Options(ApiPath),
    Creation(ApiPath),
    Removal(ApiPath),
    Other,
}

impl PlannedCall<'_> {
    /// Reads what has to be known of the object before the call is sent. Returns `None` for a call that changes nothing.
    pub(super) fn find_changed_object(&self) -> Option<ChangedObject> {
        if !self.is_change() || !self.operation.is_known {
            return None;
        }
        let reader = ObjectReader::new(self.cluster);
        let before = self.read_state_before(&reader);
        let mut set: Vec<String> = Vec::new();
        for name in self.params.names().filter(|name| names_an_option(name)) {
            if !set.iter().any(|known| known == name) {
                set.push(name.to_owned());
            }
        }
        let deleted = self
            .params
            .iter()
            .filter(|(name, _)| *name == "delete")
            .flat_map(|(_, names)| list_items(names).map(str::to_owned));
        Some(ChangedObject {
            subject: self.changed_subject(&reader, &before),
            params: self.open_params(),
            unset: deleted.collect(),
            undo: self.find_undo(&before),
            is_creation: self.method == Method::Post,
            is_in_list: false,
            set,
        })
    }

    fn changed_subject(&self, reader: &ObjectReader<'_>, before: &StateBefore) -> ChangedSubject {
        let template = self.operation.template.as_deref().unwrap_or_default();
        let param =
            |name: &str| self.params.iter().find(|(given, _)| *given == name).map(|(_, value)| value.to_owned());
        let of_path = |name: &str| {
            self.operation.path_values.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
        };
        if let Some(guest) = self.path_guest() {
            let rest = template.split_once("/{vmid}").map_or("", |(_, rest)| rest);
            return match (self.method, rest) {
                (Method::Delete, "") => {
                    let status = reader.read_value::<Map<String, Value>>(guest.path(&["status", "current"]));
                    let name = status.map(|status| text_of(&status, "name").to_owned()).unwrap_or_default();
                    ChangedSubject::GuestRemoval { guest, name }
                }
                (Method::Put | Method::Post, "/config") => ChangedSubject::GuestOptions(guest),
                (_, "/resize" | "/move_disk" | "/move_volume" | "/unlink") => {
                    let disk = param("target-disk").or(param("target-volume")).or(param("disk")).or(param("volume"));
                    let disk = disk.or(param("idlist")).unwrap_or_default();
                    ChangedSubject::GuestDisk { guest, disk }
                }
                (Method::Post, "/snapshot") => {
                    ChangedSubject::Snapshot { guest, name: param("snapname").unwrap_or_default() }
                }
                (Method::Delete, "/snapshot/{snapname}") => {
                    ChangedSubject::Snapshot { guest, name: of_path("snapname").unwrap_or_default() }
                }
                (Method::Post, "/clone") => {
                    let node = param("target").unwrap_or(guest.node);
                    let guest = PathGuest { node, vmid: param("newid").unwrap_or_default(), ..guest };
                    ChangedSubject::Guest { guest, origin: None }
                }
                (Method::Post, "/migrate") => {
                    let node = param("target").unwrap_or_default();
                    ChangedSubject::Guest { origin: Some(guest.node), guest: PathGuest { node, ..guest } }
                }
                (_, "/snapshot/{snapname}/rollback") => {
                    ChangedSubject::Rollback { guest, snapshot: of_path("snapname").unwrap_or_default() }
                }
                (_, "/template") => ChangedSubject::Guest { guest, origin: None },
                (_, rest) if rest.starts_with("/status/") => ChangedSubject::Guest { guest, origin: None },
                _ => self.general_subject(before),
            };
        }
        let node = || of_path("node").unwrap_or_default();
        match (self.method, template) {
            (Method::Post, "/nodes/{node}/qemu" | "/nodes/{node}/lxc") => {
                let kind = if template.ends_with("qemu") { guests::GuestKind::Qemu } else { guests::GuestKind::Lxc };
                let guest = PathGuest { kind, node: node(), vmid: param("vmid").unwrap_or_default() };
                ChangedSubject::Guest { guest, origin: None }
            }
            (Method::Post, "/nodes/{node}/vzdump") => match (param("storage"), param("vmid")) {
                (Some(storage), Some(vmid)) if vmid.bytes().all(|b| b.is_ascii_digit()) => {
                    ChangedSubject::Backup { node: node(), storage, vmid }
                }
                _ => ChangedSubject::Other,
            },
            (_, "/cluster/ha/resources") => ChangedSubject::HaResource(param("sid").unwrap_or_default()),
            (_, path) if path.starts_with("/cluster/ha/resources/{sid}") => {
                ChangedSubject::HaResource(of_path("sid").unwrap_or_default())
            }
            (_, "/access/acl") => ChangedSubject::Grants(param("path").unwrap_or_default()),
            (Method::Put, "/pools" | "/pools/{poolid}") => {
                ChangedSubject::Pool(param("poolid").or(of_path("poolid")).unwrap_or_default())
            }
            (Method::Post, "/nodes/{node}/network")
            | (Method::Put | Method::Delete, "/nodes/{node}/network/{iface}") => {
                ChangedSubject::PendingNetwork { node: node() }
            }
            _ => self.general_subject(before),
        }
    }

    fn general_subject(&self, before: &StateBefore) -> ChangedSubject {
        let template = self.operation.template.as_deref().unwrap_or_default();
        let is_rule_list = template.ends_with("/firewall/rules") || template == "/cluster/firewall/groups/{group}";
        match self.method {
            Method::Post if is_rule_list => ChangedSubject::FirewallRule(self.path.clone()),
            Method::Put if before.object.is_some() || self.is_object_readable() => {
                ChangedSubject::Options(self.path.clone())
            }
            Method::Delete if before.object.is_some() || self.is_object_readable() => {
                ChangedSubject::Removal(self.path.clone())
            }
            Method::Post => self.find_created_path().map_or(ChangedSubject::Other, ChangedSubject::Creation),
            _ => ChangedSubject::Other,
        }
    }
}

impl ChangedObject {
    /// Returns the guest that a task is about.
    pub fn from_task(upid: &Upid) -> Option<Self> {
        let kind = match upid.kind.get(..2)? {
            "qm" => guests::GuestKind::Qemu,
            "vz" if upid.kind != "vzdump" => guests::GuestKind::Lxc,
            _ => return None,
        };
        upid.id.parse::<u32>().ok()?;
        let guest = PathGuest { kind, node: upid.node.clone(), vmid: upid.id.clone() };
        let subject = match upid.kind.as_str() {
            "qmdestroy" | "vzdestroy" => ChangedSubject::GuestRemoval { guest, name: String::new() },
            // The clone has another number than the task.
            "qmclone" | "vzclone" | "qmtemplate" => return None,
            _ => ChangedSubject::Guest { origin: Some(guest.node.clone()), guest },
        };
        Some(Self {
            subject,
            params: ApiParams::new(),
            set: Vec::new(),
            unset: Vec::new(),
            undo: None,
            is_creation: false,
            is_in_list: false,
        })
    }

    /// Returns the guest and the state that the HA manager was asked for.
    pub(super) fn awaited_by_ha(&self) -> Option<AwaitedGuest> {
        let ChangedSubject::HaResource(sid) = &self.subject else { return None };
        // (PVE: `migrate` and `relocate` have a node.)
        let state = match self.param("node") {
            Some(node) => AwaitedState::OnNode(node.to_owned()),
            None => match self.param("state").or((self.is_creation).then_some("started"))? {
                "started" | "enabled" => AwaitedState::Power("running"),
                "stopped" | "disabled" => AwaitedState::Power("stopped"),
                _ => return None,
            },
        };
        let guest = sid.split_once(':').map_or(sid.as_str(), |(_, vmid)| vmid).to_owned();
        Some(AwaitedGuest { guest, state, by_ha: true })
    }

    /// Returns the object for a call of a list: its own description has neither missing effects nor an undo.
    pub fn into_listed(self) -> Self {
        Self { is_in_list: true, ..self }
    }

    /// Returns the number of the guest that the change is about.
    fn guest(&self) -> Option<&PathGuest> {
        match &self.subject {
            ChangedSubject::Guest { guest, .. }
            | ChangedSubject::GuestOptions(guest)
            | ChangedSubject::GuestDisk { guest, .. }
            | ChangedSubject::GuestRemoval { guest, .. }
            | ChangedSubject::Snapshot { guest, .. }
            | ChangedSubject::Rollback { guest, .. } => Some(guest),
            _ => None,
        }
    }

    /// Returns whether the change removes the object that a call is about.
    fn removes_object_of(&self, undo: &UndoCall) -> bool {
        let removed = match &self.subject {
            ChangedSubject::GuestRemoval { guest, .. } => guest.path(&[]),
            ChangedSubject::Removal(path) => path.clone(),
            _ => return false,
        };
        // A guest may have moved before.
        let object_of = |path: &ApiPath| -> Vec<String> {
            let skipped = usize::from(self.guest().is_some()) * 2;
            path.segments().skip(skipped).map(|segment| segment.into_owned()).collect()
        };
        object_of(&undo.path).starts_with(&object_of(&removed))
    }

    /// Returns whether the change moves the guest of a path to another node.
    fn moves_guest_of(&self, path: &ApiPath) -> bool {
        let ChangedSubject::Guest { guest, origin: Some(_) } = &self.subject else { return false };
        path.segments().nth(3).is_some_and(|vmid| vmid == guest.vmid)
    }

    fn options(&self) -> ChangedOptions<'_> {
        ChangedOptions { set: &self.set, unset: &self.unset }
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }
}

impl ClusterHandle<'_> {
    /// Waits for what the HA manager does after a change of one of its resources. Returns `None` for another change.
    pub fn follow_ha_change(&self, changed: &ChangedObject, deadline: Instant) -> Option<GuestWaitEnd> {
        let awaited = changed.awaited_by_ha()?;
        // The description of the object shows a state that can't be read.
        Some(self.wait_for_guest(&awaited, deadline, &mut |_, _| {}).map_or(GuestWaitEnd::NotYet, |wait| wait.end))
    }

    /// Reads a changed object again, and describes it in lines: the object as it is, why the change has no effect yet,
    /// and the undo.
    pub fn describe_changed(&self, changed: &ChangedObject) -> Vec<String> {
        // The look-ups of the plan are older than the change.
        let handle = self.with_new_lookups();
        let result = ResultReader { cluster: &handle, reader: ObjectReader::new(&handle), changed };
        let ObjectText { line, digest, rule } = result.read();
        let mut lines: Vec<String> = line.into_iter().collect();
        if changed.is_in_list {
            return lines.into_iter().map(|line| self.redact(line)).collect();
        }
        lines.extend(result.find_missing_effect(rule.as_ref()));
        let is_at_place = |undo: &&UndoCall| match &rule {
            // (PVE: a new rule is the first one, whatever position the call has.)
            Some(rule) => undo.path.as_str().ends_with(&format!("/{}", to_text(&rule["pos"]))),
            None => true,
        };
        // An undo is offered for a state that was seen.
        if let Some(undo) = changed.undo.as_ref().filter(|_| !lines.is_empty()).filter(is_at_place) {
            lines.push(format!("undo: {}", undo.render(digest.as_deref())));
        }
        lines.into_iter().map(|line| self.redact(line)).collect()
    }
}

impl ClusterHandle<'_> {
    /// Reads again the objects that the calls of a list have changed, each with the number of its call. A later call may
    /// have given an earlier one its effect, or have made its undo void.
    pub fn describe_list_effects(&self, changes: &[(usize, ChangedObject)]) -> ListEffects {
        let handle = self.with_new_lookups();
        let mut effects = ListEffects::default();
        for (number, changed) in changes {
            let result = ResultReader { cluster: &handle, reader: ObjectReader::new(&handle), changed };
            let rule = match &changed.subject {
                ChangedSubject::FirewallRule(list) => result.find_rule(list),
                _ => None,
            };
            for reason in result.find_missing_effect(rule.as_ref()) {
                let reason = self.redact(reason);
                match effects.missing.iter_mut().find(|(_, known)| *known == reason) {
                    Some((numbers, _)) => numbers.push(*number),
                    None => effects.missing.push((vec![*number], reason)),
                }
            }
        }
        for (at, (_, changed)) in changes.iter().enumerate().rev() {
            let later = || changes[at + 1..].iter().map(|(_, changed)| changed);
            let Some(undo) = &changed.undo else { continue };
            if later().any(|other| other.removes_object_of(undo)) {
                continue;
            }
            let is_moved = later().any(|other| other.moves_guest_of(&undo.path));
            let undo = if is_moved { undo.clone().without_node() } else { undo.clone() };
            // The digest is that of a state between the calls.
            effects.undo.push(self.redact(undo.render(None)));
        }
        effects
    }
}

/// The description of an object as it is.
struct ObjectText {
    line: Option<String>,
    digest: Option<String>,
    /// The firewall rule that was made.
    rule: Option<Map<String, Value>>,
}

/// The reads of one changed object.
struct ResultReader<'r> {
    cluster: &'r ClusterHandle<'r>,
    reader: ObjectReader<'r>,
    changed: &'r ChangedObject,
}

impl ResultReader<'_> {
    /// Describes the object.
    fn read(&self) -> ObjectText {
        let (mut digest, mut rule) = (None, None);
        let line = match &self.changed.subject {
            ChangedSubject::Guest { guest, origin } => self.describe_guest(guest, origin.as_deref()),
            ChangedSubject::GuestOptions(guest) => {
                let rows = self.reader.read_value::<Vec<Value>>(guest.path(&["pending"])).ok();
                digest = rows
                    .iter()
                    .flatten()
                    .find(|row| row.get("key").is_some_and(|key| *key == "digest"))
                    .and_then(|row| row.get("value").and_then(Value::as_str).map(str::to_owned));
                if digest.is_none() && self.changed.undo.is_some() {
                    let config = self.reader.read_value::<Map<String, Value>>(guest.path(&["config"])).ok();
                    digest = config.and_then(|config| super::undo::digest_of(&config).map(str::to_owned));
                }
                rows.map(|rows| place(guest).describe_options(&rows, self.changed.options()))
            }
            ChangedSubject::GuestDisk { guest, disk } => {
                let config = self.reader.read_value(guest.path(&["config"])).ok();
                config.map(|config| place(guest).describe_disks(&config, disk))
            }
            ChangedSubject::GuestRemoval { guest, name } => {
                let is_gone = self.is_gone(guest.path(&["status", "current"]));
                is_gone.map(|is_gone| place(guest).describe_removal(name, is_gone))
            }
            ChangedSubject::Snapshot { guest, name } => {
                let rows = self.reader.read_value::<Vec<Value>>(guest.path(&["snapshot"])).ok();
                let status = self.reader.read_value::<Map<String, Value>>(guest.path(&["status", "current"]));
                let guest_name = status.map(|status| text_of(&status, "name").to_owned()).unwrap_or_default();
                rows.map(|rows| place(guest).describe_snapshots(&guest_name, &rows, name))
            }
            ChangedSubject::Rollback { guest, snapshot } => self.describe_guest(guest, None).map(|line| {
                let rows = self.reader.read_value::<Vec<Value>>(guest.path(&["snapshot"])).unwrap_or_default();
                let starts = self.changed.param("start") == Some("1");
                let reason = changed_object::explain_rollback(&rows, snapshot).filter(|_| !starts);
                line + reason.unwrap_or_default()
            }),
            ChangedSubject::FirewallRule(list) => {
                rule = self.find_rule(list);
                rule.as_ref().map(|rule| changed_object::describe_rule(&list.to_string(), rule))
            }
            ChangedSubject::Backup { node, storage, vmid } => self.describe_backup(node, storage, vmid),
            ChangedSubject::HaResource(sid) => self.describe_ha(sid),
            ChangedSubject::Grants(path) => {
                let rows = self.reader.read_value::<Vec<Value>>(ApiPath::from_static("/access/acl")).ok();
                rows.map(|rows| changed_object::describe_grants(path, &rows))
            }
            ChangedSubject::Pool(pool) => self.describe_pool(pool),
            ChangedSubject::PendingNetwork { node } => Some(format!(
                "the change waits in the configuration: PUT /nodes/{node}/network applies it, DELETE discards it"
            )),
            ChangedSubject::Options(path) => {
                let object = self.reader.read_value::<Map<String, Value>>(path.clone()).ok();
                digest = object.as_ref().and_then(|object| super::undo::digest_of(object).map(str::to_owned));
                let options = Some(self.changed.options());
                object.map(|object| changed_object::describe_object(&path.to_string(), &object, options))
            }
            ChangedSubject::Creation(path) => {
                let object = self.reader.read_value::<Map<String, Value>>(path.clone()).ok();
                object.map(|object| changed_object::describe_object(&path.to_string(), &object, None))
            }
            ChangedSubject::Removal(path) => {
                self.is_gone(path.clone()).map(|is_gone| changed_object::describe_removal(&path.to_string(), is_gone))
            }
            ChangedSubject::Other => None,
        };
        ObjectText { line, digest, rule }
    }

    /// Finds the rule that a call has made.
    fn find_rule(&self, list: &ApiPath) -> Option<Map<String, Value>> {
        let rows: Vec<Map<String, Value>> = self.reader.read_value(list.clone()).ok()?;
        let sent: Vec<(&str, &str)> =
            self.changed.params.iter().filter(|(name, _)| !matches!(*name, "pos" | "digest")).collect();
        let has = |row: &Map<String, Value>, name: &str, value: &str| {
            row.get(name).is_some_and(|known| to_text(known).eq_ignore_ascii_case(value))
        };
        rows.into_iter().find(|row| row.contains_key("pos") && sent.iter().all(|(name, value)| has(row, name, value)))
    }

    /// Describes a guest. A guest that may have moved is searched on its origin too, then by the list of guests.
    fn describe_guest(&self, guest: &PathGuest, origin: Option<&str>) -> Option<String> {
        let read = |guest: &PathGuest| {
            let path =
                ApiPath::from_segments(&["nodes", &guest.node, guest.kind.as_str(), &guest.vmid, "status", "current"]);
            let status: Map<String, Value> = self.reader.read_value(path.ok()?).ok()?;
            Some(place(guest).describe_state(&status))
        };
        let at_origin = || {
            let node = origin.filter(|node| *node != guest.node)?;
            read(&PathGuest { node: node.to_owned(), ..guest.clone() })
        };
        let listed = || {
            let listed = guests::find_guest(self.cluster.look_up_guests().ok()?, &guest.vmid).ok()?;
            let is_elsewhere = listed.node != guest.node && listed.vmid.to_string() == guest.vmid;
            is_elsewhere.then(|| read(&PathGuest { node: listed.node.clone(), ..guest.clone() }))?
        };
        read(guest).or_else(at_origin).or_else(|| origin.and_then(|_| listed()))
    }

    /// Returns whether an object is gone, if the cluster says so or shows it.
    fn is_gone(&self, path: ApiPath) -> Option<bool> {
        match self.reader.look_up(path, ApiParams::new()).ok()? {
            Ok(_) => Some(false),
            Err(error) => {
                let is_absent = matches!(error.meaning(), Meaning::Absent | Meaning::MissingGuestConfig);
                is_absent.then_some(true)
            }
        }
    }

    fn describe_backup(&self, node: &str, storage: &str, vmid: &str) -> Option<String> {
        let mut params = ApiParams::new();
        params.push("content", "backup");
        params.push("vmid", vmid);
        let path = ApiPath::from_segments(&["nodes", node, "storage", storage, "content"]).ok()?;
        let rows: Vec<Value> = self.reader.read(path, params).ok()?;
        changed_object::describe_backup(&rows)
    }

    fn describe_ha(&self, sid: &str) -> Option<String> {
        let rows: Vec<Map<String, Value>> =
            self.reader.read_value(ApiPath::from_static("/cluster/ha/status/current")).ok()?;
        let has_number = |row: &&Map<String, Value>| {
            let known = text_of(row, "sid");
            known == sid || known.split_once(':').is_some_and(|(_, vmid)| vmid == sid)
        };
        let row = rows.iter().find(has_number);
        let line = changed_object::describe_ha(sid, row);
        let vmid = sid.split_once(':').map_or(sid, |(_, vmid)| vmid);
        let guest = guests::find_guest(self.cluster.look_up_guests().ok()?, vmid).ok();
        let guest = guest.and_then(|guest| {
            let place = PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: guest.vmid.to_string() };
            self.describe_guest(&place, None)
        });
        Some(match guest {
            Some(guest) => format!("{line}; {guest}"),
            None => line,
        })
    }

    fn describe_pool(&self, pool: &str) -> Option<String> {
        let mut params = ApiParams::new();
        params.push("poolid", pool);
        let rows: Vec<Map<String, Value>> = self.reader.read(ApiPath::from_static("/pools"), params).ok()?;
        let row = rows.into_iter().find(|row| text_of(row, "poolid") == pool)?;
        let members = row.get("members")?.as_array()?;
        Some(changed_object::describe_pool(pool, members))
    }

    /// Returns the reasons why the change has no effect yet, as far as the caller does not know them.
    fn find_missing_effect(&self, rule: Option<&Map<String, Value>>) -> Vec<String> {
        let mut reasons = Vec::new();
        match &self.changed.subject {
            ChangedSubject::GuestOptions(guest) => self.check_network_cards(guest, &mut reasons),
            ChangedSubject::Guest { guest, .. } => self.check_network_cards(guest, &mut reasons),
            ChangedSubject::Options(path) | ChangedSubject::Creation(path) => {
                self.check_job(path, &mut reasons);
                self.check_firewall(path, &mut reasons);
            }
            ChangedSubject::FirewallRule(list) => {
                let is_off = rule.is_some_and(|rule| !rule.get("enable").is_some_and(is_true));
                if is_off && self.changed.param("enable").is_none() {
                    reasons.push("no effect yet: a new rule is off by default (enable=1 turns it on)".into());
                }
                self.check_firewall(list, &mut reasons);
            }
            _ => {}
        }
        reasons
    }

    /// Checks the network cards that a call changed: the firewall that they ask for, and their VLAN.
    fn check_network_cards(&self, guest: &PathGuest, reasons: &mut Vec<String>) {
        let is_card =
            |name: &str| name.strip_prefix("net").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        let cards: Vec<(&str, &str)> = self.changed.params.iter().filter(|(name, _)| is_card(name)).collect();
        let part = |card: &str, key: &str| {
            card.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        };
        if cards.iter().any(|(_, card)| part(card, "firewall").is_some_and(|on| on == "1")) {
            self.check_data_center_firewall(reasons);
        }
        for (name, card) in cards {
            let (Some(tag), Some(bridge)) = (part(card, "tag"), part(card, "bridge")) else { continue };
            let Some(interface) = self.find_interface(&guest.node, &bridge) else { continue };
            let is_aware = interface.get("bridge_vlan_aware").is_some_and(is_true);
            if text_of(&interface, "type") == "bridge" && !is_aware {
                reasons.push(format!(
                    "{name}: bridge {bridge} of {} is not VLAN-aware: tag {tag} works only if the bridge has a physical \
                     port, over which Proxmox then makes a bridge of its own",
                    guest.node
                ));
            }
        }
    }

    fn find_interface(&self, node: &str, name: &str) -> Option<Map<String, Value>> {
        let path = ApiPath::from_segments(&["nodes", node, "network"]).ok()?;
        let rows: Vec<Map<String, Value>> = self.reader.read_value(path).ok()?;
        rows.into_iter().find(|row| text_of(row, "iface") == name)
    }

    fn check_job(&self, path: &ApiPath, reasons: &mut Vec<String>) {
        let is_job = ["/cluster/backup/", "/cluster/replication/", "/cluster/jobs/"]
            .iter()
            .any(|jobs| path.as_str().starts_with(jobs));
        if !is_job {
            return;
        }
        let Ok(job) = self.reader.read_value::<Map<String, Value>>(path.clone()) else { return };
        let is_off = job.get("enabled").is_some_and(|on| !is_true(on)) || job.get("disable").is_some_and(is_true);
        let is_known = self.changed.set.iter().any(|name| matches!(name.as_str(), "enabled" | "disable"));
        if is_off && !is_known {
            reasons.push("no effect yet: the job is disabled, so it never runs".into());
        }
    }

    /// Checks that a change of firewall rules or options takes effect.
    fn check_firewall(&self, path: &ApiPath, reasons: &mut Vec<String>) {
        let text = path.as_str();
        let Some((owner, part)) = text.split_once("/firewall") else { return };
        let is_rule = part.starts_with("/rules");
        let is_off = self.changed.param("enable").is_some_and(|on| on == "0");
        let turns_on = part == "/options" && self.changed.param("enable").is_some() && !is_off;
        if is_off || !(is_rule || turns_on) {
            return;
        }
        if text != "/cluster/firewall/options" {
            self.check_data_center_firewall(reasons);
        }
        if owner.starts_with("/nodes/") {
            if is_rule {
                self.check_option(&format!("{owner}/firewall/options"), reasons);
            }
            if owner.contains("/qemu/") || owner.contains("/lxc/") {
                self.check_cards_have_firewall(owner, reasons);
            }
        }
    }

    fn check_data_center_firewall(&self, reasons: &mut Vec<String>) {
        self.check_option("/cluster/firewall/options", reasons);
    }

    /// Adds a reason if the firewall is off by these options.
    fn check_option(&self, path: &str, reasons: &mut Vec<String>) {
        let Ok((path, _)) = ApiPath::parse(path) else { return };
        let Ok(options) = self.reader.read_value::<Map<String, Value>>(path.clone()) else { return };
        // (PVE: the firewall of a node is on by default, the others are off.)
        let is_node = path.segments().count() == 4;
        if !options.get("enable").map_or(is_node, is_true) {
            let of = if path.as_str().starts_with("/cluster") { " of the data center" } else { "" };
            reasons.push(format!("no effect yet: the firewall{of} is off (PUT {path} with enable=1 turns it on)"));
        }
    }

    fn check_cards_have_firewall(&self, guest: &str, reasons: &mut Vec<String>) {
        let Ok((path, _)) = ApiPath::parse(&format!("{guest}/config")) else { return };
        let Ok(config) = self.reader.read_value::<Map<String, Value>>(path) else { return };
        let mut cards = config.iter().filter(|(name, _)| name.starts_with("net")).peekable();
        let has_cards = cards.peek().is_some();
        if has_cards && !cards.any(|(_, card)| to_text(card).split(',').any(|part| part == "firewall=1")) {
            reasons.push("no effect yet: no network card of the guest has firewall=1".into());
        }
    }
}

fn place(guest: &PathGuest) -> GuestPlace<'_> {
    GuestPlace { kind: guest.kind, vmid: &guest.vmid, node: &guest.node }
}
