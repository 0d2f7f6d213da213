//! The bytes that a connection receives: a buffer that requests are taken from, and what becomes of the rest at the
//! end.

use super::client_stream::{ClientStream, read_socket};
use crate::base::deadline::Deadline;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

/// The room a read starts with; most requests of MCP clients fit, head and body.
const BUFFER_SIZE: usize = 2 << 10;

/// How long, and for how many bytes, a closing connection still takes what its client sends.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 256 << 10);

/// Why no more bytes come.
#[derive(Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The peer closed or reset the connection, or the server is stopping.
    Disconnected,
    /// The deadline is over.
    TimedOut,
}

impl From<io::Error> for ReceiveError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Disconnected,
        }
    }
}

/// The receiving side of a connection: a buffer that is reused from request to request.
///
/// Layout: `bytes[..kept]` is the head of the request in work (its fields are spans of it), `bytes[taken..end]` is
/// received and not yet used, be it a body or the head of a request sent ahead of its turn.
pub struct ReceiveBuffer {
    stream: Arc<ClientStream>,
    bytes: Vec<u8>,
    head_end: usize,
    unread_start: usize,
    unread_end: usize,
    current_timeout: Duration,
}

impl ReceiveBuffer {
    /// Nothing received yet.
    pub fn new(stream: Arc<ClientStream>) -> Self {
        Self {
            stream,
            bytes: vec![0; BUFFER_SIZE],
            head_end: 0,
            unread_start: 0,
            unread_end: 0,
            current_timeout: Duration::ZERO,
        }
    }

    /// What was received and not yet used.
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.unread_start..self.unread_end).unwrap_or_default()
    }

    /// Forgets the last request; what was received after it moves to the front.
    pub fn discard_request(&mut self) {
        self.bytes.copy_within(self.unread_start..self.unread_end, 0);
        self.unread_end -= self.unread_start;
        (self.head_end, self.unread_start) = (0, 0);
    }

    /// Uses up the next `n` bytes, a request's head, and holds them until [`ReceiveBuffer::discard_request`].
    pub fn hold_head(&mut self, n: usize) {
        self.unread_start = n.min(self.unread_end);
        self.head_end = self.unread_start;
    }

    /// The head held by [`ReceiveBuffer::hold_head`].
    pub fn head(&self) -> &[u8] {
        self.bytes.get(..self.head_end).unwrap_or_default()
    }

    /// Waits for more bytes: at least one, at most as many as there is room for.
    pub fn fill(&mut self, deadline: &Deadline) -> Result<(), ReceiveError> {
        if self.unread_start == self.unread_end {
            (self.unread_start, self.unread_end) = (self.head_end, self.head_end);
        }
        if self.bytes.len() - self.unread_end < BUFFER_SIZE / 2 {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let room = self.bytes.get_mut(self.unread_end..).unwrap_or_default();
        match self.stream.read(room, deadline, &mut self.current_timeout)? {
            0 => Err(ReceiveError::Disconnected),
            n => {
                self.unread_end += n;
                Ok(())
            }
        }
    }

    /// The next byte.
    pub fn read_byte(&mut self, deadline: &Deadline) -> Result<u8, ReceiveError> {
        loop {
            if let Some(&byte) = self.unread().first() {
                self.unread_start += 1;
                return Ok(byte);
            }
            self.fill(deadline)?;
        }
    }

    /// Appends exactly the next `n` bytes to `out`. What the buffer doesn't have is read straight into `out`, which
    /// grows with what really comes, not with what was announced.
    pub fn read_into(&mut self, n: usize, out: &mut Vec<u8>, deadline: &Deadline) -> Result<(), ReceiveError> {
        let ready = self.unread().get(..n).unwrap_or(self.unread());
        out.extend_from_slice(ready);
        let missing = n - ready.len();
        self.unread_start += ready.len();
        if missing > 0 {
            let timed = DeadlineReader { stream: &self.stream, current_timeout: &mut self.current_timeout, deadline };
            if timed.take(missing as u64).read_to_end(out)? < missing {
                return Err(ReceiveError::Disconnected);
            }
        }
        Ok(())
    }
}

/// Reads from a connection until a deadline, for what wants a reader.
struct DeadlineReader<'a> {
    stream: &'a ClientStream,
    current_timeout: &'a mut Duration,
    deadline: &'a Deadline,
}

impl Read for DeadlineReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into, self.deadline, self.current_timeout)
    }
}

/// Says that no more will be sent, then takes what the client still sends, for a bounded while: closing a socket with
/// unread bytes resets the connection, and the client might lose the answer that says why.
pub fn linger(stream: &ClientStream) {
    if stream.end_writes().is_err() {
        return;
    }
    let (limit, mut left) = LINGER;
    let deadline = Deadline::from_now(limit);
    let (mut bytes, mut current_timeout) = ([0; BUFFER_SIZE], Duration::ZERO);
    while left > 0 {
        match read_socket(stream.socket(), &mut bytes, &deadline, &mut current_timeout) {
            Ok(0) | Err(_) => return,
            Ok(n) => left = left.saturating_sub(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client_stream::tests;
    use super::*;
    use std::io::Write;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_deadline_counts_the_whole_not_the_single_read() {
        let (far, mut near) = tests::connection_pair(LONG);
        let mut input = ReceiveBuffer::new(far);
        let drip = std::thread::spawn(move || {
            while near.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let deadline = Deadline::from_now(Duration::from_millis(200));
        let mut out = Vec::new();
        assert_eq!(input.read_into(1 << 20, &mut out, &deadline), Err(ReceiveError::TimedOut));
        assert!(!out.is_empty());
        drop(input);
        drip.join().unwrap();
    }

    #[test]
    fn what_follows_a_head_is_kept_for_the_next_one() {
        let (far, mut near) = tests::connection_pair(LONG);
        let mut input = ReceiveBuffer::new(far);
        near.write_all(b"headbodynext").unwrap();
        drop(near);
        let deadline = Deadline::from_now(Duration::from_secs(5));
        while input.unread().len() < 12 {
            input.fill(&deadline).unwrap();
        }
        input.hold_head(4);
        let mut body = Vec::new();
        input.read_into(4, &mut body, &deadline).unwrap();
        assert_eq!((input.head(), &body[..]), (&b"head"[..], &b"body"[..]));
        input.discard_request();
        assert_eq!(input.unread(), b"next");
        assert_eq!(input.read_into(5, &mut body, &deadline), Err(ReceiveError::Disconnected));
    }
}
