//! The routes: one table of paths, methods, listeners and handlers.

use super::listener_role::ListenerRole;
use super::oauth_probe::{self, is_oauth_path};
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use super::{approvals, health, metrics, page, recent_calls, sse, streamable};
use std::sync::Arc;
use tiny_http::Method;

pub struct Route {
    /// The only method. A path with two methods has two routes.
    pub method: Method,
    /// The whole path, matched without decoding. A single slash may follow it.
    pub path: &'static str,
    access: RouteAccess,
    roles: &'static [ListenerRole],
    /// Runs on the connection's thread, after all checks passed and the body is read.
    pub handler: fn(&Arc<HttpState>, &mut HttpRequest<'_>) -> RouteOutcome,
}

/// The checks before a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RouteAccess {
    /// The Host must be allowed, and the token must be a client's.
    Token,
    /// The Host must be allowed.
    Host,
    /// The route answers every caller.
    Everyone,
}

const MCP_ROLES: &[ListenerRole] = &[ListenerRole::Mcp, ListenerRole::McpAndMetrics];
const METRICS_ROLES: &[ListenerRole] = &[ListenerRole::McpAndMetrics, ListenerRole::Metrics];
const ALL_ROLES: &[ListenerRole] = &[ListenerRole::Mcp, ListenerRole::McpAndMetrics, ListenerRole::Metrics];

static ROUTES: [Route; 10] = [
    Route {
        method: Method::Post,
        path: "/mcp",
        access: RouteAccess::Token,
        roles: MCP_ROLES,
        handler: streamable::handle_post,
    },
    Route {
        method: Method::Get,
        path: "/sse",
        access: RouteAccess::Token,
        roles: MCP_ROLES,
        handler: sse::open_session,
    },
    Route {
        method: Method::Post,
        path: "/messages",
        access: RouteAccess::Token,
        roles: MCP_ROLES,
        handler: sse::handle_post,
    },
    Route {
        method: Method::Get,
        path: "/approvals",
        access: RouteAccess::Token,
        roles: MCP_ROLES,
        handler: approvals::handle_list,
    },
    Route {
        method: Method::Post,
        path: "/approvals",
        access: RouteAccess::Token,
        roles: MCP_ROLES,
        handler: approvals::handle_decision,
    },
    Route {
        method: Method::Get,
        path: "/calls",
        access: RouteAccess::Token,
        roles: MCP_ROLES,
        handler: recent_calls::handle_list,
    },
    Route {
        method: Method::Get,
        path: "/healthz",
        access: RouteAccess::Everyone,
        roles: ALL_ROLES,
        handler: |_, _| HttpResponse::text(200, "ok").into(),
    },
    Route {
        method: Method::Get,
        path: "/readyz",
        access: RouteAccess::Token,
        roles: ALL_ROLES,
        handler: health::handle_readyz,
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        access: RouteAccess::Token,
        roles: METRICS_ROLES,
        handler: metrics::handle_metrics,
    },
    // The page holds nothing of a cluster. It asks its reader for a token.
    Route {
        method: Method::Get,
        path: PAGE_PATH,
        access: RouteAccess::Host,
        roles: MCP_ROLES,
        handler: page::handle_get,
    },
];

const PAGE_PATH: &str = "/";

/// The paths of [`ROUTES`] in the same order. The metrics count requests by this index.
pub static PATHS: [&str; ROUTES.len()] = {
    let mut paths = [""; ROUTES.len()];
    let mut at = 0;
    while at < ROUTES.len() {
        paths[at] = ROUTES[at].path;
        at += 1;
    }
    paths
};

/// Returns the index of a path in [`PATHS`], or `usize::MAX` for any other path.
pub fn route_index(path: &str) -> usize {
    let path = without_final_slash(path);
    PATHS.iter().position(|known| *known == path).unwrap_or(usize::MAX)
}

/// Removes one slash from the end. Clients and proxies add it to the address that a user gave them.
fn without_final_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| rest.len() > 1).unwrap_or(path)
}

impl Route {
    /// Returns true for the routes that monitoring uses. Only these allow HEAD, which some health checks send (RFC 9110,
    /// 9.3.2). A stream has no response to HEAD.
    fn is_for_monitoring(&self) -> bool {
        self.roles.contains(&ListenerRole::Metrics)
    }
}

fn routes_at(role: ListenerRole, path: &str) -> impl Iterator<Item = &'static Route> {
    let path = without_final_slash(path);
    ROUTES.iter().filter(move |route| route.path == path && route.roles.contains(&role))
}

/// Returns true if a path needs a client token. An unknown path needs none: a client that gets a 401 probes the OAuth
/// paths, and must see that the server has none.
pub fn requires_token(role: ListenerRole, path: &str) -> bool {
    routes_at(role, path).any(|route| route.access == RouteAccess::Token)
}

/// Returns true if a path answers every caller.
pub fn is_public(role: ListenerRole, path: &str) -> bool {
    routes_at(role, path).any(|route| route.access == RouteAccess::Everyone)
}

