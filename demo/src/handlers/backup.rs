//! Backups and backup jobs.

use super::retention::{removable_backups, storage_settings};
use crate::calendar::CalendarEvent;
use crate::error::{ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::model::guest::{Disk, Guest};
use crate::model::storage::Volume;
use crate::parameters::MISSING_PARAMETER;
use crate::state::{ClusterState, TaskBuilder};
use crate::units::{format_archive_time, format_gib};
use serde_json::{Map, Value, json};

/// GET /cluster/backup
pub(crate) fn list_jobs(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let now = state.seconds();
    Ok(state.backup_jobs.iter().map(|job| with_next_run(job, now)).collect())
}

/// Returns a job as it is read: one that is enabled has the time of its next run.
fn with_next_run(job: &Value, now: i64) -> Value {
    let mut job = job.clone();
    let event = job["schedule"].as_str().filter(|_| job["enabled"] != 0).and_then(CalendarEvent::parse);
    if let Some(next_run) = event.and_then(|event| event.next_after(now)) {
        job["next-run"] = next_run.into();
    }
    job
}

/// Returns the index of the job with the id of the call.
fn job_index(state: &ClusterState, call: &Invocation<'_>) -> Option<usize> {
    let id = call.optional_text("id")?;
    state.backup_jobs.iter().position(|job| job["id"] == id)
}

/// Returns the index of the job of the call. A node has two answers for one that does not exist.
fn find_job(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<usize> {
    job_index(state, call).map_or_else(|| parameter_error("id", format!("No such job '{}'", call.text("id"))), Ok)
}

/// GET /cluster/backup/{id}
pub(crate) fn read_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(with_next_run(&state.backup_jobs[find_job(state, call)?], state.seconds()))
}

/// Sets the properties of a job that the call has.
fn set_properties(job: &mut Value, call: &Invocation<'_>) {
    for (key, value) in call.params.iter().filter(|(key, _)| key.as_str() != "delete") {
        job[key] = if key == "prune-backups" {
            // The parameter is a property string, the answer an object.
            let settings = call.text(key).split(',').filter_map(|part| part.split_once('='));
            Value::Object(settings.map(|(key, n)| (key.into(), n.into())).collect::<Map<_, _>>())
        } else {
            value.clone()
        };
    }
}

/// Fails for a parameter that root@pam alone may give, without a token.
fn require_own_parameters(call: &Invocation<'_>) -> ApiResult<()> {
    let is_given = |name: &&str| call.params.contains_key(*name);
    match ["tmpdir", "dumpdir", "script", "job-id"].into_iter().find(is_given) {
        Some(name) if call.caller.id != "root@pam" => parameter_error(name, "Only root may set this parameter."),
        _ => Ok(()),
    }
}

/// POST /cluster/backup
pub(crate) fn create_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_parameters(call)?;
    if !["vmid", "all", "pool"].iter().any(|name| call.params.contains_key(*name)) {
        return fail("unable to find guests to backup: one of vmid, all or pool is needed");
    }
    if let Some(storage) = call.optional_text("storage") {
        state.storage(storage)?;
    }
    if job_index(state, call).is_some() {
        return parameter_error("id", format!("Job '{}' already exists", call.text("id")));
    }
    let id = format!("backup-{:08x}-{:04x}", state.seconds(), state.next_number());
    let mut job = json!({"id": id, "type": "vzdump", "enabled": 1});
    set_properties(&mut job, call);
    state.backup_jobs.push(job);
    Ok(Value::Null)
}

/// PUT /cluster/backup/{id}
pub(crate) fn update_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_parameters(call)?;
    let Some(index) = job_index(state, call) else { return fail("no such vzdump job") };
    let job = &mut state.backup_jobs[index];
    job.as_object_mut().expect("a job is an object").retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    set_properties(job, call);
    Ok(Value::Null)
}

/// DELETE /cluster/backup/{id}
pub(crate) fn delete_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let index = find_job(state, call)?;
    state.backup_jobs.remove(index);
    Ok(Value::Null)
}

/// Removes a guest from the lists of the jobs. A job whose list gets empty is removed.
pub(super) fn remove_guest_from_jobs(state: &mut ClusterState, vmid: u32) {
    let vmid = vmid.to_string();
    state.backup_jobs.retain_mut(|job| {
        let Some(key) = ["vmid", "exclude"].into_iter().find(|key| job[*key].is_string()) else { return true };
        let listed = job[key].as_str().unwrap_or("").split([',', ';', ' ']);
        let rest: Vec<&str> = listed.filter(|listed| !listed.is_empty() && *listed != vmid).collect();
        let rest = rest.join(",");
        if rest.is_empty() && key == "exclude" {
            job.as_object_mut().expect("a job is an object").remove(key);
            return true;
        }
        let is_kept = !rest.is_empty();
        job[key] = rest.into();
        is_kept
    });
}

