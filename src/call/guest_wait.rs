//! The wait for a state of a guest: its power, its HA state, or the end of its lock. Each state is read from the guest.

use super::handle::ClusterHandle;
use super::present_state::{ObjectReader, PathGuest};
use super::resolve_path::find_listed_guest;
use crate::base::hint::Hint;
use crate::base::shorten::shorten_to;
use crate::pve::error::PveError;
use crate::pve::guests::FindGuestError;
use crate::pve::params::ApiParams;
use crate::pve::rows::is_true;
use crate::render::changed_object::GuestPlace;
use crate::render::object_state::{NotKnown, find_ha_state, text_of};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

/// First interval between two reads; each further one is half as long again.
const FIRST_INTERVAL: Duration = Duration::from_millis(200);

/// The most characters of a caller's text in an error.
const MAX_TYPED_CHARS: usize = 100;

/// Longest interval.
const MAX_INTERVAL: Duration = Duration::from_secs(2);

/// A state of a guest that a caller waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwaitedState {
    /// `running`, `stopped` or `paused`.
    Power(&'static str),
    /// Paused by the guest's own sleep, or saved to a disk and off.
    Suspended,
    /// The state of the HA manager: `started`, `stopped`, …
    Ha(String),
    /// No operation holds the guest.
    Unlocked,
    /// The guest does not exist any more.
    Gone,
    /// The guest is on this node, and no longer on its way.
    OnNode(String),
}

/// A guest, by name or number, and the state that a caller waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedGuest {
    pub guest: String,
    pub state: AwaitedState,
    /// The HA manager was asked for the state, and may give up.
    pub by_ha: bool,
}

/// The end of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestWait {
    /// The guest as it is.
    pub line: String,
    pub end: GuestWaitEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestWaitEnd {
    Reached,
    NotYet,
    /// The HA manager gave up.
    HaError,
}

impl GuestWaitEnd {
    /// Describes the end of what the HA manager was asked for, where the state of the guest does not show it.
    pub fn describe_ha_request(self) -> Option<&'static str> {
        match self {
            Self::Reached => None,
            Self::NotYet => Some(
                "PENDING: the HA manager has not done it yet. hint: GET …/status/current shows it, GET /cluster/tasks the \
                 later task",
            ),
            Self::HaError => Some(
                "FAILED: the HA manager gave up on the guest (ha state error). hint: GET /cluster/ha/status/current says \
                 why; setting the resource's state to disabled and then to started clears it",
            ),
        }
    }
}

/// A text that names no guest with a state.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a task's UPID nor a guest with a state that can be waited for")]
pub struct UnknownState(String);

impl Hint for UnknownState {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(
            "write the UPID, or a name or number with running, stopped, paused, suspended, unlocked, gone or `ha STATE`, such \
             as `web01 running` or `100 ha started`"
                .into(),
        )
    }
}

/// The reason why a guest can't be waited for.
#[derive(Debug, thiserror::Error)]
pub enum GuestWaitError {
    #[error("guest {0} was deleted while the call waited, or the API token does not see it any more")]
    Deleted(String),
    #[error("the HA manager does not manage the guest: {0}")]
    NotManaged(String),
    #[error(transparent)]
    Guest(#[from] FindGuestError),
    #[error("the list of guests can't be read: {0}")]
    List(String),
    #[error("guest {0} is a template, which never runs")]
    Template(String),
    #[error("the state of guest {guest} can't be read: {reason}")]
    Unreadable { guest: String, reason: String },
}

impl Hint for GuestWaitError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Guest(error) => error.hint(),
            Self::NotManaged(_) => Some("POST /cluster/ha/resources adds it".into()),
            Self::Template(_) => Some("POST …/clone makes a guest of it, which can run".into()),
            Self::Deleted(_) | Self::List(_) | Self::Unreadable { .. } => None,
        }
    }
}

/// Words before the name of a guest that only say what it is.
const KIND_WORDS: [&str; 6] = ["guest", "vm", "ct", "container", "qemu", "lxc"];

/// The states of the HA manager.
const HA_STATES: [&str; 14] = [
    "started",
    "stopped",
    "disabled",
    "enabled",
    "ignored",
    "error",
    "queued",
    "migrate",
    "relocate",
    "recovery",
    "fence",
    "freeze",
    "request_start",
    "request_stop",
];

