//! Snapshots of guests.

use super::ha;
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::{Disk, Guest, Snapshot};
use crate::state::{ClusterState, TaskBuilder};
use serde_json::{Value, json};

/// GET …/snapshot: the last row is the current state.
pub(crate) fn list_snapshots(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let row = |snapshot: &Snapshot| {
        let mut row = json!({"name": snapshot.name, "description": snapshot.description, "snaptime": snapshot.time});
        if !guest.kind.is_container() {
            row["vmstate"] = u8::from(snapshot.vmstate).into();
        }
        if let Some(parent) = &snapshot.parent {
            row["parent"] = parent.as_str().into();
        }
        row
    };
    let mut current = json!({"name": "current", "description": "You are here!", "digest": guest.digest(),
        "running": u8::from(guest.is_running())});
    if let Some(parent) = &guest.parent {
        current["parent"] = parent.as_str().into();
    }
    Ok(guest.snapshots.iter().map(row).chain([current]).collect())
}

/// Returns true if every disk of the guest can have snapshots: raw files cannot.
pub(crate) fn supports_snapshots(state: &ClusterState, guest: &Guest) -> bool {
    let is_raw_file = |disk: &Disk| {
        disk.format() == "raw" && state.storage(disk.storage()).is_ok_and(|storage| storage.plugin != "lvmthin")
    };
    !guest.disks().iter().any(is_raw_file)
}

/// POST …/snapshot
pub(crate) fn create_snapshot(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let (vmid, name) = (guest.vmid, call.text("snapname").to_string());
    if matches!(name.as_str(), "current" | "pending") {
        return fail(format!("unable to use snapshot name '{name}' (reserved name)"));
    }
    let description = call.optional_text("description").unwrap_or("").to_string();
    let vmstate = call.flag("vmstate") && guest.is_running();
    let line = |disk: Disk| format!("snapshotting '{}' ({})", disk.slot, disk.volume_id());
    TaskBuilder::for_guest(guest, "qmsnapshot", "vzsnapshot")
        .fail_if(guest.snapshot(&name).is_ok(), format!("snapshot name '{name}' already used"))
        .fail_if(!supports_snapshots(state, guest), "snapshot feature is not available")
        .fail_if(guest.is_template(), format!("can't create snapshot of template {vmid}"))
        .lock(vmid, "snapshot")
        .lines(guest.disks().into_iter().map(line))
        .start(state, &call.caller.id, move |state| {
            let time = state.seconds();
            if let Some(guest) = state.guests.get_mut(&vmid) {
                // Changes that wait for the next start are no part of it.
                let (config, parent) = (guest.current_config().clone(), guest.parent.replace(name.clone()));
                guest.snapshots.push(Snapshot { name, description, time, vmstate, parent, config });
            }
            Ok(())
        })
}

/// DELETE …/snapshot/{snapname}
pub(crate) fn delete_snapshot(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let (vmid, name) = (guest.vmid, call.text("snapname").to_string());
    let line = |disk: Disk| format!("removing snapshot of '{}' ({})", disk.slot, disk.volume_id());
    TaskBuilder::for_guest(guest, "qmdelsnapshot", "vzdelsnapshot")
        .fail_if(guest.snapshot(&name).is_err(), format!("snapshot '{name}' does not exist"))
        .lock(vmid, "snapshot-delete")
        .lines(guest.disks().into_iter().map(line))
        .start(state, &call.caller.id, move |state| {
            let Some(guest) = state.guests.get_mut(&vmid) else { return Ok(()) };
            let Ok(snapshot) = guest.snapshot(&name) else { return Ok(()) };
            let parent = snapshot.parent.clone();
            guest.snapshots.retain(|snapshot| snapshot.name != name);
            // Its children become children of its parent.
            let parents = guest.snapshots.iter_mut().map(|snapshot| &mut snapshot.parent).chain([&mut guest.parent]);
            for parent_of_child in parents.filter(|parent| parent.as_ref() == Some(&name)) {
                parent_of_child.clone_from(&parent);
            }
            Ok(())
        })
}

/// POST …/snapshot/{snapname}/rollback
pub(crate) fn roll_back(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let (vmid, name, start) = (guest.vmid, call.text("snapname").to_string(), call.flag("start"));
    let line = |disk: Disk| format!("rolling back '{}' ({}) to '{name}'", disk.slot, disk.volume_id());
    TaskBuilder::for_guest(guest, "qmrollback", "vzrollback")
        .fail_if(guest.snapshot(&name).is_err(), format!("snapshot '{name}' does not exist"))
        .lock(vmid, "rollback")
        .lines(guest.disks().into_iter().map(line))
        .start(state, &call.caller.id, move |state| {
            let now = state.now;
            let Some(guest) = state.guests.get_mut(&vmid) else { return Ok(()) };
            let Ok(snapshot) = guest.snapshot(&name) else {
                return Err(format!("snapshot '{name}' does not exist"));
            };
            let (config, vmstate) = (snapshot.config.clone(), snapshot.vmstate);
            guest.stop();
            // Changes that wait for the next start are lost.
            guest.config = config;
            guest.parent = Some(name);
            if vmstate || start {
                guest.start(now);
            }
            let ha_id = guest.ha_id();
            // The volumes are as large as then.
            let disks: Vec<(String, u64)> =
                guest.disks().iter().map(|disk| (disk.volume_id().to_owned(), disk.size())).collect();
            for (volid, size) in disks {
                if let Some(volume) = state.volume_mut(&volid) {
                    volume.size = size;
                }
            }
            ha::follow(state, ha_id);
            Ok(())
        })
}

/// GET …/snapshot/{snapname}/config
pub(crate) fn read_snapshot_config(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let snapshot = call.guest(state)?.snapshot(call.text("snapname"))?;
    let mut config = json!(snapshot.config);
    config["snaptime"] = snapshot.time.into();
    config["description"] = snapshot.description.as_str().into();
    Ok(config)
}

/// PUT …/snapshot/{snapname}/config: only the description can change.
pub(crate) fn update_snapshot_config(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let name = call.text("snapname");
    let guest = call.guest_mut(state)?;
    guest.snapshot(name)?;
    for snapshot in guest.snapshots.iter_mut().filter(|snapshot| snapshot.name == name) {
        snapshot.description = call.optional_text("description").unwrap_or("").into();
    }
    Ok(Value::Null)
}
