//! A client's connection, plain or TLS, with a deadline for every read and write.
//!
//! A socket's own timeout bounds one system call, so a peer that sends or reads a byte now and then never meets it.
//! Here the deadline bounds the whole operation: the remaining time is set before each further read or write.

use super::tls::TlsSession;
use crate::base::deadline::Deadline;
use crate::metrics::ByteCounters;
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Flags of `send`: MSG_DONTWAIT, and on Linux MSG_NOSIGNAL too.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DONT_WAIT: i32 = 0x40 | 0x4000;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const DONT_WAIT: i32 = 0x80;

/// An open connection. One thread reads it. Several may write, one at a time.
pub struct ClientStream {
    socket: TcpStream,
    /// Set after the TLS handshake. Boxed because it is larger than all other fields.
    tls: OnceLock<Box<TlsSession>>,
    /// Byte counters of all connections.
    traffic: Arc<ByteCounters>,
}

impl ClientStream {
    pub fn new(socket: TcpStream, traffic: Arc<ByteCounters>) -> Self {
        Self { socket, tls: OnceLock::new(), traffic }
    }

    /// Switches the stream to TLS after the handshake. Returns false if it already uses TLS.
    pub fn upgrade_to_tls(&self, tls: TlsSession) -> bool {
        self.tls.set(Box::new(tls)).is_ok()
    }

    /// Returns the socket, for its options and for polling.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Reads at least one byte, or returns 0 at the end. `current_timeout` is the socket's read timeout and is set only
    /// if it must change. A request in one piece on a reused connection then costs one system call.
    pub fn read(&self, into: &mut [u8], deadline: &Deadline, current_timeout: &mut Duration) -> io::Result<usize> {
        #[cfg(any(test, fuzzing))]
        let into = truncate_to_piece(into);
        let read = match self.tls.get() {
            None => read_socket(&self.socket, into, deadline, current_timeout),
            Some(tls) => tls.read(&self.socket, into, deadline),
        };
        read.inspect(|bytes| self.traffic.add_received(*bytes))
    }

    /// Writes all `parts`, as one write if the socket accepts it. `limit` bounds the whole and must already be the
    /// socket's write timeout (Linux counts it down over one call, however often the call sleeps).
    ///
    /// After an error part of the data may be sent.
    pub fn write_all(&self, parts: &mut [IoSlice<'_>], limit: Duration) -> io::Result<()> {
        self.traffic.add_sent(parts.iter().map(|part| part.len()).sum());
        match self.tls.get() {
            None => write_socket(&self.socket, parts, limit),
            Some(tls) => tls.write_all(&self.socket, parts, &Deadline::from_now(limit)),
        }
    }

    /// Sends as many of `bytes` as possible without a wait. Fails with `WouldBlock` if the socket accepts no byte now.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = match self.tls.get() {
            None => SockRef::from(&self.socket).send_with_flags(bytes, DONT_WAIT),
            Some(tls) => tls.send_now(&self.socket, bytes),
        };
        sent.inspect(|bytes| self.traffic.add_sent(*bytes))
    }

    /// Reads without a deadline and ignores the bytes, until the peer is gone, `ended` returns true, or the peer has
    /// sent `max_ignored` bytes.
    pub fn wait_for_end(&self, max_ignored: usize, ended: &dyn Fn() -> bool) {
        if let Some(tls) = self.tls.get() {
            return tls.wait_for_end(&self.socket, max_ignored, ended);
        }
        if self.socket.set_read_timeout(None).is_err() {
            return;
        }
        let mut ignored = 0;
        let mut bytes = [0; 512];
        while ignored < max_ignored && !ended() {
            match (&self.socket).read(&mut bytes) {
                Ok(0) => return,
                Ok(n) => ignored += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Ends the reads: a reader gets the bytes received so far, then the end.
    pub fn end_reads(&self) {
        // It fails only if the peer is gone, and then the read has ended already.
        let _ = self.socket.shutdown(Shutdown::Read);
    }

    /// Ends the writes. Afterwards only [`read_socket`] may use the socket.
    pub fn end_writes(&self) -> io::Result<()> {
        self.close();
        self.socket.shutdown(Shutdown::Write)?;
        if self.tls.get().is_some() {
            self.socket.set_nonblocking(false)?;
        }
        Ok(())
    }

    /// Ends reads and writes, including those that wait.
    pub fn end(&self) {
        self.close();
        // It fails only if the peer is gone.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn close(&self) {
        if let Some(tls) = self.tls.get() {
            tls.close(&self.socket);
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads from a blocking socket, with the remaining time as its timeout.
pub fn read_socket(
    mut socket: &TcpStream,
    into: &mut [u8],
    deadline: &Deadline,
    current_timeout: &mut Duration,
) -> io::Result<usize> {
    loop {
        let remaining = deadline.remaining();
        if remaining.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if *current_timeout < remaining || *current_timeout > remaining + deadline.limit() / 64 {
            socket.set_read_timeout(Some(remaining))?;
            *current_timeout = remaining;
        }
        match socket.read(into) {
            // The kernel does not restart a read with a timeout after a stop of the process (signal(7)). A laptop's
            // sleep and a paused container are such stops.
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(any(test, fuzzing))]
thread_local! {
    /// Maximum bytes of this thread's reads, for tests with input in pieces. Each read uses the next four bits, from
    /// the lowest on and around. 0 means no maximum.
    pub(crate) static PIECES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(any(test, fuzzing))]
fn truncate_to_piece(into: &mut [u8]) -> &mut [u8] {
    let pieces = PIECES.replace(PIECES.get().rotate_right(4));
    match (pieces & 15) as usize {
        0 => into,
        max => {
            let max = max.min(into.len());
            &mut into[..max]
        }
    }
}

fn write_socket(mut socket: &TcpStream, mut parts: &mut [IoSlice<'_>], limit: Duration) -> io::Result<()> {
    let deadline = Deadline::from_now(limit);
    let mut timeout_changed = false;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        // The system call for one part is cheaper.
        let written = match &*parts {
            [part] => socket.write(part),
            parts => socket.write_vectored(parts),
        };
        match written {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut parts, n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if !parts.is_empty() {
            let remaining = deadline.remaining();
            if remaining.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            socket.set_write_timeout(Some(remaining))?;
            timeout_changed = true;
        }
    }
    if timeout_changed {
        socket.set_write_timeout(Some(limit))?;
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;

    /// Returns the server's and the client's end of a connection.
    pub fn connection_pair(write_timeout: Duration) -> (Arc<ClientStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_write_timeout(Some(write_timeout)).unwrap();
        (Arc::new(ClientStream::new(server, Arc::default())), client)
    }

    #[test]
    fn a_blocked_write_ends_at_its_deadline() {
        let limit = Duration::from_millis(100);
        let (stream, _client) = connection_pair(limit);
        let big = vec![0; 64 << 20];
        assert!(stream.write_all(&mut [IoSlice::new(b"x"), IoSlice::new(&big)], limit).is_err());
    }
}
