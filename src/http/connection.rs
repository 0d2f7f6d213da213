//! The life of a connection: one request after the other, each checked before more of it is read, each answered
//! before the next is looked at. A client that sends ahead fills its own socket, not this server's memory.

use super::HttpState;
use super::admission::ConnectionPermit;
use super::body;
use super::client_stream::ClientStream;
use super::head::{RequestError, RequestHead};
use super::log_throttle::EscapedBytes;
use super::memory_budget::UNCOUNTED_BODY_BYTES;
use super::receive::{ReceiveBuffer, linger};
use super::response::HttpResponse;
use super::routes::{self, HttpRequest, ListenerRole, RouteOutcome};
use super::sse_session::SseSession;
use super::tls_accept;
use crate::base::trace::TraceParent;
use crate::config::Client;
use crate::mcp::context::Caller;
use crate::metrics::RefusalReason;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tiny_http::Method;

/// A larger body's memory is given back before the next request.
const MAX_KEPT_BODY_BYTES: usize = UNCOUNTED_BODY_BYTES;

/// Serves a connection to `port` until it ends.
pub fn serve(
    state: &Arc<HttpState>,
    role: ListenerRole,
    stream: Arc<ClientStream>,
    peer: SocketAddr,
    permit: ConnectionPermit,
) {
    let Ok(local) = stream.socket().local_addr() else { return };
    if let Some(certificate) = &state.certificate
        && !tls_accept::accept_tls(state, certificate, &stream, peer)
    {
        return;
    }
    let (input, permit) = (ReceiveBuffer::new(stream.clone()), &permit);
    let connection =
        ConnectionHandler { state, role, stream, permit, local, peer, input, head: RequestHead::default() };
    // The buffers are gone when a stream begins, which may then be quiet for days.
    if let Some(session) = connection.serve_requests() {
        state.sessions.wait_until_closed(&session);
    }
}

struct ConnectionHandler<'a> {
    state: &'a Arc<HttpState>,
    role: ListenerRole,
    stream: Arc<ClientStream>,
    permit: &'a ConnectionPermit,
    local: SocketAddr,
    peer: SocketAddr,
    input: ReceiveBuffer,
    head: RequestHead,
}

