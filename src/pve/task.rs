//! Seeing a task to its end: its status is looked at again and again, its log read as it grows.

use super::cluster::Cluster;
use super::error::Error;
use super::params::Params;
use super::path::ApiPath;
use super::words::one_line;
use crate::cancel::Cancel;
use serde_json::Value;
use std::time::{Duration, Instant};

pub use super::upid::Upid;

/// Between the first two looks; each pause after it is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: people watch tasks, and a look is two small requests.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a cluster may not know a task: its call can be answered before it is on the list.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(3);
/// How long nodes may stay away while the task has not been seen at all; once it has, they may until the deadline.
const AWAY_FOR: Duration = Duration::from_secs(15);
/// What a look may take beyond the deadline of the wait, so that there always is a last one.
const GRACE: Duration = Duration::from_secs(2);

/// Lines of a log in one request.
const CHUNK: u64 = 200;
/// Last lines that are kept.
const TAIL: usize = 20;
/// Characters of a line that are kept.
const MAX_LINE: usize = 300;
/// Characters of an exit status that are kept.
const MAX_EXIT: usize = 1_000;

/// What a look brought: the log's new lines (none, where it only shows that the wait goes on).
pub struct Progress<'a> {
    /// The new lines, each of them tamed and cut.
    pub lines: &'a [String],
    /// How long the wait has lasted.
    pub waited: Duration,
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It goes on.
    Running,
    /// It ended well.
    Ok,
    /// It ended well but for so many warnings (Proxmox's number, as text), which are in its log.
    Warnings(String),
    /// It failed, for this reason.
    Failed(String),
}

impl State {
    /// Proxmox's `exitstatus`; `None` while it runs.
    pub fn exit(&self) -> Option<String> {
        match self {
            State::Running => None,
            State::Ok => Some("OK".into()),
            State::Warnings(n) => Some(format!("WARNINGS: {n}")),
            State::Failed(why) => Some(why.clone()),
        }
    }
}

/// What is known of a task when the wait is over. When it began stands in its [`Upid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it stands.
    pub state: State,
    /// The last lines of its log, at most 20, tamed and cut.
    pub tail: Vec<String>,
    /// How many lines the log has.
    pub lines: u64,
    /// How long it took, or has run so far; `None` where the node does not say.
    pub seconds: Option<u64>,
}

