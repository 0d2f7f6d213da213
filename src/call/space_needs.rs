//! The space that calls need on storages, compared with the space that is free there. What can't be read is left out.

use super::earlier_calls::EarlierCalls;
use super::fan_out::fan_out;
use super::guest_backups::{find_backup_storages, find_default_storage, read_backups};
use super::planned_call::PlannedCall;
use super::present_state::{ObjectReader, PathGuest};
use crate::base::list_text::list_items;
use crate::policy::for_each_vmid_in_volume;
use crate::pve::Method;
use crate::pve::guests::{Guest, GuestKind};
use crate::pve::knowledge::effects::Fact;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{find_part, find_volume, parse_disk_size, parse_new_volume};
use crate::pve::rows::{is_true, read_count, read_number};
use crate::render::object_state::{
    GuestState, MissingSpace, ObjectState, SpaceCertainty, has_disk_name, is_own_disk, is_pruned, quote_word,
    snapshot_name, text_of, to_text,
};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Space that a call needs on a storage, or frees there.
#[derive(Clone, Debug)]
pub(super) struct SpaceNeed {
    node: String,
    storage: String,
    /// Less than 0 if the call frees space: -∞ if it is not known how much.
    bytes: f64,
    /// `None` for the size of a new volume, which a thin storage takes as it is written.
    certainty: Option<SpaceCertainty>,
    /// The node and the storage that the data leaves. If nodes share that storage, the data stays on it.
    origin: Option<(String, String)>,
    /// The kind of content that the storage has to accept.
    content: Option<&'static str>,
    /// The space is freed after the call has used the space that it needs.
    is_after: bool,
}

/// A volume of a guest with a size.
struct SizedVolume {
    storage: String,
    bytes: f64,
}

/// A storage of a node, as the list of resources has it, with the available space if it was read.
struct StorageSpace {
    free: f64,
    is_shared: bool,
    /// It takes the whole space of a new volume at once.
    is_thick: bool,
}

/// The space that calls need and free on a storage up to one of them.
#[derive(Default)]
struct SpaceTotal {
    needed: f64,
    freed: f64,
    certainty: Option<SpaceCertainty>,
    with_earlier: bool,
}

const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;

/// The most guests without an earlier backup whose sizes are looked up.
const MAX_GUESTS: usize = 32;
/// The most storages and guests that are read at once.
const MAX_CONCURRENT_READS: usize = 4;

impl SpaceNeed {
    fn new(node: &str, storage: &str, bytes: f64) -> Self {
        Self {
            node: node.to_owned(),
            storage: storage.to_owned(),
            bytes,
            certainty: None,
            origin: None,
            content: None,
            is_after: false,
        }
    }

    fn freed(node: &str, storage: &str, bytes: Option<f64>) -> Self {
        Self { is_after: true, ..Self::new(node, storage, bytes.map_or(f64::NEG_INFINITY, |bytes| -bytes)) }
    }

    fn with_certainty(self, certainty: SpaceCertainty) -> Self {
        Self { certainty: Some(certainty), ..self }
    }

    fn with_content(self, content: &'static str) -> Self {
        Self { content: Some(content), ..self }
    }
}

/// Returns the content that a storage of the disks of guests accepts. (PVE)
fn disk_content(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "images",
        GuestKind::Lxc => "rootdir",
    }
}

