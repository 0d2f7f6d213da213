//! The role of a listener.

use super::response::HttpResponse;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// Serves MCP clients.
    Mcp,
    /// Serves MCP clients and metrics.
    McpAndMetrics,
    /// Serves metrics and health only.
    Metrics,
}

impl ListenerRole {
    /// Returns the 404 for a path that a listener of this role does not serve.
    pub fn not_found(self) -> HttpResponse {
        HttpResponse::text(
            404,
            match self {
                Self::Metrics => "path not found. hint: this port serves /metrics, /readyz and /healthz",
                Self::Mcp | Self::McpAndMetrics => "path not found. hint: MCP is at POST /mcp, or over SSE at GET /sse",
            },
        )
    }
}
