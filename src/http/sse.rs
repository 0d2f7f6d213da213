//! Sessions of the HTTP+SSE transport (MCP 2024-11-05).
//!
//! `GET /sse` opens a stream whose first event names the path to post messages to; each post is answered 202 at once
//! and its answer comes as an event on the stream. A session is a writer, not a thread: whoever has an answer writes
//! it, one write an event, under the writer's lock and a deadline. The thread of the stream's connection only sits in
//! a read, so that it knows at once when the client is gone. One more thread, for all sessions together, writes
//! comments that keep the proxies on the way from ending a quiet stream.

use super::Front;
use super::admission::Permit;
use super::budget::Reserved;
use super::channel::Channel;
use super::reply::Reply;
use super::routes::{Answer, Request};
use super::session::{Session, Slot};
use crate::cancel::Cancel;
use crate::mcp;
use crate::mcp::call::InFlight;
use crate::mcp::context::Caller;
use crate::mcp::message::{BUSY, Invalid, MAX_BATCH, Message, SERVER_BUSY, batch, parse};
use crate::metrics::Refusal;
use crate::settings::{Client, Limits};
use ring::rand::{SecureRandom, SystemRandom};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SESSION_BUSY: &str =
    "busy: this session has as many calls in flight as it may; send it again when one of them has ended";
const STOPPING: &str = "the server is stopping; reconnect and send the call again in a few seconds";

/// The open sessions.
pub struct Sessions {
    table: Mutex<HashMap<u128, Arc<Session>>>,
    random: SystemRandom,
    max: usize,
    write_timeout: Duration,
}

/// A call for the workers: its message, not yet read, and its place in the session.
pub struct Job {
    slot: Slot,
    caller: Caller,
    body: Vec<u8>,
    call: InFlight,
    /// The memory that its message takes, if that is much.
    _reserved: Option<Reserved>,
}

/// `GET /sse`.
pub fn open(front: &Arc<Front>, request: &mut Request<'_>) -> Answer {
    match front.sessions.open(
        request.stream.clone(),
        Caller { transport: "sse", ..request.caller.clone() },
        request.permit,
    ) {
        Ok(session) => Answer::Stream(session),
        Err(reply) => {
            front.counts().refused(Refusal::Sessions);
            reply.into()
        }
    }
}

/// `POST /messages?sessionId=…`. What is answered from memory is on the stream before the 202 is out.
pub fn post(front: &Arc<Front>, request: &mut Request<'_>) -> Answer {
    if !request.is_json() {
        return Reply::text(415, "the Content-Type must be application/json").into();
    }
    let Some(id) = request.query("sessionId") else {
        return Reply::text(400, "sessionId is missing: post to the path of the stream's endpoint event").into();
    };
    let gone = || Reply::text(404, "no such session, or it has ended: reconnect to GET /sse").into();
    let Some(session) = front.sessions.find(id, &request.caller.client) else { return gone() };
    // What it may do is what it may do now, not when the stream was opened.
    let caller = &Caller { transport: "sse", ..request.caller.clone() };
    let delivered = match batch(request.body, MAX_BATCH) {
        Some(Err(Invalid(answer))) => return Reply::json(400, answer).into(),
        // Its answers come one by one, as those of any other calls.
        Some(Ok(parts)) => {
            parts.iter().all(|part| match take(front, &session, caller, &mut None, part.as_bytes().to_vec()) {
                Ok(delivered) => delivered,
                Err(Invalid(answer)) => session.send(&answer, None),
            })
        }
        None => {
            let body = std::mem::take(request.body);
            match take(front, &session, caller, &mut request.reserved, body) {
                Ok(delivered) => delivered,
                Err(Invalid(answer)) => return Reply::json(400, answer).into(),
            }
        }
    };
    if delivered { Reply::text(202, "Accepted").into() } else { gone() }
}

/// Takes one message; returns whether the session's client can still be reached.
fn take(
    front: &Front,
    session: &Arc<Session>,
    caller: &Caller,
    reserved: &mut Option<Reserved>,
    body: Vec<u8>,
) -> Result<bool, Invalid> {
    Ok(match parse(&body)? {
        Message::Response => true,
        Message::Notification(notification) => {
            front.mcp.notice(&notification, &session.calls);
            true
        }
        Message::Request(message) if !message.may_take_long() => {
            let answer = session.answer(&front.mcp, caller, &message, Cancel::new());
            answer.is_none_or(|answer| session.send(&answer, None))
        }
        Message::Request(message) => match slot(front, session, caller) {
            Err(text) => {
                front.mcp.busy(&message, caller);
                session.send(&message.refuse(BUSY, &text), None)
            }
            Ok(slot) => {
                // On the list before it runs, so that a cancellation finds it however soon it comes.
                let call = session.calls.begin(message.id());
                let caller = caller.clone();
                let job = Job { slot, caller, body, call, _reserved: reserved.take() };
                match front.workers.submit(job) {
                    Ok(()) => true,
                    Err(job) => job.refuse(&front.mcp, if front.is_stopping() { STOPPING } else { SERVER_BUSY }),
                }
            }
        },
    })
}