impl PlannedCall<'_> {
    /// Returns the space that the call needs after the earlier calls of its list. `present` is what is known of its
    /// object.
    pub(super) fn find_space_needs(
        &self,
        reader: &ObjectReader<'_>,
        present: Option<&ObjectState<'_>>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Vec<SpaceNeed> {
        let Some(template) = self.operation.template.as_deref().filter(|_| self.operation.is_known) else {
            return Vec::new();
        };
        let mut needs = match (self.path_guest(), self.operation.path_value("node")) {
            (Some(guest), _) => self.find_needs_of_guest(template, &guest, reader, present, earlier),
            (None, Some(node)) => self.find_needs_on_node(template, node, reader, present),
            (None, None) => Vec::new(),
        };
        for need in &mut needs {
            // An earlier call may let the storage accept more.
            let path = ApiPath::from_segments(&["storage", &need.storage]);
            if path.is_ok_and(|path| !earlier.changers_of(&path).is_empty()) {
                need.content = None;
            }
        }
        needs
    }

    fn find_needs_of_guest(
        &self,
        template: &str,
        guest: &PathGuest,
        reader: &ObjectReader<'_>,
        present: Option<&ObjectState<'_>>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Vec<SpaceNeed> {
        let rest = template.split_once("/{vmid}").map_or("", |(_, rest)| rest);
        let disks = || self.read_disks(guest, reader, present, earlier);
        match (self.method, rest) {
            (Method::Put | Method::Post, "/config") => {
                let mut needs = self.find_new_disks(&guest.node, guest.kind, reader);
                needs.extend(self.find_removed_disks(guest, self.param("delete"), &disks));
                needs
            }
            (Method::Put, "/unlink") => self.find_removed_disks(guest, self.param("idlist"), &disks),
            (Method::Put, "/resize") => self.find_growth(guest, &disks(), earlier).into_iter().collect(),
            (Method::Post, "/move_disk" | "/move_volume") if !self.has_param("target-vmid") => {
                let name = self.param("disk").or(self.param("volume")).unwrap_or_default();
                let (Some(storage), Some(disk)) = (self.param("storage"), size_of(&disks(), name)) else {
                    return Vec::new();
                };
                let need = SpaceNeed::new(&guest.node, storage, disk.bytes).with_content(disk_content(guest.kind));
                let is_freed = self.param("delete") == Some("1");
                let freed = is_freed.then(|| SpaceNeed::freed(&guest.node, &disk.storage, Some(disk.bytes)));
                std::iter::once(need).chain(freed).collect()
            }
            (Method::Post, "/clone") => self.find_copies(guest, &disks()),
            (Method::Post, "/migrate") => self.find_moved_volumes(guest, &disks()),
            // (PVE: a running guest changes its memory while it is saved, so the volume has it twice.)
            (Method::Post, "/snapshot") if self.param("vmstate") == Some("1") && self.is_running(guest, present) => {
                self.find_saved_memory(guest, 2.0, &disks(), reader).into_iter().collect()
            }
            (Method::Post, "/status/suspend") if self.param("todisk") == Some("1") => {
                self.find_saved_memory(guest, 1.0, &disks(), reader).into_iter().collect()
            }
            (Method::Delete, "" | "/snapshot/{snapname}") => {
                let config = disks();
                // The space of snapshots is not known.
                let snapshots = present.and_then(|state| state.snapshots.as_ref()?.as_ref().ok());
                let is_known =
                    rest.is_empty() && snapshots.is_some_and(|rows| rows.iter().filter_map(snapshot_name).count() == 0);
                let volumes = config.iter().filter(|(name, value)| is_own_disk(name, &to_text(value)));
                let volumes = volumes.filter_map(|(name, value)| {
                    let value = to_text(value);
                    let (storage, _) = find_volume(&value)?.split_once(':')?;
                    let size = size_of(&config, name).map(|disk| disk.bytes).filter(|_| is_known);
                    Some(SpaceNeed::freed(&guest.node, storage, size))
                });
                volumes.collect()
            }
            _ => Vec::new(),
        }
    }

    fn find_needs_on_node(
        &self,
        template: &str,
        node: &str,
        reader: &ObjectReader<'_>,
        present: Option<&ObjectState<'_>>,
    ) -> Vec<SpaceNeed> {
        let storage = self.operation.path_value("storage");
        match (self.method, template) {
            (Method::Post, "/nodes/{node}/qemu" | "/nodes/{node}/lxc") => {
                let kind = if template.ends_with("/lxc") { GuestKind::Lxc } else { GuestKind::Qemu };
                let mut needs = self.find_new_disks(node, kind, reader);
                needs.extend(self.find_restored_disks(node, kind, reader));
                needs
            }
            (Method::Post, "/nodes/{node}/vzdump") => {
                let need = self.find_backup_sizes(node, reader);
                let removes = self.param("remove") != Some("0") && self.param("prune-backups") != Some("keep-all=1");
                let freed = need.as_ref().filter(|_| removes).map(|need| SpaceNeed::freed(node, &need.storage, None));
                need.into_iter().chain(freed).collect()
            }
            (Method::Post, "/nodes/{node}/storage/{storage}/content") => {
                let bytes = self.param("size").and_then(parse_volume_size);
                storage.zip(bytes).map(|(storage, bytes)| SpaceNeed::new(node, storage, bytes)).into_iter().collect()
            }
            (Method::Post, "/nodes/{node}/storage/{storage}/download-url") => {
                let content = ["iso", "vztmpl", "import"].into_iter().find(|kind| self.param("content") == Some(kind));
                let need = |(storage, content)| SpaceNeed::new(node, storage, 0.0).with_content(content);
                storage.zip(content).map(need).into_iter().collect()
            }
            (Method::Delete, "/nodes/{node}/storage/{storage}/content/{volume}") => {
                let options = present.and_then(|state| state.options.as_ref()?.as_ref().ok());
                // (PVE: a thin storage tells the used part of a volume.)
                let find = |name: &str| options?.get(name).and_then(read_number).filter(|bytes| *bytes > 0.0);
                let size = find("used").or_else(|| find("size"));
                storage.map(|storage| SpaceNeed::freed(node, storage, size)).into_iter().collect()
            }
            (Method::Delete, "/nodes/{node}/storage/{storage}/prunebackups") => {
                let removed = present.and_then(|state| state.backups.as_ref()?.as_ref().ok());
                let need = |storage: &str| {
                    let size = removed.and_then(|rows| sum_pruned(rows, &read_backups(reader, node, storage, &[])?));
                    SpaceNeed::freed(node, storage, size)
                };
                storage.map(need).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Describes the space that storages lack for the call.
    pub(super) fn describe_missing_space(&self, reader: &ObjectReader<'_>) -> Vec<String> {
        // Space that is freed concerns only later calls of a list.
        if self.method == Method::Delete {
            return Vec::new();
        }
        let needs = self.find_space_needs(reader, None, EarlierCalls::default());
        find_storage_notes(reader, &[needs]).into_iter().flatten().collect()
    }

    /// Returns the configuration of the guest, without what is not known. That of a guest which an earlier call makes is
    /// the one of its source.
    fn read_disks(
        &self,
        guest: &PathGuest,
        reader: &ObjectReader<'_>,
        present: Option<&ObjectState<'_>>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Map<String, Value> {
        let is_made = |state: &ObjectState<'_>| {
            state.made_by.is_some() || state.guest.as_ref().and_then(|guest: &GuestState<'_>| guest.made_by).is_some()
        };
        let has_config = self.facts().iter().any(|fact| matches!(fact, Fact::Disks | Fact::OptionNamedBy(_)));
        match present {
            Some(state) if is_made(state) => {
                let maker = guest.vmid.parse().ok().and_then(|vmid| earlier.maker_of_guest(vmid));
                maker.and_then(|maker| maker.read_made_disks(reader)).unwrap_or_default()
            }
            Some(ObjectState { options: Some(Ok(options)), .. }) if has_config => options.clone(),
            _ => reader.read_before(guest.path(&["config"])).unwrap_or_default(),
        }
    }

    /// Returns the disks of the guest that the call makes: those of its parameters, or of the guest that it clones.
    fn read_made_disks(&self, reader: &ObjectReader<'_>) -> Option<Map<String, Value>> {
        let Some(source) = self.path_guest() else {
            return Some(self.params.iter().map(|(name, value)| (name.to_owned(), value.into())).collect());
        };
        let config: Map<String, Value> = reader.read_value(source.path(&["config"])).ok()?;
        let Some(storage) = self.param("storage") else { return Some(config) };
        let moved = config.into_iter().filter_map(|(name, value)| {
            let text = to_text(&value);
            if !is_own_disk(&name, &text) {
                return Some((name, value));
            }
            let size = find_part(&text, "size")?;
            Some((name, format!("{storage}:copy,size={size}").into()))
        });
        Some(moved.collect())
    }

    fn is_running(&self, guest: &PathGuest, present: Option<&ObjectState<'_>>) -> bool {
        match present.and_then(|state| state.guest.as_ref()) {
            Some(state) => state.is_running(),
            None => {
                let guests = self.cluster.look_up_guests().unwrap_or_default();
                guests.iter().any(|row| row.vmid.to_string() == guest.vmid && row.status == "running")
            }
        }
    }

    /// Returns the new disks among the parameters, as large as the volumes that they import. (PVE: those of the firmware
    /// have a size of their own.)
    fn find_new_disks(&self, node: &str, kind: GuestKind, reader: &ObjectReader<'_>) -> Vec<SpaceNeed> {
        let has_own_size = |name: &str| name.starts_with("efidisk") || name.starts_with("tpmstate");
        let disks = self.params.iter().filter(|(name, _)| has_disk_name(name));
        let new = disks.filter_map(|(name, value)| {
            let (storage, gib) = parse_new_volume(find_volume(value)?)?;
            let imported = || read_volume_size(reader, node, find_part(value, "import-from")?);
            let bytes = if has_own_size(name) { 0.0 } else { imported().unwrap_or(gib * GIB) };
            Some(SpaceNeed::new(node, storage, bytes).with_content(disk_content(kind)))
        });
        new.collect()
    }

    /// Returns the volumes that a change of options removes. (PVE: a disk becomes an unused one first, unless forced.)
    fn find_removed_disks(
        &self,
        guest: &PathGuest,
        list: Option<&str>,
        disks: &dyn Fn() -> Map<String, Value>,
    ) -> Vec<SpaceNeed> {
        let is_forced = self.param("force") == Some("1");
        let is_removed = |name: &&str| has_disk_name(name) && (is_forced || name.starts_with("unused"));
        let names: Vec<&str> = list_items(list.unwrap_or_default()).filter(is_removed).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let config = disks();
        let removed = names.into_iter().filter_map(|name| {
            let value = config.get(name).map(to_text)?;
            let (storage, _) = find_volume(&value)?.split_once(':')?;
            Some(SpaceNeed::freed(&guest.node, storage, size_of(&config, name).map(|disk| disk.bytes)))
        });
        removed.collect()
    }

    /// Returns the growth of a disk, from the size that the earlier calls give it.
    fn find_growth(
        &self,
        guest: &PathGuest,
        config: &Map<String, Value>,
        earlier: EarlierCalls<'_, '_>,
    ) -> Option<SpaceNeed> {
        let name = self.param("disk")?;
        let disk = size_of(config, name)?;
        let grow = |call: &PlannedCall<'_>, bytes: f64| {
            let size = call.param("size")?;
            match size.strip_prefix('+') {
                Some(added) => Some(bytes + parse_disk_size(added)?),
                None => parse_disk_size(size),
            }
        };
        let mut resizes = earlier.changes_at(&self.path).filter(|call| call.param("disk") == Some(name));
        let bytes = resizes.try_fold(disk.bytes, |bytes, call| grow(call, bytes))?;
        Some(SpaceNeed::new(&guest.node, &disk.storage, grow(self, bytes)? - bytes))
    }

    /// Returns the volume for the memory of a guest, which has it `copies` times and 500 MiB. (PVE: its storage is that of
    /// the call or of the option `vmstatestorage`, else one of a disk, a shared one first.)
    fn find_saved_memory(
        &self,
        guest: &PathGuest,
        copies: f64,
        config: &Map<String, Value>,
        reader: &ObjectReader<'_>,
    ) -> Option<SpaceNeed> {
        let memory = config.get("memory").map(to_text).unwrap_or_else(|| "512".to_owned());
        let memory: f64 = find_part(&memory, "current").unwrap_or(&memory).parse().ok()?;
        let given = self.param("statestorage").map(str::to_owned);
        let storage = match given.or_else(|| config.get("vmstatestorage").map(to_text)) {
            Some(storage) => storage,
            None => {
                let own = config
                    .iter()
                    .filter(|(name, value)| !name.starts_with("unused") && is_own_disk(name, &to_text(value)));
                let mut storages: Vec<String> = own
                    .filter_map(|(_, value)| Some(find_volume(&to_text(value))?.split_once(':')?.0.to_owned()))
                    .collect();
                storages.dedup();
                let rows = if storages.len() > 1 { read_storages(reader) } else { Vec::new() };
                let is_shared = |storage: &String| {
                    let row = rows.iter().find(|row| text_of(row, "storage") == storage);
                    row.and_then(|row| row.get("shared")).is_some_and(is_true)
                };
                let shared = storages.iter().find(|storage| is_shared(storage));
                shared.or(storages.first())?.clone()
            }
        };
        Some(SpaceNeed::new(&guest.node, &storage, (copies * memory + 500.0) * MIB))
    }

    /// Returns the disks that a full clone copies. (PVE: a clone of a template is a linked one by default.)
    fn find_copies(&self, guest: &PathGuest, config: &Map<String, Value>) -> Vec<SpaceNeed> {
        let is_template = config.get("template").is_some_and(is_true);
        if !self.param("full").map_or(!is_template, |full| full != "0") {
            return Vec::new();
        }
        let node = self.param("target").unwrap_or(&guest.node);
        let copied = config.keys().filter(|name| !name.starts_with("unused")).filter_map(|name| size_of(config, name));
        let need = |disk: SizedVolume| {
            let storage = self.param("storage").unwrap_or(&disk.storage);
            SpaceNeed::new(node, storage, disk.bytes).with_content(disk_content(guest.kind))
        };
        copied.map(need).collect()
    }

    /// Returns the volumes that a migration moves to its target, if they are on storages that nodes do not share.
    fn find_moved_volumes(&self, guest: &PathGuest, config: &Map<String, Value>) -> Vec<SpaceNeed> {
        let Some(target) = self.param("target") else { return Vec::new() };
        let mapping = self.param("targetstorage").or(self.param("target-storage")).unwrap_or_default();
        let moved = config.keys().filter_map(|name| size_of(config, name));
        let needs = moved.flat_map(|disk| {
            let need = SpaceNeed::new(target, map_storage(mapping, &disk.storage), disk.bytes);
            let freed = SpaceNeed::freed(&guest.node, &disk.storage, Some(disk.bytes));
            let origin = Some((guest.node.clone(), disk.storage));
            [
                SpaceNeed { origin: origin.clone(), ..need.with_content(disk_content(guest.kind)) },
                SpaceNeed { origin, ..freed },
            ]
        });
        needs.collect()
    }

    /// Returns the disks of a restored guest, as large as the guest of the backup has them now, and less those of the guest
    /// that it replaces. (PVE: these are removed first.) Of a guest that is gone, the backup has the least size.
    fn find_restored_disks(&self, node: &str, kind: GuestKind, reader: &ObjectReader<'_>) -> Vec<SpaceNeed> {
        // (PVE: a container has one storage for all disks. Those of a VM return to the storages of the backup.)
        let Some((archive, Some(storage))) = self.find_restored_archive(kind) else { return Vec::new() };
        let mut source = None;
        for_each_vmid_in_volume(archive, &mut |number| source = source.or(Some(number)));
        let config = source.and_then(|vmid| self.read_config_of_number(vmid, reader));
        let restored: Vec<SpaceNeed> = match &config {
            Some(config) => {
                let need = |disk: SizedVolume| {
                    SpaceNeed::new(node, storage, disk.bytes).with_certainty(SpaceCertainty::Estimated)
                };
                find_saved_disks(config).map(need).collect()
            }
            None => {
                // The size of a backup on a backup server has the empty parts of the disks too.
                let is_whole = archive.contains(":backup/vm/") || archive.contains(":backup/ct/");
                let certainty = if is_whole { SpaceCertainty::AtMost } else { SpaceCertainty::AtLeast };
                let size = read_volume_size(reader, node, archive);
                size.map(|bytes| SpaceNeed::new(node, storage, bytes).with_certainty(certainty)).into_iter().collect()
            }
        };
        let restored = restored.into_iter().map(|need| need.with_content(disk_content(kind)));
        let replaced = self.param("force").filter(|force| *force == "1").and(self.param("vmid")).and_then(|vmid| {
            let vmid: u32 = vmid.parse().ok()?;
            if source == Some(vmid) { config.clone() } else { self.read_config_of_number(vmid, reader) }
        });
        let replaced = replaced.unwrap_or_default();
        let freed = replaced.keys().filter_map(|name| size_of(&replaced, name));
        restored.chain(freed.map(|disk| SpaceNeed::new(node, &disk.storage, -disk.bytes))).collect()
    }

    /// Returns the backup that the call restores, and the storage for its disks, if that is known.
    fn find_restored_archive(&self, kind: GuestKind) -> Option<(&str, Option<&str>)> {
        let storage = self.param("storage");
        match kind {
            GuestKind::Qemu => Some((self.param("archive")?, storage)),
            GuestKind::Lxc => {
                let is_restore = self.param("restore") == Some("1") && !self.has_param("rootfs");
                Some((self.param("ostemplate").filter(|_| is_restore)?, storage.or(Some("local"))))
            }
        }
    }

    /// Describes the storages of a restored VM, if the call does not name one.
    pub(super) fn describe_restored_storages(&self) -> Option<String> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known)?;
        let is_restore = self.method == Method::Post && template == "/nodes/{node}/qemu";
        let (_, storage) = self.find_restored_archive(GuestKind::Qemu).filter(|_| is_restore)?;
        storage.is_none().then(|| "its disks return to the storages of the backup".to_owned())
    }

    fn read_config_of_number(&self, vmid: u32, reader: &ObjectReader<'_>) -> Option<Map<String, Value>> {
        let guest = self.cluster.look_up_guests().ok()?.iter().find(|guest| guest.vmid == vmid)?;
        let place = PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: vmid.to_string() };
        reader.read_value(place.try_path(&["config"]).ok()?).ok()
    }

    /// Returns the size of the newest backups of the guests: those on the storage of the backup, else those on another
    /// one. A guest without a backup needs its disks at most.
    fn find_backup_sizes(&self, node: &str, reader: &ObjectReader<'_>) -> Option<SpaceNeed> {
        let storage = match self.param("storage") {
            Some(storage) => storage.to_owned(),
            None if self.has_param("dumpdir") => return None,
            None => find_default_storage(reader, node)?,
        };
        let is_there = |guest: &&Guest| guest.node == node && !self.excludes_from_backup(guest.vmid);
        let guests = self.affected.select_from(self.cluster.look_up_guests().ok()?).filter(is_there);
        let vmids: Vec<String> = guests.map(|guest| guest.vmid.to_string()).collect();
        let backups = read_backups(reader, node, &storage, &vmids)?;
        // A backup server keeps equal data once, so the size of the next backup is not known.
        if backups.iter().any(|backup| text_of(backup, "format").starts_with("pbs-")) {
            return None;
        }
        let mut sizes = find_newest_sizes(&backups, &vmids);
        let missing = |sizes: &HashMap<String, f64>| -> Vec<String> {
            vmids.iter().filter(|vmid| !sizes.contains_key(*vmid)).take(MAX_GUESTS).cloned().collect()
        };
        let lacking = missing(&sizes);
        if !lacking.is_empty() {
            let others = find_backup_storages(reader, node);
            let others: Vec<String> = others.into_iter().filter(|other| *other != storage).collect();
            let read = |other: &String| read_backups(reader, node, other, &lacking).unwrap_or_default();
            let rows: Vec<_> = fan_out(&others, MAX_CONCURRENT_READS, read).into_iter().flatten().collect();
            sizes.extend(find_newest_sizes(&rows, &lacking));
        }
        let lacking = missing(&sizes);
        let of_disks = fan_out(&lacking, MAX_CONCURRENT_READS, |vmid| {
            let config = self.read_config_of_number(vmid.parse().ok()?, reader)?;
            Some(find_saved_disks(&config).map(|disk| disk.bytes).sum::<f64>())
        });
        let of_disks: f64 = of_disks.into_iter().flatten().sum();
        let certainty = match (of_disks > 0.0, sizes.is_empty()) {
            (false, _) => SpaceCertainty::Estimated,
            (true, true) => SpaceCertainty::AtMost,
            (true, false) => SpaceCertainty::EstimatedAtMost,
        };
        let bytes = sizes.values().sum::<f64>() + of_disks;
        Some(SpaceNeed::new(node, &storage, bytes).with_certainty(certainty))
    }
}

