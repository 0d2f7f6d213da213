//! Restoring guests from backups.

use super::guest_config::{prepare_options, renew_mac_addresses};
use crate::error::{ApiResult, fail};
use crate::invocation::Invocation;
use crate::model::guest::{Guest, GuestConfig, GuestKind};
use crate::state::{ClusterState, TaskBuilder};
use serde_json::json;

/// Restores the guest of the call from a backup.
///
/// A caller asks for it by POST /nodes/{node}/qemu with `archive`, or POST /nodes/{node}/lxc with `restore`.
pub(crate) fn restore_guest(state: &mut ClusterState, call: &Invocation<'_>, backup_id: &str) -> ApiResult {
    let (node, kind, vmid) = (call.node(), call.guest_kind, call.vmid());
    let refuse = |reason: String| fail(format!("unable to restore {} {vmid} - {reason}", kind.label()));
    let backup = state.volumes.iter().find(|v| v.volid == backup_id && v.content == "backup" && v.is_on(node));
    let Some(backup) = backup else { return refuse(format!("volume '{backup_id}' does not exist")) };
    let backup_kind = if backup.format.starts_with("vma") { GuestKind::Qemu } else { GuestKind::Lxc };
    if backup_kind != kind {
        return refuse(format!("'{backup_id}' is a backup of the other kind of guest"));
    }
    // The demo starts with backups of a removed VM, which have no configuration.
    let removed_vm = || {
        GuestConfig::from([
            ("name".into(), json!(backup.notes)),
            ("memory".into(), json!("4096")),
            ("scsi0".into(), json!("local-lvm:old,size=200G")),
        ])
    };
    let mut guest = Guest::new(vmid, kind, node);
    let firewall = backup.firewall.clone();
    guest.config = backup.config.clone().unwrap_or_else(removed_vm);
    guest.config.remove("template");
    guest.pool = call.optional_text("pool").map(String::from);
    let existing = state.guests.get(&vmid);
    if let Some(existing) = existing {
        if existing.node != node || existing.kind != kind || !call.flag("force") {
            return refuse(format!("VM {vmid} already exists on node '{}'", existing.node));
        }
        if existing.is_set("protection") {
            return refuse("protection mode enabled".into());
        }
        if existing.is_running() {
            return refuse(kind.select("vm is running", "container is running").into());
        }
        if let Some(lock) = existing.lock {
            return refuse(format!("VM is locked ({lock})"));
        }
        guest.pool = guest.pool.or_else(|| existing.pool.clone());
    }
    let replaced_disks = existing.map_or_else(Vec::new, Guest::disks);
    let replaced_volumes: Vec<String> = replaced_disks.iter().map(|disk| disk.volume_id().into()).collect();
    let mut task = TaskBuilder::new(node, kind.select("qmrestore", "vzrestore"), vmid).line(kind.select(
        format!("restore vma archive: {backup_id}"),
        format!("recovering backed-up configuration from '{backup_id}'"),
    ));
    for disk in guest.disks() {
        let storage = call.optional_text("storage").unwrap_or_else(|| disk.storage());
        let volid = state.allocate_volume(node, storage, kind, vmid, disk.size(), disk.format())?;
        state.volume_mut(&volid).expect("the volume that was just allocated").used = disk.size() / 3;
        task = task.line(format!("new volume ID is '{volid}'"));
        let value = disk.with_volume(&volid);
        guest.config.insert(disk.slot, value);
    }
    let options = prepare_options(state, &guest, &call.params, call.optional_text("storage"))?;
    guest.config.extend(options);
    if call.flag("unique") {
        renew_mac_addresses(state, &mut guest.config);
    }
    let start = call.flag("start");
    state.guests.entry(vmid).or_insert_with(|| guest.clone());
    task.line("progress 100%").line("rescan volumes...").lock(vmid, "create").start(
        state,
        &call.caller.id,
        move |state| {
            state.volumes.retain(|volume| !replaced_volumes.contains(&volume.volid));
            if start {
                guest.start(state.now);
            }
            state.guests.insert(vmid, guest);
            state.set_firewall(vmid, firewall);
            Ok(())
        },
    )
}
