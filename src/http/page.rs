//! `GET /`: the page for people.
//!
//! It needs no token to load and holds nothing of a cluster. Its script sends the token that a person types, in the
//! Authorization header of `POST /mcp`.

use super::listener_role::ListenerRole;
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use std::sync::Arc;

/// Returns the page, or 404 if the operator turned it off. A client that looks for SSE gets 404 as well: its error then
/// names the right path.
pub fn handle_get(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let wants_events = request.header("accept").is_some_and(|accept| {
        let has = |kind: &[u8]| accept.to_ascii_lowercase().windows(kind.len()).any(|part| part == kind);
        has(b"text/event-stream") && !has(b"text/html")
    });
    let Some(page) = state.mcp.page().filter(|_| !wants_events) else {
        return ListenerRole::Mcp.not_found().into();
    };
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        page.script_source, page.style_source
    );
    HttpResponse::text(200, page.html)
        .with_content_type("text/html; charset=utf-8")
        .with_header("Content-Security-Policy", policy)
        .with_header("X-Frame-Options", "DENY")
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("Cross-Origin-Opener-Policy", "same-origin")
        .with_header("Cross-Origin-Resource-Policy", "same-origin")
        .with_header("Cache-Control", "no-cache")
        .into()
}