impl AwaitedGuest {
    /// Parses `web01 running`, `100 stopped`, `vm web01 is unlocked` or `web01 ha started`. Returns `None` for the UPID of a
    /// task.
    pub fn parse(typed: &str) -> Result<Option<Self>, UnknownState> {
        if typed.trim_start().starts_with("UPID:") {
            return Ok(None);
        }
        let unknown = || UnknownState(shorten_to(typed, MAX_TYPED_CHARS).into_owned());
        let mut words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        let is = |word: &str, list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(word));
        if words.len() > 2 && is(&words[0], &KIND_WORDS) {
            words.remove(0);
        }
        words.retain(|word| !is(word, &["is", "to", "be"]));
        let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
        let state = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [_, "running" | "started" | "on" | "up" | "online"] => AwaitedState::Power("running"),
            [_, "stopped" | "off" | "down" | "shutdown" | "offline"] => AwaitedState::Power("stopped"),
            [_, "paused"] => AwaitedState::Power("paused"),
            [_, "suspended" | "hibernated"] => AwaitedState::Suspended,
            [_, "unlocked"] => AwaitedState::Unlocked,
            [_, "gone" | "deleted" | "removed" | "destroyed"] => AwaitedState::Gone,
            [_, "ha", state] if HA_STATES.contains(state) => AwaitedState::Ha((*state).to_owned()),
            _ => return Err(unknown()),
        };
        Ok(Some(Self { guest: find_guest_word(&words.swap_remove(0)).to_owned(), state, by_ha: false }))
    }
}

/// Returns the name or number in a word for a guest, which may be an HA resource (`vm:104`) or a path (`/qemu/104`).
fn find_guest_word(word: &str) -> &str {
    let resource =
        word.split_once(':').filter(|(kind, _)| KIND_WORDS.iter().any(|known| known.eq_ignore_ascii_case(kind)));
    if let Some((_, guest)) = resource {
        return guest;
    }
    let mut parts = word.split('/').skip_while(|part| !matches!(*part, "qemu" | "lxc")).skip(1);
    parts.next().filter(|guest| !guest.is_empty()).unwrap_or(word)
}

impl fmt::Display for AwaitedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(state) => f.write_str(state),
            Self::Ha(state) => write!(f, "HA state {state}"),
            Self::Suspended => f.write_str("suspended"),
            Self::Unlocked => f.write_str("unlocked"),
            Self::Gone => f.write_str("gone"),
            Self::OnNode(node) => write!(f, "on {node}"),
        }
    }
}

impl AwaitedState {
    /// Returns whether only a guest that can run has the state.
    fn needs_running_guest(&self) -> bool {
        match self {
            Self::Power(state) => *state != "stopped",
            Self::Suspended => true,
            Self::Ha(_) | Self::Unlocked | Self::Gone | Self::OnNode(_) => false,
        }
    }

    /// Returns whether an operation that works on the guest may end its power state.
    fn may_not_last(&self, status: &Map<String, Value>) -> bool {
        matches!(self, Self::Power(_)) && !matches!(text_of(status, "lock"), "" | "suspended")
    }

    /// Returns whether a guest on this node with this status has the state.
    fn is_reached(&self, node: &str, status: &Map<String, Value>) -> bool {
        match self {
            Self::Power(wanted) => {
                let precise = text_of(status, "qmpstatus");
                let is_paused = text_of(status, "status") == "running" && !matches!(precise, "" | "running");
                match is_paused {
                    true => *wanted == precise,
                    false => *wanted == text_of(status, "status"),
                }
            }
            // (PVE: a VM that is saved to a disk is off, with this lock.)
            Self::Suspended => {
                text_of(status, "lock") == "suspended" || matches!(text_of(status, "qmpstatus"), "suspended" | "paused")
            }
            Self::Gone => false,
            Self::Ha(wanted) => ha_state(status) == wanted,
            Self::Unlocked => text_of(status, "lock").is_empty(),
            Self::OnNode(wanted) => wanted == node && !matches!(ha_state(status), "migrate" | "relocate"),
        }
    }
}

fn ha_state(status: &Map<String, Value>) -> &str {
    status.get("ha").and_then(Value::as_object).map_or("", |ha| text_of(ha, "state"))
}

