//! What is served where: one table. A route is a line here and a function where its subject is.

use super::Front;
use super::admission::Permit;
use super::budget::Reserved;
use super::channel::Channel;
use super::head::Head;
use super::reply::Reply;
use super::session::Session;
use super::{probes, sse, streamable};
use crate::mcp::context::Caller;
use std::sync::Arc;
use tiny_http::Method;

/// One thing the server does.
pub struct Route {
    /// The one method; a path with two of them has two lines.
    pub method: Method,
    /// The whole path: nothing is decoded, no slash is added or taken away.
    pub path: &'static str,
    /// Whether anybody may ask, without a client's token.
    pub open: bool,
    /// Where it is served.
    on: &'static [Port],
    /// Runs on the connection's own thread, once the guard has let the request through and its body is read.
    pub run: fn(&Arc<Front>, &mut Request<'_>) -> Answer,
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Clients.
    Calls,
    /// Clients, and who counts what they do.
    All,
    /// Those who watch the server.
    Watch,
}

const CALLS: &[Port] = &[Port::Calls, Port::All];
const METRICS: &[Port] = &[Port::All, Port::Watch];
const EVERY: &[Port] = &[Port::Calls, Port::All, Port::Watch];

static ROUTES: [Route; 6] = [
    Route { method: Method::Post, path: "/mcp", open: false, on: CALLS, run: streamable::post },
    Route { method: Method::Get, path: "/sse", open: false, on: CALLS, run: sse::open },
    Route { method: Method::Post, path: "/messages", open: false, on: CALLS, run: sse::post },
    Route { method: Method::Get, path: "/healthz", open: true, on: EVERY, run: |_, _| Reply::text(200, "ok").into() },
    Route { method: Method::Get, path: "/readyz", open: false, on: EVERY, run: probes::ready },
    Route { method: Method::Get, path: "/metrics", open: false, on: METRICS, run: probes::metrics },
];

/// Their paths, in the same order: what requests are counted by.
pub static PATHS: [&str; ROUTES.len()] = {
    let mut paths = [""; ROUTES.len()];
    let mut at = 0;
    while at < ROUTES.len() {
        paths[at] = ROUTES[at].path;
        at += 1;
    }
    paths
};

/// The number of a path that is served, any other number where it is not.
pub fn number(path: &str) -> usize {
    PATHS.iter().position(|known| *known == path).unwrap_or(usize::MAX)
}

/// One request, as its route sees it.
pub struct Request<'a> {
    /// The connection it came over.
    pub stream: &'a Arc<Channel>,
    /// Whose it is.
    pub caller: Caller,
    /// The connection's right to be open.
    pub permit: &'a Permit,
    /// The body; may be taken, and then so must be what is reserved for it.
    pub body: &'a mut Vec<u8>,
    /// The memory that the body takes, if that is much.
    pub reserved: Option<Reserved>,
    /// Its head.
    pub head: &'a Head,
    /// The bytes that `head` was read from.
    pub bytes: &'a [u8],
}

/// What becomes of a request.
pub enum Answer {
    /// It is answered.
    Reply(Reply),
    /// Its connection is an event stream from here on; the head and the first event are sent.
    Stream(Arc<Session>),
    /// Everything is sent, and the end of the connection is the end of the answer.
    Done,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl<'a> Request<'a> {
    /// The value of the query's parameter `name`, as it stands.
    pub fn query(&self, name: &str) -> Option<&'a str> {
        self.head.query(self.bytes, name)
    }

    /// The values of a header, as often as it stands.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.head.values(self.bytes, name)
    }

    /// The value of a header that stands exactly once.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.head.values(self.bytes, name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether the body is said to be JSON: `application/json` in any case, with or without parameters.
    pub fn is_json(&self) -> bool {
        let essence = self.header("content-type").and_then(|value| value.split(|b| *b == b';').next());
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
    }
}

impl Route {
    /// What watches the server may ask with HEAD too (RFC 9110, 9.3.2), as some health checks do; a stream has no such
    /// answer.
    fn takes_head(&self) -> bool {
        self.on.contains(&Port::Watch)
    }
}

fn of(port: Port, path: &str) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.path == path && route.on.contains(&port))
}

