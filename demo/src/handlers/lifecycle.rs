//! Creation, cloning, migration, resizing and removal of guests.

use super::backup;
use super::guest_config::{check_digest, check_lock, prepare_options, renew_mac_addresses};
use super::ha;
use super::replication;
use super::restore::restore_guest;
use crate::error::{ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::guest::{Disk, Guest, GuestKind, StaleName};
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{format_size, parse_size};
use serde_json::{Value, json};

/// Fails unless the caller may create a guest in the pool of the call, or with this id.
fn require_allocation(state: &ClusterState, call: &Invocation<'_>, vmid: u32) -> ApiResult<()> {
    if let Some(pool) = call.optional_text("pool") {
        if !state.pools.contains_key(pool) {
            return fail(format!("no such pool '{pool}'"));
        }
        if call.allows(state, &format!("/pool/{pool}"), "VM.Allocate") {
            return Ok(());
        }
    }
    call.require(state, &format!("/vms/{vmid}"), "VM.Allocate")
}

/// POST /nodes/{node}/qemu and …/lxc
pub(crate) fn create_guest(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (node, kind, vmid) = (call.node(), call.guest_kind, call.vmid());
    require_allocation(state, call, vmid)?;
    let backup = match kind {
        GuestKind::Lxc if call.flag("restore") => Some(call.text("ostemplate")),
        GuestKind::Lxc => None,
        GuestKind::Qemu => call.optional_text("archive"),
    };
    if let Some(backup) = backup {
        return restore_guest(state, call, backup);
    }
    if let Some(existing) = state.guests.get(&vmid) {
        let (label, node) = (kind.label(), &existing.node);
        return fail(format!("unable to create {label} {vmid} - VM {vmid} already exists on node '{node}'"));
    }
    let mut guest = Guest::new(vmid, kind, node);
    guest.pool = call.optional_text("pool").map(String::from);
    let defaults = match kind {
        GuestKind::Qemu => {
            vec![("memory", json!("512")), ("smbios1", format!("uuid=00000000-0000-4000-8000-{vmid:012}").into())]
        }
        GuestKind::Lxc => {
            let template = call.text("ostemplate");
            if !state.volumes.iter().any(|volume| volume.volid == template && volume.content == "vztmpl") {
                let error = format!("unable to create CT {vmid} - volume '{template}' does not exist");
                return TaskBuilder::new(node, "vzcreate", vmid).fail_with(Some(error)).start(
                    state,
                    &call.caller.id,
                    |_| Ok(()),
                );
            }
            vec![
                ("rootfs", format!("{}:4", call.optional_text("storage").unwrap_or("local-lvm")).into()),
                ("arch", json!("amd64")),
                ("hostname", format!("CT{vmid}").into()),
                ("memory", json!(512)),
                ("swap", json!(512)),
                ("unprivileged", json!(1)),
                ("ostype", json!("debian")),
            ]
        }
    };
    let mut params = call.params.clone();
    for (option, value) in defaults {
        params.entry(option.into()).or_insert(value);
    }
    guest.config = prepare_options(state, &guest, &params, call.optional_text("storage"))?;
    let disks = guest.disks();
    if kind == GuestKind::Qemu && !guest.config.contains_key("boot") && !disks.is_empty() {
        let slots: Vec<&str> = disks.iter().map(|disk| disk.slot.as_str()).collect();
        guest.config.insert("boot".into(), format!("order={}", slots.join(";")).into());
    }
    guest.stale_name = Some(StaleName { name: None, until: state.now + state.lag });
    state.guests.insert(vmid, guest);
    let start = call.flag("start");
    let line = |disk: Disk| format!("{}: successfully created disk '{}'", disk.slot, disk.value);
    let extract = call.optional_text("ostemplate").map(|template| format!("extracting archive '{template}'"));
    TaskBuilder::new(node, kind.select("qmcreate", "vzcreate"), vmid)
        .lock(vmid, "create")
        .lines(disks.into_iter().map(line))
        .lines(extract)
        .start(state, &call.caller.id, move |state| {
            let now = state.now;
            if let Some(guest) = state.guests.get_mut(&vmid).filter(|_| start) {
                guest.start(now);
            }
            Ok(())
        })
}

/// POST …/clone
pub(crate) fn clone_guest(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let (node, kind, vmid, new_id) = (call.node(), call.guest_kind, call.vmid(), call.guest_id("newid"));
    require_allocation(state, call, new_id)?;
    let source = call.guest(state)?.clone();
    check_lock(&source)?;
    if state.guests.contains_key(&new_id) {
        return fail(format!("unable to create {} {new_id}: config file already exists", kind.label()));
    }
    let snapshot = call.optional_text("snapname");
    if kind.is_container() && source.is_running() && snapshot.is_none() {
        return fail("cannot clone a running container: no snapshot name given");
    }
    let full = call.integer("full").map_or(!source.is_template(), |full| full == 1);
    if !full && !source.is_template() {
        return parameter_error("full", "Linked clone feature is only available for templates");
    }
    let config = match snapshot {
        Some(name) => &source.snapshot(name)?.config,
        None => &source.config,
    };
    let target = call.optional_text("target").unwrap_or(node);
    state.node(target)?;
    let mut guest = Guest { config: config.clone(), ..Guest::new(new_id, kind, target) };
    guest.pool = call.optional_text("pool").map(String::from);
    guest.config.retain(|option, _| !matches!(option.as_str(), "template" | "protection" | "smbios1" | "vmgenid"));
    let mut task = TaskBuilder::new(node, kind.select("qmclone", "vzclone"), vmid).lock(new_id, "clone");
    for disk in guest.disks() {
        let storage = call.optional_text("storage").unwrap_or_else(|| disk.storage());
        if target != node && !state.storage(storage)?.shared {
            return fail(format!("can't clone VM to node '{target}' (VM uses local storage)"));
        }
        let volume = state.allocate_volume(target, storage, kind, new_id, disk.size(), disk.format())?;
        if full && let Some(used) = state.volume_mut(disk.volume_id()).map(|source| source.used) {
            state.volume_mut(&volume).expect("the volume that was just allocated").used = used;
        }
        let method = if full { "full" } else { "linked" };
        task = task.line(format!("create {method} clone of drive {} ({})", disk.slot, disk.volume_id()));
        if full {
            task = task.line(format!("transferred {0} of {0} (100.00%)", format_size(disk.size())));
        }
        let value = disk.with_volume(&volume);
        guest.config.insert(disk.slot, value);
    }
    let default_name = || format!("Copy-of-{}-{}", kind.label(), source.name());
    let name = call.optional_text(kind.name_option()).map_or_else(default_name, String::from);
    guest.config.insert(kind.name_option().into(), name.into());
    if let Some(description) = call.optional_text("description") {
        guest.config.insert("description".into(), description.into());
    }
    renew_mac_addresses(state, &mut guest.config);
    guest.stale_name = Some(StaleName { name: None, until: state.now + state.lag });
    state.guests.insert(new_id, guest);
    task.start(state, &call.caller.id, |_| Ok(()))
}

/// POST …/migrate
pub(crate) fn migrate_guest(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let (vmid, target) = (guest.vmid, call.text("target").to_string());
    if target == guest.node {
        return parameter_error("target", "target is local node.");
    }
    let address = state.node(&target)?.ip;
    if ha::is_managed(state, guest) {
        let guest = guest.clone();
        return ha::request_migration(state, &call.caller.id, &guest, target);
    }
    match (guest.kind, guest.is_running()) {
        (GuestKind::Lxc, true) if call.flag("online") => {
            return fail("lxc live migration is currently not implemented");
        }
        (GuestKind::Lxc, true) if !call.flag("restart") => {
            return fail("can't migrate running container without --online or --restart");
        }
        (GuestKind::Qemu, true) if !call.flag("online") => return fail("can't migrate running VM without --online"),
        _ => {}
    }
    let is_live = guest.kind == GuestKind::Qemu && guest.is_running();
    let mut local_volumes = Vec::new();
    for disk in guest.disks() {
        if !state.storage(disk.storage())?.shared {
            local_volumes.push(disk.volume_id().to_string());
        }
    }
    let has_stuck_disks = is_live && !local_volumes.is_empty() && !call.flag("with-local-disks");
    let mut task = TaskBuilder::for_guest(guest, "qmigrate", "vzmigrate")
        .fail_if(has_stuck_disks, "can't live migrate attached local disks without with-local-disks option")
        .lock(vmid, "migrate")
        .line(format!("starting migration of {} to node '{target}' ({address})", guest.label()))
        .lines(local_volumes.iter().map(|volume| format!("copying local disk image '{volume}'")));
    if is_live {
        task = task.line(format!("starting online/live migration on unix:/run/qemu-server/{vmid}.migrate"));
    }
    task = task.line(format!("migration finished successfully (to node '{target}')"));
    task.start(state, &call.caller.id, move |state| move_guest(state, vmid, &target))
}

/// Moves a guest and its local volumes to another node.
pub(super) fn move_guest(state: &mut ClusterState, vmid: u32, target: &str) -> Result<(), String> {
    let now = state.now;
    let guest = state.guests.get_mut(&vmid).ok_or_else(|| format!("no such guest {vmid}"))?;
    guest.node = target.into();
    if guest.kind.is_container() && guest.is_running() {
        guest.start(now);
    }
    let volumes: Vec<String> = guest.disks().iter().map(|disk| disk.volume_id().into()).collect();
    for volume in state.volumes.iter_mut().filter(|volume| volumes.contains(&volume.volid) && volume.node.is_some()) {
        volume.node = Some(target.into());
    }
    Ok(())
}

/// DELETE …/{vmid}
pub(crate) fn destroy_guest(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let (vmid, label, ha_id, purge) = (guest.vmid, guest.label(), guest.ha_id(), call.flag("purge"));
    if guest.is_set("protection") {
        return fail(format!("can't remove {label} - protection mode enabled"));
    }
    if state.ha_resources.contains_key(&ha_id) && !purge {
        return fail(format!("unable to remove {label} - used in HA resources and purge parameter not set."));
    }
    if let Some(job) = replication::first_job_of(state, vmid).filter(|_| !purge) {
        return fail(format!("There is a replication job '{job}' for guest '{vmid}' - Please remove that first."));
    }
    match guest.kind {
        GuestKind::Qemu if guest.is_running() => return fail(format!("{label} is running - destroy failed")),
        GuestKind::Lxc if guest.is_running() && !call.flag("force") => {
            return fail(format!("unable to destroy {label} - container is running"));
        }
        _ => {}
    }
    TaskBuilder::for_guest(guest, "qmdestroy", "vzdestroy")
        .lines(guest.disks().iter().map(|disk| format!("removing volume '{}'", disk.volume_id())))
        .start(state, &call.caller.id, move |state| {
            state.guests.remove(&vmid);
            state.firewall_rules.remove(&vmid);
            state.firewall_options.remove(&vmid);
            let is_disk = |content: &str| matches!(content, "images" | "rootdir");
            state.volumes.retain(|volume| volume.vmid != Some(vmid) || !is_disk(volume.content));
            if purge {
                replication::remove_jobs_of(state, vmid);
                backup::remove_guest_from_jobs(state, vmid);
                ha::remove_resource(state, &ha_id);
            }
            Ok(())
        })
}

/// PUT …/resize: disks can only grow.
pub(crate) fn resize_disk(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest(state)?;
    let (vmid, slot, size) = (guest.vmid, call.text("disk").to_string(), call.text("size"));
    check_digest(guest, call)?;
    let missing = guest.option(&slot).is_none().then(|| format!("disk '{slot}' does not exist"));
    let disk = Disk { value: guest.option(&slot).unwrap_or_default(), slot };
    let increase = size.strip_prefix('+');
    let Some(size) = parse_size(increase.unwrap_or(size)) else {
        return parameter_error("size", "value does not match the regex pattern");
    };
    let (old_size, new_size) = (disk.size(), if increase.is_some() { disk.size().saturating_add(size) } else { size });
    TaskBuilder::for_guest(guest, "resize", "resize")
        .fail_with(missing)
        .fail_if(new_size < old_size, "shrinking disks is not supported")
        .line(format!("resizing {} to {}", disk.slot, format_size(new_size)))
        .start(state, &call.caller.id, move |state| {
            let Some(guest) = state.guests.get_mut(&vmid) else { return Ok(()) };
            let size = |bytes: u64| format!("size={}", format_size(bytes));
            let resized = disk.value.replace(&size(old_size), &size(new_size));
            for config in [Some(&mut guest.config), guest.running_config.as_mut()].into_iter().flatten() {
                config.insert(disk.slot.clone(), resized.as_str().into());
            }
            if let Some(volume) = state.volume_mut(disk.volume_id()) {
                volume.size = new_size;
            }
            Ok(())
        })
}

/// POST …/template: converts a guest into a template for clones.
pub(crate) fn convert_to_template(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let guest = call.guest_mut(state)?;
    if guest.is_running() {
        return fail(format!("you can't convert a {} to template if it is running", guest.kind.label()));
    }
    if !guest.snapshots.is_empty() {
        return fail("unable to create template, because VM contains snapshots");
    }
    guest.config.insert("template".into(), 1.into());
    match guest.kind {
        GuestKind::Lxc => Ok(Value::Null),
        GuestKind::Qemu => {
            TaskBuilder::new(call.node(), "qmtemplate", call.vmid()).start(state, &call.caller.id, |_| Ok(()))
        }
    }
}
