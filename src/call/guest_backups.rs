//! The backups of guests on storages.

use super::fan_out::fan_out;
use super::present_state::{ObjectReader, PathGuest};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::is_true;
use crate::render::object_state::{GuestBackups, Looked, text_of, to_text};
use serde_json::{Map, Value};

/// The most storages whose backups are read.
const MAX_STORAGES: usize = 16;
/// The most storages that are read at once.
const MAX_CONCURRENT_READS: usize = 4;

impl ObjectReader<'_> {
    /// Counts the backups of a guest on the storages of its node. Returns `None` if these can't be listed.
    pub(super) fn count_backups(&self, guest: &PathGuest) -> Option<GuestBackups> {
        let params = |pairs: &[(&str, &str)]| {
            let mut params = ApiParams::new();
            pairs.iter().for_each(|(name, value)| params.push(name, value));
            params
        };
        let below_node = |rest: &[&str]| guest.try_node_path(rest);
        let wanted = params(&[("content", "backup"), ("enabled", "1")]);
        let storages: Vec<Map<String, Value>> = self.read(below_node(&["storage"]).ok()?, wanted).ok()?;
        let read: Vec<Looked<usize>> = fan_out(
            &storages[..storages.len().min(MAX_STORAGES)],
            MAX_CONCURRENT_READS,
            |storage: &Map<String, Value>| {
                let path = below_node(&["storage", text_of(storage, "storage"), "content"])?;
                let wanted = params(&[("content", "backup"), ("vmid", &guest.vmid)]);
                let rows: Vec<Map<String, Value>> = self.read(path, wanted)?;
                let is_own = |row: &&Map<String, Value>| row.get("vmid").is_none_or(|vmid| to_text(vmid) == guest.vmid);
                Ok(rows.iter().filter(is_own).count())
            },
        );
        let are_active = storages.iter().all(|storage| storage.get("active").is_none_or(is_true));
        let found = read.iter().flatten().sum();
        let is_complete = are_active && storages.len() <= MAX_STORAGES && read.iter().all(Result::is_ok);
        Some(GuestBackups { found, is_complete })
    }
}

/// Reads the backups on a storage, those of one guest if there is only one.
pub(super) fn read_backups(
    reader: &ObjectReader<'_>,
    node: &str,
    storage: &str,
    vmids: &[String],
) -> Option<Vec<Map<String, Value>>> {
    let mut params = ApiParams::new();
    params.push("content", "backup");
    if let [vmid] = vmids {
        params.push("vmid", vmid);
    }
    reader.read(ApiPath::from_segments(&["nodes", node, "storage", storage, "content"]).ok()?, params).ok()
}

/// Returns the storage of a backup that names none. (PVE: the configuration of vzdump.)
pub(super) fn find_default_storage(reader: &ObjectReader<'_>, node: &str) -> Option<String> {
    let path = ApiPath::from_segments(&["nodes", node, "vzdump", "defaults"]).ok()?;
    let defaults: Map<String, Value> = reader.read_value(path).ok()?;
    defaults.get("storage").and_then(Value::as_str).map(str::to_owned)
}

/// Returns the storages of a node that keep backups.
pub(super) fn find_backup_storages(reader: &ObjectReader<'_>, node: &str) -> Vec<String> {
    let Ok(path) = ApiPath::from_segments(&["nodes", node, "storage"]) else { return Vec::new() };
    let mut params = ApiParams::new();
    params.push("content", "backup");
    params.push("enabled", "1");
    let rows: Vec<Map<String, Value>> = reader.read(path, params).unwrap_or_default();
    rows.iter().take(MAX_STORAGES).map(|row| text_of(row, "storage").to_owned()).collect()
}
