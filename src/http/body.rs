//! A request's body, read whole: bounded in bytes and in time, whatever its framing.

use super::head::{Fault, Framing};
use super::wire::{Cut, Input};
use crate::deadline::Deadline;
use crate::settings::Limits;

const TOO_LARGE: Fault = Fault::Refused(413, "the body is too large (--max-body-bytes)");
const BAD_CHUNK: Fault = Fault::Refused(400, "the body's chunks are malformed");

/// Digits of a chunk's size: 4 GiB, far beyond any cap.
const SIZE_DIGITS: usize = 8;

impl From<Cut> for Fault {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Gone => Self::Gone,
            Cut::Late => Self::Refused(408, "the body did not come in time"),
        }
    }
}

/// Whether the length announced is within bounds: asked before a byte of the body is read, or asked for.
pub fn check(framing: Framing, limits: &Limits) -> Result<(), Fault> {
    match framing {
        Framing::Length(n) if n > limits.max_body_bytes as u64 => Err(TOO_LARGE),
        _ => Ok(()),
    }
}

/// The most bytes that a body with this framing can come to have.
pub fn most(framing: Framing, limits: &Limits) -> usize {
    match framing {
        Framing::Length(n) => usize::try_from(n).unwrap_or(usize::MAX),
        Framing::Chunked => limits.max_body_bytes,
    }
}

/// Appends the body to `out`. `limits.body_timeout` counts from now.
pub fn read(input: &mut Input, framing: Framing, out: &mut Vec<u8>, limits: &Limits) -> Result<(), Fault> {
    check(framing, limits)?;
    let deadline = Deadline::after(limits.body_timeout);
    match framing {
        Framing::Length(n) => Ok(input.append(n as usize, out, &deadline)?),
        Framing::Chunked => read_chunks(input, out, limits.max_body_bytes, &deadline),
    }
}

/// RFC 9112, 7.1, without chunk extensions and trailers: no MCP client sends them, and reading past them in different
/// ways is another way to smuggle a request.
fn read_chunks(input: &mut Input, out: &mut Vec<u8>, max: usize, deadline: &Deadline) -> Result<(), Fault> {
    loop {
        let size = read_size(input, deadline)?;
        if size > max.saturating_sub(out.len()) {
            return Err(TOO_LARGE);
        }
        input.append(size, out, deadline)?;
        expect(input, b'\r', deadline)?;
        expect(input, b'\n', deadline)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// One to eight hexadecimal digits and CR LF.
fn read_size(input: &mut Input, deadline: &Deadline) -> Result<usize, Fault> {
    let mut size = 0;
    for digits in 0..=SIZE_DIGITS {
        match input.byte(deadline)? {
            b'\r' if digits > 0 => {
                expect(input, b'\n', deadline)?;
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

fn expect(input: &mut Input, wanted: u8, deadline: &Deadline) -> Result<(), Fault> {
    if input.byte(deadline)? == wanted { Ok(()) } else { Err(BAD_CHUNK) }
}

#[cfg(test)]
mod tests {
    use super::super::channel::Channel;
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    fn chunked(text: &[u8], max_body_bytes: usize) -> Result<Vec<u8>, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.write_all(text).unwrap();
        drop(near);
        let mut input = Input::new(Arc::new(Channel::counting(listener.accept().unwrap().0, Arc::default())));
        let limits = Limits { max_body_bytes, ..Limits::default() };
        let mut out = Vec::new();
        read(&mut input, Framing::Chunked, &mut out, &limits).map(|()| out)
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(chunked(b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", 13).unwrap(), b"abc0123456789");
        assert_eq!(chunked(b"0\r\n\r\n", 0).unwrap(), b"");
    }

    #[test]
    fn more_than_the_cap_is_refused_before_it_is_read() {
        assert_eq!(chunked(b"ffffffff\r\n", 1 << 20), Err(TOO_LARGE));
        assert_eq!(chunked(b"3\r\nabc\r\n1\r\nd\r\n", 3), Err(TOO_LARGE));
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
            assert_eq!(chunked(text.as_bytes(), 100), Err(BAD_CHUNK), "{text:?}");
        }
    }

    #[test]
    fn a_body_that_ends_early_is_nobodys() {
        assert_eq!(chunked(b"5\r\nabc", 100), Err(Fault::Gone));
    }
}