/// Returns true if the job backs up the guest.
fn covers(job: &Value, guest: &Guest) -> bool {
    let text = |key: &str| job[key].as_str();
    let lists = |key: &str| {
        text(key).is_some_and(|list| list.split([',', ';', ' ']).any(|vmid| vmid.parse() == Ok(guest.vmid)))
    };
    let in_pool = text("pool").is_some_and(|pool| guest.pool.as_deref() == Some(pool));
    let is_selected = lists("vmid") || in_pool || job["all"] == 1 && !lists("exclude");
    is_selected && text("node").is_none_or(|node| node == guest.node)
}

/// GET /cluster/backup/{id}/included_volumes
pub(crate) fn list_included_volumes(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let job = &state.backup_jobs[find_job(state, call)?];
    let volume = |disk: &Disk| json!({"id": disk.slot, "name": disk.volume_id(), "included": 1, "reason": "enabled"});
    let row = |guest: &Guest| {
        let volumes: Value = guest.disks().iter().map(volume).collect();
        json!({"id": guest.vmid, "name": guest.name(), "type": guest.kind.to_string(), "children": volumes})
    };
    let guests: Value = state.guests.values().filter(|guest| covers(job, guest)).map(row).collect();
    Ok(json!({"children": guests}))
}

/// GET /cluster/backup-info/not-backed-up: the guests that no job covers.
pub(crate) fn list_uncovered_guests(state: &mut ClusterState, _: &Invocation<'_>) -> ApiResult {
    let is_covered = |guest: &Guest| state.backup_jobs.iter().any(|job| covers(job, guest));
    let row = |guest: &Guest| json!({"vmid": guest.vmid, "name": guest.name(), "type": guest.kind.to_string()});
    Ok(state.guests.values().filter(|guest| !is_covered(guest)).map(row).collect())
}

/// Returns the bytes of a backup of the guest: half of the allocated bytes of its disks.
pub(crate) fn backup_size(state: &ClusterState, guest: &Guest) -> u64 {
    let disks = guest.disks();
    let volumes = disks.iter().filter_map(|disk| state.volumes.iter().find(|v| v.volid == disk.volume_id()));
    volumes.map(|volume| volume.used).sum::<u64>() / 2
}

/// Returns the volume of a backup of the guest, without its firewall.
pub(crate) fn backup_volume(guest: &Guest, storage: &str, node: Option<String>, size: u64, time: i64) -> Volume {
    let format = guest.kind.select("vma.zst", "tar.zst");
    let archive_time = format_archive_time(time);
    let volid = format!("{storage}:backup/vzdump-{}-{}-{archive_time}.{format}", guest.kind, guest.vmid);
    Volume {
        vmid: Some(guest.vmid),
        notes: Some(guest.name()),
        config: Some(guest.current_config().clone()),
        ..Volume::new(volid, node, "backup", format, size, time)
    }
}

/// Returns the guests that a vzdump call selects on its node and that the caller may back up.
fn selected_guests<'a>(state: &'a ClusterState, call: &Invocation<'_>) -> ApiResult<Vec<&'a Guest>> {
    let on_node = |guest: &&Guest| guest.node == call.node();
    let pool = call.optional_text("pool");
    if call.list("vmid").next().is_none() {
        if !call.flag("all") && pool.is_none() {
            return parameter_error("vmid", MISSING_PARAMETER);
        }
        let is_excluded = |guest: &Guest| call.list("exclude").any(|vmid| vmid.parse() == Ok(guest.vmid));
        let guests = state
            .guests
            .values()
            .filter(on_node)
            .filter(|guest| !is_excluded(guest) && pool.is_none_or(|pool| guest.pool.as_deref() == Some(pool)))
            .filter(|guest| call.allows(state, &format!("/vms/{}", guest.vmid), "VM.Backup"));
        return Ok(guests.collect());
    }
    let mut guests = Vec::new();
    for vmid in call.list("vmid") {
        let vmid: u32 = vmid.parse().expect("a validated list of guest ids");
        call.require(state, &format!("/vms/{vmid}"), "VM.Backup")?;
        guests.extend(state.guests.get(&vmid).filter(on_node));
    }
    Ok(guests)
}

