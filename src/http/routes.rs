//! What is served where: one table. A route is a line here and a function where its subject is.

use super::HttpState;
use super::admission::ConnectionPermit;
use super::client_stream::ClientStream;
use super::head::RequestHead;
use super::memory_budget::MemoryReservation;
use super::response::HttpResponse;
use super::sse_session::SseSession;
use super::{health, sse, streamable};
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
    pub public: bool,
    /// Where it is served.
    roles: &'static [ListenerRole],
    /// Runs on the connection's own thread, once the guard has let the request through and its body is read.
    pub handler: fn(&Arc<HttpState>, &mut HttpRequest<'_>) -> RouteOutcome,
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// Clients.
    Mcp,
    /// Clients, and who counts what they do.
    McpAndMetrics,
    /// Those who watch the server.
    Metrics,
}

const MCP_ROLES: &[ListenerRole] = &[ListenerRole::Mcp, ListenerRole::McpAndMetrics];
const METRICS_ROLES: &[ListenerRole] = &[ListenerRole::McpAndMetrics, ListenerRole::Metrics];
const ALL_ROLES: &[ListenerRole] = &[ListenerRole::Mcp, ListenerRole::McpAndMetrics, ListenerRole::Metrics];

static ROUTES: [Route; 6] = [
    Route { method: Method::Post, path: "/mcp", public: false, roles: MCP_ROLES, handler: streamable::handle_post },
    Route { method: Method::Get, path: "/sse", public: false, roles: MCP_ROLES, handler: sse::open_session },
    Route { method: Method::Post, path: "/messages", public: false, roles: MCP_ROLES, handler: sse::handle_post },
    Route {
        method: Method::Get,
        path: "/healthz",
        public: true,
        roles: ALL_ROLES,
        handler: |_, _| HttpResponse::text(200, "ok").into(),
    },
    Route { method: Method::Get, path: "/readyz", public: false, roles: ALL_ROLES, handler: health::handle_readyz },
    Route {
        method: Method::Get,
        path: "/metrics",
        public: false,
        roles: METRICS_ROLES,
        handler: health::handle_metrics,
    },
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
pub fn route_index(path: &str) -> usize {
    PATHS.iter().position(|known| *known == path).unwrap_or(usize::MAX)
}

/// One request, as its route sees it.
pub struct HttpRequest<'a> {
    /// The connection it came over.
    pub stream: &'a Arc<ClientStream>,
    /// Whose it is.
    pub caller: Caller,
    /// The connection's right to be open.
    pub permit: &'a ConnectionPermit,
    /// The body; may be taken, and then so must be what is reserved for it.
    pub body: &'a mut Vec<u8>,
    /// The memory that the body takes, if that is much.
    pub reservation: Option<MemoryReservation>,
    /// Its head.
    pub head: &'a RequestHead,
    /// The bytes that `head` was read from.
    pub bytes: &'a [u8],
}

/// What becomes of a request.
pub enum RouteOutcome {
    /// It is answered.
    Response(HttpResponse),
    /// Its connection is an event stream from here on; the head and the first event are sent.
    Session(Arc<SseSession>),
    /// Everything is sent, and the end of the connection is the end of the answer.
    Sent,
}

impl From<HttpResponse> for RouteOutcome {
    fn from(reply: HttpResponse) -> Self {
        Self::Response(reply)
    }
}

impl<'a> HttpRequest<'a> {
    /// The value of the query's parameter `name`, as it stands.
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        self.head.query_value(self.bytes, name)
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
    pub fn has_json_body(&self) -> bool {
        let essence = self.header("content-type").and_then(|value| value.split(|b| *b == b';').next());
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
    }
}

impl Route {
    /// What watches the server may ask with HEAD too (RFC 9110, 9.3.2), as some health checks do; a stream has no such
    /// answer.
    fn allows_head(&self) -> bool {
        self.roles.contains(&ListenerRole::Metrics)
    }
}

fn routes_at(role: ListenerRole, path: &str) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.path == path && route.roles.contains(&role))
}

