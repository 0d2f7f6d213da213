//! The life of a connection: one request after the other, each checked before more of it is read, each answered
//! before the next is looked at. A client that sends ahead fills its own socket, not this server's memory.

use super::Front;
use super::admission::Permit;
use super::body;
use super::budget::UNCOUNTED;
use super::channel::Channel;
use super::greeting;
use super::head::{Fault, Head};
use super::reply::Reply;
use super::routes::{self, Answer, Port, Request};
use super::session::Session;
use super::throttle::Escaped;
use super::wire::{Input, linger};
use crate::mcp::context::Caller;
use crate::metrics::Refusal;
use crate::settings::Client;
use crate::trace::Trace;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tiny_http::Method;

/// A larger body's memory is given back before the next request.
const MOST_KEPT: usize = UNCOUNTED;

/// Serves a connection to `port` until it ends.
pub fn serve(front: &Arc<Front>, port: Port, stream: Arc<Channel>, peer: SocketAddr, permit: Permit) {
    let Ok(local) = stream.socket().local_addr() else { return };
    if let Some(identity) = &front.identity
        && !greeting::secure(front, identity, &stream, peer)
    {
        return;
    }
    let (input, permit) = (Input::new(stream.clone()), &permit);
    let connection = Connection { front, port, stream, permit, local, peer, input, head: Head::default() };
    // The buffers are gone when a stream begins, which may then be quiet for days.
    if let Some(session) = connection.serve_requests() {
        front.sessions.hold(&session);
    }
}

struct Connection<'a> {
    front: &'a Arc<Front>,
    port: Port,
    stream: Arc<Channel>,
    permit: &'a Permit,
    local: SocketAddr,
    peer: SocketAddr,
    input: Input,
    head: Head,
}

