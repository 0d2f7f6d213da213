//! Checks of the Host and Origin headers.
//!
//! A web page can make its own host name resolve to this machine (DNS rebinding) and then read this server's responses.
//! Such a request carries the page's host in `Host` and its origin in `Origin`. Both are checked before anything else
//! (MCP, Transports, security warning). A public route needs no Host: its response is the same for every caller.
//!
//! An IP literal cannot be rebound. It is allowed if it is the server's own address on the connection.

use super::cors::CorsOrigin;
use super::log_throttle::{EscapedBytes, LogThrottle};
use super::response::HttpResponse;
use crate::base::hint::{Hint, render_error};
use crate::metrics::RefusalReason;
use crate::sanitize::{NOT_SHOWN, looks_like_content};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// The hosts and origins that are allowed in addition to the loopback names and the connection's own address.
pub struct HostOriginPolicy {
    any_host: bool,
    hosts: Vec<HostPort<String>>,
    any_origin: bool,
    origins: Vec<Origin<String>>,
    warnings: LogThrottle,
}

/// Invalid entry of the allowed hosts or origins.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum AllowListError {
    #[error("invalid allowed host {0:?}: expected host, host:port, host:* or *")]
    Host(String),
    #[error("invalid allowed origin {0:?}: expected https://host, https://host:port, scheme://name of an app or *")]
    Origin(String),
}

/// Reason to reject a request for its Host or Origin header.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum HostOriginError {
    #[error("invalid Host header: expected host or host:port")]
    InvalidHost,
    #[error("host not allowed: this server does not answer for {0}")]
    HostNotAllowed(String),
    /// `None` for an origin that no setting can allow.
    #[error("origin not allowed: this server does not answer pages of {}", .0.as_deref().unwrap_or("this kind"))]
    OriginNotAllowed(Option<String>),
}

impl Hint for HostOriginError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::InvalidHost => None,
            Self::HostNotAllowed(host) => {
                Some(format!("start the server with MCP_ALLOWED_HOSTS={host} or --allowed-hosts {host}").into())
            }
            Self::OriginNotAllowed(Some(origin)) => {
                Some(format!("start the server with MCP_ALLOWED_ORIGINS={origin} or --allowed-origins {origin}").into())
            }
            Self::OriginNotAllowed(None) => {
                Some("open the page from a web server or an app with its own origin".into())
            }
        }
    }
}

impl HostOriginError {
    pub fn refusal_reason(&self) -> RefusalReason {
        match self {
            Self::InvalidHost | Self::HostNotAllowed(_) => RefusalReason::Host,
            Self::OriginNotAllowed(_) => RefusalReason::Origin,
        }
    }

    pub fn to_response(&self) -> HttpResponse {
        let status = match self {
            Self::InvalidHost => 400,
            Self::HostNotAllowed(_) => 421,
            Self::OriginNotAllowed(_) => 403,
        };
        HttpResponse::text(status, render_error(self))
    }
}

/// Kind of a host that a request may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// A loopback name or the connection's own address.
    Own,
    /// A name or address that only the operator's setting allows.
    Foreign,
}

/// Host of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostName<T> {
    Address(IpAddr),
    Domain(T),
}

struct HostPort<T> {
    name: HostName<T>,
    port: Option<u16>,
}

/// `scheme://host[:port]`. The port of http and https is the default one if none is given. Other schemes have the whole
/// text after `//` as their name, and the port 0.
struct Origin<T> {
    scheme: T,
    name: HostName<T>,
    port: u16,
}

impl Origin<&str> {
    fn is_web(&self) -> bool {
        default_port(self.scheme).is_some()
    }
}

impl<T: AsRef<str>> HostName<T> {
    fn is_loopback(&self) -> bool {
        match self {
            HostName::Address(address) => address.is_loopback(),
            HostName::Domain(domain) => domain.as_ref().eq_ignore_ascii_case("localhost"),
        }
    }
}