/// Returns the size of the newest backup of each guest.
fn find_newest_sizes(rows: &[Map<String, Value>], vmids: &[String]) -> HashMap<String, f64> {
    let mut newest: HashMap<String, (u64, u64)> = HashMap::new();
    for row in rows {
        let count = |name: &str| row.get(name).and_then(read_count).unwrap_or_default();
        let vmid = row.get("vmid").map(to_text).unwrap_or_default();
        if vmids.contains(&vmid) {
            let known = newest.entry(vmid).or_default();
            *known = (*known).max((count("ctime"), count("size")));
        }
    }
    newest.into_iter().map(|(vmid, (_, size))| (vmid, size as f64)).collect()
}

/// Returns the size of the backups that are marked for removal. Returns `None` if a size is not known.
fn sum_pruned(marked: &[Value], backups: &[Map<String, Value>]) -> Option<f64> {
    let sizes = marked.iter().filter(|row| is_pruned(row)).map(|row| {
        let volume = row.get("volid").and_then(Value::as_str)?;
        let backup = backups.iter().find(|backup| text_of(backup, "volid") == volume)?;
        backup.get("size").and_then(read_number)
    });
    sizes.sum()
}

/// Reads the size of a volume, `nas:iso/debian.iso`.
fn read_volume_size(reader: &ObjectReader<'_>, node: &str, volume: &str) -> Option<f64> {
    let (storage, _) = volume.split_once(':')?;
    // The name may have slashes, which make it several segments.
    let segments: Vec<&str> =
        ["nodes", node, "storage", storage, "content"].into_iter().chain(volume.split('/')).collect();
    let path = ApiPath::from_segments(&segments).ok()?;
    let row: Map<String, Value> = reader.read_value(path).ok()?;
    row.get("size").and_then(read_number)
}