/// The reason why the state of a guest can't be read.
struct UnreadableState {
    reason: String,
    /// No later read is likely to succeed.
    is_final: bool,
}

impl ClusterHandle<'_> {
    /// Returns whether the list of guests has the guest.
    pub fn has_guest(&self, query: &str) -> Result<bool, GuestWaitError> {
        match self.find_place(query) {
            Ok(_) => Ok(true),
            Err(GuestWaitError::Guest(FindGuestError::Unknown { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn find_place(&self, query: &str) -> Result<PathGuest, GuestWaitError> {
        let guests = self.look_up_guests().map_err(|error| GuestWaitError::List(error.to_string()))?;
        let guest = find_listed_guest(self, guests, query)?;
        Ok(PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: guest.vmid.to_string() })
    }

    /// Reads the state of a guest.
    fn read_status(&self, place: &PathGuest) -> Result<Map<String, Value>, UnreadableState> {
        let known_reason = |NotKnown { reason, .. }| UnreadableState { reason, is_final: false };
        let path = place.try_path(&["status", "current"]).map_err(known_reason)?;
        let answer = ObjectReader::new(self).look_up(path, ApiParams::new()).map_err(known_reason)?;
        let answer = answer.map_err(|error| UnreadableState {
            is_final: matches!(error, PveError::Forbidden { .. }),
            reason: error.to_string(),
        })?;
        serde_json::from_str(answer.data())
            .map_err(|_| UnreadableState { reason: "the answer of the node has another form".into(), is_final: false })
    }

    /// Waits until a guest has a state, until `deadline` at the latest. `report` is called with the state after each read.
    pub fn wait_for_guest(
        &self,
        awaited: &AwaitedGuest,
        deadline: Instant,
        report: &mut dyn FnMut(Duration, &str),
    ) -> Result<GuestWait, GuestWaitError> {
        let start = Instant::now();
        let mut interval = FIRST_INTERVAL;
        let is_unknown =
            |error: &GuestWaitError| matches!(error, GuestWaitError::Guest(FindGuestError::Unknown { .. }));
        let gone = || {
            let line = self.redact(format!("guest {} does not exist, as far as the API token sees", awaited.guest));
            GuestWait { line, end: GuestWaitEnd::Reached }
        };
        let mut place = match self.find_place(&awaited.guest) {
            Err(error) if awaited.state == AwaitedState::Gone && is_unknown(&error) => return Ok(gone()),
            place => place?,
        };
        self.scope.origin.observer.record_wait();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read_status(&place) {
                Ok(status) => {
                    let needs_ha = matches!(awaited.state, AwaitedState::Ha(_)) && !awaited.by_ha;
                    if needs_ha && find_ha_state(&status).is_none() {
                        let line = GuestPlace { kind: place.kind, vmid: &place.vmid, node: &place.node };
                        return Err(GuestWaitError::NotManaged(self.redact(line.describe_state(&status))));
                    }
                    if awaited.state.needs_running_guest() && status.get("template").is_some_and(is_true) {
                        return Err(GuestWaitError::Template(place.vmid));
                    }
                    let line = GuestPlace { kind: place.kind, vmid: &place.vmid, node: &place.node };
                    let line = self.redact(line.describe_state(&status));
                    let is_ha = awaited.by_ha || matches!(awaited.state, AwaitedState::Ha(_));
                    let end = match () {
                        () if awaited.state.is_reached(&place.node, &status) => Some(GuestWaitEnd::Reached),
                        () if is_ha && ha_state(&status) == "error" => Some(GuestWaitEnd::HaError),
                        () if left.is_zero() => Some(GuestWaitEnd::NotYet),
                        () => None,
                    };
                    report(start.elapsed(), &line);
                    if let Some(end) = end {
                        let is_unlocked = awaited.state == AwaitedState::Unlocked && end == GuestWaitEnd::Reached;
                        let line = match is_unlocked {
                            true => line + ", unlocked",
                            false if end == GuestWaitEnd::Reached && awaited.state.may_not_last(&status) => {
                                let hint = format!("wait_for_task with `{} unlocked` waits for its end", awaited.guest);
                                format!("{line}; the operation that locks it may change this. hint: {hint}")
                            }
                            false => line,
                        };
                        return Ok(GuestWait { line, end });
                    }
                    if self.cancel.wait(interval.min(left)) {
                        return Ok(GuestWait { line, end: GuestWaitEnd::NotYet });
                    }
                }
                // The guest may have moved to another node, or is deleted.
                Err(unreadable) => {
                    let moved = match self.with_new_lookups().find_place(&awaited.guest) {
                        Err(error) if is_unknown(&error) && awaited.state == AwaitedState::Gone => return Ok(gone()),
                        Err(error) if is_unknown(&error) => {
                            return Err(GuestWaitError::Deleted(awaited.guest.clone()));
                        }
                        moved => moved?,
                    };
                    let is_elsewhere = moved.node != place.node;
                    let is_final = unreadable.is_final && !is_elsewhere;
                    if is_final || left.is_zero() || self.cancel.wait(interval.min(left)) {
                        let guest = awaited.guest.clone();
                        return Err(GuestWaitError::Unreadable { guest, reason: unreadable.reason });
                    }
                    if is_elsewhere {
                        place = moved;
                    }
                }
            }
            interval = (interval * 3 / 2).min(MAX_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_guest_and_a_state_are_parsed() {
        let power = AwaitedState::Power;
        for (text, guest, state) in [
            ("web01 running", "web01", power("running")),
            (" 100  stopped ", "100", power("stopped")),
            ("100 Running", "100", power("running")),
            ("VM web01 is started", "web01", power("running")),
            ("guest 100 to be off", "100", power("stopped")),
            ("vm running", "vm", power("running")),
            ("vm:104 started", "104", power("running")),
            ("ct:200 ha started", "200", AwaitedState::Ha("started".into())),
            ("/nodes/pve1/qemu/100/status/current running", "100", power("running")),
            ("/lxc/dns01 stopped", "dns01", power("stopped")),
            ("100 hibernated", "100", AwaitedState::Suspended),
            ("100 unlocked", "100", AwaitedState::Unlocked),
            ("100 deleted", "100", AwaitedState::Gone),
            ("100 HA started", "100", AwaitedState::Ha("started".into())),
        ] {
            let expected = AwaitedGuest { guest: guest.to_owned(), state, by_ha: false };
            assert_eq!(AwaitedGuest::parse(text).expect("a state"), Some(expected), "{text}");
        }
        let upid = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:";
        assert_eq!(AwaitedGuest::parse(upid).expect("a task"), None);
        for text in ["web01", "web01 happy", "100 ha", "100 ha happy", "100 running now", "qmstart", ""] {
            assert!(AwaitedGuest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_state_is_reached_by_what_the_guest_says() {
        let power = AwaitedState::Power;
        for (state, status, expected) in [
            (power("running"), json!({"status": "running", "qmpstatus": "running"}), true),
            (power("running"), json!({"status": "running", "qmpstatus": "paused"}), false),
            (power("paused"), json!({"status": "running", "qmpstatus": "paused"}), true),
            (power("stopped"), json!({"status": "stopped", "qmpstatus": "stopped"}), true),
            (AwaitedState::Suspended, json!({"status": "stopped", "lock": "suspended"}), true),
            (AwaitedState::Suspended, json!({"status": "running", "qmpstatus": "running"}), false),
            (AwaitedState::Gone, json!({"status": "stopped"}), false),
            (power("running"), json!({"status": "running"}), true),
            (AwaitedState::Unlocked, json!({"status": "running", "lock": "backup"}), false),
            (AwaitedState::Unlocked, json!({"status": "running"}), true),
            (AwaitedState::Ha("started".into()), json!({"ha": {"managed": 1, "state": "started"}}), true),
            (AwaitedState::Ha("started".into()), json!({"ha": {"managed": 0}}), false),
            (AwaitedState::OnNode("pve1".into()), json!({"ha": {"state": "started"}}), true),
            (AwaitedState::OnNode("pve1".into()), json!({"ha": {"state": "migrate"}}), false),
            (AwaitedState::OnNode("pve2".into()), json!({"ha": {"state": "started"}}), false),
        ] {
            let Value::Object(object) = status else { panic!("an object") };
            assert_eq!(state.is_reached("pve1", &object), expected, "{state} {object:?}");
        }
    }
}