/// Waits until the task has ended, `deadline` is over or the call is to end, whichever comes first; the task itself is
/// never touched. `heard` is told of every look that worked.
///
/// A node that can't be reached, or does not know the task in the first seconds, is asked again. The error is that of
/// the last look, where it failed; [`Error::Cancelled`] only where the task was not seen at all.
pub fn wait(
    cluster: &Cluster,
    upid: &Upid,
    deadline: Instant,
    cancel: &Cancel,
    heard: &mut dyn FnMut(&Progress<'_>),
) -> Result<Outcome, Error> {
    let begun = Instant::now();
    let (mut log, mut seen, mut pause) = (Log::default(), false, FIRST_PAUSE);
    loop {
        let by = deadline + GRACE;
        let trouble = match status(cluster, upid, by, cancel) {
            Ok(state) => {
                let new = log.read(cluster, upid, by, cancel);
                heard(&Progress { lines: &new, waited: begun.elapsed() });
                if state != State::Running {
                    // One that was seen running ended just now.
                    let measured = seen.then(|| begun.elapsed().as_secs());
                    let seconds = took(cluster, upid, by, cancel).or(measured);
                    return Ok(log.outcome(state, seconds));
                }
                seen = true;
                None
            }
            Err(Error::Cancelled) => None,
            Err(error) if passes(&error, seen, begun.elapsed()) => Some(error),
            Err(error) => return Err(error),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || cancel.wait(pause.min(left)) {
            return match trouble {
                Some(error) => Err(error),
                None if seen => Ok(log.outcome(State::Running, Some(upid.age().max(begun.elapsed().as_secs())))),
                None => Err(Error::Cancelled),
            };
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// How the task stands now, asked until `by` at the latest.
pub fn status(cluster: &Cluster, upid: &Upid, by: Instant, cancel: &Cancel) -> Result<State, Error> {
    let answer = get(cluster, &upid.path("status"), &[], by, cancel)?;
    let text = |key: &str| answer.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
    let exit = one_line(text("exitstatus").unwrap_or_default(), MAX_EXIT);
    Ok(match (text("status"), exit.as_str()) {
        (None, _) => {
            return Err(Error::Unreadable {
                node: "the node asked".into(),
                why: "it does not say how the task stands".into(),
                inside: String::new(),
            });
        }
        (Some("running"), _) => State::Running,
        (_, "OK") => State::Ok,
        (_, "") => State::Failed("it ended without saying how: its process may have been killed".into()),
        (_, said) => match said.strip_prefix("WARNINGS:") {
            Some(n) => State::Warnings(n.trim().into()),
            None => State::Failed(exit),
        },
    })
}

/// Whether the error says that there is no such task: at once, or not any more (a node keeps its last thousand or so).
pub fn is_unknown(error: &Error) -> bool {
    match error {
        Error::Rejected { parameters } => parameters.iter().any(|(_, text)| text.contains("no such task")),
        Error::Failed { said, .. } => said.contains("no such task"),
        _ => false,
    }
}

/// Whether it is worth to look again after this error.
fn passes(error: &Error, seen: bool, waited: Duration) -> bool {
    match error {
        _ if is_unknown(error) => waited < UNKNOWN_FOR,
        // 500 is anything, and 596 is also what a node name that does not exist ends in.
        Error::Failed { status: 500 | 596, .. } | Error::Unreadable { .. } => seen,
        Error::Connect { .. }
        | Error::TimedOut { .. }
        | Error::Lost { .. }
        | Error::Busy { .. }
        | Error::Failed { status: 503 | 595 | 597..=599, .. } => seen || waited < AWAY_FOR,
        _ => false,
    }
}

/// How long an ended task took: its status has no end, the node's list of tasks has.
fn took(cluster: &Cluster, upid: &Upid, by: Instant, cancel: &Cancel) -> Option<u64> {
    let started = upid.started.to_string();
    let params = [("source", "all"), ("since", started.as_str()), ("until", started.as_str()), ("limit", "100")];
    let (path, _) = ApiPath::parse(&format!("/nodes/{}/tasks", upid.node)).ok()?;
    let answer = get(cluster, &path, &params, by, cancel).ok()?;
    let name = upid.to_string();
    let row = answer.get("data")?.as_array()?.iter().find(|row| row.get("upid").is_some_and(|u| *u == *name))?;
    row.get("endtime")?.as_u64()?.checked_sub(upid.started)
}

/// The whole of an answer, envelope included.
fn get(
    cluster: &Cluster,
    path: &ApiPath,
    pairs: &[(&str, &str)],
    by: Instant,
    cancel: &Cancel,
) -> Result<Value, Error> {
    let mut params = Params::new();
    pairs.iter().for_each(|(name, value)| params.push(name, value));
    let answer = cluster.get_by(by, path, &params, cancel)?;
    serde_json::from_str(answer.whole()).map_err(|e| Error::Unreadable {
        node: "the node asked".into(),
        why: "it is not Proxmox's JSON".into(),
        inside: e.to_string(),
    })
}

/// A task's log, as far as it was read.
#[derive(Default)]
struct Log {
    seen: u64,
    tail: Vec<String>,
}

impl Log {
    /// The lines since the last time. Of very many the middle ones are passed over. A log that can't be read is no
    /// reason to stop waiting: it has none.
    fn read(&mut self, cluster: &Cluster, upid: &Upid, by: Instant, cancel: &Cancel) -> Vec<String> {
        let mut new = Vec::new();
        for _ in 0..2 {
            let (start, limit) = (self.seen.to_string(), CHUNK.to_string());
            let Ok(answer) = get(cluster, &upid.path("log"), &[("start", &start), ("limit", &limit)], by, cancel)
            else {
                break;
            };
            let rows = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let lines = rows.iter().filter_map(|row| row.get("t")?.as_str()).take(CHUNK as usize);
            let mut lines: Vec<String> = lines.map(|line| one_line(line, MAX_LINE)).collect();
            // What a node says in place of a log that is not there yet.
            if self.seen == 0
                && let [only] = lines.as_slice()
                && (only == "no content" || only.starts_with("unable to open file"))
            {
                lines.clear();
            }
            self.seen = self.seen.saturating_add(lines.len() as u64);
            new.append(&mut lines);
            let total = answer.get("total").and_then(Value::as_u64).unwrap_or(0);
            if rows.len() < CHUNK as usize || total <= self.seen {
                break;
            }
            self.seen = self.seen.max(total - CHUNK.min(total));
        }
        self.tail.extend_from_slice(new.get(new.len().saturating_sub(TAIL)..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        new
    }

    fn outcome(self, state: State, seconds: Option<u64>) -> Outcome {
        Outcome { state, tail: self.tail, lines: self.seen, seconds }
    }
}
