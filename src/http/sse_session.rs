//! One session of the HTTP+SSE transport: its event stream and its calls in flight.

use super::client_stream::ClientStream;
use super::event_stream::EventStream;
use crate::base::cancel::CancelToken;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::InFlightCalls;
use crate::mcp::{self, TransportContext};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes that a client may send after its GET /sse. It has no reason to send any.
const MAX_IGNORED_BYTES: usize = 64 << 10;

/// Time after which the kernel ends a connection whose peer acknowledges nothing. Long enough for a change of network.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);

pub struct SseSession {
    /// The session id. It is as sensitive as a password: any caller that knows it can use the session.
    pub(super) id: u128,
    /// The caller that opened the session. Posts of other clients are rejected.
    pub(super) caller: Caller,
    pub(super) events: EventStream,
    pub(super) calls: Arc<InFlightCalls>,
    /// Number of calls that wait or run.
    running_calls: AtomicUsize,
}

/// Slot of one of a session's calls, released on drop.
pub struct SessionSlot {
    pub(super) session: Arc<SseSession>,
}

/// Formats the first six digits of the id: enough to follow a session in a log, too few to use the session.
impl fmt::Display for SseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}…", self.id >> (128 - 24))
    }
}

impl SseSession {
    /// Creates a session on a connection. Nothing is sent yet.
    pub(super) fn new(id: u128, caller: Caller, stream: Arc<ClientStream>, write_timeout: Duration) -> Self {
        Self {
            id,
            caller,
            events: EventStream::new(stream, write_timeout),
            calls: Arc::new(InFlightCalls::new()),
            running_calls: AtomicUsize::new(0),
        }
    }

    /// Returns the response to a request, or `None` if the request was cancelled.
    pub(super) fn handle_request(
        &self,
        mcp: &mcp::McpServer,
        caller: &Caller,
        request: &mcp::message::RpcRequest<'_>,
        cancel: CancelToken,
    ) -> Option<Vec<u8>> {
        let notify = |notification: &[u8]| {
            self.send(notification);
        };
        let transport = TransportContext { caller, calls: Some(&self.calls), cancel, notify: &notify };
        mcp.handle_request(request, request.parse_params(), &transport).map(|response| response.bytes)
    }

    /// Sends a message as an event. Returns false if the session has ended, or ends now because the client did not
    /// receive the event in time.
    pub(super) fn send(&self, message: &[u8]) -> bool {
        self.events.send(message, || ())
    }

    /// Waits until the stream's end, and ignores what the client sends.
    pub(super) fn wait_for_end(&self) {
        let connection = self.events.stream();
        // A client that lost power sends no end. The kernel detects it by unacknowledged comments, but without this
        // option only after a quarter of an hour.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket2::SockRef::from(connection.socket()).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
        connection.wait_for_end(MAX_IGNORED_BYTES, &|| self.events.has_ended());
    }

    /// Counts one more call, or returns `None` if `max` calls wait or run.
    pub(super) fn acquire_slot(self: &Arc<Self>, max: usize) -> Option<SessionSlot> {
        // If the slot is not returned, its drop takes the call off the count again.
        let slot = SessionSlot { session: self.clone() };
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
        assert!(session.events.send(b"{}", || drop(first)));
        let third = session.acquire_slot(2).unwrap();
        drop((second, third));
        assert_eq!(session.running_calls.load(Ordering::SeqCst), 0);
    }
}
