//! A bound on the memory that all large request bodies take together: each has its own cap, but a thousand
//! connections could each be one byte short of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bodies up to this size are not counted: a connection's buffers may be as large without one.
pub const UNCOUNTED_BODY_BYTES: usize = 64 << 10;

/// Bytes that may still be taken.
pub struct MemoryBudget(AtomicUsize);

/// Some of the budget; given back when dropped.
pub struct MemoryReservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    /// All of `bytes` to take.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes`, or nothing where there are not as many left.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<MemoryReservation> {
        let taken = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
        taken.ok().map(|_| MemoryReservation { budget: self.clone(), bytes })
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
