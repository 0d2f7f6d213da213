//! The calls in flight of one session, so that `notifications/cancelled` and the end of the session can end them.

use super::context::LOG_LEVELS;
use crate::base::cancel::CancelToken;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The calls in flight of one session (an SSE stream, a stdio pipe), by their request ids.
///
/// A list, not a map: a session runs a handful of calls, and a client that uses an id twice at once (against the
/// specification) still gets both answers.
#[derive(Default)]
pub struct InFlightCalls {
    state: Mutex<InFlightState>,
    min_log_level: AtomicUsize,
}

#[derive(Default)]
struct InFlightState {
    closed: bool,
    serial: u64,
    running: Vec<(u64, Box<str>, CancelToken)>,
}

/// A call that is on the list until this is dropped.
pub struct CallGuard {
    calls: Arc<InFlightCalls>,
    serial: u64,
    /// The call's cancellation.
    pub cancel: CancelToken,
}

impl InFlightCalls {
    /// No calls yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the call with this request id (as JSON text) on the list; after [`InFlightCalls::cancel_all`] it is born cancelled.
    pub fn register(self: &Arc<Self>, id: &str) -> CallGuard {
        let cancel = CancelToken::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            cancel.cancel();
        }
        state.serial += 1;
        let serial = state.serial;
        state.running.push((serial, id.into(), cancel.clone()));
        drop(state);
        CallGuard { calls: self.clone(), serial, cancel }
    }

    /// Cancels the calls with this request id; one that has ended already is not an error (the two crossed).
    pub fn cancel(&self, id: &str) {
        self.cancel_where(|running| running == id, CancelToken::cancel);
    }

    /// Cancels every call, and those that still come: the session is gone.
    pub fn cancel_all(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.cancel_where(|_| true, CancelToken::cancel);
    }

    /// Gives every call up that is in flight: the server ends, and has no more time for them.
    pub fn cancel_all_for_shutdown(&self) {
        self.cancel_where(|_| true, CancelToken::cancel_for_shutdown);
    }

    /// From which severity on the session's client wants log messages (logging/setLevel): an index into [`LOG_LEVELS`].
    pub fn min_log_level(&self) -> usize {
        self.min_log_level.load(Ordering::Relaxed)
    }

    /// Sets it; a word that is no severity changes nothing.
    pub fn set_min_log_level(&self, level: &str) {
        if let Some(index) = LOG_LEVELS.iter().position(|l| *l == level) {
            self.min_log_level.store(index, Ordering::Relaxed);
        }
    }

    /// How many are in flight.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).running.len()
    }

    /// Whether none is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cancel_where(&self, wanted: impl Fn(&str) -> bool, end: fn(&CancelToken)) {
        // Cloned first: a cancellation runs a hook, and no lock of ours is held over somebody else's code.
        let found: Vec<CancelToken> = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running.iter().filter(|(_, id, _)| wanted(id)).map(|(_, _, cancel)| cancel.clone()).collect()
        };
        found.iter().for_each(end);
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let mut state = self.calls.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.retain(|(serial, _, _)| *serial != self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_meets_only_the_call_it_names() {
        let calls = Arc::new(InFlightCalls::new());
        let (a, b) = (calls.register("1"), calls.register("\"1\""));
        calls.cancel("1");
        assert!(a.cancel.is_cancelled() && !b.cancel.is_cancelled());
        drop(a);
        calls.cancel("1");
        assert_eq!(calls.len(), 1);
    }

    #[test]
    fn a_session_that_is_gone_cancels_what_runs_and_what_comes() {
        let calls = Arc::new(InFlightCalls::new());
        let a = calls.register("1");
        calls.cancel_all();
        assert!(a.cancel.is_cancelled() && calls.register("2").cancel.is_cancelled());
    }
}