/// A place for a call, in its session and among its client's. The error says what there is too much of.
fn slot(front: &Front, session: &Arc<Session>, caller: &Caller) -> Result<Slot, Cow<'static, str>> {
    let mut slot = session.take_slot(front.limits.max_calls_per_session).ok_or(SESSION_BUSY)?;
    slot.place = Some(front.quotas.take(&caller.client)?);
    Ok(slot)
}

impl Job {
    /// Runs the call and sends its answer.
    pub fn run(self, mcp: &mcp::Server) {
        let Self { slot, caller, body, call, _reserved } = self;
        let session = slot.session.clone();
        if session.events.has_ended() {
            return;
        }
        let Ok(Message::Request(request)) = parse(&body) else { return };
        if let Some(answer) = session.answer(mcp, &caller, &request, call.cancel.clone()) {
            session.send(&answer, Some(slot));
        }
    }

    /// Sends an error for it; returns whether the client could be told.
    fn refuse(self, mcp: &mcp::Server, text: &str) -> bool {
        match parse(&self.body) {
            Ok(Message::Request(request)) => {
                mcp.busy(&request, &self.caller);
                self.slot.session.send(&request.refuse(BUSY, text), None)
            }
            _ => true,
        }
    }
}

impl Sessions {
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
    fn open(&self, stream: Arc<Channel>, caller: Caller, permit: &Permit) -> Result<Arc<Session>, Reply> {
        let broken = || Reply::text(500, "internal error: no session could be made").closing();
        let mut id = [0; 16];
        self.random.fill(&mut id).map_err(|_| broken())?;
        let id = u128::from_be_bytes(id);
        let session = Arc::new(Session::new(id, caller, stream, self.write_timeout));
        // A path, not a URL: clients refuse another origin than the one they connected to, which only they know.
        let endpoint = format!("event: endpoint\ndata: /messages?sessionId={id:032x}\n\n");
        let mut open = 0;
        let enter = || {
            let mut table = self.table();
            let room = table.len() < self.max;
            if room {
                table.insert(id, session.clone());
                // Before the client can post: from its first call on, a stop must take this for a stream.
                permit.streams();
            }
            open = table.len();
            room
        };
        match session.events.begin(&endpoint, enter) {
            Ok(true) => {}
            Ok(false) => return Err(Reply::unavailable("too many sessions are open (--max-sessions)")),
            Err(_) => return Err(broken()),
        }
        log::debug!("session {session} opened, {open} open");
        Ok(session)
    }

    /// The session with this id, if it is open and this client's. Another's is not told apart from none.
    fn find(&self, id: &str, client: &Client) -> Option<Arc<Session>> {
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let id = u128::from_str_radix(id, 16).ok()?;
        let is_theirs = |session: &&Arc<Session>| session.caller.client.is(client) && !session.events.has_ended();
        self.table().get(&id).filter(is_theirs).cloned()
    }

    /// Stays until the session's client is gone or the session is ended from here; then cancels its calls.
    pub fn hold(&self, session: &Arc<Session>) {
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
    pub fn open_now(&self) -> usize {
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
    pub fn give_up_calls(&self) {
        for session in self.table().values() {
            session.calls.give_up_all();
        }
    }

    /// Ends the sessions of all but these clients.
    pub fn end_unless(&self, stays: &dyn Fn(&Client) -> bool) {
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

    fn table(&self) -> MutexGuard<'_, HashMap<u128, Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::Connections;
    use super::super::channel::tests::pair;
    use super::super::events::tests::read_until;
    use super::*;
    use std::net::TcpStream;

    /// A session, what its client has, and the table it stands in.
    fn session() -> (Sessions, Arc<Session>, TcpStream, Permit) {
        let write_timeout = Duration::from_secs(10);
        let (stream, client) = pair(write_timeout);
        let sessions = Sessions::new(&Limits { max_sessions: 1, write_timeout, ..Limits::default() });
        let connections = Arc::new(Connections::new(1, 1));
        let permit = connections.admit(&stream, stream.socket().peer_addr().unwrap()).unwrap();
        let session = sessions.open(stream, Caller::stdio(), &permit).map_err(|reply| reply.status).unwrap();
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
        assert!(sessions.find(id, &Client::anyone()).is_none(), "another client");
        assert_eq!(session.to_string(), format!("{}…", &id[..6]));
        let another = sessions.open(session.events.connection().clone(), session.caller.clone(), &permit);
        assert_eq!(another.err().map(|reply| reply.status), Some(503), "the cap");
        session.events.end();
        assert!(sessions.find(id, &session.caller.client).is_none());
        sessions.hold(&session);
        assert!(sessions.table().is_empty());
    }
}
