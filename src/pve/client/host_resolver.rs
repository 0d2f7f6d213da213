//! Host names to addresses. The system's resolver knows neither a time limit nor a cancellation, so a lookup runs on a
//! thread that a call may leave behind; all calls that want the same host share one, so that a name server that hangs
//! holds one thread a host, however many calls come and go.

use crate::base::cancel::CancelToken;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The lookups of one cluster.
pub(in crate::pve) struct HostResolver {
    lookup: fn(&str) -> io::Result<Vec<SocketAddr>>,
    pending: Arc<Mutex<BTreeMap<String, Arc<PendingLookup>>>>,
}

/// One lookup, and what it found once it has ended; `None` inside where it failed.
#[derive(Default)]
struct PendingLookup {
    result: Mutex<Option<Option<Vec<SocketAddr>>>>,
    changed: Condvar,
}

/// Why there are no addresses.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pve) enum ResolveError {
    /// There is no host of that name, or no name server that knows.
    NotFound,
    /// The lookup goes on, but the call's time is over.
    TimedOut,
    /// The lookup goes on, but the call was cancelled.
    Cancelled,
}

impl Default for HostResolver {
    fn default() -> Self {
        Self { lookup: lookup_with_system, pending: Arc::default() }
    }
}

/// What the operating system says.
fn lookup_with_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks hold is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostResolver {
    /// The addresses of `host`, at least one, without a port.
    pub(in crate::pve) fn resolve(
        &self,
        host: &str,
        time: Duration,
        cancel: &CancelToken,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let start = Instant::now();
        let lookup = self.join_or_start(host).map_err(|_| ResolveError::NotFound)?;
        // Set without our lock held: a cancellation calls the hook with its own lock held, and the hook takes ours.
        let woken = lookup.clone();
        cancel.set_hook(Some(Box::new(move || {
            let _found = lock(&woken.result);
            woken.changed.notify_all();
        })));
        let result = lookup.wait(start, time, cancel);
        cancel.set_hook(None);
        result
    }

    /// The lookup of `host` that is under way, else a new one.
    fn join_or_start(&self, host: &str) -> io::Result<Arc<PendingLookup>> {
        let mut running = lock(&self.pending);
        if let Some(lookup) = running.get(host) {
            return Ok(lookup.clone());
        }
        let lookup = Arc::new(PendingLookup::default());
        let (find, ours, shared, name) = (self.lookup, lookup.clone(), self.pending.clone(), host.to_owned());
        thread::Builder::new().name("resolve".into()).spawn(move || {
            let found = find(&name).ok().filter(|all| !all.is_empty());
            // Who comes after this asks anew: an answer is shared with those who waited for it and not kept.
            lock(&shared).remove(&name);
            *lock(&ours.result) = Some(found);
            ours.changed.notify_all();
        })?;
        running.insert(host.to_owned(), lookup.clone());
        Ok(lookup)
    }
}

impl PendingLookup {
    fn wait(&self, start: Instant, time: Duration, cancel: &CancelToken) -> Result<Vec<SocketAddr>, ResolveError> {
        let mut found = lock(&self.result);
        loop {
            if let Some(found) = found.as_ref() {
                return found.clone().ok_or(ResolveError::NotFound);
            }
            if cancel.is_cancelled() {
                return Err(ResolveError::Cancelled);
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(ResolveError::TimedOut);
            }
            found = self.changed.wait_timeout(found, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(20);

    fn resolver_with(find: fn(&str) -> io::Result<Vec<SocketAddr>>) -> HostResolver {
        HostResolver { lookup: find, ..HostResolver::default() }
    }

    fn loopback() -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, 1], 0))]
    }

    #[test]
    fn calls_that_come_and_go_leave_one_lookup_behind() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        static HANG: Mutex<()> = Mutex::new(());
        let hanging = lock(&HANG);
        let lookups = resolver_with(|_| {
            STARTED.fetch_add(1, Ordering::SeqCst);
            drop(lock(&HANG));
            Ok(loopback())
        });
        let cancelled = CancelToken::new();
        cancelled.cancel();
        for _ in 0..20 {
            assert_eq!(lookups.resolve("pve1", LONG, &cancelled), Err(ResolveError::Cancelled));
            assert_eq!(lookups.resolve("pve1", Duration::ZERO, &CancelToken::new()), Err(ResolveError::TimedOut));
        }
        assert_eq!(lock(&lookups.pending).len(), 1);
        thread::scope(|s| {
            let waiting: Vec<_> =
                (0..4).map(|_| s.spawn(|| lookups.resolve("pve1", LONG, &CancelToken::new()))).collect();
            while lock(&lookups.pending).get("pve1").map_or(0, Arc::strong_count) < 2 + 2 * waiting.len() {
                thread::yield_now();
            }
            drop(hanging);
            assert!(waiting.into_iter().all(|w| w.join().unwrap() == Ok(loopback())), "they share what it found");
        });
        assert_eq!(STARTED.load(Ordering::SeqCst), 1);
        assert!(lock(&lookups.pending).is_empty());
        assert_eq!(lookups.resolve("pve1", LONG, &CancelToken::new()), Ok(loopback()));
        assert_eq!(STARTED.load(Ordering::SeqCst), 2, "the next call asks anew");
    }

    #[test]
    fn a_waiter_that_is_cancelled_leaves_at_once() {
        static HANG: Mutex<()> = Mutex::new(());
        let _hanging = lock(&HANG);
        let lookups = resolver_with(|_| {
            drop(lock(&HANG));
            Ok(loopback())
        });
        let cancel = CancelToken::new();
        thread::scope(|s| {
            let waiter = s.spawn(|| lookups.resolve("pve1", LONG, &cancel));
            while lock(&lookups.pending).is_empty() {
                thread::yield_now();
            }
            cancel.cancel();
            assert_eq!(waiter.join().unwrap(), Err(ResolveError::Cancelled));
        });
    }

    #[test]
    fn a_name_without_addresses_is_not_found() {
        for find in [(|_| Ok(Vec::new())) as fn(&str) -> _, |_| Err(io::ErrorKind::NotFound.into())] {
            assert_eq!(resolver_with(find).resolve("pve1", LONG, &CancelToken::new()), Err(ResolveError::NotFound));
        }
    }
}
