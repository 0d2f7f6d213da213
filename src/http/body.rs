//! Reads a request's body, bounded in bytes and time for both framings.

use super::head::{BodyFraming, RequestHead};
use super::receive::{ReceiveBuffer, ReceiveError};
use super::request_error::RequestError;
use crate::base::deadline::Deadline;
use crate::base::memory::{MemoryError, MemoryReservation};
use crate::config::Limits;

/// Maximum digits of a chunk's size: 4 GiB, far above any limit.
const SIZE_DIGITS: usize = 8;

/// Bytes that a body may grow by, however few of it have arrived.
const MIN_PIECE_BYTES: usize = 32;

impl From<MemoryError> for RequestError {
    fn from(error: MemoryError) -> Self {
        Self::NoMemory(error)
    }
}

impl From<ReceiveError> for RequestError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Disconnected => Self::Disconnected,
            ReceiveError::TimedOut => Self::BodyTimeout,
        }
    }
}

/// Returns the encoding of a body that is not as it was written (RFC 9110, 8.4), or `None` for one that is.
pub fn find_content_encoding<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let mut values = head.values(bytes, "content-encoding");
    values.find(|value| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity"))
}

/// Checks the announced length, before any byte of the body is read.
pub fn check_length(framing: BodyFraming, limits: &Limits) -> Result<(), RequestError> {
    match framing {
        BodyFraming::Length(n) if n > limits.max_body_bytes as u64 => Err(RequestError::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Appends the body to `out`, within `limits.body_timeout` from now. `memory` grows with the bytes that arrive.
pub fn read_body(
    input: &mut ReceiveBuffer,
    framing: BodyFraming,
    out: &mut Vec<u8>,
    memory: &mut MemoryReservation,
    limits: &Limits,
) -> Result<(), RequestError> {
    check_length(framing, limits)?;
    let deadline = Deadline::from_now(limits.body_timeout);
    let mut body = BodyBuffer { out, memory, max: limits.max_body_bytes };
    match framing {
        BodyFraming::Length(n) => {
            body.max = n as usize;
            body.read(input, n as usize, &deadline)
        }
        BodyFraming::Chunked => read_chunks(input, &mut body, &deadline),
    }
}

/// A body that is being read, and its memory.
struct BodyBuffer<'a> {
    out: &'a mut Vec<u8>,
    memory: &'a mut MemoryReservation,
    /// Maximum size of the body.
    max: usize,
}

impl BodyBuffer<'_> {
    /// Reads exactly the next `n` bytes.
    fn read(&mut self, input: &mut ReceiveBuffer, n: usize, deadline: &Deadline) -> Result<(), RequestError> {
        let end = self.out.len() + n;
        while self.out.len() < end {
            // An announced length takes no memory, only the bytes that arrived and as many again.
            let arrived = self.out.len().max(input.unread().len()).max(MIN_PIECE_BYTES);
            let step = (end - self.out.len()).min(arrived);
            self.reserve(step)?;
            input.read_into(step, self.out, deadline)?;
        }
        Ok(())
    }

    /// Makes room for `more` bytes.
    fn reserve(&mut self, more: usize) -> Result<(), MemoryError> {
        let needed = self.out.len() + more;
        if needed > self.out.capacity() {
            // Half as much again, so that a body of many small chunks is not copied for each.
            let capacity = needed.max((self.out.len() + self.out.len() / 2).min(self.max));
            self.memory.grow_to(capacity)?;
            self.out.reserve_exact(capacity - self.out.len());
        }
        Ok(())
    }
}

/// Reads chunks (RFC 9112, 7.1) without extensions and trailers. No MCP client sends those, and parsers that skip them
/// differently enable request smuggling.
fn read_chunks(input: &mut ReceiveBuffer, body: &mut BodyBuffer<'_>, deadline: &Deadline) -> Result<(), RequestError> {
    loop {
        let size = read_chunk_size(input, deadline)?;
        if size > body.max.saturating_sub(body.out.len()) {
            return Err(RequestError::BodyTooLarge);
        }
        body.read(input, size, deadline)?;
        expect_byte(input, b'\r', deadline)?;
        expect_byte(input, b'\n', deadline)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Reads one to eight hexadecimal digits and CR LF.
fn read_chunk_size(input: &mut ReceiveBuffer, deadline: &Deadline) -> Result<usize, RequestError> {
    let mut size = 0;
    for digits in 0..=SIZE_DIGITS {
        match input.read_byte(deadline)? {
            b'\r' if digits > 0 => {
                expect_byte(input, b'\n', deadline)?;
                return Ok(size);
            }
            byte => match char::from(byte).to_digit(16) {
                Some(digit) if digits < SIZE_DIGITS => size = size << 4 | digit as usize,
                _ => break,
            },
        }
    }
    Err(RequestError::InvalidChunk)
}

fn expect_byte(input: &mut ReceiveBuffer, expected: u8, deadline: &Deadline) -> Result<(), RequestError> {
    if input.read_byte(deadline)? == expected { Ok(()) } else { Err(RequestError::InvalidChunk) }
}

#[cfg(test)]
mod tests {
    use super::super::client_stream::ClientStream;
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    fn read_chunked(text: &[u8], max_body_bytes: usize) -> Result<Vec<u8>, RequestError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(text).unwrap();
        drop(client);
        let mut input = ReceiveBuffer::new(Arc::new(ClientStream::new(listener.accept().unwrap().0, Arc::default())));
        let limits = Limits { max_body_bytes, ..Limits::default() };
        let mut out = Vec::new();
        read_body(&mut input, BodyFraming::Chunked, &mut out, &mut MemoryReservation::default(), &limits).map(|()| out)
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(read_chunked(b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", 13).unwrap(), b"abc0123456789");
        assert_eq!(read_chunked(b"0\r\n\r\n", 0).unwrap(), b"");
    }

    #[test]
    fn more_than_the_cap_is_refused_before_it_is_read() {
        assert_eq!(read_chunked(b"ffffffff\r\n", 1 << 20), Err(RequestError::BodyTooLarge));
        assert_eq!(read_chunked(b"3\r\nabc\r\n1\r\nd\r\n", 3), Err(RequestError::BodyTooLarge));
    }

    #[test]
    fn a_malformed_chunk_is_refused() {
        for text in [
            "\r\n",
            "3 \r\nabc\r\n",
            "+3\r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "3\nabc\r\n",
            "3;a=b\r\nabc\r\n",
            "3\r\nabcd\r\n",
            "0\r\nTrailer: x\r\n\r\n",
            "000000003\r\nabc\r\n",
        ] {
            assert_eq!(read_chunked(text.as_bytes(), 100), Err(RequestError::InvalidChunk), "{text:?}");
        }
    }

    #[test]
    fn a_body_that_ends_early_is_a_disconnect() {
        assert_eq!(read_chunked(b"5\r\nabc", 100), Err(RequestError::Disconnected));
    }
}
