//! The endpoints of the HTTP+SSE transport (MCP 2024-11-05).
//!
//! `GET /sse` opens a stream whose first event refers to the path for posts. Each post gets a 202 at once, and its response
//! is an event on the stream. A session is a writer and not a thread. The thread that has a response writes it, one
//! write per event, under the stream's lock and with a deadline. The connection's thread only waits in a read, so that
//! it detects a disconnect at once.

use super::call_rejection::CallRejection;
use super::request::{HttpRequest, RouteOutcome};
use super::response::HttpResponse;
use super::sse_session::SseSession;
use super::sse_sessions::{SseCall, SseCallPermit};
use super::state::HttpState;
use crate::base::cancel::CancelToken;
use crate::base::deadline::Deadline;
use crate::base::memory::{CallMemory, MemoryReservation};
use crate::mcp::context::Caller;
use crate::mcp::message::{InvalidMessage, MAX_BATCH, Message, parse_message, split_batch};
use crate::metrics::RefusalReason;
use std::sync::Arc;

/// Handles `GET /sse`.
pub fn open_session(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let caller = Caller { transport: "sse", ..request.caller.clone() };
    let path = request.head.path(request.bytes);
    let has_share = state.authenticator.clients().len() > 1;
    if state.is_stopping() {
        return HttpResponse::unavailable("the server is stopping").into();
    }
    match state.sessions.open(request.stream.clone(), caller, request.permit, request.cors, path, has_share) {
        Ok(session) => RouteOutcome::Session(session),
        Err(error) => {
            state.metrics().count_refusal(RefusalReason::Sessions);
            error.to_response().into()
        }
    }
}

/// Handles `POST /messages?sessionId=…`. A response that needs no worker is on the stream before the 202 is sent.
pub fn handle_post(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    if !request.has_json_body() {
        return HttpResponse::unsupported_media_type().into();
    }
    let Some(id) = request.query_value("sessionId") else {
        let text = "sessionId is missing. hint: post to the path in the stream's endpoint event";
        return HttpResponse::text(400, text).into();
    };
    let gone = || HttpResponse::text(404, "unknown or ended session. hint: reconnect to GET /sse").into();
    let Some(session) = state.sessions.find(id, &request.caller.client) else { return gone() };
    // The permissions of the post count, not those of the time when the stream was opened.
    let caller = &Caller { transport: "sse", ..request.caller.clone() };
    let delivered = match split_batch(request.body, MAX_BATCH) {
        Some(Err(InvalidMessage(response))) => return HttpResponse::json(400, response).into(),
        // The responses to a batch are sent one by one, like those to single calls.
        Some(Ok(parts)) => parts.iter().all(|part| {
            // Each call outlives the request, so it has an account of its own.
            let memory = state.open_memory(&caller.client);
            let handled = match memory.reserve(part.len()) {
                Ok(reservation) => {
                    let memory = MessageMemory { memory, reservation };
                    handle_message(state, &session, caller, memory, part.as_bytes().to_vec())
                }
                Err(_) => parse_message(part.as_bytes()).map(|message| match message {
                    Message::Request(message) => session.send(&CallRejection::ServerBusy.encode(&message)),
                    Message::Notification(_) | Message::Response => true,
                }),
            };
            handled.unwrap_or_else(|InvalidMessage(response)| session.send(&response))
        }),
        None => {
            let body = std::mem::take(request.body);
            let memory =
                MessageMemory { memory: request.memory.clone(), reservation: std::mem::take(&mut request.reservation) };
            match handle_message(state, &session, caller, memory, body) {
                Ok(delivered) => delivered,
                Err(InvalidMessage(response)) => return HttpResponse::json(400, response).into(),
            }
        }
    };
    if delivered { HttpResponse::text(202, "Accepted").into() } else { gone() }
}

/// The account of a message, and the memory of its bytes.
struct MessageMemory {
    memory: CallMemory,
    reservation: MemoryReservation,
}

/// Handles one message. Returns false if the session's client cannot be reached.
fn handle_message(
    state: &HttpState,
    session: &Arc<SseSession>,
    caller: &Caller,
    memory: MessageMemory,
    body: Vec<u8>,
) -> Result<bool, InvalidMessage> {
    Ok(match parse_message(&body)? {
        Message::Response => true,
        Message::Notification(notification) => {
            state.mcp.handle_notification(&notification, &session.calls);
            true
        }
        Message::Request(message) if !message.may_take_long() => {
            let response =
                session.handle_request(&state.mcp, caller, &message, CancelToken::new().with_memory(memory.memory));
            response.is_none_or(|response| session.send(&response))
        }
        Message::Request(message) => match acquire_permit(state, session, caller) {
            Err(rejection) => {
                state.mcp.record_busy(&message, caller);
                session.send(&rejection.encode(&message))
            }
            Ok(permit) => {
                // Registered before it runs, so that an early cancellation finds it.
                let guard = session.calls.register(message.id().into());
                let MessageMemory { memory, reservation } = memory;
                let begin_by = Deadline::from_now(state.limits.queue_timeout);
                let caller = caller.clone();
                let call = SseCall { caller, body, guard, permit, begin_by, memory, _reservation: reservation };
                match state.workers.submit(call) {
                    Ok(()) => true,
                    Err(call) if state.is_stopping() => call.reject(&state.mcp, &CallRejection::ServerStopping),
                    Err(call) => call.reject(&state.mcp, &CallRejection::ServerBusy),
                }
            }
        },
    })
}

fn acquire_permit(
    state: &HttpState,
    session: &Arc<SseSession>,
    caller: &Caller,
) -> Result<SseCallPermit, CallRejection> {
    let slot = session.acquire_slot(state.limits.max_calls_per_session).ok_or(CallRejection::SessionBusy)?;
    Ok(SseCallPermit { slot, _quota: state.quotas.acquire(&caller.client)? })
}
