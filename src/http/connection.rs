//! The life of a connection: one request after the other. Each is checked before more of it is read, and answered
//! before the next one. A client that pipelines requests fills its own socket, not this server's memory.

use super::admission::{AdmissionError, ConnectionPermit};
use super::body;
use super::client_stream::ClientStream;
use super::cors::{CorsOrigin, response_headers};
use super::guard::{HostKind, HostOriginError};
use super::head::RequestHead;
use super::listener_role::ListenerRole;
use super::log_throttle::EscapedBytes;
use super::proxy_sign::ProxySign;
use super::receive::{ReceiveBuffer, linger};
use super::request::{HttpRequest, RouteOutcome};
use super::request_error::{RequestError, TLS_CURE};
use super::response::HttpResponse;
use super::routes;
use super::sse_session::SseSession;
use super::state::HttpState;
use super::tls_accept;
use crate::base::memory::CallMemory;
use crate::base::trace::TraceParent;
use crate::config::Client;
use crate::mcp::context::Caller;
use crate::metrics::RefusalReason;
use proxmox_mcp_allocator::release_thread_memory;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tiny_http::Method;

/// A larger body's memory is freed before the next request. Thousands of connections may wait for one.
const MAX_KEPT_BODY_BYTES: usize = 4 << 10;

/// The most bytes of a body that are copied behind the head: the system call for one part is cheaper than that for two.
const MAX_JOINED_BODY_BYTES: usize = 2 << 10;

/// Serves a connection until it ends.
pub fn serve(
    state: &Arc<HttpState>,
    role: ListenerRole,
    stream: Arc<ClientStream>,
    peer: SocketAddr,
    permit: ConnectionPermit,
) {
    if let Some(session) = serve_until_stream(state, role, stream, peer, &permit) {
        // It may be quiet for days.
        release_thread_memory();
        state.sessions.wait_until_closed(&session);
    }
}

/// Serves a connection until it ends or becomes an event stream, whose session this returns. Not inlined, so that the
/// thread of a stream does not keep the buffers and the large frame of requests.
#[inline(never)]
fn serve_until_stream(
    state: &Arc<HttpState>,
    role: ListenerRole,
    stream: Arc<ClientStream>,
    peer: SocketAddr,
    permit: &ConnectionPermit,
) -> Option<Arc<SseSession>> {
    let local = stream.socket().local_addr().ok()?;
    if let Some(certificate) = &state.certificate
        && !tls_accept::accept_tls(state, certificate, &stream, peer)
    {
        return None;
    }
    let input = ReceiveBuffer::new(stream.clone());
    let head = RequestHead::default();
    ConnectionHandler { state, role, stream, permit, local, peer, input, head, cors: None }.serve_requests()
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
    /// Origin of the page that sent the current request, if the operator listed it.
    cors: Option<CorsOrigin>,
}

