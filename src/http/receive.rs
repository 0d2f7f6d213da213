//! The receive buffer of a connection, and the lingering close that reads what remains.

use super::client_stream::{ClientStream, read_socket};
use crate::base::deadline::Deadline;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

/// Initial size of the buffer. Most requests of MCP clients fit, head and body.
const BUFFER_SIZE: usize = 2 << 10;

/// Size of the buffer of a connection that waits for a request.
const MAX_KEPT_BYTES: usize = 2 * BUFFER_SIZE;

/// Limits of the time and the bytes in which a closing connection still reads.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// Reason why no more bytes arrive.
#[derive(Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The peer closed or reset the connection, or the server is stopping.
    Disconnected,
    TimedOut,
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Disconnected,
        }
    }
}

/// The receive buffer of a connection, reused for each request.
///
/// `bytes[..head_end]` is the head of the current request. `bytes[unread_start..unread_end]` is received and not yet
/// read: a body, or the head of a pipelined request.
pub struct ReceiveBuffer {
    stream: Arc<ClientStream>,
    bytes: Vec<u8>,
    head_end: usize,
    unread_start: usize,
    unread_end: usize,
    current_timeout: Duration,
}

impl ReceiveBuffer {
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

    /// Returns the bytes that are received and not yet read.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.unread_start..self.unread_end]
    }

    /// Discards the previous request. The bytes after it move to the front.
    pub fn discard_request(&mut self) {
        self.bytes.copy_within(self.unread_start..self.unread_end, 0);
        self.unread_end -= self.unread_start;
        (self.head_end, self.unread_start) = (0, 0);
        // The memory of a large head is given back. Thousands of connections may wait for a request.
        if self.bytes.len() > MAX_KEPT_BYTES && self.unread_end <= BUFFER_SIZE {
            self.bytes.truncate(BUFFER_SIZE);
            self.bytes.shrink_to_fit();
        }
    }

    /// Reads the next `n` bytes as a request's head and holds them until [`ReceiveBuffer::discard_request`].
    pub fn hold_head(&mut self, n: usize) {
        self.unread_start = n.min(self.unread_end);
        self.head_end = self.unread_start;
    }

    /// Returns the head held by [`ReceiveBuffer::hold_head`].
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_end]
    }

    /// Waits for more bytes: at least one, and at most as many as fit.
    pub fn fill(&mut self, deadline: &Deadline) -> Result<(), ReceiveError> {
        if self.unread_start == self.unread_end {
            (self.unread_start, self.unread_end) = (self.head_end, self.head_end);
        }
        if self.bytes.len() - self.unread_end < BUFFER_SIZE / 2 {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let space = &mut self.bytes[self.unread_end..];
        match self.stream.read(space, deadline, &mut self.current_timeout)? {
            0 => Err(ReceiveError::Disconnected),
            n => {
                self.unread_end += n;
                Ok(())
            }
        }
    }

    pub fn read_byte(&mut self, deadline: &Deadline) -> Result<u8, ReceiveError> {
        loop {
            if let Some(&byte) = self.unread().first() {
                self.unread_start += 1;
                return Ok(byte);
            }
            self.fill(deadline)?;
        }
    }

    /// Appends exactly the next `n` bytes to `out`. Bytes that are not in the buffer are read directly into `out`,
    /// which grows with the bytes received and not with the announced length.
    pub fn read_into(&mut self, n: usize, out: &mut Vec<u8>, deadline: &Deadline) -> Result<(), ReceiveError> {
        let ready = self.unread().get(..n).unwrap_or(self.unread());
        out.extend_from_slice(ready);
        let missing = n - ready.len();
        self.unread_start += ready.len();
        if missing > 0 {
            let reader = DeadlineReader { stream: &self.stream, current_timeout: &mut self.current_timeout, deadline };
            if reader.take(missing as u64).read_to_end(out)? < missing {
                return Err(ReceiveError::Disconnected);
            }
        }
        Ok(())
    }
}

/// Adapter of a connection with a deadline to [`Read`].
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

/// Ends the writes, then reads and discards what the client still sends, within limits. Closing a socket with unread
/// bytes resets the connection, and the client could lose the response.
pub fn linger(stream: &ClientStream) {
    if stream.end_writes().is_err() {
        return;
    }
    let deadline = Deadline::from_now(LINGER_TIME);
    let mut remaining = LINGER_BYTES;
    let (mut bytes, mut current_timeout) = ([0; BUFFER_SIZE], Duration::ZERO);
    while remaining > 0 {
        match read_socket(stream.socket(), &mut bytes, &deadline, &mut current_timeout) {
            Ok(0) | Err(_) => return,
            Ok(n) => remaining = remaining.saturating_sub(n),
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
        let (stream, mut client) = tests::connection_pair(LONG);
        let mut input = ReceiveBuffer::new(stream);
        let drip = std::thread::spawn(move || {
            while client.write_all(b"x").is_ok() {
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
        let (stream, mut client) = tests::connection_pair(LONG);
        let mut input = ReceiveBuffer::new(stream);
        client.write_all(b"headbodynext").unwrap();
        drop(client);
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
