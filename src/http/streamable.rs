//! Streamable HTTP: one endpoint, `POST /mcp`, for both eras of the protocol (2025-03-26 to 2026-07-28).
//!
//! There are no sessions, so that any replica can answer any request. A request runs on its connection's own thread and
//! is answered with one JSON document, unless the call has something to say before its answer (progress, log messages):
//! with the first of that the reply becomes an event stream, whose end is the end of the connection.

use super::HttpState;
use super::event_stream::EventStream;
use super::quota::QuotaPermit;
use super::response::HttpResponse;
use super::routes::{HttpRequest, RouteOutcome};
use crate::base::cancel::CancelToken;
use crate::mcp::context::Caller;
use crate::mcp::message::{
    self, BUSY, INVALID_REQUEST, InvalidMessage, MAX_BATCH, Message, RequestParams, SERVER_BUSY_MESSAGE,
};
use crate::mcp::modern::{self, McpHeaders};
use crate::mcp::{self, ProtocolEra, TransportContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `POST /mcp`.
pub fn handle_post(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    if !request.has_json_body() {
        return HttpResponse::text(415, "the Content-Type must be application/json").into();
    }
    let Some(accepts) = AcceptedFormat::from_request(request) else {
        return HttpResponse::text(406, "Accept must allow application/json or text/event-stream").into();
    };
    match message::split_batch(request.body, MAX_BATCH) {
        None => {}
        Some(Ok(parts)) => return handle_batch(state, request, &parts),
        Some(Err(InvalidMessage(answer))) => return HttpResponse::json(400, answer).into(),
    }
    let message = match message::parse_message(request.body) {
        Ok(Message::Request(message)) => message,
        // Without sessions a notification has nothing to refer to: the id in a legacy `cancelled` may be in use by
        // several clients, and modern clients cancel by closing the response.
        Ok(Message::Notification(_) | Message::Response) => return HttpResponse::text(202, "").into(),
        Err(InvalidMessage(answer)) => return HttpResponse::json(400, answer).into(),
    };
    let params = match message.parse_params() {
        Ok(params) => params,
        Err(fault) => return HttpResponse::json(400, message.encode_error(&fault)).into(),
    };
    if let Err(fault) = modern::check_headers(read_mcp_headers(request), &message, &params) {
        return HttpResponse::json(400, message.encode_error(&fault)).into();
    }
    match HttpCallPermit::acquire(state, &request.caller, &message) {
        Ok(permit) => handle_call(state, request, &message, params, accepts, permit),
        Err(busy) => HttpResponse::json(200, busy).into(),
    }
}

fn handle_call(
    state: &HttpState,
    request: &HttpRequest<'_>,
    message: &message::RpcRequest<'_>,
    params: RequestParams<'_>,
    accepts: AcceptedFormat,
    permit: Option<HttpCallPermit<'_>>,
) -> RouteOutcome {
    let caller = &request.caller;
    let era = if params.claimed_version().is_some() { ProtocolEra::Modern } else { ProtocolEra::Legacy };
    let cancel = CancelToken::new();
    if !message.may_take_long() {
        let transport = TransportContext { caller, calls: None, cancel, notify: &|_| () };
        return match state.mcp.handle_request(message, Ok(params), &transport) {
            Some(answer) => send_response(state, request, era, accepts, answer),
            None => RouteOutcome::Sent,
        };
    }
    // In the older eras a lost connection is no cancellation (2025-11-25, Streamable HTTP).
    let monitored = state.monitor.register(request.stream, &cancel, era == ProtocolEra::Modern);
    let events = || monitored.events().get_or_init(|| start_events(state, request));
    let send = |note: &[u8]| {
        // Nobody reads it any more: in the modern era that is as good as closing.
        if accepts != AcceptedFormat::Json && !events().send(note, || ()) && era == ProtocolEra::Modern {
            cancel.cancel();
        }
    };
    let transport = TransportContext { caller, calls: None, cancel: cancel.clone(), notify: &send };
    let answer = state.mcp.handle_request(message, Ok(params), &transport);
    match answer {
        None => RouteOutcome::Sent,
        Some(answer) if monitored.events().get().is_some() => {
            // Given back just before the client can know of the answer, and send its next call.
            events().send(&answer.bytes, || drop(permit));
            RouteOutcome::Sent
        }
        Some(answer) => {
            drop(permit);
            send_response(state, request, era, accepts, answer)
        }
    }
}

/// An answer that nothing was said before: as JSON, or as the only event of a stream for a client that takes no JSON.
/// What has a status of its own is JSON for everybody.
fn send_response(
    state: &HttpState,
    request: &HttpRequest<'_>,
    era: ProtocolEra,
    accepts: AcceptedFormat,
    answer: mcp::RpcResponse,
) -> RouteOutcome {
    let status = modern::http_status(era, answer.code);
    if accepts != AcceptedFormat::Events || status != 200 {
        return HttpResponse::json(status, answer.bytes).into();
    }
    start_events(state, request).send(&answer.bytes, || ());
    RouteOutcome::Sent
}

/// The stream that the reply becomes, with a comment at once: some proxies hold back even the head until the first byte
/// of a body. Where it can't begin it has ended, and takes no event.
fn start_events(state: &HttpState, request: &HttpRequest<'_>) -> EventStream {
    let events = EventStream::new(request.stream.clone(), state.limits.write_timeout);
    if events.start(": answer follows\n\n", || true).is_err() {
        events.end();
    }
    events
}

/// The messages of a batch one after the other, once all of them are known to be fit for one. Its answers are one
/// array, within the bound of a single answer; without any, there is nothing to say.
fn handle_batch(state: &HttpState, from: &HttpRequest<'_>, parts: &[&str]) -> RouteOutcome {
    let messages: Vec<_> = parts.iter().map(|part| message::parse_message(part.as_bytes())).collect();
    for message in &messages {
        if let Ok(Message::Request(request)) = message
            && request.parse_params().is_ok_and(|params| params.claimed_version().is_some())
        {
            let why = "2026-07-28 has no batches: send each message by itself";
            return HttpResponse::json(400, request.encode_rejection(INVALID_REQUEST, why)).into();
        }
    }
    let mut answers = Vec::new();
    for message in messages {
        let answer = match message {
            Ok(Message::Notification(_) | Message::Response) => continue,
            Err(InvalidMessage(answer)) => answer,
            Ok(Message::Request(request)) if answers.len() > state.limits.max_answer_bytes => request
                .encode_rejection(BUSY, "not run: the answers before it are too large together; send it by itself"),
            Ok(Message::Request(request)) if state.is_stopping() => {
                request.encode_rejection(BUSY, "not run: the server is stopping; send it again in a few seconds")
            }
            Ok(Message::Request(request)) => match HttpCallPermit::acquire(state, &from.caller, &request) {
                Err(busy) => busy,
                Ok(_permit) => {
                    let cancel = CancelToken::new();
                    let _monitored = state.monitor.register(from.stream, &cancel, false);
                    let transport = TransportContext { caller: &from.caller, calls: None, cancel, notify: &|_| () };
                    match state.mcp.handle_request(&request, request.parse_params(), &transport) {
                        Some(answer) => answer.bytes,
                        None => continue,
                    }
                }
            },
        };
        answers.push(if answers.is_empty() { b'[' } else { b',' });
        answers.extend_from_slice(&answer);
    }
    if answers.is_empty() {
        return HttpResponse::text(202, "").into();
    }
    answers.push(b']');
    HttpResponse::json(200, answers).into()
}

/// A call's place among those in flight on this endpoint, until this is dropped.
struct HttpCallPermit<'a> {
    running: &'a AtomicUsize,
    /// And its place among its client's.
    quota_permit: Option<QuotaPermit>,
}

