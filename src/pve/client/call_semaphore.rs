//! Limit on the calls in flight to one cluster. A cluster that hangs delays only its own calls. A client that calls without
//! a pause delays only its own calls too: a place that becomes free goes to the waiting client with the fewest places.

use crate::base::cancel::CancelToken;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Semaphore that admits `limit` calls, makes as many wait, and rejects the rest at once. A client may always wait with
/// its share of the limit, however many calls of others wait.
pub(in crate::pve) struct CallSemaphore {
    limit: usize,
    inner: Arc<SemaphoreInner>,
}

#[derive(Default)]
struct SemaphoreInner {
    state: Mutex<SemaphoreState>,
}

#[derive(Default)]
struct SemaphoreState {
    in_flight: usize,
    /// Calls in flight of each client that has some. A call without a client counts as one of the client ``.
    by_client: HashMap<Arc<str>, usize>,
    /// The calls that wait, in the order of their arrival.
    queue: Vec<Waiter>,
    last_ticket: u64,
}

/// The clients of one call. Several clients share a read, to which more may be added while it waits.
#[derive(Clone, Default)]
pub(in crate::pve) struct ClientSet(Arc<Mutex<Vec<Arc<str>>>>);

/// A call that waits.
struct Waiter {
    ticket: u64,
    clients: ClientSet,
    /// The client in whose place the call is admitted. The call has not woken yet.
    admitted_as: Option<Arc<str>>,
    /// Signalled for an admission and a cancellation.
    changed: Arc<Condvar>,
}

/// Permit for one call. Dropping it admits the next call.
pub(in crate::pve) struct SemaphorePermit<'a> {
    inner: &'a SemaphoreInner,
    limit: usize,
    client: Arc<str>,
}

/// Reason for not getting a permit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pve) enum AcquireError {
    /// All permits were taken and as many callers were waiting, or no permit became free by the deadline.
    Busy,
    /// The call was cancelled while it waited.
    Cancelled,
}

impl ClientSet {
    pub(in crate::pve) fn add(&self, client: Arc<str>) {
        let mut clients = self.lock();
        if !clients.contains(&client) {
            clients.push(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SemaphoreInner {
    fn lock(&self) -> MutexGuard<'_, SemaphoreState> {
        // The state is changed in single steps, so it is consistent even if a thread panicked with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SemaphoreState {
    fn add(&mut self, client: &Arc<str>) {
        self.in_flight += 1;
        *self.by_client.entry(client.clone()).or_default() += 1;
    }

    fn remove(&mut self, client: &Arc<str>) {
        self.in_flight -= 1;
        if let Some(calls) = self.by_client.get_mut(client) {
            *calls -= 1;
            if *calls == 0 {
                self.by_client.remove(client);
            }
        }
    }

    fn calls_of(&self, client: &str) -> usize {
        self.by_client.get(client).copied().unwrap_or(0)
    }

    /// Returns the client of a set that has the fewest calls in flight, and their number.
    fn least_busy(&self, clients: &ClientSet) -> (usize, Arc<str>) {
        let clients = clients.lock();
        let calls = clients.iter().map(|client| (self.calls_of(client), client));
        calls.min().map_or_else(|| (0, Arc::default()), |(calls, client)| (calls, client.clone()))
    }

    /// Gives free places to calls that wait: first to the client with the fewest calls in flight, of one client to the
    /// call that waits longest.
    fn admit_waiting(&mut self, limit: usize) {
        while self.in_flight < limit {
            let waiting = self.queue.iter().enumerate().filter(|(_, waiter)| waiter.admitted_as.is_none());
            let ranked = waiting.map(|(place, waiter)| {
                let (calls, client) = self.least_busy(&waiter.clients);
                (calls, waiter.ticket, place, client)
            });
            let Some((_, _, place, client)) = ranked.min() else { return };
            self.add(&client);
            self.queue[place].admitted_as = Some(client);
            self.queue[place].changed.notify_all();
        }
    }

    /// Returns whether another call of `client` may wait.
    fn may_wait(&self, client: &str, limit: usize) -> bool {
        let waiting = self.queue.iter().filter(|waiter| waiter.admitted_as.is_none());
        let (mut all, mut own) = (0, 0);
        let mut clients: BTreeSet<Arc<str>> = self.by_client.keys().cloned().chain([client.into()]).collect();
        for waiter in waiting {
            all += 1;
            let waiting_clients = waiter.clients.lock();
            own += usize::from(waiting_clients.iter().any(|other| **other == *client));
            clients.extend(waiting_clients.iter().cloned());
        }
        all < limit || own < (limit / clients.len()).max(1)
    }
}

impl CallSemaphore {
    pub(in crate::pve) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), inner: Arc::default() }
    }

    pub(in crate::pve) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns a permit of a client if a place is free.
    pub(in crate::pve) fn try_acquire(&self, client: &Arc<str>) -> Option<SemaphorePermit<'_>> {
        let mut state = self.inner.lock();
        // A free place has no call that waits for it: each place that becomes free is given away at once.
        (state.in_flight < self.limit).then(|| {
            state.add(client);
            SemaphorePermit { inner: &self.inner, limit: self.limit, client: client.clone() }
        })
    }

