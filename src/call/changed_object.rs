//! The object of a change, read again after it. What can't be read is left out of the answer.

use super::fan_out::fan_out;
use super::firewall_effect::{FirewallLevels, OFF_BY_DEFAULT};
use super::guest_backups::{find_default_storage, read_backups};
use super::guest_wait::{AwaitedGuest, AwaitedState, GuestWaitEnd};
use super::handle::ClusterHandle;
use super::list_undo::{ObjectLife, discard_void_undos};
use super::planned_call::PlannedCall;
use super::present_state::{ObjectReader, PathGuest};
use super::undo::StateBefore;
use crate::base::list_text::list_items;
use crate::pve::Method;
use crate::pve::guests;
use crate::pve::knowledge::messages::Meaning;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{find_part, is_network_card, is_under_firewall};
use crate::pve::rows::{is_true, read_count};
use crate::pve::task::Upid;
use crate::render::changed_object::{self, ChangedOptions, GuestPlace};
use crate::render::labels::{count, group_reasons};
use crate::render::object_state::{has_disk_name, has_time, quote_word, text_of, to_text};
use crate::render::question::names_an_option;
use crate::render::undo::UndoCall;
use serde_json::{Map, Value};
use std::time::Instant;

/// The most guests, or backups, of one call that are described.
const MAX_GUESTS: usize = 12;

/// The most reads of guests at once.
const MAX_CONCURRENT_READS: usize = 6;

/// An object that a call changes, kept until the change is done.
#[derive(Clone)]
pub struct ChangedObject {
    subject: ChangedSubject,
    /// The parameters of the call that are no secrets.
    params: ApiParams,
    set: Vec<String>,
    unset: Vec<String>,
    undo: Option<UndoCall>,
    /// The object has the values of the call already, so there is nothing to undo.
    is_unchanged: bool,
    /// The network cards that the call changes, as they were: name and value.
    cards_before: Vec<(String, String)>,
    /// The call creates an object.
    is_creation: bool,
    /// The call is one of a list, whose effect and undo are told after its last call.
    is_in_list: bool,
    /// The start of the task that changes it, in seconds since 1970 by the clock of the node.
    begun_at: Option<u64>,
    life: ObjectLife,
}

