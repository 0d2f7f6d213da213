//! The Model Context Protocol, without a socket: bytes of one message in, bytes of its answer out.
//!
//! A transport reads a message with [`message::parse_message`] and has it answered by [`McpServer::handle_request`], to which it lends an
//! [`TransportContext`]: where notifications of that request go, and how the request is cancelled. Both protocol eras are served
//! on every transport, told apart by the request itself ([`message::RequestParams::claimed_version`]): `legacy` has the
//! initialize era, `modern` has 2026-07-28, and what they share is in `features`, once.

pub mod arguments;
mod call_span;
pub mod catalog;
pub mod content;
pub mod context;
pub mod in_flight;
mod json_string;
pub mod legacy;
pub mod message;
mod methods;
pub mod modern;
mod params;
pub mod sealed_state;

use crate::base::cancel::CancelToken;
use crate::base::trace::{CALL_ID_META_KEY, CallId};
use crate::config::Limits;
use crate::metrics::Metrics;
pub use call_span::CallAttributes;
use call_span::CallSpan;
use catalog::{Catalog, Tool};
use in_flight::InFlightCalls;
use message::{RequestParams, RpcError, RpcNotification, RpcRequest};
use ring::rand::{SecureRandom, SystemRandom};
use sealed_state::StateSealer;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a transport lends a request while it is answered.
pub struct TransportContext<'a> {
    /// Who calls.
    pub caller: &'a context::Caller,
    /// The calls of the session it belongs to; `None` on a transport without sessions.
    pub calls: Option<&'a InFlightCalls>,
    /// Ends the call when the client gives it up.
    pub cancel: CancelToken,
    /// Takes notifications of this request, in order, before its answer.
    pub notify: context::NotificationSink<'a>,
}

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub struct RpcResponse {
    /// The JSON-RPC message.
    pub bytes: Vec<u8>,
    /// The code, where it is an error: HTTP has a status for some of them.
    pub code: Option<i32>,
}

/// The two eras of the protocol (2026-07-28, Versioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolEra {
    /// `initialize` first: 2024-11-05 to 2025-11-25.
    Legacy,
    /// Every request speaks for itself: 2026-07-28.
    Modern,
}

/// One request on its way to an answer.
#[derive(Clone, Copy)]
struct RequestContext<'a> {
    server: &'a McpServer,
    era: ProtocolEra,
    request: &'a RpcRequest<'a>,
    params: &'a RequestParams<'a>,
    transport: &'a TransportContext<'a>,
    span: &'a CallSpan<'a>,
}

/// One MCP server: what it offers, and what it says of itself. Shared by every transport and connection.
pub struct McpServer {
    catalog: Catalog,
    sealer: StateSealer,
    prebuilt_lists: PrebuiltLists,
    capabilities: Value,
    /// Requests so far.
    request_count: AtomicU64,
    /// The first half of their ids.
    process: u16,
    metrics: Arc<Metrics>,
    slow_call: Duration,
}

/// The results that never change, serialised once, without their closing brace.
struct PrebuiltLists {
    tools: Vec<u8>,
    resources: Vec<u8>,
    templates: Vec<u8>,
    prompts: Vec<u8>,
    /// What ends a result of the modern era, and one that may be kept.
    complete_tail: Vec<u8>,
    cacheable_tail: Vec<u8>,
}

/// How long a client may keep a list, in milliseconds. Lists change only with a restart.
const LIST_TTL_MS: u32 = 300_000;

