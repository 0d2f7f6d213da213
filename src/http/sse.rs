//! Sessions of the HTTP+SSE transport (MCP 2024-11-05).
//!
//! `GET /sse` opens a stream whose first event names the path to post messages to; each post is answered 202 at once
//! and its answer comes as an event on the stream. A session is a writer, not a thread: whoever has an answer writes
//! it, one write an event, under the writer's lock and a deadline. The thread of the stream's connection only sits in
//! a read, so that it knows at once when the client is gone. One more thread, for all sessions together, writes
//! comments that keep the proxies on the way from ending a quiet stream.

use super::HttpState;
use super::admission::ConnectionPermit;
use super::client_stream::ClientStream;
use super::memory_budget::MemoryReservation;
use super::response::HttpResponse;
use super::routes::{HttpRequest, RouteOutcome};
use super::sse_session::{SessionSlot, SseSession};
use crate::base::cancel::CancelToken;
use crate::config::{Client, Limits};
use crate::mcp;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::CallGuard;
use crate::mcp::message::{BUSY, InvalidMessage, MAX_BATCH, Message, SERVER_BUSY_MESSAGE, parse_message, split_batch};
use crate::metrics::RefusalReason;
use ring::rand::{SecureRandom, SystemRandom};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SESSION_BUSY: &str =
    "busy: this session has as many calls in flight as it may; send it again when one of them has ended";
const SERVER_STOPPING: &str = "the server is stopping; reconnect and send the call again in a few seconds";

/// The open sessions.
pub struct SseSessions {
    table: Mutex<HashMap<u128, Arc<SseSession>>>,
    random: SystemRandom,
    max: usize,
    write_timeout: Duration,
}

/// A call for the workers: its message, not yet read, and its place in the session.
pub struct SseCall {
    slot: SessionSlot,
    caller: Caller,
    body: Vec<u8>,
    call: CallGuard,
    /// The memory that its message takes, if that is much.
    _reservation: Option<MemoryReservation>,
}

/// `GET /sse`.
pub fn open_session(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    match state.sessions.open(
        request.stream.clone(),
        Caller { transport: "sse", ..request.caller.clone() },
        request.permit,
    ) {
        Ok(session) => RouteOutcome::Session(session),
        Err(reply) => {
            state.metrics().count_refusal(RefusalReason::Sessions);
            reply.into()
        }
    }
}

/// `POST /messages?sessionId=…`. What is answered from memory is on the stream before the 202 is out.
pub fn handle_post(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    if !request.has_json_body() {
        return HttpResponse::text(415, "the Content-Type must be application/json").into();
    }
    let Some(id) = request.query_value("sessionId") else {
        return HttpResponse::text(400, "sessionId is missing: post to the path of the stream's endpoint event").into();
    };
    let gone = || HttpResponse::text(404, "no such session, or it has ended: reconnect to GET /sse").into();
    let Some(session) = state.sessions.find(id, &request.caller.client) else { return gone() };
    // What it may do is what it may do now, not when the stream was opened.
    let caller = &Caller { transport: "sse", ..request.caller.clone() };
    let delivered = match split_batch(request.body, MAX_BATCH) {
        Some(Err(InvalidMessage(answer))) => return HttpResponse::json(400, answer).into(),
        // Its answers come one by one, as those of any other calls.
        Some(Ok(parts)) => parts.iter().all(|part| {
            match handle_message(state, &session, caller, &mut None, part.as_bytes().to_vec()) {
                Ok(delivered) => delivered,
                Err(InvalidMessage(answer)) => session.send(&answer, None),
            }
        }),
        None => {
            let body = std::mem::take(request.body);
            match handle_message(state, &session, caller, &mut request.reservation, body) {
                Ok(delivered) => delivered,
                Err(InvalidMessage(answer)) => return HttpResponse::json(400, answer).into(),
            }
        }
    };
    if delivered { HttpResponse::text(202, "Accepted").into() } else { gone() }
}

