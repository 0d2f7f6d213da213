//! The sockets: a listener on loopback, a thread per connection, and an orderly end.

use crate::dispatch::Api;
use crate::http::{ParsedHead, parse_head};
use crate::options::Options;
use crate::state::ClusterState;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Stack size of a thread, several times the need of a debug build for nested JSON.
const STACK_SIZE: usize = 512 << 10;
/// Time for a client to receive a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a client to stop sending after the last response.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum bytes that are discarded after the last response.
const MAX_LINGER: usize = 4 << 20;

/// The state that all threads of one demo share.
struct Shared {
    api: Api,
    options: Options,
    connections: Mutex<ConnectionTable>,
    /// Notified when a connection ends and when the server stops.
    changed: Condvar,
}

/// The open connections, which the end of the server shuts down.
struct ConnectionTable {
    stopping: bool,
    last_id: u64,
    streams: HashMap<u64, TcpStream>,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, ConnectionTable> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps for `duration`, or until the server stops.
    fn pause(&self, duration: Duration) {
        drop(self.changed.wait_timeout_while(self.connections(), duration, |connections| !connections.stopping));
    }
}

/// The listener and its thread.
pub(crate) struct Server {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds a free port of 127.0.0.1 and starts to serve.
    pub(crate) fn start(state: ClusterState, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            api: Api::new(state, &options),
            options,
            connections: Mutex::new(ConnectionTable { stopping: false, last_id: 0, streams: HashMap::new() }),
            changed: Condvar::new(),
        });
        let (thread_listener, thread_shared) = (listener.try_clone()?, Arc::clone(&shared));
        let acceptor = thread::Builder::new()
            .name("demo".into())
            .stack_size(STACK_SIZE)
            .spawn(move || accept_connections(&thread_listener, &thread_shared))?;
        Ok(Self { address, listener, shared, acceptor: Some(acceptor) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut connections = self.shared.connections();
            connections.stopping = true;
            for stream in connections.streams.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // Linux wakes an `accept` when its socket is shut down. Other systems need a connection.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let connections = self.shared.connections();
        drop(self.shared.changed.wait_while(connections, |connections| !connections.streams.is_empty()));
    }
}

fn accept_connections(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.connections().stopping {
            return;
        }
        match accepted {
            Ok((stream, _)) => start_connection(stream, shared),
            // The process is probably out of descriptors until other connections end.
            Err(_) => shared.pause(Duration::from_millis(20)),
        }
    }
}

/// Starts a thread for the connection, or closes it if there are too many.
fn start_connection(stream: TcpStream, shared: &Arc<Shared>) {
    let Ok(handle) = stream.try_clone() else { return };
    let mut connections = shared.connections();
    if connections.stopping || connections.streams.len() >= shared.options.connections {
        return;
    }
    connections.last_id += 1;
    let id = connections.last_id;
    connections.streams.insert(id, handle);
    drop(connections);
    // Created here, so that the entry is removed even if the thread panics or cannot start.
    let guard = ConnectionGuard { id, shared: Arc::clone(shared) };
    let _ = thread::Builder::new().name("demo-conn".into()).stack_size(STACK_SIZE).spawn(move || {
        let _ = serve_connection(stream, &guard.shared);
    });
}

/// Removes a connection from the table when it is dropped.
struct ConnectionGuard {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shared.connections().streams.remove(&self.id);
        self.shared.changed.notify_all();
    }
}

/// Serves one connection until its end.
fn serve_connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut buffer = Vec::new();
    for requests_left in (0..shared.options.requests_per_connection.max(1)).rev() {
        let deadline = Instant::now() + shared.options.idle;
        let head = loop {
            match parse_head(&buffer) {
                ParsedHead::Complete(head) => break head,
                ParsedHead::Partial => {
                    if !read_more(&mut stream, &mut buffer, deadline)? {
                        return Ok(());
                    }
                }
                ParsedHead::Rejected(response) => {
                    stream.write_all(&response.to_bytes(0, true))?;
                    return discard_input(&mut stream);
                }
                ParsedHead::Invalid => return Ok(()),
            }
        };
        buffer.drain(..head.length);
        let response = match shared.api.check_head(&head) {
            Ok(caller) => {
                let deadline = Instant::now() + shared.options.idle;
                while buffer.len() < head.content_length {
                    if !read_more(&mut stream, &mut buffer, deadline)? {
                        return Ok(());
                    }
                }
                let body: Vec<u8> = buffer.drain(..head.content_length).collect();
                shared.api.respond(&head, &body, &caller)
            }
            Err(response) => response,
        };
        if response.status == 401 {
            shared.pause(shared.options.auth_delay);
        }
        let close = requests_left == 0 || head.close || response.status >= 400;
        stream.write_all(&response.to_bytes(head.minor_version, close))?;
        if close {
            return discard_input(&mut stream);
        }
    }
    Ok(())
}

/// Reads the bytes that have arrived, at most 16 KiB. Returns false at the end of the stream and at the deadline.
fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    stream.set_read_timeout(Some(left))?;
    let mut chunk = [0; 16 << 10];
    let length = match stream.read(&mut chunk) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        result => result?,
    };
    buffer.extend_from_slice(&chunk[..length]);
    Ok(length > 0)
}

/// Reads the rest of the client's bytes before the connection is closed. Unread bytes would make the system reset the
/// connection, and the client would lose the response.
fn discard_input(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER_TIMEOUT;
    let mut chunk = Vec::new();
    let mut discarded = 0;
    while discarded < MAX_LINGER && read_more(stream, &mut chunk, deadline)? {
        discarded += chunk.len();
        chunk.clear();
    }
    Ok(())
}
