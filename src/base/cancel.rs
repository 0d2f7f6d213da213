//! Cancellation of one call: a flag to poll, and hooks that wake its threads from blocking I/O. The call's trace, the
//! account of its memory and the check of its rights travel with it.

use crate::base::heartbeat::Heartbeat;
use crate::base::memory::CallMemory;
use crate::base::trace::TraceParent;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// An action that ends a blocking wait, for instance by shutting a socket down. It must not block.
pub type CancelHook = Box<dyn Fn() + Send>;

/// A check right before a request is sent: whether the caller's present rights allow it. It must not block.
pub type SendCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// A handle to the cancellation of one call. Clones refer to the same call.
#[derive(Clone, Default)]
pub struct CancelToken {
    inner: Arc<CancelState>,
    trace: Option<TraceParent>,
    memory: CallMemory,
    send_check: Option<SendCheck>,
}

/// The reason of a cancellation. A higher one replaces a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CancelReason {
    /// The client has disconnected, which in its version of the protocol does not cancel the call. A change that was sent
    /// finishes. Reads end, and no change is sent.
    Disconnected = 1,
    /// The server shuts down. The answer is still wanted: it reports what is known so far.
    Shutdown = 2,
    /// The client has cancelled the call, so the answer is no longer wanted.
    ClientGone = 3,
}

impl CancelReason {
    /// Returns the reason of a number, `None` for 0.
    fn from_number(number: u8) -> Option<Self> {
        [Self::Disconnected, Self::Shutdown, Self::ClientGone].into_iter().find(|reason| *reason as u8 == number)
    }
}

#[derive(Default)]
struct CancelState {
    /// The number of the highest reason so far, 0 before a cancellation. It changes under the lock of `listeners`.
    reason: AtomicU8,
    listeners: Mutex<CancelListeners>,
    /// Signalled when `reason` changes.
    changed: Condvar,
    /// The progress of the whole call, shared by its parts.
    progress: Arc<Heartbeat>,
    /// The registration with the call that this one is a part of.
    _parent: Option<Registration>,
}

/// The parts of the program that a cancellation reaches, by the numbers of their registrations.
#[derive(Default)]
struct CancelListeners {
    last_number: u64,
    hooks: Vec<(u64, CancelHook)>,
    children: Vec<Child>,
}

/// A part of a call.
struct Child {
    number: u64,
    state: Weak<CancelState>,
    /// The lowest reason that cancels the part.
    from: CancelReason,
}

impl CancelListeners {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// An entry in the listeners of a call, removed on drop.
struct Registration {
    state: Arc<CancelState>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut listeners = self.state.listeners();
        listeners.hooks.retain(|(number, _)| *number != self.number);
        listeners.children.retain(|child| child.number != self.number);
    }
}

/// A registered hook. Once this is dropped, no cancellation runs the hook.
#[must_use = "dropping the guard removes the hook"]
pub struct HookGuard {
    _registration: Registration,
}

impl CancelState {
    fn reason(&self) -> Option<CancelReason> {
        CancelReason::from_number(self.reason.load(Ordering::SeqCst))
    }

    fn listeners(&self) -> MutexGuard<'_, CancelListeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self, reason: CancelReason) {
        let listeners = self.listeners();
        self.reason.fetch_max(reason as u8, Ordering::SeqCst);
        // Run under the lock, so that a hook never runs after its removal.
        listeners.hooks.iter().for_each(|(_, hook)| hook());
        let reached = listeners.children.iter().filter(|child| reason >= child.from);
        let children: Vec<_> = reached.filter_map(|child| child.state.upgrade()).collect();
        drop(listeners);
        self.changed.notify_all();
        // Cancelled without the lock: the last handle to a child may be dropped here, which removes it from the list.
        children.iter().for_each(|child| child.cancel(reason));
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

    /// Attaches the check of the caller's rights.
    pub fn with_send_check(self, check: SendCheck) -> Self {
        Self { send_check: Some(check), ..self }
    }

    /// Returns whether the caller's present rights allow a request of this call to be sent.
    pub fn may_send(&self) -> bool {
        self.send_check.as_ref().is_none_or(|check| check())
    }

    pub fn memory(&self) -> &CallMemory {
        &self.memory
    }

    pub fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    /// Creates a token for a part of this call. The part is cancelled with the call, and never the other way round.
    pub fn child_token(&self) -> Self {
        self.child_token_from(CancelReason::Disconnected)
    }

    /// Creates a token for a change that is being sent, which [`CancelReason::Disconnected`] does not cancel.
    pub fn child_token_for_change(&self) -> Self {
        self.child_token_from(CancelReason::Shutdown)
    }

    fn child_token_from(&self, from: CancelReason) -> Self {
        let mut listeners = self.inner.listeners();
        let number = listeners.next_number();
        let parent = Some(Registration { state: self.inner.clone(), number });
        // Read under the lock, so that a concurrent cancellation either is seen here or finds the child in the list.
        let reason = self.inner.reason().filter(|reason| *reason >= from).map_or(0, |reason| reason as u8);
        let reason = AtomicU8::new(reason);
        let progress = self.inner.progress.clone();
        let child = Arc::new(CancelState { _parent: parent, reason, progress, ..CancelState::default() });
        listeners.children.push(Child { number, state: Arc::downgrade(&child), from });
        drop(listeners);
        Self { inner: child, trace: self.trace, memory: self.memory.clone(), send_check: self.send_check.clone() }
    }

