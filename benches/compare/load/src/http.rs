//! A minimal HTTP/1.1 client for known servers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kept connection.
pub struct Connection<S> {
    stream: BufReader<S>,
    host: String,
}

/// The head of an answer.
#[derive(Default)]
pub struct Head {
    pub status: u16,
    pub length: Option<usize>,
    pub chunked: bool,
    /// `Mcp-Session-Id`.
    pub session: Option<String>,
}

/// Connects a socket without Nagle's algorithm.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Connection<TcpStream> {
    pub fn open(address: &str) -> io::Result<Self> {
        Ok(Self::over(connect(address)?, address))
    }
}

impl<S: Read + Write> Connection<S> {
    pub fn over(stream: S, host: &str) -> Self {
        Self { stream: BufReader::with_capacity(64 << 10, stream), host: host.into() }
    }

    /// Sends a request. `headers` is any number of complete lines.
    pub fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<()> {
        let (host, length) = (&self.host, body.len());
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Reads the next line, without its end.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    pub fn head(&mut self) -> io::Result<Head> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|number| number.parse().ok());
        let mut head = Head { status: status.ok_or(io::ErrorKind::InvalidData)?, ..Head::default() };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            let (is, value) = (|known: &str| name.eq_ignore_ascii_case(known), value.trim());
            if is("Content-Length") {
                head.length = value.parse().ok();
            } else if is("Transfer-Encoding") {
                head.chunked = value.eq_ignore_ascii_case("chunked");
            } else if is("Mcp-Session-Id") {
                head.session = Some(value.into());
            }
        }
    }

    /// Reads the body after its head.
    pub fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.chunked {
            loop {
                let size = self.chunk_size()?;
                self.append(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        // Other answers have no body (202, 204), or a length.
        self.append(head.length.unwrap_or(0), &mut body)?;
        Ok(body)
    }

    /// Sends a request and returns the body of its answer. Fails unless the status is a success.
    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<(Head, Vec<u8>)> {
        self.send(method, path, headers, body)?;
        let head = self.head()?;
        let answer = self.body(&head)?;
        if head.status >= 300 {
            let text = String::from_utf8_lossy(&answer);
            return Err(io::Error::other(format!("{method} {path}: {} {text:.300}", head.status)));
        }
        Ok((head, answer))
    }

    /// Reads the size line of a chunk.
    pub fn chunk_size(&mut self) -> io::Result<usize> {
        let line = self.line()?;
        usize::from_str_radix(&line, 16).map_err(|_| io::Error::other(format!("{line:?} is no chunk's size")))
    }

    fn append(&mut self, length: usize, to: &mut Vec<u8>) -> io::Result<()> {
        let at = to.len();
        to.resize(at + length, 0);
        match to.get_mut(at..) {
            Some(room) => self.stream.read_exact(room),
            None => Ok(()),
        }
    }

    /// Appends up to `most` received bytes, waits if there are none, and returns their number.
    pub fn some(&mut self, most: usize, to: &mut Vec<u8>) -> io::Result<usize> {
        let come = self.stream.fill_buf()?;
        let come = come.get(..most).unwrap_or(come);
        if come.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.extend_from_slice(come);
        let length = come.len();
        self.stream.consume(length);
        Ok(length)
    }
}
