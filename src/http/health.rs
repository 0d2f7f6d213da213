//! `GET /readyz`.

use super::readiness::filter_visible;
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use serde_json::json;
use std::sync::Arc;

/// Returns 200 if at least one cluster that the client may use is ready, else 503. With some clusters down the server
/// is still useful, so an orchestrator should keep it in service.
pub fn handle_readyz(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let (ready, clusters) = filter_visible(&state.health.readiness(), &request.caller.client);
    let status = if ready { "ready" } else { "not ready" };
    let body = json!({"status": status, "clusters": clusters}).to_string().into_bytes();
    match ready {
        true => HttpResponse::json(200, body),
        false => HttpResponse::json(503, body).with_header("Retry-After", "5"),
    }
    .into()
}
