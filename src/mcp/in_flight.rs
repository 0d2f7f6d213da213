//! The calls in flight of one session, for `notifications/cancelled` and the end of the session to cancel.

use crate::base::cancel::{CancelReason, CancelToken};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The calls in flight of one session (an SSE stream, a stdio pipe), by their request ids as JSON text.
///
/// A list, not a map: a session runs few calls. A client that uses an id twice at once, against the specification,
/// still gets both answers.
pub struct InFlightCalls<K = Box<str>> {
    state: Mutex<InFlightState<K>>,
    min_log_level: AtomicUsize,
    has_ui: AtomicBool,
    can_open_url: AtomicBool,
}

struct InFlightState<K> {
    closed: bool,
    last_serial: u64,
    running: Vec<RunningCall<K>>,
}

struct RunningCall<K> {
    serial: u64,
    key: K,
    cancel: CancelToken,
}

/// A registered call. Dropping it removes the call from the list.
pub struct CallGuard<K = Box<str>> {
    calls: Arc<InFlightCalls<K>>,
    serial: u64,
    pub cancel: CancelToken,
}

impl<K> Default for InFlightCalls<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(InFlightState { closed: false, last_serial: 0, running: Vec::new() }),
            min_log_level: AtomicUsize::default(),
            has_ui: AtomicBool::default(),
            can_open_url: AtomicBool::default(),
        }
    }
}

impl InFlightCalls {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the calls with this request id. A call that has already ended is not an error.
    pub fn cancel(&self, id: &str) {
        self.cancel_where(|running| **running == *id, CancelReason::ClientGone);
    }
}

impl<K> InFlightCalls<K> {
    fn lock(&self) -> MutexGuard<'_, InFlightState<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call. After [`InFlightCalls::cancel_all`] it is cancelled at once.
    pub fn register(self: &Arc<Self>, key: K) -> CallGuard<K> {
        let cancel = CancelToken::new();
        let mut state = self.lock();
        if state.closed {
            cancel.cancel(CancelReason::Disconnected);
        }
        state.last_serial += 1;
        let serial = state.last_serial;
        state.running.push(RunningCall { serial, key, cancel: cancel.clone() });
        drop(state);
        CallGuard { calls: self.clone(), serial, cancel }
    }

    /// Cancels the call that is found, if there is exactly one.
    pub fn cancel_unique(&self, is_found: impl Fn(&K) -> bool) {
        let state = self.lock();
        let mut found = state.running.iter().filter(|call| is_found(&call.key));
        let only = found.next().filter(|_| found.next().is_none()).map(|call| call.cancel.clone());
        drop(state);
        if let Some(call) = only {
            call.cancel(CancelReason::ClientGone);
        }
    }

    /// Cancels every call, also later ones: the session has ended. A change that was sent finishes, so that its outcome is
    /// known.
    pub fn cancel_all(&self) {
        self.lock().closed = true;
        self.cancel_where(|_| true, CancelReason::Disconnected);
    }

    /// Cancels every call in flight because the server stops.
    pub fn cancel_all_for_shutdown(&self) {
        self.cancel_where(|_| true, CancelReason::Shutdown);
    }

    /// Returns the lowest severity of log messages that the session's client wants (logging/setLevel), as an index into
    /// [`super::protocol::LOG_LEVELS`].
    pub fn min_log_level(&self) -> usize {
        self.min_log_level.load(Ordering::Relaxed)
    }

    pub fn set_min_log_level(&self, index: usize) {
        self.min_log_level.store(index, Ordering::Relaxed);
    }

    /// Returns true if the session's client shows user interfaces (initialize, MCP Apps).
    pub fn has_ui(&self) -> bool {
        self.has_ui.load(Ordering::Relaxed)
    }

    pub fn set_has_ui(&self, has_ui: bool) {
        self.has_ui.store(has_ui, Ordering::Relaxed);
    }

    /// Returns true if the session's client can open an address for its user (initialize, 2025-11-25).
    pub fn can_open_url(&self) -> bool {
        self.can_open_url.load(Ordering::Relaxed)
    }

    pub fn set_can_open_url(&self, can_open_url: bool) {
        self.can_open_url.store(can_open_url, Ordering::Relaxed);
    }

    pub fn len(&self) -> usize {
        self.lock().running.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cancel_where(&self, matches: impl Fn(&K) -> bool, reason: CancelReason) {
        // Cloned first: a cancellation runs a hook, and hooks run without this lock.
        let state = self.lock();
        let found: Vec<_> = state.running.iter().filter(|call| matches(&call.key)).map(|c| c.cancel.clone()).collect();
        drop(state);
        found.iter().for_each(|cancel| cancel.cancel(reason));
    }
}

impl<K> Drop for CallGuard<K> {
    fn drop(&mut self) {
        self.calls.lock().running.retain(|call| call.serial != self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_ends_only_the_call_it_names() {
        let calls = Arc::new(InFlightCalls::new());
        let (a, b) = (calls.register("1".into()), calls.register("\"1\"".into()));
        calls.cancel("1");
        assert!(a.cancel.is_cancelled() && !b.cancel.is_cancelled());
        drop(a);
        calls.cancel("1");
        assert_eq!(calls.len(), 1);
    }

    #[test]
    fn a_closed_session_cancels_running_and_later_calls() {
        let calls = Arc::new(InFlightCalls::new());
        let a = calls.register("1".into());
        calls.cancel_all();
        assert!(a.cancel.is_cancelled() && calls.register("2".into()).cancel.is_cancelled());
    }
}