impl ConnectionHandler<'_> {
    /// Returns the session whose stream the connection became, if it did.
    fn serve_requests(mut self) -> Option<Arc<SseSession>> {
        let limits = &self.state.limits;
        let (mut body, mut out) = (Vec::new(), Vec::new());
        // A fresh connection has something to say; only one that has said it may be idle.
        let mut wait = limits.head_timeout;
        loop {
            let read = self.head.read(&mut self.input, limits, wait);
            let started = log::log_enabled!(log::Level::Debug).then(Instant::now);
            let (answer, known) = match read {
                Ok(()) => (catch_panic(|| self.handle_request(&mut body)), true),
                Err(fault) => (Err(fault), false),
            };
            let reply = match answer {
                Ok(RouteOutcome::Response(reply)) => reply,
                Ok(RouteOutcome::Session(session)) => {
                    self.record_response(known, 200, started);
                    return Some(session);
                }
                Ok(RouteOutcome::Sent) => {
                    self.record_response(known, 200, started);
                    linger(&self.stream);
                    return None;
                }
                Err(RequestError::Rejected(status, text)) => {
                    if status < 500 {
                        self.state.metrics().count_refusal(RefusalReason::BadRequest);
                    }
                    HttpResponse::text(status, text).with_close()
                }
                Err(RequestError::Disconnected) => return None,
            };
            let reply = if self.head.close || self.state.is_stopping() { reply.with_close() } else { reply };
            self.record_response(known, reply.status, started);
            self.write_response(&reply, &mut out).ok()?;
            if reply.closes_connection {
                linger(&self.stream);
                return None;
            }
            body.clear();
            body.shrink_to(MAX_KEPT_BODY_BYTES);
            wait = limits.idle_timeout;
        }
    }

    /// From the head to the answer. What is refused before the body is read closes the connection, if there is a body.
    fn handle_request(&mut self, body: &mut Vec<u8>) -> Result<RouteOutcome, RequestError> {
        let (route, client) = match self.precheck() {
            Ok(checked) => checked,
            Err(reply) if self.head.has_body() => return Ok(reply.with_close().into()),
            Err(reply) => return Ok(reply.into()),
        };
        let mut reserved = None;
        if self.head.has_body() {
            body::check_length(self.head.framing, &self.state.limits)?;
            let most = body::max_length(self.head.framing, &self.state.limits);
            if most > UNCOUNTED_BODY_BYTES {
                reserved = self.state.body_memory.reserve(most);
                if reserved.is_none() {
                    self.state.metrics().count_refusal(RefusalReason::BufferedBytes);
                    return Ok(HttpResponse::unavailable("too many large requests at once (--max-buffered-bytes)")
                        .with_close()
                        .into());
                }
            }
            if self.head.expects_continue && self.input.unread().is_empty() {
                let mut go_on = [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
                self.stream
                    .write_all(&mut go_on, self.state.limits.write_timeout)
                    .map_err(|_| RequestError::Disconnected)?;
            }
            body::read_body(&mut self.input, self.head.framing, body, &self.state.limits)?;
        }
        let (stream, permit, head, bytes) = (&self.stream, self.permit, &self.head, self.input.head());
        let mut traces = head.values(bytes, "traceparent");
        let trace = traces.next().filter(|_| traces.next().is_none()).and_then(TraceParent::parse);
        let caller = Caller { client, address: Some(self.peer.ip()), transport: "http", trace };
        let mut request = HttpRequest { stream, caller, permit, body, reservation: reserved, head, bytes };
        Ok((route.handler)(self.state, &mut request))
    }

    /// Everything that is asked before the body: the guard first of all, then whose request it is.
    fn precheck(&self) -> Result<(&'static routes::Route, Arc<Client>), HttpResponse> {
        let bytes = self.input.head();
        let host = self.head.values(bytes, "host").next().unwrap_or_default();
        self.state
            .host_policy
            .check(host, self.head.values(bytes, "origin"), self.local, self.peer)
            .map_err(|r| self.count_rejection(r))?;
        let path = self.head.path(bytes);
        let client = if routes::requires_token(self.role, path) {
            self.state
                .authenticator
                .authenticate(self.head.values(bytes, "authorization"), self.peer.ip(), Instant::now())
                .map_err(|r| self.count_rejection(r))?
        } else {
            self.state.authenticator.anonymous_client()
        };
        let route = routes::find_route(self.role, &self.head.method, path)?;
        if self.state.is_stopping() {
            return Err(HttpResponse::unavailable("the server is stopping"));
        }
        Ok((route, client))
    }

    /// The same answer, counted: each reason has a status of its own.
    fn count_rejection(&self, reply: HttpResponse) -> HttpResponse {
        self.state.metrics().count_refusal(match reply.status {
            401 => RefusalReason::Token,
            429 => RefusalReason::WrongTokens,
            403 => RefusalReason::Origin,
            _ => RefusalReason::Host,
        });
        reply
    }

    /// Head and body in one write. An answer to HEAD has none, or it would be taken for the next answer's head.
    fn write_response(&self, reply: &HttpResponse, out: &mut Vec<u8>) -> io::Result<()> {
        reply.write_head(out)?;
        let body = if self.head.method == Method::Head { &[] } else { reply.body() };
        let mut parts = [IoSlice::new(out), IoSlice::new(body)];
        // A large answer may take longer, at a mebibyte a second.
        let limit = self.state.limits.write_timeout + Duration::from_secs((reply.body().len() >> 20) as u64);
        self.stream.write_all(&mut parts, limit)
    }

    /// Counts an answer, and logs it.
    fn record_response(&self, known: bool, status: u16, started: Option<Instant>) {
        let route = if known { routes::route_index(self.head.path(self.input.head())) } else { usize::MAX };
        self.state.metrics().count_response(route, status);
        self.log_response(known, status, started);
    }

    /// Never the query, which holds the session's id.
    fn log_response(&self, known: bool, status: u16, started: Option<Instant>) {
        let Some(started) = started else { return };
        let (peer, micros) = (self.peer, started.elapsed().as_micros());
        if known {
            let path = self.head.path(self.input.head());
            log::debug!("{peer} {} {} {status} {micros} µs", self.head.method, EscapedBytes(path.as_bytes()));
        } else {
            log::debug!("{peer} a request that can't be taken: {status}");
        }
    }
}

/// A panic of a request is an answer, not the end of anything but its connection.
fn catch_panic(answer: impl FnOnce() -> Result<RouteOutcome, RequestError>) -> Result<RouteOutcome, RequestError> {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        log::error!("a request ended in a panic");
        Err(RequestError::Rejected(500, "internal error: the server's log says more"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_with_500() {
        assert!(matches!(catch_panic(|| panic!("a test's panic")), Err(RequestError::Rejected(500, _))));
    }
}