/// What is to be told after the last call of a list.
#[derive(Default)]
pub struct ListEffects {
    /// The reasons why changes have no effect yet, each with the numbers of the calls.
    pub missing: Vec<(Vec<usize>, String)>,
    /// The calls that undo the list, in the order in which they are to be made.
    pub undo: Vec<String>,
    /// The numbers of the calls that none of them undoes.
    pub without_undo: Vec<usize>,
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
    /// The backup of guests on a storage, with the files that it had before.
    Backups {
        node: String,
        storage: String,
        vmids: Vec<String>,
        known: Vec<String>,
    },
    /// Guests that one call starts, stops or moves.
    Guests(Vec<PathGuest>),
    /// A new row of a list, with the ids that the list had before. The cluster chooses the id.
    NewRow {
        list: ApiPath,
        id_key: String,
        known: Vec<String>,
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
            is_unchanged: self.is_as_before(&before),
            cards_before: find_cards(&set, before.object.as_ref()),
            is_creation: self.method == Method::Post,
            is_in_list: false,
            begun_at: None,
            life: ObjectLife::of_call(self),
            set,
        })
    }

    fn changed_subject(&self, reader: &ObjectReader<'_>, before: &StateBefore) -> ChangedSubject {
        let template = self.operation.template.as_deref().unwrap_or_default();
        let param = |name: &str| self.param(name).map(str::to_owned);
        let of_path = |name: &str| self.operation.path_value(name).map(str::to_owned);
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
                _ => self.general_subject(reader, before),
            };
        }
        let node = || of_path("node").unwrap_or_default();
        match (self.method, template) {
            (Method::Post, "/nodes/{node}/qemu" | "/nodes/{node}/lxc") => {
                let kind = if template.ends_with("qemu") { guests::GuestKind::Qemu } else { guests::GuestKind::Lxc };
                let guest = PathGuest { kind, node: node(), vmid: param("vmid").unwrap_or_default() };
                ChangedSubject::Guest { guest, origin: None }
            }
            (Method::Post, "/nodes/{node}/vzdump") => {
                let storage = param("storage").or_else(|| find_default_storage(reader, &node()));
                let vmids = param("vmid").unwrap_or_default();
                let vmids: Vec<String> = list_items(&vmids).map(str::to_owned).collect();
                match storage.and_then(|storage| Some((read_backups(reader, &node(), &storage, &vmids)?, storage))) {
                    Some((rows, storage)) => {
                        let known = rows.iter().map(|row| text_of(row, "volid").to_owned()).collect();
                        ChangedSubject::Backups { node: node(), storage, vmids, known }
                    }
                    None => ChangedSubject::Other,
                }
            }
            (
                Method::Post,
                "/nodes/{node}/startall"
                | "/nodes/{node}/stopall"
                | "/nodes/{node}/suspendall"
                | "/nodes/{node}/migrateall"
                | "/cluster/bulk-action/guest/start"
                | "/cluster/bulk-action/guest/shutdown"
                | "/cluster/bulk-action/guest/suspend"
                | "/cluster/bulk-action/guest/migrate",
            ) => {
                let listed = self.cluster.look_up_guests().unwrap_or_default();
                let guests = self.affected.select_from(listed).filter(|guest| !guest.template);
                let to_place = |guest: &guests::Guest| PathGuest {
                    kind: guest.kind,
                    node: guest.node.clone(),
                    vmid: guest.vmid.to_string(),
                };
                ChangedSubject::Guests(guests.map(to_place).collect())
            }
            (_, "/cluster/ha/resources") => ChangedSubject::HaResource(param("sid").unwrap_or_default()),
            (_, path) if path.starts_with("/cluster/ha/resources/{sid}") => {
                ChangedSubject::HaResource(of_path("sid").unwrap_or_default())
            }
            (_, "/access/acl") => ChangedSubject::Grants(param("path").unwrap_or_default()),
            (Method::Put, "/pools" | "/pools/{poolid}") if template == "/pools" || self.changed_pool().is_some() => {
                ChangedSubject::Pool(param("poolid").or(of_path("poolid")).unwrap_or_default())
            }
            (Method::Post, "/nodes/{node}/network")
            | (Method::Put | Method::Delete, "/nodes/{node}/network/{iface}") => {
                ChangedSubject::PendingNetwork { node: node() }
            }
            _ => self.general_subject(reader, before),
        }
    }

    fn general_subject(&self, reader: &ObjectReader<'_>, before: &StateBefore) -> ChangedSubject {
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
            Method::Post => match self.find_created_path() {
                Some(path) => ChangedSubject::Creation(path),
                None => self.find_new_row(reader).unwrap_or(ChangedSubject::Other),
            },
            _ => ChangedSubject::Other,
        }
    }

    /// Returns the list that gets a new row, if its rows can be read and deleted by their ids.
    fn find_new_row(&self, reader: &ObjectReader<'_>) -> Option<ChangedSubject> {
        let schema = self.cluster.schema();
        let segments: Vec<_> = self.path.segments().collect();
        let found = schema.match_path(&segments).ok()?;
        found.operation(Method::Get)?;
        let parameter = found.children.iter().find(|child| child.starts_with('{'))?;
        let row = schema.match_path(&[segments, vec![(*parameter).into()]].concat()).ok()?;
        row.operation(Method::Get).and(row.operation(Method::Delete))?;
        let id_key = parameter.trim_matches(['{', '}']).to_owned();
        let known = read_ids(reader, &self.path, &id_key)?;
        Some(ChangedSubject::NewRow { list: self.path.clone(), id_key, known })
    }
}

/// Returns the ids of the rows of a list.
fn read_ids(reader: &ObjectReader<'_>, list: &ApiPath, id_key: &str) -> Option<Vec<String>> {
    let rows: Vec<Map<String, Value>> = reader.read_value(list.clone()).ok()?;
    Some(rows.iter().filter_map(|row| row.get(id_key)).map(to_text).collect())
}

