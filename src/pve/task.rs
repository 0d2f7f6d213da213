//! Following a task to its end: polls its status and reads its log as it grows.

use crate::base::cancel::CancelToken;
use crate::base::json_scan::{find_member, find_string, unquote, walk};
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::error::{MalformedCause, PveError};
use crate::pve::knowledge::messages::{Meaning, is_interruption, is_log_placeholder, is_unknown_end};
use crate::pve::knowledge::text::{decode_twice_encoded, to_one_line};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::{parse_number, to_count};
use std::time::{Duration, Instant};

pub use crate::pve::upid::{ParseUpidError, Upid};

/// First interval between two polls; each further one is half as long again.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Longest interval: people watch tasks, and a poll is two small requests.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Time in which a cluster may not know a new task, because the call is answered before the task is listed.
pub const UNKNOWN_TASK_GRACE: Duration = Duration::from_secs(3);
/// Time in which no node may be reachable before the first successful poll; after it, they may be until the deadline.
const UNREACHABLE_GRACE: Duration = Duration::from_secs(15);
/// Time for a poll beyond the deadline, so that there always is a last one.
const LAST_POLL_GRACE: Duration = Duration::from_secs(2);

/// Lines of a log in one request.
const LOG_PAGE_LINES: u64 = 200;
/// Last lines that are kept.
const MAX_TAIL_LINES: usize = 20;
/// Characters of a line that are kept.
const MAX_LINE_CHARS: usize = 300;
/// Characters of an exit status that are kept.
const MAX_EXIT_CHARS: usize = 1_000;

/// Result of one poll.
pub struct TaskProgress<'a> {
    /// The new lines of the log, each on one line and shortened.
    pub new_lines: &'a [String],
    /// The time since the start of the wait.
    pub waited: Duration,
}

/// State of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// The task has not ended.
    Running,
    /// The task succeeded.
    Ok,
    /// The task succeeded with this number of warnings (Proxmox's text), which are in its log.
    Warnings(String),
    /// The task failed for this reason.
    Failed(String),
    /// The task has ended, and the node does not know how. The text is Proxmox's.
    Unknown(String),
}

impl TaskState {
    /// Parses Proxmox's `status` and `exitstatus`.
    pub(in crate::pve) fn from_status(status: &str, exit_status: &str) -> Self {
        match status {
            "running" => return TaskState::Running,
            "stopped" => {}
            other => return TaskState::Unknown(format!("the status is {:?}", to_one_line(other, MAX_EXIT_CHARS))),
        }
        match to_one_line(&decode_twice_encoded(exit_status), MAX_EXIT_CHARS).as_str() {
            "OK" => TaskState::Ok,
            "" => TaskState::Unknown("it ended without an exit status: its process may have been killed".into()),
            exit => match exit.strip_prefix("WARNINGS:") {
                Some(count) => TaskState::Warnings(count.trim().into()),
                None if is_unknown_end(exit) => TaskState::Unknown(exit.into()),
                None => TaskState::Failed(exit.into()),
            },
        }
    }

    /// Returns whether a request to stop the task ended it.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, TaskState::Failed(reason) if is_interruption(reason))
    }

    /// Returns Proxmox's `exitstatus`, or `None` for a running task.
    pub fn exit_status(&self) -> Option<String> {
        match self {
            TaskState::Running => None,
            TaskState::Ok => Some("OK".into()),
            TaskState::Warnings(count) => Some(format!("WARNINGS: {count}")),
            TaskState::Failed(reason) | TaskState::Unknown(reason) => Some(reason.clone()),
        }
    }
}

/// Task at the end of the wait. Its start is in its [`Upid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    pub state: TaskState,
    /// The last lines of its log, at most 20, each on one line and shortened.
    pub log_tail: Vec<String>,
    /// The number of lines in the log.
    pub log_lines: u64,
    /// The duration so far, or `None` if the node does not report it.
    pub duration_seconds: Option<u64>,
}

/// The limits of a wait.
#[derive(Clone, Copy, Debug)]
pub struct WaitLimits {
    /// The end of the wait.
    pub deadline: Instant,
    /// The end of the wait for a task that a poll has seen running, if it is earlier. The wait then has no error.
    pub running_until: Option<Instant>,
}

