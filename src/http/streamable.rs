//! Streamable HTTP: one endpoint, `POST /mcp`, for both eras of the protocol (2025-03-26 to 2026-07-28).
//!
//! There are no sessions, so that any replica can answer any request. A request runs on its connection's own thread and
//! is answered with one JSON document, unless the call has something to say before its answer (progress, log messages):
//! with the first of that the reply becomes an event stream, whose end is the end of the connection.

use super::Front;
use super::events::EventStream;
use super::quota::Place;
use super::reply::Reply;
use super::routes::{Answer, Request};
use crate::cancel::Cancel;
use crate::mcp::context::Caller;
use crate::mcp::message::{self, BUSY, INVALID_REQUEST, Invalid, MAX_BATCH, Message, Params, SERVER_BUSY};
use crate::mcp::modern::{self, Headers};
use crate::mcp::{self, Era, Exchange};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `POST /mcp`.
pub fn post(front: &Arc<Front>, request: &mut Request<'_>) -> Answer {
    if !request.is_json() {
        return Reply::text(415, "the Content-Type must be application/json").into();
    }
    let Some(accepts) = Accepts::of(request) else {
        return Reply::text(406, "Accept must allow application/json or text/event-stream").into();
    };
    match message::batch(request.body, MAX_BATCH) {
        None => {}
        Some(Ok(parts)) => return batch(front, request, &parts),
        Some(Err(Invalid(answer))) => return Reply::json(400, answer).into(),
    }
    let message = match message::parse(request.body) {
        Ok(Message::Request(message)) => message,
        // Without sessions a notification has nothing to refer to: the id in a legacy `cancelled` may be in use by
        // several clients, and modern clients cancel by closing the response.
        Ok(Message::Notification(_) | Message::Response) => return Reply::text(202, "").into(),
        Err(Invalid(answer)) => return Reply::json(400, answer).into(),
    };
    let params = match message.params() {
        Ok(params) => params,
        Err(fault) => return Reply::json(400, message.fault(&fault)).into(),
    };
    if let Err(fault) = modern::check_headers(headers(request), &message, &params) {
        return Reply::json(400, message.fault(&fault)).into();
    }
    match Permit::take(front, &request.caller, &message) {
        Ok(permit) => answer(front, request, &message, params, accepts, permit),
        Err(busy) => Reply::json(200, busy).into(),
    }
}

fn answer(
    front: &Front,
    request: &Request<'_>,
    message: &message::Request<'_>,
    params: Params<'_>,
    accepts: Accepts,
    permit: Option<Permit<'_>>,
) -> Answer {
    let caller = &request.caller;
    let era = if params.claimed_version().is_some() { Era::Modern } else { Era::Legacy };
    let cancel = Cancel::new();
    if !message.may_take_long() {
        let exchange = Exchange { caller, calls: None, cancel, send: &|_| () };
        return match front.mcp.answer(message, Ok(params), &exchange) {
            Some(answer) => reply(front, request, era, accepts, answer),
            None => Answer::Done,
        };
    }
    // In the older eras a lost connection is no cancellation (2025-11-25, Streamable HTTP).
    let watched = front.watch.begin(request.stream, &cancel, era == Era::Modern);
    let events = || watched.events().get_or_init(|| begin(front, request));
    let send = |note: &[u8]| {
        // Nobody reads it any more: in the modern era that is as good as closing.
        if accepts != Accepts::Json && !events().send(note, || ()) && era == Era::Modern {
            cancel.cancel();
        }
    };
    let exchange = Exchange { caller, calls: None, cancel: cancel.clone(), send: &send };
    let answer = front.mcp.answer(message, Ok(params), &exchange);
    match answer {
        None => Answer::Done,
        Some(answer) if watched.events().get().is_some() => {
            // Given back just before the client can know of the answer, and send its next call.
            events().send(&answer.bytes, || drop(permit));
            Answer::Done
        }
        Some(answer) => {
            drop(permit);
            reply(front, request, era, accepts, answer)
        }
    }
}