/// Whether a path is served to clients alone. What is not served at all says so to anybody: a client that meets a 401
/// looks for the paths of OAuth, and must find that there are none.
pub fn asks_for_token(port: Port, path: &str) -> bool {
    of(port, path).any(|route| !route.open)
}

/// The route of a request. `Err` is the answer: 404, plain, for OAuth discovery probes more than anyone; or 405.
pub fn find(port: Port, method: &Method, path: &str) -> Result<&'static Route, Reply> {
    let is_meant = |route: &&Route| route.method == *method || *method == Method::Head && route.takes_head();
    if let Some(route) = of(port, path).find(is_meant) {
        return Ok(route);
    }
    let mut allowed = Vec::new();
    for route in of(port, path) {
        allowed.push(route.method.as_str());
        allowed.extend(route.takes_head().then_some("HEAD"));
    }
    if allowed.is_empty() {
        return Err(nothing(port));
    }
    Err(Reply::text(405, "This path has no such method; the Allow header names those it has")
        .with("Allow", allowed.join(", ")))
}

/// The answer where nothing is served.
pub fn nothing(port: Port) -> Reply {
    Reply::text(
        404,
        match port {
            Port::Watch => "Nothing is served here. This port has /metrics, /readyz and /healthz",
            _ => "Nothing is served here. MCP is at POST /mcp, or over SSE at GET /sse",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_path_with_another_method_is_405_and_any_other_path_404() {
        let port = Port::All;
        for method in [Method::Get, Method::Head] {
            assert_eq!(find(port, &method, "/healthz").ok().map(|route| route.path), Some("/healthz"));
        }
        for (method, path, status, allow) in [
            (Method::Post, "/healthz", 405, "Allow: GET, HEAD\r\n"),
            (Method::Post, "/sse", 405, "Allow: GET\r\n"),
            (Method::Head, "/sse", 405, "Allow: GET\r\n"),
            (Method::Get, "/messages", 405, "Allow: POST\r\n"),
            (Method::Options, "/messages", 405, "Allow: POST\r\n"),
            (Method::Post, "/register", 404, ""),
            (Method::Get, "/.well-known/oauth-protected-resource", 404, ""),
            (Method::Get, "/sse/", 404, ""),
            (Method::Get, "/%73se", 404, ""),
            (Method::Get, "/", 404, ""),
        ] {
            let reply = find(port, &method, path).err().expect(path);
            let mut head = Vec::new();
            reply.write_head(&mut head).unwrap();
            assert_eq!(reply.status, status, "{method} {path}");
            assert!(String::from_utf8(head).unwrap().contains(allow), "{method} {path}");
        }
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_where_health_is_told_or_nothing_is() {
        for (port, path, asks) in [
            (Port::All, "/mcp", true),
            (Port::All, "/sse", true),
            (Port::All, "/messages", true),
            (Port::All, "/metrics", true),
            (Port::All, "/healthz", false),
            (Port::All, "/.well-known/x", false),
            (Port::Calls, "/mcp", true),
            (Port::Calls, "/readyz", true),
            (Port::Calls, "/metrics", false),
            (Port::Watch, "/metrics", true),
            (Port::Watch, "/readyz", true),
            (Port::Watch, "/healthz", false),
            (Port::Watch, "/mcp", false),
        ] {
            assert_eq!(asks_for_token(port, path), asks, "{port:?} {path}");
        }
    }

    #[test]
    fn a_port_serves_what_it_is_for() {
        for (port, paths) in [
            (Port::Calls, &["/mcp", "/sse", "/messages", "/healthz", "/readyz"][..]),
            (Port::Watch, &["/healthz", "/readyz", "/metrics"]),
            (Port::All, &PATHS),
        ] {
            let served: Vec<_> = PATHS.into_iter().filter(|path| of(port, path).next().is_some()).collect();
            assert_eq!(served, paths, "{port:?}");
        }
    }

    #[test]
    fn no_route_stands_twice() {
        for (i, a) in ROUTES.iter().enumerate() {
            assert!(a.path.starts_with('/'));
            assert!(!ROUTES[..i].iter().any(|b| (&a.method, a.path) == (&b.method, b.path)), "{}", a.path);
        }
    }
}