/// Returns the disks that a backup of a guest with this configuration has. (PVE: a mount point of a container is left out
/// by default.)
fn find_saved_disks(config: &Map<String, Value>) -> impl Iterator<Item = SizedVolume> {
    let is_saved = |name: &&String| {
        let value = config.get(*name).map(to_text).unwrap_or_default();
        let default = if name.starts_with("mp") { "0" } else { "1" };
        !name.starts_with("unused") && find_part(&value, "backup").unwrap_or(default) != "0"
    };
    config.keys().filter(is_saved).filter_map(|name| size_of(config, name))
}

/// Returns a disk of a guest's configuration, if it is one of the guest itself and has a size. A new one has it after its
/// storage.
fn size_of(config: &Map<String, Value>, name: &str) -> Option<SizedVolume> {
    let value = config.get(name).map(to_text).filter(|value| is_own_disk(name, value))?;
    let volume = find_volume(&value)?;
    let (storage, _) = volume.split_once(':')?;
    let bytes = match find_part(&value, "size") {
        Some(size) => parse_disk_size(size)?,
        None => parse_new_volume(volume)?.1 * GIB,
    };
    Some(SizedVolume { storage: storage.to_owned(), bytes })
}

/// Parses the size of a new volume. (PVE: a number without a unit is one of KiB.)
fn parse_volume_size(text: &str) -> Option<f64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { parse_disk_size(&format!("{text}K")) } else { parse_disk_size(text) }
}

