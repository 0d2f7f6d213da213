//! The bytes that a connection receives: a buffer that requests are taken from, and what becomes of the rest at the
//! end.

use super::channel::{Channel, read_socket};
use crate::deadline::Deadline;
use std::io::{self, ErrorKind, Read};
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
    stream: Arc<Channel>,
    bytes: Vec<u8>,
    kept: usize,
    taken: usize,
    end: usize,
    armed: Duration,
}

impl Input {
    /// Nothing received yet.
    pub fn new(stream: Arc<Channel>) -> Self {
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
        match self.stream.read(room, deadline, &mut self.armed)? {
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

/// Reads from a connection until a deadline, for what wants a reader.
struct Timed<'a> {
    stream: &'a Channel,
    armed: &'a mut Duration,
    deadline: &'a Deadline,
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into, self.deadline, self.armed)
    }
}

/// Says that no more will be sent, then takes what the client still sends, for a bounded while: closing a socket with
/// unread bytes resets the connection, and the client might lose the answer that says why.
pub fn linger(stream: &Channel) {
    if stream.end_writes().is_err() {
        return;
    }
    let (limit, mut left) = LINGER;
    let deadline = Deadline::after(limit);
    let (mut bytes, mut armed) = ([0; ROOM], Duration::ZERO);
    while left > 0 {
        match read_socket(stream.socket(), &mut bytes, &deadline, &mut armed) {
            Ok(0) | Err(_) => return,
            Ok(n) => left = left.saturating_sub(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::tests;
    use super::*;
    use std::io::Write;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_deadline_counts_the_whole_not_the_single_read() {
        let (far, mut near) = tests::pair(LONG);
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
        let (far, mut near) = tests::pair(LONG);
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
}
