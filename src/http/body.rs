//! Reads a request's body, bounded in bytes and time for both framings.

use super::head::{BodyFraming, RequestHead};
use super::receive::{ReceiveBuffer, ReceiveError};
use super::request_error::RequestError;
use crate::base::deadline::Deadline;
use crate::config::Limits;

/// Maximum digits of a chunk's size: 4 GiB, far above any limit.
const SIZE_DIGITS: usize = 8;

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

/// Returns the maximum size of a body with this framing.
pub fn max_length(framing: BodyFraming, limits: &Limits) -> usize {
    match framing {
        BodyFraming::Length(n) => usize::try_from(n).unwrap_or(usize::MAX),
        BodyFraming::Chunked => limits.max_body_bytes,
    }
}

/// Appends the body to `out`, within `limits.body_timeout` from now.
pub fn read_body(
    input: &mut ReceiveBuffer,
    framing: BodyFraming,
    out: &mut Vec<u8>,
    limits: &Limits,
) -> Result<(), RequestError> {
    check_length(framing, limits)?;
    let deadline = Deadline::from_now(limits.body_timeout);
    match framing {
        BodyFraming::Length(n) => Ok(input.read_into(n as usize, out, &deadline)?),
        BodyFraming::Chunked => read_chunks(input, out, limits.max_body_bytes, &deadline),
    }
}

/// Reads chunks (RFC 9112, 7.1) without extensions and trailers. No MCP client sends those, and parsers that skip them
/// differently enable request smuggling.
fn read_chunks(
    input: &mut ReceiveBuffer,
    out: &mut Vec<u8>,
    max: usize,
    deadline: &Deadline,
) -> Result<(), RequestError> {
    loop {
        let size = read_chunk_size(input, deadline)?;
        if size > max.saturating_sub(out.len()) {
            return Err(RequestError::BodyTooLarge);
        }
        input.read_into(size, out, deadline)?;
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
        read_body(&mut input, BodyFraming::Chunked, &mut out, &limits).map(|()| out)
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
