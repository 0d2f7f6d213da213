//! Which hosts this server answers for, and which web pages may ask it.
//!
//! A page in a browser can make a name of its own resolve to this machine (DNS rebinding) and then read what the
//! server answers. Such a request carries the page's name in `Host`, and its origin in `Origin`; so both are checked,
//! on every route, before anything else (MCP, Transports, security warning). An IP literal can't be rebound.

use super::log_throttle::{EscapedBytes, LogThrottle};
use super::response::HttpResponse;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The hosts and origins that are allowed beside the loopback names and the connection's own address.
pub struct HostOriginPolicy {
    any_host: bool,
    hosts: Vec<(HostName<String>, Option<u16>)>,
    any_origin: bool,
    origins: Vec<Origin<String>>,
    refusals: LogThrottle,
}

/// A host as it stands in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostName<T> {
    Address(IpAddr),
    Domain(T),
}

/// `scheme://host[:port]`, the port of the scheme where none stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<T> {
    https: bool,
    name: HostName<T>,
    port: u16,
}

impl HostName<&str> {
    fn matches(&self, allowed: &HostName<String>) -> bool {
        match (self, allowed) {
            (HostName::Address(a), HostName::Address(b)) => a == b,
            (HostName::Domain(a), HostName::Domain(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }

    fn is_loopback(&self) -> bool {
        match self {
            HostName::Address(address) => address.is_loopback(),
            HostName::Domain(domain) => domain.eq_ignore_ascii_case("localhost"),
        }
    }

    fn to_owned(self) -> HostName<String> {
        match self {
            HostName::Address(address) => HostName::Address(address),
            HostName::Domain(domain) => HostName::Domain(domain.to_ascii_lowercase()),
        }
    }
}

impl HostOriginPolicy {
    /// Reads the settings; see [`super::HttpConfig`] for their forms. Errors: `InvalidInput`, its text for the operator.
    pub fn new(allowed_hosts: &[String], allowed_origins: &[String]) -> io::Result<Self> {
        let wrong = |what, entry: &str, want| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {entry:?} can't be read; write {want}"))
        };
        let mut hosts = Vec::new();
        let mut origins = Vec::new();
        for entry in allowed_hosts.iter().map(|e| e.trim()).filter(|e| *e != "*") {
            let read = match entry.parse::<Ipv6Addr>() {
                Ok(address) => Some((HostName::Address(IpAddr::V6(address).to_canonical()), None)),
                Err(_) => parse_host(entry.strip_suffix(":*").unwrap_or(entry).as_bytes()),
            };
            let (name, port) = read.ok_or_else(|| wrong("allowed host", entry, "host, host:port, host:* or *"))?;
            hosts.push((name.to_owned(), port));
        }
        for entry in allowed_origins.iter().map(|e| e.trim()).filter(|e| *e != "*") {
            let origin = parse_origin(entry.strip_suffix('/').unwrap_or(entry).as_bytes());
            let origin =
                origin.ok_or_else(|| wrong("allowed origin", entry, "https://host, https://host:port or *"))?;
            origins.push(Origin { https: origin.https, name: origin.name.to_owned(), port: origin.port });
        }
        let any = |list: &[String]| list.iter().any(|entry| entry.trim() == "*");
        let (any_host, any_origin) = (any(allowed_hosts), any(allowed_origins));
        Ok(Self { any_host, hosts, any_origin, origins, refusals: LogThrottle::default() })
    }

    /// Checks a request that came over a connection between `local` and `peer`. `Err` is the answer: 400, 421 or 403.
    pub fn check<'a>(
        &self,
        host: &[u8],
        mut origins: impl Iterator<Item = &'a [u8]>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(), HttpResponse> {
        let Some((name, port)) = parse_host(host) else {
            return Err(HttpResponse::text(400, "the Host header is not host or host:port"));
        };
        if !self.allows_host(name, port, local) {
            self.refusals.warn(format_args!("refused Host {} from {peer}", EscapedBytes(host)));
            let name = str::from_utf8(host).unwrap_or_default();
            return Err(HttpResponse::text(
                421,
                format!(
                    "This server does not answer for the host {name}. \
                     To allow it, start the server with MCP_ALLOWED_HOSTS={name} or --allowed-hosts {name}"
                ),
            ));
        }
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if self.allows_origin(origin, local) => Ok(()),
            (Some(origin), _) => {
                self.refusals.warn(format_args!("refused Origin {} from {peer}", EscapedBytes(origin)));
                Err(HttpResponse::text(
                    403,
                    "Requests from this Origin are not allowed. \
                     To allow them, start the server with MCP_ALLOWED_ORIGINS=https://the.origin or --allowed-origins",
                ))
            }
        }
    }

