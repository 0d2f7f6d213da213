//! Moving the disks of guests to other storages, and removing them.

use super::guest_config::{check_digest, check_lock, delete_option};
use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::guest::{Disk, GuestKind};
use crate::parameters::MISSING_PARAMETER;
use crate::state::{ClusterState, TaskBuilder};
use crate::units::format_size;
use serde_json::Value;

/// POST /nodes/{node}/qemu/{vmid}/move_disk and /nodes/{node}/lxc/{vmid}/move_volume
pub(crate) fn move_disk(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    if call.params.contains_key("target-vmid") {
        return Err(ApiError::Unsupported("the move of a disk to another guest".into()));
    }
    let slot = call.text(guest.kind.select("disk", "volume")).to_string();
    let Some(storage) = call.optional_text("storage") else {
        return parameter_error("storage", MISSING_PARAMETER);
    };
    call.require(state, &format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    check_digest(guest, call)?;
    check_lock(guest)?;
    let Some(disk) = guest.disks().into_iter().find(|disk| disk.slot == slot) else {
        return fail(match guest.kind {
            GuestKind::Qemu => format!("disk '{slot}' does not exist"),
            GuestKind::Lxc => format!("Cannot move '{slot}', it does not exist"),
        });
    };
    if guest.kind.is_container() && guest.is_running() {
        return fail("cannot move volumes of a running container");
    }
    let (removes, vmid, kind) = (call.flag("delete"), guest.vmid, guest.kind);
    let format = call.optional_text("format").unwrap_or(disk.format());
    if disk.storage() == storage && disk.format() == format {
        return fail(match kind {
            GuestKind::Qemu => "you can't move to the same storage with same format",
            GuestKind::Lxc => "cannot move volume to the same storage",
        });
    }
    let has_snapshots = guest.snapshots.iter().any(|snapshot| snapshot.config.contains_key(&slot));
    if removes && has_snapshots {
        return fail("you can't move a disk with snapshots and delete the source");
    }
    let node = guest.node.clone();
    let format = if state.storage(storage)?.plugin == "lvmthin" { "raw" } else { format };
    let volume = state.allocate_volume(&node, storage, kind, vmid, disk.size(), format)?;
    state.volume_mut(&volume).expect("the volume that was just allocated").used = disk.size() / 4;
    let size = format_size(disk.size());
    let guest = call.guest(state)?;
    TaskBuilder::for_guest(guest, "qmmove", "move_volume")
        .line(format!("create full clone of drive {} ({})", disk.slot, disk.volume_id()))
        .line(format!("transferred {size} of {size} (100.00%)"))
        .start(state, &call.caller.id, move |state| finish_move(state, vmid, &disk, &volume, removes))
}

/// Replaces the volume of a disk. The old one is removed, or kept as an unused one.
fn finish_move(state: &mut ClusterState, vmid: u32, disk: &Disk, volume: &str, removes: bool) -> Result<(), String> {
    let Some(guest) = state.guests.get_mut(&vmid) else { return Err(format!("no such VM ('{vmid}')")) };
    let old = disk.volume_id().to_string();
    for config in [Some(&mut guest.config), guest.running_config.as_mut()].into_iter().flatten() {
        config.insert(disk.slot.clone(), disk.with_volume(volume));
    }
    if removes {
        state.volumes.retain(|volume| volume.volid != old);
    } else if let Some(slot) = guest.free_unused_slot() {
        guest.config.insert(slot, old.into());
    }
    Ok(())
}

/// PUT /nodes/{node}/qemu/{vmid}/unlink: detaches disks, and removes their volumes with `force`.
pub(crate) fn unlink_disks(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let mut guest = call.guest(state)?.clone();
    check_lock(&guest)?;
    for slot in call.list("idlist") {
        let volume = guest.disks().into_iter().find(|disk| disk.slot == slot);
        delete_option(state, &mut guest, slot)?;
        if let Some(volume) = volume.filter(|_| call.flag("force")) {
            state.volumes.retain(|other| other.volid != volume.volume_id());
            guest.config.retain(|_, value| value != volume.volume_id());
        }
    }
    state.guests.insert(guest.vmid, guest);
    Ok(Value::Null)
}