impl ConnectionHandler<'_> {
    /// Returns the session if the connection became its event stream.
    fn serve_requests(mut self) -> Option<Arc<SseSession>> {
        let limits = &self.state.limits;
        let (mut body, mut out) = (Vec::new(), Vec::new());
        // Only a connection that has served a request may be idle.
        let mut wait = limits.head_timeout;
        loop {
            let read = self.head.read(&mut self.input, limits, wait);
            let has_head = read.is_ok();
            self.cors = if has_head { self.find_cors_origin() } else { None };
            let started = log::log_enabled!(log::Level::Debug).then(Instant::now);
            // Dropped after the response is written.
            let mut memory = CallMemory::default();
            let response = match read.and_then(|()| catch_panic(|| self.handle_request(&mut body, &mut memory))) {
                Ok(RouteOutcome::Response(response)) => response,
                Ok(RouteOutcome::Session(session)) => {
                    self.record_response(has_head, 200, started);
                    return Some(session);
                }
                Ok(RouteOutcome::Sent) => {
                    self.record_response(has_head, 200, started);
                    linger(&self.stream);
                    return None;
                }
                Err(error) => {
                    // It ends without a request if a newer connection gets its reserved place.
                    let rejection = self.permit.exceeded.filter(|_| error == RequestError::Disconnected);
                    if error == RequestError::TlsHandshake && self.state.certificate.is_none() {
                        let (peer, local) = (self.peer, self.local);
                        let warnings = &self.state.scheme_warnings;
                        warnings.warn(format_args!(
                            "{peer} speaks TLS to {local}, which speaks plain HTTP. hint: {TLS_CURE}"
                        ));
                    }
                    let response = match rejection {
                        Some(limit) => self.reject_beyond_limit(limit),
                        None => error.to_response()?,
                    };
                    // A status from 500 on is no fault of the client.
                    if response.status < 500 {
                        self.state.metrics().count_refusal(RefusalReason::BadRequest);
                    }
                    response
                }
            };
            let response = response.with_headers(response_headers(self.cors.as_ref()));
            let closes = self.head.close || self.state.is_stopping() || self.permit.exceeded.is_some();
            let response = if closes { response.with_close() } else { response };
            self.record_response(has_head, response.status, started);
            self.write_response(&response, &mut out).ok()?;
            if response.closes_connection {
                linger(&self.stream);
                return None;
            }
            body.clear();
            body.shrink_to(MAX_KEPT_BODY_BYTES);
            wait = limits.idle_timeout;
        }
    }

    /// Returns the origin of the page that sent the request, if the operator listed it.
    fn find_cors_origin(&self) -> Option<CorsOrigin> {
        let (state, origins) = (self.state, self.head.values(self.input.head(), "origin"));
        state.host_policy.find_listed_origin(origins, state.authenticator.is_protected_or_waived())
    }

    /// Checks a request, reads its body and calls its route. A rejection before the body is read closes the connection.
    fn handle_request(&mut self, body: &mut Vec<u8>, memory: &mut CallMemory) -> Result<RouteOutcome, RequestError> {
        let (route, mut client) = match self.precheck() {
            Ok(checked) => checked,
            Err(response) if self.head.has_body() => return Ok(response.with_close().into()),
            Err(response) => return Ok(response.into()),
        };
        if let Err(error) = self.record_client(&client) {
            self.state.metrics().count_refusal(RefusalReason::Connections);
            return Ok(HttpResponse::unavailable(error.to_string()).with_close().into());
        }
        *memory = self.state.open_memory(&client);
        let mut reservation = memory.reserve(0).expect("an account has room for nothing");
        if self.head.has_body() {
            body::check_length(self.head.framing, &self.state.limits)?;
            if self.head.expects_continue && self.input.unread().is_empty() {
                self.stream
                    .write_all(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")], self.state.limits.write_timeout)
                    .map_err(|_| RequestError::Disconnected)?;
            }
            body::read_body(&mut self.input, self.head.framing, body, &mut reservation, &self.state.limits)
                .inspect_err(|error| {
                    if let RequestError::NoMemory(_) = error {
                        self.state.metrics().count_refusal(RefusalReason::BufferedBytes);
                    }
                })?;
            // The body may have taken as long as `body_timeout` allows.
            match self.find_present_client(&client) {
                Ok(present) => client = present,
                Err(response) => return Ok(response.into()),
            }
        }
        let (stream, permit, head, bytes) = (&self.stream, self.permit, &self.head, self.input.head());
        let trace = head.single_value(bytes, "traceparent").and_then(TraceParent::parse);
        let caller = Caller { client, address: Some(self.peer.ip()), transport: "http", trace };
        let memory = memory.clone();
        let mut request =
            HttpRequest { stream, caller, permit, cors: self.cors.as_ref(), body, reservation, memory, head, bytes };
        Ok((route.handler)(self.state, &mut request))
    }

    /// Returns the present entry of the request's client, or the response to a client that has none any more.
    fn find_present_client(&self, client: &Arc<Client>) -> Result<Arc<Client>, HttpResponse> {
        if !routes::requires_token(self.role, self.head.path(self.input.head())) {
            return Ok(client.clone());
        }
        self.state.authenticator.find_present(client).map_err(|error| {
            self.state.metrics().count_refusal(error.refusal_reason());
            error.to_response()
        })
    }

    /// Counts the connection for its client, once a request has shown which one it is. Monitoring uses up no client's
    /// share.
    fn record_client(&self, client: &Client) -> Result<(), AdmissionError> {
        let clients = self.state.authenticator.clients().len();
        let path = self.head.path(self.input.head());
        let is_for_monitoring = routes::is_for_monitoring(self.role, path);
        if is_for_monitoring || clients > 0 && !routes::requires_token(self.role, path) {
            return Ok(());
        }
        self.permit.record_client(&client.name, clients > 1)
    }

    /// Makes all checks that do not need the body: Host and Origin first, then the token, then the route. `Err` is the
    /// response to a request that needs no route, which includes the preflight requests of browsers. A public route
    /// answers every Host: container engines and balancers send names and addresses that the server does not know.
    fn precheck(&self) -> Result<(&'static routes::Route, Arc<Client>), HttpResponse> {
        let (state, bytes) = (self.state, self.input.head());
        let path = self.head.path(bytes);
        if let Some(limit) = self.permit.exceeded
            && !routes::is_for_monitoring(self.role, path)
        {
            return Err(self.reject_beyond_limit(limit));
        }
        let reject = |error: HostOriginError| {
            state.metrics().count_refusal(error.refusal_reason());
            error.to_response()
        };
        let host = match routes::is_public(self.role, path) {
            true => HostKind::Own,
            false => {
                let host = self.head.single_value(bytes, "host");
                state.host_policy.check_host(host, self.local, self.peer).map_err(reject)?
            }
        };
        let origins = self.head.values(bytes, "origin");
        state.host_policy.check_origin(origins, self.local, self.peer).map_err(reject)?;
        if let Some(response) = self.cors.as_ref().and_then(|origin| origin.answer_preflight(&self.head, bytes)) {
            return Err(response);
        }
        let client = if routes::requires_token(self.role, path) {
            let headers = self.head.values(bytes, "authorization");
            let find_proxy_sign = || ProxySign::find(&self.head, bytes, host);
            let client = state.authenticator.authenticate(headers, self.peer.ip(), Instant::now(), find_proxy_sign);
            client.map_err(|error| {
                state.metrics().count_refusal(error.refusal_reason());
                error.to_response()
            })?
        } else {
            state.authenticator.anonymous_client()
        };
        let route = routes::find_route(self.role, &self.head.method, path)?;
        if let Some(limit) = self.permit.exceeded
            && routes::requires_token(self.role, path)
            && !self.permit.keep_reserved_place()
        {
            return Err(self.reject_beyond_limit(limit));
        }
        if self.head.has_body()
            && let Some(encoding) = body::find_content_encoding(&self.head, bytes)
        {
            return Err(HttpResponse::unsupported_content_encoding(encoding));
        }
        Ok((route, client))
    }

    /// Returns the response to a request for which a reserved place is not made.
    fn reject_beyond_limit(&self, limit: AdmissionError) -> HttpResponse {
        self.state.record_refused_connection(self.peer, limit);
        HttpResponse::unavailable(limit.to_string())
    }

    /// Writes head and body as one write. The body is omitted for HEAD: the client would read it as the next head.
    fn write_response(&self, response: &HttpResponse, out: &mut Vec<u8>) -> io::Result<()> {
        response.write_head(out)?;
        let body = if self.head.method == Method::Head { &[] } else { response.body() };
        // A large response may take longer, at one MiB per second.
        let limit = self.state.limits.write_timeout + Duration::from_secs((response.body().len() >> 20) as u64);
        if body.len() <= MAX_JOINED_BODY_BYTES {
            out.extend_from_slice(body);
            return self.stream.write_all(&mut [IoSlice::new(out)], limit);
        }
        self.stream.write_all(&mut [IoSlice::new(out), IoSlice::new(body)], limit)
    }

    /// Counts and logs a response. The log omits the query, which holds the session id.
    fn record_response(&self, has_head: bool, status: u16, started: Option<Instant>) {
        let path = has_head.then(|| self.head.path(self.input.head()));
        self.state.metrics().count_response(path.map_or(usize::MAX, routes::route_index), status);
        let Some(started) = started else { return };
        let (peer, micros) = (self.peer, started.elapsed().as_micros());
        match path {
            Some(path) => {
                log::debug!("{peer} {} {} {status} {micros} µs", self.head.method, EscapedBytes(path.as_bytes()));
            }
            None => log::debug!("{peer} invalid request: {status}"),
        }
    }
}

/// Turns a panic into a response, so that it ends only its own connection.
fn catch_panic(handle: impl FnOnce() -> Result<RouteOutcome, RequestError>) -> Result<RouteOutcome, RequestError> {
    catch_unwind(AssertUnwindSafe(handle)).unwrap_or_else(|_| {
        log::error!("a request handler panicked");
        Ok(HttpResponse::text(500, "internal error. hint: see the server's log").with_close().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_with_500() {
        let Ok(RouteOutcome::Response(response)) = catch_panic(|| panic!("a test's panic")) else { panic!() };
        assert!(response.status == 500 && response.closes_connection);
    }
}