    fn allows_host(&self, name: HostName<&str>, port: Option<u16>, local: SocketAddr) -> bool {
        self.any_host
            || name.is_loopback()
            || name == HostName::Address(local.ip().to_canonical())
            || self.hosts.iter().any(|(allowed, allowed_port)| {
                // Without a port stands the default one of http or of https: a proxy in front may speak either.
                name.matches(allowed)
                    && match (allowed_port, port) {
                        (None, _) => true,
                        (Some(wanted), Some(port)) => *wanted == port,
                        (Some(wanted), None) => matches!(wanted, 80 | 443),
                    }
            })
    }

    fn allows_origin(&self, origin: &[u8], local: SocketAddr) -> bool {
        let Some(origin) = parse_origin(origin) else { return self.any_origin && origin != b"null" };
        self.any_origin
            || origin.name.is_loopback()
            // What else runs at the address of this machine is not this server's page: its port must be ours.
            || (origin.name, origin.port) == (HostName::Address(local.ip().to_canonical()), local.port())
            || self.hosts.iter().any(|(name, port)| origin.name.matches(name) && port.is_none_or(|port| port == origin.port))
            || self.origins.iter().any(|allowed| {
                origin.name.matches(&allowed.name) && (origin.https, origin.port) == (allowed.https, allowed.port)
            })
    }
}

/// `host` or `host:port` (RFC 9110, 7.2), a trailing dot of the name left out.
fn parse_host(text: &[u8]) -> Option<(HostName<&str>, Option<u16>)> {
    let text = str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return Some((HostName::Address(IpAddr::V6(address).to_canonical()), parse_port(port)?));
    }
    let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        return None;
    }
    let name = name.parse().map_or(HostName::Domain(name), HostName::Address);
    Some((name, parse_port(port)?))
}

/// `Some(None)` for an empty text or a bare colon.
fn parse_port(text: &str) -> Option<Option<u16>> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(None),
        Some("") => Some(None),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

