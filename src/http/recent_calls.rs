//! `GET /calls`: the last calls of each client, for the people who approve calls.

use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use crate::config::Client;
use crate::mcp::recent_calls::{ClientCalls, RecentCall};
use crate::sanitize::escape_invisible::escape_json;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Returns the calls of all clients on the clusters that the caller may use. The caller needs the right to approve.
pub fn handle_list(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let viewer = &request.caller.client;
    if !viewer.approve {
        let text = "this client may not see the calls of others. hint: the operator gives a client \"approve\": true in \
                    clusters.json";
        return HttpResponse::text(403, text).into();
    }
    let now = Instant::now();
    let Some(clients) = state.mcp.recent_calls(now) else {
        return HttpResponse::text(404, "not found: this server keeps no calls, since it has no page").into();
    };
    let render_client = |ClientCalls { client, calls }: &ClientCalls| {
        let calls = calls.iter().filter(|call| is_visible(call, viewer));
        let calls: Vec<Value> = calls.map(|call| render_call(call, now)).collect();
        (!calls.is_empty()).then(|| json!({"client": client, "calls": calls}))
    };
    let clients: Vec<Value> = clients.iter().filter_map(render_client).collect();
    let body = escape_json(json!({"clients": clients}).to_string());
    HttpResponse::json(200, body.into_bytes()).into()
}

/// Returns whether a viewer may use all clusters of a call.
fn is_visible(call: &RecentCall, viewer: &Client) -> bool {
    let Some(visible) = &viewer.clusters else { return true };
    !call.has_more_clusters && call.cluster.as_ref().is_some_and(|cluster| visible.contains(cluster))
}

fn render_call(call: &RecentCall, now: Instant) -> Value {
    json!({
        "age_seconds": now.saturating_duration_since(call.ended).as_secs(),
        "tool": call.tool,
        "cluster": call.cluster,
        "more_clusters": call.has_more_clusters,
        "operation": call.operation,
        "outcome": call.outcome,
        "transport": call.transport,
    })
}
