//! A connection as the rest of the front sees it: bytes in and bytes out, each under a total deadline.
//!
//! A socket's own timeout bounds one call of the kernel: a peer that sends, or takes, a byte now and then outlives it
//! for ever. What is bounded here is the whole: the time left is set before each further read or write.

use super::tls::TlsSession;
use crate::base::deadline::Deadline;
use crate::metrics::ByteCounters;
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// `send` without waiting, and without a signal where the peer is gone.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DONT_WAIT: i32 = 0x40 | 0x4000;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const DONT_WAIT: i32 = 0x80;

/// An open connection. One thread reads it; whoever has something to say writes it, one at a time.
pub struct ClientStream {
    socket: TcpStream,
    /// What a plain connection never has. In a box, as it is larger than all the rest.
    tls: OnceLock<Box<TlsSession>>,
    /// Where its bytes are counted, those of all connections together.
    traffic: Arc<ByteCounters>,
}

impl ClientStream {
    /// A connection as it was accepted.
    pub fn new(socket: TcpStream, traffic: Arc<ByteCounters>) -> Self {
        Self { socket, tls: OnceLock::new(), traffic }
    }

    /// From here on it speaks TLS, hands having been shaken over its socket; false where it does already.
    pub fn upgrade_to_tls(&self, tls: TlsSession) -> bool {
        self.tls.set(Box::new(tls)).is_ok()
    }

    /// The socket below, for its options and to wait for it.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits for bytes: at least one, or 0 at the end. `armed` is the timeout the socket has, so that it is set only
    /// where it must change: a request that comes in one piece on a connection kept alive costs one system call to read.
    pub fn read(&self, into: &mut [u8], deadline: &Deadline, current_timeout: &mut Duration) -> io::Result<usize> {
        #[cfg(any(test, fuzzing))]
        let into = truncate_to_piece(into);
        let read = match self.tls.get() {
            None => read_socket(&self.socket, into, deadline, current_timeout),
            Some(tls) => tls.read(&self.socket, into, deadline),
        };
        read.inspect(|bytes| self.traffic.add_received(*bytes))
    }

    /// Writes all `parts` as one write where the socket takes it so. `limit` bounds the whole, and is what the socket's
    /// write timeout must be set to already (Linux counts it down over one call, however often the call sleeps).
    ///
    /// Errors: the peer is gone, or did not take it in time; part of it may be sent.
    pub fn write_all(&self, parts: &mut [IoSlice<'_>], limit: Duration) -> io::Result<()> {
        self.traffic.add_sent(parts.iter().map(|part| part.len()).sum());
        match self.tls.get() {
            None => write_socket(&self.socket, parts, limit),
            Some(tls) => tls.write_all(&self.socket, parts, &Deadline::from_now(limit)),
        }
    }

    /// Sends what can be sent of `bytes` without waiting. Errors: `WouldBlock` where that is nothing.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = match self.tls.get() {
            None => SockRef::from(&self.socket).send_with_flags(bytes, DONT_WAIT),
            Some(tls) => tls.send_now(&self.socket, bytes),
        };
        sent.inspect(|bytes| self.traffic.add_sent(*bytes))
    }

    /// Waits in a read, without a deadline, until the peer is gone, `ended` says so, or the peer has sent more than
    /// `most` bytes. What it sends means nothing here.
    pub fn wait_for_end(&self, most: usize, ended: &dyn Fn() -> bool) {
        if let Some(tls) = self.tls.get() {
            return tls.wait_for_end(&self.socket, most, ended);
        }
        if self.socket.set_read_timeout(None).is_err() {
            return;
        }
        let mut ignored = 0;
        let mut bytes = [0; 512];
        while ignored < most && !ended() {
            match (&self.socket).read(&mut bytes) {
                Ok(0) => return,
                Ok(n) => ignored += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Ends the waiting of whoever reads: it gets what has come already and then the end.
    pub fn end_reads(&self) {
        // It fails where the peer is gone: then the read has ended by itself.
        let _ = self.socket.shutdown(Shutdown::Read);
    }

    /// Says that no more will be sent. From here on the socket is only good for [`read_socket`].
    pub fn end_writes(&self) -> io::Result<()> {
        self.close();
        self.socket.shutdown(Shutdown::Write)?;
        if self.tls.get().is_some() {
            self.socket.set_nonblocking(false)?;
        }
        Ok(())
    }

    /// Ends both directions, and the waiting of whoever reads or writes.
    pub fn end(&self) {
        self.close();
        // It fails where the peer has gone already.
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

/// Reads what a blocking socket has, with the time left as its timeout.
pub fn read_socket(
    mut socket: &TcpStream,
    into: &mut [u8],
    deadline: &Deadline,
    current_timeout: &mut Duration,
) -> io::Result<usize> {
    loop {
        let left = deadline.remaining();
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if *current_timeout < left || *current_timeout > left + deadline.limit() / 64 {
            socket.set_read_timeout(Some(left))?;
            *current_timeout = left;
        }
        match socket.read(into) {
            // A read with a timeout is not taken up again by itself where the process was stopped and goes on
            // (signal(7)): a laptop's sleep, a paused container.
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(any(test, fuzzing))]
thread_local! {
    /// How many bytes this thread's reads get at most, four bits for each, from the lowest and around; 0 is any number.
    /// For tests of what comes in pieces.
    pub(crate) static PIECES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(any(test, fuzzing))]
fn truncate_to_piece(into: &mut [u8]) -> &mut [u8] {
    let pieces = PIECES.replace(PIECES.get().rotate_right(4));
    match (pieces & 15) as usize {
        0 => into,
        most => {
            let most = most.min(into.len());
            into.get_mut(..most).unwrap_or_default()
        }
    }
}

fn write_socket(mut socket: &TcpStream, mut parts: &mut [IoSlice<'_>], limit: Duration) -> io::Result<()> {
    let deadline = Deadline::from_now(limit);
    let mut narrowed = false;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match socket.write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut parts, n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if !parts.is_empty() {
            let left = deadline.remaining();
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            socket.set_write_timeout(Some(left))?;
            narrowed = true;
        }
    }
    if narrowed {
        socket.set_write_timeout(Some(limit))?;
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;

    /// Both ends of a connection.
    pub fn connection_pair(write_timeout: Duration) -> (Arc<ClientStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let far = listener.accept().unwrap().0;
        far.set_write_timeout(Some(write_timeout)).unwrap();
        (Arc::new(ClientStream::new(far, Arc::default())), near)
    }

    #[test]
    fn a_blocked_write_ends_at_its_deadline() {
        let limit = Duration::from_millis(100);
        let (far, _near) = connection_pair(limit);
        let big = vec![0; 64 << 20];
        assert!(far.write_all(&mut [IoSlice::new(b"x"), IoSlice::new(&big)], limit).is_err());
    }
}
