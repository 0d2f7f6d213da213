//! Replication jobs. No storage of the demo can replicate, so every job fails when it runs, as on such a node.

use crate::error::{ApiError, ApiResult, fail, parameter_error};
use crate::invocation::Invocation;
use crate::options::Release;
use crate::state::ClusterState;
use serde_json::{Map, Value, json};

/// Returns the id of the guest in the id of a job, `100-0`.
fn guest_of(job: &str) -> Option<u32> {
    job.split_once('-')?.0.parse().ok()
}

/// Returns the id of the first replication job of a guest.
pub(super) fn first_job_of(state: &ClusterState, vmid: u32) -> Option<&String> {
    state.replication_jobs.keys().find(|id| guest_of(id) == Some(vmid))
}

/// Removes the replication jobs of a guest.
pub(super) fn remove_jobs_of(state: &mut ClusterState, vmid: u32) {
    state.replication_jobs.retain(|id, _| guest_of(id) != Some(vmid));
}

fn require_on_guest(state: &ClusterState, call: &Invocation<'_>) -> ApiResult<()> {
    let vmid = guest_of(call.text("id")).expect("a validated id of a job");
    match call.release {
        Release::Pve8 => call.require(state, "/storage", "Datastore.Allocate"),
        Release::Pve9 => call.require(state, &format!("/vms/{vmid}"), "VM.Replicate"),
    }
}

/// Returns the jobs whose guests the caller can see.
fn visible<'a>(
    state: &'a ClusterState,
    call: &'a Invocation<'_>,
) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    state
        .replication_jobs
        .iter()
        .filter(|(id, _)| guest_of(id).is_some_and(|vmid| call.allows(state, &format!("/vms/{vmid}"), "VM.Audit")))
}

fn job_row(id: &str, job: &Map<String, Value>) -> Value {
    let (guest, number) = id.split_once('-').expect("the id of a job is guest-number");
    let mut row = json!(job);
    row["id"] = id.into();
    row["guest"] = guest.parse::<u32>().ok().into();
    row["jobnum"] = number.into();
    row
}

/// GET /cluster/replication
pub(crate) fn list_jobs(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    Ok(visible(state, call).map(|(id, job)| job_row(id, job)).collect())
}

/// GET /cluster/replication/{id}
pub(crate) fn read_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("id");
    match visible(state, call).find(|(other, _)| *other == id) {
        Some((id, job)) => Ok(job_row(id, job)),
        None => parameter_error("id", format!("No such job '{id}'")),
    }
}

/// POST /cluster/replication
pub(crate) fn create_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_guest(state, call)?;
    let (id, target) = (call.text("id"), call.text("target"));
    let vmid = guest_of(id).expect("a validated id of a job");
    let Some(guest) = state.guests.get(&vmid) else {
        return fail(format!("Create replication job failed: guest '{vmid}' does not exist"));
    };
    if state.replication_jobs.contains_key(id) {
        return fail(format!("Create replication job failed: replication job '{id}' already exists"));
    }
    if guest.node == target {
        return fail("Create replication job failed: source and target are the same");
    }
    state.node(target)?;
    let mut job = Map::from_iter([("source".into(), guest.node.as_str().into())]);
    let given = call.params.iter().filter(|(key, _)| key.as_str() != "id");
    job.extend(given.map(|(key, value)| (key.clone(), value.clone())));
    state.replication_jobs.insert(id.into(), job);
    Ok(Value::Null)
}

/// PUT /cluster/replication/{id}
pub(crate) fn update_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_guest(state, call)?;
    let id = call.text("id");
    let Some(job) = state.replication_jobs.get_mut(id) else { return fail(format!("no such job '{id}'")) };
    job.retain(|key, _| call.list("delete").all(|deleted| deleted != key));
    let given = call.params.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "delete" | "digest"));
    job.extend(given.map(|(key, value)| (key.clone(), value.clone())));
    Ok(Value::Null)
}

/// DELETE /cluster/replication/{id}
pub(crate) fn delete_job(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    require_on_guest(state, call)?;
    let id = call.text("id");
    match state.replication_jobs.remove(id) {
        Some(_) => Ok(Value::Null),
        None => fail(format!("no such job '{id}'")),
    }
}

fn status_row(state: &ClusterState, id: &str, job: &Map<String, Value>) -> Value {
    let mut row = job_row(id, job);
    let guest = guest_of(id).and_then(|vmid| state.guests.get(&vmid));
    if let Some(guest) = guest {
        row["vmtype"] = guest.kind.to_string().into();
        let volume = guest.disks().first().map(|disk| disk.volume_id().to_string()).unwrap_or_default();
        row["error"] = format!("missing replicate feature on volume '{volume}'").into();
    }
    row["fail_count"] = 1.into();
    row["last_sync"] = 0.into();
    row["last_try"] = (state.seconds() - 300).into();
    row["next_sync"] = (state.seconds() + 600).into();
    row["duration"] = 0.4.into();
    row
}

/// GET /nodes/{node}/replication
pub(crate) fn list_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let on_node = |(_, job): &(&String, &Map<String, Value>)| job["source"] == call.node();
    let guest = call.integer("guest");
    let rows = visible(state, call).filter(on_node).map(|(id, job)| status_row(state, id, job));
    Ok(rows.filter(|row| guest.is_none() || row["guest"].as_i64() == guest).collect())
}

/// GET /nodes/{node}/replication/{id}/status
pub(crate) fn read_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let id = call.text("id");
    match visible(state, call).find(|(other, job)| *other == id && job["source"] == call.node()) {
        Some((id, job)) => Ok(status_row(state, id, job)),
        None => parameter_error("id", format!("No such job '{id}'")),
    }
}

/// POST /nodes/{node}/replication/{id}/schedule_now
pub(crate) fn schedule_now(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    read_status(state, call)?;
    Err(ApiError::Unsupported("a run of a replication job".into()))
}
