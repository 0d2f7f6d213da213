//! The backups that a guest has, for the question about its deletion.

use super::fan_out::fan_out;
use super::present_state::{ObjectReader, PathGuest};
use crate::pve::params::ApiParams;
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
