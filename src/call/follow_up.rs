//! Events after the answer of a call: a command inside a guest, a guest that the HA manager moves, starts or stops, and
//! the start of a guest that was just made. Each of them is read, not guessed.

use super::handle::ClusterHandle;
use super::planned_call::{CallPurpose, PlannedCall};
use crate::base::hint::render_error;
use crate::base::json_scan::{find_string, walk};
use crate::pve::client::cluster::ApiResponse;
use crate::pve::error::PveError;
use crate::pve::guests::{self, Guest};
use crate::pve::knowledge::answers::KnownAnswer;
use crate::pve::knowledge::messages::Meaning;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::rows::{is_true, read_count};
use crate::pve::task::{self, TaskResult, Upid, WaitLimits};
use serde_json::Value;
use std::time::{Duration, Instant};

/// First interval between two reads; each further one is half as long again.
const FIRST_INTERVAL: Duration = Duration::from_millis(200);

/// Longest interval.
const MAX_INTERVAL: Duration = Duration::from_secs(2);

/// Time in which the start of a new guest begins, after the task that made the guest has ended.
const START_GRACE: Duration = Duration::from_secs(10);

/// Event that follows the answer of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowUpKind {
    /// A command inside a guest, with the path of its status and its process id.
    Command { status: ApiPath, pid: String },
    /// The start of a guest, which begins after the task that makes the guest.
    GuestStart,
}

impl FollowUpKind {
    /// Returns the event that follows the answer of a change.
    pub(super) fn determine(planned: &PlannedCall<'_>, response: &ApiResponse) -> Option<Self> {
        if !planned.is_change() {
            return None;
        }
        if let Some(guest) = planned.path.as_str().strip_suffix("/agent/exec") {
            let status = ApiPath::parse(&format!("{guest}/agent/exec-status")).ok()?.0;
            let answer: Value = serde_json::from_str(response.data()).ok()?;
            let pid = read_count(answer.get("pid")?)?.to_string();
            return Some(Self::Command { status, pid });
        }
        let starts = planned.params.iter().any(|(name, value)| name == "start" && value == "1");
        starts.then_some(Self::GuestStart)
    }
}

/// State of a command inside a guest at the end of the wait.
pub enum CommandEnd {
    /// The answer of exec-status for an ended command.
    Ended(Value),
    Running,
    /// The command was started, and its end can't be read. Has the cause with its next step.
    Unknown(String),
}

/// Event after the end of a task.
pub enum TaskFollowUp {
    /// The later task of the guest.
    Task { upid: Upid, result: TaskResult },
    /// The guest reached the wanted state.
    Reached { status: String },
    /// The guest is on another node.
    Moved { status: String, node: String },
    /// The HA manager gave up.
    HaError,
    /// The HA manager has not acted in time, or the start of a guest was not seen.
    Pending {
        /// The state of the guest, as far as it could be read.
        status: Option<FollowedGuestState>,
    },
}

/// State of a guest, with that of the HA manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedGuestState {
    pub status: String,
    /// Empty where HA does not manage the guest.
    pub ha_state: String,
}

/// Kinds of the later tasks of a task, and the state of the guest that ends the wait.
struct Expectation {
    kinds: &'static [&'static str],
    status: Option<&'static str>,
    /// The guest moves to another node.
    moves: bool,
}

fn expectation(kind: &str) -> Option<Expectation> {
    let (kinds, status, moves): (&[&str], _, _) = match kind {
        "hastart" => (&["qmstart", "vzstart"], Some("running"), false),
        "hastop" | "hashutdown" => (&["qmstop", "qmshutdown", "vzstop", "vzshutdown"], Some("stopped"), false),
        "hamigrate" | "harelocate" => (&["qmigrate", "vzmigrate"], None, true),
        "qmcreate" | "qmrestore" | "vzcreate" | "vzrestore" => (&["qmstart", "vzstart", "hastart"], None, false),
        _ => return None,
    };
    Some(Expectation { kinds, status, moves })
}

/// Returns whether the status of a command may be read after this error.
fn may_answer_later(error: &PveError) -> bool {
    use Meaning::*;
    match error {
        PveError::Failed { diagnosis, .. } => matches!(
            diagnosis.meaning,
            AgentUnavailable
                | Unavailable
                | Locked
                | SickNode
                | NodeUnreachable
                | NodeLostOrUnknown
                | NodeTimedOut
                | NodeLost
                | ProxyAnswered
        ),
        error => task::may_recover(error),
    }
}