    /// Cancels the call. A thread with a hook ([`CancelToken::on_cancel`]) is woken at once, any other sees the flag at
    /// its next poll.
    pub fn cancel(&self, reason: CancelReason) {
        self.inner.cancel(reason);
    }

    pub fn is_cancelled(&self) -> bool {
        self.inner.reason().is_some()
    }

    /// Returns true if the client can no longer receive an answer, or does not want one.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.inner.reason(), Some(CancelReason::Disconnected | CancelReason::ClientGone))
    }

    /// Returns true after a cancellation as [`CancelReason::ClientGone`].
    pub fn is_client_gone(&self) -> bool {
        self.inner.reason() == Some(CancelReason::ClientGone)
    }

    /// Records that the call or a part of it progresses.
    pub fn record_progress(&self) {
        self.inner.progress.beat();
    }

    /// Returns the time since the last progress of the call or of any part of it.
    pub fn progress_age(&self) -> Duration {
        self.inner.progress.age()
    }

    /// Sleeps for `pause` or until a cancellation, and returns true in the second case.
    pub fn wait(&self, pause: Duration) -> bool {
        self.record_progress();
        let listeners = self.inner.listeners();
        drop(self.inner.changed.wait_timeout_while(listeners, pause, |_| !self.is_cancelled()));
        self.record_progress();
        self.is_cancelled()
    }

    /// Adds a hook until the guard is dropped. Runs it at once if the call is cancelled already. Threads that share a
    /// token each have a hook of their own.
    pub fn on_cancel(&self, hook: CancelHook) -> HookGuard {
        let mut listeners = self.inner.listeners();
        if self.is_cancelled() {
            hook();
        }
        let number = listeners.next_number();
        listeners.hooks.push((number, hook));
        drop(listeners);
        HookGuard { _registration: Registration { state: self.inner.clone(), number } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn new_counting_hook(n: &Arc<AtomicU32>) -> CancelHook {
        let n = n.clone();
        Box::new(move || {
            n.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn a_cancellation_wakes_every_waiter_once_whichever_comes_first() {
        let n = Arc::new(AtomicU32::new(0));
        let c = CancelToken::new();
        let first = c.on_cancel(new_counting_hook(&n));
        let second = c.on_cancel(new_counting_hook(&n));
        assert!(!c.is_cancelled());
        c.clone().cancel(CancelReason::ClientGone);
        assert!(c.is_cancelled());
        assert_eq!(n.load(Ordering::SeqCst), 2, "one hook of each waiter");
        let late = c.on_cancel(new_counting_hook(&n));
        assert_eq!(n.load(Ordering::SeqCst), 3, "a waiter that comes late is woken at once");
        drop((first, late));
        c.cancel(CancelReason::ClientGone);
        assert_eq!(n.load(Ordering::SeqCst), 4, "a guard removes its own hook only");
        drop(second);
        c.cancel(CancelReason::ClientGone);
        assert_eq!(n.load(Ordering::SeqCst), 4, "every hook was removed");
    }

    #[test]
    fn parts_and_hooks_that_ended_leave_nothing_behind() {
        let whole = CancelToken::new();
        let kept = whole.child_token();
        for _ in 0..100 {
            let part = whole.child_token();
            drop(part.on_cancel(Box::new(|| ())));
            drop(whole.on_cancel(Box::new(|| ())));
        }
        let listeners = whole.inner.listeners();
        assert_eq!((listeners.children.len(), listeners.hooks.len()), (1, 0));
        drop(listeners);
        drop(kept);
        assert!(whole.inner.listeners().children.is_empty());
    }

    #[test]
    fn a_part_whose_last_handle_a_cancellation_drops_is_removed() {
        let whole = CancelToken::new();
        let part = whole.child_token();
        let (entered, is_running) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let guard = part.on_cancel(Box::new(move || {
            entered.send(()).unwrap();
            let _ = released.recv();
        }));
        let canceller = std::thread::spawn({
            let whole = whole.clone();
            move || whole.cancel(CancelReason::Shutdown)
        });
        is_running.recv().unwrap();
        drop(part);
        // Without its guard the hook's registration would keep the part.
        let dropper = std::thread::spawn(move || drop(guard));
        release.send(()).unwrap();
        canceller.join().unwrap();
        dropper.join().unwrap();
        assert!(whole.inner.listeners().children.is_empty());
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
    fn a_change_that_is_being_sent_outlasts_its_client_and_nothing_else() {
        let call = CancelToken::new();
        let (read, change) = (call.child_token(), call.child_token_for_change());
        call.cancel(CancelReason::Disconnected);
        assert!(call.is_abandoned() && read.is_cancelled() && call.child_token().is_cancelled());
        assert!(!change.is_cancelled() && !call.child_token_for_change().is_cancelled());
        call.cancel(CancelReason::Shutdown);
        assert!(change.is_cancelled() && call.child_token_for_change().is_cancelled());
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
