//! Streamable HTTP: one endpoint, `POST /mcp`, for both eras of the protocol (2025-03-26 to 2026-07-28).
//!
//! There are no sessions, so any replica can answer any request. A legacy client that shows views or opens addresses gets
//! a session id all the same, which only says so. A request runs on its connection's thread and its response is one JSON
//! document. If the call sends a notification first (progress, log messages) or takes longer than `stream_delay`, the
//! response becomes an event stream, which ends with the connection.

use super::call_rejection::CallRejection;
use super::cors::response_headers;
use super::event_stream::{ANSWER_FOLLOWS, EventStream};
use super::monitor::MonitorOptions;
use super::quota::QuotaPermit;
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::state::HttpState;
use crate::base::cancel::{CancelReason, CancelToken};
use crate::mcp::context::Caller;
use crate::mcp::in_flight::InFlightCalls;
use crate::mcp::message::{self, INVALID_REQUEST, InvalidMessage, MAX_BATCH, Message, RequestParams, RpcRequest};
use crate::mcp::modern::{self, McpHeaders};
use crate::mcp::{self, ProtocolEra, TransportContext};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Handles `POST /mcp`.
pub fn handle_post(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    if !request.has_json_body() {
        return HttpResponse::unsupported_media_type().into();
    }
    let Some(accepts) = AcceptedFormat::from_request(request) else {
        return HttpResponse::text(406, "not acceptable: Accept must allow application/json or text/event-stream")
            .into();
    };
    match message::split_batch(request.body, MAX_BATCH) {
        None => {}
        Some(Ok(parts)) => return handle_batch(state, request, &parts),
        Some(Err(InvalidMessage(response))) => return HttpResponse::json(400, response).into(),
    }
    let message = match message::parse_message(request.body) {
        Ok(Message::Request(message)) => message,
        // Modern clients cancel by closing the response.
        Ok(Message::Notification(notification)) => {
            state.posted_calls.handle_notification(&request.caller, &notification);
            return HttpResponse::text(202, "").into();
        }
        Ok(Message::Response) => return HttpResponse::text(202, "").into(),
        Err(InvalidMessage(response)) => return HttpResponse::json(400, response).into(),
    };
    let params = match message.parse_params() {
        Ok(params) => params,
        Err(error) => return HttpResponse::json(400, message.encode_error(&error)).into(),
    };
    if let Err(error) = modern::check_headers(read_mcp_headers(request), &message, &params) {
        return HttpResponse::json(400, message.encode_error(&error)).into();
    }
    match HttpCallPermit::acquire(state, &request.caller, &message) {
        Ok(permit) => handle_call(state, request, &message, params, accepts, permit),
        Err(rejection) => HttpResponse::json(200, rejection.encode(&message)).into(),
    }
}

fn handle_call(
    state: &HttpState,
    request: &HttpRequest<'_>,
    message: &RpcRequest<'_>,
    params: RequestParams<'_>,
    accepts: AcceptedFormat,
    permit: Option<HttpCallPermit<'_>>,
) -> RouteOutcome {
    let caller = &request.caller;
    let era = if params.claimed_version().is_some() { ProtocolEra::Modern } else { ProtocolEra::Legacy };
    let session = InFlightCalls::new();
    let known = SessionWords::parse(request.header("mcp-session-id").unwrap_or_default());
    session.set_has_ui(known.has_ui);
    session.set_can_open_url(known.can_open_url);
    let calls = (era == ProtocolEra::Legacy).then_some(&session);
    if !message.may_take_long() {
        let cancel = CancelToken::new().with_memory(request.memory.clone());
        let transport = TransportContext { caller, calls, cancel, notify: &|_| () };
        let outcome = match state.mcp.handle_request(message, Ok(params), &transport) {
            Some(response) => send_response(state, request, era, accepts, response),
            None => RouteOutcome::Sent,
        };
        return match outcome {
            RouteOutcome::Response(response) if SessionWords::of(&session) != known => {
                response.with_header("Mcp-Session-Id", SessionWords::of(&session).new_id()).into()
            }
            outcome => outcome,
        };
    }
    let registered = (era == ProtocolEra::Legacy).then(|| state.posted_calls.register(caller, message.id()));
    let cancel = registered.as_ref().map_or_else(CancelToken::new, |call| call.cancel.clone());
    let cancel = cancel.with_memory(request.memory.clone());
    let accepts_events = accepts != AcceptedFormat::Json;
    let options = MonitorOptions {
        on_disconnect: disconnect_reason(era),
        write_timeout: state.limits.write_timeout,
        stream_headers: response_headers(request.cors).collect(),
        stream_delay: accepts_events.then_some(state.limits.stream_delay),
    };
    let monitored = state.monitor.register(request.stream, &cancel, options);
    let notify = |notification: &[u8]| {
        // A client that no longer reads has closed the response in effect, which cancels a modern call.
        if accepts_events && !monitored.stream().send(notification, || ()) && era == ProtocolEra::Modern {
            cancel.cancel(CancelReason::ClientGone);
        }
    };
    let transport = TransportContext { caller, calls, cancel: cancel.clone(), notify: &notify };
    let response = state.mcp.handle_request(message, Ok(params), &transport);
    match (response, monitored.started_stream()) {
        // A client that cancelled by a notification keeps its connection.
        (None, None) if era == ProtocolEra::Legacy => HttpResponse::text(202, "").into(),
        (None, _) => RouteOutcome::Sent,
        (Some(response), Some(events)) => {
            // Released just before the client can receive the response and send its next call.
            events.send(&response.bytes, || drop(permit));
            RouteOutcome::Sent
        }
        (Some(response), None) => {
            drop(permit);
            send_response(state, request, era, accepts, response)
        }
    }
}

