//! The space that calls need on storages, compared with the space that is free there. What can't be read is left out.

use super::guest_backups::{find_default_storage, read_backups};
use super::planned_call::PlannedCall;
use super::present_state::{ObjectReader, PathGuest};
use crate::base::list_text::list_items;
use crate::policy::for_each_vmid_in_volume;
use crate::pve::Method;
use crate::pve::guests::Guest;
use crate::pve::knowledge::effects::Fact;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::property_string::{find_part, find_volume, parse_disk_size, parse_new_volume};
use crate::pve::rows::{is_true, read_count, read_number};
use crate::render::object_state::{
    GuestState, MissingSpace, ObjectState, SpaceCertainty, has_disk_name, is_own_disk, text_of, to_text,
};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Space that a call needs on a storage.
#[derive(Clone, Debug)]
pub(super) struct SpaceNeed {
    node: String,
    storage: String,
    /// Less than 0 if the call frees space.
    bytes: f64,
    is_estimate: bool,
    /// The node and the storage that the data leaves. If nodes share that storage, the data stays on it.
    origin: Option<(String, String)>,
}

/// A volume of a guest with a size.
struct SizedVolume {
    storage: String,
    bytes: f64,
}

/// A storage of a node, as the list of resources has it.
struct StorageSpace {
    free: f64,
    is_shared: bool,
    /// It takes the whole space of a new volume at once.
    is_thick: bool,
}

impl SpaceNeed {
    fn new(node: &str, storage: &str, bytes: f64) -> Self {
        Self { node: node.to_owned(), storage: storage.to_owned(), bytes, is_estimate: false, origin: None }
    }

    fn into_estimate(self) -> Self {
        Self { is_estimate: true, ..self }
    }
}

