//! The open sessions of the HTTP+SSE transport, and the calls that worker threads run for them.

use super::admission::ConnectionPermit;
use super::call_rejection::CallRejection;
use super::client_stream::ClientStream;
use super::cors::{CorsOrigin, response_headers};
use super::quota::QuotaPermit;
use super::response::HttpResponse;
use super::sse_session::{SessionSlot, SseSession};
use crate::base::deadline::Deadline;
use crate::base::memory::{CallMemory, MemoryReservation};
use crate::config::{Client, Limits};
use crate::mcp::McpServer;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::CallGuard;
use crate::mcp::message::{Message, parse_message};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

pub struct SseSessions {
    table: Mutex<HashMap<u128, Arc<SseSession>>>,
    random: SystemRandom,
    max: usize,
    write_timeout: Duration,
}

/// Reason why a session cannot be opened.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum OpenSessionError {
    #[error("too many sessions are open (--max-sessions)")]
    TooManySessions,
    #[error("this client has half of all sessions, its share (--max-sessions)")]
    TooManySessionsOfClient,
    #[error("internal error: cannot create a session")]
    Internal,
}

impl OpenSessionError {
    pub fn to_response(&self) -> HttpResponse {
        match self {
            Self::TooManySessions | Self::TooManySessionsOfClient => HttpResponse::unavailable(self.to_string()),
            Self::Internal => HttpResponse::text(500, self.to_string()).with_close(),
        }
    }
}

/// A call for a worker thread: its message, not yet parsed, and its permits.
pub struct SseCall {
    pub(super) caller: Caller,
    pub(super) body: Vec<u8>,
    pub(super) guard: CallGuard,
    pub(super) permit: SseCallPermit,
    /// For the call to begin.
    pub(super) begin_by: Deadline,
    pub(super) memory: CallMemory,
    /// The memory of the message.
    pub(super) _reservation: MemoryReservation,
}

/// Permit for one call in its session and in its client's quota, released on drop.
pub struct SseCallPermit {
    pub(super) slot: SessionSlot,
    pub(super) _quota: QuotaPermit,
}

impl SseCall {
    /// Runs the call and sends its response.
    pub fn run(self, mcp: &McpServer) {
        if self.permit.slot.session.events.has_ended() {
            return;
        }
        if self.begin_by.remaining().is_zero() {
            self.reject(mcp, &CallRejection::QueueTimeout);
            return;
        }
        let Self { caller, body, guard, permit, memory, begin_by: _, _reservation } = self;
        let session = permit.slot.session.clone();
        let Ok(Message::Request(request)) = parse_message(&body) else { return };
        if let Some(response) = session.handle_request(mcp, &caller, &request, guard.cancel.clone().with_memory(memory))
        {
            // Released just before the client can receive the response and send its next call. Released earlier, a
            // client that does not read could block one worker after the other.
            session.events.send(&response, || drop(permit));
        }
    }

    /// Sends an error as the call's response, unless the client cancelled the call. Returns false if the client cannot be
    /// reached.
    pub(super) fn reject(self, mcp: &McpServer, rejection: &CallRejection) -> bool {
        match parse_message(&self.body) {
            _ if self.guard.cancel.is_client_gone() => true,
            Ok(Message::Request(request)) => {
                mcp.record_busy(&request, &self.caller);
                self.permit.slot.session.send(&rejection.encode(&request))
            }
            _ => true,
        }
    }
}

impl SseSessions {
    pub fn new(limits: &Limits) -> Self {
        Self {
            table: Mutex::default(),
            random: SystemRandom::new(),
            max: limits.max_sessions,
            write_timeout: limits.write_timeout,
        }
    }

