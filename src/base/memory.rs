//! The shared memory budget of requests and of the answers of nodes. Each of them has its own limit, but a thousand
//! could each be just below it.
//!
//! A request has an account ([`CallMemory`]). Everything that grows with untrusted input is reserved there before it is
//! held. An account keeps the most that it held at once until it is dropped, which is after its response is written.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes of each account that are not counted, so that most requests don't touch the budget.
pub const UNCOUNTED_BYTES: usize = 16 << 10;

/// The interval in which a wait for memory looks at its cancellation.
const CANCELLATION_INTERVAL: Duration = Duration::from_millis(50);

/// Reason why memory is not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemoryError {
    #[error("it needs {bytes} bytes of memory, and one client may use {max} (--max-buffered-bytes)")]
    TooLarge { bytes: usize, max: usize },
    #[error("the server's memory for requests and answers is in use (--max-buffered-bytes)")]
    InUse,
}

/// The bytes of all requests and answers together.
pub struct MemoryBudget {
    total: usize,
    state: Mutex<BudgetState>,
    /// Signalled when memory is given back.
    released: Condvar,
}

#[derive(Default)]
struct BudgetState {
    used: usize,
    /// Bytes of each client that uses some.
    clients: Vec<(Arc<str>, usize)>,
    /// Requests that wait for memory.
    waiting: usize,
}

impl BudgetState {
    fn used_by(&self, client: &str) -> usize {
        self.clients.iter().find(|(name, _)| **name == *client).map_or(0, |(_, bytes)| *bytes)
    }

    fn add(&mut self, client: &Arc<str>, bytes: usize) {
        self.used += bytes;
        match self.clients.iter_mut().find(|(name, _)| name == client) {
            Some((_, used)) => *used += bytes,
            None => self.clients.push((client.clone(), bytes)),
        }
    }

    fn remove(&mut self, client: &str, bytes: usize) {
        self.used -= bytes;
        let place = self.clients.iter().position(|(name, _)| **name == *client).expect("the client has used memory");
        self.clients[place].1 -= bytes;
        if self.clients[place].1 == 0 {
            self.clients.swap_remove(place);
        }
    }
}

