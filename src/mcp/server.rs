//! The server: it answers one message at a time, for every transport and connection at once.

use super::call_span::{self, CallSpan};
use super::catalog::{Catalog, Page};
use super::context::{Caller, TransportContext};
use super::error::RpcError;
use super::in_flight::InFlightCalls;
use super::message::{RpcNotification, RpcRequest};
use super::methods::RequestContext;
use super::params::RequestParams;
use super::protocol::ProtocolEra;
use super::recent_calls::ClientCalls;
use super::server_state::ServerState;
use super::{legacy, modern};
use crate::base::sealing_keys::SealingKeys;
use crate::metrics::Metrics;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub struct RpcResponse {
    /// JSON-RPC message.
    pub bytes: Vec<u8>,
    /// Code of a JSON-RPC error, from which HTTP derives its status.
    pub code: Option<i32>,
}

/// One MCP server, shared by every transport and connection.
pub struct McpServer {
    state: ServerState,
}

impl McpServer {
    /// Creates a server that offers the catalog.
    ///
    /// # Errors
    /// The system gives no random bytes for the key of what clients keep for the server.
    pub fn new(catalog: Catalog) -> Result<Self, ring::error::Unspecified> {
        Ok(Self { state: ServerState::new(catalog)? })
    }

    /// Seals the states of questions and the ids of tasks with secrets that other replicas have too.
    #[must_use]
    pub fn with_sealing_keys(mut self, keys: &SealingKeys) -> Self {
        self.state.set_sealing_keys(keys);
        self
    }

    /// Sets the duration from which a call is logged as slow.
    #[must_use]
    pub fn with_slow_call(mut self, slow_call: Duration) -> Self {
        self.state.slow_call = slow_call;
        self
    }

    /// Sends the JSON of results to every client, beside the text.
    #[must_use]
    pub fn with_structured(mut self, sends_structured: bool) -> Self {
        self.state.sends_structured = sends_structured;
        self
    }

    pub fn page(&self) -> Option<&Page> {
        self.state.catalog.page.as_ref()
    }

    /// Returns the last tool calls of each client, or `None` if they are not kept.
    pub fn recent_calls(&self, now: Instant) -> Option<Vec<ClientCalls>> {
        self.state.keeps_recent_calls().then(|| self.state.recent_calls.list(now))
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.state.metrics
    }

    /// Returns the number of tool calls that made no progress for `limit`. Every request to a cluster and every wait is
    /// progress.
    pub fn count_stalled_calls(&self, limit: Duration) -> usize {
        self.state.running_calls.count_stalled(limit)
    }

    /// Records a request that the transport does not run because too many are in flight.
    pub fn record_busy(&self, request: &RpcRequest<'_>, caller: &Caller) {
        let params = request.parse_params();
        let name = params.as_ref().ok().and_then(|params| params.name.as_deref());
        let tool = name.and_then(|name| self.state.find_tool(name));
        call_span::record_busy(&self.state, caller, request.logged_method(), tool.map(|(index, _)| index));
    }

    /// Answers one request, given the result of [`RpcRequest::parse_params`].
    ///
    /// Returns `None` if the request was cancelled, since a cancelled request gets no answer (Utilities, Cancellation).
    /// Blocks while a handler runs if [`RpcRequest::may_take_long`], else returns at once.
    pub fn handle_request(
        &self,
        request: &RpcRequest<'_>,
        params: Result<RequestParams<'_>, RpcError>,
        transport: &TransportContext<'_>,
    ) -> Option<RpcResponse> {
        let trace = params.as_ref().ok().and_then(|params| params.meta.trace);
        let span = CallSpan::start(&self.state, transport.caller, trace, request.logged_method());
        // A call may be cancelled while it waits for a worker thread. It must not start then.
        if transport.cancel.is_abandoned() {
            span.end(true, false);
            return None;
        }
        let _running = request.is_tool_call().then(|| self.state.running_calls.register(&transport.cancel));
        let debug = log::log_enabled!(log::Level::Debug)
            .then(|| (Instant::now(), describe_request(request, params.as_ref().ok())));
        let dispatch = || {
            let params = &params?;
            let era = params.era();
            let request_context = RequestContext { server: &self.state, era, request, params, transport, span: &span };
            match era {
                ProtocolEra::Modern => modern::dispatch(&request_context),
                ProtocolEra::Legacy => legacy::dispatch(&request_context),
            }
        };
        // A panic of a tool ends its own call only.
        let result = catch_unwind(AssertUnwindSafe(dispatch)).unwrap_or_else(|_| {
            log::error!("a call panicked: id={} {}", span.id, describe_request(request, None));
            Err(RpcError::Panicked)
        });
        let is_cancelled = transport.cancel.is_client_gone();
        if let Some((started, description)) = debug {
            let outcome = match &result {
                _ if is_cancelled => "cancelled".into(),
                Ok(bytes) => format!("{} bytes", bytes.len()),
                Err(error) => format!("error {}", error.code()),
            };
            log::debug!("{description}: {outcome} in {} µs", started.elapsed().as_micros());
        }
        // A change that was sent finishes although its client has disconnected.
        let is_finished = result.is_ok() && !span.failed.get() && !span.is_read_only();
        span.end(transport.cancel.is_abandoned() && (is_cancelled || !is_finished), result.is_err());
        if is_cancelled {
            return None;
        }
        Some(match result {
            Ok(bytes) => RpcResponse { bytes, code: None },
            Err(error) => {
                let is_served = !matches!(error, RpcError::UnknownMethod { .. }) && request.may_take_long();
                let call_id = is_served.then(|| json!({&self.state.call_id_key: span.id.to_string()}));
                RpcResponse { bytes: request.encode_error_with_data(&error, call_id), code: Some(error.code()) }
            }
        })
    }

    /// Handles a notification: `notifications/cancelled` cancels the call that it names, others are ignored.
    pub fn handle_notification(&self, notification: &RpcNotification<'_>, calls: &InFlightCalls) {
        if let Some(id) = notification.cancelled_request() {
            calls.cancel(id);
        }
    }
}

/// Describes a request for the log. Its words are untrusted input, so they are quoted and cut to 64 characters.
fn describe_request(request: &RpcRequest<'_>, params: Option<&RequestParams<'_>>) -> String {
    let truncate = |text: &str| text.chars().take(64).collect::<String>();
    let method = truncate(&request.method);
    match params.and_then(|params| params.name.as_deref().or(params.uri.as_deref())) {
        Some(name) => format!("{method:?} {:?}", truncate(name)),
        None => format!("{method:?}"),
    }
}
