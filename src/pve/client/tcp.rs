//! TCP connection to a node with a deadline for each read and write.
//!
//! Another thread can end the connection attempt like any later I/O. (The standard library, and with it ureq, provides
//! no socket before it is connected. A call to an address that drops packets could not be cancelled.)

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;

/// Connections to nodes that are open, of all clusters.
static OPEN_CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Place of one connection among all that may be open.
struct ConnectionPlace;

impl ConnectionPlace {
    /// Takes a place. A quarter of the process's descriptors stays for its own clients and files.
    fn take() -> io::Result<Self> {
        let max = getrlimit(Resource::Nofile).current.map_or(u64::MAX, |limit| limit - limit / 4);
        if OPEN_CONNECTIONS.fetch_add(1, Ordering::SeqCst) >= max {
            OPEN_CONNECTIONS.fetch_sub(1, Ordering::SeqCst);
            return Err(Errno::MFILE.into());
        }
        Ok(Self)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        OPEN_CONNECTIONS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Connection whose reads and writes end in time.
pub(in crate::pve) struct TcpConnection {
    stream: Arc<TcpStream>,
    _place: ConnectionPlace,
    time_limit: TimeLimit,
    /// The time limits that are set on the socket, or [`UNKNOWN_TIMEOUT`].
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

/// Time limit that no socket has.
const UNKNOWN_TIMEOUT: Option<Duration> = Some(Duration::ZERO);

/// Returns whether the socket's time limit can stay as it is with this time left. It hardly differs between the calls on
/// a kept connection. A wait may so end late by 1/64 of its time.
fn is_close_enough(current: Option<Duration>, left: Option<Duration>) -> bool {
    match (current, left) {
        (Some(current), Some(left)) => current.abs_diff(left) <= left / 64,
        (current, left) => current == left,
    }
}

/// Deadline, and ureq's name for it.
#[derive(Clone, Copy)]
struct TimeLimit {
    deadline: Option<Instant>,
    reason: Timeout,
}

impl TimeLimit {
    fn new(timeout: NextTimeout) -> Self {
        let deadline = (!timeout.after.is_not_happening()).then(|| Instant::now() + *timeout.after);
        Self { deadline, reason: timeout.reason }
    }

    fn timeout_error(&self) -> io::Error {
        ureq::Error::Timeout(self.reason).into_io()
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) { Err(self.timeout_error()) } else { Ok(left) }
    }

    /// Runs one read or write within the time left.
    fn run_within(
        &self,
        current: &mut Option<Duration>,
        set: &dyn Fn(Option<Duration>) -> io::Result<()>,
        operation: &mut dyn FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.remaining()?;
            if !is_close_enough(*current, left) {
                match set(left) {
                    // macOS rejects a new time limit once the peer has closed. The data it sent can still be read.
                    Err(e) if e.kind() != io::ErrorKind::InvalidInput => return Err(e),
                    set => *current = set.map_or(UNKNOWN_TIMEOUT, |()| left),
                }
            }
            match operation() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The socket's own limit, which may have been shorter than the time left. (For a dead peer TCP reports
                // `TimedOut`, once.)
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => *current = UNKNOWN_TIMEOUT,
                result => return result,
            }
        }
    }
}

impl TcpConnection {
    /// Connects to the first of `addrs` that accepts; each has its share of the time. Calls `on_connecting` with the
    /// socket before it waits. Shutting that socket down ends the wait.
    pub(in crate::pve) fn connect(
        addrs: &[SocketAddr],
        timeout: NextTimeout,
        on_connecting: &dyn Fn(&Arc<TcpStream>),
    ) -> io::Result<Self> {
        let place = ConnectionPlace::take()?;
        let limit = TimeLimit::new(timeout);
        let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (n, addr) in addrs.iter().enumerate() {
            let share = limit.remaining()?.map(|left| left / (addrs.len() - n) as u32);
            let ends = TimeLimit { deadline: share.map(|share| Instant::now() + share), ..limit };
            match connect_addr(*addr, &ends, on_connecting) {
                Ok(stream) => {
                    return Ok(Self {
                        stream,
                        _place: place,
                        time_limit: limit,
                        read_timeout: UNKNOWN_TIMEOUT,
                        write_timeout: UNKNOWN_TIMEOUT,
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    pub(in crate::pve) fn socket(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Sets the time for all following reads and writes together.
    pub(in crate::pve) fn set_timeout(&mut self, timeout: NextTimeout) {
        self.time_limit = TimeLimit::new(timeout);
    }

    /// Returns whether the node has neither closed the connection nor sent anything.
    pub(in crate::pve) fn is_idle(&self) -> bool {
        // Readable means data or the end of the stream.
        let mut sockets = [PollFd::new(&*self.stream, PollFlags::IN)];
        matches!(poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }
}

impl Read for TcpConnection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut stream = &*self.stream;
        self.time_limit
            .run_within(&mut self.read_timeout, &|left| stream.set_read_timeout(left), &mut || stream.read(bytes))
    }
}

impl Write for TcpConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = &*self.stream;
        self.time_limit
            .run_within(&mut self.write_timeout, &|left| stream.set_write_timeout(left), &mut || stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connect_addr(
    addr: SocketAddr,
    limit: &TimeLimit,
    on_connecting: &dyn Fn(&Arc<TcpStream>),
) -> io::Result<Arc<TcpStream>> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let started = socket.connect(&addr.into());
    let stream = Arc::new(TcpStream::from(socket));
    if let Err(error) = started {
        if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) {
            return Err(error);
        }
        // Not earlier: before the connection attempt the socket can't be shut down, and a cancellation would be lost.
        on_connecting(&stream);
        wait_until_connected(&stream, limit)?;
    }
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits until the connection is established.
fn wait_until_connected(stream: &TcpStream, limit: &TimeLimit) -> io::Result<()> {
    let mut sockets = [PollFd::new(stream, PollFlags::OUT)];
    loop {
        let left = limit.remaining()?.map(|left| Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut sockets, left.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        // A socket that was shut down in the meantime has no error, but no peer either.
        None => stream.peer_addr().map(drop),
    }
}
