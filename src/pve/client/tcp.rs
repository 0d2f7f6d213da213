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

/// Time after which the next address of a name is tried too (RFC 8305, 5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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
    /// Connects to the address that accepts first (see [`connect_to_first`]).
    pub(in crate::pve) fn connect(
        addrs: &[SocketAddr],
        timeout: NextTimeout,
        on_connecting: &dyn Fn(&[Arc<TcpStream>]),
    ) -> io::Result<Self> {
        let place = ConnectionPlace::take()?;
        let time_limit = TimeLimit::new(timeout);
        let stream = connect_to_first(addrs, &time_limit, on_connecting)?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let (read_timeout, write_timeout) = (UNKNOWN_TIMEOUT, UNKNOWN_TIMEOUT);
        Ok(Self { stream, _place: place, time_limit, read_timeout, write_timeout })
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

/// Connects to the address that accepts first. The next one is tried once the previous one has failed, or has not answered
/// for [`ATTEMPT_DELAY`]. Calls `on_connecting` with all sockets that wait, before it waits for a new one. Shutting them
/// down ends the wait.
fn connect_to_first(
    addrs: &[SocketAddr],
    limit: &TimeLimit,
    on_connecting: &dyn Fn(&[Arc<TcpStream>]),
) -> io::Result<Arc<TcpStream>> {
    let mut untried = addrs.iter();
    let mut attempts = Vec::new();
    let mut last_error = io::Error::from(io::ErrorKind::ConnectionRefused);
    loop {
        if let Some(addr) = untried.next() {
            match start_attempt(*addr) {
                Ok(ConnectAttempt::Connected(stream)) => return Ok(stream),
                // Not earlier: before the connection attempt the socket can't be shut down, and a cancellation would be
                // lost.
                Ok(ConnectAttempt::Waiting(stream)) => {
                    attempts.push(stream);
                    on_connecting(&attempts);
                }
                Err(error) => {
                    last_error = error;
                    continue;
                }
            }
        }
        if attempts.is_empty() {
            return Err(last_error);
        }
        let delay = (untried.len() > 0).then_some(ATTEMPT_DELAY);
        let Some(n) = wait_for_attempt(&attempts, limit, delay)? else { continue };
        let stream = attempts.swap_remove(n);
        // A socket that was shut down in the meantime has no error, but no peer either.
        match stream.take_error()?.map_or_else(|| stream.peer_addr().map(drop), Err) {
            Ok(()) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
}

enum ConnectAttempt {
    Connected(Arc<TcpStream>),
    Waiting(Arc<TcpStream>),
}

fn start_attempt(addr: SocketAddr) -> io::Result<ConnectAttempt> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let started = socket.connect(&addr.into());
    let stream = Arc::new(TcpStream::from(socket));
    match started {
        Ok(()) => Ok(ConnectAttempt::Connected(stream)),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
            Ok(ConnectAttempt::Waiting(stream))
        }
        Err(error) => Err(error),
    }
}

/// Waits until an attempt has ended, and returns its index. Returns `None` after `delay`.
fn wait_for_attempt(
    attempts: &[Arc<TcpStream>],
    limit: &TimeLimit,
    delay: Option<Duration>,
) -> io::Result<Option<usize>> {
    let started = Instant::now();
    let mut sockets: Vec<_> = attempts.iter().map(|stream| PollFd::new(&**stream, PollFlags::OUT)).collect();
    loop {
        let left = limit.remaining()?;
        let until_next = delay.map(|delay| delay.saturating_sub(started.elapsed()));
        let wait = left.into_iter().chain(until_next).min().map(|wait| Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        match poll(&mut sockets, wait.as_ref()) {
            Ok(0) if until_next.is_some_and(|until_next| left.is_none_or(|left| until_next <= left)) => {
                return Ok(None);
            }
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(sockets.iter().position(|socket| !socket.revents().is_empty())),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::{Shutdown, TcpListener};

    /// Address that answers no connection attempt: the queue of its listener is full.
    struct DeadAddress {
        address: SocketAddr,
        _listener: Socket,
        _queued: Vec<Socket>,
    }

    impl DeadAddress {
        fn new() -> Self {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let mut queued = Vec::new();
            // Linux queues one more connection than it was told, and drops what follows.
            loop {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                if socket.connect_timeout(&address.into(), Duration::from_millis(200)).is_err() {
                    return Self { address, _listener: listener, _queued: queued };
                }
                queued.push(socket);
            }
        }
    }

    fn refused_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn within(time: Duration) -> NextTimeout {
        NextTimeout { after: time.into(), reason: Timeout::Connect, ..NextTimeout::default() }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn connect_tries_the_next_address_while_the_first_does_not_answer() {
        let dead = [DeadAddress::new(), DeadAddress::new()];
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = alive.local_addr().unwrap();
        let most = Cell::new(0);
        let addresses = [dead[0].address, refused_address(), dead[1].address, alive];
        let count = |sockets: &[Arc<TcpStream>]| most.set(most.get().max(sockets.len()));
        let connection = TcpConnection::connect(&addresses, within(LONG), &count).unwrap();
        assert_eq!(connection.socket().peer_addr().unwrap(), alive);
        assert!(most.get() >= 2, "the attempts wait at the same time");
    }

    #[test]
    fn connect_gives_a_late_answer_of_the_first_address_its_chance() {
        let slow = DeadAddress::new();
        let DeadAddress { address, _listener: listener, _queued: queued } = slow;
        let other = DeadAddress::new();
        // The kernel sends the first attempt again after a second, and then the queue has room.
        let make_room = |sockets: &[Arc<TcpStream>]| {
            if sockets.len() == 2 {
                queued.iter().for_each(|_| drop(listener.accept().unwrap()));
            }
        };
        let connection = TcpConnection::connect(&[address, other.address], within(LONG), &make_room).unwrap();
        assert_eq!(connection.socket().peer_addr().unwrap(), address);
    }

    #[test]
    fn connect_ends_at_its_limit_and_when_its_sockets_are_shut_down() {
        let dead = [DeadAddress::new(), DeadAddress::new()];
        let addresses = dead.each_ref().map(|dead| dead.address);
        let connect = |limit, on_connecting: &dyn Fn(&[Arc<TcpStream>])| {
            TcpConnection::connect(&addresses, within(limit), on_connecting).err().unwrap()
        };
        let error = connect(Duration::from_millis(300), &|_| {});
        assert!(matches!(ureq::Error::from(error), ureq::Error::Timeout(Timeout::Connect)));
        connect(LONG, &|sockets| sockets.iter().for_each(|socket| socket.shutdown(Shutdown::Both).unwrap_or_default()));
        assert_eq!(
            TcpConnection::connect(&[refused_address()], within(LONG), &|_| {}).err().unwrap().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
