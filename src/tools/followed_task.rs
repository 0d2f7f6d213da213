//! A task that a call follows to its end, within the call or after it: the state that its id carries, and its result.

use super::definition::UNTRUSTED_NOTICE;
use super::errors::render_call_error;
use super::output::{format_notes, with_notes};
use super::packed_task::{PackedTask, digest_name, pack_task, unpack_task};
use crate::call::{CallScope, ChangedObject, ClusterHandle, FollowedGuestState, TaskFollowUp, WatchError};
use crate::mcp::MAX_TASK_STATE_BYTES;
use crate::mcp::catalog::ToolOutput;
use crate::pve::task::{TaskResult, TaskState, Upid};
use crate::render::cluster_errors::prefix_cluster;
use crate::render::task::{TaskText, describe_task, render_acted, render_success, render_task, structure_task};
use std::time::Instant;

/// Event after a task, as text.
struct FollowUpText {
    line: String,
    log: String,
    is_failure: bool,
}

/// The end of a task with what it causes.
pub(super) enum FollowedEnd {
    Ended(ToolOutput),
    /// What the task causes was not seen in time.
    Pending(ToolOutput),
    Failed(String),
}

fn render_follow_up(upid: &Upid, event: &TaskFollowUp) -> FollowUpText {
    let id = &upid.id;
    let (line, log, is_failure) = match event {
        TaskFollowUp::Task { upid, result } => {
            let TaskText { headline, log_heading, log } = render_task(upid, result);
            let log = if log_heading.is_empty() { log } else { format!("\n\n{log_heading}{log}") };
            (headline, log, matches!(result.state, TaskState::Failed(_) | TaskState::Unknown(_)))
        }
        TaskFollowUp::Reached { status } => (format!("Guest {id} is {status} now"), String::new(), false),
        TaskFollowUp::Moved { status, node } => {
            (format!("Guest {id} is on {node} now, and {status}"), String::new(), false)
        }
        TaskFollowUp::HaError => (
            format!(
                "FAILED: the HA manager gave up on guest {id} (ha state error). hint: GET /cluster/ha/status/current says \
                 why; setting the resource's state to disabled and then to started clears it"
            ),
            String::new(),
            true,
        ),
        TaskFollowUp::Pending { status } => {
            let subject = if upid.is_ha_request() {
                "the HA manager has not acted yet"
            } else {
                "the start of the new guest was not seen yet"
            };
            let state = match status {
                Some(FollowedGuestState { status, ha_state }) if ha_state.is_empty() => {
                    format!(": guest {id} is {status}")
                }
                Some(FollowedGuestState { status, ha_state }) => {
                    format!(": guest {id} is {status}, ha state {ha_state}")
                }
                None => String::new(),
            };
            (
                format!(
                    "PENDING: {subject}{state}. hint: GET …/status/current shows it, GET /cluster/tasks the later task"
                ),
                String::new(),
                false,
            )
        }
    };
    FollowUpText { line, log, is_failure }
}

/// A task that a call follows.
pub(super) struct FollowedTask {
    pub(super) upid: Upid,
    /// The notes of the call that started the task.
    notes: Vec<String>,
    /// Its notes on the space of storages, which are old once the task has ended well.
    space_notes: Vec<String>,
    /// The guest that the path of the call means, for an answer that does not name it.
    pub(super) location: Option<String>,
    /// The object that the task changes, if the call knows it.
    pub(super) changed: Option<ChangedObject>,
    /// The client's own call started the task, and may stop it.
    pub(super) is_own: bool,
    /// The task is that of a call in a list.
    pub(super) is_listed: bool,
    /// The call that started the task asked for the start of the new guest too.
    pub(super) starts_guest: bool,
}

impl FollowedTask {
    /// A task that the client's own call started.
    pub(super) fn own(upid: &Upid, notes: Vec<String>, space_notes: Vec<String>) -> Self {
        Self { is_own: true, notes, space_notes, ..Self::named(upid) }
    }

