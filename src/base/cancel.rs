//! Cancellation of one call: a flag to poll, and a hook that wakes a thread from blocking I/O. The call's trace and the
//! account of its memory travel with it.

use crate::base::memory::CallMemory;
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
    memory: CallMemory,
}

/// The reason of a cancellation. A higher one replaces a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CancelReason {
    /// The server shuts down. The answer is still wanted: it reports what is known so far.
    Shutdown = 1,
    /// The client has gone or cancelled the call, so the answer is no longer wanted.
    ClientGone = 2,
}

impl CancelReason {
    /// Returns the reason of a number, `None` for 0.
    fn from_number(number: u8) -> Option<Self> {
        [Self::Shutdown, Self::ClientGone].into_iter().find(|reason| *reason as u8 == number)
    }
}

#[derive(Default)]
struct CancelState {
    /// The number of the highest reason so far, 0 before a cancellation.
    reason: AtomicU8,
    hook: Mutex<Option<CancelHook>>,
    /// Signalled when `reason` changes, which happens under the lock of `hook`.
    changed: Condvar,
    children: Mutex<Vec<Weak<CancelState>>>,
}

impl CancelState {
    fn reason(&self) -> Option<CancelReason> {
        CancelReason::from_number(self.reason.load(Ordering::SeqCst))
    }

    fn cancel(&self, reason: CancelReason) {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        self.reason.fetch_max(reason as u8, Ordering::SeqCst);
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

    /// Attaches the account in which the call reserves memory.
    pub fn with_memory(self, memory: CallMemory) -> Self {
        Self { memory, ..self }
    }

    pub fn memory(&self) -> &CallMemory {
        &self.memory
    }

    pub fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    /// Creates a token for a part of this call. The part is cancelled with the call, and never the other way round.
    pub fn child_token(&self) -> Self {
        let child = Self::new().with_trace(self.trace).with_memory(self.memory.clone());
        self.inner.children.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&child.inner));
        // The parent sets its flag before it visits its children, so a concurrent cancellation reaches this child.
        if let Some(reason) = self.inner.reason() {
            child.inner.cancel(reason);
        }
        child
    }

    /// Cancels the call. A thread with a hook ([`CancelToken::set_hook`]) is woken at once, any other sees the flag at
    /// its next poll.
    pub fn cancel(&self, reason: CancelReason) {
        self.inner.cancel(reason);
    }

    pub fn is_cancelled(&self) -> bool {
        self.inner.reason().is_some()
    }

    /// Returns true after a cancellation as [`CancelReason::ClientGone`].
    pub fn is_client_gone(&self) -> bool {
        self.inner.reason() == Some(CancelReason::ClientGone)
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
        c.clone().cancel(CancelReason::ClientGone);
        assert!(c.is_cancelled());
        assert_eq!(n.load(Ordering::SeqCst), 1);
        c.set_hook(new_counting_hook(&n));
        assert_eq!(n.load(Ordering::SeqCst), 2, "a waiter that comes late is woken at once");
        c.set_hook(None);
        c.cancel(CancelReason::ClientGone);
        assert_eq!(n.load(Ordering::SeqCst), 2, "the hook was removed");
    }

    #[test]
    fn a_sleep_ends_with_the_call_and_says_so() {
        let whole = CancelToken::new();
        assert!(!whole.wait(Duration::ZERO));
        let part = whole.child_token();
        let sleeper = std::thread::spawn(move || part.wait(Duration::from_secs(600)));
        whole.cancel(CancelReason::Shutdown);
        assert!(sleeper.join().unwrap() && whole.wait(Duration::from_secs(600)));
    }

    #[test]
    fn a_cancellation_reaches_the_parts_of_a_call_and_no_others() {
        let whole = CancelToken::new();
        let (a, b) = (whole.child_token(), whole.child_token());
        a.cancel(CancelReason::ClientGone);
        assert!(a.is_cancelled() && !b.is_cancelled() && !whole.is_cancelled());
        whole.cancel(CancelReason::ClientGone);
        assert!(b.is_cancelled());
        assert!(whole.child_token().is_cancelled(), "a part that begins late");
    }

    #[test]
    fn the_answer_of_a_call_that_is_given_up_is_wanted_until_its_client_cancels() {
        let call = CancelToken::new();
        let part = call.child_token();
        call.cancel(CancelReason::Shutdown);
        assert!(part.is_cancelled() && call.is_cancelled() && !call.is_client_gone());
        assert!(call.child_token().is_cancelled());
        call.cancel(CancelReason::ClientGone);
        call.cancel(CancelReason::Shutdown);
        assert!(call.is_client_gone() && part.is_client_gone());
    }
}