/// POST /nodes/{node}/vzdump
pub(crate) fn create_backups(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_own_parameters(call)?;
    let node = call.node();
    let storage_name = call.optional_text("storage").unwrap_or("local");
    let guests = selected_guests(state, call)?;
    call.require(state, &format!("/storage/{storage_name}"), "Datastore.AllocateSpace")?;
    let vmids: Vec<u32> = call.list("vmid").filter_map(|vmid| vmid.parse().ok()).collect();
    let task_id = if let [vmid] = vmids.as_slice() { vmid.to_string() } else { String::new() };
    let Ok(storage) = state.storage(storage_name) else {
        let reason = format!("storage '{storage_name}' does not exist");
        let error = format!(
            "could not activate storage '{storage_name}': {reason} could not get storage information for '{storage_name}': {reason}"
        );
        return TaskBuilder::new(node, "vzdump", task_id)
            .fail_with(Some(error))
            .start(state, &call.caller.id, |_| Ok(()));
    };
    if !storage.accepts("backup") {
        let reason = format!("storage '{storage_name}' does not support backups");
        return fail(format!("could not get storage information for '{storage_name}': {reason}"));
    }
    let mode = call.optional_text("mode").unwrap_or("snapshot");
    let ids: Vec<String> = guests.iter().map(|guest| guest.vmid.to_string()).collect();
    let command = format!("vzdump {} --mode {mode} --storage {storage_name}", ids.join(" "));
    let retention =
        call.optional_text("prune-backups").map_or_else(|| storage_settings(state, storage_name), String::from);
    let removes = call.integer("remove") != Some(0) && !retention.starts_with("keep-all");
    let mut task = TaskBuilder::new(node, "vzdump", task_id).line(format!("INFO: starting new backup job: {command}"));
    if let [guest] = guests.as_slice() {
        task = task.fail_with(guest.lock_error()).lock(guest.vmid, "backup");
    }
    let notes = call.optional_text("notes-template").unwrap_or("{{guestname}}");
    let mut free = storage.total - state.used_space(storage, node);
    let mut backups = Vec::new();
    let missing: Vec<u32> =
        vmids.iter().copied().filter(|vmid| guests.iter().all(|guest| guest.vmid != *vmid)).collect();
    let is_elsewhere = |vmid: &u32| state.guests.contains_key(vmid);
    let mut has_failed = missing.iter().any(|vmid| !is_elsewhere(vmid));
    for vmid in missing {
        task = task.line(if is_elsewhere(&vmid) {
            format!("INFO: skip external VMs: {vmid}")
        } else {
            format!("ERROR: Backup of VM {vmid} failed - unable to find VM '{vmid}'")
        });
    }
    for guest in guests {
        let (label, size) = (guest.label(), backup_size(state, guest));
        task = task
            .line(format!("INFO: Starting Backup of {label} ({})", guest.kind))
            .line(format!("INFO: status = {}", if guest.is_running() { "running" } else { "stopped" }))
            .line(format!("INFO: {label} Name: {}", guest.name()))
            .lines(
                guest.disks().iter().map(|disk| format!("INFO: include disk '{}' '{}'", disk.slot, disk.volume_id())),
            );
        if size > free {
            has_failed = true;
            let (size, free) = (format_gib(size), format_gib(free));
            let reason = format!("No space left on device ({size} needed, {free} free)");
            task = task
                .line(format!("ERROR: write error on storage '{storage_name}': No space left on device"))
                .line(format!("ERROR: Backup of {label} failed - {reason}"));
            continue;
        }
        free -= size;
        let backup_node = (!storage.shared).then(|| node.into());
        // Two backups of one second need two names.
        let is_free = |time: &i64| {
            let volid = backup_volume(guest, storage_name, None, size, *time).volid;
            state.volumes.iter().all(|volume| volume.volid != volid)
        };
        let time = (state.seconds()..).find(is_free).expect("a second without a backup");
        let backup = Volume {
            notes: Some(notes.replace("{{guestname}}", &guest.name())),
            protected: call.flag("protected"),
            firewall: state.firewall(guest.vmid),
            ..backup_volume(guest, storage_name, backup_node, size, time)
        };
        task = task
            .line(format!("INFO: creating archive '{}'", backup.volid))
            .line(format!("INFO: 100% ({0} of {0})", format_gib(size)))
            .line(format!("INFO: archive file size: {}", format_gib(size)));
        if removes {
            task = task.line(format!("INFO: prune older backups with retention: {retention}"));
        }
        task = task.line(format!("INFO: Finished Backup of {label}"));
        backups.push(backup);
    }
    let result = if has_failed { "with errors" } else { "successfully" };
    let storage_name = storage_name.to_string();
    task.line(format!("INFO: Backup job finished {result}")).start(state, &call.caller.id, move |state| {
        for backup in backups {
            let vmid = backup.vmid.expect("a backup has a guest");
            state.volumes.push(backup);
            if removes {
                let old = removable_backups(state, &storage_name, vmid, &retention);
                state.volumes.retain(|volume| !old.contains(&volume.volid));
            }
        }
        if has_failed { Err("job errors".into()) } else { Ok(()) }
    })
}

/// GET /nodes/{node}/vzdump/defaults
pub(crate) fn read_defaults(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let storage = call.optional_text("storage").unwrap_or("local");
    call.require_any(state, &format!("/storage/{storage}"), &["Datastore.Audit", "Datastore.AllocateSpace"])?;
    Ok(json!({"all": 0, "bwlimit": 0, "compress": "0", "dumpdir": "/var/lib/vz/dump", "fleecing": {"enabled": 0},
        "ionice": 7, "lockwait": 180, "mailnotification": "always", "mode": "snapshot", "notification-mode": "auto",
        "performance": {"max-workers": 16, "pbs-entries-max": 1_048_576}, "pigz": 0,
        "prune-backups": storage_settings(state, storage), "quiet": 0, "remove": 1, "stdexcludes": 1, "stop": 0,
        "stopwait": 10, "storage": storage, "zstd": 1}))
}
