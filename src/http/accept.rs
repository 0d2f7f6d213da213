//! Taking connections in: as many as there are permits and descriptors for, and going on whatever happens.
//!
//! Nothing a client does, and no shortage of descriptors or threads, may end or hold up the loop: a refused client
//! gets its 503 without waiting, a failed accept is logged and tried again.

use super::admission::AdmissionError;
use super::client_stream::ClientStream;
use super::log_throttle::LogThrottle;
use super::response::HttpResponse;
use super::routes::ListenerRole;
use super::{CALL_STACK_BYTES, HttpState, connection};
use crate::config::Limits;
use crate::metrics::{ByteCounters, RefusalReason};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Connections the kernel holds until they are accepted: with std's 128 a storm of them waits for seconds.
const BACKLOG: i32 = 1024;

/// After a failed accept, or without a thread: the shortage is the machine's, and trying at once would only burn it.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Descriptors beside those of connections and calls: the standard three, the log, clusters.json, refused clients.
const SPARE_DESCRIPTORS: u64 = 64;

/// Refused clients whose connections are still held, so that they can read why (see [`super::receive::linger`]).
const MAX_REJECTED: usize = 16;

/// What a client of a port with TLS understands without a handshake: a fatal alert, internal_error (RFC 8446, 6.2).
const TLS_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Listens on `address`, port 0 for one of the kernel's choice.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Else a restart would have to wait for the last run's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What ends the waiting for connections, on however many listeners. They are left as they are meanwhile: one that
/// systemd opened is its own as well, and a connection that waits in it is for the next who listens.
pub struct StopSignal {
    receiver: PipeReader,
    sender: PipeWriter,
}

impl StopSignal {
    /// Not rung.
    pub fn new() -> io::Result<Self> {
        let (heard, rung) = io::pipe()?;
        Ok(Self { receiver: heard, sender: rung })
    }

    /// Ends all waiting, now and later. To be rung once: what is written is never read.
    pub fn send(&self) {
        let _ = (&self.sender).write(&[0]);
    }

    /// Waits for a connection, or for the bell.
    fn wait_for_connection(&self, listener: &TcpListener) -> io::Result<()> {
        let waited = [PollFd::new(listener, PollFlags::IN), PollFd::new(&self.receiver, PollFlags::IN)];
        poll(&mut { waited }, None)?;
        Ok(())
    }
}

/// How many connections can be open at once: `max_connections`, or fewer where descriptors are short. Raises the soft
/// limit of descriptors as far as is needed and the hard one lets it.
pub fn fit_to_descriptor_limit(limits: &Limits) -> usize {
    let wanted = limits.max_connections as u64;
    // A call in flight may hold a connection to a node.
    let others = limits.max_calls as u64 + SPARE_DESCRIPTORS;
    let found = getrlimit(Resource::Nofile);
    let has = found.current.unwrap_or(u64::MAX);
    let raised = (wanted + others).min(found.maximum.unwrap_or(u64::MAX));
    let has = if has < raised
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: found.maximum }).is_ok()
    {
        raised
    } else {
        has
    };
    let room = connection_capacity(has, wanted, others);
    if room < wanted {
        log::warn!(
            "only {room} connections at once, not {wanted}: the process may have {has} descriptors; \
             raise its limit (ulimit -n) to {}",
            wanted + others
        );
    }
    room as usize
}

/// What connections get of `has` descriptors: all but those for other uses, but half of them at the least.
fn connection_capacity(has: u64, wanted: u64, others: u64) -> u64 {
    wanted.min(has.saturating_sub(others).max(has / 2)).max(1)
}