/// Waits until the task has ended, a limit has passed or the call is cancelled. Never changes the task. Calls
/// `on_progress` after each successful poll.
///
/// Polls again if no node can be reached, or if the node does not know the task in the first seconds. Returns the error
/// of the last poll, and [`PveError::Cancelled`] only if no poll succeeded.
pub fn wait(
    cluster: &Cluster,
    upid: &Upid,
    limits: WaitLimits,
    cancel: &CancelToken,
    on_progress: &mut dyn FnMut(&TaskProgress<'_>),
) -> Result<TaskResult, PveError> {
    let start = Instant::now();
    let (mut log, mut was_running, mut interval) = (TaskLog::default(), false, FIRST_POLL_INTERVAL);
    let end = |was_running| limits.running_until.filter(|_| was_running).unwrap_or(limits.deadline);
    loop {
        let poll_deadline = end(was_running) + LAST_POLL_GRACE;
        let error = match fetch_status(cluster, upid, poll_deadline, cancel) {
            Ok(state) => {
                let new_lines = log.read_new_lines(cluster, upid, poll_deadline, cancel);
                on_progress(&TaskProgress { new_lines: &new_lines, waited: start.elapsed() });
                if state != TaskState::Running {
                    // A task that was running before ended just now.
                    let measured = was_running.then(|| start.elapsed().as_secs());
                    let seconds = fetch_duration(cluster, upid, poll_deadline, cancel).or(measured);
                    return Ok(log.into_result(state, seconds));
                }
                was_running = true;
                None
            }
            Err(PveError::Cancelled) => None,
            Err(error) if is_transient(&error, was_running, start.elapsed()) => Some(error),
            Err(error) => return Err(error),
        };
        let left = end(was_running).saturating_duration_since(Instant::now());
        if left.is_zero() || cancel.wait(interval.min(left)) {
            let has_handover = was_running && limits.running_until.is_some();
            return match error.filter(|_| !has_handover) {
                Some(error) => Err(error),
                None if was_running => {
                    Ok(log.into_result(TaskState::Running, Some(upid.age().max(start.elapsed().as_secs()))))
                }
                None => Err(PveError::Cancelled),
            };
        }
        interval = (interval * 3 / 2).min(MAX_POLL_INTERVAL);
    }
}

/// Reads the task once. Ends at `deadline` at the latest.
pub fn read(cluster: &Cluster, upid: &Upid, deadline: Instant, cancel: &CancelToken) -> Result<TaskResult, PveError> {
    let state = fetch_status(cluster, upid, deadline, cancel)?;
    let mut log = TaskLog::default();
    log.read_new_lines(cluster, upid, deadline, cancel);
    let seconds = match state {
        TaskState::Running => Some(upid.age()),
        _ => fetch_duration(cluster, upid, deadline, cancel),
    };
    Ok(log.into_result(state, seconds))
}

/// Returns the current state of the task. Ends at `deadline` at the latest.
pub fn fetch_status(
    cluster: &Cluster,
    upid: &Upid,
    deadline: Instant,
    cancel: &CancelToken,
) -> Result<TaskState, PveError> {
    let answer = get(cluster, &upid.path_to("status"), &[], deadline, cancel)?;
    let text = |key: &str| find_string(answer.data(), key);
    let status = text("status").ok_or_else(|| malformed(MalformedCause::NoTaskStatus))?;
    Ok(TaskState::from_status(&status, &text("exitstatus").unwrap_or_default()))
}

/// Builds the error for an answer of any node of the cluster.
fn malformed(cause: MalformedCause) -> PveError {
    PveError::MalformedResponse { node: "the node asked".into(), cause }
}

/// Returns whether the cluster does not know the task, or no longer: a node keeps about its last thousand.
pub fn is_unknown_task(error: &PveError) -> bool {
    error.meaning() == Meaning::UnknownTask
}

/// Returns whether a task that was running may be read again after this error.
pub fn may_recover(error: &PveError) -> bool {
    matches!(error, PveError::Cancelled) || (!is_unknown_task(error) && is_transient(error, true, Duration::ZERO))
}

/// Returns whether to poll again after this error.
fn is_transient(error: &PveError, was_running: bool, waited: Duration) -> bool {
    match error {
        _ if is_unknown_task(error) => waited < UNKNOWN_TASK_GRACE,
        // 500 covers many failures, and 596 an unknown node name as well.
        PveError::Failed { status: 500 | 596, .. } | PveError::MalformedResponse { .. } => was_running,
        PveError::ConnectionFailed { .. }
        | PveError::TimedOut { .. }
        | PveError::ConnectionLost { .. }
        | PveError::Busy { .. }
        | PveError::Failed { status: 503 | 595 | 597..=599, .. } => was_running || waited < UNREACHABLE_GRACE,
        _ => false,
    }
}

/// Returns the duration of an ended task. The end is in the node's list of tasks, not in the task's status.
fn fetch_duration(cluster: &Cluster, upid: &Upid, deadline: Instant, cancel: &CancelToken) -> Option<u64> {
    let started_at = upid.started_at.to_string();
    let params = [("source", "all"), ("since", &started_at), ("until", &started_at), ("limit", "100")];
    let (path, _) = ApiPath::parse(&format!("/nodes/{}/tasks", upid.node)).ok()?;
    let answer = get(cluster, &path, &params, deadline, cancel).ok()?;
    let name = upid.to_string();
    let mut found = None;
    walk(answer.data(), &mut |_, row| {
        found = find_string(row, "upid").filter(|upid| *upid == name).map(|_| row);
        found.is_none()
    });
    let ended_at = parse_number(&unquote(find_member(found?, "endtime")?)).and_then(to_count)?;
    ended_at.checked_sub(upid.started_at)
}

fn get(
    cluster: &Cluster,
    path: &ApiPath,
    pairs: &[(&str, &str)],
    deadline: Instant,
    cancel: &CancelToken,
) -> Result<ApiResponse, PveError> {
    let mut params = ApiParams::new();
    pairs.iter().for_each(|(name, value)| params.push(name, value));
    cluster.get_shared(deadline, path, &params, cancel)
}

/// Log of a task, as far as it was read.
#[derive(Default)]
struct TaskLog {
    lines_read: u64,
    tail: Vec<String>,
}

impl TaskLog {
    /// Reads the lines since the last time, without the middle of a very long log. Returns no lines if the log cannot be
    /// read, so that the wait continues.
    fn read_new_lines(
        &mut self,
        cluster: &Cluster,
        upid: &Upid,
        deadline: Instant,
        cancel: &CancelToken,
    ) -> Vec<String> {
        let mut new_lines = Vec::new();
        for _ in 0..2 {
            let (start, limit) = (self.lines_read.to_string(), LOG_PAGE_LINES.to_string());
            let params = [("start", start.as_str()), ("limit", &limit)];
            let Ok(answer) = get(cluster, &upid.path_to("log"), &params, deadline, cancel) else { break };
            let (mut lines, mut rows): (Vec<String>, u64) = (Vec::new(), 0);
            walk(answer.data(), &mut |_, row| {
                rows += 1;
                let line = find_string(row, "t");
                lines.extend(line.map(|line| to_one_line(&decode_twice_encoded(&line), MAX_LINE_CHARS)));
                rows < LOG_PAGE_LINES
            });
            if self.lines_read == 0
                && let [only] = lines.as_slice()
                && is_log_placeholder(only)
            {
                lines.clear();
            }
            self.lines_read = self.lines_read.saturating_add(lines.len() as u64);
            new_lines.append(&mut lines);
            let total = find_member(answer.body(), "total").and_then(|total| total.parse().ok()).unwrap_or(0);
            if rows < LOG_PAGE_LINES || total <= self.lines_read {
                break;
            }
            self.lines_read = self.lines_read.max(total - LOG_PAGE_LINES.min(total));
        }
        let last = new_lines.len().saturating_sub(MAX_TAIL_LINES);
        self.tail.extend_from_slice(&new_lines[last..]);
        self.tail.drain(..self.tail.len().saturating_sub(MAX_TAIL_LINES));
        new_lines
    }

    fn into_result(self, state: TaskState, duration_seconds: Option<u64>) -> TaskResult {
        TaskResult { state, log_tail: self.tail, log_lines: self.lines_read, duration_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_from_status_and_exit_status() {
        for (status, exit_status, expected) in [
            ("running", "", TaskState::Running),
            ("stopped", "OK", TaskState::Ok),
            ("stopped", "WARNINGS: 2", TaskState::Warnings("2".into())),
            ("stopped", "unexpected status", TaskState::Unknown("unexpected status".into())),
            (
                "stopped",
                "unable to read tail (got 0 bytes)",
                TaskState::Unknown("unable to read tail (got 0 bytes)".into()),
            ),
            ("stopped", "kein GerÃ¤t", TaskState::Failed("kein Gerät".into())),
            ("stopped", "command failed\nexit code 1", TaskState::Failed("command failed; exit code 1".into())),
        ] {
            assert_eq!(TaskState::from_status(status, exit_status), expected);
        }
        assert!(
            matches!(TaskState::from_status("stopped", ""), TaskState::Unknown(reason) if reason.contains("killed"))
        );
        assert!(matches!(TaskState::from_status("lost", "OK"), TaskState::Unknown(reason) if reason.contains("lost")));
    }
}
