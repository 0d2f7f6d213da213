//! Host name resolution with a time limit and cancellation.
//!
//! The system's resolver has neither, so a lookup runs on a thread of its own. A call may stop waiting for it. All calls
//! for the same host share one lookup. A name server that hangs occupies one thread per host, however many calls wait.

use crate::base::cancel::CancelToken;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Resolver of one cluster.
#[derive(Clone)]
pub(in crate::pve) struct HostResolver {
    lookup: fn(&str) -> io::Result<Vec<SocketAddr>>,
    pending: Arc<Mutex<BTreeMap<String, Arc<PendingLookup>>>>,
}

/// Failure of a look-up that no name server answered.
#[derive(Debug, thiserror::Error)]
#[error("no name server answers")]
pub(in crate::pve) struct NoNameServerError;

/// Lookup in progress.
#[derive(Default)]
struct PendingLookup {
    /// `None` until the lookup has ended.
    result: Mutex<Option<Result<Vec<SocketAddr>, ResolveError>>>,
    changed: Condvar,
}

/// Reason for not getting an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) enum ResolveError {
    /// No host has that name.
    NotFound,
    /// No name server answers, so it is not known whether a host has that name.
    NoNameServer,
    /// The lookup did not end in the call's time.
    TimedOut,
    /// The call was cancelled.
    Cancelled,
}

impl Default for HostResolver {
    fn default() -> Self {
        Self { lookup: lookup_with_system, pending: Arc::default() }
    }
}

/// Resolves with the operating system.
fn lookup_with_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

/// Returns whether a look-up failed because no name server answered. The standard library has EAI_AGAIN as text only:
/// that of glibc, or that of musl.
fn is_temporary(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("Temporary failure in name resolution") || text.contains("Try again")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is changed in single steps, so it is consistent even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostResolver {
    /// Returns the addresses of `host`, at least one, without a port.
    pub(in crate::pve) fn resolve(
        &self,
        host: &str,
        time: Duration,
        cancel: &CancelToken,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let start = Instant::now();
        let lookup = self.join_or_start(host).map_err(|_| ResolveError::NotFound)?;
        // Set without the lock held: a cancellation runs the hook with its own lock held, and the hook takes this one.
        let waiting = lookup.clone();
        let _hook = cancel.on_cancel(Box::new(move || {
            let _guard = lock(&waiting.result);
            waiting.changed.notify_all();
        }));
        lookup.wait(start, time, cancel)
    }

    /// Returns the lookup of `host` in progress, or starts one.
    fn join_or_start(&self, host: &str) -> io::Result<Arc<PendingLookup>> {
        let mut pending_lookups = lock(&self.pending);
        if let Some(lookup) = pending_lookups.get(host) {
            return Ok(lookup.clone());
        }
        let lookup = Arc::new(PendingLookup::default());
        let (resolve, started, pending, name) = (self.lookup, lookup.clone(), self.pending.clone(), host.to_owned());
        thread::Builder::new().name("resolve".into()).spawn(move || {
            let found = match resolve(&name) {
                Ok(addresses) if addresses.is_empty() => Err(ResolveError::NotFound),
                Ok(addresses) => Ok(addresses),
                Err(error) if is_temporary(&error) => Err(ResolveError::NoNameServer),
                Err(_) => Err(ResolveError::NotFound),
            };
            // The result is shared with the calls that waited for it and not cached.
            lock(&pending).remove(&name);
            *lock(&started.result) = Some(found);
            started.changed.notify_all();
        })?;
        pending_lookups.insert(host.to_owned(), lookup.clone());
        Ok(lookup)
    }
}

impl PendingLookup {
    fn wait(&self, start: Instant, time: Duration, cancel: &CancelToken) -> Result<Vec<SocketAddr>, ResolveError> {
        let mut result = lock(&self.result);
        loop {
            if let Some(addresses) = result.as_ref() {
                return addresses.clone();
            }
            if cancel.is_cancelled() {
                return Err(ResolveError::Cancelled);
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(ResolveError::TimedOut);
            }
            result = self.changed.wait_timeout(result, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cancel::CancelReason;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(20);

    fn resolver_with(find: fn(&str) -> io::Result<Vec<SocketAddr>>) -> HostResolver {
        HostResolver { lookup: find, ..HostResolver::default() }
    }

    fn loopback() -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, 1], 0))]
    }

    #[test]
    fn calls_that_stop_waiting_share_one_lookup() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        static HANG: Mutex<()> = Mutex::new(());
        let hanging = lock(&HANG);
        let resolver = resolver_with(|_| {
            STARTED.fetch_add(1, Ordering::SeqCst);
            drop(lock(&HANG));
            Ok(loopback())
        });
        let cancelled = CancelToken::new();
        cancelled.cancel(CancelReason::ClientGone);
        for _ in 0..20 {
            assert_eq!(resolver.resolve("pve1", LONG, &cancelled), Err(ResolveError::Cancelled));
            assert_eq!(resolver.resolve("pve1", Duration::ZERO, &CancelToken::new()), Err(ResolveError::TimedOut));
        }
        assert_eq!(lock(&resolver.pending).len(), 1);
        thread::scope(|s| {
            let waiting: Vec<_> =
                (0..4).map(|_| s.spawn(|| resolver.resolve("pve1", LONG, &CancelToken::new()))).collect();
            while lock(&resolver.pending).get("pve1").map_or(0, Arc::strong_count) < 2 + 2 * waiting.len() {
                thread::yield_now();
            }
            drop(hanging);
            assert!(waiting.into_iter().all(|w| w.join().unwrap() == Ok(loopback())), "they share the result");
        });
        assert_eq!(STARTED.load(Ordering::SeqCst), 1);
        assert!(lock(&resolver.pending).is_empty());
        assert_eq!(resolver.resolve("pve1", LONG, &CancelToken::new()), Ok(loopback()));
        assert_eq!(STARTED.load(Ordering::SeqCst), 2, "the next call starts a new lookup");
    }

    #[test]
    fn a_waiter_that_is_cancelled_leaves_at_once() {
        static HANG: Mutex<()> = Mutex::new(());
        let _hanging = lock(&HANG);
        let resolver = resolver_with(|_| {
            drop(lock(&HANG));
            Ok(loopback())
        });
        let cancel = CancelToken::new();
        thread::scope(|s| {
            let waiter = s.spawn(|| resolver.resolve("pve1", LONG, &cancel));
            while lock(&resolver.pending).is_empty() {
                thread::yield_now();
            }
            cancel.cancel(CancelReason::ClientGone);
            assert_eq!(waiter.join().unwrap(), Err(ResolveError::Cancelled));
        });
    }

    #[test]
    fn a_name_without_addresses_is_not_found() {
        for find in [(|_| Ok(Vec::new())) as fn(&str) -> _, |_| Err(io::ErrorKind::NotFound.into())] {
            assert_eq!(resolver_with(find).resolve("pve1", LONG, &CancelToken::new()), Err(ResolveError::NotFound));
        }
        let temporary = |_: &str| Err(io::Error::other("failed to lookup address information: Try again"));
        {
            let found = resolver_with(temporary).resolve("pve1", LONG, &CancelToken::new());
            assert_eq!(found, Err(ResolveError::NoNameServer));
        }
    }
}