/// Accepts until the server is told to stop, on a listener that doesn't block.
pub fn accept_all(state: &Arc<HttpState>, listener: &TcpListener, role: ListenerRole) {
    let (rejected, warnings) = (VecDeque::with_capacity(MAX_REJECTED), LogThrottle::default());
    let mut acceptor = Acceptor { role, rejected, warnings, tls: state.certificate.is_some() };
    while !state.is_stopping() {
        let accepted = match listener.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => match state.stop_signal.wait_for_connection(listener) {
                Ok(()) => continue,
                Err(e) => Err(e),
            },
            accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => acceptor.admit(state, stream, peer),
            // It was gone before it was accepted, or a signal came.
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(e) => {
                acceptor.warnings.warn(format_args!("can't accept a connection: {e}"));
                thread::sleep(RETRY_PAUSE);
            }
        }
    }
}

/// Sets the options every connection has. They fail only where the peer is gone, which its first read tells too.
fn configure_stream(stream: TcpStream, limits: &Limits, traffic: Arc<ByteCounters>) -> ClientStream {
    // Elsewhere than on Linux it begins as its listener is.
    let _ = stream.set_nonblocking(false);
    // An answer is one write, and must not wait for the acknowledgement of the one before (Nagle): 44 ms.
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(limits.write_timeout));
    ClientStream::new(stream, traffic)
}

struct Acceptor {
    role: ListenerRole,
    rejected: VecDeque<Arc<ClientStream>>,
    warnings: LogThrottle,
    /// Whether clients expect TLS here.
    tls: bool,
}

impl Acceptor {
    fn admit(&mut self, state: &Arc<HttpState>, stream: TcpStream, peer: SocketAddr) {
        let stream = Arc::new(configure_stream(stream, &state.limits, state.metrics().traffic.clone()));
        let permit = match state.connections.admit(&stream, peer) {
            Ok(permit) => permit,
            Err(full) => {
                let (whose, why) = match full {
                    AdmissionError::TotalLimit => ("all clients", RefusalReason::Connections),
                    AdmissionError::AddressLimit => ("this address", RefusalReason::ConnectionsPerAddress),
                };
                state.metrics().count_refusal(why);
                self.warnings.warn(format_args!("refused a connection from {peer}: too many of {whose}"));
                return self.reject(stream);
            }
        };
        state.metrics().count_connection();
        let (for_thread, role, of_stream) = (state.clone(), self.role, stream.clone());
        let thread = thread::Builder::new().name("connection".into()).stack_size(CALL_STACK_BYTES);
        if let Err(e) = thread.spawn(move || connection::serve(&for_thread, role, of_stream, peer, permit)) {
            self.warnings.warn(format_args!("refused a connection from {peer}: no thread: {e}"));
            state.metrics().count_refusal(RefusalReason::Threads);
            self.reject(stream);
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Answers 503, or with an alert instead of a handshake, without ever waiting. The connection is held until more are refused: closing it now would reset
    /// it if the client has sent its request, and the client might never read the answer.
    fn reject(&mut self, stream: Arc<ClientStream>) {
        let reply = HttpResponse::unavailable(
            "too many connections are open (--max-connections, --max-connections-per-address)",
        )
        .with_close();
        let mut bytes = Vec::new();
        if self.tls {
            bytes.extend_from_slice(&TLS_ALERT);
        } else if reply.write_head(&mut bytes).is_ok() {
            bytes.extend_from_slice(reply.body());
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
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_calls() {
        assert_eq!(connection_capacity(u64::MAX, 2048, 320), 2048);
        assert_eq!(connection_capacity(1024, 2048, 320), 704);
        assert_eq!(connection_capacity(100, 2048, 320), 50);
        assert_eq!(connection_capacity(0, 2048, 320), 1);
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

    #[test]
    fn a_stop_signal_ends_the_waiting_of_all_now_and_later() {
        let listeners = ["127.0.0.1:0", "0.0.0.0:0"].map(|address| listen(address.parse().unwrap()).unwrap());
        let stop_signal = StopSignal::new().unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> =
                listeners.iter().map(|listener| scope.spawn(|| stop_signal.wait_for_connection(listener))).collect();
            stop_signal.send();
            waiting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        stop_signal.wait_for_connection(&listeners[0]).unwrap();
        assert!(TcpStream::connect(listeners[0].local_addr().unwrap()).is_ok(), "it listens on");
    }
}