/// An answer that nothing was said before: as JSON, or as the only event of a stream for a client that takes no JSON.
/// What has a status of its own is JSON for everybody.
fn reply(front: &Front, request: &Request<'_>, era: Era, accepts: Accepts, answer: mcp::Answer) -> Answer {
    let status = modern::http_status(era, answer.code);
    if accepts != Accepts::Events || status != 200 {
        return Reply::json(status, answer.bytes).into();
    }
    begin(front, request).send(&answer.bytes, || ());
    Answer::Done
}

/// The stream that the reply becomes, with a comment at once: some proxies hold back even the head until the first byte
/// of a body. Where it can't begin it has ended, and takes no event.
fn begin(front: &Front, request: &Request<'_>) -> EventStream {
    let events = EventStream::new(request.stream.clone(), front.limits.write_timeout);
    if events.begin(": answer follows\n\n", || true).is_err() {
        events.end();
    }
    events
}

/// The messages of a batch one after the other, once all of them are known to be fit for one. Its answers are one
/// array, within the bound of a single answer; without any, there is nothing to say.
fn batch(front: &Front, from: &Request<'_>, parts: &[&str]) -> Answer {
    let messages: Vec<_> = parts.iter().map(|part| message::parse(part.as_bytes())).collect();
    for message in &messages {
        if let Ok(Message::Request(request)) = message
            && request.params().is_ok_and(|params| params.claimed_version().is_some())
        {
            let why = "2026-07-28 has no batches: send each message by itself";
            return Reply::json(400, request.refuse(INVALID_REQUEST, why)).into();
        }
    }
    let mut answers = Vec::new();
    for message in messages {
        let answer = match message {
            Ok(Message::Notification(_) | Message::Response) => continue,
            Err(Invalid(answer)) => answer,
            Ok(Message::Request(request)) if answers.len() > front.limits.max_answer_bytes => {
                request.refuse(BUSY, "not run: the answers before it are too large together; send it by itself")
            }
            Ok(Message::Request(request)) if front.is_stopping() => {
                request.refuse(BUSY, "not run: the server is stopping; send it again in a few seconds")
            }
            Ok(Message::Request(request)) => match Permit::take(front, &from.caller, &request) {
                Err(busy) => busy,
                Ok(_permit) => {
                    let cancel = Cancel::new();
                    let _watched = front.watch.begin(from.stream, &cancel, false);
                    let exchange = Exchange { caller: &from.caller, calls: None, cancel, send: &|_| () };
                    match front.mcp.answer(&request, request.params(), &exchange) {
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
        return Reply::text(202, "").into();
    }
    answers.push(b']');
    Reply::json(200, answers).into()
}

/// A call's place among those in flight on this endpoint, until this is dropped.
struct Permit<'a> {
    calls: &'a AtomicUsize,
    /// And its place among its client's.
    place: Option<Place>,
}

impl<'a> Permit<'a> {
    /// `Err` is the answer. A request that is answered from memory needs no place.
    fn take(front: &'a Front, caller: &Caller, message: &message::Request<'_>) -> Result<Option<Self>, Vec<u8>> {
        if !message.may_take_long() {
            return Ok(None);
        }
        // The permit is dropped, and with it the count, if it is one too many.
        let mut permit = Self { calls: &front.calls, place: None };
        let refuse = |why: &str| {
            front.mcp.busy(message, caller);
            message.refuse(BUSY, why)
        };
        if front.calls.fetch_add(1, Ordering::SeqCst) >= front.limits.max_calls {
            return Err(refuse(SERVER_BUSY));
        }
        permit.place = Some(front.quotas.take(&caller.client).map_err(|why| refuse(&why))?);
        Ok(Some(permit))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

fn headers<'a>(request: &Request<'a>) -> Headers<'a> {
    let text = |name| request.header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    Headers { version: text("mcp-protocol-version"), method: text("mcp-method"), name: text("mcp-name") }
}

/// What kind of answer a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepts {
    Either,
    Json,
    Events,
}

impl Accepts {
    /// Lenient: a client that says nothing gets JSON. `None` where it takes neither kind.
    fn of(request: &Request<'_>) -> Option<Self> {
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
