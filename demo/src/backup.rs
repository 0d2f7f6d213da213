//! Backups: jobs, and vzdump.

use super::api::{Answer, Call, Fault, failed};
use super::tasks::Job;
use super::value::{json, set};
use super::world::{GIB, Guest, Volume, World, stamp, volid_of};
use serde_json::Value;

/// GET /cluster/backup.
pub(super) fn jobs(world: &mut World, _: &Call<'_>) -> Answer {
    Ok(world.jobs.clone().into())
}

/// GET /cluster/backup/{id}.
pub(super) fn job(world: &mut World, call: &Call<'_>) -> Answer {
    let at = place(world, call)?;
    Ok(world.jobs.get(at).cloned().unwrap_or_default())
}

fn place(world: &World, call: &Call<'_>) -> Result<usize, Fault> {
    let found = world.jobs.iter().position(|job| job.get("id").and_then(Value::as_str) == call.given("id"));
    found.map_or_else(|| failed(format!("No such job '{}'", call.text("id"))), Ok)
}

/// Puts what the call gives into the job.
fn fill(job: &mut Value, call: &Call<'_>) {
    let Some(job) = job.as_object_mut() else { return };
    for (key, value) in call.params.iter().filter(|(key, _)| key.as_str() != "delete") {
        let mut value = value.clone();
        if key == "prune-backups" {
            // Given as a property string, shown as an object.
            value = json!({});
            for (keep, n) in call.text(key).split(',').filter_map(|part| part.split_once('=')) {
                set(&mut value, keep, n.into());
            }
        }
        job.insert(key.clone(), value);
    }
}

/// POST /cluster/backup.
pub(super) fn add_job(world: &mut World, call: &Call<'_>) -> Answer {
    if ["vmid", "all", "pool"].iter().all(|what| !call.params.contains_key(*what)) {
        return failed("unable to find guests to backup: one of vmid, all or pool is needed");
    }
    if let Some(storage) = call.given("storage") {
        world.storage(storage)?;
    }
    if world.jobs.iter().any(|job| job.get("id").and_then(Value::as_str) == call.given("id")) {
        return failed(format!("Job '{}' already exists", call.text("id")));
    }
    let id = format!("backup-{:08x}-{:04x}", world.seconds(), world.unique());
    let mut job = json!({"id": id, "type": "vzdump", "enabled": 1});
    fill(&mut job, call);
    world.jobs.push(job);
    Ok(Value::Null)
}

/// PUT /cluster/backup/{id}.
pub(super) fn update_job(world: &mut World, call: &Call<'_>) -> Answer {
    let at = place(world, call)?;
    if let Some(job) = world.jobs.get_mut(at) {
        if let Some(job) = job.as_object_mut() {
            job.retain(|key, _| !call.list("delete").any(|d| d == key));
        }
        fill(job, call);
    }
    Ok(Value::Null)
}

/// DELETE /cluster/backup/{id}.
pub(super) fn remove_job(world: &mut World, call: &Call<'_>) -> Answer {
    let at = place(world, call)?;
    world.jobs.remove(at);
    Ok(Value::Null)
}

/// Whether the job takes the guest.
pub(super) fn covers(job: &Value, guest: &Guest) -> bool {
    let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default();
    let named = |key: &str| text(key).split([',', ';', ' ']).any(|v| v.parse() == Ok(guest.vmid));
    let all = job.get("all").and_then(Value::as_i64) == Some(1);
    let here = text("node").is_empty() || text("node") == guest.node;
    here && (named("vmid") || guest.pool.as_deref() == Some(text("pool")) || all && !named("exclude"))
}

/// GET /cluster/backup/{id}/included_volumes.
pub(super) fn included(world: &mut World, call: &Call<'_>) -> Answer {
    let at = place(world, call)?;
    let taken = world.guests.values().filter(|g| world.jobs.get(at).is_some_and(|job| covers(job, g)));
    let volume = |(key, value): (String, String)| json!({"id": key, "name": volid_of(&value), "included": 1, "reason": "enabled"});
    let row = |g: &Guest| {
        let disks: Vec<Value> = g.disks().into_iter().map(volume).collect();
        json!({"id": g.vmid, "name": g.name(), "type": g.kind(), "children": disks})
    };
    let guests: Vec<Value> = taken.map(row).collect();
    Ok(json!({"children": guests}))
}

/// GET /cluster/backup-info/not-backed-up: guests that no job covers.
pub(super) fn uncovered(world: &mut World, _: &Call<'_>) -> Answer {
    let covered = |guest: &Guest| world.jobs.iter().any(|job| covers(job, guest));
    let rest = world.guests.values().filter(|g| !covered(g));
    Ok(rest.map(|g| json!({"vmid": g.vmid, "name": g.name(), "type": g.kind()})).collect())
}

/// Bytes that a backup of the guest takes: half of what its disks do.
pub(super) fn backup_size(world: &World, guest: &Guest) -> u64 {
    let disks = guest.disks();
    let used =
        |(_, value): &(String, String)| world.volumes.iter().find(|v| v.volid == volid_of(value)).map_or(0, |v| v.used);
    disks.iter().map(used).sum::<u64>() / 2
}

/// POST /nodes/{node}/vzdump.
pub(super) fn vzdump(world: &mut World, call: &Call<'_>) -> Answer {
    let node = call.text("node").to_string();
    let store = call.given("storage").unwrap_or("local").to_string();
    let list: Vec<&str> = call.list("vmid").collect();
    if list.is_empty() && !call.flag("all") && call.given("pool").is_none() {
        return super::api::bad("vmid", "property is missing and it is not optional");
    }
    let excluded = |g: &&Guest| !call.list("exclude").any(|v| v.parse() == Ok(g.vmid));
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
        made.push((id, volid, format, size, guest.name(), guest.config.clone()));
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
        world.volumes.extend(made.into_iter().map(|(id, volid, format, size, name, config)| Volume {
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
            config: Some(config),
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
