//! The object of a call as it is now, looked up for its question and its dry run. The look-ups are few and bounded in
//! time. What they can't find out is told as not known.

use super::affected::AffectedScope;
use super::earlier_calls::{EarlierCalls, Existence};
use super::fan_out::fan_out;
use super::handle::ClusterHandle;
use super::operation::find_embedded_operation;
use super::planned_call::{CallPurpose, PlannedCall};
use crate::base::list_text::list_items;
use crate::policy::{for_each_vmid_in_list, is_in_pool};
use crate::pve::Method;
use crate::pve::backups::BackupJob;
use crate::pve::client::cluster::ApiResponse;
use crate::pve::error::PveError;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::knowledge::effects::{Fact, OperationEffect, find_effect};
use crate::pve::knowledge::messages::Meaning;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::{ApiRow, is_true};
use crate::render::object_state::{
    AffectedGuest, AffectedText, GuestBackups, GuestJobs, GuestState, Looked, MAX_ITEMS, NotKnown, ObjectState,
    StorageUse, describe_listed, find_time, has_disk_name, has_time, is_pruned, label_listed, quote_word, text_of,
    to_text,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// The time that all look-ups of one question have. A user waits for it.
pub(super) const STATE_TIME_LIMIT: Duration = Duration::from_secs(5);
/// The time of it that the count of a guest's backups has.
const BACKUP_TIME_LIMIT: Duration = Duration::from_secs(2);
/// The least time for a look-up. A shorter one would only make the node look slow.
const MIN_TIME: Duration = Duration::from_millis(500);

/// The most guests whose drives are read for one ISO image or storage.
const MAX_DRIVE_READS: usize = 64;

/// The most states of guests that are read at once.
const MAX_CONCURRENT_READS: usize = 4;

/// The look-ups of one question.
struct StateReader<'p, 'a> {
    planned: &'p PlannedCall<'a>,
    objects: ObjectReader<'p>,
    earlier: EarlierCalls<'p, 'a>,
}

/// The object of a call, and what of it the cluster says does not exist.
pub(super) struct PresentState<'a> {
    pub(super) state: ObjectState<'a>,
    pub(super) absent: Option<AbsentPart>,
}

/// A part of a call's object that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AbsentPart {
    /// The guest of the path.
    Guest,
    /// The object at the path.
    Object,
}

/// Look-ups of objects until a deadline.
pub(super) struct ObjectReader<'h> {
    cluster: &'h ClusterHandle<'h>,
    deadline: Instant,
}

/// A guest in the path of a call.
#[derive(Clone, Debug)]
pub(super) struct PathGuest {
    pub(super) kind: GuestKind,
    pub(super) node: String,
    pub(super) vmid: String,
}

impl<'a> PlannedCall<'a> {
    /// Returns the facts that describe the object of the call.
    pub(super) fn facts(&self) -> Vec<Fact> {
        match self.effect() {
            Some(effect) if !effect.facts.is_empty() => effect.facts.to_vec(),
            _ if self.is_object_readable() => vec![Fact::Object],
            _ => Vec::new(),
        }
    }