impl HostName<&str> {
    fn matches(&self, allowed: &HostName<String>) -> bool {
        match (self, allowed) {
            (HostName::Address(a), HostName::Address(b)) => a == b,
            (HostName::Domain(a), HostName::Domain(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
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
    /// Parses the settings. [`super::HttpConfig`] documents their forms.
    pub fn new(allowed_hosts: &[String], allowed_origins: &[String]) -> Result<Self, AllowListError> {
        let mut hosts = Vec::new();
        let mut origins = Vec::new();
        for entry in allowed_hosts.iter().map(|entry| entry.trim()).filter(|entry| *entry != "*") {
            let host = match entry.parse::<Ipv6Addr>() {
                Ok(address) => {
                    Some(HostPort { name: HostName::Address(IpAddr::V6(address).to_canonical()), port: None })
                }
                Err(_) => parse_host(entry.strip_suffix(":*").unwrap_or(entry).as_bytes()),
            };
            let HostPort { name, port } = host.ok_or_else(|| AllowListError::Host(printable_entry(entry)))?;
            hosts.push(HostPort { name: name.to_owned(), port });
        }
        for entry in allowed_origins.iter().map(|entry| entry.trim()).filter(|entry| *entry != "*") {
            let origin =
                parse_origin(entry.strip_suffix('/').filter(|rest| !rest.ends_with('/')).unwrap_or(entry).as_bytes());
            let Origin { scheme, name, port } = origin.ok_or_else(|| AllowListError::Origin(printable_entry(entry)))?;
            origins.push(Origin { scheme: scheme.to_owned(), name: name.to_owned(), port });
        }
        let any = |list: &[String]| list.iter().any(|entry| entry.trim() == "*");
        let (any_host, any_origin) = (any(allowed_hosts), any(allowed_origins));
        Ok(Self { any_host, hosts, any_origin, origins, warnings: LogThrottle::default() })
    }

    /// Checks the Host header of a request that arrived on a connection between `local` and `peer`.
    pub fn check_host(
        &self,
        header: Option<&[u8]>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<HostKind, HostOriginError> {
        let header = header.ok_or(HostOriginError::InvalidHost)?;
        let host = parse_host(header).ok_or(HostOriginError::InvalidHost)?;
        if is_own_host(&host, local) {
            return Ok(HostKind::Own);
        }
        if self.allows_host(&host) {
            return Ok(HostKind::Foreign);
        }
        self.warnings.warn(format_args!("refused Host {} from {peer}", EscapedBytes(header)));
        Err(HostOriginError::HostNotAllowed(String::from_utf8_lossy(header).into_owned()))
    }

    /// Checks the Origin headers of a request that arrived on a connection between `local` and `peer`.
    pub fn check_origin<'a>(
        &self,
        mut origins: impl Iterator<Item = &'a [u8]>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(), HostOriginError> {
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if self.allows_origin(origin, local) => Ok(()),
            (Some(origin), second) => {
                self.warnings.warn(format_args!("refused Origin {} from {peer}", EscapedBytes(origin)));
                let is_known = second.is_none() && parse_origin(origin).is_some();
                Err(HostOriginError::OriginNotAllowed(is_known.then(|| String::from_utf8_lossy(origin).into_owned())))
            }
        }
    }

    /// Returns the origin of a request if it is a single one and the operator listed it. Origins that are allowed for
    /// another reason are not: their pages may send requests, but not read responses. `any` tells whether `*` lists all
    /// origins. Without tokens it must not: each page that a browser opens could use the server.
    pub fn find_listed_origin<'a>(&self, mut origins: impl Iterator<Item = &'a [u8]>, any: bool) -> Option<CorsOrigin> {
        let text = origins.next().filter(|_| origins.next().is_none())?;
        let origin = parse_origin(text)?;
        let is_listed = any && self.any_origin || self.names_origin(&origin);
        // A parsed origin has no character that could end the header of the response.
        is_listed.then(|| CorsOrigin::new(str::from_utf8(text).expect("a parsed origin is ASCII")))
    }

    /// Returns true if the settings allow a name or address that is not this machine's loopback.
    pub fn allows_foreign_hosts(&self) -> bool {
        self.any_host || self.hosts.iter().any(|host| !host.name.is_loopback())
    }

    fn allows_host(&self, host: &HostPort<&str>) -> bool {
        self.any_host
            || self.hosts.iter().any(|allowed| {
                // A host without a port means the default one of http or of https: a proxy may speak either.
                host.name.matches(&allowed.name)
                    && match (allowed.port, host.port) {
                        (None, _) => true,
                        (Some(allowed), Some(port)) => allowed == port,
                        (Some(allowed), None) => matches!(allowed, 80 | 443),
                    }
            })
    }

    fn allows_origin(&self, origin: &[u8], local: SocketAddr) -> bool {
        let Some(origin) = parse_origin(origin) else { return false };
        self.any_origin
            || self.names_origin(&origin)
            || origin.is_web() && {
                origin.name.is_loopback()
                    // Other servers at this address have other ports, and their pages are not this server's.
                    || (origin.name, origin.port) == (HostName::Address(local.ip().to_canonical()), local.port())
                    || self.hosts.iter().any(|allowed| {
                        origin.name.matches(&allowed.name) && allowed.port.is_none_or(|port| port == origin.port)
                    })
            }
    }

    fn names_origin(&self, origin: &Origin<&str>) -> bool {
        self.origins.iter().any(|allowed| {
            origin.scheme.eq_ignore_ascii_case(&allowed.scheme)
                && origin.name.matches(&allowed.name)
                && origin.port == allowed.port
        })
    }

    /// Returns true if the settings allow every origin.
    pub fn allows_any_origin(&self) -> bool {
        self.any_origin
    }
}

/// Returns an invalid entry of a setting for an error. The contents of a file in the wrong variable are not shown.
fn printable_entry(entry: &str) -> String {
    if looks_like_content(entry.replace("://", "").as_bytes()) { NOT_SHOWN.into() } else { entry.to_owned() }
}

fn is_own_host(host: &HostPort<&str>, local: SocketAddr) -> bool {
    host.name.is_loopback() || host.name == HostName::Address(local.ip().to_canonical())
}

/// Parses `host` or `host:port` (RFC 9110, 7.2), and removes a trailing dot of the name and the zone of an address.
fn parse_host(text: &[u8]) -> Option<HostPort<&str>> {
    let text = str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = strip_zone(address)?.parse().ok()?;
        return Some(HostPort { name: HostName::Address(IpAddr::V6(address).to_canonical()), port: parse_port(port)? });
    }
    let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        return None;
    }
    let name = name.parse().map_or(HostName::Domain(name), HostName::Address);
    Some(HostPort { name, port: parse_port(port)? })
}

