//! `GET /metrics`.

use super::listener_role::ListenerRole;
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use std::sync::Arc;

/// Content type of Prometheus' text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the metrics of all clusters, or 403 to a client that may use only some of them.
pub fn handle_metrics(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let Some(write_clusters) = state.health.metrics_writer() else { return ListenerRole::Mcp.not_found().into() };
    if request.caller.client.clusters.is_some() {
        let text = "metrics not available: they cover all clusters and this client may use only some. \
                    hint: use the token of a client with access to all clusters";
        return HttpResponse::text(403, text).into();
    }
    let mut out = String::with_capacity(8 << 10);
    let metrics = state.mcp.metrics();
    metrics.write(&mut out);
    crate::metrics::HttpMetrics::write_gauges(&mut out, state.connections.open_count(), state.sessions.open_count());
    metrics.http.write(&mut out, state.route_paths);
    write_clusters(&mut out);
    HttpResponse::text(200, out).with_content_type(CONTENT_TYPE).into()
}
