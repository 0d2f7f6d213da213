//! Cancellation of one call: a flag to poll, and a hook that wakes a thread from blocking I/O. The call's trace travels
//! with it.

use crate::base::trace::TraceParent;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// An action that ends a blocking wait, for instance by shutting a socket down. It must not block.
pub type CancelHook = Box<dyn Fn() + Send>;

/// A handle to the cancellation of one call. Clones refer to the same call.
#[derive(Clone, Default)]
pub struct CancelToken {
    inner: Arc<CancelState>,
    trace: Option<TraceParent>,
}

/// The reasons of a cancellation. A higher one replaces a lower one.
const SHUTDOWN: u8 = 1;
const CLIENT_GONE: u8 = 2;

#[derive(Default)]
struct CancelState {
    reason: AtomicU8,
    hook: Mutex<Option<CancelHook>>,
    /// Signalled when `reason` changes, which happens under the lock of `hook`.
    changed: Condvar,
    children: Mutex<Vec<Weak<CancelState>>>,
}

impl CancelState {
    fn cancel(&self, reason: u8) {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        self.reason.fetch_max(reason, Ordering::SeqCst);
        if let Some(hook) = hook.as_ref() {
            hook();
        }
        drop(hook);
        self.changed.notify_all();
        for child in self.children.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            child.cancel(reason);
        }
    }
}

impl CancelToken {
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches the trace that the call belongs to.
    pub fn with_trace(self, trace: Option<TraceParent>) -> Self {
        Self { trace, ..self }
    }

    pub fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    /// Creates a token for a part of this call. The part is cancelled with the call, and never the other way round.
    pub fn child_token(&self) -> Self {
        let child = Self::new().with_trace(self.trace);
        self.inner.children.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&child.inner));
        // The parent sets its flag before it visits its children, so a concurrent cancellation reaches this child.
        match self.inner.reason.load(Ordering::SeqCst) {
            0 => {}
            reason => child.inner.cancel(reason),
        }
        child
    }

    /// Cancels the call because its client has gone, so its answer is no longer wanted. A thread with a hook
    /// ([`CancelToken::set_hook`]) is woken at once, any other sees the flag at its next poll.
    pub fn cancel(&self) {
        self.inner.cancel(CLIENT_GONE);
    }

    /// Cancels the call because the server shuts down. Its answer is still wanted: it reports what is known so far.
    pub fn cancel_for_shutdown(&self) {
        self.inner.cancel(SHUTDOWN);
    }

    /// Returns true after [`CancelToken::cancel`] or [`CancelToken::cancel_for_shutdown`].
    pub fn is_cancelled(&self) -> bool {
        self.inner.reason.load(Ordering::SeqCst) != 0
    }

    /// Returns true after [`CancelToken::cancel`]: the answer is no longer wanted.
    pub fn is_client_gone(&self) -> bool {
        self.inner.reason.load(Ordering::SeqCst) == CLIENT_GONE
    }

    /// Sleeps for `pause` or until a cancellation, and returns true in the second case. The hook stays free for other
    /// waits.
    pub fn wait(&self, pause: Duration) -> bool {
        let slot = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.inner.changed.wait_timeout_while(slot, pause, |_| !self.is_cancelled()));
        self.is_cancelled()
    }

    /// Sets or removes the hook. Runs it at once if the call is cancelled already.
    pub fn set_hook(&self, hook: Option<CancelHook>) {
        let mut slot = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = hook.as_ref()
            && self.is_cancelled()
        {
            run();
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
        assert_eq!(n.load(Ordering::SeqCst), 2, "the hook was removed");
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
