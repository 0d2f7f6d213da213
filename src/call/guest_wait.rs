//! The wait for a state of a guest: its power, its HA state, or the end of its lock. Each state is read from the guest.

use super::handle::ClusterHandle;
use super::present_state::{ObjectReader, PathGuest};
use crate::base::hint::Hint;
use crate::pve::guests::{self, FindGuestError};
use crate::render::changed_object::GuestPlace;
use crate::render::object_state::text_of;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

/// First interval between two reads; each further one is half as long again.
const FIRST_INTERVAL: Duration = Duration::from_millis(200);

/// Longest interval.
const MAX_INTERVAL: Duration = Duration::from_secs(2);

/// A state of a guest that a caller waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwaitedState {
    /// `running`, `stopped`, `paused`, …
    Power(String),
    /// The state of the HA manager: `started`, `stopped`, …
    Ha(String),
    /// No operation holds the guest.
    Unlocked,
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

/// The reason why a guest can't be waited for.
#[derive(Debug, thiserror::Error)]
pub enum GuestWaitError {
    #[error(transparent)]
    Guest(#[from] FindGuestError),
    #[error("the list of guests can't be read: {0}")]
    List(String),
    #[error("the state of guest {guest} can't be read: {reason}")]
    Unreadable { guest: String, reason: String },
}

impl Hint for GuestWaitError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Guest(error) => error.hint(),
            Self::List(_) | Self::Unreadable { .. } => None,
        }
    }
}

impl AwaitedGuest {
    /// Parses `web01 running`, `100 stopped`, `web01 unlocked` or `web01 ha started`.
    pub fn parse(typed: &str) -> Option<Self> {
        let words: Vec<&str> = typed.split_whitespace().collect();
        let (guest, state) = match words.as_slice() {
            [guest, "unlocked"] => (guest, AwaitedState::Unlocked),
            [guest, state @ ("running" | "stopped" | "paused" | "suspended")] => {
                (guest, AwaitedState::Power((*state).to_owned()))
            }
            [guest, ha, state] if ha.eq_ignore_ascii_case("ha") => (guest, AwaitedState::Ha((*state).to_owned())),
            _ => return None,
        };
        Some(Self { guest: (*guest).to_owned(), state, by_ha: false })
    }
}

impl fmt::Display for AwaitedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(state) => f.write_str(state),
            Self::Ha(state) => write!(f, "HA state {state}"),
            Self::Unlocked => f.write_str("unlocked"),
            Self::OnNode(node) => write!(f, "on {node}"),
        }
    }
}

impl AwaitedState {
    /// Returns whether a guest on this node with this status has the state.
    fn is_reached(&self, node: &str, status: &Map<String, Value>) -> bool {
        match self {
            Self::Power(wanted) => {
                let precise = text_of(status, "qmpstatus");
                let is_paused = text_of(status, "status") == "running" && !matches!(precise, "" | "running");
                match is_paused {
                    true => wanted == precise,
                    false => wanted == text_of(status, "status"),
                }
            }
            Self::Ha(wanted) => ha_state(status) == wanted,
            Self::Unlocked => text_of(status, "lock").is_empty(),
            Self::OnNode(wanted) => wanted == node && !matches!(ha_state(status), "migrate" | "relocate"),
        }
    }
}

fn ha_state(status: &Map<String, Value>) -> &str {
    status.get("ha").and_then(Value::as_object).map_or("", |ha| text_of(ha, "state"))
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
        let guest = guests::find_guest(guests, query)?;
        Ok(PathGuest { kind: guest.kind, node: guest.node.clone(), vmid: guest.vmid.to_string() })
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
        let mut place = self.find_place(&awaited.guest)?;
        self.scope.origin.observer.record_wait();
        loop {
            let read = || {
                let path = place.try_path(&["status", "current"])?;
                ObjectReader::new(self).read_value::<Map<String, Value>>(path)
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match read() {
                Ok(status) => {
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
                        return Ok(GuestWait { line, end });
                    }
                    if self.cancel.wait(interval.min(left)) {
                        return Ok(GuestWait { line, end: GuestWaitEnd::NotYet });
                    }
                }
                // The guest may have moved to another node.
                Err(reason) => {
                    let moved = self.with_new_lookups().find_place(&awaited.guest)?;
                    let is_elsewhere = moved.node != place.node;
                    if left.is_zero() || self.cancel.wait(interval.min(left)) {
                        let guest = awaited.guest.clone();
                        return Err(GuestWaitError::Unreadable { guest, reason: reason.0 });
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
        let parse = |text: &str| AwaitedGuest::parse(text).map(|awaited| (awaited.guest, awaited.state));
        let power = |state: &str| AwaitedState::Power(state.into());
        for (text, expected) in [
            ("web01 running", Some(("web01".to_owned(), power("running")))),
            (" 100  stopped ", Some(("100".to_owned(), power("stopped")))),
            ("100 unlocked", Some(("100".to_owned(), AwaitedState::Unlocked))),
            ("100 HA started", Some(("100".to_owned(), AwaitedState::Ha("started".into())))),
            ("UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:", None),
            ("web01", None),
            ("web01 happy", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_state_is_reached_by_what_the_guest_says() {
        let power = |state: &str| AwaitedState::Power(state.into());
        for (state, status, expected) in [
            (power("running"), json!({"status": "running", "qmpstatus": "running"}), true),
            (power("running"), json!({"status": "running", "qmpstatus": "paused"}), false),
            (power("paused"), json!({"status": "running", "qmpstatus": "paused"}), true),
            (power("stopped"), json!({"status": "stopped", "qmpstatus": "stopped"}), true),
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
