//! tasks/get and tasks/cancel for the tasks that `proxmox_api_call` and `wait_for_task` continue as. Each request is
//! authorized with the caller's present permissions.

use super::definition::{TaskDefinition, mark_untrusted};
use super::errors::render_call_error;
use super::followed_task::FollowedTask;
use crate::call::{CallError, CallScope, CallSpec, ClusterHandle};
use crate::mcp::catalog::{TaskError, TaskSnapshot, TaskStatus};
use crate::pve::Method;
use crate::pve::task::{TaskResult, TaskState};
use crate::render::quoted::quote;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time that a node has for the answer to tasks/get.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const TASK_REQUESTS: TaskDefinition = TaskDefinition {
    read: read_task,
    cancel: cancel_task,
    unknown_task_hint: "call wait_for_task with the UPID that the task's first statusMessage has",
};

fn read_task(scope: CallScope<'_>, state: &[u8]) -> Result<TaskSnapshot, TaskError> {
    let (task, cluster) = FollowedTask::unpack(scope, state).ok_or(TaskError::Unknown)?;
    let watch = cluster.watch_task(&task.upid);
    let watch = watch.map_err(|denied| TaskError::Denied(render_call_error(&cluster, denied)))?;
    let (status, message, end) = match watch.read(Instant::now() + READ_TIMEOUT) {
        Ok(result) => {
            (task_status(&task, &cluster, &result), task_message(&task, &cluster, &result), find_end(&task, &result))
        }
        Err(error) => {
            let may_recover = error.may_recover();
            let text = task.render_error(&cluster, error);
            let status = if may_recover { TaskStatus::Working } else { TaskStatus::Completed(Err(text.clone())) };
            (status, text, None)
        }
    };
    Ok(TaskSnapshot { status, message, updated_at: end.unwrap_or_else(SystemTime::now) })
}

fn cancel_task(scope: CallScope<'_>, state: &[u8]) -> Result<(), TaskError> {
    let (task, cluster) = FollowedTask::unpack(scope, state).ok_or(TaskError::Unknown)?;
    stop_task(&cluster, &task).map_err(|error| match error {
        CallError::Execute(_) => TaskError::Failed(render_call_error(&cluster, error)),
        _ => TaskError::Denied(render_call_error(&cluster, error)),
    })
}

fn stop_task(cluster: &ClusterHandle<'_>, task: &FollowedTask) -> Result<(), CallError> {
    let path = task.upid.path().to_string();
    let spec = CallSpec { method: Some(Method::Delete), path: &path, data: None, fetch_all: false, is_dry_run: false };
    let authorized = cluster.plan(spec)?.authorize()?;
    let confirmed = if task.is_own { authorized.confirm_own_stop()? } else { authorized.without_confirmation()? };
    confirmed.execute()?;
    Ok(())
}

fn task_status(task: &FollowedTask, cluster: &ClusterHandle<'_>, result: &TaskResult) -> TaskStatus {
    match result.state {
        TaskState::Running => TaskStatus::Working,
        _ if result.state.is_interrupted() => TaskStatus::Cancelled,
        _ => TaskStatus::Completed(task.render(cluster, result, Instant::now()).map(|mut output| {
            mark_untrusted(&mut output);
            output
        })),
    }
}

/// Returns the last line of the log, or the reason of a stop. The cluster's own texts are in quotes.
fn task_message(task: &FollowedTask, cluster: &ClusterHandle<'_>, result: &TaskResult) -> String {
    match (&result.state, result.log_tail.last()) {
        (TaskState::Failed(reason), _) if result.state.is_interrupted() => {
            task.render_line(cluster, &format!(" was stopped: {}", quote(reason, usize::MAX)))
        }
        (_, Some(line)) => quote(line, usize::MAX),
        (TaskState::Running, None) => task.render_line(cluster, " continues"),
        (_, None) => task.render_line(cluster, " has ended"),
    }
}

/// Returns the end of a task by its node's clock, as far as known and at most the present time.
fn find_end(task: &FollowedTask, result: &TaskResult) -> Option<SystemTime> {
    let seconds = result.duration_seconds.filter(|_| result.state != TaskState::Running)?;
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(task.upid.started_at.checked_add(seconds)?))?;
    Some(end.min(SystemTime::now()))
}