/// Returns the storage to which a migration moves the volumes of another one: `new`, or `old:new,other`. (PVE: `1` is the
/// same storage.)
fn map_storage<'m>(mapping: &'m str, storage: &'m str) -> &'m str {
    let pair = list_items(mapping).filter_map(|item| item.split_once(':')).find(|(old, _)| *old == storage);
    let default = || list_items(mapping).find(|item| !item.contains(':') && *item != "1");
    pair.map(|(_, new)| new).or_else(default).unwrap_or(storage)
}

/// Returns notes on the storages of each of several calls, which are made one after the other: on the space that they
/// lack, and on content that they do not accept.
pub(super) fn find_storage_notes(reader: &ObjectReader<'_>, needs: &[Vec<SpaceNeed>]) -> Vec<Vec<String>> {
    if needs.iter().flatten().all(|need| need.bytes <= 0.0 && need.content.is_none()) {
        return Vec::new();
    }
    let mut rows = read_storages(reader);
    read_available_space(reader, needs, &mut rows);
    compare_needs(needs, &rows)
}

/// Adds the available space to the rows of the storages that need some. The list of resources has only the used space,
/// and a file system may hold back more.
fn read_available_space(reader: &ObjectReader<'_>, needs: &[Vec<SpaceNeed>], rows: &mut [Map<String, Value>]) {
    let needs_space = |row: &Map<String, Value>| {
        let mut all = needs.iter().flatten().filter(|need| need.bytes > 0.0);
        all.any(|need| text_of(row, "node") == need.node && text_of(row, "storage") == need.storage)
    };
    let used: Vec<&mut Map<String, Value>> = rows.iter_mut().filter(|row| needs_space(row)).collect();
    let statuses = fan_out(&used, MAX_CONCURRENT_READS, |row| {
        let path =
            ApiPath::from_segments(&["nodes", text_of(row, "node"), "storage", text_of(row, "storage"), "status"]);
        path.ok().and_then(|path| reader.read_value::<Map<String, Value>>(path).ok())
    });
    for (row, status) in used.into_iter().zip(statuses) {
        if let Some(available) = status.as_ref().and_then(|status| status.get("avail")) {
            row.insert("avail".into(), available.clone());
        }
    }
}

