//! CORS headers (Fetch standard, HTTP extensions) for the origins that the operator listed.
//!
//! A browser shows a response to a page of another origin only if these headers allow it. It asks first, with OPTIONS
//! and without the page's token. A response to any other origin has no such header.

use super::head::RequestHead;
use super::response::{HeaderField, HttpResponse};
use tiny_http::Method;

const METHODS: &str = "GET, POST, DELETE, OPTIONS";

/// Request headers of MCP clients that the standard does not allow by itself.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, \
                               Mcp-Name, Last-Event-ID, traceparent, tracestate";

/// Start of the names of request headers that carry arguments of a tool (MCP 2026-07-28).
const PARAMETER_PREFIX: &str = "mcp-param-";

/// Response headers that a page may read.
const EXPOSED_HEADERS: &str = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After, Allow";

/// Seconds for which a browser may keep the response to a preflight request.
const MAX_AGE: &str = "600";

/// A listed origin, as the request's header has it.
#[derive(Clone, Debug)]
pub struct CorsOrigin(String);

impl CorsOrigin {
    /// Creates it from an origin without characters that end a header.
    pub(super) fn new(origin: &str) -> Self {
        Self(origin.to_owned())
    }

    /// Returns the headers that allow the origin's pages to read a response.
    pub fn headers(&self) -> [HeaderField; 3] {
        [
            ("Access-Control-Allow-Origin", self.0.clone().into()),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS.into()),
            ("Vary", "Origin".into()),
        ]
    }

    /// Returns the response to a preflight request, or `None` for any other request.
    pub fn answer_preflight(&self, head: &RequestHead, bytes: &[u8]) -> Option<HttpResponse> {
        if head.method != Method::Options || head.single_value(bytes, "access-control-request-method").is_none() {
            return None;
        }
        let mut response = HttpResponse::text(200, "")
            .with_header("Access-Control-Allow-Methods", METHODS)
            .with_header("Access-Control-Allow-Headers", allowed_headers(head, bytes))
            .with_header("Access-Control-Max-Age", MAX_AGE);
        // A page of the internet may ask for a server of a private network (WICG, Private Network Access).
        if head.single_value(bytes, "access-control-request-private-network") == Some(b"true") {
            response = response.with_header("Access-Control-Allow-Private-Network", "true");
        }
        Some(response)
    }
}

/// Returns the headers of a response to a page of `origin`, if it is a listed one.
pub fn response_headers(origin: Option<&CorsOrigin>) -> impl Iterator<Item = HeaderField> {
    origin.into_iter().flat_map(CorsOrigin::headers)
}

/// Returns the allowed request headers: the fixed ones, and the requested ones that carry arguments.
fn allowed_headers(head: &RequestHead, bytes: &[u8]) -> String {
    let mut allowed = REQUEST_HEADERS.to_owned();
    let requested = head.values(bytes, "access-control-request-headers").flat_map(|value| value.split(|b| *b == b','));
    for name in requested.filter_map(|name| str::from_utf8(name.trim_ascii()).ok()).filter(|name| is_parameter(name)) {
        allowed.push_str(", ");
        allowed.push_str(name);
    }
    allowed
}

fn is_parameter(name: &str) -> bool {
    let start = name.get(..PARAMETER_PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PARAMETER_PREFIX))
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
