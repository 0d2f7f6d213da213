//! The quotas of each client over all its connections and both transports: calls at once, and calls per minute. They
//! keep one client from using the others' share.
//!
//! Without configured clients all callers share one quota. Then only `--max-calls` bounds calls at once, because there
//! is no other client to protect. Requests that are answered from memory are not counted.

use super::log_throttle::LogThrottle;
use crate::base::hint::{Hint, render_error};
use crate::config::{Client, Limits};
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use thiserror::Error;

const MINUTE_NANOS: u64 = 60_000_000_000;
const SECOND_NANOS: u64 = 1_000_000_000;

pub struct ClientQuotas {
    clients: RwLock<Vec<(Arc<Client>, Arc<ClientQuota>)>>,
    limits: Limits,
    /// Quota of callers that are no configured client.
    anonymous: Arc<ClientQuota>,
    warnings: LogThrottle,
}

struct ClientQuota {
    running: AtomicUsize,
    max_running: usize,
    rate_limiter: Option<RateLimiter>,
}

/// Token bucket of one minute's calls. It starts full and refills evenly.
struct RateLimiter {
    calls_per_minute: u64,
    started: Instant,
    /// Time at which the bucket will be full again, in nanoseconds since `started`.
    full_at: Mutex<u64>,
}

/// Permit for one call of a client, released on drop.
pub struct QuotaPermit(Arc<ClientQuota>);

/// Quota that rejects a call.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum QuotaError {
    #[error("busy: this client has {max} calls in flight, its limit (--max-calls-per-client)")]
    TooManyRunning { max: usize },
    #[error("busy: this client has made the {calls} calls that it may make in a minute (--max-calls-per-minute)")]
    RateExceeded { calls: u64, retry_seconds: u64 },
}

impl Hint for QuotaError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::TooManyRunning { .. } => "send it again when one of them has ended, or in 1 second".into(),
            Self::RateExceeded { retry_seconds: 1, .. } => "send it again in 1 second".into(),
            Self::RateExceeded { retry_seconds, .. } => format!("send it again in {retry_seconds} seconds").into(),
        })
    }
}

impl ClientQuotas {
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

    /// Replaces the set of clients. A client that stays keeps its counts.
    pub fn replace_clients(&self, clients: &[Arc<Client>]) {
        let mut current = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        let quota = |client: &Arc<Client>| {
            let kept = current.iter().find(|(other, _)| other.is_same_client(client)).map(|(_, quota)| quota.clone());
            (client.clone(), kept.unwrap_or_else(|| ClientQuota::new(self.limits.max_calls_per_client, &self.limits)))
        };
        *current = clients.iter().map(quota).collect();
    }

    /// Counts a client's call, unless a quota is used up.
    pub fn acquire(&self, client: &Arc<Client>) -> Result<QuotaPermit, QuotaError> {
        let quota = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.iter().find(|(known, _)| known.is_same_client(client)).map(|(_, quota)| quota.clone())
        };
        quota.as_ref().unwrap_or(&self.anonymous).acquire().inspect_err(|error| {
            self.warnings.warn(format_args!("refused a call of the client {}: {}", client.name, render_error(error)));
        })
    }
}

impl ClientQuota {
    fn new(max_running: usize, limits: &Limits) -> Arc<Self> {
        let rate_limiter = RateLimiter::new(limits.max_calls_per_minute as u64, Instant::now());
        Arc::new(Self { running: AtomicUsize::new(0), max_running, rate_limiter })
    }

    fn acquire(self: &Arc<Self>) -> Result<QuotaPermit, QuotaError> {
        // An error drops the permit, which takes the call off the count again.
        let permit = QuotaPermit(self.clone());
        if self.running.fetch_add(1, Ordering::SeqCst) >= self.max_running {
            return Err(QuotaError::TooManyRunning { max: self.max_running });
        }
        match &self.rate_limiter {
            None => Ok(permit),
            Some(limiter) => limiter
                .acquire(Instant::now())
                .map(|()| permit)
                .map_err(|retry_seconds| QuotaError::RateExceeded { calls: limiter.calls_per_minute, retry_seconds }),
        }
    }
}

impl RateLimiter {
    /// Returns `None` for 0 calls per minute, which means no limit.
    fn new(calls_per_minute: u64, started: Instant) -> Option<Self> {
        (calls_per_minute > 0).then(|| Self { calls_per_minute, started, full_at: Mutex::new(0) })
    }

    /// Takes one call out of the bucket, or returns the seconds until it has one.
    fn acquire(&self, now: Instant) -> Result<(), u64> {
        let now = u64::try_from(now.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX);
        // The integer division makes a full bucket slightly less than a minute.
        let one_call = (MINUTE_NANOS / self.calls_per_minute).max(1);
        let all_calls = one_call.saturating_mul(self.calls_per_minute);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full_at).max(now).saturating_add(one_call);
        match next.saturating_sub(now).checked_sub(all_calls) {
            None | Some(0) => {
                *full_at = next;
                Ok(())
            }
            Some(missing) => Err(missing.div_ceil(SECOND_NANOS)),
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
    use std::time::Duration;

    #[test]
    fn a_bucket_holds_a_minutes_calls_and_fills_evenly() {
        let start = Instant::now();
        let limiter = RateLimiter::new(6, start).unwrap();
        let second = |n: u64| start + Duration::from_secs(n);
        for _ in 0..6 {
            assert_eq!(limiter.acquire(second(0)), Ok(()));
        }
        assert_eq!(limiter.acquire(second(0)), Err(10));
        assert_eq!(limiter.acquire(second(9)), Err(1));
        assert_eq!(limiter.acquire(second(10)), Ok(()), "a rejected call is not counted");
        assert_eq!(limiter.acquire(second(10)), Err(10));
        let an_hour_later = (0..).take_while(|_| limiter.acquire(second(3600)).is_ok()).count();
        assert_eq!(an_hour_later, 6, "it holds at most one minute's calls");
    }

    #[test]
    fn any_number_of_calls_a_minute_is_held_to() {
        let start = Instant::now();
        assert!(RateLimiter::new(0, start).is_none());
        for calls in [1, 7, 600, 999_999] {
            let limiter = RateLimiter::new(calls, start).unwrap();
            assert_eq!((0..).take_while(|_| limiter.acquire(start).is_ok()).count() as u64, calls);
            let wait = limiter.acquire(start).unwrap_err();
            assert_eq!(wait, 60_u64.div_ceil(calls));
            assert_eq!(limiter.acquire(start + Duration::from_secs(wait)), Ok(()));
        }
    }

    #[test]
    fn a_released_permit_can_be_acquired_again() {
        let clients = [Arc::new(Client::from_env_token("sixteen_letters_").unwrap()), Arc::new(Client::stdio())];
        let limits = Limits { max_calls_per_client: 2, ..Limits::default() };
        let quotas = ClientQuotas::new(&clients, &limits);
        let [one, other] = &clients;
        let (first, second) = (quotas.acquire(one).ok().unwrap(), quotas.acquire(one).ok().unwrap());
        assert_eq!(quotas.acquire(one).err(), Some(QuotaError::TooManyRunning { max: 2 }));
        assert!(quotas.acquire(other).is_ok());
        drop(first);
        let third = quotas.acquire(one);
        assert!(third.is_ok() && quotas.acquire(one).is_err());
        drop((second, third));
        let anonymous = Arc::new(Client::anonymous());
        let permits: Vec<_> = (0..100).map(|_| quotas.acquire(&anonymous)).collect();
        assert!(permits.iter().all(Result::is_ok), "bounded by --max-calls alone");
    }
}