/// Whether a path is served to clients alone. What is not served at all says so to anybody: a client that meets a 401
/// looks for the paths of OAuth, and must find that there are none.
pub fn requires_token(role: ListenerRole, path: &str) -> bool {
    routes_at(role, path).any(|route| !route.public)
}

/// The route of a request. `Err` is the answer: 404, plain, for OAuth discovery probes more than anyone; or 405.
pub fn find_route(role: ListenerRole, method: &Method, path: &str) -> Result<&'static Route, HttpResponse> {
    let is_meant = |route: &&Route| route.method == *method || *method == Method::Head && route.allows_head();
    if let Some(route) = routes_at(role, path).find(is_meant) {
        return Ok(route);
    }
    let mut allowed = Vec::new();
    for route in routes_at(role, path) {
        allowed.push(route.method.as_str());
        allowed.extend(route.allows_head().then_some("HEAD"));
    }
    if allowed.is_empty() {
        return Err(not_found(role));
    }
    Err(HttpResponse::text(405, "This path has no such method; the Allow header names those it has")
        .with_header("Allow", allowed.join(", ")))
}

/// The answer where nothing is served.
pub fn not_found(role: ListenerRole) -> HttpResponse {
    HttpResponse::text(
        404,
        match role {
            ListenerRole::Metrics => "Nothing is served here. This port has /metrics, /readyz and /healthz",
            _ => "Nothing is served here. MCP is at POST /mcp, or over SSE at GET /sse",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_path_with_another_method_is_405_and_any_other_path_404() {
        let port = ListenerRole::McpAndMetrics;
        for method in [Method::Get, Method::Head] {
            assert_eq!(find_route(port, &method, "/healthz").ok().map(|route| route.path), Some("/healthz"));
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
            let reply = find_route(port, &method, path).err().expect(path);
            let mut head = Vec::new();
            reply.write_head(&mut head).unwrap();
            assert_eq!(reply.status, status, "{method} {path}");
            assert!(String::from_utf8(head).unwrap().contains(allow), "{method} {path}");
        }
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_where_health_is_told_or_nothing_is() {
        for (port, path, asks) in [
            (ListenerRole::McpAndMetrics, "/mcp", true),
            (ListenerRole::McpAndMetrics, "/sse", true),
            (ListenerRole::McpAndMetrics, "/messages", true),
            (ListenerRole::McpAndMetrics, "/metrics", true),
            (ListenerRole::McpAndMetrics, "/healthz", false),
            (ListenerRole::McpAndMetrics, "/.well-known/x", false),
            (ListenerRole::Mcp, "/mcp", true),
            (ListenerRole::Mcp, "/readyz", true),
            (ListenerRole::Mcp, "/metrics", false),
            (ListenerRole::Metrics, "/metrics", true),
            (ListenerRole::Metrics, "/readyz", true),
            (ListenerRole::Metrics, "/healthz", false),
            (ListenerRole::Metrics, "/mcp", false),
        ] {
            assert_eq!(requires_token(port, path), asks, "{port:?} {path}");
        }
    }

    #[test]
    fn a_port_serves_what_it_is_for() {
        for (port, paths) in [
            (ListenerRole::Mcp, &["/mcp", "/sse", "/messages", "/healthz", "/readyz"][..]),
            (ListenerRole::Metrics, &["/healthz", "/readyz", "/metrics"]),
            (ListenerRole::McpAndMetrics, &PATHS),
        ] {
            let served: Vec<_> = PATHS.into_iter().filter(|path| routes_at(port, path).next().is_some()).collect();
            assert_eq!(served, paths, "{port:?}");
        }
    }

    #[test]
    fn no_route_is_listed_twice() {
        for (i, a) in ROUTES.iter().enumerate() {
            assert!(a.path.starts_with('/'));
            assert!(!ROUTES[..i].iter().any(|b| (&a.method, a.path) == (&b.method, b.path)), "{}", a.path);
        }
    }
}
