//! TLS on a connection.
//!
//! The socket never blocks. Whoever must wait for it does so in `poll`, without the lock: under it there is only
//! arithmetic, and system calls that return at once. So a reader that waits for days holds up nobody who has an event to
//! send, and a client that takes none holds up nobody who reads.

use crate::base::deadline::Deadline;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Bytes that are encrypted ahead of what the socket takes.
const MAX_UNSENT_BYTES: usize = 64 << 10;

/// What a connection keeps for TLS; its socket is at hand in each call.
pub struct TlsSession(Mutex<TlsState>);

struct TlsState {
    connection: ServerConnection,
    /// Nothing is sent or received any more.
    closed: bool,
}

/// Shakes hands over a socket, which does not block from here on, within a deadline.
///
/// Errors: what the client sent is no TLS, or none that can be agreed upon (it is told, as far as the socket takes it);
/// the client is gone; the time is over.
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
    // What is left to send, the client's tickets for next time, goes out with the first answer if not now.
    state.flush(socket)?;
    Ok(TlsSession(Mutex::new(state)))
}

impl TlsSession {
    /// Waits for bytes: at least one, or 0 at the end, be it announced or not. HTTP knows by itself what is whole.
    pub fn read(&self, socket: &TcpStream, into: &mut [u8], deadline: &Deadline) -> io::Result<usize> {
        loop {
            if let Some(n) = self.lock().read_plaintext(into) {
                return Ok(n);
            }
            wait_until_ready(socket, PollFlags::IN, Some(deadline))?;
            ignore_would_block(self.lock().receive(socket))?;
        }
    }

    /// Writes all `parts`, and returns when the socket has taken them.
    pub fn write_all(&self, socket: &TcpStream, mut parts: &mut [IoSlice<'_>], deadline: &Deadline) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !self.lock().write_parts(socket, &mut parts)? {
            wait_until_ready(socket, PollFlags::OUT, Some(deadline))?;
        }
        Ok(())
    }

    /// Sends `bytes` if nothing else has to go out before them. What the socket does not take of them at once goes out
    /// before anything that follows.
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
        let taken = state.connection.writer().write(bytes)?;
        state.flush(socket)?;
        Ok(taken)
    }

    /// Waits until the peer is gone or has sent more than `most` bytes, which are records here: those without anything
    /// in them count as well.
    pub fn wait_for_end(&self, socket: &TcpStream, most: usize, ended: &dyn Fn() -> bool) {
        let mut ignored = 0;
        let mut bytes = [0; 512];
        while ignored < most && !ended() {
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

    /// Tells the peer that this is the end, if the socket takes that now. Idempotent.
    pub fn close(&self, socket: &TcpStream) {
        let mut state = self.lock();
        if !state.closed {
            state.closed = true;
            state.connection.send_close_notify();
            // Where the peer is gone or reads nothing, there is nobody to tell.
            let _ = state.flush(socket);
        }
    }

    /// Never held while anything waits.
    fn lock(&self) -> MutexGuard<'_, TlsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TlsState {
    /// What has been received and decrypted: `None` where that is nothing, 0 bytes where nothing more will come.
    fn read_plaintext(&mut self, into: &mut [u8]) -> Option<usize> {
        if self.closed {
            return Some(0);
        }
        match self.connection.reader().read(into) {
            Ok(n) => Some(n),
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            // The peer is gone without a word, as many are.
            Err(_) => Some(0),
        }
    }

    /// Takes what the socket has, and returns how many bytes that were. Errors: `WouldBlock` where it has none; what
    /// came is not what TLS allows, and then nothing is sent or received any more.
    fn receive(&mut self, mut socket: &TcpStream) -> io::Result<usize> {
        // After the end, rustls is not to be asked for an opinion on what comes.
        if self.closed {
            return Ok(0);
        }
        let n = match self.connection.read_tls(&mut socket) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(ErrorKind::WouldBlock.into()),
            read => read?,
        };
        if let Err(e) = self.connection.process_new_packets() {
            self.closed = true;
            // The alert that says why.
            let _ = self.flush(socket);
            return Err(io::Error::new(ErrorKind::InvalidData, e));
        }
        // An answer to the peer's renewal of a key. If it does not go out now it goes with the next event, and there is
        // never more than one of them.
        self.flush(socket)?;
        Ok(n)
    }

    /// Encrypts and sends as much of `parts` as the socket takes; true when all of it is out.
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

    /// Sends what is encrypted already; false where the socket does not take all of it now.
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

/// Nothing yet is no error to whoever goes on waiting.
fn ignore_would_block(received: io::Result<usize>) -> io::Result<()> {
    match received {
        Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
        _ => Ok(()),
    }
}

/// Waits until the socket can be read or written, or has ended. Errors: `TimedOut`.
pub fn wait_until_ready(socket: &TcpStream, what: PollFlags, deadline: Option<&Deadline>) -> io::Result<()> {
    loop {
        let left = deadline.map(Deadline::remaining);
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let time = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(socket, what)], time.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}
