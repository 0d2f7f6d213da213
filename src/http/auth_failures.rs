//! Counts failed authentications by address, wrong tokens and missing ones apart. After a few wrong tokens within a minute,
//! further ones are refused until the minute ends.
//!
//! A valid token is still accepted. Many clients may share an address (proxy, NAT), and one with a stale token must not
//! lock out the others. The table is bounded, however many addresses an attacker has.

use super::client_network::client_network;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Length of a window of wrong tokens, which starts with an address's first one.
pub const WRONG_TOKEN_WINDOW: Duration = Duration::from_secs(60);
/// Length of a window of missing tokens. Only the first one is of interest.
pub const MISSING_TOKEN_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Wrong tokens of a window that are not throttled.
const MAX_UNTHROTTLED: u32 = 10;
/// Addresses with their own window. All further addresses share one until the table has space again.
const MAX_ADDRESSES: usize = 4096;
const OVERFLOW_KEY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// Minimum interval between removals of ended windows, each of which visits the whole table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

pub struct AuthFailureLimiter {
    table: Mutex<FailureTable>,
    window_length: Duration,
}

#[derive(Default)]
struct FailureTable {
    windows: HashMap<IpAddr, FailureWindow>,
    last_sweep: Option<Instant>,
}

struct FailureWindow {
    since: Instant,
    failures: u32,
}

/// Result of a failed authentication.
#[derive(Debug, PartialEq, Eq)]
pub struct AttemptOutcome {
    /// True for the first failure of its address and window, which is logged.
    pub first: bool,
    /// Rest of the window if the address has too many failures.
    pub retry_after: Option<Duration>,
}

impl AuthFailureLimiter {
    pub fn new(window_length: Duration) -> Self {
        Self { table: Mutex::default(), window_length }
    }

    /// Counts a failed authentication.
    pub fn record_failure(&self, peer: IpAddr, now: Instant) -> AttemptOutcome {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = client_network(peer);
        if !table.windows.contains_key(&key) && table.windows.len() >= MAX_ADDRESSES {
            if table.last_sweep.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_INTERVAL) {
                table.last_sweep = Some(now);
                table.windows.retain(|_, window| !window.is_over(now, self.window_length));
            }
            if table.windows.len() >= MAX_ADDRESSES {
                key = OVERFLOW_KEY;
            }
        }
        let window = table.windows.entry(key).or_insert(FailureWindow { since: now, failures: 0 });
        if window.is_over(now, self.window_length) {
            *window = FailureWindow { since: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        let rest = self.window_length.saturating_sub(now.saturating_duration_since(window.since));
        AttemptOutcome { first: window.failures == 1, retry_after: (window.failures > MAX_UNTHROTTLED).then_some(rest) }
    }
}

impl FailureWindow {
    fn is_over(&self, now: Instant, length: Duration) -> bool {
        now.saturating_duration_since(self.since) >= length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_wrong_tokens_are_free_and_the_next_wait_for_the_minute_to_end() {
        let (limiter, peer, start) =
            (AuthFailureLimiter::new(WRONG_TOKEN_WINDOW), address("192.0.2.1"), Instant::now());
        let second = |n: u64| start + Duration::from_secs(n);
        for n in 0..10 {
            assert_eq!(limiter.record_failure(peer, second(n)), AttemptOutcome { first: n == 0, retry_after: None });
        }
        let slowed = |n| AttemptOutcome { first: false, retry_after: Some(Duration::from_secs(n)) };
        assert_eq!(limiter.record_failure(peer, second(10)), slowed(50));
        assert_eq!(limiter.record_failure(peer, second(59)), slowed(1));
        assert_eq!(
            limiter.record_failure(address("192.0.2.2"), second(59)),
            AttemptOutcome { first: true, retry_after: None }
        );
        assert_eq!(
            limiter.record_failure(peer, second(60)),
            AttemptOutcome { first: true, retry_after: None },
            "a minute is over"
        );
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_mapped_ipv4_address_as_itself() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            let (limiter, now) = (AuthFailureLimiter::new(WRONG_TOKEN_WINDOW), Instant::now());
            limiter.record_failure(address(one), now);
            assert_eq!(!limiter.record_failure(address(other), now).first, same, "{one} {other}");
        }
    }

    #[test]
    fn any_number_of_addresses_takes_bounded_room_and_is_slowed_together() {
        let (limiter, now) = (AuthFailureLimiter::new(WRONG_TOKEN_WINDOW), Instant::now());
        let wrong = |n: u32, now| limiter.record_failure(std::net::Ipv4Addr::from_bits(n).into(), now);
        let size = || limiter.table.lock().unwrap().windows.len();
        let slowed = (0..3 * MAX_ADDRESSES as u32).filter(|n| wrong(*n, now).retry_after.is_some()).count();
        assert_eq!((size(), slowed), (MAX_ADDRESSES + 1, 2 * MAX_ADDRESSES - MAX_UNTHROTTLED as usize));
        assert_eq!(
            wrong(0, now),
            AttemptOutcome { first: false, retry_after: None },
            "an address with its own window keeps it"
        );
        assert_eq!(wrong(1 << 20, now + WRONG_TOKEN_WINDOW), AttemptOutcome { first: true, retry_after: None });
        assert_eq!(size(), 1, "ended windows are removed");
    }
}