    /// Returns the effect of the call in words, where the program knows it.
    pub(super) fn effect(&self) -> Option<&'static OperationEffect> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known)?;
        find_effect(self.method, template, &self.params)
    }

    /// Returns whether a plain read of the same path returns the object that the call changes or deletes.
    pub(super) fn is_object_readable(&self) -> bool {
        // (PVE: some reads of an object have no type of their result.)
        let is_object = |kind: &str| matches!(kind, "object" | "null");
        matches!(self.method, Method::Put | Method::Delete)
            && self.operation.is_known
            && find_embedded_operation(Method::Get, &self.path)
                .is_some_and(|read| read.risk().is_read_only() && is_object(read.return_type()))
    }

    /// Looks up the object of a change, as the earlier calls of its list leave it. A read has none.
    pub(super) fn look_up_state(&self, deadline: Instant, earlier: EarlierCalls<'_, 'a>) -> PresentState<'a> {
        let objects = ObjectReader::until(self.cluster, deadline);
        let reader = StateReader { planned: self, objects, earlier };
        let path_guest = self.path_guest();
        let unread = |guest: PathGuest, made_by| GuestState {
            kind: guest.kind,
            vmid: guest.vmid,
            node: guest.node,
            status: None,
            listed: None,
            made_by,
        };
        if self.risk.is_read_only() {
            let guest = path_guest.map(|guest| unread(guest, None));
            return PresentState { state: ObjectState { guest, ..ObjectState::default() }, absent: None };
        }
        // The owners of the backups that go are the affected guests.
        let (named_guest, affected) = match self.facts().contains(&Fact::PrunedBackups) {
            true => (None, AffectedText::None),
            false => reader.look_up_affected(path_guest.as_ref()),
        };
        let is_path_guest = path_guest.is_some();
        let (mut absent, mut made_by) = (None, None);
        let guest = path_guest.or(named_guest).map(|guest| {
            let forecast = guest.vmid.parse().map(|vmid| earlier.forecast_guest(vmid).existence);
            if let Some(number) = forecast.ok().and_then(Existence::maker) {
                made_by = Some(number);
                return unread(guest, made_by);
            }
            let guest = reader.look_up_guest(guest);
            let is_absent = matches!(&guest.status, Some(Err(reason)) if reason.is_absent);
            absent = (is_absent && is_path_guest).then_some(AbsentPart::Guest);
            guest
        });
        let mut state = ObjectState { guest, affected, made_by, ..ObjectState::default() };
        // Of an object that an earlier call makes, nothing is known yet.
        if state.made_by.is_some() || absent.is_some() {
            return PresentState { state, absent };
        }
        if self.facts().contains(&Fact::Snapshot) {
            state.utc_offset = self.cluster.find_utc_offset(&self.path);
        }
        let of_object = earlier.forecast_object_of(self);
        for fact in self.facts() {
            match fact {
                Fact::Disks | Fact::OptionNamedBy(_) => state.options = Some(reader.read_config()),
                Fact::Object if let Some(number) = of_object.maker() => state.made_by = Some(number),
                Fact::Object if of_object == Existence::Open && self.is_positional() => {}
                Fact::Object => match reader.objects.read_object(&self.path) {
                    Ok(options) => state.options = Some(Ok(reader.forecast_options(&self.path, options))),
                    Err(reason) if reason.is_absent && of_object == Existence::Open => {}
                    Err(reason) => {
                        absent = reason.is_absent.then_some(AbsentPart::Object);
                        state.options = Some(Err(reason));
                    }
                },
                Fact::Snapshots => state.snapshots = Some(reader.read_below_guest("snapshot")),
                Fact::Snapshot => match reader.forecast_snapshot().maker() {
                    Some(number) => state.made_by = Some(number),
                    None => state.snapshots = Some(reader.read_below_guest("snapshot")),
                },
                Fact::RestoredOptions => {
                    state.restored = reader.read_restored_options();
                    state.pending = reader.read_below_guest("pending").unwrap_or_default();
                }
                Fact::VolumeUse => {
                    state.volume_use = state.guest.as_ref().and_then(|guest| reader.find_volume_use(guest));
                    state.drives = if state.guest.is_none() { reader.find_drives_of_image() } else { Vec::new() };
                }
                Fact::LocalDisks => state.local_disks = reader.find_local_disks().unwrap_or_default(),
                Fact::JobGuests => state.job_guests = reader.find_job_guests(state.options.as_ref()),
                Fact::StorageUse => {
                    let concerns_guests = self.affected.scope() == &AffectedScope::Cluster && !reader.is_object_made();
                    state.storage_use = concerns_guests.then(|| reader.find_storage_use()).flatten();
                }
                Fact::Pools => state.left_pools = reader.find_left_pools(),
                Fact::Placement => {
                    let is_other = state.guest.as_ref().is_some_and(|guest| guest.is_read() && !guest.is_in_ha());
                    state.placement = if is_other { Vec::new() } else { self.describe_placement(&reader.objects) };
                }
                // They are among the options of the object.
                Fact::AddressFamilies => {}
                Fact::JobStorage => state.job_storage = self.describe_job_storage(&reader.objects),
                Fact::Jobs => state.guest_jobs = Some(reader.find_guest_jobs()),
                Fact::Backups => state.guest_backups = reader.count_backups(),
                Fact::BackupsBeyondLimit => {
                    let rows = reader.objects.forecast_pruned_backups(self);
                    state.pruned_owners = rows.as_deref().map(|rows| reader.count_owners(rows)).unwrap_or_default();
                    state.backups = rows.filter(|rows| rows.iter().any(is_pruned)).map(Ok);
                }
                Fact::PrunedBackups => {
                    let rows: Looked<Vec<Value>> = reader.objects.read(self.path.clone(), self.params.clone());
                    match &rows {
                        Ok(rows) => state.pruned_owners = reader.count_owners(rows),
                        Err(_) => state.affected = reader.look_up_affected(None).1,
                    }
                    state.backups = Some(rows);
                }
                Fact::PendingNetwork => {
                    state.network_changes = Some(reader.read_network_changes());
                    state.changed_by = earlier.changers_of(&self.path);
                }
            }
        }
        let has_old_time = state.options.as_ref().and_then(|options| options.as_ref().ok()).is_some_and(has_time);
        if has_old_time || self.params.iter().any(|(name, value)| find_time(name, &value.into()).is_some()) {
            state.utc_offset = self.cluster.find_utc_offset(&self.path);
        }
        PresentState { state, absent }
    }

    /// Returns whether the change waits until another call applies it, and concerns no guest until then.
    fn waits_to_be_applied(&self) -> bool {
        let Some(template) = self.operation.template.as_deref().filter(|_| self.operation.is_known) else {
            return false;
        };
        match template.strip_prefix("/cluster/sdn/") {
            Some(rest) => {
                let is_object = ["zones", "vnets", "controllers", "dns", "ipams", "fabrics"];
                is_object.iter().any(|name| rest.starts_with(name))
                    && !rest.contains("/firewall")
                    && !rest.contains("/ips")
            }
            None => {
                template == "/nodes/{node}/network/{iface}"
                    || (template == "/nodes/{node}/network" && self.method == Method::Post)
            }
        }
    }

    /// Returns the power state of the guests that an operation on all guests of a node or cluster concerns.
    fn needed_power(&self) -> Option<&'static str> {
        if self.affected.scope() == &AffectedScope::NamedOnly {
            return None;
        }
        match self.operation.template.as_deref().filter(|_| self.operation.is_known)? {
            "/nodes/{node}/stopall"
            | "/nodes/{node}/suspendall"
            | "/cluster/bulk-action/guest/shutdown"
            | "/cluster/bulk-action/guest/suspend" => Some("running"),
            "/nodes/{node}/startall" | "/cluster/bulk-action/guest/start" => Some("stopped"),
            // Guests that are off have no connection, and no power to lose.
            "/nodes/{node}/network" | "/cluster/sdn" if self.method == Method::Put => Some("running"),
            "/nodes/{node}/status" => Some("running"),
            _ => None,
        }
    }

    /// Returns the node of an operation on many guests of one node. Guests of other nodes that it names stay as they are.
    fn bulk_node(&self) -> Option<&str> {
        const OPERATIONS: [&str; 5] = ["startall", "stopall", "suspendall", "migrateall", "vzdump"];
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known)?;
        if template == "/cluster/backup" {
            return self.param("node").filter(|node| !node.is_empty());
        }
        OPERATIONS.contains(&template.strip_prefix("/nodes/{node}/")?).then_some(())?;
        self.operation.path_value("node")
    }

    /// Returns whether a backup or a new backup job leaves this guest out. (PVE: `exclude` selects all other guests.)
    pub(super) fn excludes_from_backup(&self, vmid: u32) -> bool {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known);
        let is_backup = matches!(template, Some("/nodes/{node}/vzdump" | "/cluster/backup"));
        let mut is_excluded = false;
        if is_backup && self.method == Method::Post {
            let excluded = self.param("exclude").unwrap_or_default();
            for_each_vmid_in_list(excluded, &mut |number| is_excluded |= number == vmid);
        }
        is_excluded
    }

    pub(super) fn path_guest(&self) -> Option<PathGuest> {
        let segments: Vec<_> = self.path.segments().collect();
        let [nodes, node, kind, vmid, ..] = segments.as_slice() else { return None };
        let kind = match kind.as_ref() {
            "qemu" => GuestKind::Qemu,
            "lxc" => GuestKind::Lxc,
            _ => return None,
        };
        let is_guest = nodes == "nodes" && !vmid.is_empty() && vmid.bytes().all(|b| b.is_ascii_digit());
        is_guest.then(|| PathGuest { kind, node: node.to_string(), vmid: vmid.to_string() })
    }
}