/// Takes one message; returns whether the session's client can still be reached.
fn handle_message(
    state: &HttpState,
    session: &Arc<SseSession>,
    caller: &Caller,
    reservation: &mut Option<MemoryReservation>,
    body: Vec<u8>,
) -> Result<bool, InvalidMessage> {
    Ok(match parse_message(&body)? {
        Message::Response => true,
        Message::Notification(notification) => {
            state.mcp.handle_notification(&notification, &session.calls);
            true
        }
        Message::Request(message) if !message.may_take_long() => {
            let answer = session.handle_request(&state.mcp, caller, &message, CancelToken::new());
            answer.is_none_or(|answer| session.send(&answer, None))
        }
        Message::Request(message) => match acquire_slot(state, session, caller) {
            Err(text) => {
                state.mcp.record_busy(&message, caller);
                session.send(&message.encode_rejection(BUSY, &text), None)
            }
            Ok(slot) => {
                // On the list before it runs, so that a cancellation finds it however soon it comes.
                let call = session.calls.register(message.id());
                let caller = caller.clone();
                let job = SseCall { slot, caller, body, call, _reservation: reservation.take() };
                match state.workers.submit(job) {
                    Ok(()) => true,
                    Err(job) => {
                        job.reject(&state.mcp, if state.is_stopping() { SERVER_STOPPING } else { SERVER_BUSY_MESSAGE })
                    }
                }
            }
        },
    })
}

/// A place for a call, in its session and among its client's. The error says what there is too much of.
fn acquire_slot(
    state: &HttpState,
    session: &Arc<SseSession>,
    caller: &Caller,
) -> Result<SessionSlot, Cow<'static, str>> {
    let mut slot = session.acquire_slot(state.limits.max_calls_per_session).ok_or(SESSION_BUSY)?;
    slot.quota_permit = Some(state.quotas.acquire(&caller.client)?);
    Ok(slot)
}

impl SseCall {
    /// Runs the call and sends its answer.
    pub fn run(self, mcp: &mcp::McpServer) {
        let Self { slot, caller, body, call, _reservation } = self;
        let session = slot.session.clone();
        if session.events.has_ended() {
            return;
        }
        let Ok(Message::Request(request)) = parse_message(&body) else { return };
        if let Some(answer) = session.handle_request(mcp, &caller, &request, call.cancel.clone()) {
            session.send(&answer, Some(slot));
        }
    }

    /// Sends an error for it; returns whether the client could be told.
    fn reject(self, mcp: &mcp::McpServer, text: &str) -> bool {
        match parse_message(&self.body) {
            Ok(Message::Request(request)) => {
                mcp.record_busy(&request, &self.caller);
                self.slot.session.send(&request.encode_rejection(BUSY, text), None)
            }
            _ => true,
        }
    }
}