    /// Waits for a permit of the client whose call `cancel` belongs to.
    pub(in crate::pve) fn acquire(
        &self,
        deadline: Instant,
        cancel: &CancelToken,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        let client = cancel.memory().client().unwrap_or_default();
        if let Some(permit) = self.try_acquire(&client) {
            return Ok(permit);
        }
        let clients = ClientSet::default();
        clients.add(client);
        self.acquire_for(&clients, deadline, cancel)
    }

    /// Waits for a permit of one of these clients: of the one with the fewest calls in flight.
    pub(in crate::pve) fn acquire_for(
        &self,
        clients: &ClientSet,
        deadline: Instant,
        cancel: &CancelToken,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        let (ticket, changed) = {
            let mut state = self.inner.lock();
            if state.in_flight < self.limit {
                let (_, client) = state.least_busy(clients);
                state.add(&client);
                return Ok(SemaphorePermit { inner: &self.inner, limit: self.limit, client });
            }
            let may_wait = clients.lock().iter().any(|client| state.may_wait(client, self.limit));
            if !may_wait {
                return Err(AcquireError::Busy);
            }
            state.last_ticket += 1;
            let (ticket, changed) = (state.last_ticket, Arc::new(Condvar::new()));
            let clients = clients.clone();
            state.queue.push(Waiter { ticket, clients, admitted_as: None, changed: changed.clone() });
            (ticket, changed)
        };
        // Set without the lock held: a cancellation runs the hook with its own lock held, and the hook takes this one.
        let (shared, woken) = (self.inner.clone(), changed.clone());
        let _hook = cancel.on_cancel(Box::new(move || {
            let _state = shared.lock();
            woken.notify_all();
        }));
        let client = self.wait(ticket, &changed, deadline, cancel)?;
        Ok(SemaphorePermit { inner: &self.inner, limit: self.limit, client })
    }

