//! Retention of backups: the oldest ones that no rule keeps are removed.

use crate::error::ApiResult;
use crate::invocation::Invocation;
use crate::model::storage::Volume;
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{DAY, format_archive_time};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A rule of retention: the name of its setting, and the period of a time of which it keeps one backup.
type Rule = (&'static str, fn(i64) -> String);

/// The rules in the order of a node. `keep-last` keeps any backup.
const RULES: [Rule; 6] = [
    ("keep-last", |time| time.to_string()),
    ("keep-hourly", |time| format_archive_time(time)[..13].into()),
    ("keep-daily", |time| format_archive_time(time)[..10].into()),
    // Weeks begin on Monday: the first day of 1970 was a Thursday.
    ("keep-weekly", |time| ((time / DAY + 3) / 7).to_string()),
    ("keep-monthly", |time| format_archive_time(time)[..7].into()),
    ("keep-yearly", |time| format_archive_time(time)[..4].into()),
];

/// Returns the settings in a property string such as `keep-daily=3,keep-weekly=1`.
fn parse_settings(text: &str) -> BTreeMap<&str, usize> {
    text.split(',')
        .filter_map(|part| part.split_once('='))
        .filter_map(|(key, n)| Some((key, n.parse().ok()?)))
        .collect()
}

/// Returns the indexes of the backups of one guest that the settings do not keep. `backups` has their times.
fn removable(settings: &str, mut backups: Vec<(usize, i64)>) -> Vec<usize> {
    let settings = parse_settings(settings);
    let keeps_all = settings.get("keep-all").is_some_and(|n| *n > 0);
    if keeps_all || settings.values().all(|n| *n == 0) {
        return Vec::new();
    }
    backups.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    let mut kept: BTreeMap<usize, i64> = BTreeMap::new();
    for (name, period) in RULES {
        let mut left = settings.get(name).copied().unwrap_or(0);
        let mut periods: BTreeSet<String> = kept.values().map(|time| period(*time)).collect();
        for (index, time) in &backups {
            if left == 0 {
                break;
            }
            if !kept.contains_key(index) && periods.insert(period(*time)) {
                kept.insert(*index, *time);
                left -= 1;
            }
        }
    }
    backups.into_iter().map(|(index, _)| index).filter(|index| !kept.contains_key(index)).collect()
}

/// Returns the retention of a storage.
pub(crate) fn storage_settings(state: &ClusterState, storage: &str) -> String {
    let storage = state.storage(storage).ok();
    storage.and_then(|storage| storage.properties["prune-backups"].as_str()).unwrap_or("keep-all=1").into()
}

/// Returns the volume ids of the guest's backups on a storage that the settings do not keep.
pub(crate) fn removable_backups(state: &ClusterState, storage: &str, vmid: u32, settings: &str) -> Vec<String> {
    let is_candidate = |volume: &Volume| {
        volume.id_parts().0 == storage && volume.content == "backup" && volume.vmid == Some(vmid) && !volume.protected
    };
    let backups = state.volumes.iter().enumerate().filter(|(_, volume)| is_candidate(volume));
    let removable = removable(settings, backups.map(|(index, volume)| (index, volume.ctime)).collect());
    removable.into_iter().map(|index| state.volumes[index].volid.clone()).collect()
}

/// GET …/prunebackups: the backups with `keep`, `remove` or `protected`.
pub(crate) fn list_prunable(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = state.storage(call.text("storage"))?.name.to_string();
    let settings = call.optional_text("prune-backups").map_or_else(|| storage_settings(state, &storage), String::from);
    let mut rows = Vec::new();
    for volume in state.volumes.iter().filter(|v| v.id_parts().0 == storage && v.content == "backup") {
        let Some(vmid) =
            volume.vmid.filter(|vmid| call.integer("vmid").is_none_or(|wanted| i64::from(*vmid) == wanted))
        else {
            continue;
        };
        let kind = if volume.format.starts_with("vma") { "qemu" } else { "lxc" };
        if call.optional_text("type").is_some_and(|wanted| wanted != kind) {
            continue;
        }
        let mark = match removable_backups(state, &storage, vmid, &settings).contains(&volume.volid) {
            _ if volume.protected => "protected",
            true => "remove",
            false => "keep",
        };
        rows.push(json!({"volid": volume.volid, "ctime": volume.ctime, "type": kind, "vmid": vmid, "mark": mark}));
    }
    Ok(Value::Array(rows))
}

/// DELETE …/prunebackups: removes the backups that the retention does not keep.
pub(crate) fn prune(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = call.text("storage");
    let path = format!("/storage/{storage}");
    match call.integer("vmid") {
        Some(vmid) if !call.allows(state, &path, "Datastore.Allocate") => {
            call.require(state, &path, "Datastore.AllocateSpace")?;
            call.require(state, &format!("/vms/{vmid}"), "VM.Backup")?;
        }
        _ => call.require(state, &path, "Datastore.Allocate")?,
    }
    let rows = list_prunable(state, call)?;
    let marked = |mark: &str| -> Vec<String> {
        let rows = rows.as_array().into_iter().flatten().filter(|row| row["mark"] == mark);
        rows.filter_map(|row| row["volid"].as_str().map(String::from)).collect()
    };
    let removed = marked("remove");
    TaskBuilder::new(call.node(), "prunebackups", storage)
        .lines(marked("keep").into_iter().map(|volid| format!("keep {volid}")))
        .lines(removed.iter().map(|volid| format!("removing backup '{volid}'")))
        .start(state, &call.caller.id, move |state| {
            state.volumes.retain(|volume| !removed.contains(&volume.volid));
            Ok(())
        })
}

#[cfg(test)]
mod tests {
    use super::removable;
    use crate::units::DAY;

    #[test]
    fn retention_keeps_one_backup_per_period_of_its_rules() {
        let noon = 20_000 * DAY + 43_200;
        let backups: Vec<(usize, i64)> = [0, 3600, DAY, 2 * DAY, 3 * DAY, 40 * DAY]
            .into_iter()
            .enumerate()
            .map(|(index, age)| (index, noon - age))
            .collect();
        let removed = |settings| removable(settings, backups.clone());
        assert_eq!(removed("keep-last=2"), [2, 3, 4, 5]);
        assert_eq!(removed("keep-daily=2"), [1, 3, 4, 5]);
        assert_eq!(removed("keep-last=1,keep-monthly=1"), [1, 2, 3, 4]);
        assert_eq!((removed("keep-all=1"), removed("keep-last=0")), (vec![], vec![]));
    }
}
