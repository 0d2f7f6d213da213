//! `wait_for_task`: sees a task to its end, with its log as it grows.

use crate::audit::{AuditDecision, AuditEvent};
use crate::base::hint::render_error;
use crate::call::state::{ApiCall, ToolCall, ToolState};
use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::mcp::catalog::{Tool, ToolEffect, ToolError, ToolInput, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::Method;
use crate::pve::client::cluster::Cluster;
use crate::pve::client::manager::ClusterManager;
use crate::pve::params::ApiParams;
use crate::pve::task::{self, TaskProgress, TaskResult, TaskState, Upid};
use crate::render::units::push_duration;
use crate::sanitize;
use crate::tools::clusters::{fan_out, prefix_cluster};
use serde_json::json;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a wait lasts where nobody says: clients often give a call up after 60 s, and an answer in time that the task
/// goes on is worth more than none.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

/// The longest wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 3_600;

/// How long the clusters have to say whose task it is, where none was named.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two rounds of asking them.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// The most lines of the log in one message of the progress.
const MAX_PROGRESS_LINES: usize = 20;

/// How often a client that follows the progress hears something, though the log does not grow.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// The tool `wait_for_task(upid, cluster?, timeout?)`.
pub fn wait_for_task(state: Arc<ToolState>) -> Tool {
    Tool {
        name: "wait_for_task",
        title: "Wait for a task",
        description: "Waits until a task (the UPID:… that a call answered) has ended: how it ended, how long it took, the \
            last lines of its log. A failed task is an error. One that still runs at the end of the wait goes on by \
            itself: call again with the same upid. Nothing is ever stopped.",
        input: ToolInput::Parameters(&[
            ToolParameter {
                name: "upid",
                kind: ParameterKind::Text,
                required: true,
                description: "the whole UPID:…, as answered",
            },
            ToolParameter {
                name: "cluster",
                kind: ParameterKind::Text,
                required: false,
                description: "a name of list_clusters (default: the one that knows the task)",
            },
            ToolParameter {
                name: "timeout",
                kind: ParameterKind::Count,
                required: false,
                description: "seconds, 1 to 3600 (default: 45; clients often give up at 60)",
            },
        ]),
        effect: ToolEffect::ReadOnly,
        handler: Box::new(move |context, args| {
            let upid = args.text("upid").unwrap_or_default();
            let deadline = Instant::now() + parse_timeout(args.count("timeout"))?;
            state.run_call(context, "wait_for_task", &|call| {
                let cluster = find_cluster(
                    call,
                    context,
                    args,
                    &Upid::parse(upid).map_err(|error| render_error(&error))?,
                    deadline,
                )?;
                follow_task(call, cluster, upid, deadline, context)
            })
        }),
    }
}

fn parse_timeout(seconds: Option<u64>) -> Result<Duration, String> {
    match seconds {
        None => Ok(DEFAULT_WAIT),
        Some(seconds) if (1..=MAX_WAIT_SECONDS).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(format!("wait_for_task: timeout must be a number of seconds from 1 to {MAX_WAIT_SECONDS}")),
    }
}

/// The cluster whose task it is: the one named, the only one, or the one that knows it.
fn find_cluster<'m>(
    call: ToolCall<'m>,
    context: &CallContext<'_>,
    args: &ToolArguments,
    upid: &Upid,
    deadline: Instant,
) -> Result<&'m Arc<Cluster>, ToolError> {
    let manager = call.manager;
    if let Some(name) = args.text("cluster") {
        return manager.select(Some(name)).map_err(|error| render_error(&error).into());
    }
    if let [one] = manager.clusters() {
        return Ok(one);
    }
    let (mut all, mut refusal) = (Vec::new(), None);
    for cluster in manager.clusters() {
        match authorize_watch(call, cluster, upid) {
            Ok(()) => all.push(cluster.clone()),
            Err(why) => refusal = Some(why),
        }
    }
    if let (true, Some(why)) = (all.is_empty(), refusal) {
        return Err(ToolError::Failed(why));
    }
    let begun = Instant::now();
    loop {
        let by = (Instant::now() + FIND_TIMEOUT).min(deadline);
        let mut answers =
            fan_out(&all, &context.cancel, |cluster, cancel| task::fetch_status(cluster, upid, by, cancel));
        if let Some((known, _)) = all.iter().zip(&answers).find(|(_, answer)| answer.is_ok()) {
            return manager.select(Some(&known.settings().name)).map_err(|error| render_error(&error).into());
        }
        // Right after a task began, its own cluster may not know it either.
        let new = answers.iter().any(|answer| answer.as_ref().is_err_and(task::is_unknown_task));
        let over = Instant::now() + RETRY_INTERVAL > deadline.min(begun + task::UNKNOWN_TASK_GRACE);
        if new && !over && !context.cancel.wait(RETRY_INTERVAL) {
            continue;
        }
        let mut why = format!("no cluster knows the task {upid}: name the one it belongs to in `cluster`");
        for (cluster, answer) in all.iter().zip(answers.drain(..)) {
            match answer {
                Err(e) if !task::is_unknown_task(&e) => {
                    let _ =
                        write!(why, "\n{}", call.redact(cluster, prefix_cluster(manager, cluster, &render_error(&e))));
                }
                _ => drop(write!(why, "\ncluster {}: no such task", cluster.settings().name)),
            }
        }
        return Err(ToolError::Failed(why));
    }
}