impl Connection<'_> {
    /// Returns the session whose stream the connection became, if it did.
    fn serve_requests(mut self) -> Option<Arc<Session>> {
        let limits = &self.front.limits;
        let (mut body, mut out) = (Vec::new(), Vec::new());
        // A fresh connection has something to say; only one that has said it may be idle.
        let mut wait = limits.head_timeout;
        loop {
            let read = self.head.read(&mut self.input, limits, wait);
            let started = log::log_enabled!(log::Level::Debug).then(Instant::now);
            let (answer, known) = match read {
                Ok(()) => (guarded(|| self.answer(&mut body)), true),
                Err(fault) => (Err(fault), false),
            };
            let reply = match answer {
                Ok(Answer::Reply(reply)) => reply,
                Ok(Answer::Stream(session)) => {
                    self.note(known, 200, started);
                    return Some(session);
                }
                Ok(Answer::Done) => {
                    self.note(known, 200, started);
                    linger(&self.stream);
                    return None;
                }
                Err(Fault::Refused(status, text)) => {
                    if status < 500 {
                        self.front.counts().refused(Refusal::Request);
                    }
                    Reply::text(status, text).closing()
                }
                Err(Fault::Gone) => return None,
            };
            let reply = if self.head.close || self.front.is_stopping() { reply.closing() } else { reply };
            self.note(known, reply.status, started);
            self.write(&reply, &mut out).ok()?;
            if reply.close {
                linger(&self.stream);
                return None;
            }
            body.clear();
            body.shrink_to(MOST_KEPT);
            wait = limits.idle_timeout;
        }
    }

    /// From the head to the answer. What is refused before the body is read closes the connection, if there is a body.
    fn answer(&mut self, body: &mut Vec<u8>) -> Result<Answer, Fault> {
        let (route, client) = match self.check() {
            Ok(checked) => checked,
            Err(reply) if self.head.has_body() => return Ok(reply.closing().into()),
            Err(reply) => return Ok(reply.into()),
        };
        let mut reserved = None;
        if self.head.has_body() {
            body::check(self.head.framing, &self.front.limits)?;
            let most = body::most(self.head.framing, &self.front.limits);
            if most > UNCOUNTED {
                reserved = self.front.bodies.reserve(most);
                if reserved.is_none() {
                    self.front.counts().refused(Refusal::Memory);
                    return Ok(Reply::unavailable("too many large requests at once (--max-buffered-bytes)")
                        .closing()
                        .into());
                }
            }
            if self.head.expects_continue && self.input.unread().is_empty() {
                let mut go_on = [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
                self.stream.write_all(&mut go_on, self.front.limits.write_timeout).map_err(|_| Fault::Gone)?;
            }
            body::read(&mut self.input, self.head.framing, body, &self.front.limits)?;
        }
        let (stream, permit, head, bytes) = (&self.stream, self.permit, &self.head, self.input.kept());
        let mut traces = head.values(bytes, "traceparent");
        let trace = traces.next().filter(|_| traces.next().is_none()).and_then(Trace::parse);
        let caller = Caller { client, address: Some(self.peer.ip()), transport: "http", trace };
        let mut request = Request { stream, caller, permit, body, reserved, head, bytes };
        Ok((route.run)(self.front, &mut request))
    }

    /// Everything that is asked before the body: the guard first of all, then whose request it is.
    fn check(&self) -> Result<(&'static routes::Route, Arc<Client>), Reply> {
        let bytes = self.input.kept();
        let host = self.head.values(bytes, "host").next().unwrap_or_default();
        self.front
            .guard
            .check(host, self.head.values(bytes, "origin"), self.local, self.peer)
            .map_err(|r| self.refused(r))?;
        let path = self.head.path(bytes);
        let client = if routes::asks_for_token(self.port, path) {
            self.front
                .auth
                .client(self.head.values(bytes, "authorization"), self.peer.ip(), Instant::now())
                .map_err(|r| self.refused(r))?
        } else {
            self.front.auth.anyone()
        };
        let route = routes::find(self.port, &self.head.method, path)?;
        if self.front.is_stopping() {
            return Err(Reply::unavailable("the server is stopping"));
        }
        Ok((route, client))
    }

    /// The same answer, counted: each reason has a status of its own.
    fn refused(&self, reply: Reply) -> Reply {
        self.front.counts().refused(match reply.status {
            401 => Refusal::Token,
            429 => Refusal::Attempts,
            403 => Refusal::Origin,
            _ => Refusal::Host,
        });
        reply
    }

    /// Head and body in one write. An answer to HEAD has none, or it would be taken for the next answer's head.
    fn write(&self, reply: &Reply, out: &mut Vec<u8>) -> io::Result<()> {
        reply.write_head(out)?;
        let body = if self.head.method == Method::Head { &[] } else { reply.body() };
        let mut parts = [IoSlice::new(out), IoSlice::new(body)];
        // A large answer may take longer, at a mebibyte a second.
        let limit = self.front.limits.write_timeout + Duration::from_secs((reply.body().len() >> 20) as u64);
        self.stream.write_all(&mut parts, limit)
    }

    /// Counts an answer, and logs it.
    fn note(&self, known: bool, status: u16, started: Option<Instant>) {
        let route = if known { routes::number(self.head.path(self.input.kept())) } else { usize::MAX };
        self.front.counts().answered(route, status);
        self.log(known, status, started);
    }

    /// Never the query, which holds the session's id.
    fn log(&self, known: bool, status: u16, started: Option<Instant>) {
        let Some(started) = started else { return };
        let (peer, micros) = (self.peer, started.elapsed().as_micros());
        if known {
            let path = self.head.path(self.input.kept());
            log::debug!("{peer} {} {} {status} {micros} µs", self.head.method, Escaped(path.as_bytes()));
        } else {
            log::debug!("{peer} a request that can't be taken: {status}");
        }
    }
}

/// A panic of a request is an answer, not the end of anything but its connection.
fn guarded(answer: impl FnOnce() -> Result<Answer, Fault>) -> Result<Answer, Fault> {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        log::error!("a request ended in a panic");
        Err(Fault::Refused(500, "internal error: the server's log says more"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_with_500() {
        assert!(matches!(guarded(|| panic!("a test's panic")), Err(Fault::Refused(500, _))));
    }
}
