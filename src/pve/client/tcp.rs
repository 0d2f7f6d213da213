//! A TCP connection to a node, below [`crate::pve::client::node_connection`]: each read and write has a deadline, and while it is being made it
//! can be ended from another thread like any later I/O. (The connection of the standard library, and with it ureq's,
//! hands out no socket before it stands: a call to an address that swallows packets could not be cancelled.)

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;

/// A connection whose reads and writes end in time.
pub(in crate::pve) struct TcpConnection {
    stream: Arc<TcpStream>,
    time_limit: TimeLimit,
    /// The time limits that the socket has.
    read_timeout: SocketTimeout,
    write_timeout: SocketTimeout,
}

/// The time limit that a socket has, as set; [`UNKNOWN_TIMEOUT`] where nothing is known of it.
type SocketTimeout = Option<Duration>;

/// A limit that no socket has.
const UNKNOWN_TIMEOUT: SocketTimeout = Some(Duration::ZERO);

/// Whether the limit that a socket has serves where so much time is left: then it need not be set. Between the calls on a
/// connection that is kept alive it hardly differs; a wait may so end a sixty-fourth of its time late.
fn is_close_enough(current: SocketTimeout, left: Option<Duration>) -> bool {
    match (current, left) {
        (Some(armed), Some(left)) => armed.abs_diff(left) <= left / 64,
        (armed, left) => armed == left,
    }
}

/// Until when, and what ureq calls it.
#[derive(Clone, Copy)]
struct TimeLimit {
    deadline: Option<Instant>,
    reason: Timeout,
}

impl TimeLimit {
    fn new(timeout: NextTimeout) -> Self {
        let until = (!timeout.after.is_not_happening()).then(|| Instant::now() + *timeout.after);
        Self { deadline: until, reason: timeout.reason }
    }

    fn timeout_error(&self) -> io::Error {
        ureq::Error::Timeout(self.reason).into_io()
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) { Err(self.timeout_error()) } else { Ok(left) }
    }

    /// Makes one read or write in the time that is left.
    fn run_within(
        &self,
        current: &mut SocketTimeout,
        set: &dyn Fn(Option<Duration>) -> io::Result<()>,
        operation: &mut dyn FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.remaining()?;
            if !is_close_enough(*current, left) {
                match set(left) {
                    // macOS takes no new time limit once the peer has closed; what it sent can still be read.
                    Err(e) if e.kind() != io::ErrorKind::InvalidInput => return Err(e),
                    set => *current = set.map_or(UNKNOWN_TIMEOUT, |()| left),
                }
            }
            match operation() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The socket's own limit, which may have been shorter than what was left. (A peer that is dead to TCP is
                // `TimedOut`, and said once.)
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => *current = UNKNOWN_TIMEOUT,
                result => return result,
            }
        }
    }
}

impl TcpConnection {
    /// Connects to the first of `addrs` that takes it; each has its share of the time. Before it waits, `begun` is shown
    /// the socket: whoever shuts that down ends the wait.
    pub(in crate::pve) fn connect(
        addrs: &[SocketAddr],
        timeout: NextTimeout,
        on_connecting: &dyn Fn(&Arc<TcpStream>),
    ) -> io::Result<Self> {
        let limit = TimeLimit::new(timeout);
        let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (n, addr) in addrs.iter().enumerate() {
            let share = limit.remaining()?.map(|left| left / (addrs.len() - n) as u32);
            let ends = TimeLimit { deadline: share.map(|share| Instant::now() + share), ..limit };
            match connect_addr(*addr, &ends, on_connecting) {
                Ok(stream) => {
                    return Ok(Self {
                        stream,
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

    /// The socket.
    pub(in crate::pve) fn socket(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// For the reads and writes that follow, together.
    pub(in crate::pve) fn set_timeout(&mut self, timeout: NextTimeout) {
        self.time_limit = TimeLimit::new(timeout);
    }

    /// Whether the node has neither closed nor sent anything.
    pub(in crate::pve) fn is_idle(&self) -> bool {
        // What is there to be read is either something that was sent or the end.
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
        // Only now: a socket that is not on its way yet can't be shut down, and a cancellation would be lost.
        on_connecting(&stream);
        wait_until_connected(&stream, limit)?;
    }
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits until the connection stands.
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
        // One that was shut down meanwhile is no connection, whatever else it says.
        None => stream.peer_addr().map(drop),
    }
}
