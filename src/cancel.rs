//! One call's cancellation: a flag that is looked at, and a hook that wakes whoever waits in blocking I/O. It goes
//! wherever the call goes, and so does the call's trace with it.

use crate::trace::Trace;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// What ends a wait that a flag alone can't reach (for instance: shut a socket down). Must not block.
pub type Wake = Box<dyn Fn() + Send>;

/// A handle to one call's cancellation; clones are the same call.
#[derive(Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
    trace: Option<Trace>,
}

/// The states, each stronger than the one before.
const GIVEN_UP: u8 = 1;
const UNWANTED: u8 = 2;

#[derive(Default)]
struct Inner {
    state: AtomicU8,
    wake: Mutex<Option<Wake>>,
    /// Goes with `wake`'s lock, under which the state changes.
    ended: Condvar,
    children: Mutex<Vec<Weak<Inner>>>,
}

impl Inner {
    fn end(&self, state: u8) {
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.fetch_max(state, Ordering::SeqCst);
        if let Some(wake) = wake.as_ref() {
            wake();
        }
        drop(wake);
        self.ended.notify_all();
        for child in self.children.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            child.end(state);
        }
    }
}

impl Cancel {
    /// A call that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same call, known to belong to a trace.
    pub fn of_trace(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// The trace that the call belongs to.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// A part of this call that waits on its own: cancelled with it, never the other way round.
    pub fn child(&self) -> Self {
        let child = Self::new().of_trace(self.trace);
        self.inner.children.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&child.inner));
        // The parent sets its flag before it walks its children, so one of the two sees the other.
        match self.inner.state.load(Ordering::SeqCst) {
            0 => {}
            state => child.inner.end(state),
        }
        child
    }

    /// Cancels the call: at once for a thread whose wait has a hook ([`Cancel::on_cancel`]), else at its next look.
    /// Nobody wants its answer any more.
    pub fn cancel(&self) {
        self.inner.end(UNWANTED);
    }

    /// Ends the call in the same way, but its answer is still wanted: it says what is known of the outcome.
    pub fn give_up(&self) {
        self.inner.end(GIVEN_UP);
    }

    /// Whether the call is to end: [`Cancel::cancel`] or [`Cancel::give_up`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.state.load(Ordering::SeqCst) != 0
    }

    /// Whether nobody wants its answer: [`Cancel::cancel`] was called.
    pub fn is_unwanted(&self) -> bool {
        self.inner.state.load(Ordering::SeqCst) == UNWANTED
    }

    /// Sleeps so long, or until the call is to end: then `true`, at once. The hook may be somebody else's meanwhile.
    pub fn wait(&self, pause: Duration) -> bool {
        let slot = self.inner.wake.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.inner.ended.wait_timeout_while(slot, pause, |_| !self.is_cancelled()));
        self.is_cancelled()
    }

    /// Sets what to do on a cancellation (or nothing, to take it back); if the call is cancelled already, does it now.
    pub fn on_cancel(&self, wake: Option<Wake>) {
        let mut slot = self.inner.wake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wake) = wake.as_ref()
            && self.is_cancelled()
        {
            wake();
        }
        *slot = wake;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn counting(n: &Arc<AtomicU32>) -> Option<Wake> {
        let n = n.clone();
        Some(Box::new(move || {
            n.fetch_add(1, Ordering::SeqCst);
        }))
    }

    #[test]
    fn a_cancellation_wakes_the_waiter_once_whichever_comes_first() {
        let n = Arc::new(AtomicU32::new(0));
        let c = Cancel::new();
        c.on_cancel(counting(&n));
        assert!(!c.is_cancelled());
        c.clone().cancel();
        assert!(c.is_cancelled());
        assert_eq!(n.load(Ordering::SeqCst), 1);
        c.on_cancel(counting(&n));
        assert_eq!(n.load(Ordering::SeqCst), 2, "a waiter that comes late is woken at once");
        c.on_cancel(None);
        c.cancel();
        assert_eq!(n.load(Ordering::SeqCst), 2, "nobody waits any more");
    }

    #[test]
    fn a_sleep_ends_with_the_call_and_says_so() {
        let whole = Cancel::new();
        assert!(!whole.wait(Duration::ZERO));
        let part = whole.child();
        let sleeper = std::thread::spawn(move || part.wait(Duration::from_secs(600)));
        whole.give_up();
        assert!(sleeper.join().unwrap() && whole.wait(Duration::from_secs(600)));
    }

    #[test]
    fn a_cancellation_reaches_the_parts_of_a_call_and_no_others() {
        let whole = Cancel::new();
        let (a, b) = (whole.child(), whole.child());
        a.cancel();
        assert!(a.is_cancelled() && !b.is_cancelled() && !whole.is_cancelled());
        whole.cancel();
        assert!(b.is_cancelled());
        assert!(whole.child().is_cancelled(), "a part that begins late");
    }

    #[test]
    fn the_answer_of_a_call_that_is_given_up_is_wanted_until_its_client_cancels() {
        let call = Cancel::new();
        let part = call.child();
        call.give_up();
        assert!(part.is_cancelled() && call.is_cancelled() && !call.is_unwanted());
        assert!(call.child().is_cancelled());
        call.cancel();
        call.give_up();
        assert!(call.is_unwanted() && part.is_unwanted());
    }
}
