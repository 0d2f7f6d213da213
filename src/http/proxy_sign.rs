//! Signs that a proxy handled a request.
//!
//! The connection of such a request is local, and its sender may be any machine that reaches the proxy. So loopback is
//! no protection for it. A proxy that adds nothing to a request and speaks HTTP/1.1 leaves no sign.

use super::guard::HostKind;
use super::head::RequestHead;
use std::fmt;

/// Headers that proxies, tunnels and content delivery networks add, by their first letter: every request is compared with
/// them. A name that ends with `-` is a prefix.
const HEADERS: [&[&str]; 6] = [
    &["CDN-Loop", "CF-", "Client-IP"],
    &["Fastly-", "Fly-", "Forwarded", "Forwarded-For"],
    &["Ngrok-"],
    &["Tailscale-", "True-Client-IP"],
    &["Via"],
    &[
        "X-Amz-Cf-",
        "X-Amzn-Trace-Id",
        "X-AppEngine-",
        "X-ARR-",
        "X-Azure-",
        "X-Client-IP",
        "X-Cloud-Trace-Context",
        "X-Cluster-Client-IP",
        "X-Envoy-",
        "X-Forwarded",
        "X-Forwarded-",
        "X-Original-",
        "X-Proxy-",
        "X-ProxyUser-IP",
        "X-Real-",
        "X-Scheme",
        "X-Vercel-",
    ],
];

/// A sign that a proxy handled a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySign {
    /// The name or prefix of a header that only proxies add.
    Header(&'static str),
    /// HTTP/1.0, which reverse proxies such as nginx speak by default and no MCP client does.
    OldVersion,
    /// A name or address in `Host` that is not this machine's.
    ForeignHost,
}

impl ProxySign {
    /// Returns the first sign in a request whose bytes are `bytes`.
    pub fn find(head: &RequestHead, bytes: &[u8], host: HostKind) -> Option<Self> {
        if host == HostKind::Foreign {
            return Some(Self::ForeignHost);
        }
        let known = head.header_names(bytes).find_map(find_header);
        known.map(Self::Header).or(head.http_1_0.then_some(Self::OldVersion))
    }
}

/// Returns the known header of a name.
fn find_header(name: &[u8]) -> Option<&'static str> {
    let first = name.first()?;
    let names = HEADERS.iter().find(|names| names[0].as_bytes()[0].eq_ignore_ascii_case(first))?;
    let is_known = |known: &&&str| {
        let compared = if known.ends_with('-') { name.get(..known.len()) } else { Some(name) };
        compared.is_some_and(|compared| compared.eq_ignore_ascii_case(known.as_bytes()))
    };
    names.iter().find(is_known).copied()
}

impl fmt::Display for ProxySign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) if name.ends_with('-') => write!(f, "it has a header {name}*"),
            Self::Header(name) => write!(f, "it has the header {name}"),
            Self::OldVersion => f.write_str("it is HTTP/1.0"),
            Self::ForeignHost => f.write_str("its Host is not an address of this machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_is_among_those_with_its_first_letter() {
        let letters = HEADERS.map(|names| names[0].as_bytes()[0]);
        assert!(letters.is_sorted_by(|a, b| a < b), "one list for a letter: {letters:?}");
        for (names, letter) in HEADERS.iter().zip(letters) {
            names.iter().for_each(|name| assert_eq!(name.as_bytes()[0], letter, "{name}"));
        }
    }

    #[test]
    fn a_header_is_known_in_any_case_and_a_prefix_with_any_end() {
        for (name, expected) in [
            ("forwarded", Some("Forwarded")),
            ("X-FORWARDED-FOR", Some("X-Forwarded-")),
            ("x-forwarded-host", Some("X-Forwarded-")),
            ("X-Real-IP", Some("X-Real-")),
            ("via", Some("Via")),
            ("CF-Ray", Some("CF-")),
            ("cf-connecting-ip", Some("CF-")),
            ("True-Client-IP", Some("True-Client-IP")),
            ("tailscale-user-login", Some("Tailscale-")),
            ("viable", None),
            ("cf", None),
            ("x-forward", None),
            ("mcp-name", None),
            ("user-agent", None),
            ("traceparent", None),
        ] {
            assert_eq!(find_header(name.as_bytes()), expected, "{name}");
        }
    }
}