impl MemoryBudget {
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, state: Mutex::default(), released: Condvar::new() })
    }

    /// Opens the account of a request of a client that may use half of the budget.
    pub fn open_shared(self: &Arc<Self>, client: &str) -> CallMemory {
        self.open(client, self.total / 2)
    }

    /// Opens the account of a request where there is no other client to protect.
    pub fn open_whole(self: &Arc<Self>, client: &str) -> CallMemory {
        self.open(client, self.total)
    }

    fn open(self: &Arc<Self>, client: &str, share: usize) -> CallMemory {
        CallMemory(Some(Arc::new(MemoryAccount {
            budget: self.clone(),
            client: client.into(),
            share,
            usage: Mutex::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account of one request. Clones belong to the same request. The default one counts nothing.
#[derive(Clone, Default)]
pub struct CallMemory(Option<Arc<MemoryAccount>>);

struct MemoryAccount {
    budget: Arc<MemoryBudget>,
    client: Arc<str>,
    /// Bytes that the client may use.
    share: usize,
    usage: Mutex<AccountUsage>,
}

#[derive(Default)]
struct AccountUsage {
    /// Bytes of the reservations.
    held: usize,
    /// Bytes taken from the budget.
    counted: usize,
}

/// The end of a wait for memory.
pub struct MemoryWait<'a> {
    pub deadline: Instant,
    pub is_cancelled: &'a dyn Fn() -> bool,
}

impl CallMemory {
    /// Returns the name of the client, if the account is one of a client.
    pub fn client(&self) -> Option<Arc<str>> {
        self.0.as_ref().map(|account| account.client.clone())
    }

    /// Opens another account of the same client.
    pub fn open_sibling(&self) -> Self {
        Self(self.0.as_ref().map(|account| {
            let MemoryAccount { budget, client, share, .. } = &**account;
            let usage = Mutex::default();
            Arc::new(MemoryAccount { budget: budget.clone(), client: client.clone(), share: *share, usage })
        }))
    }

    /// Reserves memory, or fails at once if it is in use.
    pub fn reserve(&self, bytes: usize) -> Result<MemoryReservation, MemoryError> {
        self.reserve_with(bytes, None)
    }

    /// Reserves memory. A request that holds none waits for it. A request that holds some does not wait: two of them
    /// could wait for each other.
    pub fn reserve_within(&self, bytes: usize, wait: &MemoryWait<'_>) -> Result<MemoryReservation, MemoryError> {
        self.reserve_with(bytes, Some(wait))
    }

    fn reserve_with(&self, bytes: usize, wait: Option<&MemoryWait<'_>>) -> Result<MemoryReservation, MemoryError> {
        let mut reservation = MemoryReservation { memory: self.clone(), bytes: 0 };
        reservation.grow_with(bytes, wait)?;
        Ok(reservation)
    }
}

impl MemoryAccount {
    /// Takes from the budget what the account needs to hold `more` bytes.
    fn take(&self, more: usize, wait: Option<&MemoryWait<'_>>) -> Result<(), MemoryError> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let held = usage.held.saturating_add(more);
        let missing = held.saturating_sub(UNCOUNTED_BYTES).saturating_sub(usage.counted);
        if missing > 0 {
            if held > self.share {
                return Err(MemoryError::TooLarge { bytes: held, max: self.share });
            }
            let wait = wait.filter(|_| usage.counted == 0);
            self.take_from_budget(missing, wait)?;
        }
        usage.held = held;
        usage.counted += missing;
        Ok(())
    }

    fn take_from_budget(&self, bytes: usize, wait: Option<&MemoryWait<'_>>) -> Result<(), MemoryError> {
        let MemoryBudget { total, released, .. } = &*self.budget;
        let mut state = self.budget.lock();
        while state.used.saturating_add(bytes) > *total
            || state.used_by(&self.client).saturating_add(bytes) > self.share
        {
            let left = wait.map_or(Duration::ZERO, |wait| wait.deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() || wait.is_some_and(|wait| (wait.is_cancelled)()) {
                return Err(MemoryError::InUse);
            }
            let timeout = left.min(CANCELLATION_INTERVAL);
            state.waiting += 1;
            state = released.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.add(&self.client, bytes);
        Ok(())
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        let counted = self.usage.get_mut().unwrap_or_else(PoisonError::into_inner).counted;
        if counted > 0 {
            let mut state = self.budget.lock();
            state.remove(&self.client, counted);
            let is_awaited = state.waiting > 0;
            drop(state);
            // A signal is a system call even if no thread waits.
            if is_awaited {
                self.budget.released.notify_all();
            }
        }
    }
}

/// Memory of one request. Dropping it allows the request to reserve as much again.
#[derive(Default)]
pub struct MemoryReservation {
    memory: CallMemory,
    bytes: usize,
}

impl MemoryReservation {
    /// Reserves memory up to a sum of `bytes`, or fails at once if it is in use.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), MemoryError> {
        self.grow_with(bytes, None)
    }

    /// Holds the memory until the account is dropped.
    pub fn keep(mut self) {
        self.bytes = 0;
    }

    fn grow_with(&mut self, bytes: usize, wait: Option<&MemoryWait<'_>>) -> Result<(), MemoryError> {
        if let Some(account) = &self.memory.0
            && let Some(more @ 1..) = bytes.checked_sub(self.bytes)
        {
            account.take(more, wait)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        if let Some(account) = &self.memory.0 {
            account.usage.lock().unwrap_or_else(PoisonError::into_inner).held -= self.bytes;
        }
    }
}

impl fmt::Debug for MemoryReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const KIB: usize = 1 << 10;

    #[test]
    fn a_client_takes_half_and_all_clients_take_the_whole() {
        let budget = MemoryBudget::new(400 * KIB);
        let (a, b, c) = (budget.open_shared("a"), budget.open_shared("a"), budget.open_shared("b"));
        assert_eq!(a.reserve(201 * KIB).unwrap_err(), MemoryError::TooLarge { bytes: 201 * KIB, max: 200 * KIB });
        let first = a.reserve(150 * KIB).unwrap();
        assert_eq!(b.reserve(100 * KIB).unwrap_err(), MemoryError::InUse);
        let other = c.reserve(200 * KIB).unwrap();
        drop((first, other, c));
        assert_eq!(b.reserve(100 * KIB).unwrap_err(), MemoryError::InUse, "an account keeps its most");
        drop(a);
        assert!(b.reserve(200 * KIB).is_ok());
    }

    #[test]
    fn small_requests_are_not_counted_and_what_is_given_back_can_be_reserved_again() {
        let budget = MemoryBudget::new(40 * KIB);
        let all: Vec<_> = (0..100).map(|_| budget.open_whole("a")).collect();
        let small: Vec<_> = all.iter().map(|account| account.reserve(UNCOUNTED_BYTES).unwrap()).collect();
        let account = budget.open_whole("a");
        let mut large = account.reserve(10 * KIB).unwrap();
        large.grow_to(30 * KIB).unwrap();
        assert_eq!(account.reserve(20 * KIB).unwrap_err(), MemoryError::TooLarge { bytes: 50 * KIB, max: 40 * KIB });
        drop(large);
        assert!(account.reserve(30 * KIB).is_ok());
        drop(small);
    }

    #[test]
    fn a_request_waits_for_memory_until_its_deadline_or_its_cancellation() {
        let budget = MemoryBudget::new(400 * KIB);
        let other = budget.open_whole("a");
        let held = other.reserve(400 * KIB).unwrap();
        let account = budget.open_whole("a");
        let soon = MemoryWait { deadline: Instant::now() + Duration::from_millis(20), is_cancelled: &|| false };
        assert_eq!(account.reserve_within(100 * KIB, &soon).unwrap_err(), MemoryError::InUse);
        let late = Instant::now() + Duration::from_secs(60);
        let cancelled = MemoryWait { deadline: late, is_cancelled: &|| true };
        assert_eq!(account.reserve_within(100 * KIB, &cancelled).unwrap_err(), MemoryError::InUse);
        let waiter = thread::spawn(move || {
            let wait = MemoryWait { deadline: late, is_cancelled: &|| false };
            account.reserve_within(100 * KIB, &wait).map(drop)
        });
        drop((held, other));
        assert_eq!(waiter.join().unwrap(), Ok(()));
    }
}
