//! Signs that a proxy handled a request.
//!
//! The connection of such a request is local, and its sender may be any machine that reaches the proxy. So loopback is
//! no protection for it. A proxy that adds nothing to a request and speaks HTTP/1.1 leaves no sign.

use super::guard::HostKind;
use super::head::RequestHead;
use std::fmt;

/// Headers that proxies, tunnels and content delivery networks add. A name that ends with `-` is a prefix.
const HEADERS: [&str; 28] = [
    "Forwarded",
    "Forwarded-For",
    "X-Forwarded",
    "X-Forwarded-",
    "X-Original-",
    "X-Real-",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-ProxyUser-IP",
    "X-Proxy-",
    "X-Scheme",
    "X-Envoy-",
    "X-ARR-",
    "X-Azure-",
    "X-Amz-Cf-",
    "X-Amzn-Trace-Id",
    "X-Cloud-Trace-Context",
    "X-AppEngine-",
    "X-Vercel-",
    "Via",
    "CDN-Loop",
    "CF-",
    "Client-IP",
    "True-Client-IP",
    "Fastly-",
    "Fly-",
    "Tailscale-",
    "Ngrok-",
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
        let known = head.header_names(bytes).find_map(|name| HEADERS.into_iter().find(|known| matches(known, name)));
        known.map(Self::Header).or(head.http_1_0.then_some(Self::OldVersion))
    }
}

fn matches(known: &str, name: &[u8]) -> bool {
    let compared = if known.ends_with('-') { name.get(..known.len()) } else { Some(name) };
    compared.is_some_and(|compared| compared.eq_ignore_ascii_case(known.as_bytes()))
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
            let found = HEADERS.into_iter().find(|known| matches(known, name.as_bytes()));
            assert_eq!(found, expected, "{name}");
        }
    }
}