/// The words of a session id (2025-11-25, Session Management). The server keeps no session: the client repeats the id,
/// and its words tell what the client said in `initialize`. They grant nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SessionWords {
    has_ui: bool,
    can_open_url: bool,
}

impl SessionWords {
    const UI: &str = "views";
    const URL: &str = "urls";

    fn of(session: &InFlightCalls) -> Self {
        Self { has_ui: session.has_ui(), can_open_url: session.can_open_url() }
    }

    fn parse(id: &[u8]) -> Self {
        let has = |word: &str| id.split(|b| *b == b'-').any(|part| part == word.as_bytes());
        Self { has_ui: has(Self::UI), can_open_url: has(Self::URL) }
    }

    fn new_id(self) -> String {
        let mut random = [0; 16];
        // The id grants nothing, so one without random bytes does no harm.
        let _ = SystemRandom::new().fill(&mut random);
        let words = [(self.has_ui, Self::UI), (self.can_open_url, Self::URL)];
        let mut id: String = words.iter().filter(|(has, _)| *has).map(|(_, word)| format!("{word}-")).collect();
        id.push_str(&format!("{:032x}", u128::from_be_bytes(random)));
        id
    }
}

/// Returns the reason of a cancellation by the end of the connection. In the older eras a lost connection does not cancel
/// the call (2025-11-25, Streamable HTTP), although it can no longer be answered.
fn disconnect_reason(era: ProtocolEra) -> CancelReason {
    match era {
        ProtocolEra::Legacy => CancelReason::Disconnected,
        ProtocolEra::Modern => CancelReason::ClientGone,
    }
}

/// Sends a response without earlier notifications: as JSON, or as the only event of a stream if the client accepts no
/// JSON. A response with a status other than 200 is always JSON.
fn send_response(
    state: &HttpState,
    request: &HttpRequest<'_>,
    era: ProtocolEra,
    accepts: AcceptedFormat,
    response: mcp::RpcResponse,
) -> RouteOutcome {
    let status = modern::http_status(era, response.code);
    if accepts != AcceptedFormat::Events || status != 200 {
        return HttpResponse::json(status, response.bytes).into();
    }
    let events = EventStream::new(request.stream.clone(), state.limits.write_timeout);
    match events.start(response_headers(request.cors), ANSWER_FOLLOWS, || true) {
        Ok(_) => drop(events.send(&response.bytes, || ())),
        Err(_) => events.end(),
    }
    RouteOutcome::Sent
}

