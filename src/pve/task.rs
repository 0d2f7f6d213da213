//! Seeing a task to its end: its status is looked at again and again, its log read as it grows.

use crate::base::cancel::CancelToken;
use crate::pve::client::cluster::Cluster;
use crate::pve::error::PveError;
use crate::pve::knowledge::messages::to_one_line;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use serde_json::Value;
use std::time::{Duration, Instant};

pub use crate::pve::upid::Upid;

/// Between the first two looks; each pause after it is half as long again.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest pause: people watch tasks, and a look is two small requests.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a cluster may not know a task: its call can be answered before it is on the list.
pub const UNKNOWN_TASK_GRACE: Duration = Duration::from_secs(3);
/// How long nodes may stay away while the task has not been seen at all; once it has, they may until the deadline.
const UNREACHABLE_GRACE: Duration = Duration::from_secs(15);
/// What a look may take beyond the deadline of the wait, so that there always is a last one.
const LAST_POLL_GRACE: Duration = Duration::from_secs(2);

/// Lines of a log in one request.
const LOG_PAGE_LINES: u64 = 200;
/// Last lines that are kept.
const MAX_TAIL_LINES: usize = 20;
/// Characters of a line that are kept.
const MAX_LINE_CHARS: usize = 300;
/// Characters of an exit status that are kept.
const MAX_EXIT_CHARS: usize = 1_000;

/// What a look brought: the log's new lines (none, where it only shows that the wait goes on).
pub struct TaskProgress<'a> {
    /// The new lines, each of them tamed and cut.
    pub new_lines: &'a [String],
    /// How long the wait has lasted.
    pub waited: Duration,
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It goes on.
    Running,
    /// It ended well.
    Ok,
    /// It ended well but for so many warnings (Proxmox's number, as text), which are in its log.
    Warnings(String),
    /// It failed, for this reason.
    Failed(String),
}

impl TaskState {
    /// Proxmox's `exitstatus`; `None` while it runs.
    pub fn exit_status(&self) -> Option<String> {
        match self {
            TaskState::Running => None,
            TaskState::Ok => Some("OK".into()),
            TaskState::Warnings(n) => Some(format!("WARNINGS: {n}")),
            TaskState::Failed(why) => Some(why.clone()),
        }
    }
}

/// What is known of a task when the wait is over. When it began stands in its [`Upid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// How it stands.
    pub state: TaskState,
    /// The last lines of its log, at most 20, tamed and cut.
    pub log_tail: Vec<String>,
    /// How many lines the log has.
    pub log_lines: u64,
    /// How long it took, or has run so far; `None` where the node does not say.
    pub duration_seconds: Option<u64>,
}