/// Reads the storages of all nodes.
fn read_storages(reader: &ObjectReader<'_>) -> Vec<Map<String, Value>> {
    let mut params = ApiParams::new();
    params.push("type", "storage");
    reader.read(ApiPath::from_static("/cluster/resources"), params).unwrap_or_default()
}

/// Returns the disk of a configuration that is on a storage which the nodes do not share, as far as known.
pub(super) fn find_local_disk(reader: &ObjectReader<'_>, node: &str, config: &Map<String, Value>) -> Option<String> {
    let rows = read_storages(reader);
    let is_local = |storage: &str| {
        let row = rows.iter().find(|row| text_of(row, "node") == node && text_of(row, "storage") == storage);
        row.and_then(|row| row.get("shared")).is_some_and(|shared| !is_true(shared))
    };
    let disks = config.iter().filter(|(name, value)| !name.starts_with("unused") && is_own_disk(name, &to_text(value)));
    let volumes = disks.filter_map(|(_, value)| find_volume(value.as_str()?));
    volumes
        .filter(|volume| volume.split_once(':').is_some_and(|(storage, _)| is_local(storage)))
        .map(str::to_owned)
        .next()
}

fn compare_needs(needs: &[Vec<SpaceNeed>], rows: &[Map<String, Value>]) -> Vec<Vec<String>> {
    let find_row = |node: &str, storage: &str| {
        rows.iter().find(|row| text_of(row, "node") == node && text_of(row, "storage") == storage)
    };
    let find = |node: &str, storage: &str| find_row(node, storage).and_then(StorageSpace::parse);
    let mut totals: HashMap<(Option<&str>, &str), SpaceTotal> = HashMap::new();
    let mut notes = Vec::new();
    for call in needs {
        let mut own: Vec<((Option<&str>, &str), f64)> = Vec::new();
        let mut described: Vec<String> = Vec::new();
        let stays = |need: &SpaceNeed| {
            let origin = need.origin.as_ref();
            origin.is_some_and(|(node, storage)| find(node, storage).is_none_or(|origin| origin.is_shared))
        };
        for need in call.iter().filter(|need| !need.is_after && !stays(need)) {
            let refusal = find_row(&need.node, &need.storage).and_then(|row| describe_refusal(row, need.content?));
            if let Some(refusal) = refusal {
                if !described.contains(&refusal) {
                    described.push(refusal);
                }
                continue;
            }
            let Some(space) = find(&need.node, &need.storage) else { continue };
            let of_volume = if space.is_thick { SpaceCertainty::Exact } else { SpaceCertainty::AtMost };
            let place = space.place(need);
            let total = totals.entry(place).or_default();
            if !own.iter().any(|(known, _)| *known == place) {
                own.push((place, space.free));
                total.with_earlier = total.needed > 0.0;
            }
            if need.bytes > 0.0 {
                let certainty = need.certainty.unwrap_or(of_volume);
                total.certainty = Some(total.certainty.map_or(certainty, |known| known.combine(certainty)));
            }
            total.add(need.bytes);
        }
        for ((node, storage), free) in own {
            let total = &totals[&(node, storage)];
            if let Some(certainty) = total.certainty.filter(|_| total.needed > free + total.freed) {
                let missing = MissingSpace {
                    storage: storage.to_owned(),
                    node: node.map(str::to_owned),
                    needed: total.needed,
                    free: free + total.freed,
                    certainty,
                    with_earlier: total.with_earlier,
                    is_freed: total.freed > 0.0,
                };
                described.push(missing.describe());
            }
        }
        notes.push(described);
        for need in call.iter().filter(|need| need.is_after && !stays(need)) {
            if let Some(space) = find(&need.node, &need.storage) {
                totals.entry(space.place(need)).or_default().add(need.bytes);
            }
        }
    }
    notes
}

