//! The shared memory budget of large request bodies. Each body has its own limit, but a thousand connections could each
//! be just below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size up to which a body is not counted. A connection's other buffers may be as large.
pub const UNCOUNTED_BODY_BYTES: usize = 64 << 10;

/// The bytes that are still free.
pub struct MemoryBudget(AtomicUsize);

/// Part of the budget, released on drop.
pub struct MemoryReservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    /// Reserves `bytes`, or returns `None` if fewer are free.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<MemoryReservation> {
        let reserved = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(bytes));
        reserved.ok().map(|_| MemoryReservation { budget: self.clone(), bytes })
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = MemoryBudget::new(10);
        let some = budget.reserve(7).unwrap();
        assert!(budget.reserve(4).is_none());
        let rest = budget.reserve(3).unwrap();
        drop(some);
        assert!(budget.reserve(8).is_none() && budget.reserve(7).is_some());
        drop(rest);
        assert!(budget.reserve(10).is_some());
    }
}
