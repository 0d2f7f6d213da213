//! What one client may ask of the server, over all its connections and both transports: so many calls at once, and so
//! many a minute. One that has run wild leaves the others their share.
//!
//! Where no client is configured, whoever comes counts as the same one: then `--max-calls` bounds its calls at once,
//! since there is nobody to leave a share to. What needs no tool is not counted.

use super::log_throttle::LogThrottle;
use crate::config::{Client, Limits};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

const MINUTE: u64 = 60_000_000_000;

/// What each client may still do.
pub struct ClientQuotas {
    clients: RwLock<Vec<(Arc<Client>, Arc<ClientQuota>)>>,
    limits: Limits,
    /// Of those who are none of the clients.
    anonymous: Arc<ClientQuota>,
    warnings: LogThrottle,
}

struct ClientQuota {
    running: AtomicUsize,
    max_running: usize,
    rate_limiter: Option<RateLimiter>,
}

/// A minute's calls: it begins full, and fills evenly.
struct RateLimiter {
    calls_per_minute: u64,
    begun: Instant,
    /// When it will be full again, in nanoseconds since it began.
    full_at: Mutex<u64>,
}

/// A client's call that waits or runs; given back when dropped.
pub struct QuotaPermit(Arc<ClientQuota>);

impl ClientQuotas {
    /// Nobody has called yet.
    pub fn new(clients: &[Arc<Client>], limits: &Limits) -> Self {
        let quotas = Self {
            clients: RwLock::default(),
            limits: limits.clone(),
            anonymous: ClientQuota::new(usize::MAX, limits),
            warnings: LogThrottle::default(),
        };
        quotas.replace_clients(clients);
        quotas
    }

    /// From here on these are the clients; those that were before keep their count.
    pub fn replace_clients(&self, clients: &[Arc<Client>]) {
        let mut known = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let quota = |client: &Arc<Client>| {
            let before = known.iter().find(|(other, _)| other.is_same_client(client)).map(|(_, quota)| quota.clone());
            (client.clone(), before.unwrap_or_else(|| ClientQuota::new(self.limits.max_calls_per_client, &self.limits)))
        };
        *known = clients.iter().map(quota).collect();
    }

    /// Counts a client's call in. The error says which limit it meets, and when to try again.
    pub fn acquire(&self, client: &Arc<Client>) -> Result<QuotaPermit, String> {
        let found = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.iter().find(|(known, _)| known.is_same_client(client)).map(|(_, quota)| quota.clone())
        };
        found.as_ref().unwrap_or(&self.anonymous).acquire().inspect_err(|why| {
            self.warnings.warn(format_args!("refused a call of the client {}: {why}", client.name));
        })
    }
}

impl ClientQuota {
    fn new(at_once: usize, limits: &Limits) -> Arc<Self> {
        let minute = RateLimiter::new(limits.max_calls_per_minute as u64, Instant::now());
        Arc::new(Self { running: AtomicUsize::new(0), max_running: at_once, rate_limiter: minute })
    }

    fn acquire(self: &Arc<Self>) -> Result<QuotaPermit, String> {
        // The place is dropped, and with it the count, if it is one too many.
        let permit = QuotaPermit(self.clone());
        if self.running.fetch_add(1, Ordering::SeqCst) >= self.max_running {
            return Err(format!(
                "busy: this client has {} calls in flight, as many as it may (--max-calls-per-client); send it again \
                 when one of them has ended, or in 1 second",
                self.max_running
            ));
        }
        match &self.rate_limiter {
            None => Ok(permit),
            Some(bucket) => bucket.acquire(Instant::now()).map(|()| permit).map_err(|wait| {
                let (calls, s) = (bucket.calls_per_minute, if wait == 1 { "" } else { "s" });
                format!(
                    "busy: this client has made the {calls} calls that it may make in a minute \
                     (--max-calls-per-minute); send it again in {wait} second{s}"
                )
            }),
        }
    }
}

impl RateLimiter {
    /// `None` for 0 calls a minute, which is no limit.
    fn new(calls: u64, begun: Instant) -> Option<Self> {
        (calls > 0).then(|| Self { calls_per_minute: calls, begun, full_at: Mutex::new(0) })
    }

    /// Takes one call out. The error is how many seconds it takes until there is one.
    fn acquire(&self, now: Instant) -> Result<(), u64> {
        let now = u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX);
        // Of a call, and of all of them; the division leaves the minute a hair short.
        let one = (MINUTE / self.calls_per_minute).max(1);
        let all = one.saturating_mul(self.calls_per_minute);
        let mut full = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full).max(now).saturating_add(one);
        match next.saturating_sub(now).checked_sub(all) {
            None | Some(0) => {
                *full = next;
                Ok(())
            }
            Some(missing) => Err(missing.div_ceil(Duration::from_secs(1).as_nanos() as u64)),
        }
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_a_minutes_calls_and_fills_evenly() {
        let start = Instant::now();
        let bucket = RateLimiter::new(6, start).unwrap();
        let second = |n: u64| start + Duration::from_secs(n);
        for _ in 0..6 {
            assert_eq!(bucket.acquire(second(0)), Ok(()));
        }
        assert_eq!(bucket.acquire(second(0)), Err(10));
        assert_eq!(bucket.acquire(second(9)), Err(1));
        assert_eq!(bucket.acquire(second(10)), Ok(()), "a refusal costs nothing");
        assert_eq!(bucket.acquire(second(10)), Err(10));
        let an_hour_later = (0..).take_while(|_| bucket.acquire(second(3600)).is_ok()).count();
        assert_eq!(an_hour_later, 6, "it holds no more than a minute's");
    }

    #[test]
    fn any_number_of_calls_a_minute_is_held_to() {
        let start = Instant::now();
        assert!(RateLimiter::new(0, start).is_none());
        for calls in [1, 7, 600, 999_999] {
            let bucket = RateLimiter::new(calls, start).unwrap();
            assert_eq!((0..).take_while(|_| bucket.acquire(start).is_ok()).count() as u64, calls);
            let wait = bucket.acquire(start).unwrap_err();
            assert_eq!(wait, 60_u64.div_ceil(calls));
            assert_eq!(bucket.acquire(start + Duration::from_secs(wait)), Ok(()));
        }
    }

    #[test]
    fn a_released_permit_can_be_acquired_again() {
        let clients = [Arc::new(Client::from_env_token("sixteen_letters_").unwrap()), Arc::new(Client::stdio())];
        let limits = Limits { max_calls_per_client: 2, ..Limits::default() };
        let quotas = ClientQuotas::new(&clients, &limits);
        let [one, other] = &clients;
        let (first, second) = (quotas.acquire(one).ok().unwrap(), quotas.acquire(one).ok().unwrap());
        assert!(quotas.acquire(one).err().unwrap().contains("--max-calls-per-client"));
        assert!(quotas.acquire(other).is_ok());
        drop(first);
        let third = quotas.acquire(one);
        assert!(third.is_ok() && quotas.acquire(one).is_err());
        drop((second, third));
        let stranger = Arc::new(Client::anonymous());
        let places: Vec<_> = (0..100).map(|_| quotas.acquire(&stranger)).collect();
        assert!(places.iter().all(Result::is_ok), "bounded by --max-calls alone");
    }
}