/// Returns the network cards among these options as they are in a configuration.
fn find_cards(names: &[String], config: Option<&Map<String, Value>>) -> Vec<(String, String)> {
    let cards = names.iter().filter(|name| is_network_card(name));
    cards.filter_map(|name| Some((name.clone(), config?.get(name)?.as_str()?.to_owned()))).collect()
}

/// Returns the MAC address of a network card. (PVE: a VM has it beside the model, `virtio=BC:24:…`.)
fn find_mac(card: &str) -> Option<&str> {
    card.split(',').filter_map(|part| part.split_once('=')).map(|(_, value)| value).find(|value| {
        value.len() == 17 && value.split(':').filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit())).count() == 6
    })
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
            is_unchanged: false,
            cards_before: Vec::new(),
            is_creation: false,
            is_in_list: false,
            begun_at: None,
            life: ObjectLife::default(),
        })
    }

    /// Returns the object with the start of the task that changes it.
    #[must_use]
    pub fn begun_at(&self, seconds: u64) -> Self {
        Self { begun_at: Some(seconds), ..self.clone() }
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

    /// Returns the object for a call that changes nothing.
    pub(super) fn without_undo(self) -> Self {
        Self { undo: None, is_unchanged: true, ..self }
    }

    /// Returns the object for a change that did not do what explains its state.
    fn without_explanation(&self) -> Self {
        match &self.subject {
            ChangedSubject::Rollback { guest, .. } => {
                Self { subject: ChangedSubject::Guest { guest: guest.clone(), origin: None }, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Returns the object for a call of a list: its own description has neither missing effects nor an undo.
    pub fn into_listed(self) -> Self {
        Self { is_in_list: true, ..self }
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
        self.params.get(name)
    }
}

impl ClusterHandle<'_> {
    /// Waits for what the HA manager does after a change of one of its resources. Returns `None` for another change.
    pub fn follow_ha_change(&self, changed: &ChangedObject, deadline: Instant) -> Option<GuestWaitEnd> {
        let awaited = changed.awaited_by_ha()?;
        // The description of the object shows a state that can't be read.
        Some(self.wait_for_guest(&awaited, deadline, &mut |_, _| {}).map_or(GuestWaitEnd::NotYet, |wait| wait.end))
    }

    /// Reads an object again, and describes it as it is after a change that failed.
    pub fn describe_state(&self, changed: &ChangedObject) -> Vec<String> {
        let handle = self.with_new_lookups();
        let changed = &changed.without_explanation();
        let result = ResultReader { cluster: &handle, reader: ObjectReader::new(&handle), changed };
        result.read().line.into_iter().map(|line| self.redact(line)).collect()
    }

    /// Reads a changed object again, and describes it in lines: the object as it is, why the change has no effect yet,
    /// and the undo.
    pub fn describe_changed(&self, changed: &ChangedObject) -> Vec<String> {
        // The look-ups of the plan are older than the change.
        let handle = self.with_new_lookups();
        let result = ResultReader { cluster: &handle, reader: ObjectReader::new(&handle), changed };
        let ObjectText { line, digest, rule, created } = result.read();
        let mut lines: Vec<String> = line.into_iter().collect();
        if changed.is_in_list {
            return lines.into_iter().map(|line| self.redact(line)).collect();
        }
        lines.extend(result.find_missing_effect(rule.as_ref(), created.as_ref()));
        let is_at_place = |undo: &&UndoCall| match &rule {
            // (PVE: a new rule is the first one, whatever position the call has.)
            Some(rule) => undo.path.as_str().ends_with(&format!("/{}", to_text(&rule["pos"]))),
            None => true,
        };
        // An undo is offered for a state that was seen.
        if let Some(undo) = changed.undo.as_ref().filter(|_| !lines.is_empty()).filter(is_at_place) {
            // An option that is active was changed at once, and one that waits is taken back at once.
            let undo = UndoCall { waiting: Vec::new(), ..undo.clone() };
            lines.push(format!("undo: {}", undo.render(digest.as_deref())));
        }
        if let Some(path) = created {
            lines.push(format!("undo: {}", UndoCall::new(Method::Delete, path, Vec::new()).render(None)));
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
        let mut undos: Vec<Option<UndoCall>> = Vec::new();
        let mut missing = Vec::new();
        for (number, changed) in changes {
            let result = ResultReader { cluster: &handle, reader: ObjectReader::new(&handle), changed };
            let ObjectText { rule, created, .. } = result.read();
            undos.push(match (&changed.undo, &created) {
                (Some(undo), _) => Some(UndoCall { waiting: Vec::new(), ..undo.clone() }),
                (None, created) => created.clone().map(|path| UndoCall::new(Method::Delete, path, Vec::new())),
            });
            let reasons = result.find_missing_effect(rule.as_ref(), created.as_ref()).into_iter();
            missing.extend(reasons.map(|reason| (*number, self.redact(reason))));
        }
        effects.missing = group_reasons(missing, |known, other| known == other);
        let lives: Vec<&ObjectLife> = changes.iter().map(|(_, changed)| &changed.life).collect();
        let is_moot = discard_void_undos(&lives, &mut undos);
        let without = changes.iter().zip(undos.iter().zip(&is_moot));
        let without = without.filter(|((_, changed), (undo, moot))| undo.is_none() && !**moot && !changed.is_unchanged);
        effects.without_undo = without.map(|((number, _), _)| *number).collect();
        for (at, undo) in undos.into_iter().enumerate().rev() {
            let Some(undo) = undo else { continue };
            let is_moved = changes[at + 1..].iter().any(|(_, other)| other.moves_guest_of(&undo.path));
            let undo = if is_moved { undo.without_node() } else { undo };
            // The digest is that of a state between the calls.
            effects.undo.extend(undo.into_calls().map(|call| self.redact(call.render(None))));
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
    /// The path of an object whose id the cluster chose.
    created: Option<ApiPath>,
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
        let (mut digest, mut rule, mut created) = (None, None, None);
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
                let offset = self.cluster.find_utc_offset(&guest.path(&["snapshot"]));
                rows.map(|rows| place(guest).describe_snapshots(&guest_name, &rows, name, offset))
            }
            ChangedSubject::Rollback { guest, snapshot } => {
                let status = self.reader.read_value::<Map<String, Value>>(guest.path(&["status", "current"])).ok();
                status.map(|status| {
                    let rows = self.reader.read_value::<Vec<Value>>(guest.path(&["snapshot"])).unwrap_or_default();
                    let starts = self.changed.param("start") == Some("1");
                    let reason = changed_object::explain_rollback(&rows, snapshot, &status).filter(|_| !starts);
                    place(guest).describe_state(&status) + reason.unwrap_or_default()
                })
            }
            ChangedSubject::FirewallRule(list) => {
                rule = self.find_rule(list);
                rule.as_ref().map(|rule| {
                    let list = list.to_string();
                    changed_object::describe_rule(Some(list.as_str()).filter(|_| !self.changed.is_in_list), rule)
                })
            }
            ChangedSubject::Backups { node, storage, vmids, known } => {
                self.describe_backups(node, storage, vmids, known)
            }
            ChangedSubject::Guests(guests) => self.describe_guests(guests),
            ChangedSubject::NewRow { list, id_key, known } => {
                created = self.find_created(list, id_key, known);
                created.as_ref().and_then(|path| self.describe_created(path))
            }
            ChangedSubject::HaResource(sid) => self.describe_ha(sid),
            ChangedSubject::Grants(path) => {
                let rows = self.reader.read_value::<Vec<Value>>(ApiPath::from_static("/access/acl")).ok();
                rows.map(|rows| changed_object::describe_grants(path, &rows, &self.grantees()))
            }
            ChangedSubject::Pool(pool) => self.describe_pool(pool),
            ChangedSubject::PendingNetwork { node } => Some(format!(
                "the change waits in the configuration: PUT /nodes/{node}/network applies it, DELETE discards it"
            )),
            ChangedSubject::Options(path) => {
                let object = self.reader.read_object(path).ok();
                digest = object.as_ref().and_then(|object| super::undo::digest_of(object).map(str::to_owned));
                let options = Some(self.changed.options());
                object.map(|object| self.describe_object(&self.name_own(path), path, &object, options))
            }
            ChangedSubject::Creation(path) => self.describe_created(path),
            ChangedSubject::Removal(path) => self
                .is_gone(path.clone())
                .map(|is_gone| changed_object::describe_removal(&self.name_own(path), is_gone)),
            ChangedSubject::Other => None,
        };
        ObjectText { line, digest, rule, created }
    }

    /// Returns the words for the object at the path of the call. The entry of a list begins with the path.
    fn name_own(&self, path: &ApiPath) -> String {
        if self.changed.is_in_list { "it".to_owned() } else { path.to_string() }
    }

    /// Returns the users, groups and tokens that get or lose a role.
    fn grantees(&self) -> Vec<&str> {
        let params = self.changed.params.iter();
        params
            .filter(|(name, _)| matches!(*name, "users" | "groups" | "tokens"))
            .flat_map(|(_, ids)| list_items(ids))
            .collect()
    }

    fn describe_created(&self, path: &ApiPath) -> Option<String> {
        let object = self.reader.read_object(path).ok()?;
        Some(self.describe_object(path.as_str(), path, &object, None))
    }

    fn describe_object(
        &self,
        name: &str,
        path: &ApiPath,
        object: &Map<String, Value>,
        options: Option<ChangedOptions<'_>>,
    ) -> String {
        let utc_offset = if has_time(object) { self.cluster.find_utc_offset(path) } else { 0 };
        changed_object::describe_object(name, object, options, utc_offset)
    }

    /// Returns the path of the only row that a list did not have before.
    fn find_created(&self, list: &ApiPath, id_key: &str, known: &[String]) -> Option<ApiPath> {
        let ids = read_ids(&self.reader, list, id_key)?;
        let mut new = ids.into_iter().filter(|id| !known.contains(id));
        let (id, None) = (new.next()?, new.next()) else { return None };
        let mut segments: Vec<String> = list.segments().map(|segment| segment.into_owned()).collect();
        segments.push(id);
        ApiPath::from_segments(&segments).ok()
    }

    /// Describes the guests that a call started, stopped or moved, as each of them says.
    fn describe_guests(&self, guests: &[PathGuest]) -> Option<String> {
        let shown = &guests[..guests.len().min(MAX_GUESTS)];
        let lines = fan_out(shown, MAX_CONCURRENT_READS, |guest| {
            let state = self.describe_guest(guest, Some(&guest.node));
            state.unwrap_or_else(|| format!("the state of guest {} is not known", guest.vmid))
        });
        let more = guests.len() - shown.len();
        let more = if more > 0 { format!("\nand {} more", count(more, "guest")) } else { String::new() };
        (!lines.is_empty()).then(|| lines.join("\n") + &more)
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

    /// Describes the backups that a storage did not have before, and names the guests without one.
    fn describe_backups(&self, node: &str, storage: &str, vmids: &[String], known: &[String]) -> Option<String> {
        let rows = read_backups(&self.reader, node, storage, vmids)?;
        let is_new = |row: &&Map<String, Value>| {
            let is_of_task = row.get("ctime").and_then(read_count).zip(self.changed.begun_at);
            !known.iter().any(|volid| volid == text_of(row, "volid"))
                || is_of_task.is_some_and(|(created, begun)| created >= begun)
        };
        let new: Vec<&Map<String, Value>> = rows.iter().filter(is_new).collect();
        let has_none = |vmid: &&String| !new.iter().any(|row| row.get("vmid").map(to_text).as_ref() == Some(*vmid));
        let missing = vmids.iter().filter(has_none).map(|vmid| {
            let guest = self.cluster.look_up_guests().ok().and_then(|all| guests::find_guest(all, vmid).ok());
            let elsewhere = guest.map(|guest| guest.node.as_str()).filter(|other| !other.is_empty() && *other != node);
            changed_object::describe_missing_backup(vmid, storage, node, elsewhere)
        });
        let offset = self.cluster.find_utc_offset(&ApiPath::from_segments(&["nodes", node, "time"]).ok()?);
        let lines = new.iter().take(MAX_GUESTS).map(|row| changed_object::describe_backup(row, offset));
        let lines: Vec<String> = lines.chain(missing).collect();
        let more = new.len().saturating_sub(MAX_GUESTS);
        Some(match (lines.as_slice(), more) {
            ([], _) => format!("no new backup is on {}", quote_word(storage)),
            (lines, 0) => lines.join("\n"),
            (lines, more) => format!("{}\nand {} more", lines.join("\n"), count(more, "backup")),
        })
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
    fn find_missing_effect(&self, rule: Option<&Map<String, Value>>, created: Option<&ApiPath>) -> Vec<String> {
        let mut reasons = Vec::new();
        match &self.changed.subject {
            ChangedSubject::GuestOptions(guest) => {
                self.check_network_cards(guest, &mut reasons);
                self.check_cloud_init(guest, &mut reasons);
            }
            ChangedSubject::NewRow { .. } => {
                if let Some(path) = created {
                    self.check_job(path, &mut reasons);
                }
            }
            ChangedSubject::Guest { guest, .. } => self.check_network_cards(guest, &mut reasons),
            ChangedSubject::Options(path) | ChangedSubject::Creation(path) => {
                self.check_job(path, &mut reasons);
                reasons.extend(self.check_firewall(path));
                self.check_token(path, &mut reasons);
            }
            ChangedSubject::FirewallRule(list) => {
                let is_off = rule.is_some_and(|rule| !rule.get("enable").is_some_and(is_true));
                if is_off && self.changed.param("enable").is_none() {
                    reasons.push(OFF_BY_DEFAULT.to_owned());
                }
                reasons.extend(self.check_firewall(list));
            }
            _ => {}
        }
        reasons
    }

    /// Returns the reasons for which a change of firewall rules or options has no effect.
    fn check_firewall(&self, path: &ApiPath) -> Vec<String> {
        let read = |path: &ApiPath| self.reader.read_value(path.clone()).ok();
        FirewallLevels::new(&read).find_missing_effect(path, &self.changed.params)
    }

    /// Checks the network cards that a call changed: the firewall that they ask for, and their VLAN.
    fn check_network_cards(&self, guest: &PathGuest, reasons: &mut Vec<String>) {
        let cards: Vec<(&str, &str)> = self.changed.params.iter().filter(|(name, _)| is_network_card(name)).collect();
        self.compare_cards(guest, reasons);
        let under: Vec<&str> =
            cards.iter().filter(|(_, card)| is_under_firewall(card)).map(|(name, _)| *name).collect();
        if !under.is_empty() {
            let before = reasons.len();
            let read = |path: &ApiPath| self.reader.read_value(path.clone()).ok();
            reasons.extend(FirewallLevels::new(&read).check_data_center());
            let is_begun = |name: &&str| {
                let old = self.changed.cards_before.iter().find(|(known, _)| known == name);
                old.is_some_and(|(_, old)| !is_under_firewall(old))
            };
            let begun: Vec<&str> = under.into_iter().filter(is_begun).collect();
            if reasons.len() == before && !begun.is_empty() {
                self.push_begun_firewall(guest, &begun, reasons);
            }
        }
        for (name, card) in cards {
            let (Some(tag), Some(bridge)) = (find_part(card, "tag"), find_part(card, "bridge")) else { continue };
            let Some(interface) = self.find_interface(&guest.node, bridge) else { continue };
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

    /// Adds that the firewall of the guest acts on cards that it did not act on before, or that it is off.
    fn push_begun_firewall(&self, guest: &PathGuest, cards: &[&str], reasons: &mut Vec<String>) {
        let path = guest.path(&["firewall", "options"]);
        let Ok(options) = self.reader.read_value::<Map<String, Value>>(path.clone()) else { return };
        if !options.get("enable").is_some_and(is_true) {
            return reasons.push(format!("no effect yet: the firewall is off (PUT {path} with enable=1 turns it on)"));
        }
        // A card that waits for the next start of the guest is as it was.
        let pending = self.reader.read_value::<Vec<Value>>(guest.path(&["pending"])).unwrap_or_default();
        let waits = |name: &&str| {
            let mut rows = pending.iter().filter(|row| row.get("key").is_some_and(|key| key == name));
            rows.any(|row| row.get("pending").is_some())
        };
        let rules = self.reader.read_value::<Vec<Map<String, Value>>>(guest.path(&["firewall", "rules"]));
        let (Ok(rules), false) = (rules, cards.iter().any(waits)) else { return };
        let active = rules.iter().filter(|rule| rule.get("enable").is_some_and(is_true)).count();
        let policy = options.get("policy_in").map_or("DROP".to_owned(), to_text);
        reasons.push(format!(
            "in force: the firewall of the guest acts on {} (policy_in {}, {} on)",
            cards.join(", "),
            quote_word(&policy),
            count(active, "rule")
        ));
    }

    /// Adds what a changed card has lost: its MAC address, or the firewall.
    fn compare_cards(&self, guest: &PathGuest, reasons: &mut Vec<String>) {
        if self.changed.cards_before.is_empty() {
            return;
        }
        let config: Option<Map<String, Value>> = self.reader.read_value(guest.path(&["config"])).ok();
        for (name, before) in &self.changed.cards_before {
            let Some(now) = config.as_ref().and_then(|config| config.get(name)).and_then(Value::as_str) else {
                continue;
            };
            if let (Some(old), Some(new)) = (find_mac(before), find_mac(now))
                && !old.eq_ignore_ascii_case(new)
            {
                reasons.push(format!("{name} has another MAC address than before ({})", quote_word(old)));
            }
            if is_under_firewall(before) && !is_under_firewall(now) {
                reasons.push(format!("{name} has no firewall=1 any more: the firewall does not act on it"));
            }
        }
    }

    /// Adds a reason if a VM has options of cloud-init, and no drive for them.
    fn check_cloud_init(&self, guest: &PathGuest, reasons: &mut Vec<String>) {
        const OPTIONS: [&str; 9] = [
            "cicustom",
            "cipassword",
            "citype",
            "ciupgrade",
            "ciuser",
            "ipconfig",
            "nameserver",
            "searchdomain",
            "sshkeys",
        ];
        let stem = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let sets = self.changed.set.iter().any(|name| OPTIONS.contains(&stem(name).as_str()));
        if guest.kind != guests::GuestKind::Qemu || !sets {
            return;
        }
        let Ok(config) = self.reader.read_value::<Map<String, Value>>(guest.path(&["config"])) else { return };
        let has_drive = config.iter().any(|(name, value)| has_disk_name(name) && to_text(value).contains("cloudinit"));
        if !has_drive {
            reasons.push("no effect: the VM has no cloud-init drive (ide2=STORAGE:cloudinit adds one)".into());
        }
    }

    /// Adds a reason if a new API token has no privileges.
    fn check_token(&self, path: &ApiPath, reasons: &mut Vec<String>) {
        let segments: Vec<_> = path.segments().collect();
        let [access, users, user, token, name] = segments.as_slice() else { return };
        let has_own = self.changed.param("privsep").is_none_or(|on| on == "1");
        if [&**access, &**users, &**token] != ["access", "users", "token"] || !self.changed.is_creation || !has_own {
            return;
        }
        let id = format!("{user}!{name}");
        let Ok(rows) = self.reader.read_value::<Vec<Value>>(ApiPath::from_static("/access/acl")) else { return };
        if !rows.iter().any(|row| row.get("ugid").is_some_and(|ugid| *ugid == id)) {
            reasons.push(format!(
                "no effect yet: the token may do nothing until PUT /access/acl with tokens={} grants it a role",
                quote_word(&id)
            ));
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
}

fn place(guest: &PathGuest) -> GuestPlace<'_> {
    GuestPlace { kind: guest.kind, vmid: &guest.vmid, node: &guest.node }
}
