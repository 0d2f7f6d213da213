//! The result of a task.

use super::quoted::quote;
use super::units::push_duration;
use crate::pve::knowledge::messages::find_next_step;
use crate::pve::task::{TaskResult, TaskState, Upid};
use serde_json::{Value, json};
use std::fmt::Write;

/// A rendered task.
pub struct TaskText {
    /// One line.
    pub headline: String,
    /// The heading of the log, without a line end. Empty where there is no log.
    pub log_heading: String,
    /// The lines of the log's end, each after a line end.
    pub log: String,
}

impl TaskText {
    /// Returns all lines, with `notes` in the first one.
    pub fn join(&self, notes: &str) -> String {
        let Self { headline, log_heading, log } = self;
        let gap = if log_heading.is_empty() { "" } else { "\n\n" };
        format!("{headline}{notes}{gap}{log_heading}{log}")
    }
}

/// Describes a task: `qmstart of guest 100 on pve1`.
pub fn describe_task(upid: &Upid) -> String {
    let Upid { kind, id, node, .. } = upid;
    match id.parse::<u32>() {
        // Numbers of guests begin at 100, those of Ceph's daemons at 0.
        Ok(100..) if !kind.starts_with("ceph") => format!("{kind} of guest {id} on {node}"),
        _ if id.is_empty() => format!("{kind} on {node}"),
        _ => format!("{kind} of {id} on {node}"),
    }
}

/// Renders the state of a task and the end of its log.
pub fn render_task(upid: &Upid, result: &TaskResult) -> TaskText {
    let headline = render_headline(upid, result);
    // The headline says the same.
    if result.state == TaskState::Ok && result.log_lines == 1 && result.log_tail.iter().all(|line| line == "TASK OK") {
        return TaskText { headline, log_heading: String::new(), log: String::new() };
    }
    let log = result.log_tail.iter().map(|line| format!("\n{line}")).collect();
    TaskText { headline, log_heading: render_log_heading(upid, result), log }
}

/// Renders the end of a task that went well, beside its operation and its object: `OK, qmstart took 1 s`.
pub fn render_success(upid: &Upid, result: &TaskResult) -> String {
    let mut text = format!("OK, {}", upid.kind);
    push_time(&mut text, result);
    text
}

/// Renders a request to the HA manager after which its guest has the wanted state.
pub fn render_acted(upid: &Upid) -> String {
    format!("OK: {}, and the HA manager has acted", describe_task(upid))
}

/// Returns a task as JSON, with what its text says.
pub fn structure_task(upid: &Upid, result: &TaskResult, text: &TaskText, cluster: Option<&str>) -> Value {
    let mut structured = json!({
        "summary": text.headline,
        "upid": upid.to_string(),
        "node": upid.node,
        "type": upid.kind,
        "id": upid.id,
        "user": upid.user,
        "status": if result.state == TaskState::Running { "running" } else { "stopped" },
        "exitstatus": result.state.exit_status(),
        "started": upid.started_at,
        "seconds": result.duration_seconds,
        "log_heading": text.log_heading,
        "log": result.log_tail,
    });
    if let Some(name) = cluster {
        structured["cluster"] = name.into();
    }
    structured
}

fn render_headline(upid: &Upid, result: &TaskResult) -> String {
    let mut text = match &result.state {
        TaskState::Running => "RUNNING: ".into(),
        TaskState::Ok if upid.is_ha_request() => "REQUESTED: ".into(),
        TaskState::Ok => "OK: ".into(),
        TaskState::Warnings(count) => format!("WARNINGS: {count}, see the log: "),
        TaskState::Failed(_) if result.state.is_interrupted() => "STOPPED: ".into(),
        TaskState::Failed(_) => "FAILED: ".into(),
        TaskState::Unknown(_) => "END UNKNOWN: ".into(),
    };
    text.push_str(&describe_task(upid));
    push_time(&mut text, result);
    match &result.state {
        TaskState::Running => {
            let _ = write!(
                text,
                ". It continues by itself: call wait_for_task again with upid `{upid}` to wait on, or GET {} for its log",
                upid.path_to("log")
            );
        }
        TaskState::Failed(reason) => {
            let _ = write!(text, ": {}", quote(reason, usize::MAX));
            if let Some(step) = find_next_step(reason) {
                let _ = write!(text, ". hint: {step}");
            }
        }
        TaskState::Unknown(reason) => {
            let _ = write!(
                text,
                ": the node does not know how it ended ({}). It may have succeeded or failed. hint: read the object that \
                 it concerns before you repeat it",
                quote(reason, usize::MAX)
            );
        }
        TaskState::Ok if upid.is_ha_request() => {
            text.push_str(". It only asked the HA manager, which acts by itself some seconds later, or fails");
        }
        TaskState::Ok | TaskState::Warnings(_) => {}
    }
    text
}

/// Appends the time that the task took.
fn push_time(text: &mut String, result: &TaskResult) {
    let Some(seconds) = result.duration_seconds else { return };
    text.push_str(if result.state == TaskState::Running { ", for " } else { " took " });
    match seconds {
        // Up to two minutes to the second.
        0..120 => drop(write!(text, "{seconds} s")),
        _ => push_duration(text, seconds),
    }
}

fn render_log_heading(upid: &Upid, result: &TaskResult) -> String {
    let (shown, all) = (result.log_tail.len() as u64, result.log_lines);
    if shown < all {
        format!("the last {shown} of {all} lines of the log (all: GET {}?limit=0)", upid.path_to("log"))
    } else if shown > 0 {
        "log".into()
    } else {
        String::new()
    }
}

/// Returns the UPID of a message of the cluster's log about a task, and the message with the type and the object of the
/// task instead.
pub fn shorten_task_message(message: &str) -> Option<(Upid, String)> {
    let (word, rest) = ["end task", "starting task"]
        .into_iter()
        .find_map(|word| Some((word, message.strip_prefix(word)?.strip_prefix(' ')?)))?;
    let upid = Upid::parse(rest.split(' ').next()?).ok()?;
    let object = if upid.id.is_empty() { String::new() } else { format!(" {}", upid.id) };
    let end = message.split_once(": ").filter(|(_, end)| !end.is_empty());
    let end = end.map_or(String::new(), |(_, end)| format!(": {end}"));
    let short = format!("{word} {}{object}{end}", upid.kind);
    Some((upid, short))
}