    /// Opens a session on a connection: sends the stream's head and the `endpoint` event, which names the path for posts
    /// as a reference relative to `path`, the path of this request. `has_share`: there are other clients, so this one may
    /// have half of all sessions.
    pub(super) fn open(
        &self,
        stream: Arc<ClientStream>,
        caller: Caller,
        permit: &ConnectionPermit,
        cors: Option<&CorsOrigin>,
        path: &str,
        has_share: bool,
    ) -> Result<Arc<SseSession>, OpenSessionError> {
        let mut id = [0; 16];
        self.random.fill(&mut id).map_err(|_| OpenSessionError::Internal)?;
        let id = u128::from_be_bytes(id);
        let client = caller.client.clone();
        let session = Arc::new(SseSession::new(id, caller, stream, self.write_timeout));
        // Only the client knows the origin and the prefix that a proxy gives this server.
        let reference = messages_reference(path);
        let endpoint = format!("event: endpoint\ndata: {reference}?sessionId={id:032x}\n\n");
        let (mut open_count, mut is_share_used) = (0, false);
        let insert = || {
            let mut table = self.table();
            let is_own = |session: &&Arc<SseSession>| session.caller.client.is_same_client(&client);
            is_share_used = has_share && table.values().filter(is_own).count() >= self.max.div_ceil(2);
            let has_space = table.len() < self.max && !is_share_used;
            if has_space {
                table.insert(id, session.clone());
                // Before the client can post: from its first call on, a shutdown must treat the connection as a stream.
                permit.mark_streaming();
            }
            open_count = table.len();
            has_space
        };
        match session.events.start(response_headers(cors), &endpoint, insert) {
            Ok(true) => {}
            Ok(false) if is_share_used => return Err(OpenSessionError::TooManySessionsOfClient),
            Ok(false) => return Err(OpenSessionError::TooManySessions),
            Err(_) => return Err(OpenSessionError::Internal),
        }
        log::debug!("session {session} opened, {open_count} open");
        Ok(session)
    }

    /// Returns the open session with this id if it belongs to `client`. Another client's session looks like an unknown
    /// one.
    pub(super) fn find(&self, id: &str, client: &Client) -> Option<Arc<SseSession>> {
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let id = u128::from_str_radix(id, 16).ok()?;
        let is_usable =
            |session: &&Arc<SseSession>| session.caller.client.is_same_client(client) && !session.events.has_ended();
        self.table().get(&id).filter(is_usable).cloned()
    }

    /// Waits until the client is gone or the server ends the session, then cancels the session's calls.
    pub fn wait_until_closed(&self, session: &Arc<SseSession>) {
        session.wait_for_end();
        session.events.end();
        let open_count = {
            let mut table = self.table();
            table.remove(&session.id);
            table.len()
        };
        session.calls.cancel_all();
        log::debug!("session {session} ended, {open_count} open");
    }

    pub fn open_count(&self) -> usize {
        self.table().len()
    }

    /// Sends a comment on every stream that accepts it without a wait.
    pub fn keep_alive(&self) {
        let sessions: Vec<_> = self.table().values().cloned().collect();
        for session in sessions {
            session.events.keep_alive();
        }
    }

    /// Cancels all running calls at the end of the shutdown's time limit.
    pub fn cancel_all_for_shutdown(&self) {
        for session in self.table().values() {
            session.calls.cancel_all_for_shutdown();
        }
    }

    /// Ends the sessions of all clients for which `is_kept` returns false.
    pub fn end_others(&self, is_kept: &dyn Fn(&Client) -> bool) {
        for session in self.table().values().filter(|session| !is_kept(&session.caller.client)) {
            session.events.end();
        }
    }

    /// Ends every session. Events that were sent still arrive.
    pub fn end_all(&self) {
        self.end_others(&|_| false);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u128, Arc<SseSession>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the relative reference (RFC 3986, 4.2) from the path of a stream to that of its posts.
fn messages_reference(path: &str) -> &'static str {
    if path.ends_with('/') { "../messages" } else { "messages" }
}

#[cfg(test)]
mod tests {
    use super::super::admission::Connections;
    use super::super::client_stream::tests::connection_pair;
    use super::super::event_stream::tests::read_until;
    use super::*;
    use std::net::TcpStream;

    /// Returns a session with its table, its client and its permit.
    fn session() -> (SseSessions, Arc<SseSession>, TcpStream, ConnectionPermit) {
        let write_timeout = Duration::from_secs(10);
        let (stream, client) = connection_pair(write_timeout);
        let sessions = SseSessions::new(&Limits { max_sessions: 1, write_timeout, ..Limits::default() });
        let connections = Arc::new(Connections::new(1, 1));
        let permit = connections.admit(&stream, stream.socket().peer_addr().unwrap());
        let session = sessions.open(stream, Caller::new_stdio(), &permit, None, "/sse", false).unwrap();
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
        let another =
            sessions.open(session.events.stream().clone(), session.caller.clone(), &permit, None, "/sse", false);
        assert_eq!(another.err(), Some(OpenSessionError::TooManySessions));
        session.events.end();
        assert!(sessions.find(id, &session.caller.client).is_none());
        sessions.wait_until_closed(&session);
        assert!(sessions.table().is_empty());
    }
}
