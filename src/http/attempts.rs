//! Wrong tokens by the address they come from: after a few of them within a minute, further ones are refused as too
//! many until the minute ends.
//!
//! A right token is taken all the same: many clients may share an address (a proxy, a NAT), and one of them with a
//! stale token must not shut the others out. What is counted is bounded, however many addresses a stranger has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From an address's first wrong token on.
const WINDOW: Duration = Duration::from_secs(60);
/// Wrong tokens within it that are answered as any first one.
const FREE: u32 = 10;
/// Addresses that are told apart. All further ones count as one, until there is room again.
const MOST: usize = 4096;
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// How often room is made: each time all of the addresses are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// The addresses that wrong tokens came from within the last minute.
#[derive(Default)]
pub struct Attempts(Mutex<Table>);

#[derive(Default)]
struct Table {
    windows: HashMap<IpAddr, Window>,
    swept: Option<Instant>,
}

struct Window {
    since: Instant,
    wrong: u32,
}

/// What becomes of a wrong token.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is the first one of its address and window, which is worth a line in the log.
    pub first: bool,
    /// How long until wrong tokens of this address are answered again, if they are too many now.
    pub wait: Option<Duration>,
}

impl Attempts {
    /// Counts a wrong token that came from `peer` at `now`.
    pub fn wrong(&self, peer: IpAddr, now: Instant) -> Verdict {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = network(peer);
        if !table.windows.contains_key(&key) && table.windows.len() >= MOST {
            if table.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP) {
                table.swept = Some(now);
                table.windows.retain(|_, window| !window.is_over(now));
            }
            if table.windows.len() >= MOST {
                key = OTHERS;
            }
        }
        let window = table.windows.entry(key).or_insert(Window { since: now, wrong: 0 });
        if window.is_over(now) {
            *window = Window { since: now, wrong: 0 };
        }
        window.wrong = window.wrong.saturating_add(1);
        let left = WINDOW.saturating_sub(now.saturating_duration_since(window.since));
        Verdict { first: window.wrong == 1, wait: (window.wrong > FREE).then_some(left) }
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

/// What one stranger has at the least: an IPv4 address, or an IPv6 network of 64 bits.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
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
        let (attempts, peer, start) = (Attempts::default(), address("192.0.2.1"), Instant::now());
        let second = |n: u64| start + Duration::from_secs(n);
        for n in 0..10 {
            assert_eq!(attempts.wrong(peer, second(n)), Verdict { first: n == 0, wait: None });
        }
        let slowed = |n| Verdict { first: false, wait: Some(Duration::from_secs(n)) };
        assert_eq!(attempts.wrong(peer, second(10)), slowed(50));
        assert_eq!(attempts.wrong(peer, second(59)), slowed(1));
        assert_eq!(attempts.wrong(address("192.0.2.2"), second(59)), Verdict { first: true, wait: None });
        assert_eq!(attempts.wrong(peer, second(60)), Verdict { first: true, wait: None }, "a minute is over");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_mapped_ipv4_address_as_itself() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            let (attempts, now) = (Attempts::default(), Instant::now());
            attempts.wrong(address(one), now);
            assert_eq!(!attempts.wrong(address(other), now).first, same, "{one} {other}");
        }
    }

    #[test]
    fn any_number_of_addresses_takes_bounded_room_and_is_slowed_together() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let wrong = |n: u32, now| attempts.wrong(std::net::Ipv4Addr::from_bits(n).into(), now);
        let size = || attempts.0.lock().unwrap().windows.len();
        let slowed = (0..3 * MOST as u32).filter(|n| wrong(*n, now).wait.is_some()).count();
        assert_eq!((size(), slowed), (MOST + 1, 2 * MOST - FREE as usize));
        assert_eq!(wrong(0, now), Verdict { first: false, wait: None }, "those that are told apart stay so");
        assert_eq!(wrong(1 << 20, now + WINDOW), Verdict { first: true, wait: None });
        assert_eq!(size(), 1, "room is made");
    }
}