/// Returns true if a path is for monitoring. A server with all connections in use still answers it.
pub fn is_for_monitoring(role: ListenerRole, path: &str) -> bool {
    routes_at(role, path).any(Route::is_for_monitoring)
}

/// Returns the route of a request, or the response 404 or 405.
pub fn find_route(role: ListenerRole, method: &Method, path: &str) -> Result<&'static Route, HttpResponse> {
    let is_match = |route: &&Route| route.method == *method || *method == Method::Head && route.is_for_monitoring();
    if let Some(route) = routes_at(role, path).find(is_match) {
        return Ok(route);
    }
    let mut allowed = Vec::new();
    for route in routes_at(role, path) {
        allowed.push(route.method.as_str());
        allowed.extend(route.is_for_monitoring().then_some("HEAD"));
    }
    // A client with the address of the server alone posts to it, and must see that MCP has another path.
    if allowed.is_empty() || path == PAGE_PATH {
        return Err(match role {
            ListenerRole::Mcp | ListenerRole::McpAndMetrics if is_oauth_path(path) => oauth_probe::not_found(),
            _ => role.not_found(),
        });
    }
    Err(HttpResponse::text(405, "method not allowed for this path. hint: the Allow header lists the allowed methods")
        .with_header("Allow", allowed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_path_with_another_method_is_405_and_any_other_path_404() {
        let role = ListenerRole::McpAndMetrics;
        for method in [Method::Get, Method::Head] {
            assert_eq!(find_route(role, &method, "/healthz").ok().map(|route| route.path), Some("/healthz"));
        }
        for route in &ROUTES {
            let path = if route.path == PAGE_PATH { PAGE_PATH.to_owned() } else { format!("{}/", route.path) };
            assert_eq!(find_route(role, &route.method, &path).ok().map(|found| found.path), Some(route.path));
            assert_eq!(PATHS.get(route_index(&path)), Some(&route.path));
        }
        for (method, path, status, allow) in [
            (Method::Post, "/healthz", 405, "Allow: GET, HEAD\r\n"),
            (Method::Post, "/sse", 405, "Allow: GET\r\n"),
            (Method::Head, "/sse", 405, "Allow: GET\r\n"),
            (Method::Get, "/messages", 405, "Allow: POST\r\n"),
            (Method::Options, "/messages", 405, "Allow: POST\r\n"),
            (Method::Post, "/register", 404, ""),
            (Method::Get, "/.well-known/oauth-protected-resource", 404, ""),
            (Method::Post, "/sse/", 405, "Allow: GET\r\n"),
            (Method::Get, "/sse//", 404, ""),
            (Method::Get, "/sse/x", 404, ""),
            (Method::Get, "//", 404, ""),
            (Method::Get, "/%73se", 404, ""),
            (Method::Post, "/", 404, ""),
        ] {
            let response = find_route(role, &method, path).err().expect(path);
            let mut head = Vec::new();
            response.write_head(&mut head).unwrap();
            assert_eq!(response.status, status, "{method} {path}");
            assert!(String::from_utf8(head).unwrap().contains(allow), "{method} {path}");
        }
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_where_health_is_told_or_nothing_is() {
        for (role, path, expected) in [
            (ListenerRole::McpAndMetrics, "/mcp", true),
            (ListenerRole::McpAndMetrics, "/sse", true),
            (ListenerRole::McpAndMetrics, "/messages", true),
            (ListenerRole::McpAndMetrics, "/metrics", true),
            (ListenerRole::McpAndMetrics, "/approvals", true),
            (ListenerRole::McpAndMetrics, "/calls", true),
            (ListenerRole::McpAndMetrics, "/healthz", false),
            (ListenerRole::McpAndMetrics, "/", false),
            (ListenerRole::McpAndMetrics, "/.well-known/x", false),
            (ListenerRole::Mcp, "/mcp", true),
            (ListenerRole::Mcp, "/readyz", true),
            (ListenerRole::Mcp, "/metrics", false),
            (ListenerRole::Metrics, "/metrics", true),
            (ListenerRole::Metrics, "/readyz", true),
            (ListenerRole::Metrics, "/healthz", false),
            (ListenerRole::Metrics, "/mcp", false),
        ] {
            assert_eq!(requires_token(role, path), expected, "{role:?} {path}");
        }
    }

    #[test]
    fn the_page_checks_the_host_and_health_does_not() {
        for (path, expected) in [("/", false), ("/mcp", false), ("/readyz", false), ("/healthz", true)] {
            assert_eq!(is_public(ListenerRole::Mcp, path), expected, "{path}");
        }
    }

    #[test]
    fn a_port_serves_what_it_is_for() {
        for (role, paths) in [
            (
                ListenerRole::Mcp,
                &["/mcp", "/sse", "/messages", "/approvals", "/approvals", "/calls", "/healthz", "/readyz", "/"][..],
            ),
            (ListenerRole::Metrics, &["/healthz", "/readyz", "/metrics"]),
            (ListenerRole::McpAndMetrics, &PATHS),
        ] {
            let served: Vec<_> = PATHS.into_iter().filter(|path| routes_at(role, path).next().is_some()).collect();
            assert_eq!(served, paths, "{role:?}");
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