/// Whether a task's state and its log may be read.
pub(crate) fn authorize_watch(call: ToolCall<'_>, cluster: &Cluster, upid: &Upid) -> Result<(), String> {
    ["status", "log"].iter().try_for_each(|part| call.authorize_read(cluster, &upid.path_to(part)))
}

/// Sees the task that a call of `cluster` answered (`upid`, also in the quotes of its JSON) to its end, or waits until
/// `deadline`. A task that failed is a failure, one that goes on is not.
pub(crate) fn follow_task(
    call: ToolCall<'_>,
    cluster: &Cluster,
    upid: &str,
    deadline: Instant,
    context: &CallContext<'_>,
) -> Result<ToolOutput, ToolError> {
    let upid = &Upid::parse(upid).map_err(|error| render_error(&error))?;
    let (what, path, manager) = (describe_task(upid), upid.path_to("status"), call.manager);
    authorize_watch(call, cluster, upid)?;
    let redacts = call.needs_redaction(cluster);
    let (mut last_progress, mut seen) = (Duration::ZERO, sanitize::LogRedactor::default());
    let mut report_progress = |progress: &TaskProgress<'_>| {
        // All of them, as what is shown may begin within a private key.
        let shown: Vec<_> = match redacts {
            true => progress.new_lines.iter().map(|line| seen.redact_line(line)).collect(),
            false => progress.new_lines.iter().map(Cow::from).collect(),
        };
        let message = match shown.get(shown.len().saturating_sub(MAX_PROGRESS_LINES)..).unwrap_or_default() {
            [] if progress.waited < last_progress + PROGRESS_INTERVAL => return,
            [] => format!("{what} goes on"),
            last => last.join("\n"),
        };
        context.send_progress(progress.waited.as_secs_f64(), None, &message);
        last_progress = progress.waited;
    };
    context.attributes.mark_waiting();
    let begun = Instant::now();
    let ended = task::wait(cluster, upid, deadline, &context.cancel, &mut report_progress);
    let api_call = ApiCall { cluster, method: Method::Get, path: &path, params: &ApiParams::new() };
    call.audit_end(api_call, AuditEvent::Read, AuditDecision::Allowed, ended.as_ref().err(), None, begun);
    match ended {
        Ok(mut outcome) => {
            if redacts {
                let mut seen = sanitize::LogRedactor::default();
                outcome.log_tail.iter_mut().for_each(|line| *line = seen.redact_line(line).into_owned());
                if let TaskState::Failed(why) = &mut outcome.state {
                    *why = sanitize::redact_text(why).into_owned();
                }
            }
            render_task_result(manager, cluster, upid, &outcome)
        }
        Err(e) if task::is_unknown_task(&e) => Err(ToolError::Failed(prefix_cluster(
            manager,
            cluster,
            &format!("{0} knows no such task ({upid}). GET /nodes/{0}/tasks lists those it remembers", upid.node),
        ))),
        // A write's answer is not in doubt here: the task was begun, only its end was not seen.
        Err(e) => {
            let why = call
                .redact(cluster, prefix_cluster(manager, cluster, &render_error(&e)))
                .trim_end_matches('.')
                .to_owned();
            Err(ToolError::Failed(format!(
                "{what} could not be watched: {why}. If it was begun, it goes on by itself: call wait_for_task again with \
                 upid {upid}"
            )))
        }
    }
}

