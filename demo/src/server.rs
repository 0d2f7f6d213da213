//! The sockets: a listener on loopback, a thread a connection, and an end that leaves nothing behind.

use super::{Options, api, http, world::World};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Enough for the deepest path (JSON of a bounded body, debug build) many times over; untouched stack costs nothing.
const STACK: usize = 512 << 10;

/// What every thread of one demo shares.
pub(super) struct Shared {
    /// The cluster.
    pub(super) world: Mutex<World>,
    /// How it behaves.
    pub(super) options: Options,
    open: Mutex<Open>,
    changed: Condvar,
}

/// The connections, so that the end can reach them.
struct Open {
    stopping: bool,
    next: u64,
    streams: HashMap<u64, TcpStream>,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps for `time`, or until the demo ends.
    pub(super) fn pause(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let open = self.open();
        drop(self.changed.wait_timeout_while(open, time, |open| !open.stopping));
    }
}

/// The listener's thread and what it shares with the connections'.
pub(super) struct Server {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds a free port of 127.0.0.1 and begins to serve.
    pub(super) fn start(world: World, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            options,
            open: Mutex::new(Open { stopping: false, next: 0, streams: HashMap::new() }),
            changed: Condvar::new(),
        });
        let (ears, theirs) = (listener.try_clone()?, Arc::clone(&shared));
        let acceptor =
            thread::Builder::new().name("demo".into()).stack_size(STACK).spawn(move || accept(&ears, &theirs))?;
        Ok(Self { address, listener, shared, acceptor: Some(acceptor) })
    }

    /// The port it was given.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut open = self.shared.open();
            open.stopping = true;
            for stream in open.streams.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // Linux wakes an `accept` whose socket is shut down; the connection is for the systems that do not.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let mut open = self.shared.open();
        while !open.streams.is_empty() {
            open = self.shared.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.open().stopping {
            return;
        }
        match accepted {
            Ok((stream, _)) => admit(stream, shared),
            // Out of descriptors, most likely: the only cure is that others end first.
            Err(_) => shared.pause(Duration::from_millis(20)),
        }
    }
}

/// Gives the connection a thread, or closes it where there is no room.
fn admit(stream: TcpStream, shared: &Arc<Shared>) {
    let Ok(handle) = stream.try_clone() else { return };
    let id = {
        let mut open = shared.open();
        if open.stopping || open.streams.len() >= shared.options.connections {
            return;
        }
        open.next += 1;
        let id = open.next;
        open.streams.insert(id, handle);
        id
    };
    // Made here, so that the entry goes whether the thread ends, panics or never starts.
    let entry = Entry { id, shared: Arc::clone(shared) };
    let _ = thread::Builder::new().name("demo-conn".into()).stack_size(STACK).spawn(move || {
        let _ = serve(stream, &entry.shared);
    });
}

struct Entry {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.open().streams.remove(&self.id);
        self.shared.changed.notify_all();
    }
}

/// One connection, from its first byte to its last.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut buffer = Vec::new();
    for left in (0..shared.options.requests_per_connection.max(1)).rev() {
        let deadline = Instant::now() + shared.options.idle;
        let head = loop {
            match http::parse(&buffer) {
                http::Parsed::Head(head) => break head,
                http::Parsed::More => {
                    if !fill(&mut stream, &mut buffer, deadline)? {
                        return Ok(());
                    }
                }
                http::Parsed::Refused(reply) => {
                    stream.write_all(&reply.bytes(0, true))?;
                    return linger(&mut stream);
                }
                http::Parsed::Hopeless => return Ok(()),
            }
        };
        buffer.drain(..head.length.min(buffer.len()));
        let mut body = Vec::new();
        let reply = match api::before_body(&head, shared) {
            Err(reply) => reply,
            Ok(caller) => {
                let deadline = Instant::now() + shared.options.idle;
                while buffer.len() < head.body {
                    if !fill(&mut stream, &mut buffer, deadline)? {
                        return Ok(());
                    }
                }
                body.extend(buffer.drain(..head.body));
                api::answer(&head, &body, &caller, shared)
            }
        };
        let close = left == 0 || head.close || reply.status >= 400;
        stream.write_all(&reply.bytes(head.minor, close))?;
        if close {
            return linger(&mut stream);
        }
    }
    Ok(())
}

/// Reads what has come, at most 16 KiB; false at the end of the stream.
fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    stream.set_read_timeout(Some(left))?;
    let mut chunk = [0; 16 << 10];
    let n = match stream.read(&mut chunk) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(true),
        other => other?,
    };
    buffer.extend(chunk.iter().take(n));
    Ok(n > 0)
}

/// Takes what the client is still sending before closing: closing over unread bytes resets the connection, and the
/// client would lose the answer that says why.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + Duration::from_millis(500);
    let mut rest = Vec::new();
    let mut taken = 0;
    while taken < 4 << 20 && fill(stream, &mut rest, deadline)? {
        taken += rest.len();
        rest.clear();
    }
    Ok(())
}
