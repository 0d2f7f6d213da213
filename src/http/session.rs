//! One session of the HTTP+SSE transport: the stream its answers go to and the calls it has in flight.

use super::channel::Channel;
use super::events::EventStream;
use super::quota::Place;
use crate::cancel::Cancel;
use crate::mcp::call::Calls;
use crate::mcp::context::Caller;
use crate::mcp::{self, Exchange};
use socket2::SockRef;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes a client may send after its GET /sse: it has no reason to send any.
const MOST_IGNORED: usize = 64 << 10;

/// One client's session.
pub struct Session {
    /// As good as a password: whoever knows it can speak in the session.
    pub(super) id: u128,
    /// Whose it is: nobody else's posts are taken.
    pub(super) caller: Caller,
    pub(super) events: EventStream,
    pub(super) calls: Arc<Calls>,
    /// Its calls that wait or run.
    pub(super) load: AtomicUsize,
}

/// One of a session's calls, counted until this is dropped.
pub struct Slot {
    pub(super) session: Arc<Session>,
    /// And one of its client's.
    pub(super) place: Option<Place>,
}

/// Shows as the first six digits of the id: enough to follow a session through a log, too little to take part in it.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}…", self.id >> (128 - 24))
    }
}

impl Session {
    /// A session on a connection, nothing sent yet.
    pub(super) fn new(id: u128, caller: Caller, stream: Arc<Channel>, write_timeout: Duration) -> Self {
        Self {
            id,
            caller,
            events: EventStream::new(stream, write_timeout),
            calls: Arc::new(Calls::new()),
            load: AtomicUsize::new(0),
        }
    }

    /// Answers a request; `None` where it was cancelled.
    pub(super) fn answer(
        &self,
        mcp: &mcp::Server,
        caller: &Caller,
        request: &mcp::message::Request<'_>,
        cancel: Cancel,
    ) -> Option<Vec<u8>> {
        let send = |note: &[u8]| {
            self.send(note, None);
        };
        let exchange = Exchange { caller, calls: Some(&self.calls), cancel, send: &send };
        mcp.answer(request, request.params(), &exchange).map(|answer| answer.bytes)
    }

    /// Sends one message as an event; `slot` is given back just before the client can know of the answer (not
    /// earlier, or a client that doesn't read could bind worker after worker). Returns false where the session has
    /// ended, or ends now because the client did not take the event in time.
    pub(super) fn send(&self, message: &[u8], slot: Option<Slot>) -> bool {
        self.events.send(message, || drop(slot))
    }

    /// Waits in a read until the stream's end. What the client sends means nothing here.
    pub(super) fn wait_for_end(&self) {
        let connection = self.events.connection();
        // A client that lost power says no goodbye: it is found by the comments it doesn't acknowledge. Without the
        // option that takes a quarter of an hour; the minute is long enough for a change of network.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(connection.socket()).set_tcp_user_timeout(Some(Duration::from_secs(60)));
        connection.wait_for_end(MOST_IGNORED, &|| self.events.has_ended());
    }

    /// Counts one more call in, unless `max` wait or run already.
    pub(super) fn take_slot(self: &Arc<Self>, max: usize) -> Option<Slot> {
        let slot = Slot { session: self.clone(), place: None };
        // The slot is dropped, and with it the count, if it is one too many.
        (self.load.fetch_add(1, Ordering::SeqCst) < max).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.session.load.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::tests::pair;
    use super::*;

    #[test]
    fn a_session_has_so_many_calls_and_no_more() {
        let (stream, _client) = pair(Duration::from_secs(10));
        let session = Arc::new(Session::new(1, Caller::stdio(), stream, Duration::from_secs(10)));
        let first = session.take_slot(2).unwrap();
        let second = session.take_slot(2).unwrap();
        assert!(session.take_slot(2).is_none());
        assert!(session.send(b"{}", Some(first)));
        let third = session.take_slot(2).unwrap();
        drop((second, third));
        assert_eq!(session.load.load(Ordering::SeqCst), 0);
    }
}