/// Waits until the task has ended, `deadline` is over or the call is to end, whichever comes first; the task itself is
/// never touched. `heard` is told of every look that worked.
///
/// A node that can't be reached, or does not know the task in the first seconds, is asked again. The error is that of
/// the last look, where it failed; [`PveError::Cancelled`] only where the task was not seen at all.
pub fn wait(
    cluster: &Cluster,
    upid: &Upid,
    deadline: Instant,
    cancel: &CancelToken,
    on_progress: &mut dyn FnMut(&TaskProgress<'_>),
) -> Result<TaskResult, PveError> {
    let begun = Instant::now();
    let (mut log, mut seen, mut pause) = (TaskLog::default(), false, FIRST_POLL_INTERVAL);
    loop {
        let by = deadline + LAST_POLL_GRACE;
        let trouble = match fetch_status(cluster, upid, by, cancel) {
            Ok(state) => {
                let new = log.read_new_lines(cluster, upid, by, cancel);
                on_progress(&TaskProgress { new_lines: &new, waited: begun.elapsed() });
                if state != TaskState::Running {
                    // One that was seen running ended just now.
                    let measured = seen.then(|| begun.elapsed().as_secs());
                    let seconds = fetch_duration(cluster, upid, by, cancel).or(measured);
                    return Ok(log.into_result(state, seconds));
                }
                seen = true;
                None
            }
            Err(PveError::Cancelled) => None,
            Err(error) if is_transient(&error, seen, begun.elapsed()) => Some(error),
            Err(error) => return Err(error),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || cancel.wait(pause.min(left)) {
            return match trouble {
                Some(error) => Err(error),
                None if seen => {
                    Ok(log.into_result(TaskState::Running, Some(upid.age().max(begun.elapsed().as_secs()))))
                }
                None => Err(PveError::Cancelled),
            };
        }
        pause = (pause * 3 / 2).min(MAX_POLL_INTERVAL);
    }
}

/// How the task stands now, asked until `by` at the latest.
pub fn fetch_status(cluster: &Cluster, upid: &Upid, by: Instant, cancel: &CancelToken) -> Result<TaskState, PveError> {
    let answer = get_json(cluster, &upid.path_to("status"), &[], by, cancel)?;
    let text = |key: &str| answer.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
    let exit = to_one_line(text("exitstatus").unwrap_or_default(), MAX_EXIT_CHARS);
    Ok(match (text("status"), exit.as_str()) {
        (None, _) => {
            return Err(PveError::MalformedResponse {
                node: "the node asked".into(),
                reason: "it does not say how the task stands".into(),
                detail: String::new(),
            });
        }
        (Some("running"), _) => TaskState::Running,
        (_, "OK") => TaskState::Ok,
        (_, "") => TaskState::Failed("it ended without saying how: its process may have been killed".into()),
        (_, said) => match said.strip_prefix("WARNINGS:") {
            Some(n) => TaskState::Warnings(n.trim().into()),
            None => TaskState::Failed(exit),
        },
    })
}

/// Whether the error says that there is no such task: at once, or not any more (a node keeps its last thousand or so).
pub fn is_unknown_task(error: &PveError) -> bool {
    match error {
        PveError::ParametersRejected { parameters } => parameters.iter().any(|(_, text)| text.contains("no such task")),
        PveError::Failed { message: said, .. } => said.contains("no such task"),
        _ => false,
    }
}

/// Whether it is worth to look again after this error.
fn is_transient(error: &PveError, seen: bool, waited: Duration) -> bool {
    match error {
        _ if is_unknown_task(error) => waited < UNKNOWN_TASK_GRACE,
        // 500 is anything, and 596 is also what a node name that does not exist ends in.
        PveError::Failed { status: 500 | 596, .. } | PveError::MalformedResponse { .. } => seen,
        PveError::ConnectionFailed { .. }
        | PveError::TimedOut { .. }
        | PveError::ConnectionLost { .. }
        | PveError::Busy { .. }
        | PveError::Failed { status: 503 | 595 | 597..=599, .. } => seen || waited < UNREACHABLE_GRACE,
        _ => false,
    }
}

/// How long an ended task took: its status has no end, the node's list of tasks has.
fn fetch_duration(cluster: &Cluster, upid: &Upid, by: Instant, cancel: &CancelToken) -> Option<u64> {
    let started = upid.started_at.to_string();
    let params = [("source", "all"), ("since", started.as_str()), ("until", started.as_str()), ("limit", "100")];
    let (path, _) = ApiPath::parse(&format!("/nodes/{}/tasks", upid.node)).ok()?;
    let answer = get_json(cluster, &path, &params, by, cancel).ok()?;
    let name = upid.to_string();
    let row = answer.get("data")?.as_array()?.iter().find(|row| row.get("upid").is_some_and(|u| *u == *name))?;
    row.get("endtime")?.as_u64()?.checked_sub(upid.started_at)
}

/// The whole of an answer, envelope included.
fn get_json(
    cluster: &Cluster,
    path: &ApiPath,
    pairs: &[(&str, &str)],
    by: Instant,
    cancel: &CancelToken,
) -> Result<Value, PveError> {
    let mut params = ApiParams::new();
    pairs.iter().for_each(|(name, value)| params.push(name, value));
    let answer = cluster.get_with_deadline(by, path, &params, cancel)?;
    serde_json::from_str(answer.body()).map_err(|e| PveError::MalformedResponse {
        node: "the node asked".into(),
        reason: "it is not Proxmox's JSON".into(),
        detail: e.to_string(),
    })
}

/// A task's log, as far as it was read.
#[derive(Default)]
struct TaskLog {
    lines_read: u64,
    tail: Vec<String>,
}

impl TaskLog {
    /// The lines since the last time. Of very many the middle ones are passed over. A log that can't be read is no
    /// reason to stop waiting: it has none.
    fn read_new_lines(&mut self, cluster: &Cluster, upid: &Upid, by: Instant, cancel: &CancelToken) -> Vec<String> {
        let mut new = Vec::new();
        for _ in 0..2 {
            let (start, limit) = (self.lines_read.to_string(), LOG_PAGE_LINES.to_string());
            let Ok(answer) =
                get_json(cluster, &upid.path_to("log"), &[("start", &start), ("limit", &limit)], by, cancel)
            else {
                break;
            };
            let rows = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let lines = rows.iter().filter_map(|row| row.get("t")?.as_str()).take(LOG_PAGE_LINES as usize);
            let mut lines: Vec<String> = lines.map(|line| to_one_line(line, MAX_LINE_CHARS)).collect();
            // What a node says in place of a log that is not there yet.
            if self.lines_read == 0
                && let [only] = lines.as_slice()
                && (only == "no content" || only.starts_with("unable to open file"))
            {
                lines.clear();
            }
            self.lines_read = self.lines_read.saturating_add(lines.len() as u64);
            new.append(&mut lines);
            let total = answer.get("total").and_then(Value::as_u64).unwrap_or(0);
            if rows.len() < LOG_PAGE_LINES as usize || total <= self.lines_read {
                break;
            }
            self.lines_read = self.lines_read.max(total - LOG_PAGE_LINES.min(total));
        }
        self.tail.extend_from_slice(new.get(new.len().saturating_sub(MAX_TAIL_LINES)..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(MAX_TAIL_LINES));
        new
    }

    fn into_result(self, state: TaskState, seconds: Option<u64>) -> TaskResult {
        TaskResult { state, log_tail: self.tail, log_lines: self.lines_read, duration_seconds: seconds }
    }
}