impl<'a> StateReader<'_, 'a> {
    fn cluster(&self) -> &'a ClusterHandle<'a> {
        self.planned.cluster
    }

    /// Looks up the guests that the call affects beside that of its path. A single one is returned as a guest, so that
    /// its state is read too.
    fn look_up_affected(&self, path_guest: Option<&PathGuest>) -> (Option<PathGuest>, AffectedText<'a>) {
        let affected = &self.planned.affected;
        if self.planned.waits_to_be_applied() {
            return (None, AffectedText::None);
        }
        let is_made = |vmid: u32| self.earlier.forecast_guest(vmid).existence.maker().is_some();
        let is_other = |vmid: &u32| path_guest.is_none_or(|guest| guest.vmid != vmid.to_string()) && !is_made(*vmid);
        let is_other = |vmid: &u32| is_other(vmid) && !self.planned.excludes_from_backup(*vmid);
        let has_others = affected.named_vmids().iter().any(|vmid| is_other(vmid) && !affected.creates(*vmid));
        // A new pool has no guests, and the other members of a pool stay as they are.
        let is_new_pool = self.planned.method == Method::Post && self.planned.path.as_str() == "/pools";
        let scope = match affected.scope() {
            _ if is_new_pool || self.planned.changed_pool().is_some() => &AffectedScope::NamedOnly,
            scope => scope,
        };
        let heading = match scope {
            AffectedScope::NamedOnly if !has_others => return (None, AffectedText::None),
            // No guest uses an object that an earlier call makes.
            AffectedScope::Cluster if self.planned.facts().contains(&Fact::StorageUse) => {
                return (None, AffectedText::None);
            }
            AffectedScope::Cluster if !has_others && self.is_object_made() => return (None, AffectedText::None),
            AffectedScope::NamedOnly => "It concerns these guests",
            AffectedScope::Node(_) => "The guests of the node",
            AffectedScope::Pool(_) => "The guests of the pool",
            AffectedScope::Cluster if self.planned.bulk_node().is_some() => "The guests of the node",
            AffectedScope::Cluster => "It may affect any of these guests",
        };
        let listed = match &self.planned.guests {
            Some(view) => view.guests.clone(),
            None => self.cluster().look_up_guests(),
        };
        let listed_guests: &[Guest] = match listed {
            Ok(guests) => guests,
            Err(error) => return (None, AffectedText::Unknown(NotKnown::new(error.to_string()))),
        };
        let is_reached = |guest: &&Guest| match scope {
            AffectedScope::NamedOnly => affected.names(guest.vmid),
            AffectedScope::Pool(pool) => {
                affected.names(guest.vmid) || is_in_pool(self.earlier.forecast_pool(guest), pool)
            }
            AffectedScope::Node(_) | AffectedScope::Cluster => {
                affected.select_from(std::slice::from_ref(guest)).next().is_some()
            }
        };
        let mut guests: Vec<&Guest> =
            listed_guests.iter().filter(is_reached).filter(|guest| is_other(&guest.vmid)).collect();
        let named = guests.len();
        if let Some(node) = self.planned.bulk_node() {
            // One whose node is not known may be there.
            guests.retain(|guest| guest.node == node || guest.node.is_empty());
        }
        let elsewhere = named - guests.len();
        let is_unlisted = |vmid: &u32| {
            is_other(vmid) && !affected.creates(*vmid) && listed_guests.iter().all(|guest| guest.vmid != *vmid)
        };
        let unlisted: Vec<u32> = affected.named_vmids().iter().copied().filter(is_unlisted).collect();
        match guests.as_slice() {
            [only]
                if path_guest.is_none()
                    && unlisted.is_empty()
                    && elsewhere == 0
                    && scope == &AffectedScope::NamedOnly
                    && !only.node.is_empty() =>
            {
                let guest = PathGuest { kind: only.kind, node: only.node.clone(), vmid: only.vmid.to_string() };
                (Some(guest), AffectedText::None)
            }
            _ => {
                let total = guests.len();
                let needed = self.planned.needed_power();
                if let Some(needed) = needed {
                    guests.retain(|guest| !guest.template);
                    // The states of those that the list has in this state are read.
                    guests.sort_by_key(|guest| guest.status != needed);
                }
                let mut guests = self.look_up_states(&guests);
                if let Some(needed) = needed {
                    guests.retain(|guest| guest.power() == needed || !matches!(guest.power(), "running" | "stopped"));
                    let read = guests.len().min(MAX_ITEMS);
                    guests[..read].sort_by_key(|guest| guest.listed.vmid);
                }
                let unchanged = total + elsewhere - guests.len();
                (None, AffectedText::Guests { heading, guests, unlisted, unchanged })
            }
        }
    }

    /// Returns the guests that the call takes out of their pools to put them into another one.
    fn find_left_pools(&self) -> Vec<(&'a Guest, String)> {
        let Some(pool) = self.planned.changed_pool().filter(|_| self.planned.moves_between_pools()) else {
            return Vec::new();
        };
        let guests = self.cluster().look_up_guests().unwrap_or_default().iter();
        let named = guests.filter(|guest| self.planned.affected.names(guest.vmid));
        let pools = named.map(|guest| (guest, self.earlier.forecast_pool(guest).to_owned()));
        pools.filter(|(_, left)| !left.is_empty() && left != pool).collect()
    }

    /// Returns whether an earlier call makes the object of the call, or its storage.
    fn is_object_made(&self) -> bool {
        let storage = self.planned.operation.path_value("storage");
        let storage = storage.and_then(|storage| ApiPath::from_segments(&["storage", storage]).ok());
        let is_made = |existence: Existence| existence.maker().is_some();
        is_made(self.earlier.forecast_object_of(self.planned))
            || storage.is_some_and(|storage| is_made(self.earlier.forecast_object(&storage)))
    }

    /// Reads the state of several guests from the guests themselves, up to the number that is shown.
    fn look_up_states(&self, guests: &[&'a Guest]) -> Vec<AffectedGuest<'a>> {
        let shown = &guests[..guests.len().min(MAX_ITEMS)];
        let states = fan_out(shown, MAX_CONCURRENT_READS, |guest| {
            let path = ["nodes", &guest.node, guest.kind.as_str(), &guest.vmid.to_string(), "status", "current"];
            let path = ApiPath::from_segments(&path).map_err(|error| NotKnown::new(error.to_string()))?;
            self.objects.read_value(path)
        });
        let states = states.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        guests.iter().zip(states).map(|(listed, status)| AffectedGuest { listed, status }).collect()
    }

    /// Reads the state of a guest from the guest itself, since the list of guests lags.
    fn look_up_guest(&self, guest: PathGuest) -> GuestState<'a> {
        let status = self.objects.read_value(guest.path(&["status", "current"]));
        // The list says less, and late: it is read only where the guest says nothing.
        let is_needed = matches!(&status, Err(reason) if !reason.is_absent) && self.objects.has_time();
        let listed = match is_needed {
            true => self.cluster().look_up_guests().ok(),
            false => self.cluster().guests.get().and_then(|guests| guests.as_deref().ok()),
        };
        let listed = listed.and_then(|guests| guests.iter().find(|row| row.vmid.to_string() == guest.vmid));
        GuestState { kind: guest.kind, vmid: guest.vmid, node: guest.node, status: Some(status), listed, made_by: None }
    }

    fn read_below_guest<T: DeserializeOwned>(&self, part: &str) -> Looked<T> {
        self.objects.read_before(self.below_guest(part))
    }

    fn below_guest(&self, part: &str) -> ApiPath {
        self.planned.path_guest().expect("only operations on a guest have facts about one").path(&[part])
    }

    /// Reads the configuration of the guest, as the earlier calls leave it.
    fn read_config(&self) -> Looked<Map<String, Value>> {
        let path = self.below_guest("config");
        Ok(self.forecast_options(&path, self.objects.read_before(path.clone())?))
    }

    fn forecast_options(&self, path: &ApiPath, mut options: Map<String, Value>) -> Map<String, Value> {
        self.earlier.apply_to_options(path, &mut options);
        options
    }

    /// Returns the existence of the snapshot of the path after the earlier calls.
    fn forecast_snapshot(&self) -> Existence {
        let name = self.planned.operation.path_value("snapname").unwrap_or_default();
        let guest = self.planned.path_guest().expect("only operations on a guest have facts about one");
        self.earlier.forecast_object(&guest.path(&["snapshot", name]))
    }

    /// Reads the configuration of the guest, and that of the snapshot of the path.
    fn read_restored_options(&self) -> Option<[Map<String, Value>; 2]> {
        let snapshot = self.planned.operation.path_value("snapname")?;
        let now = self.read_below_guest::<Map<String, Value>>("config").ok()?;
        let guest = self.planned.path_guest()?;
        let path = guest.try_path(&["snapshot", snapshot, "config"]).ok()?;
        Some([now, self.objects.read_value(path).ok()?])
    }

    /// Returns the option of a guest that names the volume of the path.
    fn find_volume_use(&self, guest: &GuestState<'_>) -> Option<String> {
        let volume = self.planned.operation.path_value("volume")?;
        let guest = PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: guest.vmid.clone() };
        let config: Map<String, Value> = self.objects.read_value(guest.try_path(&["config"]).ok()?).ok()?;
        let names_volume = |value: &Value| value.as_str().and_then(|value| value.split(',').next()) == Some(volume);
        config.into_iter().find(|(_, value)| names_volume(value)).map(|(name, _)| name)
    }

    /// Counts the backups of the guest of the path, in a part of the time, since a storage may hang.
    fn count_backups(&self) -> Option<GuestBackups> {
        let deadline = self.objects.deadline.min(Instant::now() + BACKUP_TIME_LIMIT);
        ObjectReader::until(self.cluster(), deadline).count_backups(&self.planned.path_guest()?)
    }

    /// Returns the drives of guests that have the ISO image of the path, as far as the first guests can be read.
    fn find_drives_of_image(&self) -> Vec<String> {
        let volume = self.planned.operation.path_value("volume");
        let Some(volume) = volume.filter(|volume| volume.contains(":iso/")) else { return Vec::new() };
        let guests = self.cluster().look_up_guests().unwrap_or_default();
        let is_vm = |guest: &&Guest| guest.kind == GuestKind::Qemu && !guest.node.is_empty();
        let guests: Vec<&Guest> = guests.iter().filter(is_vm).take(MAX_DRIVE_READS).collect();
        let found = fan_out(&guests, MAX_CONCURRENT_READS, |guest| {
            let config = self.read_config_of(guest);
            let has_image = |value: &Value| value.as_str().and_then(|value| value.split(',').next()) == Some(volume);
            let names = config.unwrap_or_default().into_iter().filter(|(_, value)| has_image(value));
            names.map(|(name, _)| format!("{} of {}", quote_word(&name), describe_listed(guest))).collect::<Vec<_>>()
        });
        found.into_iter().flatten().collect()
    }

    /// Returns the local disks of a VM whose live migration does not move them. (PVE: it ends with an error then.)
    fn find_local_disks(&self) -> Option<Vec<String>> {
        let guest = self.planned.path_guest().filter(|guest| guest.kind == GuestKind::Qemu)?;
        let is_on = |wanted: &str| self.planned.params.iter().any(|(name, value)| name == wanted && value == "1");
        if !is_on("online") || is_on("with-local-disks") {
            return None;
        }
        let conditions: Map<String, Value> = self.objects.read_value(guest.path(&["migrate"])).ok()?;
        let is_set = |disk: &Value, name: &str| disk.get(name).is_some_and(is_true);
        let disks = conditions.get("local_disks")?.as_array()?.iter();
        let disks = disks.filter(|disk| !is_set(disk, "cdrom") && !is_set(disk, "is_unused"));
        conditions.get("running").is_some_and(is_true).then_some(())?;
        Some(disks.filter_map(|disk| Some(disk.get("volid")?.as_str()?.to_owned())).collect())
    }

    fn read_config_of(&self, guest: &Guest) -> Looked<Map<String, Value>> {
        let place = PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: guest.vmid.to_string() };
        self.objects.read_value(place.try_path(&["config"])?)
    }

    /// Returns the guests with drives on the storage of the path, as far as the first guests can be read, and the backup
    /// jobs to it.
    fn find_storage_use(&self) -> Option<StorageUse> {
        let storage = self.planned.operation.path_value("storage")?;
        let listed = self.cluster().look_up_guests().ok();
        let guests: Vec<&Guest> = listed.unwrap_or_default().iter().take(MAX_DRIVE_READS).collect();
        let configs = fan_out(&guests, MAX_CONCURRENT_READS, |guest| self.read_config_of(guest));
        let is_complete =
            listed.is_some_and(|listed| listed.len() == guests.len()) && configs.iter().all(|config| config.is_ok());
        let is_there = |name: &str, value: &Value| {
            let volume = value.as_str().and_then(|value| value.split(',').next()).unwrap_or_default();
            let volume = volume.trim_start_matches("file=").trim_start_matches("volume=");
            (has_disk_name(name) || name == "vmstate")
                && volume.split_once(':').is_some_and(|(place, _)| place == storage)
        };
        let used = guests.iter().zip(&configs).filter_map(|(guest, config)| {
            let drives = config.as_ref().ok()?.iter().filter(|(name, value)| is_there(name, value));
            let drives: Vec<String> = drives.map(|(name, _)| quote_word(name)).collect();
            (!drives.is_empty()).then(|| format!("{} ({})", label_listed(guest), drives.join(", ")))
        });
        let jobs: Vec<Map<String, Value>> =
            self.objects.read_value(ApiPath::from_static("/cluster/backup")).unwrap_or_default();
        let jobs = jobs.iter().filter(|job| text_of(job, "storage") == storage);
        let jobs = jobs.map(|job| quote_word(text_of(job, "id"))).collect();
        Some(StorageUse { guests: used.collect(), is_complete, jobs })
    }

    /// Returns the guests that a backup job with these options backs up.
    fn find_job_guests(&self, options: Option<&Looked<Map<String, Value>>>) -> Option<Vec<String>> {
        let options = Value::Object(options?.as_ref().ok()?.clone());
        let job = BackupJob::from_row(&ApiRow::parse(&options.to_string())?)?;
        let guests = self.cluster().look_up_guests().ok()?;
        Some(guests.iter().filter(|guest| job.selects(guest)).map(label_listed).collect())
    }

    /// Counts the backups that are to be removed by their guests, in words.
    fn count_owners(&self, rows: &[Value]) -> Vec<(String, usize)> {
        let guests = self.cluster().look_up_guests().unwrap_or_default();
        let mut owners: Vec<(String, usize)> = Vec::new();
        for row in rows.iter().filter(|row| is_pruned(row)) {
            let vmid = row.get("vmid").map(to_text).unwrap_or_default();
            let label = match guests.iter().find(|guest| guest.vmid.to_string() == vmid) {
                Some(guest) => label_listed(guest),
                None if vmid.is_empty() => "an unknown guest".to_owned(),
                None => format!("the unlisted guest {}", quote_word(&vmid)),
            };
            match owners.iter_mut().find(|(known, _)| *known == label) {
                Some((_, number)) => *number += 1,
                None => owners.push((label, 1)),
            }
        }
        owners
    }

    /// Returns the backup jobs that list the guest of the path, and its replication jobs.
    fn find_guest_jobs(&self) -> Looked<GuestJobs> {
        let vmid = self.planned.path_guest().map(|guest| guest.vmid).unwrap_or_default();
        let backups: Vec<Map<String, Value>> = self.objects.read_value(ApiPath::from_static("/cluster/backup"))?;
        let copies: Vec<Map<String, Value>> = self.objects.read_value(ApiPath::from_static("/cluster/replication"))?;
        let lists_guest = |job: &&Map<String, Value>| {
            job.get("vmid").is_some_and(|list| list_items(&to_text(list)).any(|listed| listed == vmid))
        };
        let is_own = |job: &&Map<String, Value>| job.get("guest").is_some_and(|guest| to_text(guest) == vmid);
        let id = |job: &Map<String, Value>| quote_word(text_of(job, "id"));
        Ok(GuestJobs {
            backups: backups.iter().filter(lists_guest).map(id).collect(),
            replications: copies.iter().filter(is_own).map(id).collect(),
        })
    }

    fn read_network_changes(&self) -> Looked<String> {
        let response = self.objects.send(self.planned.path.clone(), ApiParams::new())?;
        // (PVE: the changes are beside `data`.)
        let body: Map<String, Value> = parse(response.payload()).unwrap_or_default();
        Ok(body.get("changes").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

impl<'h> ObjectReader<'h> {
    /// Begins look-ups that have a few seconds together.
    pub(super) fn new(cluster: &'h ClusterHandle<'h>) -> Self {
        Self { cluster, deadline: Instant::now() + STATE_TIME_LIMIT }
    }

    /// Begins look-ups that share the time of others.
    pub(super) fn until(cluster: &'h ClusterHandle<'h>, deadline: Instant) -> Self {
        Self { cluster, deadline }
    }

    pub(super) fn read_value<T: DeserializeOwned>(&self, path: ApiPath) -> Looked<T> {
        self.read(path, ApiParams::new())
    }

    /// Reads an object as it is before the call is sent. The plan has read the config of the guest of its path.
    pub(super) fn read_before<T: DeserializeOwned>(&self, path: ApiPath) -> Looked<T> {
        match self.cluster.guest_config.get().filter(|config| config.path == path) {
            Some(config) => parse(&config.data),
            None => self.read_value(path),
        }
    }

    /// Reads an object before or after a call, with its options as a call sets them.
    pub(super) fn read_object(&self, path: &ApiPath) -> Looked<Map<String, Value>> {
        let object: Map<String, Value> = self.read_before(path.clone())?;
        let segments: Vec<_> = path.segments().collect();
        Ok(match segments.as_slice() {
            [access, roles, _] if access == "access" && roles == "roles" => to_role_options(&object),
            _ => object,
        })
    }

    pub(super) fn read<T: DeserializeOwned>(&self, path: ApiPath, params: ApiParams) -> Looked<T> {
        parse(self.send(path, params)?.data())
    }

    fn send(&self, path: ApiPath, params: ApiParams) -> Looked<ApiResponse> {
        self.look_up(path, params)?.map_err(|error| NotKnown {
            is_absent: matches!(error.meaning(), Meaning::Absent | Meaning::MissingGuestConfig),
            reason: match error {
                // The line says already what was read. (PVE: a method that a node lacks is named with its whole path.)
                PveError::Failed { status: 501, .. } => "the node has no such operation (501)".to_owned(),
                PveError::Failed { status, message, .. } => format!("the read failed ({status}): {message}"),
                error => error.to_string(),
            },
        })
    }

    /// Returns whether another look-up may begin.
    fn has_time(&self) -> bool {
        Instant::now() + MIN_TIME <= self.deadline
    }

    /// Looks a path up. The inner error is the answer of the cluster.
    pub(super) fn look_up(&self, path: ApiPath, params: ApiParams) -> Looked<Result<ApiResponse, PveError>> {
        if !self.has_time() {
            return Err(NotKnown::new(format!("the look-ups took longer than {} s", STATE_TIME_LIMIT.as_secs())));
        }
        let read = self.cluster.authorize_read(CallPurpose::Lookup, path, params);
        let read = read.map_err(|denied| NotKnown::new(denied.to_string()))?;
        Ok(read.send_read_until(self.deadline))
    }
}

impl PathGuest {
    /// Returns the path of a part of a guest whose node the cluster names.
    pub(super) fn try_path(&self, rest: &[&str]) -> Looked<ApiPath> {
        let segments = [&["nodes", &self.node, self.kind.as_str(), &self.vmid], rest].concat();
        ApiPath::from_segments(&segments).map_err(|error| NotKnown::new(error.to_string()))
    }

    /// Returns a path below the node of a guest.
    pub(super) fn try_node_path(&self, rest: &[&str]) -> Looked<ApiPath> {
        let segments = [&["nodes", self.node.as_str()], rest].concat();
        ApiPath::from_segments(&segments).map_err(|error| NotKnown::new(error.to_string()))
    }

    /// Returns the path of a part of the guest.
    pub(super) fn path(&self, rest: &[&str]) -> ApiPath {
        let segments = ["nodes", &self.node, self.kind.as_str(), &self.vmid];
        let segments: Vec<String> = segments.iter().chain(rest).map(|segment| (*segment).to_owned()).collect();
        ApiPath::from_segments(&segments).expect("the segments are those of a path, and fixed words")
    }
}

/// Returns the options of a role. (PVE: a read of a role has a key for each of its privileges.)
fn to_role_options(privileges: &Map<String, Value>) -> Map<String, Value> {
    let mut names: Vec<&str> = privileges.iter().filter(|(_, on)| is_true(on)).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let is_empty = names.is_empty();
    let options = [("privs".to_owned(), Value::from(names.join(",")))];
    options.into_iter().filter(|_| !is_empty).collect()
}

fn parse<T: DeserializeOwned>(json: &str) -> Looked<T> {
    serde_json::from_str(json).map_err(|_| NotKnown::new("the answer of the node has another form"))
}

#[cfg(test)]
mod tests {
    use crate::call::operation::find_embedded_operation;
    use crate::policy::{AssessedCall, Risk};
    use crate::pve::Method;
    use crate::pve::knowledge::effects::{Fact, Undo, find_effect};
    use crate::pve::params::ApiParams;
    use crate::pve::path::ApiPath;
    use crate::pve::schema::embedded_schema;

    #[test]
    fn look_ups_for_questions_change_nothing_and_read_no_secret() {
        for path in [
            "/nodes/pve1/qemu/100/status/current",
            "/nodes/pve1/qemu/100/config",
            "/nodes/pve1/qemu/100/snapshot",
            "/nodes/pve1/lxc/100/status/current",
            "/nodes/pve1/lxc/100/config",
            "/nodes/pve1/lxc/100/snapshot",
            "/nodes/pve1/storage/local/prunebackups",
            "/nodes/pve1/network",
            "/nodes/pve1/status",
            "/nodes/pve1/storage",
            "/nodes/pve1/storage/local/content",
            "/cluster/backup",
            "/cluster/replication",
            "/cluster/ha/resources/vm:100",
            "/cluster/ha/groups/near",
            "/cluster/ha/rules",
            "/nodes/pve1/qemu/100/migrate",
        ] {
            let operation = find_embedded_operation(Method::Get, &ApiPath::from_static(path)).expect(path);
            assert_eq!(operation.risk(), Risk::READ, "{path}");
        }
    }

    /// The values that select a row of the effects, or a line of the risks.
    const VALUES: [&str; 9] =
        ["0", "1", "unused0", "reboot", "shutdown", "keep-all=1", "keep-last=1", "cipassword", "name"];

    #[test]
    fn the_way_back_agrees_with_the_risk() {
        for operation in embedded_schema().operations().filter(|operation| operation.method() != Method::Get) {
            let (method, template) = (operation.method(), operation.template());
            let segments: Vec<&str> = template.split('/').skip(1).collect();
            let call =
                AssessedCall { method: method.as_str(), template, segments: &segments, operation: operation.risk() };
            let names = operation.parameters().filter(|parameter| !operation.is_path_parameter(parameter.name()));
            let calls = names.flat_map(|parameter| VALUES.map(|value| Some((parameter.name(), value))));
            for param in calls.chain([None]) {
                let mut params = ApiParams::new();
                param.iter().for_each(|(name, value)| params.push(name, value));
                let Some(effect) = find_effect(method, template, &params) else { continue };
                let is_irreversible = call.find_rules().assess(params.iter()).risk.irreversible;
                let loses = matches!(effect.undo, Undo::Never | Undo::Partly(_));
                assert!(is_irreversible || !loses, "{method} {template} {param:?} is told as irreversible");
                let is_told_undoable = matches!(effect.undo, Undo::By(_));
                assert!(
                    !operation.risk().irreversible || !is_told_undoable,
                    "{method} {template} {param:?} is told as undoable"
                );
            }
        }
    }

    #[test]
    fn facts_that_need_a_guest_belong_to_operations_on_a_guest() {
        for operation in embedded_schema().operations() {
            let Some(effect) = find_effect(operation.method(), operation.template(), &ApiParams::new()) else {
                continue;
            };
            let needs_guest = |fact: &Fact| {
                matches!(
                    fact,
                    Fact::Disks
                        | Fact::OptionNamedBy(_)
                        | Fact::Snapshots
                        | Fact::Snapshot
                        | Fact::Backups
                        | Fact::Jobs
                )
            };
            let is_guest = operation.template().contains("/{vmid}");
            assert!(is_guest || !effect.facts.iter().any(needs_guest), "{}", operation.template());
            // A look-up must be a plain read, or the policy would demand a confirmation for it.
            if effect.facts.contains(&Fact::Object) {
                let read = embedded_schema().find_by_template(Method::Get, operation.template());
                assert!(read.is_some_and(|read| read.risk().is_read_only()), "{}", operation.template());
            }
        }
    }
}