    /// A task that the client names.
    pub(super) fn named(upid: &Upid) -> Self {
        Self {
            upid: upid.clone(),
            notes: Vec::new(),
            space_notes: Vec::new(),
            location: None,
            changed: None,
            is_own: false,
            is_listed: false,
            starts_guest: false,
        }
    }

    /// Returns the state for the id of the task. Notes that do not fit into an id are left out: the text of the result
    /// has guest and node without them.
    pub(super) fn pack(&self, cluster: &ClusterHandle<'_>) -> Option<Vec<u8>> {
        let notes: Vec<String> = self.location.iter().chain(&self.notes).cloned().collect();
        let state = pack_task(cluster.name(), &self.upid, &notes, self.is_own);
        state
            .filter(|state| state.len() <= MAX_TASK_STATE_BYTES)
            .or_else(|| pack_task(cluster.name(), &self.upid, &[], self.is_own))
    }

    /// Parses a state of [`FollowedTask::pack`], with the handle of its cluster. Returns `None` if the caller can't use
    /// the cluster, or no longer.
    pub(super) fn unpack<'a>(scope: CallScope<'a>, state: &[u8]) -> Option<(Self, ClusterHandle<'a>)> {
        let PackedTask { cluster, upid, notes, is_own } = unpack_task(state)?;
        let cluster = scope.all_clusters().into_iter().find(|handle| digest_name(handle.name()) == cluster)?;
        Some((Self { notes, is_own, ..Self::named(&upid) }, cluster))
    }

    /// Describes the task in one line, with the UPID by which it is found without its id.
    pub(super) fn describe(&self, cluster: &ClusterHandle<'_>) -> String {
        self.render_line(cluster, &format!(", task {}{}", self.upid, format_notes(' ', &self.all_notes())))
    }

    fn all_notes(&self) -> Vec<String> {
        self.location.iter().chain(&self.notes).chain(&self.space_notes).cloned().collect()
    }

    /// Describes the object of the task as it is now. Returns no lines if it can't be read.
    fn describe_object(&self, cluster: &ClusterHandle<'_>) -> Vec<String> {
        match &self.changed {
            Some(changed) => cluster.describe_changed(&changed.begun_at(self.upid.started_at)),
            None => ChangedObject::from_task(&self.upid).map(|c| cluster.describe_changed(&c)).unwrap_or_default(),
        }
    }

    /// Describes the object of a task that failed, which may have done a part. An undo of it is not known.
    fn describe_after_failure(&self, cluster: &ClusterHandle<'_>) -> Vec<String> {
        let changed = self.changed.as_ref().map(|changed| changed.begun_at(self.upid.started_at));
        changed.map(|changed| cluster.describe_state(&changed)).unwrap_or_default()
    }

    /// Returns the description of the task with this end.
    pub(super) fn render_line(&self, cluster: &ClusterHandle<'_>, end: &str) -> String {
        prefix_cluster(cluster.label(), &(describe_task(&self.upid) + end))
    }

    /// Renders the result of the task, and follows what it causes until `deadline`. A task that failed is an error.
    pub(super) fn render(
        &self,
        cluster: &ClusterHandle<'_>,
        result: &TaskResult,
        deadline: Instant,
    ) -> Result<ToolOutput, String> {
        match self.render_end(cluster, result, deadline) {
            FollowedEnd::Ended(mut output) | FollowedEnd::Pending(mut output) => {
                output.notes.splice(0..0, cluster.label().map(|name| format!("on cluster {name}")));
                Ok(output)
            }
            // The log is the cluster's own text, as in a result.
            FollowedEnd::Failed(text) => Err(prefix_cluster(cluster.label(), &format!("{text}\n\n{UNTRUSTED_NOTICE}"))),
        }
    }

    /// Renders the result of the task within a text that names the cluster, and follows what it causes until `deadline`.
    pub(super) fn render_end(
        &self,
        cluster: &ClusterHandle<'_>,
        result: &TaskResult,
        deadline: Instant,
    ) -> FollowedEnd {
        let mut text = render_task(&self.upid, result);
        let follow_up = match result.state {
            TaskState::Ok | TaskState::Warnings(_) => cluster.follow_up(&self.upid, self.starts_guest, deadline),
            _ => None,
        };
        let mut is_failure = matches!(result.state, TaskState::Failed(_) | TaskState::Unknown(_));
        let is_pending = matches!(follow_up, Some(TaskFollowUp::Pending { .. }));
        let has_ended = matches!(result.state, TaskState::Ok | TaskState::Warnings(_));
        let is_undone = match &follow_up {
            Some(TaskFollowUp::Task { result, .. }) => {
                matches!(result.state, TaskState::Failed(_) | TaskState::Unknown(_))
            }
            Some(TaskFollowUp::HaError) => true,
            _ => false,
        };
        let object = match result.state {
            TaskState::Ok | TaskState::Warnings(_) if is_undone => self.describe_after_failure(cluster),
            TaskState::Ok | TaskState::Warnings(_) => self.describe_object(cluster),
            TaskState::Failed(_) => self.describe_after_failure(cluster),
            TaskState::Running | TaskState::Unknown(_) => Vec::new(),
        };
        let is_told_by_object = matches!(follow_up, Some(TaskFollowUp::Reached { .. })) && !object.is_empty();
        // What the HA manager did says that it was asked for it.
        let has_acted = self.upid.is_ha_request()
            && (is_told_by_object
                || matches!(&follow_up, Some(TaskFollowUp::Task { result, .. }) if result.state == TaskState::Ok));
        if has_acted {
            text = TaskText { headline: render_acted(&self.upid), log_heading: String::new(), log: String::new() };
        }
        let follow_up = follow_up.map(|event| render_follow_up(&self.upid, &event));
        if let Some(event) = &follow_up {
            is_failure |= event.is_failure;
            text.headline = match (has_acted, is_told_by_object) {
                (_, true) => text.headline,
                (true, _) => cluster.redact(event.line.clone()),
                (false, _) => cluster.redact(format!("{}\n{}", text.headline, event.line)),
            };
        }
        // The object says what the task has done. `wait_for_task` still shows the log.
        let is_told = self.is_own && result.state == TaskState::Ok && !object.is_empty();
        if is_told {
            (text.log_heading, text.log) = (String::new(), String::new());
        }
        // The entry of a list has the operation, and the line of the object the guest.
        let is_short = is_told && self.is_listed && follow_up.is_none();
        if is_short {
            text.headline = render_success(&self.upid, result);
        }
        for line in &object {
            text.headline.push_str(if is_short { "; " } else { "\n" });
            text.headline.push_str(line);
        }
        let later_log = follow_up.map_or_else(String::new, |event| event.log);
        if is_failure {
            let mut notes = self.all_notes();
            if !object.is_empty() {
                notes.drain(..usize::from(self.location.is_some()));
            }
            // The line of a task that went well does not have its UPID.
            notes.extend(has_ended.then(|| format!("task {}", self.upid)));
            return FollowedEnd::Failed(text.join(&format_notes(' ', &notes)) + &later_log);
        }
        let mut structured = structure_task(&self.upid, result, &text, cluster.label());
        if !later_log.is_empty() {
            structured["later_log"] = later_log.trim_start().into();
        }
        let output = ToolOutput::with_structured(text.join("") + &later_log, Some(structured.to_string()));
        let location = self.location.iter().filter(|_| object.is_empty());
        let space_notes = self.space_notes.iter().filter(|_| !has_ended);
        let notes: Vec<String> = location.chain(&self.notes).chain(space_notes).cloned().collect();
        let output = with_notes(output, &notes);
        if is_pending { FollowedEnd::Pending(output) } else { FollowedEnd::Ended(output) }
    }

    /// Renders the error of a task that can't be read.
    pub(super) fn render_error(&self, cluster: &ClusterHandle<'_>, error: WatchError) -> String {
        render_call_error(cluster, error) + &format_notes(' ', &self.all_notes())
    }
}
