//! A bound on the calls in flight to one cluster, so that a cluster that hangs holds up only its own calls.

use crate::cancel::Cancel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Lets a number of calls in, lets as many wait, and turns the rest away at once.
pub(super) struct Gate {
    limit: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    inside: usize,
    waiting: usize,
}

/// A place inside; dropping it lets the next one in.
pub(super) struct Permit<'a>(&'a Shared);

/// Why there was no place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All places were taken and as many callers waited already, or none became free by the deadline.
    Busy,
    /// The call was cancelled while it waited.
    Cancelled,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // The counts are changed in single steps, so they hold even if a thread died with the lock in its hand.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), shared: Arc::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn enter(&self, deadline: Instant, cancel: &Cancel) -> Result<Permit<'_>, Refusal> {
        {
            let mut counts = self.shared.lock();
            if counts.inside < self.limit {
                counts.inside += 1;
                return Ok(Permit(&self.shared));
            }
            if counts.waiting >= self.limit {
                return Err(Refusal::Busy);
            }
            counts.waiting += 1;
        }
        // Set without our lock held: a cancellation calls the hook with its own lock held, and the hook takes ours.
        let shared = self.shared.clone();
        cancel.on_cancel(Some(Box::new(move || {
            let _counts = shared.lock();
            shared.changed.notify_all();
        })));
        let result = self.wait(deadline, cancel);
        cancel.on_cancel(None);
        result
    }

    fn wait(&self, deadline: Instant, cancel: &Cancel) -> Result<Permit<'_>, Refusal> {
        let mut counts = self.shared.lock();
        let result = loop {
            // A free place is taken before anything else is looked at: whoever was woken for it and left without it
            // would leave the others asleep beside a free place.
            if counts.inside < self.limit {
                counts.inside += 1;
                break Ok(Permit(&self.shared));
            }
            if cancel.is_cancelled() {
                break Err(Refusal::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(Refusal::Busy);
            }
            counts = self.shared.changed.wait_timeout(counts, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        counts.waiting -= 1;
        result
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn until_waiting(gate: &Gate, n: usize) {
        while gate.shared.lock().waiting < n {
            thread::yield_now();
        }
    }

    #[test]
    fn as_many_wait_as_may_enter_and_the_rest_is_turned_away() {
        let gate = Gate::new(1);
        let inside = gate.enter(later(), &Cancel::new()).ok().unwrap();
        thread::scope(|s| {
            let waiter = s.spawn(|| gate.enter(later(), &Cancel::new()).is_ok());
            until_waiting(&gate, 1);
            assert_eq!(gate.enter(later(), &Cancel::new()).err(), Some(Refusal::Busy));
            drop(inside);
            assert!(waiter.join().unwrap());
        });
        assert!(gate.enter(later(), &Cancel::new()).is_ok());
        assert_eq!(gate.shared.lock().waiting, 0);
    }

    #[test]
    fn a_waiter_leaves_at_its_deadline() {
        let gate = Gate::new(1);
        let _inside = gate.enter(later(), &Cancel::new()).ok().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(gate.enter(soon, &Cancel::new()).err(), Some(Refusal::Busy));
        assert_eq!(gate.shared.lock().waiting, 0);
    }

    #[test]
    fn a_waiter_that_is_cancelled_leaves_at_once() {
        let gate = Gate::new(1);
        let _inside = gate.enter(later(), &Cancel::new()).ok().unwrap();
        let cancel = Cancel::new();
        thread::scope(|s| {
            let waiter = s.spawn(|| gate.enter(later(), &cancel).err());
            until_waiting(&gate, 1);
            cancel.cancel();
            assert_eq!(waiter.join().unwrap(), Some(Refusal::Cancelled));
        });
    }
}
