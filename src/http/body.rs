//! A request's body, read whole: bounded in bytes and in time, whatever its framing.

use super::head::{BodyFraming, RequestError};
use super::receive::{ReceiveBuffer, ReceiveError};
use crate::base::deadline::Deadline;
use crate::config::Limits;

const TOO_LARGE: RequestError = RequestError::Rejected(413, "the body is too large (--max-body-bytes)");
const BAD_CHUNK: RequestError = RequestError::Rejected(400, "the body's chunks are malformed");

/// Digits of a chunk's size: 4 GiB, far beyond any cap.
const SIZE_DIGITS: usize = 8;

impl From<ReceiveError> for RequestError {
    fn from(cut: ReceiveError) -> Self {
        match cut {
            ReceiveError::Disconnected => Self::Disconnected,
            ReceiveError::TimedOut => Self::Rejected(408, "the body did not come in time"),
        }
    }
}

/// Whether the length announced is within bounds: asked before a byte of the body is read, or asked for.
pub fn check_length(framing: BodyFraming, limits: &Limits) -> Result<(), RequestError> {
    match framing {
        BodyFraming::Length(n) if n > limits.max_body_bytes as u64 => Err(TOO_LARGE),
        _ => Ok(()),
    }
}

/// The most bytes that a body with this framing can come to have.
pub fn max_length(framing: BodyFraming, limits: &Limits) -> usize {
    match framing {
        BodyFraming::Length(n) => usize::try_from(n).unwrap_or(usize::MAX),
        BodyFraming::Chunked => limits.max_body_bytes,
    }
}

/// Appends the body to `out`. `limits.body_timeout` counts from now.
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

/// RFC 9112, 7.1, without chunk extensions and trailers: no MCP client sends them, and reading past them in different
/// ways is another way to smuggle a request.
fn read_chunks(
    input: &mut ReceiveBuffer,
    out: &mut Vec<u8>,
    max: usize,
    deadline: &Deadline,
) -> Result<(), RequestError> {
    loop {
        let size = read_chunk_size(input, deadline)?;
        if size > max.saturating_sub(out.len()) {
            return Err(TOO_LARGE);
        }
        input.read_into(size, out, deadline)?;
        expect_byte(input, b'\r', deadline)?;
        expect_byte(input, b'\n', deadline)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// One to eight hexadecimal digits and CR LF.
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
    Err(BAD_CHUNK)
}

fn expect_byte(input: &mut ReceiveBuffer, wanted: u8, deadline: &Deadline) -> Result<(), RequestError> {
    if input.read_byte(deadline)? == wanted { Ok(()) } else { Err(BAD_CHUNK) }
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
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.write_all(text).unwrap();
        drop(near);
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
        assert_eq!(read_chunked(b"ffffffff\r\n", 1 << 20), Err(TOO_LARGE));
        assert_eq!(read_chunked(b"3\r\nabc\r\n1\r\nd\r\n", 3), Err(TOO_LARGE));
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
            assert_eq!(read_chunked(text.as_bytes(), 100), Err(BAD_CHUNK), "{text:?}");
        }
    }

    #[test]
    fn a_body_that_ends_early_is_a_disconnect() {
        assert_eq!(read_chunked(b"5\r\nabc", 100), Err(RequestError::Disconnected));
    }
}