/// Describes a storage that does not accept a kind of content, as its row of the list of resources has it.
fn describe_refusal(row: &Map<String, Value>, content: &str) -> Option<String> {
    let accepted = text_of(row, "content");
    if accepted.is_empty() || list_items(accepted).any(|item| item == content) {
        return None;
    }
    let accepted: Vec<String> = list_items(accepted).map(quote_word).collect();
    let storage = quote_word(text_of(row, "storage"));
    Some(format!("storage {storage} does not accept {content} (only {})", accepted.join(", ")))
}

impl SpaceTotal {
    fn add(&mut self, bytes: f64) {
        if bytes > 0.0 {
            self.needed += bytes;
        } else {
            self.freed -= bytes;
        }
    }
}

impl StorageSpace {
    /// Returns the storage of a need, with its node if nodes do not share it.
    fn place<'n>(&self, need: &'n SpaceNeed) -> (Option<&'n str>, &'n str) {
        (Some(need.node.as_str()).filter(|_| !self.is_shared), &need.storage)
    }

    /// Parses a row of the list of resources. A storage that is off has no space that is known.
    fn parse(row: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| row.get(name).and_then(read_number);
        let (total, used) = (number("maxdisk").filter(|total| *total > 0.0)?, number("disk")?);
        let plugin = text_of(row, "plugintype");
        // Backups on a backup server share their data.
        (text_of(row, "status") == "available" && plugin != "pbs").then(|| Self {
            free: number("avail").unwrap_or(total - used).max(0.0),
            is_shared: row.get("shared").is_some_and(is_true),
            is_thick: plugin == "lvm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(node: &str, storage: &str, plugin: &str, free: u64) -> Map<String, Value> {
        let shared = u8::from(plugin == "nfs");
        let row = json!({"node": node, "storage": storage, "plugintype": plugin, "shared": shared,
            "status": "available", "maxdisk": 100 + free, "disk": 100, "content": "images"});
        row.as_object().unwrap().clone()
    }

    #[test]
    fn needs_on_one_storage_are_added_up_in_their_order() {
        let rows = [row("a", "thin", "lvmthin", 50), row("b", "thin", "lvmthin", 50), row("a", "thick", "lvm", 50)];
        let rows = rows.into_iter().chain([row("a", "nas", "nfs", 50), row("b", "nas", "nfs", 50)]);
        let rows: Vec<_> = rows.chain([row("a", "pbs", "pbs", 0)]).collect();
        let need = |node: &str, storage: &str, bytes: f64| SpaceNeed::new(node, storage, bytes);
        let moved = |origin: &str| SpaceNeed {
            origin: Some(("a".to_owned(), origin.to_owned())),
            ..need("b", if origin == "nas" { "nas" } else { "thin" }, 60.0)
        };
        for (needs, expected) in [
            (vec![vec![need("a", "thin", 50.0)]], vec![vec![]]),
            (vec![vec![need("a", "thin", 51.0)]], vec![vec!["it may need up to 51B on thin of a, which has 50B free"]]),
            (vec![vec![need("a", "thick", 51.0)]], vec![vec!["it needs 51B on thick of a, which has 50B free"]]),
            (
                vec![vec![need("a", "thick", 51.0).with_certainty(SpaceCertainty::Estimated)]],
                vec![vec!["it may need about 51B on thick of a, which has 50B free"]],
            ),
            (
                vec![vec![need("a", "thick", 30.0), need("a", "thick", 30.0)]],
                vec![vec!["it needs 60B on thick of a, which has 50B free"]],
            ),
            (
                vec![vec![need("a", "nas", 30.0)], vec![need("b", "nas", 30.0)]],
                vec![vec![], vec!["with the calls before it, it may need up to 60B on nas, which has 50B free"]],
            ),
            (vec![vec![need("a", "thin", 30.0)], vec![need("b", "thin", 30.0)]], vec![vec![], vec![]]),
            (vec![vec![moved("nas")]], vec![vec![]]),
            (vec![vec![moved("thin")]], vec![vec!["it may need up to 60B on thin of b, which has 50B free"]]),
            (
                vec![vec![
                    need("a", "thick", 60.0).with_certainty(SpaceCertainty::Estimated),
                    need("a", "thick", -60.0),
                ]],
                vec![vec![]],
            ),
            (
                vec![vec![SpaceNeed::freed("a", "thick", Some(20.0))], vec![need("a", "thick", 80.0)]],
                vec![vec![], vec!["it needs 80B on thick of a, which then has up to 70B free"]],
            ),
            (
                vec![vec![SpaceNeed::freed("a", "thick", Some(20.0))], vec![need("a", "thick", 70.0)]],
                vec![vec![], vec![]],
            ),
            (vec![vec![SpaceNeed::freed("a", "nas", None)], vec![need("b", "nas", 90.0)]], vec![vec![], vec![]]),
            (
                vec![vec![need("a", "thick", 60.0), SpaceNeed::freed("a", "thick", Some(60.0))]],
                vec![vec!["it needs 60B on thick of a, which has 50B free"]],
            ),
            (
                vec![vec![need("a", "thin", 60.0).with_certainty(SpaceCertainty::AtLeast)]],
                vec![vec!["it needs at least 60B on thin of a, which has 50B free"]],
            ),
            (
                vec![vec![
                    need("a", "thin", 0.0).with_content("rootdir"),
                    need("a", "thin", 0.0).with_content("images"),
                ]],
                vec![vec!["storage thin does not accept rootdir (only images)"]],
            ),
            (vec![vec![need("a", "pbs", 60.0), need("c", "thin", 60.0)]], vec![vec![]]),
        ] {
            let found = compare_needs(&needs, &rows);
            assert_eq!(found, expected, "{needs:?}");
        }
    }

    #[test]
    fn volumes_move_to_the_storage_that_a_migration_names() {
        for (mapping, storage) in [("", "a"), ("1", "a"), ("b", "b"), ("a:c,x:y,d", "c"), ("x:y,d", "d"), ("x:y", "a")]
        {
            assert_eq!(map_storage(mapping, "a"), storage, "{mapping}");
        }
    }

    #[test]
    fn sizes_of_volumes_are_read_in_every_unit() {
        for (text, bytes) in [("1024", Some(1_048_576.0)), ("2M", Some(2_097_152.0)), ("1G", Some(1_073_741_824.0))] {
            assert_eq!(parse_volume_size(text), bytes, "{text}");
        }
    }
}
