//! TLS on a connection.
//!
//! The socket is nonblocking. A thread that must wait does so in `poll`, without the lock. The lock is held only for
//! computation and system calls that return at once. A reader that waits for days therefore never blocks a writer, and
//! a client that does not read never blocks a reader.

use crate::base::deadline::Deadline;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Maximum bytes that are encrypted before the socket accepts them.
const MAX_UNSENT_BYTES: usize = 64 << 10;

/// TLS state of a connection. The caller passes the socket to each method.
pub struct TlsSession(Mutex<TlsState>);

struct TlsState {
    connection: ServerConnection,
    /// True once nothing may be sent or received.
    closed: bool,
}

/// Makes the TLS handshake on a socket, which becomes nonblocking.
///
/// Fails if the client sends no valid TLS (an alert is sent to it if possible), disconnects, or is too slow.
pub fn accept_handshake(socket: &TcpStream, config: Arc<ServerConfig>, deadline: &Deadline) -> io::Result<TlsSession> {
    socket.set_nonblocking(true)?;
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    connection.set_buffer_limit(Some(MAX_UNSENT_BYTES));
    let mut state = TlsState { connection, closed: false };
    while state.connection.is_handshaking() {
        if !state.flush(socket)? {
            wait_until_ready(socket, PollFlags::OUT, Some(deadline))?;
            continue;
        }
        wait_until_ready(socket, PollFlags::IN, Some(deadline))?;
        match state.receive(socket) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() != ErrorKind::WouldBlock => return Err(e),
            _ => {}
        }
    }
    // Session tickets that the socket does not accept now are sent with the first response.
    state.flush(socket)?;
    Ok(TlsSession(Mutex::new(state)))
}

impl TlsSession {
    /// Reads at least one byte, or returns 0 at the end, announced or not. HTTP itself detects a truncated message.
    pub fn read(&self, socket: &TcpStream, into: &mut [u8], deadline: &Deadline) -> io::Result<usize> {
        loop {
            if let Some(n) = self.lock().read_plaintext(into) {
                return Ok(n);
            }
            wait_until_ready(socket, PollFlags::IN, Some(deadline))?;
            ignore_would_block(self.lock().receive(socket))?;
        }
    }

    /// Writes all `parts`, and returns when the socket has accepted them.
    pub fn write_all(&self, socket: &TcpStream, mut parts: &mut [IoSlice<'_>], deadline: &Deadline) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !self.lock().write_parts(socket, &mut parts)? {
            wait_until_ready(socket, PollFlags::OUT, Some(deadline))?;
        }
        Ok(())
    }

    /// Sends `bytes` without a wait, or fails with `WouldBlock` if earlier data is unsent. Bytes that the socket does
    /// not accept now are sent before any later data.
    pub fn send_now(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let mut state = match self.0.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
        };
        if state.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !state.flush(socket)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let sent = state.connection.writer().write(bytes)?;
        state.flush(socket)?;
        Ok(sent)
    }

    /// Waits until the peer is gone, `ended` returns true, or the peer has sent `max_ignored` bytes. Encrypted bytes
    /// are counted, so that empty records count too.
    pub fn wait_for_end(&self, socket: &TcpStream, max_ignored: usize, ended: &dyn Fn() -> bool) {
        let mut ignored = 0;
        let mut bytes = [0; 512];
        while ignored < max_ignored && !ended() {
            match self.lock().read_plaintext(&mut bytes) {
                Some(0) => return,
                Some(_) => continue,
                None => {}
            }
            if wait_until_ready(socket, PollFlags::IN, None).is_err() {
                return;
            }
            match self.lock().receive(socket) {
                Ok(n) => ignored += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Sends `close_notify` if the socket accepts it without a wait. Idempotent.
    pub fn close(&self, socket: &TcpStream) {
        let mut state = self.lock();
        if !state.closed {
            state.closed = true;
            state.connection.send_close_notify();
            // It fails if the peer is gone or does not read.
            let _ = state.flush(socket);
        }
    }

    /// Locks the state. The lock must not be held during a wait.
    fn lock(&self) -> MutexGuard<'_, TlsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TlsState {
    /// Reads decrypted bytes. Returns `None` if there are none yet, and 0 at the end.
    fn read_plaintext(&mut self, into: &mut [u8]) -> Option<usize> {
        if self.closed {
            return Some(0);
        }
        match self.connection.reader().read(into) {
            Ok(n) => Some(n),
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            // The peer disconnected without `close_notify`, as many do.
            Err(_) => Some(0),
        }
    }

    /// Receives and decrypts what the socket has, and returns the number of encrypted bytes. Fails with `WouldBlock` if
    /// there are none. Invalid TLS closes the session.
    fn receive(&mut self, mut socket: &TcpStream) -> io::Result<usize> {
        // After the end, received bytes no longer go to rustls.
        if self.closed {
            return Ok(0);
        }
        let n = match self.connection.read_tls(&mut socket) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(ErrorKind::WouldBlock.into()),
            read => read?,
        };
        if let Err(error) = self.connection.process_new_packets() {
            self.closed = true;
            // Sends the alert.
            let _ = self.flush(socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        // Sends the response to a key update of the peer. If the socket is full, it is sent with the next write. At
        // most one is pending.
        self.flush(socket)?;
        Ok(n)
    }

    /// Encrypts and sends as much of `parts` as the socket accepts. Returns true when everything is sent.
    fn write_parts(&mut self, socket: &TcpStream, parts: &mut &mut [IoSlice<'_>]) -> io::Result<bool> {
        if self.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        loop {
            while !parts.is_empty() {
                match self.connection.writer().write_vectored(parts)? {
                    0 => break,
                    n => IoSlice::advance_slices(parts, n),
                }
            }
            if !self.flush(socket)? {
                return Ok(false);
            }
            if parts.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Sends the encrypted bytes. Returns false if the socket does not accept all of them now.
    fn flush(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// Turns `WouldBlock` into success, for a caller that waits and retries.
fn ignore_would_block(received: io::Result<usize>) -> io::Result<()> {
    match received {
        Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
        _ => Ok(()),
    }
}

/// Waits until the socket is readable or writable, or has ended. Fails with `TimedOut` at the deadline.
pub fn wait_until_ready(socket: &TcpStream, events: PollFlags, deadline: Option<&Deadline>) -> io::Result<()> {
    loop {
        let remaining = deadline.map(Deadline::remaining);
        if remaining.is_some_and(|remaining| remaining.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let time = remaining.and_then(|remaining| Timespec::try_from(remaining).ok());
        match poll(&mut [PollFd::new(socket, events)], time.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}