/// Removes the zone of a link-local address (RFC 6874), `%eth0` or `%25eth0`, which has a meaning for its sender only.
fn strip_zone(address: &str) -> Option<&str> {
    let is_zone =
        |zone: &str| !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    match address.split_once('%') {
        None => Some(address),
        Some((address, zone)) => is_zone(zone).then_some(address),
    }
}

/// Parses `:port`. An empty text and a bare colon are `Some(None)`.
fn parse_port(text: &str) -> Option<Option<u16>> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(None),
        Some("") => Some(None),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

/// Parses an origin (RFC 6454, 6.2) of any scheme: `https://host[:port]`, and `app://name`, `vscode-file://name` or `file://`
/// of apps. Returns `None` for `null`, the origin of pages that have none.
fn parse_origin(text: &[u8]) -> Option<Origin<&str>> {
    let (scheme, authority) = str::from_utf8(text).ok()?.split_once("://")?;
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(is_scheme) {
        return None;
    }
    if let Some(default) = default_port(scheme) {
        let HostPort { name, port } = parse_host(authority.as_bytes())?;
        return Some(Origin { scheme, name, port: port.unwrap_or(default) });
    }
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b);
    authority.bytes().all(is_name).then_some(Origin { scheme, name: HostName::Domain(authority), port: 0 })
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") {
        return Some(443);
    }
    scheme.eq_ignore_ascii_case("http").then_some(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "192.0.2.7:8000";

    fn status(hosts: &[&str], origins: &[&str], host: &str, origin: Option<&str>) -> u16 {
        let list = |entries: &[&str]| entries.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        let policy = HostOriginPolicy::new(&list(hosts), &list(origins)).unwrap();
        let peer = "192.0.2.9:1".parse().unwrap();
        let origin = origin.iter().map(|o| o.as_bytes());
        let local = LOCAL.parse().unwrap();
        let result = policy.check_host(Some(host.as_bytes()), local, peer);
        let result = result.and_then(|_| policy.check_origin(origin, local, peer));
        result.map_or_else(|error| error.to_response().status, |()| 200)
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
    fn an_address_is_a_host_if_it_is_the_connections_own() {
        let policy = HostOriginPolicy::new(&[], &[]).unwrap();
        for (local, host, expected) in [
            ("192.0.2.7:8000", "192.0.2.7:8000", true),
            ("192.0.2.7:8000", "192.0.2.7", true),
            ("192.0.2.7:8000", "192.0.2.7:443", true),
            ("192.0.2.7:8000", "[::ffff:192.0.2.7]:8000", true),
            ("[::ffff:192.0.2.7]:8000", "192.0.2.7:8000", true),
            ("[::ffff:192.0.2.7]:8000", "[::ffff:c000:207]:8000", true),
            ("192.0.2.7:8000", "192.0.2.8:8000", false),
            ("192.0.2.7:8000", "[2001:db8::7]:8000", false),
            ("[2001:db8::7]:8000", "[2001:db8::7]:8000", true),
            ("[2001:db8::7]:8000", "[2001:DB8:0::7]", true),
            ("[2001:db8::7]:8000", "[2001:db8::8]:8000", false),
            ("[2001:db8::7]:8000", "192.0.2.7:8000", false),
            ("[fe80::7]:8000", "[fe80::7]:8000", true),
            ("[fe80::7]:8000", "[fe80::7%eth0]:8000", true),
            ("[fe80::7]:8000", "[fe80::7%25eth0]:8000", true),
            ("[fe80::7]:8000", "[fe80::8%eth0]:8000", false),
            ("127.0.0.1:8000", "192.0.2.7:8000", false),
            ("127.0.0.1:8000", "0.0.0.0:8000", false),
            ("127.0.0.1:8000", "[::]:8000", false),
        ] {
            let local = local.parse().unwrap();
            let result = policy.check_host(Some(host.as_bytes()), local, local);
            let expected = if expected { Ok(HostKind::Own) } else { Err(HostOriginError::HostNotAllowed(host.into())) };
            assert_eq!(result, expected, "{local} {host}");
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
        for host in [
            "",
            ":80",
            "a b",
            "a@localhost",
            "localhost:x",
            "localhost:+1",
            "localhost:65536",
            "[::1",
            "::1",
            "[::1%]",
            "ä",
        ] {
            assert_eq!(status(&["*"], &[], host, None), 400, "{host}");
        }
        let (policy, address) = (HostOriginPolicy::new(&["*".into()], &[]).unwrap(), LOCAL.parse().unwrap());
        assert_eq!(policy.check_host(None, address, address), Err(HostOriginError::InvalidHost));
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
            ("app://localhost", 403),
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
    fn a_host_that_only_a_setting_allows_is_foreign() {
        for (entry, host, expected, any_foreign) in [
            ("*", "pve.example", HostKind::Foreign, true),
            ("*", "localhost:1", HostKind::Own, true),
            ("pve.example", "pve.example:1", HostKind::Foreign, true),
            ("192.0.2.8", "192.0.2.8", HostKind::Foreign, true),
            ("192.0.2.7", "192.0.2.7", HostKind::Own, true),
            ("localhost", "localhost", HostKind::Own, false),
            ("127.0.0.1:8000", "127.0.0.1:8000", HostKind::Own, false),
        ] {
            let policy = HostOriginPolicy::new(&[entry.into()], &[]).unwrap();
            let address = LOCAL.parse().unwrap();
            assert_eq!(policy.check_host(Some(host.as_bytes()), address, address), Ok(expected), "{entry} {host}");
            assert_eq!(policy.allows_foreign_hosts(), any_foreign, "{entry}");
        }
    }

    #[test]
    fn two_origins_are_refused() {
        let policy = HostOriginPolicy::new(&[], &[]).unwrap();
        let two = [&b"http://localhost"[..], b"http://localhost"];
        let address = LOCAL.parse().unwrap();
        let result = policy.check_origin(two.into_iter(), address, address);
        assert_eq!(result, Err(HostOriginError::OriginNotAllowed(None)));
        let listed = HostOriginPolicy::new(&[], &["*".into()]).unwrap().find_listed_origin(two.into_iter(), true);
        assert!(listed.is_none());
    }

    #[test]
    fn a_refusal_names_the_setting_that_would_allow() {
        let policy = HostOriginPolicy::new(&[], &[]).unwrap();
        let address = LOCAL.parse().unwrap();
        let error = policy.check_host(Some(b"pve.lan:8000"), address, address).unwrap_err();
        let response = error.to_response();
        assert!(str::from_utf8(response.body()).unwrap().contains("MCP_ALLOWED_HOSTS=pve.lan:8000"));
        let origin = std::iter::once(&b"https://a.example"[..]);
        let response = policy.check_origin(origin, address, address).unwrap_err().to_response();
        assert!(str::from_utf8(response.body()).unwrap().contains("MCP_ALLOWED_ORIGINS=https://a.example "));
        let origin = std::iter::once(&b"null"[..]);
        let response = policy.check_origin(origin, address, address).unwrap_err().to_response();
        assert!(!str::from_utf8(response.body()).unwrap().contains("MCP_ALLOWED_ORIGINS"), "advice that cannot help");
    }

    #[test]
    fn only_a_listed_origin_is_found_for_cors() {
        let list =
            ["https://App.example", "app://obsidian.md", "tauri://localhost", "vscode-file://vscode-app", "file://"];
        let listed = |entries: &[&str], origin: &str| {
            let entries: Vec<_> = entries.iter().map(|e| e.to_string()).collect();
            let policy = HostOriginPolicy::new(&["pve.example".into()], &entries).unwrap();
            let found = policy.find_listed_origin([origin.as_bytes()].into_iter(), true);
            let found = found.map(|origin| origin.headers()[0].1.clone().into_owned());
            assert!(found.is_none() || found.as_deref() == Some(origin), "the exact origin");
            let checked =
                policy.check_origin([origin.as_bytes()].into_iter(), LOCAL.parse().unwrap(), LOCAL.parse().unwrap());
            assert!(found.is_none() || checked.is_ok(), "a listed origin is allowed");
            found.is_some()
        };
        for (origin, expected) in [
            ("https://app.example", true),
            ("https://APP.example:443", true),
            ("https://app.example:444", false),
            ("http://app.example", false),
            ("app://obsidian.md", true),
            ("APP://Obsidian.md", true),
            ("app://other.md", false),
            ("tauri://localhost", true),
            ("capacitor://localhost", false),
            ("vscode-file://vscode-app", true),
            ("file://", true),
            ("http://localhost:5173", false),
            ("https://pve.example", false),
            ("http://192.0.2.7:8000", false),
            ("null", false),
            ("", false),
            ("app://a/b", false),
            ("app://a\tb", false),
            ("app://a@b", false),
            ("app:obsidian.md", false),
        ] {
            assert_eq!(listed(&list, origin), expected, "{origin}");
            assert!(!listed(&[], origin), "{origin}");
        }
        for (origin, expected) in [("https://evil.example", true), ("moz-extension://a-b", true), ("null", false)] {
            assert_eq!(listed(&["*"], origin), expected, "{origin}");
        }
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
            let error = HostOriginPolicy::new(&hosts, &origins).err().expect("an error").to_string();
            let entry: &String = hosts.iter().chain(&origins).next().unwrap();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
    }
}
