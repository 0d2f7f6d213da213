//! Accepts connections, as many as the limits permit.
//!
//! No client, and no shortage of descriptors or threads, may end or block the loop. A rejected client gets its 503
//! without a wait. A failed accept is logged and repeated.

use super::client_stream::ClientStream;
use super::connection;
use super::listener_role::ListenerRole;
use super::log_throttle::LogThrottle;
use super::response::HttpResponse;
use super::state::HttpState;
use crate::base::heartbeat::{HEARTBEAT_INTERVAL, Heartbeat};
use crate::base::workers::CALL_STACK_BYTES;
use crate::config::Limits;
use crate::metrics::{ByteCounters, RefusalReason};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Connections that the kernel queues until they are accepted. With std's 128, clients of a burst wait for seconds.
const BACKLOG: i32 = 1024;

/// Pause after a failed accept or thread start. The machine is short of resources, and an immediate retry would only
/// use more.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Rejected connections that stay open so that their clients can read the response (see [`super::receive::linger`]).
const MAX_REJECTED: usize = 16;

/// Response to a client of a TLS port before its handshake: a fatal alert, internal_error (RFC 8446, 6.2).
const TLS_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Listens on `address`. The kernel chooses the port if it is 0.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it a restart must wait until the kernel forgets the previous run's connections.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections on a nonblocking listener until the server stops, and then those that the kernel has queued. A
/// panic begins the loop again.
pub fn accept_all(state: &Arc<HttpState>, listener: &TcpListener, role: ListenerRole, heartbeat: &Heartbeat) {
    restart_on_panic("the accept loop", || accept_until_stopped(state, listener, role, heartbeat));
}

/// Runs a loop of a thread that the server cannot be without, until it returns without a panic.
pub fn restart_on_panic(name: &str, body: impl Fn()) {
    while catch_unwind(AssertUnwindSafe(&body)).is_err() {
        log::error!("{name} panicked and starts again");
        thread::sleep(RETRY_PAUSE);
    }
}

fn accept_until_stopped(state: &Arc<HttpState>, listener: &TcpListener, role: ListenerRole, heartbeat: &Heartbeat) {
    let (rejected, warnings) = (VecDeque::with_capacity(MAX_REJECTED), LogThrottle::default());
    let mut acceptor = Acceptor { role, rejected, warnings, tls: state.certificate.is_some() };
    while !state.is_stopping() {
        heartbeat.beat();
        let accepted = match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match state.stop_signal.wait_for_connection(listener, HEARTBEAT_INTERVAL) {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                }
            }
            accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => acceptor.admit(state, stream, peer),
            // The client left before the accept, or a signal arrived.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => {
                acceptor.warnings.warn(format_args!("cannot accept a connection: {error}"));
                thread::sleep(RETRY_PAUSE);
            }
        }
    }
    // Their clients may have sent requests, which would be lost with the queue.
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = listener.accept() else { break };
        acceptor.admit(state, stream, peer);
    }
}

/// Sets the socket options of a connection. They fail only if the peer is gone, which the first read reports too.
fn configure_stream(stream: TcpStream, limits: &Limits, traffic: Arc<ByteCounters>) -> ClientStream {
    // Outside Linux a connection inherits the listener's nonblocking mode.
    let _ = stream.set_nonblocking(false);
    // A response is one write. With Nagle's algorithm it would wait for the previous acknowledgement (44 ms).
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(limits.write_timeout));
    ClientStream::new(stream, traffic)
}

struct Acceptor {
    role: ListenerRole,
    rejected: VecDeque<Arc<ClientStream>>,
    warnings: LogThrottle,
    /// True if clients start with a TLS handshake.
    tls: bool,
}

impl Acceptor {
    fn admit(&mut self, state: &Arc<HttpState>, stream: TcpStream, peer: SocketAddr) {
        let stream = Arc::new(configure_stream(stream, &state.limits, state.metrics().traffic.clone()));
        let permit = state.connections.admit(&stream, peer);
        state.metrics().count_connection();
        let (thread_state, role, thread_stream) = (state.clone(), self.role, stream.clone());
        let thread = thread::Builder::new().name("connection".into()).stack_size(CALL_STACK_BYTES);
        if let Err(error) = thread.spawn(move || connection::serve(&thread_state, role, thread_stream, peer, permit)) {
            self.warnings.warn(format_args!("refused a connection from {peer}: cannot start a thread: {error}"));
            state.metrics().count_refusal(RefusalReason::Threads);
            self.reject(stream);
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Sends a 503, or an alert on a TLS port, without a wait. The connection stays open until later rejections replace
    /// it. If the client has sent its request, closing now would reset the connection and lose the response.
    fn reject(&mut self, stream: Arc<ClientStream>) {
        let response = HttpResponse::unavailable("the server has no thread for this connection").with_close();
        let mut bytes = Vec::new();
        if self.tls {
            bytes.extend_from_slice(&TLS_ALERT);
        } else if response.write_head(&mut bytes).is_ok() {
            bytes.extend_from_slice(response.body());
        }
        if !bytes.is_empty() {
            let _ = stream.send_now(&bytes);
            let _ = stream.end_writes();
        }
        if self.rejected.len() == MAX_REJECTED {
            self.rejected.pop_front();
        }
        self.rejected.push_back(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::super::client_stream::tests::connection_pair;
    use super::*;
    use std::cell::Cell;
    use std::io::Read;

    #[test]
    fn a_loop_that_panics_starts_again_until_it_ends() {
        let runs = Cell::new(0);
        restart_on_panic("a loop", || {
            runs.set(runs.get() + 1);
            assert!(runs.get() == 3, "a test's panic");
        });
        assert_eq!(runs.get(), 3);
    }

    #[test]
    fn a_connection_without_a_thread_gets_a_503_or_an_alert() {
        for (tls, expected) in [(false, &b"HTTP/1.1 503 Service Unavailable\r\n"[..]), (true, &TLS_ALERT)] {
            let (stream, mut client) = connection_pair(Duration::from_secs(20));
            let rejected = VecDeque::new();
            let mut acceptor = Acceptor { role: ListenerRole::Mcp, rejected, warnings: LogThrottle::default(), tls };
            acceptor.reject(stream);
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert!(received.starts_with(expected), "{}", received.escape_ascii());
        }
    }

    #[test]
    fn an_answer_waits_for_no_acknowledgement_and_has_a_write_timeout() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let stream = configure_stream(
            TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            &Limits::default(),
            Arc::default(),
        );
        assert!(stream.socket().nodelay().unwrap());
        assert_eq!(stream.socket().write_timeout().unwrap(), Some(Limits::default().write_timeout));
    }
}