impl ClusterHandle<'_> {
    /// Waits for the end of a command inside a guest.
    pub fn follow_command(&self, status: &ApiPath, pid: &str, deadline: Instant) -> CommandEnd {
        let mut interval = FIRST_INTERVAL;
        let mut params = ApiParams::new();
        params.push("pid", pid);
        loop {
            let planned = PlannedCall::own_read(self, CallPurpose::ToolRead, status.clone(), params.clone());
            let read = match planned.authorize().map(|read| read.without_confirmation()) {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => return CommandEnd::Unknown(render_error(&error)),
                Err(denied) => return CommandEnd::Unknown(render_error(&denied)),
            };
            let answer = read.send_read().and_then(|response| {
                match PveError::from_agent_answer(response.data(), format!("GET {status}")) {
                    Some(error) => Err(error),
                    None => Ok(self.redact_response(KnownAnswer::GuestAgent.correct(response))),
                }
            });
            let failure = match answer {
                Ok(response) => {
                    let answer: Value = serde_json::from_str(response.data()).unwrap_or_default();
                    if answer.get("exited").is_some_and(is_true) {
                        return CommandEnd::Ended(answer);
                    }
                    None
                }
                // The agent is silent while the guest restarts.
                Err(error) if may_answer_later(&error) => Some(error),
                Err(error) => return CommandEnd::Unknown(render_error(&error)),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.cancel.wait(interval.min(left)) {
                return failure.map_or(CommandEnd::Running, |error| CommandEnd::Unknown(render_error(&error)));
            }
            interval = (interval * 3 / 2).min(MAX_INTERVAL);
        }
    }

    /// Follows the event after the end of a task, until `deadline`. Returns `None` for a task after which nothing more
    /// happens. `starts_guest`: the call asked for the start of the new guest.
    pub fn follow_up(&self, upid: &Upid, starts_guest: bool, deadline: Instant) -> Option<TaskFollowUp> {
        let expected = expectation(&upid.kind)?;
        let wanted = expected.status.or(starts_guest.then_some("running"));
        let vmid = upid.id.parse::<u32>().ok()?;
        let is_ha = upid.is_ha_request();
        let end = match (is_ha, starts_guest) {
            (true, _) => deadline,
            (false, true) => deadline.min(Instant::now() + START_GRACE),
            // Whether a start was asked for is not known, so the list is read once.
            (false, false) => Instant::now(),
        };
        let mut interval = FIRST_INTERVAL;
        loop {
            // The guest may have moved, and the wait may be longer than the time of the reads of one handle.
            let lookups = self.with_new_lookups();
            if let Some(later) = lookups.find_later_task(upid, &expected) {
                let watch = self.watch_task(&later).ok()?;
                let limits = WaitLimits { deadline, running_until: None };
                return Some(match watch.follow(limits, &mut |_| {}) {
                    Ok(result) => TaskFollowUp::Task { upid: later, result },
                    Err(_) => TaskFollowUp::Pending { status: None },
                });
            }
            if !is_ha && !starts_guest {
                return None;
            }
            let guest = lookups.look_up_guests().ok().and_then(|guests| guests::find_guest(guests, &upid.id).ok());
            let status = guest.filter(|guest| guest.vmid == vmid).and_then(|guest| lookups.read_guest_state(guest));
            let node = guest.map(|guest| guest.node.clone()).filter(|node| *node != upid.node);
            match &status {
                Some(state) if is_ha && state.ha_state == "error" => return Some(TaskFollowUp::HaError),
                // (PVE: the request runs on the node that the guest is on.)
                Some(state) if expected.moves && !matches!(state.ha_state.as_str(), "migrate" | "relocate") => {
                    if let Some(node) = node {
                        return Some(TaskFollowUp::Moved { status: state.status.clone(), node });
                    }
                }
                Some(state) if wanted.is_some_and(|wanted| wanted == state.status) => {
                    return Some(TaskFollowUp::Reached { status: state.status.clone() });
                }
                _ => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.cancel.wait(interval.min(left)) {
                return Some(TaskFollowUp::Pending { status });
            }
            interval = (interval * 3 / 2).min(MAX_INTERVAL);
        }
    }

    /// Finds the newest task of the guest that began after a task.
    fn find_later_task(&self, upid: &Upid, expected: &Expectation) -> Option<Upid> {
        let path = ApiPath::from_static("/cluster/tasks");
        let read = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new()).ok()?;
        let response = read.send_list_read(|key, _| key == "upid").ok()?;
        let mut newest: Option<Upid> = None;
        walk(response.data(), &mut |_, row| {
            let found = find_string(row, "upid").and_then(|text| Upid::parse(&text).ok()).filter(|found| {
                found.id == upid.id
                    && found.started_at >= upid.started_at
                    && expected.kinds.contains(&found.kind.as_str())
            });
            if let Some(found) = found
                && newest.as_ref().is_none_or(|newest| newest.started_at < found.started_at)
            {
                newest = Some(found);
            }
            true
        });
        newest
    }

    fn read_guest_state(&self, guest: &Guest) -> Option<FollowedGuestState> {
        let vmid = guest.vmid.to_string();
        let path =
            ApiPath::from_segments(&["nodes", &guest.node, guest.kind.as_str(), &vmid, "status", "current"]).ok()?;
        let response = self.authorize_read(CallPurpose::Lookup, path, ApiParams::new()).ok()?.send_read().ok()?;
        let answer: Value = serde_json::from_str(response.data()).ok()?;
        let ha_state = answer.get("ha").and_then(|ha| ha.get("state")).and_then(Value::as_str).unwrap_or_default();
        let status = answer.get("status").and_then(Value::as_str)?;
        Some(FollowedGuestState { status: status.to_owned(), ha_state: ha_state.to_owned() })
    }
}