/// `qmstart of guest 100 on pve1`.
fn describe_task(upid: &Upid) -> String {
    let Upid { kind, id, node, .. } = upid;
    match id.parse::<u32>() {
        // Guests' numbers begin at 100; those of Ceph's daemons at 0.
        Ok(100..) if !kind.starts_with("ceph") => format!("{kind} of guest {id} on {node}"),
        _ if id.is_empty() => format!("{kind} on {node}"),
        _ => format!("{kind} of {id} on {node}"),
    }
}

fn render_task_result(
    manager: &ClusterManager,
    cluster: &Cluster,
    upid: &Upid,
    outcome: &TaskResult,
) -> Result<ToolOutput, ToolError> {
    let mut text = match &outcome.state {
        TaskState::Running => "RUNNING: ".into(),
        TaskState::Ok => "OK: ".into(),
        TaskState::Warnings(n) => format!("WARNINGS: {n}, see the log: "),
        TaskState::Failed(_) => "FAILED: ".into(),
    };
    text.push_str(&describe_task(upid));
    if let Some(seconds) = outcome.duration_seconds {
        text.push_str(if outcome.state == TaskState::Running { ", for " } else { " took " });
        match seconds {
            // Up to two minutes to the second.
            0..120 => drop(write!(text, "{seconds} s")),
            _ => push_duration(&mut text, seconds),
        }
    }
    match &outcome.state {
        TaskState::Running => {
            let _ = write!(
                text,
                ". It goes on by itself: call wait_for_task again with upid {upid} to wait on, or GET {} for its log",
                upid.path_to("log")
            );
        }
        TaskState::Failed(why) => drop(write!(text, ": {why}")),
        TaskState::Ok | TaskState::Warnings(_) => {}
    }
    let shown = outcome.log_tail.len() as u64;
    if shown < outcome.log_lines {
        let _ = write!(
            text,
            "\n\nthe last {shown} of {} lines of the log (all: GET {}?limit=0)",
            outcome.log_lines,
            upid.path_to("log")
        );
    } else if shown > 0 {
        text.push_str("\n\nlog");
    }
    for line in &outcome.log_tail {
        text.push('\n');
        text.push_str(line);
    }
    if let TaskState::Failed(_) = outcome.state {
        return Err(ToolError::Failed(prefix_cluster(manager, cluster, &text)));
    }
    let mut structured = json!({
        "upid": upid.to_string(),
        "node": upid.node,
        "type": upid.kind,
        "id": upid.id,
        "user": upid.user,
        "status": if outcome.state == TaskState::Running { "running" } else { "stopped" },
        "exitstatus": outcome.state.exit_status(),
        "started": upid.started_at,
        "seconds": outcome.duration_seconds,
        "log": outcome.log_tail,
    });
    if manager.clusters().len() > 1 {
        structured["cluster"] = cluster.settings().name.as_str().into();
    }
    Ok(ToolOutput::with_structured(text, structured.to_string()))
}
