//! Limit on the calls in flight to one cluster. A cluster that hangs delays only its own calls.

use crate::base::cancel::CancelToken;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Semaphore that admits `limit` calls, makes as many wait, and rejects the rest at once.
pub(in crate::pve) struct CallSemaphore {
    limit: usize,
    inner: Arc<SemaphoreInner>,
}

#[derive(Default)]
struct SemaphoreInner {
    counts: Mutex<SemaphoreCounts>,
    changed: Condvar,
}

#[derive(Default)]
struct SemaphoreCounts {
    in_flight: usize,
    waiting: usize,
}

/// Permit for one call. Dropping it admits the next call.
pub(in crate::pve) struct SemaphorePermit<'a>(&'a SemaphoreInner);

/// Reason for not getting a permit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pve) enum AcquireError {
    /// All permits were taken and as many callers were waiting, or no permit became free by the deadline.
    Busy,
    /// The call was cancelled while it waited.
    Cancelled,
}

impl SemaphoreInner {
    fn lock(&self) -> MutexGuard<'_, SemaphoreCounts> {
        // The counts are changed in single steps, so they are consistent even if a thread panicked with the lock held.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallSemaphore {
    pub(in crate::pve) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), inner: Arc::default() }
    }

    pub(in crate::pve) fn limit(&self) -> usize {
        self.limit
    }

    pub(in crate::pve) fn acquire(
        &self,
        deadline: Instant,
        cancel: &CancelToken,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        {
            let mut counts = self.inner.lock();
            if counts.in_flight < self.limit {
                counts.in_flight += 1;
                return Ok(SemaphorePermit(&self.inner));
            }
            if counts.waiting >= self.limit {
                return Err(AcquireError::Busy);
            }
            counts.waiting += 1;
        }
        // Set without the lock held: a cancellation runs the hook with its own lock held, and the hook takes this one.
        let shared = self.inner.clone();
        let _hook = cancel.on_cancel(Box::new(move || {
            let _counts = shared.lock();
            shared.changed.notify_all();
        }));
        self.wait(deadline, cancel)
    }

    fn wait(&self, deadline: Instant, cancel: &CancelToken) -> Result<SemaphorePermit<'_>, AcquireError> {
        let mut counts = self.inner.lock();
        let result = loop {
            // A free permit is taken before anything else. Only one thread is woken for it: if that thread left without
            // it, the others would stay asleep.
            if counts.in_flight < self.limit {
                counts.in_flight += 1;
                break Ok(SemaphorePermit(&self.inner));
            }
            if cancel.is_cancelled() {
                break Err(AcquireError::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(AcquireError::Busy);
            }
            counts = self.inner.changed.wait_timeout(counts, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        counts.waiting -= 1;
        result
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cancel::CancelReason;
    use std::thread;
    use std::time::Duration;

    fn far_deadline() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn wait_for_waiters(semaphore: &CallSemaphore, n: usize) {
        while semaphore.inner.lock().waiting < n {
            thread::yield_now();
        }
    }

    #[test]
    fn as_many_wait_as_are_admitted_and_the_rest_is_rejected() {
        let semaphore = CallSemaphore::new(1);
        let permit = semaphore.acquire(far_deadline(), &CancelToken::new()).ok().unwrap();
        thread::scope(|s| {
            let waiter = s.spawn(|| semaphore.acquire(far_deadline(), &CancelToken::new()).is_ok());
            wait_for_waiters(&semaphore, 1);
            assert_eq!(semaphore.acquire(far_deadline(), &CancelToken::new()).err(), Some(AcquireError::Busy));
            drop(permit);
            assert!(waiter.join().unwrap());
        });
        assert!(semaphore.acquire(far_deadline(), &CancelToken::new()).is_ok());
        assert_eq!(semaphore.inner.lock().waiting, 0);
    }

    #[test]
    fn a_waiter_leaves_at_its_deadline() {
        let semaphore = CallSemaphore::new(1);
        let _permit = semaphore.acquire(far_deadline(), &CancelToken::new()).ok().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(semaphore.acquire(soon, &CancelToken::new()).err(), Some(AcquireError::Busy));
        assert_eq!(semaphore.inner.lock().waiting, 0);
    }

    #[test]
    fn a_waiter_that_is_cancelled_leaves_at_once() {
        let semaphore = CallSemaphore::new(1);
        let _permit = semaphore.acquire(far_deadline(), &CancelToken::new()).ok().unwrap();
        let cancel = CancelToken::new();
        thread::scope(|s| {
            let waiter = s.spawn(|| semaphore.acquire(far_deadline(), &cancel).err());
            wait_for_waiters(&semaphore, 1);
            cancel.cancel(CancelReason::ClientGone);
            assert_eq!(waiter.join().unwrap(), Some(AcquireError::Cancelled));
        });
    }
}
