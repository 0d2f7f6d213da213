//! The bytes of a connection, in and out, each under a total deadline.
//!
//! A socket's own timeout bounds one call of the kernel: a peer that sends, or takes, a byte now and then outlives it
//! for ever. What is bounded here is the whole of a head, a body, an answer or an event: the time left is set before
//! each further read or write.

use crate::deadline::Deadline;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The room a read starts with; most requests of MCP clients fit, head and body.
const ROOM: usize = 2 << 10;

/// How long, and for how many bytes, a closing connection still takes what its client sends.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 256 << 10);

/// Why no more bytes come.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut {
    /// The peer closed or reset the connection, or the server is stopping.
    Gone,
    /// The deadline is over.
    Late,
}

impl From<io::Error> for Cut {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            _ => Self::Gone,
        }
    }
}

/// The receiving side of a connection: a buffer that is reused from request to request.
///
/// Layout: `bytes[..kept]` is the head of the request in work (its fields are spans of it), `bytes[taken..end]` is
/// received and not yet used, be it a body or the head of a request sent ahead of its turn.
pub struct Input {
    stream: Arc<TcpStream>,
    bytes: Vec<u8>,
    kept: usize,
    taken: usize,
    end: usize,
    armed: Duration,
}

impl Input {
    /// Nothing received yet.
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Self { stream, bytes: vec![0; ROOM], kept: 0, taken: 0, end: 0, armed: Duration::ZERO }
    }

    /// What was received and not yet used.
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.taken..self.end).unwrap_or_default()
    }

    /// Forgets the last request; what was received after it moves to the front.
    pub fn recycle(&mut self) {
        self.bytes.copy_within(self.taken..self.end, 0);
        self.end -= self.taken;
        (self.kept, self.taken) = (0, 0);
    }

    /// Uses up the next `n` bytes, a request's head, and holds them until [`Input::recycle`].
    pub fn keep(&mut self, n: usize) {
        self.taken = n.min(self.end);
        self.kept = self.taken;
    }

    /// The head held by [`Input::keep`].
    pub fn kept(&self) -> &[u8] {
        self.bytes.get(..self.kept).unwrap_or_default()
    }

    /// Waits for more bytes: at least one, at most as many as there is room for.
    pub fn fill(&mut self, deadline: &Deadline) -> Result<(), Cut> {
        if self.taken == self.end {
            (self.taken, self.end) = (self.kept, self.kept);
        }
        if self.bytes.len() - self.end < ROOM / 2 {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        match (Timed { stream: &self.stream, armed: &mut self.armed, deadline }).read(room)? {
            0 => Err(Cut::Gone),
            n => {
                self.end += n;
                Ok(())
            }
        }
    }

    /// The next byte.
    pub fn byte(&mut self, deadline: &Deadline) -> Result<u8, Cut> {
        loop {
            if let Some(&byte) = self.unread().first() {
                self.taken += 1;
                return Ok(byte);
            }
            self.fill(deadline)?;
        }
    }

    /// Appends exactly the next `n` bytes to `out`. What the buffer doesn't have is read straight into `out`, which
    /// grows with what really comes, not with what was announced.
    pub fn append(&mut self, n: usize, out: &mut Vec<u8>, deadline: &Deadline) -> Result<(), Cut> {
        let ready = self.unread().get(..n).unwrap_or(self.unread());
        out.extend_from_slice(ready);
        let missing = n - ready.len();
        self.taken += ready.len();
        if missing > 0 {
            let timed = Timed { stream: &self.stream, armed: &mut self.armed, deadline };
            if timed.take(missing as u64).read_to_end(out)? < missing {
                return Err(Cut::Gone);
            }
        }
        Ok(())
    }
}

/// Reads from a socket with the time left as its timeout.
struct Timed<'a> {
    stream: &'a TcpStream,
    /// The timeout the socket has, so that it is set only where it must change: a request that comes in one piece on
    /// a connection kept alive costs one system call to read.
    armed: &'a mut Duration,
    deadline: &'a Deadline,
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.left();
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            if *self.armed < left || *self.armed > left + self.deadline.limit() / 64 {
                self.stream.set_read_timeout(Some(left))?;
                *self.armed = left;
            }
            match self.stream.read(into) {
                // A read with a timeout is not taken up again by itself where the process was stopped and goes on
                // (signal(7)): a laptop's sleep, a paused container.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// Writes all `parts` as one write where the socket takes it so. `limit` bounds the whole, and is what the socket's
/// write timeout must be set to already (Linux counts it down over one call, however often the call sleeps).
///
/// Errors: the peer is gone, or did not take it in time; part of it may be sent.
pub fn write_all(stream: &TcpStream, mut parts: &mut [IoSlice<'_>], limit: Duration) -> io::Result<()> {
    let deadline = Deadline::after(limit);
    let mut narrowed = false;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match (&*stream).write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut parts, n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if !parts.is_empty() {
            let left = deadline.left();
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_write_timeout(Some(left))?;
            narrowed = true;
        }
    }
    if narrowed {
        stream.set_write_timeout(Some(limit))?;
    }
    Ok(())
}

/// Says that no more will be sent, then takes what the client still sends, for a bounded while: closing a socket with
/// unread bytes resets the connection, and the client might lose the answer that says why.
pub fn linger(stream: Arc<TcpStream>) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let (limit, mut left) = LINGER;
    let deadline = Deadline::after(limit);
    let mut input = Input::new(stream);
    while left > 0 && input.fill(&deadline).is_ok() {
        left = left.saturating_sub(input.unread().len());
        input.keep(usize::MAX);
        input.recycle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(listener.accept().unwrap().0), near)
    }

    #[test]
    fn a_deadline_counts_the_whole_not_the_single_read() {
        let (far, mut near) = pair();
        let mut input = Input::new(far);
        let drip = std::thread::spawn(move || {
            while near.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let deadline = Deadline::after(Duration::from_millis(200));
        let mut out = Vec::new();
        assert_eq!(input.append(1 << 20, &mut out, &deadline), Err(Cut::Late));
        assert!(!out.is_empty());
        drop(input);
        drip.join().unwrap();
    }

    #[test]
    fn what_follows_a_head_is_kept_for_the_next_one() {
        let (far, mut near) = pair();
        let mut input = Input::new(far);
        near.write_all(b"headbodynext").unwrap();
        drop(near);
        let deadline = Deadline::after(Duration::from_secs(5));
        while input.unread().len() < 12 {
            input.fill(&deadline).unwrap();
        }
        input.keep(4);
        let mut body = Vec::new();
        input.append(4, &mut body, &deadline).unwrap();
        assert_eq!((input.kept(), &body[..]), (&b"head"[..], &b"body"[..]));
        input.recycle();
        assert_eq!(input.unread(), b"next");
        assert_eq!(input.append(5, &mut body, &deadline), Err(Cut::Gone));
    }

    #[test]
    fn a_write_that_is_not_taken_ends_at_its_deadline() {
        let (far, _near) = pair();
        let limit = Duration::from_millis(100);
        far.set_write_timeout(Some(limit)).unwrap();
        let big = vec![0; 64 << 20];
        assert!(write_all(&far, &mut [IoSlice::new(b"x"), IoSlice::new(&big)], limit).is_err());
    }
}