impl SseSessions {
    /// None open yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            table: Mutex::default(),
            random: SystemRandom::new(),
            max: limits.max_sessions,
            write_timeout: limits.write_timeout,
        }
    }

    /// Opens a session on a connection: sends the stream's head and the `endpoint` event. `Err` is the answer.
    fn open(
        &self,
        stream: Arc<ClientStream>,
        caller: Caller,
        permit: &ConnectionPermit,
    ) -> Result<Arc<SseSession>, HttpResponse> {
        let broken = || HttpResponse::text(500, "internal error: no session could be made").with_close();
        let mut id = [0; 16];
        self.random.fill(&mut id).map_err(|_| broken())?;
        let id = u128::from_be_bytes(id);
        let session = Arc::new(SseSession::new(id, caller, stream, self.write_timeout));
        // A path, not a URL: clients refuse another origin than the one they connected to, which only they know.
        let endpoint = format!("event: endpoint\ndata: /messages?sessionId={id:032x}\n\n");
        let mut open = 0;
        let enter = || {
            let mut table = self.table();
            let room = table.len() < self.max;
            if room {
                table.insert(id, session.clone());
                // Before the client can post: from its first call on, a stop must take this for a stream.
                permit.mark_streaming();
            }
            open = table.len();
            room
        };
        match session.events.start(&endpoint, enter) {
            Ok(true) => {}
            Ok(false) => return Err(HttpResponse::unavailable("too many sessions are open (--max-sessions)")),
            Err(_) => return Err(broken()),
        }
        log::debug!("session {session} opened, {open} open");
        Ok(session)
    }

    /// The session with this id, if it is open and this client's. Another's is not told apart from none.
    fn find(&self, id: &str, client: &Client) -> Option<Arc<SseSession>> {
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let id = u128::from_str_radix(id, 16).ok()?;
        let is_theirs =
            |session: &&Arc<SseSession>| session.caller.client.is_same_client(client) && !session.events.has_ended();
        self.table().get(&id).filter(is_theirs).cloned()
    }

    /// Stays until the session's client is gone or the session is ended from here; then cancels its calls.
    pub fn wait_until_closed(&self, session: &Arc<SseSession>) {
        session.wait_for_end();
        session.events.end();
        let open = {
            let mut table = self.table();
            table.remove(&session.id);
            table.len()
        };
        session.calls.cancel_all();
        log::debug!("session {session} ended, {open} open");
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.table().len()
    }

    /// Sends a comment on every stream that takes it at once.
    pub fn keep_alive(&self) {
        let all: Vec<_> = self.table().values().cloned().collect();
        for session in all {
            session.events.keep_alive();
        }
    }

    /// Gives every call up that is still at work: there is no more time for them.
    pub fn cancel_all_for_shutdown(&self) {
        for session in self.table().values() {
            session.calls.cancel_all_for_shutdown();
        }
    }

    /// Ends the sessions of all but these clients.
    pub fn end_others(&self, stays: &dyn Fn(&Client) -> bool) {
        for session in self.table().values().filter(|session| !stays(&session.caller.client)) {
            session.events.end();
        }
    }

    /// Ends every session: what was sent still arrives.
    pub fn end_all(&self) {
        for session in self.table().values() {
            session.events.end();
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u128, Arc<SseSession>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::Connections;
    use super::super::client_stream::tests::connection_pair;
    use super::super::event_stream::tests::read_until;
    use super::*;
    use std::net::TcpStream;

    /// A session, what its client has, and the table it stands in.
    fn session() -> (SseSessions, Arc<SseSession>, TcpStream, ConnectionPermit) {
        let write_timeout = Duration::from_secs(10);
        let (stream, client) = connection_pair(write_timeout);
        let sessions = SseSessions::new(&Limits { max_sessions: 1, write_timeout, ..Limits::default() });
        let connections = Arc::new(Connections::new(1, 1));
        let permit = connections.admit(&stream, stream.socket().peer_addr().unwrap()).unwrap();
        let session = sessions.open(stream, Caller::new_stdio(), &permit).map_err(|reply| reply.status).unwrap();
        (sessions, session, client, permit)
    }

    #[test]
    fn a_session_is_found_by_its_whole_id_only_and_its_log_name_does_not_tell_it() {
        let (sessions, session, mut client, permit) = session();
        let first = read_until(&mut client, "\n\n");
        let id = first.trim_end().rsplit_once('=').unwrap().1;
        assert_eq!(id.len(), 32);
        assert!(sessions.find(id, &session.caller.client).is_some());
        for wrong in ["", "0", &id[1..], &format!("+{}", &id[1..]), &format!("{id}0"), "ü"] {
            assert!(sessions.find(wrong, &session.caller.client).is_none(), "{wrong:?}");
        }
        assert!(sessions.find(id, &Client::anonymous()).is_none(), "another client");
        assert_eq!(session.to_string(), format!("{}…", &id[..6]));
        let another = sessions.open(session.events.stream().clone(), session.caller.clone(), &permit);
        assert_eq!(another.err().map(|reply| reply.status), Some(503), "the cap");
        session.events.end();
        assert!(sessions.find(id, &session.caller.client).is_none());
        sessions.wait_until_closed(&session);
        assert!(sessions.table().is_empty());
    }
}
