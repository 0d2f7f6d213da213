//! One call's cancellation: a flag that is looked at, and a hook that wakes whoever waits in blocking I/O. It goes
//! wherever the call goes, and so does the call's trace with it.

use crate::base::trace::TraceParent;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// What ends a wait that a flag alone can't reach (for instance: shut a socket down). Must not block.
pub type CancelHook = Box<dyn Fn() + Send>;

/// A handle to one call's cancellation; clones are the same call.
#[derive(Clone, Default)]
pub struct CancelToken {
    inner: Arc<CancelState>,
    trace: Option<TraceParent>,
}

/// The states, each stronger than the one before.
const SHUTDOWN: u8 = 1;
const CLIENT_GONE: u8 = 2;

#[derive(Default)]
struct CancelState {
    reason: AtomicU8,
    hook: Mutex<Option<CancelHook>>,
    /// Goes with `wake`'s lock, under which the state changes.
    changed: Condvar,
    children: Mutex<Vec<Weak<CancelState>>>,
}

impl CancelState {
    fn cancel(&self, state: u8) {
        let wake = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        self.reason.fetch_max(state, Ordering::SeqCst);
        if let Some(wake) = wake.as_ref() {
            wake();
        }
        drop(wake);
        self.changed.notify_all();
        for child in self.children.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            child.cancel(state);
        }
    }
}

impl CancelToken {
    /// A call that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same call, known to belong to a trace.
    pub fn with_trace(self, trace: Option<TraceParent>) -> Self {
        Self { trace, ..self }
    }

    /// The trace that the call belongs to.
    pub fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    /// A part of this call that waits on its own: cancelled with it, never the other way round.
    pub fn child_token(&self) -> Self {
        let child = Self::new().with_trace(self.trace);
        self.inner.children.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&child.inner));
        // The parent sets its flag before it walks its children, so one of the two sees the other.
        match self.inner.reason.load(Ordering::SeqCst) {
            0 => {}
            state => child.inner.cancel(state),
        }
        child
    }

    /// Cancels the call: at once for a thread whose wait has a hook ([`CancelToken::set_hook`]), else at its next look.
    /// Nobody wants its answer any more.
    pub fn cancel(&self) {
        self.inner.cancel(CLIENT_GONE);
    }

    /// Ends the call in the same way, but its answer is still wanted: it says what is known of the outcome.
    pub fn cancel_for_shutdown(&self) {
        self.inner.cancel(SHUTDOWN);
    }

    /// Whether the call is to end: [`CancelToken::cancel`] or [`CancelToken::cancel_for_shutdown`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.reason.load(Ordering::SeqCst) != 0
    }

    /// Whether nobody wants its answer: [`CancelToken::cancel`] was called.
    pub fn is_client_gone(&self) -> bool {
        self.inner.reason.load(Ordering::SeqCst) == CLIENT_GONE
    }

    /// Sleeps so long, or until the call is to end: then `true`, at once. The hook may be somebody else's meanwhile.
    pub fn wait(&self, pause: Duration) -> bool {
        let slot = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.inner.changed.wait_timeout_while(slot, pause, |_| !self.is_cancelled()));
        self.is_cancelled()
    }

    /// Sets what to do on a cancellation (or nothing, to take it back); if the call is cancelled already, does it now.
    pub fn set_hook(&self, hook: Option<CancelHook>) {
        let mut slot = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wake) = hook.as_ref()
            && self.is_cancelled()
        {
            wake();
        }
        *slot = hook;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn new_counting_hook(n: &Arc<AtomicU32>) -> Option<CancelHook> {
        let n = n.clone();
        Some(Box::new(move || {
            n.fetch_add(1, Ordering::SeqCst);
        }))
    }

    #[test]
    fn a_cancellation_wakes_the_waiter_once_whichever_comes_first() {
        let n = Arc::new(AtomicU32::new(0));
        let c = CancelToken::new();
        c.set_hook(new_counting_hook(&n));
        assert!(!c.is_cancelled());
        c.clone().cancel();
        assert!(c.is_cancelled());
        assert_eq!(n.load(Ordering::SeqCst), 1);
        c.set_hook(new_counting_hook(&n));
        assert_eq!(n.load(Ordering::SeqCst), 2, "a waiter that comes late is woken at once");
        c.set_hook(None);
        c.cancel();
        assert_eq!(n.load(Ordering::SeqCst), 2, "nobody waits any more");
    }

    #[test]
    fn a_sleep_ends_with_the_call_and_says_so() {
        let whole = CancelToken::new();
        assert!(!whole.wait(Duration::ZERO));
        let part = whole.child_token();
        let sleeper = std::thread::spawn(move || part.wait(Duration::from_secs(600)));
        whole.cancel_for_shutdown();
        assert!(sleeper.join().unwrap() && whole.wait(Duration::from_secs(600)));
    }

    #[test]
    fn a_cancellation_reaches_the_parts_of_a_call_and_no_others() {
        let whole = CancelToken::new();
        let (a, b) = (whole.child_token(), whole.child_token());
        a.cancel();
        assert!(a.is_cancelled() && !b.is_cancelled() && !whole.is_cancelled());
        whole.cancel();
        assert!(b.is_cancelled());
        assert!(whole.child_token().is_cancelled(), "a part that begins late");
    }

    #[test]
    fn the_answer_of_a_call_that_is_given_up_is_wanted_until_its_client_cancels() {
        let call = CancelToken::new();
        let part = call.child_token();
        call.cancel_for_shutdown();
        assert!(part.is_cancelled() && call.is_cancelled() && !call.is_client_gone());
        assert!(call.child_token().is_cancelled());
        call.cancel();
        call.cancel_for_shutdown();
        assert!(call.is_client_gone() && part.is_client_gone());
    }
}