impl PlannedCall<'_> {
    /// Returns the space that the call needs. `present` is what is known of its object.
    pub(super) fn find_space_needs(
        &self,
        reader: &ObjectReader<'_>,
        present: Option<&ObjectState<'_>>,
    ) -> Vec<SpaceNeed> {
        let Some(template) = self.operation.template.as_deref().filter(|_| self.operation.is_known) else {
            return Vec::new();
        };
        let of_path =
            |name: &str| self.operation.path_values.iter().find(|(given, _)| given == name).map(|(_, value)| value);
        if let Some(guest) = self.path_guest() {
            let rest = template.split_once("/{vmid}").map_or("", |(_, rest)| rest);
            let disks = || self.read_disks(&guest, reader, present);
            return match (self.method, rest) {
                (Method::Put | Method::Post, "/config") => self.find_new_disks(&guest.node),
                (Method::Put, "/resize") => self.find_growth(&guest, &disks()).into_iter().collect(),
                (Method::Post, "/move_disk" | "/move_volume") if !self.has_param("target-vmid") => {
                    let name = self.param("disk").or(self.param("volume")).unwrap_or_default();
                    let (Some(storage), Some(disk)) = (self.param("storage"), size_of(&disks(), name)) else {
                        return Vec::new();
                    };
                    vec![SpaceNeed::new(&guest.node, storage, disk.bytes)]
                }
                (Method::Post, "/clone") => self.find_copies(&guest, &disks()),
                (Method::Post, "/migrate") => self.find_moved_volumes(&guest, &disks()),
                _ => Vec::new(),
            };
        }
        let Some(node) = of_path("node").filter(|_| self.method == Method::Post) else { return Vec::new() };
        match template {
            "/nodes/{node}/qemu" | "/nodes/{node}/lxc" => {
                let mut needs = self.find_new_disks(node);
                needs.extend(self.find_restored_disks(node, template.ends_with("/lxc"), reader));
                needs
            }
            "/nodes/{node}/vzdump" => self.find_backup_sizes(node, reader).into_iter().collect(),
            "/nodes/{node}/storage/{storage}/content" => {
                let bytes = self.param("size").and_then(parse_volume_size);
                let need = |(storage, bytes): (&String, f64)| SpaceNeed::new(node, storage, bytes);
                of_path("storage").zip(bytes).map(need).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Describes the space that storages lack for the call.
    pub(super) fn describe_missing_space(&self, reader: &ObjectReader<'_>) -> Vec<String> {
        let missing = find_missing_space(reader, &[self.find_space_needs(reader, None)]);
        missing.iter().flatten().map(MissingSpace::describe).collect()
    }

    /// Returns the configuration of the guest, without what is not known.
    fn read_disks(
        &self,
        guest: &PathGuest,
        reader: &ObjectReader<'_>,
        present: Option<&ObjectState<'_>>,
    ) -> Map<String, Value> {
        let is_made = |state: &ObjectState<'_>| {
            state.made_by.is_some() || state.guest.as_ref().and_then(|guest: &GuestState<'_>| guest.made_by).is_some()
        };
        let has_config = self.facts().iter().any(|fact| matches!(fact, Fact::Disks | Fact::OptionNamedBy(_)));
        match present {
            Some(state) if is_made(state) => Map::new(),
            Some(ObjectState { options: Some(Ok(options)), .. }) if has_config => options.clone(),
            _ => reader.read_before(guest.path(&["config"])).unwrap_or_default(),
        }
    }

    /// Returns the new disks among the parameters. (PVE: those of the firmware have a size of their own.)
    fn find_new_disks(&self, node: &str) -> Vec<SpaceNeed> {
        let is_disk = |name: &str| has_disk_name(name) && !name.starts_with("efidisk") && !name.starts_with("tpmstate");
        let disks = self.params.iter().filter(|(name, _)| is_disk(name));
        let new = disks.filter_map(|(_, value)| parse_new_volume(find_volume(value)?));
        new.map(|(storage, size)| SpaceNeed::new(node, storage, size * f64::from(1 << 30))).collect()
    }

    fn find_growth(&self, guest: &PathGuest, config: &Map<String, Value>) -> Option<SpaceNeed> {
        let disk = size_of(config, self.param("disk")?)?;
        let size = self.param("size")?;
        let bytes = match size.strip_prefix('+') {
            Some(added) => parse_disk_size(added)?,
            None => parse_disk_size(size)? - disk.bytes,
        };
        Some(SpaceNeed::new(&guest.node, &disk.storage, bytes))
    }

    /// Returns the disks that a full clone copies. (PVE: a clone of a template is a linked one by default.)
    fn find_copies(&self, guest: &PathGuest, config: &Map<String, Value>) -> Vec<SpaceNeed> {
        let is_template = config.get("template").is_some_and(is_true);
        if !self.param("full").map_or(!is_template, |full| full != "0") {
            return Vec::new();
        }
        let node = self.param("target").unwrap_or(&guest.node);
        let copied = config.keys().filter(|name| !name.starts_with("unused")).filter_map(|name| size_of(config, name));
        copied.map(|disk| SpaceNeed::new(node, self.param("storage").unwrap_or(&disk.storage), disk.bytes)).collect()
    }

    /// Returns the volumes that a migration copies to its target, if they are on storages that nodes do not share.
    fn find_moved_volumes(&self, guest: &PathGuest, config: &Map<String, Value>) -> Vec<SpaceNeed> {
        let Some(target) = self.param("target") else { return Vec::new() };
        let mapping = self.param("targetstorage").or(self.param("target-storage")).unwrap_or_default();
        let moved = config.keys().filter_map(|name| size_of(config, name));
        moved
            .map(|disk| SpaceNeed {
                origin: Some((guest.node.clone(), disk.storage.clone())),
                ..SpaceNeed::new(target, map_storage(mapping, &disk.storage), disk.bytes)
            })
            .collect()
    }

    /// Returns the disks of a restored guest, as large as the guest of the backup has them now, and less those of the guest
    /// that it replaces. (PVE: these are removed first.)
    fn find_restored_disks(&self, node: &str, is_container: bool, reader: &ObjectReader<'_>) -> Vec<SpaceNeed> {
        let archive = match is_container {
            true => {
                self.param("ostemplate").filter(|_| self.param("restore") == Some("1") && !self.has_param("rootfs"))
            }
            false => self.param("archive"),
        };
        let mut source = None;
        for_each_vmid_in_volume(archive.unwrap_or_default(), &mut |number| source = source.or(Some(number)));
        let Some(config) = source.and_then(|vmid| self.read_config_of_number(vmid, reader)) else { return Vec::new() };
        let is_saved = |name: &&String| {
            let value = config.get(*name).map(to_text).unwrap_or_default();
            // (PVE: a mount point of a container is left out by default.)
            let default = if name.starts_with("mp") { "0" } else { "1" };
            !name.starts_with("unused") && find_part(&value, "backup").unwrap_or(default) != "0"
        };
        // (PVE: the disks of a VM return to their storages, and a container has one for all.)
        let default = is_container.then_some("local");
        let restored = config.keys().filter(is_saved).filter_map(|name| size_of(&config, name)).map(|disk| {
            let storage = self.param("storage").or(default).unwrap_or(&disk.storage);
            SpaceNeed::new(node, storage, disk.bytes).into_estimate()
        });
        let replaced = self.param("force").filter(|force| *force == "1").and(self.param("vmid")).and_then(|vmid| {
            let vmid: u32 = vmid.parse().ok()?;
            if source == Some(vmid) { Some(config.clone()) } else { self.read_config_of_number(vmid, reader) }
        });
        let replaced = replaced.unwrap_or_default();
        let freed = replaced.keys().filter_map(|name| size_of(&replaced, name));
        restored.chain(freed.map(|disk| SpaceNeed::new(node, &disk.storage, -disk.bytes).into_estimate())).collect()
    }

    fn read_config_of_number(&self, vmid: u32, reader: &ObjectReader<'_>) -> Option<Map<String, Value>> {
        let guest = self.cluster.look_up_guests().ok()?.iter().find(|guest| guest.vmid == vmid)?;
        let place = PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: vmid.to_string() };
        reader.read_value(place.try_path(&["config"]).ok()?).ok()
    }

    /// Returns the size of the newest backups of the guests on the storage of a backup.
    fn find_backup_sizes(&self, node: &str, reader: &ObjectReader<'_>) -> Option<SpaceNeed> {
        let storage = match self.param("storage") {
            Some(storage) => storage.to_owned(),
            None if self.has_param("dumpdir") => return None,
            None => find_default_storage(reader, node)?,
        };
        let is_there = |guest: &&Guest| guest.node == node && !self.excludes_from_backup(guest.vmid);
        let guests = self.affected.select_from(self.cluster.look_up_guests().ok()?).filter(is_there);
        let vmids: Vec<String> = guests.map(|guest| guest.vmid.to_string()).collect();
        let rows = read_backups(reader, node, &storage, &vmids)?;
        let mut newest: HashMap<String, (u64, u64)> = HashMap::new();
        for row in &rows {
            let count = |name: &str| row.get(name).and_then(read_count).unwrap_or_default();
            let vmid = row.get("vmid").map(to_text).unwrap_or_default();
            if vmids.contains(&vmid) {
                let known = newest.entry(vmid).or_default();
                *known = (*known).max((count("ctime"), count("size")));
            }
        }
        let bytes = newest.values().map(|(_, size)| *size as f64).sum();
        Some(SpaceNeed::new(node, &storage, bytes).into_estimate())
    }
}

/// Returns a disk of a guest's configuration, if it is one of the guest itself and has a size.
fn size_of(config: &Map<String, Value>, name: &str) -> Option<SizedVolume> {
    let value = config.get(name).map(to_text).filter(|value| is_own_disk(name, value))?;
    let (storage, _) = find_volume(&value)?.split_once(':')?;
    Some(SizedVolume { storage: storage.to_owned(), bytes: parse_disk_size(find_part(&value, "size")?)? })
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

/// Returns the space that storages lack for each of several calls, which are made one after the other.
pub(super) fn find_missing_space(reader: &ObjectReader<'_>, needs: &[Vec<SpaceNeed>]) -> Vec<Vec<MissingSpace>> {
    if needs.iter().flatten().all(|need| need.bytes <= 0.0) {
        return Vec::new();
    }
    compare_needs(needs, &read_storages(reader))
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

fn compare_needs(needs: &[Vec<SpaceNeed>], rows: &[Map<String, Value>]) -> Vec<Vec<MissingSpace>> {
    let find = |node: &str, storage: &str| {
        let row = rows.iter().find(|row| text_of(row, "node") == node && text_of(row, "storage") == storage);
        row.and_then(StorageSpace::parse)
    };
    // The need on each place so far, with the call that was the last to add to it.
    let mut totals: HashMap<(Option<&str>, &str), (f64, SpaceCertainty, bool)> = HashMap::new();
    let mut missing = Vec::new();
    for call in needs {
        let mut own: Vec<((Option<&str>, &str), f64)> = Vec::new();
        for need in call {
            let Some(space) = find(&need.node, &need.storage) else { continue };
            let stays = |(node, storage): &(String, String)| find(node, storage).is_none_or(|origin| origin.is_shared);
            if need.origin.as_ref().is_some_and(stays) {
                continue;
            }
            let certainty = match (need.is_estimate, space.is_thick) {
                (true, _) => SpaceCertainty::Estimated,
                (false, true) => SpaceCertainty::Exact,
                (false, false) => SpaceCertainty::AtMost,
            };
            let place = (Some(need.node.as_str()).filter(|_| !space.is_shared), need.storage.as_str());
            let is_first = !own.iter().any(|(known, _)| *known == place);
            let (total, known, with_earlier) = totals.entry(place).or_insert((0.0, certainty, false));
            *with_earlier |= is_first && *total > 0.0;
            (*total, *known) = (*total + need.bytes, (*known).max(certainty));
            if is_first {
                own.push((place, space.free));
            }
        }
        let describe = |((node, storage), free): ((Option<&str>, &str), f64)| {
            let (needed, certainty, with_earlier) = totals[&(node, storage)];
            (needed > free).then(|| MissingSpace {
                storage: storage.to_owned(),
                node: node.map(str::to_owned),
                needed,
                free,
                certainty,
                with_earlier,
            })
        };
        missing.push(own.into_iter().filter_map(describe).collect());
    }
    missing
}

impl StorageSpace {
    /// Parses a row of the list of resources. A storage that is off has no space that is known.
    fn parse(row: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| row.get(name).and_then(read_number);
        let (total, used) = (number("maxdisk").filter(|total| *total > 0.0)?, number("disk")?);
        let plugin = text_of(row, "plugintype");
        // Backups on a backup server share their data.
        (text_of(row, "status") == "available" && plugin != "pbs").then(|| Self {
            free: (total - used).max(0.0),
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
            "status": "available", "maxdisk": 100 + free, "disk": 100});
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
                vec![vec![need("a", "thick", 51.0).into_estimate()]],
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
            (vec![vec![need("a", "thick", 60.0).into_estimate(), need("a", "thick", -60.0)]], vec![vec![]]),
            (vec![vec![need("a", "pbs", 60.0), need("c", "thin", 60.0)]], vec![vec![]]),
        ] {
            let found = compare_needs(&needs, &rows);
            let found: Vec<Vec<String>> =
                found.iter().map(|call| call.iter().map(MissingSpace::describe).collect()).collect();
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
