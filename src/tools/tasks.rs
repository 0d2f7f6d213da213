//! `wait_for_task`: the end of a task, with its log as it grows.

use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading};
use super::errors::{call_failed, render_call_error};
use super::followed_task::FollowedTask;
use super::output::with_notes;
use super::parameters::{optional, required};
use crate::base::hint::render_error;
use crate::call::{
    AwaitedGuest, ClusterHandle, FindTaskError, GuestWaitEnd, TaskReport, TaskWatch, UnknownTask, find_task_cluster,
};
use crate::mcp::arguments::ParameterKind;
use crate::mcp::catalog::{ToolEffect, ToolError, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::task::{TaskState, Upid, WaitLimits};
use crate::render::cluster_errors::prefix_cluster;
use crate::render::quoted::quote;
use crate::render::task::describe_task;
use serde_json::json;
use std::time::{Duration, Instant};

/// The default wait. Clients often end a call after 60 s, and an answer that the task still runs is better than none.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

const MAX_WAIT_SECONDS: u64 = 3_600;

/// The time for which a call blocks for a running task where the client supports tasks.
const BLOCKING_WAIT: Duration = Duration::from_secs(2);

/// The most lines of the log in one progress message.
const MAX_PROGRESS_LINES: usize = 20;

/// The interval of progress messages while the log does not grow.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// `wait_for_task(upid, cluster?, timeout?)`.
pub(super) const WAIT_FOR_TASK: ToolDefinition = ToolDefinition {
    name: "wait_for_task",
    title: "Wait for a task",
    description: "Waits until a task (the UPID:… that a call answered) has ended: how it ended, how long it took, its \
        object, the last lines of its log; or until a guest has a state. A failed task is an error. One that still runs \
        continues by itself: call again with the same upid.",
    parameters: &[
        required("upid", ParameterKind::Name, "the whole UPID:…; or web01 running (stopped, unlocked, ha started)"),
        optional("cluster", ParameterKind::Name, "default: the one that knows the task"),
        optional("timeout", ParameterKind::Count, "seconds, 1 to 3600 (default: 45; clients often give up at 60)"),
    ],
    effect: ToolEffect::ReadOnly,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::OnDemand { search_hint: "UPID task progress status finished backup migration clone log" },
    is_paged: false,
    handler: wait_for_task,
};

fn wait_for_task(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let timeout = match call.args.count("timeout") {
        None => DEFAULT_WAIT,
        Some(seconds @ 1..=MAX_WAIT_SECONDS) => Duration::from_secs(seconds),
        Some(_) => {
            return Err(call.reject(format_args!("timeout must be a number of seconds from 1 to {MAX_WAIT_SECONDS}")));
        }
    };
    let deadline = Instant::now() + timeout;
    let awaited = AwaitedGuest::parse(call.args.text("upid").expect("a required parameter"));
    if let Some(awaited) = awaited.map_err(|error| ToolError::Failed(render_error(&error)))? {
        return wait_for_state(call, &awaited, deadline);
    }
    let upid = Upid::parse(call.args.text("upid").expect("a required parameter"));
    let upid = upid.map_err(|error| ToolError::Failed(render_error(&error)))?;
    let clusters = call.scope.select_all(call.args.text("cluster"))?;
    let cluster = match clusters.as_slice() {
        [only] => only,
        several => find_task_cluster(several, &upid, deadline).map_err(|error| search_failed(&upid, error))?,
    };
    let watch = cluster.watch_task(&upid).map_err(|error| call_failed(cluster, error))?;
    cluster.check_task_node(&upid).map_err(|error| call_failed(cluster, error))?;
    follow_task(call.context, cluster, watch, &FollowedTask::named(&upid), deadline)
}

/// Waits until a guest has a state.
fn wait_for_state(call: &ToolCall<'_>, awaited: &AwaitedGuest, deadline: Instant) -> Result<ToolOutput, ToolError> {
    let clusters = call.scope.select_all(call.args.text("cluster"))?;
    let cluster = match clusters.as_slice() {
        [only] => only,
        several => {
            let having: Vec<&ClusterHandle<'_>> =
                several.iter().filter(|cluster| cluster.has_guest(&awaited.guest).unwrap_or(false)).collect();
            match having.as_slice() {
                [only] => *only,
                [] => return Err(call.reject(format_args!("no cluster that answers has a guest {}", awaited.guest))),
                many => {
                    let names: Vec<&str> = many.iter().map(|cluster| cluster.name()).collect();
                    let names = names.join(", ");
                    return Err(call.reject(format_args!("{names} have such a guest: name one in cluster")));
                }
            }
        }
    };
    let mut last = Duration::ZERO;
    let mut report = |waited: Duration, line: &str| {
        if waited >= last + PROGRESS_INTERVAL {
            call.context.send_progress(waited.as_secs_f64(), None, line);
            last = waited;
        }
    };
    let failed = |text: String| ToolError::Failed(cluster.redact(prefix_cluster(cluster.label(), &text)));
    let wait = cluster.wait_for_guest(awaited, deadline, &mut report).map_err(|error| failed(render_error(&error)))?;
    let text = match wait.end {
        GuestWaitEnd::Reached => format!("OK: {}", wait.line),
        GuestWaitEnd::NotYet => {
            format!("NOT YET {}: {}. Call wait_for_task again to wait on", awaited.state, wait.line)
        }
        GuestWaitEnd::HaError => {
            let hint = "GET /cluster/ha/status/current says why";
            return Err(failed(format!("FAILED: the HA manager gave up: {}. hint: {hint}", wait.line)));
        }
    };
    let notes: Vec<String> = cluster.label().map(|name| format!("on cluster {name}")).into_iter().collect();
    let structured = call.context.wants_structured.then(|| json!({"summary": text}).to_string());
    Ok(with_notes(ToolOutput::with_structured(text, structured), &notes))
}

/// Waits for the end of a task and returns its result. Where the client supports tasks, the call continues as one
/// if the task still runs after two seconds.
pub(super) fn follow_task(
    context: &CallContext<'_>,
    cluster: &ClusterHandle<'_>,
    watch: TaskWatch<'_>,
    task: &FollowedTask,
    deadline: Instant,
) -> Result<ToolOutput, ToolError> {
    let running_until = Instant::now() + BLOCKING_WAIT;
    let started = match running_until < deadline {
        true => task.pack(cluster).and_then(|state| context.prepare_task(state, task.describe(cluster))),
        false => None,
    };
    let limits = WaitLimits { deadline, running_until: started.is_some().then_some(running_until) };
    match (watch.follow(limits, &mut report_progress(context, &task.upid)), started) {
        // A stop of the server ends the wait too. The key of the id ends with the server.
        (Ok(result), Some(started)) if result.state == TaskState::Running && !context.cancel.is_cancelled() => {
            Err(ToolError::TaskStarted(started))
        }
        (Ok(result), _) => task.render(cluster, &result, deadline).map_err(ToolError::Failed),
        (Err(error), _) => Err(ToolError::Failed(task.render_error(cluster, error))),
    }
}

/// Returns a function that sends the new lines of the log to the client.
pub(super) fn report_progress<'c>(context: &'c CallContext<'_>, upid: &Upid) -> impl FnMut(&TaskReport<'_>) + 'c {
    let task = describe_task(upid);
    let mut last_message = Duration::ZERO;
    move |report| {
        let lines = &report.new_lines;
        let message = match lines.get(lines.len().saturating_sub(MAX_PROGRESS_LINES)..).unwrap_or(&[]) {
            [] if report.waited < last_message + PROGRESS_INTERVAL => return,
            [] => format!("{task} continues"),
            // The log is the cluster's own text.
            last => last.iter().map(|line| quote(line, usize::MAX)).collect::<Vec<_>>().join("\n"),
        };
        context.send_progress(report.waited.as_secs_f64(), None, &message);
        last_message = report.waited;
    }
}

fn search_failed(upid: &Upid, error: FindTaskError<'_>) -> ToolError {
    match error {
        FindTaskError::Denied { cluster, denied } => call_failed(cluster, denied),
        FindTaskError::NotFound(clusters) => {
            let mut text = format!("no cluster knows the task `{upid}`: name the one it belongs to in `cluster`");
            for UnknownTask { cluster, error } in clusters {
                text.push('\n');
                text.push_str(&match error {
                    Some(error) => render_call_error(cluster, error),
                    None => prefix_cluster(cluster.label(), &"no such task"),
                });
            }
            ToolError::Failed(text)
        }
    }
}