impl McpServer {
    /// Takes the catalog over and serialises its lists once.
    ///
    /// # Errors
    /// The system gives no random bytes for the key that seals `requestState`.
    pub fn new(catalog: Catalog) -> Result<Self, ring::error::Unspecified> {
        let info = json!({"io.modelcontextprotocol/serverInfo": server_info()});
        let complete = format!(r#","resultType":"complete","_meta":{info}}}"#).into_bytes();
        let cacheable =
            format!(r#","resultType":"complete","ttlMs":{LIST_TTL_MS},"cacheScope":"private","_meta":{info}}}"#)
                .into_bytes();
        let open = |key: &str, list: Vec<Value>| format!("{{\"{key}\":{}", Value::from(list)).into_bytes();
        let lists = PrebuiltLists {
            tools: open("tools", catalog.tools.iter().map(Tool::definition).collect()),
            resources: open("resources", catalog.resources.iter().map(methods::describe_resource).collect()),
            templates: open("resourceTemplates", catalog.templates.iter().map(methods::describe_template).collect()),
            prompts: open("prompts", catalog.prompts.iter().map(methods::describe_prompt).collect()),
            complete_tail: complete,
            cacheable_tail: cacheable,
        };
        let capabilities = methods::capabilities(&catalog);
        let mut process = [0; 2];
        SystemRandom::new().fill(&mut process)?;
        Ok(Self {
            metrics: Arc::new(Metrics::new(catalog.tools.iter().map(|tool| tool.name).collect())),
            catalog,
            sealer: StateSealer::new()?,
            prebuilt_lists: lists,
            capabilities,
            request_count: AtomicU64::new(0),
            process: u16::from_be_bytes(process),
            slow_call: Limits::default().slow_call,
        })
    }

    /// The same, where a call is slow after another time than the default.
    #[must_use]
    pub fn with_slow_call(self, slow_call: Duration) -> Self {
        Self { slow_call, ..self }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Notes that a call is not begun, too many others being at work.
    pub fn record_busy(&self, request: &RpcRequest<'_>, caller: &context::Caller) {
        let params = request.parse_params();
        let name = params.as_ref().ok().and_then(|params| params.name.as_deref());
        call_span::record_busy(
            self,
            self.next_id(),
            caller,
            name.and_then(|name| self.tool_index(name)).unwrap_or(usize::MAX),
        );
    }

    fn next_id(&self) -> CallId {
        CallId { process: self.process, number: self.request_count.fetch_add(1, Ordering::Relaxed) }
    }

    /// The number of a tool.
    fn tool_index(&self, name: &str) -> Option<usize> {
        self.catalog.tools.iter().position(|tool| tool.name == name)
    }

    /// The name of the tool with this number.
    fn tool_name(&self, number: usize) -> &'static str {
        self.catalog.tools.get(number).map_or("-", |tool| tool.name)
    }

    /// Answers one request, given what `RpcRequest::params` made of its parameters. `None` when it was cancelled: then
    /// nothing may be sent (Utilities, Cancellation). Blocks for as long as the tool runs where
    /// [`RpcRequest::may_take_long`] says so, else returns at once.
    pub fn handle_request(
        &self,
        request: &RpcRequest<'_>,
        params: Result<RequestParams<'_>, RpcError>,
        transport: &TransportContext<'_>,
    ) -> Option<RpcResponse> {
        let counts = request.may_take_long();
        let trace = params.as_ref().ok().and_then(RequestParams::trace);
        let span = CallSpan::start(self, self.next_id(), transport.caller, trace, counts);
        // A call may be cancelled while it waits for its turn: then a tool that looks at that late must not begin.
        if transport.cancel.is_client_gone() {
            if counts {
                span.end(self, true, false);
            }
            return None;
        }
        let started = log::log_enabled!(log::Level::Debug).then(Instant::now);
        let what = started.map(|_| describe_request(request, params.as_ref().ok()));
        let run = || {
            params.and_then(|params| {
                let request_context =
                    |era| RequestContext { server: self, era, request, params: &params, transport, span: &span };
                match params.claimed_version() {
                    Some(_) => modern::dispatch(&request_context(ProtocolEra::Modern)),
                    None => legacy::dispatch(&request_context(ProtocolEra::Legacy)),
                }
            })
        };
        // A tool that panics costs its own call only.
        let answer = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            log::error!("a call ended in a panic: id={} {}", span.id, describe_request(request, None));
            let why = "internal error: the call broke off, what it did so far stands; the server's log says where";
            Err(RpcError::new(message::INTERNAL_ERROR, why))
        });
        let cancelled = transport.cancel.is_client_gone();
        if let (Some(started), Some(what)) = (started, what) {
            let outcome = match &answer {
                _ if cancelled => "cancelled".into(),
                Ok(bytes) => format!("{} bytes", bytes.len()),
                Err(fault) => format!("error {}", fault.code),
            };
            log::debug!("{what}: {outcome} in {} µs", started.elapsed().as_micros());
        }
        if counts {
            span.end(self, cancelled, answer.is_err());
        }
        if cancelled {
            return None;
        }
        Some(match answer {
            Ok(bytes) => RpcResponse { bytes, code: None },
            Err(mut fault) if counts => {
                fault.data.get_or_insert_with(|| json!({CALL_ID_META_KEY: span.id.to_string()}));
                RpcResponse { bytes: request.encode_error(&fault), code: Some(fault.code) }
            }
            Err(fault) => RpcResponse { bytes: request.encode_error(&fault), code: Some(fault.code) },
        })
    }

    /// Takes note of a notification: `notifications/cancelled` ends the call it names in `calls`; nothing else matters.
    pub fn handle_notification(&self, notification: &RpcNotification<'_>, calls: &InFlightCalls) {
        if notification.method == "notifications/cancelled"
            && let Some(params) = notification.params
            && let Ok([Some(id)]) = params::read_members(params, ["requestId"])
        {
            calls.cancel(id);
        }
    }

    /// What ends a result whose members are written, braces open.
    fn result_tail(&self, era: ProtocolEra, cacheable: bool) -> &[u8] {
        match (era, cacheable) {
            (ProtocolEra::Legacy, _) => b"}",
            (ProtocolEra::Modern, false) => &self.prebuilt_lists.complete_tail,
            (ProtocolEra::Modern, true) => &self.prebuilt_lists.cacheable_tail,
        }
    }
}

/// A request for the log: a stranger's words, cut short and on one line.
fn describe_request(request: &RpcRequest<'_>, params: Option<&RequestParams<'_>>) -> String {
    let short = |text: &str| text.chars().take(64).collect::<String>();
    match params.and_then(|p| p.name.as_deref().or(p.uri.as_deref())) {
        Some(name) => format!("{:?} {:?}", short(&request.method), short(name)),
        None => format!("{:?}", short(&request.method)),
    }
}

fn server_info() -> Value {
    json!({"name": env!("CARGO_PKG_NAME"), "title": "Proxmox VE", "version": env!("CARGO_PKG_VERSION")})
}