    /// Waits for the admission of a call, and returns the client in whose place it is admitted.
    fn wait(
        &self,
        ticket: u64,
        changed: &Condvar,
        deadline: Instant,
        cancel: &CancelToken,
    ) -> Result<Arc<str>, AcquireError> {
        let mut state = self.inner.lock();
        let result = loop {
            // A place that was given to this call is used before anything else: its permit passes it on.
            let own = state.queue.iter().find(|waiter| waiter.ticket == ticket);
            if let Some(client) = own.and_then(|waiter| waiter.admitted_as.clone()) {
                break Ok(client);
            }
            if cancel.is_cancelled() {
                break Err(AcquireError::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(AcquireError::Busy);
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.queue.retain(|waiter| waiter.ticket != ticket);
        result
    }
}

impl SemaphorePermit<'_> {
    /// Returns the client whose place this is.
    pub(in crate::pve) fn client(&self) -> &str {
        &self.client
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.remove(&self.client);
        state.admit_waiting(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cancel::CancelReason;
    use crate::base::memory::MemoryBudget;
    use std::thread;
    use std::time::Duration;

    fn far_deadline() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn wait_for_waiters(semaphore: &CallSemaphore, n: usize) {
        while semaphore.inner.lock().queue.len() < n {
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
        assert!(semaphore.inner.lock().queue.is_empty());
    }

    #[test]
    fn a_waiter_leaves_at_its_deadline() {
        let semaphore = CallSemaphore::new(1);
        let _permit = semaphore.acquire(far_deadline(), &CancelToken::new()).ok().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(semaphore.acquire(soon, &CancelToken::new()).err(), Some(AcquireError::Busy));
        assert!(semaphore.inner.lock().queue.is_empty());
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

    fn token_of(client: &str) -> CancelToken {
        CancelToken::new().with_memory(MemoryBudget::new(1 << 20).open_shared(client))
    }

    #[test]
    fn a_place_goes_to_the_client_with_the_fewest() {
        let semaphore = CallSemaphore::new(2);
        let acquire = |client: &str| semaphore.acquire(far_deadline(), &token_of(client));
        let (first, second) = (acquire("flood").ok().unwrap(), acquire("flood").ok().unwrap());
        let (admitted, order) = std::sync::mpsc::channel();
        thread::scope(|s| {
            let wait_as = |client: &'static str, waiting| {
                let admitted = admitted.clone();
                let acquire = &acquire;
                s.spawn(move || {
                    let permit = acquire(client).ok().unwrap();
                    admitted.send(client).unwrap();
                    permit
                });
                wait_for_waiters(&semaphore, waiting);
            };
            wait_as("flood", 1);
            wait_as("flood", 2);
            assert_eq!(acquire("flood").err(), Some(AcquireError::Busy), "as many wait as are admitted");
            wait_as("calm", 3);
            drop(first);
            assert_eq!(order.recv().unwrap(), "calm", "it has no place, and the calls that came earlier have two");
            drop(second);
            assert_eq!(order.recv().unwrap(), "flood");
            assert_eq!(order.recv().unwrap(), "flood");
        });
        let state = semaphore.inner.lock();
        assert_eq!((state.in_flight, state.by_client.len(), state.queue.len()), (0, 0, 0));
    }

    #[test]
    fn a_call_of_several_clients_has_the_place_of_the_calmest() {
        let semaphore = CallSemaphore::new(2);
        let acquire = |client: &str| semaphore.acquire(far_deadline(), &token_of(client));
        let (first, _second) = (acquire("flood").ok().unwrap(), acquire("flood").ok().unwrap());
        let shared = ClientSet::default();
        shared.add("flood".into());
        let (admitted, order) = std::sync::mpsc::channel();
        thread::scope(|s| {
            let waiter = admitted.clone();
            s.spawn(move || {
                let permit = acquire("flood").ok().unwrap();
                waiter.send("flood".to_owned()).unwrap();
                permit
            });
            wait_for_waiters(&semaphore, 1);
            let (semaphore, waiting) = (&semaphore, shared.clone());
            s.spawn(move || {
                let permit = semaphore.acquire_for(&waiting, far_deadline(), &CancelToken::new()).ok().unwrap();
                admitted.send(permit.client().to_owned()).unwrap();
            });
            wait_for_waiters(semaphore, 2);
            // The client joins while the call waits.
            shared.add("calm".into());
            drop(first);
            assert_eq!(order.recv().unwrap(), "calm");
            assert_eq!(order.recv().unwrap(), "flood");
        });
    }
}
