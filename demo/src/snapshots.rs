//! Snapshots of guests.

use super::api::{Answer, Call, failed};
use super::guest::as_object;
use super::power;
use super::tasks::Job;
use super::value::{json, put, set};
use super::world::{Snapshot, World};
use serde_json::Value;

/// GET …/snapshot: the last row is the present.
pub(super) fn list(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let row = |s: &Snapshot| {
        let mut row = json!({"name": s.name, "description": s.description, "snaptime": s.time});
        if !guest.lxc {
            set(&mut row, "vmstate", u8::from(s.vmstate).into());
        }
        if let Some(parent) = &s.parent {
            set(&mut row, "parent", parent.clone().into());
        }
        row
    };
    let mut now = json!({"name": "current", "description": "You are here!", "digest": guest.digest(),
        "running": u8::from(guest.running())});
    if let Some(parent) = &guest.parent {
        set(&mut now, "parent", parent.clone().into());
    }
    Ok(guest.snapshots.iter().map(row).chain([now]).collect())
}

/// POST …/snapshot.
pub(super) fn create(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let (vmid, name) = (guest.vmid, call.text("snapname").to_string());
    if matches!(name.as_str(), "current" | "pending") {
        return failed(format!("unable to use snapshot name '{name}' (reserved name)"));
    }
    let taken = guest.snapshots.iter().any(|s| s.name == name);
    let mut job = Job::on(guest, "qmsnapshot", "vzsnapshot")
        .refuse(taken, format!("snapshot name '{name}' already used"))
        .refuse(guest.is("template"), format!("can't create snapshot of template {vmid}"))
        .lock(vmid, "snapshot");
    for (disk, value) in guest.disks() {
        job = job.line(format!("snapshotting '{disk}' ({})", super::world::volid_of(&value)));
    }
    let (description, vmstate) = (call.text("description").to_string(), call.flag("vmstate") && guest.running());
    job.begin(world, &call.caller.id, move |world| {
        let time = world.seconds();
        if let Some(guest) = world.guests.get_mut(&vmid) {
            let (config, parent) = (guest.config.clone(), guest.parent.replace(name.clone()));
            guest.snapshots.push(Snapshot { name, description, time, vmstate, parent, config });
        }
        Ok(())
    })
}

/// DELETE …/snapshot/{snapname}.
pub(super) fn delete(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let (vmid, name) = (guest.vmid, call.text("snapname").to_string());
    let missing = !guest.snapshots.iter().any(|s| s.name == name);
    let mut job = Job::on(guest, "qmdelsnapshot", "vzdelsnapshot")
        .refuse(missing, format!("snapshot '{name}' does not exist"))
        .lock(vmid, "snapshot-delete");
    for (disk, value) in guest.disks() {
        job = job.line(format!("removing snapshot of '{disk}' ({})", super::world::volid_of(&value)));
    }
    job.begin(world, &call.caller.id, move |world| {
        let Some(guest) = world.guests.get_mut(&vmid) else { return Ok(()) };
        let parent = guest.snapshots.iter().find(|s| s.name == name).and_then(|s| s.parent.clone());
        guest.snapshots.retain(|s| s.name != name);
        // Whatever descended from it now descends from its parent.
        let heirs = guest.snapshots.iter_mut().map(|s| &mut s.parent).chain([&mut guest.parent]);
        for heir in heirs.filter(|heir| heir.as_deref() == Some(name.as_str())) {
            heir.clone_from(&parent);
        }
        Ok(())
    })
}

/// POST …/snapshot/{snapname}/rollback.
pub(super) fn rollback(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let (vmid, name) = (guest.vmid, call.text("snapname").to_string());
    let start = call.flag("start");
    let missing = !guest.snapshots.iter().any(|s| s.name == name);
    let mut job = Job::on(guest, "qmrollback", "vzrollback")
        .refuse(missing, format!("snapshot '{name}' does not exist"))
        .lock(vmid, "rollback");
    for (disk, value) in guest.disks() {
        job = job.line(format!("rolling back '{disk}' ({}) to '{name}'", super::world::volid_of(&value)));
    }
    job.begin(world, &call.caller.id, move |world| {
        let now = world.now;
        let Some(guest) = world.guests.get_mut(&vmid) else { return Ok(()) };
        let Some(snapshot) = guest.snapshots.iter().find(|s| s.name == name) else {
            return Err(format!("snapshot '{name}' does not exist"));
        };
        let (config, vmstate) = (snapshot.config.clone(), snapshot.vmstate);
        power::stop_now(guest);
        guest.config = config;
        guest.parent = Some(name);
        if vmstate || start {
            power::start_now(guest, now);
        }
        Ok(())
    })
}

/// GET …/snapshot/{snapname}/config.
pub(super) fn config(world: &mut World, call: &Call<'_>) -> Answer {
    let guest = world.guest(call.text("node"), call.lxc, call.vmid())?;
    let name = call.text("snapname");
    let Some(snapshot) = guest.snapshots.iter().find(|s| s.name == name) else {
        return failed(format!("snapshot '{name}' does not exist"));
    };
    let mut out = as_object(&snapshot.config);
    put(&mut out, "snaptime", snapshot.time.into());
    put(&mut out, "description", snapshot.description.clone().into());
    Ok(out.into())
}

/// PUT …/snapshot/{snapname}/config: only what is written about it can change.
pub(super) fn describe(world: &mut World, call: &Call<'_>) -> Answer {
    let name = call.text("snapname");
    let guest = world.guest_mut(call.text("node"), call.lxc, call.vmid())?;
    match guest.snapshots.iter_mut().find(|s| s.name == name) {
        Some(snapshot) => {
            snapshot.description = call.text("description").into();
            Ok(Value::Null)
        }
        None => failed(format!("snapshot '{name}' does not exist")),
    }
}