/// Handles the messages of a batch one after the other, after a check that each may be part of one. The responses form
/// one array, within the size limit of a single one. None begins after the client has disconnected.
fn handle_batch(state: &HttpState, request: &HttpRequest<'_>, parts: &[&str]) -> RouteOutcome {
    let messages: Vec<_> = parts.iter().map(|part| message::parse_message(part.as_bytes())).collect();
    for message in &messages {
        if let Ok(Message::Request(message)) = message
            && message.parse_params().is_ok_and(|params| params.claimed_version().is_some())
        {
            let text = "batches are not supported in 2026-07-28. hint: send each message by itself";
            return HttpResponse::json(400, message.encode_rejection(INVALID_REQUEST, text)).into();
        }
    }
    let mut responses = Vec::new();
    let mut memory = request.memory.reserve(0).expect("an account has room for nothing");
    for message in messages {
        if state.monitor.is_disconnected(request.stream) {
            log::debug!("ending a batch: its client disconnected");
            return RouteOutcome::Sent;
        }
        // The responses grow in a vector that may be half empty.
        let has_room = responses.len() <= state.limits.max_answer_bytes && memory.grow_to(2 * responses.len()).is_ok();
        let response = match message {
            Ok(Message::Notification(notification)) => {
                state.posted_calls.handle_notification(&request.caller, &notification);
                continue;
            }
            Ok(Message::Response) => continue,
            Err(InvalidMessage(response)) => response,
            Ok(Message::Request(message)) if !has_room => CallRejection::BatchTooLarge.encode(&message),
            Ok(Message::Request(message)) if state.is_stopping() => CallRejection::ServerStopping.encode(&message),
            Ok(Message::Request(message)) => match HttpCallPermit::acquire(state, &request.caller, &message) {
                Err(rejection) => rejection.encode(&message),
                Ok(_permit) => {
                    let call = state.posted_calls.register(&request.caller, message.id());
                    let cancel = call.cancel.clone().with_memory(request.memory.clone());
                    let options = MonitorOptions {
                        on_disconnect: CancelReason::Disconnected,
                        write_timeout: state.limits.write_timeout,
                        stream_headers: Vec::new(),
                        // The responses to a batch are one document.
                        stream_delay: None,
                    };
                    let _monitored = state.monitor.register(request.stream, &cancel, options);
                    let transport = TransportContext { caller: &request.caller, calls: None, cancel, notify: &|_| () };
                    match state.mcp.handle_request(&message, message.parse_params(), &transport) {
                        Some(response) => response.bytes,
                        None => continue,
                    }
                }
            },
        };
        responses.push(if responses.is_empty() { b'[' } else { b',' });
        responses.extend_from_slice(&response);
    }
    if responses.is_empty() {
        return HttpResponse::text(202, "").into();
    }
    responses.push(b']');
    HttpResponse::json(200, responses).into()
}

/// Permit for one call on this endpoint and in its client's quota, released on drop.
struct HttpCallPermit<'a> {
    _endpoint: EndpointPermit<'a>,
    _quota: QuotaPermit,
}

impl<'a> HttpCallPermit<'a> {
    /// Returns `None` for a request that is answered from memory, which needs no permit.
    fn acquire(state: &'a HttpState, caller: &Caller, message: &RpcRequest<'_>) -> Result<Option<Self>, CallRejection> {
        if !message.may_take_long() {
            return Ok(None);
        }
        let acquire = || {
            let endpoint = EndpointPermit::acquire(&state.running_calls, state.limits.max_calls);
            let endpoint = endpoint.ok_or(CallRejection::ServerBusy)?;
            Ok(Some(Self { _endpoint: endpoint, _quota: state.quotas.acquire(&caller.client)? }))
        };
        acquire().inspect_err(|_| state.mcp.record_busy(message, caller))
    }
}

/// Permit for one call on this endpoint, released on drop.
struct EndpointPermit<'a>(&'a AtomicUsize);

impl<'a> EndpointPermit<'a> {
    /// Counts one more call, or returns `None` if `max` calls run.
    fn acquire(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        // If the value is not returned, its drop takes the call off the count again.
        let call = Self(count);
        (count.fetch_add(1, Ordering::SeqCst) < max).then_some(call)
    }
}

impl Drop for EndpointPermit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn read_mcp_headers<'a>(request: &HttpRequest<'a>) -> McpHeaders<'a> {
    let text = |name| request.header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    McpHeaders { version: text("mcp-protocol-version"), method: text("mcp-method"), name: text("mcp-name") }
}

/// The response formats that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptedFormat {
    Either,
    Json,
    Events,
}

impl AcceptedFormat {
    /// Reads the Accept headers. A client without one gets JSON. Returns `None` if it accepts neither format. A weight of
    /// zero means "not acceptable" (RFC 9110, section 12.4.2).
    fn from_request(request: &HttpRequest<'_>) -> Option<Self> {
        let (mut json, mut events, mut has_range) = (false, false, false);
        for range in request.headers("accept").flat_map(|value| value.split(|b| *b == b',')) {
            let mut parts = range.split(|b| *b == b';').map(|part| part.trim_ascii().to_ascii_lowercase());
            let range = parts.next().expect("a split has a first part");
            has_range = true;
            if parts.any(|weight| matches!(weight.as_slice(), b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000")) {
                continue;
            }
            json |= matches!(range.as_slice(), b"*/*" | b"application/*" | b"application/json");
            events |= matches!(range.as_slice(), b"*/*" | b"text/*" | b"text/event-stream");
        }
        match (json, events) {
            (true, true) => Some(Self::Either),
            (true, false) => Some(Self::Json),
            (false, true) => Some(Self::Events),
            (false, false) => (!has_range).then_some(Self::Json),
        }
    }
}