/// `http://host[:port]` or `https://host[:port]` (RFC 6454, 6.2); `null` and other schemes are none.
fn parse_origin(text: &[u8]) -> Option<Origin<&str>> {
    let (scheme, host) = text.split_at_checked(text.iter().position(|b| *b == b'/')?)?;
    let https = scheme.eq_ignore_ascii_case(b"https:");
    if !https && !scheme.eq_ignore_ascii_case(b"http:") {
        return None;
    }
    let (name, port) = parse_host(host.strip_prefix(b"//")?)?;
    Some(Origin { https, name, port: port.unwrap_or(if https { 443 } else { 80 }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "192.0.2.7:8000";

    fn status(hosts: &[&str], origins: &[&str], host: &str, origin: Option<&str>) -> u16 {
        let list = |entries: &[&str]| entries.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        let guard = HostOriginPolicy::new(&list(hosts), &list(origins)).unwrap();
        let peer = "192.0.2.9:1".parse().unwrap();
        let origin = origin.iter().map(|o| o.as_bytes());
        guard.check(host.as_bytes(), origin, LOCAL.parse().unwrap(), peer).map_or_else(|reply| reply.status, |()| 200)
    }

    #[test]
    fn loopback_names_and_the_own_address_are_hosts_with_any_port() {
        for host in [
            "localhost",
            "LocalHost:1",
            "localhost.:65535",
            "127.0.0.1",
            "127.9.8.7:80",
            "[::1]",
            "[::1]:8000",
            "[0:0::1]",
            "[::ffff:127.0.0.1]",
            "192.0.2.7:8000",
            "192.0.2.7",
            "[::ffff:192.0.2.7]:9",
            "localhost:",
        ] {
            assert_eq!(status(&[], &[], host, None), 200, "{host}");
        }
    }

    #[test]
    fn other_hosts_are_misdirected() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f.0.0.1",
            "192.0.2.8:8000",
            "[::2]",
            "0.0.0.0",
        ] {
            assert_eq!(status(&["other.example"], &[], host, None), 421, "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_a_bad_request() {
        for host in
            ["", ":80", "a b", "a@localhost", "localhost:x", "localhost:+1", "localhost:65536", "[::1", "::1", "ä"]
        {
            assert_eq!(status(&["*"], &[], host, None), 400, "{host}");
        }
    }

    #[test]
    fn an_allowed_host_is_taken_in_any_case_and_with_the_ports_it_names() {
        for (entry, host, expected) in [
            ("Pve.Example", "pve.example", 200),
            ("pve.example", "PVE.example.:8000", 200),
            ("pve.example:*", "pve.example:1", 200),
            ("pve.example:8000", "pve.example:8000", 200),
            ("pve.example:8000", "pve.example:8001", 421),
            ("pve.example:8000", "pve.example", 421),
            ("pve.example:443", "pve.example", 200),
            ("fe80::1", "[FE80::1]:8000", 200),
            ("[fe80::1]:8000", "[fe80::1]:1", 421),
            ("192.0.2.50", "192.0.2.50:9", 200),
            ("*", "anything.example:3", 200),
            ("pve.example", "x.pve.example", 421),
        ] {
            assert_eq!(status(&[entry], &[], host, None), expected, "{entry} {host}");
        }
    }

    #[test]
    fn an_origin_must_be_a_page_of_an_allowed_host() {
        for (origin, expected) in [
            ("http://localhost:5173", 200),
            ("https://LOCALHOST", 200),
            ("http://127.0.0.1:1", 200),
            ("http://[::1]:1", 200),
            ("http://192.0.2.7:8000", 200),
            ("http://192.0.2.7:3000", 403),
            ("https://pve.example:9", 200),
            ("https://one.example:443", 200),
            ("http://one.example", 403),
            ("https://app.example", 200),
            ("https://app.example:444", 403),
            ("http://app.example", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
            ("file://", 403),
            ("localhost", 403),
            ("ftp://localhost", 403),
            ("http:/localhost", 403),
            ("http://localhost/x", 403),
            ("http://localhost@evil.example", 403),
        ] {
            let found =
                status(&["pve.example", "one.example:443"], &["https://App.example"], "localhost", Some(origin));
            assert_eq!(found, expected, "{origin}");
        }
        assert_eq!(status(&[], &["*"], "localhost", Some("https://evil.example")), 200);
        assert_eq!(status(&[], &["*"], "localhost", Some("null")), 403);
    }

    #[test]
    fn two_origins_are_refused() {
        let guard = HostOriginPolicy::new(&[], &[]).unwrap();
        let two = [&b"http://localhost"[..], b"http://localhost"];
        let address = LOCAL.parse().unwrap();
        assert_eq!(guard.check(b"localhost", two.into_iter(), address, address).unwrap_err().status, 403);
    }

    #[test]
    fn a_refusal_names_the_setting_that_would_allow() {
        let guard = HostOriginPolicy::new(&[], &[]).unwrap();
        let address = LOCAL.parse().unwrap();
        let reply = guard.check(b"pve.lan:8000", std::iter::empty(), address, address).unwrap_err();
        assert!(str::from_utf8(reply.body()).unwrap().contains("MCP_ALLOWED_HOSTS=pve.lan:8000"));
        let origin = std::iter::once(&b"https://a.example"[..]);
        let reply = guard.check(b"localhost", origin, address, address).unwrap_err();
        assert!(str::from_utf8(reply.body()).unwrap().contains("MCP_ALLOWED_ORIGINS"));
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_named() {
        for (hosts, origins) in [
            (vec!["https://pve.example".into()], vec![]),
            (vec!["*.example".into()], vec![]),
            (vec![String::new()], vec![]),
            (vec!["pve.example:http".into()], vec![]),
            (vec![], vec!["pve.example".into()]),
            (vec![], vec!["null".into()]),
        ] {
            let e = HostOriginPolicy::new(&hosts, &origins).err().expect("refused");
            let entry: &String = hosts.iter().chain(&origins).next().unwrap();
            assert_eq!(e.kind(), io::ErrorKind::InvalidInput);
            assert!(e.to_string().contains(&format!("{entry:?}")), "{e}");
        }
    }
}
