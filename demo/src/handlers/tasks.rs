//! The tasks of the cluster and their logs.

use crate::error::{ApiResult, parameter_error};
use crate::invocation::Invocation;
use crate::state::{ClusterState, Task};
use serde_json::{Value, json};

/// Returns the index of the task in the path, if the caller started it or has the privilege on the node.
fn find_task(state: &ClusterState, call: &Invocation<'_>, privilege: &str) -> ApiResult<usize> {
    let (node, upid) = (call.node(), call.text("upid"));
    let is_hex = |part: &str| part.len() >= 8 && u64::from_str_radix(part, 16).is_ok();
    let parts: Vec<&str> = upid.split(':').collect();
    let ["UPID", _, pid, pstart, start, _, _, user, _] = parts[..] else {
        return parameter_error("upid", "unable to parse worker upid");
    };
    if ![pid, pstart, start].into_iter().all(is_hex) {
        return parameter_error("upid", "unable to parse worker upid");
    }
    if user != call.caller.id {
        call.require(state, &format!("/nodes/{node}"), privilege)?;
    }
    match state.tasks.iter().position(|task| task.upid == upid && task.node == node) {
        Some(index) => Ok(index),
        None => parameter_error("upid", "no such task"),
    }
}

/// Returns the tasks that the caller can see, newest first.
fn visible_tasks<'a>(state: &'a ClusterState, call: &'a Invocation<'_>) -> impl Iterator<Item = &'a Task> {
    state
        .tasks
        .iter()
        .rev()
        .filter(|task| task.user == call.caller.id || call.allows(state, &format!("/nodes/{}", task.node), "Sys.Audit"))
}

/// Returns the row of a task, with its end if it has ended.
fn task_row(task: &Task) -> Value {
    let mut row = task.to_row();
    if let Some(end) = &task.end {
        row["endtime"] = (end.time as i64).into();
        row["status"] = end.exit_status.as_str().into();
    }
    row
}

/// GET /cluster/tasks: the latest tasks of all nodes.
pub(crate) fn list_cluster_tasks(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let row = |task: &Task| {
        let mut row = task_row(task);
        if task.end.is_some() {
            row["saved"] = "1".into();
        }
        row
    };
    Ok(visible_tasks(state, call).take(60).map(row).collect())
}

/// GET /nodes/{node}/tasks
pub(crate) fn list_node_tasks(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let source = call.optional_text("source").unwrap_or("archive");
    let results: Vec<&str> = call.list("statusfilter").collect();
    let vmid = call.integer("vmid").map(|vmid| vmid.to_string());
    let row = |task: &Task| {
        let mut row = task_row(task);
        row["pid"] = task.pid.into();
        row["pstart"] = task.pstart.into();
        if task.end.is_none() && source == "all" {
            row["status"] = "RUNNING".into();
        }
        row
    };
    let rows: Vec<Value> = visible_tasks(state, call)
        .filter(|task| task.node == call.node())
        .filter(|task| match source {
            "active" => task.end.is_none(),
            "archive" => task.end.is_some(),
            _ => true,
        })
        .filter(|task| !call.flag("errors") || task.has_failed())
        .filter(|task| call.optional_text("typefilter").is_none_or(|kind| task.kind == kind))
        .filter(|task| call.optional_text("userfilter").is_none_or(|user| task.user.contains(user)))
        .filter(|task| vmid.as_ref().is_none_or(|vmid| task.id == *vmid))
        .filter(|task| call.integer("since").is_none_or(|since| task.start as i64 >= since))
        .filter(|task| call.integer("until").is_none_or(|until| task.start as i64 <= until))
        .filter(|task| results.is_empty() || results.contains(&task.result()))
        .map(row)
        .collect();
    Ok(select_page(call, rows))
}

/// Returns the rows from `start` on, at most `limit` of them: by default 50, all for 0. Sets the total of the call.
pub(crate) fn select_page(call: &Invocation<'_>, rows: Vec<Value>) -> Value {
    call.total.set(Some(rows.len()));
    let limit = match call.count("limit") {
        Some(0) => usize::MAX,
        Some(limit) => limit,
        None => 50,
    };
    rows.into_iter().skip(call.count("start").unwrap_or(0)).take(limit).collect()
}

/// Returns lines as rows with their number and text.
pub(crate) fn line_rows(lines: Vec<String>) -> Vec<Value> {
    (1..).zip(lines).map(|(n, line)| json!({"n": n, "t": line})).collect()
}

/// GET /nodes/{node}/tasks/{upid}/status
pub(crate) fn read_status(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let task = &state.tasks[find_task(state, call, "Sys.Audit")?];
    let mut row = task.to_row();
    row["pid"] = task.pid.into();
    row["pstart"] = task.pstart.into();
    row["status"] = if task.end.is_some() { "stopped" } else { "running" }.into();
    if let Some(end) = &task.end {
        row["exitstatus"] = end.exit_status.as_str().into();
    }
    Ok(row)
}

/// GET /nodes/{node}/tasks/{upid}/log
pub(crate) fn read_log(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let lines = state.tasks[find_task(state, call, "Sys.Audit")?].log(state.now);
    if lines.is_empty() {
        call.total.set(Some(1));
        return Ok(line_rows(vec!["no content".into()]).into());
    }
    Ok(select_page(call, line_rows(lines)))
}

/// DELETE /nodes/{node}/tasks/{upid}: stops the task before it has an effect.
pub(crate) fn stop_task(state: &mut ClusterState, call: &Invocation<'_>) -> ApiResult {
    let index = find_task(state, call, "Sys.Modify")?;
    state.interrupt_task(index);
    Ok(Value::Null)
}
