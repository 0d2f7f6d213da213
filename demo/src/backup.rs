//! Backups: jobs, and vzdump.

use super::api::{Answer, Call, failed};
use super::tasks::Job;
use super::value::json;
use super::world::{GIB, Guest, Volume, World, stamp, volid_of};
use serde_json::Value;

/// GET /cluster/backup.
pub(super) fn jobs(world: &mut World, _: &Call<'_>) -> Answer {
    Ok(world.jobs.clone().into())
}

/// GET /cluster/backup/{id}.
pub(super) fn job(world: &mut World, call: &Call<'_>) -> Answer {
    let found = world.jobs.iter().find(|job| job.get("id").and_then(Value::as_str) == call.given("id"));
    found.cloned().map_or_else(|| failed(format!("No such job '{}'", call.text("id"))), Ok)
}

/// GET /cluster/backup-info/not-backed-up: guests that no job covers.
pub(super) fn uncovered(world: &mut World, _: &Call<'_>) -> Answer {
    let covered = |id: u32| {
        world.jobs.iter().any(|job| {
            let list = job.get("vmid").and_then(Value::as_str).unwrap_or_default();
            list.split(',').any(|v| v.parse() == Ok(id))
        })
    };
    let rest = world.guests.values().filter(|g| !covered(g.vmid));
    Ok(rest.map(|g| json!({"vmid": g.vmid, "name": g.name(), "type": g.kind()})).collect())
}

/// Bytes that a backup of the guest takes: half of what its disks do.
fn backup_size(world: &World, guest: &Guest) -> u64 {
    let disks = guest.disks();
    let used =
        |(_, value): &(String, String)| world.volumes.iter().find(|v| v.volid == volid_of(value)).map_or(0, |v| v.used);
    disks.iter().map(used).sum::<u64>() / 2
}

/// POST /nodes/{node}/vzdump.
pub(super) fn vzdump(world: &mut World, call: &Call<'_>) -> Answer {
    let node = call.text("node").to_string();
    let store = call.given("storage").unwrap_or("local").to_string();
    let list: Vec<&str> = call.text("vmid").split([',', ';', ' ']).filter(|v| !v.is_empty()).collect();
    if list.is_empty() && !call.flag("all") && call.given("pool").is_none() {
        return super::api::bad("vmid", "property is missing and it is not optional");
    }
    let excluded = |g: &&Guest| !call.text("exclude").split([',', ';', ' ']).any(|v| v.parse() == Ok(g.vmid));
    let mut ids = Vec::new();
    if list.is_empty() {
        let all = world.guests.values().filter(|g| g.node == node).filter(excluded);
        ids.extend(all.filter(|g| call.given("pool").is_none_or(|p| g.pool.as_deref() == Some(p))).map(|g| g.vmid));
    }
    for id in &list {
        let Ok(id) = id.parse::<u32>() else {
            return super::api::bad("vmid", "invalid format - value does not look like a valid VM ID\n");
        };
        call.need(world, &format!("/vms/{id}"), "VM.Backup")?;
        if world.guests.get(&id).is_some_and(|g| g.node == node) {
            ids.push(id);
        }
    }
    ids.retain(|id| call.may(world, &format!("/vms/{id}"), "VM.Backup"));
    call.need(world, &format!("/storage/{store}"), "Datastore.AllocateSpace")?;
    if !world.storage(&store)?.content.split(',').any(|c| c == "backup") {
        return failed(format!(
            "could not get storage information for '{store}': storage '{store}' does not support backups"
        ));
    }
    let single = if let ([id], 1) = (ids.as_slice(), list.len()) { id.to_string() } else { String::new() };
    let mode = call.given("mode").unwrap_or("snapshot").to_string();
    let mut job = Job::new(&node, "vzdump", single)
        .line(format!("INFO: starting new backup job: vzdump {} --mode {mode} --storage {store}", numbers(&ids)));
    if let [id] = ids.as_slice() {
        let locked = world.guests.get(id).and_then(|g| g.lock);
        job = job.refuse(
            locked.is_some(),
            format!(
                "{} is locked ({})",
                if world.guests.get(id).is_some_and(|g| g.lxc) { "CT" } else { "VM" },
                locked.unwrap_or_default()
            ),
        );
        job = job.lock(*id, "backup");
    }
    let mut free = world.storage(&store).map_or(0, |s| s.total.saturating_sub(world.used(s, &node)));
    let mut made = Vec::new();
    let mut broken = false;
    for id in ids {
        let Some(guest) = world.guests.get(&id) else { continue };
        let size = backup_size(world, guest);
        let (kind, format) = if guest.lxc { ("lxc", "tar.zst") } else { ("qemu", "vma.zst") };
        let label = guest.label();
        job = job
            .line(format!("INFO: Starting Backup of {label} ({kind})"))
            .line(format!("INFO: status = {}", if guest.running() { "running" } else { "stopped" }))
            .line(format!("INFO: {label} Name: {}", guest.name()));
        for (disk, value) in guest.disks() {
            job = job.line(format!("INFO: include disk '{disk}' '{}'", volid_of(&value)));
        }
        if size > free {
            broken = true;
            job = job.line(format!("ERROR: write error on storage '{store}': No space left on device")).line(format!(
                "ERROR: Backup of {label} failed - No space left on device ({} needed, {} free)",
                gib(size),
                gib(free)
            ));
            continue;
        }
        free -= size;
        let time = stamp(world.seconds()).replace('-', "_").replace(' ', "-").replace(':', "_");
        let volid = format!("{store}:backup/vzdump-{kind}-{id}-{time}.{format}");
        job = job
            .line(format!("INFO: creating archive '{volid}'"))
            .line(format!("INFO: 100% ({0} of {0})", gib(size)))
            .line(format!("INFO: archive file size: {}", gib(size)))
            .line(format!("INFO: Finished Backup of {label}"));
        made.push((id, volid, format, size, guest.name()));
    }
    if !broken {
        job = job.line("INFO: Backup job finished successfully");
    } else {
        job = job.line("INFO: Backup job finished with errors");
    }
    let notes = call.given("notes-template").map(String::from);
    let protected = call.flag("protected");
    job.begin(world, &call.caller.id, move |world| {
        let shared = world.storage(&store).is_ok_and(|s| s.shared);
        let ctime = world.seconds();
        world.volumes.extend(made.into_iter().map(|(id, volid, format, size, name)| Volume {
            volid,
            node: (!shared).then(|| node.clone()),
            content: "backup",
            format,
            size,
            used: size,
            vmid: Some(id),
            ctime,
            notes: Some(notes.clone().unwrap_or_else(|| "{{guestname}}".into()).replace("{{guestname}}", &name)),
            protected,
        }));
        if broken { Err("job errors".into()) } else { Ok(()) }
    })
}

fn numbers(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// `12.3 GiB`.
pub(super) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}
