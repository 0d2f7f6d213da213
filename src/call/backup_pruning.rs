//! The backups that a backup with a limit of its own removes.

use super::guest_backups::find_default_storage;
use super::planned_call::PlannedCall;
use super::present_state::ObjectReader;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::object_state::to_text;
use serde_json::Value;
use std::collections::HashMap;

impl ObjectReader<'_> {
    /// Returns the present backups of the guests that the call backs up, with the mark `remove` for those that go after
    /// the new ones are made.
    ///
    /// Only a limit of `keep-last` alone is known in advance: the new backup is one of those that are kept.
    pub(super) fn forecast_pruned_backups(&self, planned: &PlannedCall<'_>) -> Option<Vec<Value>> {
        let param = |name| planned.param(name);
        let keep: usize = param("prune-backups")?.strip_prefix("keep-last=")?.parse().ok()?;
        if keep == 0 || param("remove") == Some("0") || param("protected").is_some_and(|flag| flag != "0") {
            return None;
        }
        let node = planned.path.segments().nth(1)?;
        let guests = planned.cluster.look_up_guests().ok()?;
        // A call that chooses no guests backs none up.
        param("vmid").or(param("pool")).or(param("all").filter(|all| *all == "1"))?;
        let chosen = planned.affected.select_from(guests).filter(|guest| guest.node == node);
        let chosen = chosen.filter(|guest| !planned.excludes_from_backup(guest.vmid));
        let chosen: Vec<String> = chosen.map(|guest| guest.vmid.to_string()).collect();
        let storage = match param("storage") {
            Some(storage) => storage.to_owned(),
            None => find_default_storage(self, &node)?,
        };
        let mut params = ApiParams::new();
        params.push("prune-backups", "keep-last=1");
        if let [vmid] = chosen.as_slice() {
            params.push("vmid", vmid);
        }
        let path = ApiPath::from_segments(&["nodes", &node, "storage", &storage, "prunebackups"]).ok()?;
        let mut rows: Vec<Value> = self.read(path, params).ok()?;
        rows.retain(|row| chosen.contains(&to_text(&row["vmid"])));
        rows.sort_by_key(|row| std::cmp::Reverse(row["ctime"].as_u64()));
        let mut newer: HashMap<String, (usize, Value)> = HashMap::new();
        for row in &mut rows {
            // (PVE: any other mark is one of a backup that no limit counts.)
            if !matches!(row["mark"].as_str(), Some("keep" | "remove")) {
                continue;
            }
            let (number, kind) = newer.entry(to_text(&row["vmid"])).or_insert((1, row["type"].clone()));
            // A number that had a guest of the other kind has backups of two kinds.
            if *kind != row["type"] {
                return None;
            }
            let mark = if *number < keep { "keep" } else { "remove" };
            *number += 1;
            row["mark"] = mark.into();
        }
        Some(rows)
    }
}