impl<'a> HttpCallPermit<'a> {
    /// `Err` is the answer. A request that is answered from memory needs no place.
    fn acquire(
        state: &'a HttpState,
        caller: &Caller,
        message: &message::RpcRequest<'_>,
    ) -> Result<Option<Self>, Vec<u8>> {
        if !message.may_take_long() {
            return Ok(None);
        }
        // The permit is dropped, and with it the count, if it is one too many.
        let mut permit = Self { running: &state.running_calls, quota_permit: None };
        let refuse = |why: &str| {
            state.mcp.record_busy(message, caller);
            message.encode_rejection(BUSY, why)
        };
        if state.running_calls.fetch_add(1, Ordering::SeqCst) >= state.limits.max_calls {
            return Err(refuse(SERVER_BUSY_MESSAGE));
        }
        permit.quota_permit = Some(state.quotas.acquire(&caller.client).map_err(|why| refuse(&why))?);
        Ok(Some(permit))
    }
}

impl Drop for HttpCallPermit<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn read_mcp_headers<'a>(request: &HttpRequest<'a>) -> McpHeaders<'a> {
    let text = |name| request.header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    McpHeaders { version: text("mcp-protocol-version"), method: text("mcp-method"), name: text("mcp-name") }
}

/// What kind of answer a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptedFormat {
    Either,
    Json,
    Events,
}

impl AcceptedFormat {
    /// Lenient: a client that says nothing gets JSON. `None` where it takes neither kind.
    fn from_request(request: &HttpRequest<'_>) -> Option<Self> {
        let (mut json, mut events, mut any) = (false, false, false);
        for range in request.headers("accept").flat_map(|value| value.split(|b| *b == b',')) {
            let range = range.split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            any = true;
            json |= matches!(range.as_slice(), b"*/*" | b"application/*" | b"application/json");
            events |= matches!(range.as_slice(), b"*/*" | b"text/*" | b"text/event-stream");
        }
        match (json, events) {
            (true, true) => Some(Self::Either),
            (true, false) => Some(Self::Json),
            (false, true) => Some(Self::Events),
            (false, false) => (!any).then_some(Self::Json),
        }
    }
}
