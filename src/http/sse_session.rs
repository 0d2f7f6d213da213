//! One session of the HTTP+SSE transport: the stream its answers go to and the calls it has in flight.

use super::client_stream::ClientStream;
use super::event_stream::EventStream;
use super::quota::QuotaPermit;
use crate::base::cancel::CancelToken;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::InFlightCalls;
use crate::mcp::{self, TransportContext};
use socket2::SockRef;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes a client may send after its GET /sse: it has no reason to send any.
const MAX_IGNORED_BYTES: usize = 64 << 10;

/// One client's session.
pub struct SseSession {
    /// As good as a password: whoever knows it can speak in the session.
    pub(super) id: u128,
    /// Whose it is: nobody else's posts are taken.
    pub(super) caller: Caller,
    pub(super) events: EventStream,
    pub(super) calls: Arc<InFlightCalls>,
    /// Its calls that wait or run.
    pub(super) running_calls: AtomicUsize,
}

/// One of a session's calls, counted until this is dropped.
pub struct SessionSlot {
    pub(super) session: Arc<SseSession>,
    /// And one of its client's.
    pub(super) quota_permit: Option<QuotaPermit>,
}

/// Shows as the first six digits of the id: enough to follow a session through a log, too little to take part in it.
impl fmt::Display for SseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}…", self.id >> (128 - 24))
    }
}

impl SseSession {
    /// A session on a connection, nothing sent yet.
    pub(super) fn new(id: u128, caller: Caller, stream: Arc<ClientStream>, write_timeout: Duration) -> Self {
        Self {
            id,
            caller,
            events: EventStream::new(stream, write_timeout),
            calls: Arc::new(InFlightCalls::new()),
            running_calls: AtomicUsize::new(0),
        }
    }

    /// Answers a request; `None` where it was cancelled.
    pub(super) fn handle_request(
        &self,
        mcp: &mcp::McpServer,
        caller: &Caller,
        request: &mcp::message::RpcRequest<'_>,
        cancel: CancelToken,
    ) -> Option<Vec<u8>> {
        let send = |note: &[u8]| {
            self.send(note, None);
        };
        let transport = TransportContext { caller, calls: Some(&self.calls), cancel, notify: &send };
        mcp.handle_request(request, request.parse_params(), &transport).map(|answer| answer.bytes)
    }

    /// Sends one message as an event; `slot` is given back just before the client can know of the answer (not
    /// earlier, or a client that doesn't read could bind worker after worker). Returns false where the session has
    /// ended, or ends now because the client did not take the event in time.
    pub(super) fn send(&self, message: &[u8], slot: Option<SessionSlot>) -> bool {
        self.events.send(message, || drop(slot))
    }

    /// Waits in a read until the stream's end. What the client sends means nothing here.
    pub(super) fn wait_for_end(&self) {
        let connection = self.events.stream();
        // A client that lost power says no goodbye: it is found by the comments it doesn't acknowledge. Without the
        // option that takes a quarter of an hour; the minute is long enough for a change of network.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(connection.socket()).set_tcp_user_timeout(Some(Duration::from_secs(60)));
        connection.wait_for_end(MAX_IGNORED_BYTES, &|| self.events.has_ended());
    }

    /// Counts one more call in, unless `max` wait or run already.
    pub(super) fn acquire_slot(self: &Arc<Self>, max: usize) -> Option<SessionSlot> {
        let slot = SessionSlot { session: self.clone(), quota_permit: None };
        // The slot is dropped, and with it the count, if it is one too many.
        (self.running_calls.fetch_add(1, Ordering::SeqCst) < max).then_some(slot)
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.session.running_calls.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::super::client_stream::tests::connection_pair;
    use super::*;

    #[test]
    fn a_session_has_so_many_calls_and_no_more() {
        let (stream, _client) = connection_pair(Duration::from_secs(10));
        let session = Arc::new(SseSession::new(1, Caller::new_stdio(), stream, Duration::from_secs(10)));
        let first = session.acquire_slot(2).unwrap();
        let second = session.acquire_slot(2).unwrap();
        assert!(session.acquire_slot(2).is_none());
        assert!(session.send(b"{}", Some(first)));
        let third = session.acquire_slot(2).unwrap();
        drop((second, third));
        assert_eq!(session.running_calls.load(Ordering::SeqCst), 0);
    }
}
