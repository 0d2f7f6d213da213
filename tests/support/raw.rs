//! A client that sends any bytes to an HTTP server.
//!
//! No wait is a fixed sleep. Each waits for an event, with a deadline that is far longer than the event can take.
#![allow(dead_code)]

use rustls::{ClientConfig, ClientConnection, Stream};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time limit of a wait. It is far longer than any event takes.
pub const LONG: Duration = Duration::from_secs(20);

/// Polls `done` until it returns true. Fails after [`LONG`].
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub tls: Option<ClientConnection>,
    bytes: Vec<u8>,
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|l| l.eq_ignore_ascii_case(line))
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self { stream, tls: None, bytes: Vec::new() }
    }

    /// Opens a connection to a server.
    pub fn to(address: impl ToSocketAddrs) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// Switches to TLS. The handshake happens with the first bytes that are sent or read.
    pub fn over(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap());
        self
    }

    /// Sends bytes. Errors are ignored: the server has closed the connection, which reading shows.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut self.stream).write_all(bytes.as_ref()),
            None => self.stream.write_all(bytes.as_ref()),
        };
    }

    /// Sends a valid request and reads the answer. `line` is method and target, `headers` has whole lines.
    pub fn ask(&mut self, line: &str, headers: &str) -> Reply {
        self.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        self.reply().expect("an answer")
    }

    /// Posts JSON.
    pub fn post(&mut self, path: &str, json: &str) -> Reply {
        self.send_post(path, json);
        self.reply().expect("an answer")
    }

    pub fn send_post(&mut self, path: &str, json: &str) {
        self.send_post_with(path, "", json);
    }

    /// Posts JSON with more headers (whole lines), and reads the answer.
    pub fn post_with(&mut self, path: &str, headers: &str, json: &str) -> Reply {
        self.send_post_with(path, headers, json);
        self.reply().expect("an answer")
    }

    /// Does the same without reading the answer.
    pub fn send_post_with(&mut self, path: &str, headers: &str, json: &str) {
        self.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{json}",
            json.len()
        ));
    }

    /// Reads the next answer. Returns `None` if the connection ends instead.
    pub fn reply(&mut self) -> Option<Reply> {
        let head = self.head()?;
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
        while self.bytes.len() < length {
            if !self.more() {
                return None;
            }
        }
        let body = String::from_utf8(self.bytes.drain(..length).collect()).unwrap();
        Some(Reply { status: status(&head), head, body })
    }

    fn head(&mut self) -> Option<String> {
        self.until("\r\n\r\n")
    }

    /// Reads up to `end` and returns the bytes before it.
    fn until(&mut self, end: &str) -> Option<String> {
        let mut from = 0;
        loop {
            if let Some(at) = self.bytes[from..].windows(end.len()).position(|w| w == end.as_bytes()) {
                let text = String::from_utf8(self.bytes.drain(..from + at).collect()).unwrap();
                self.bytes.drain(..end.len());
                return Some(text);
            }
            from = self.bytes.len().saturating_sub(end.len());
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }

    /// Waits for the end of the connection and discards bytes before it.
    pub fn assert_ends(&mut self) {
        while self.more() {
            self.bytes.clear();
        }
    }

    /// Reads more bytes. Returns false at the end of the connection. Silence for [`LONG`] fails the test.
    fn more(&mut self) -> bool {
        let mut room = [0; 1 << 16];
        let read = match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut self.stream).read(&mut room),
            None => self.stream.read(&mut room),
        };
        match read {
            Ok(n) => {
                self.bytes.extend_from_slice(&room[..n]);
                n > 0
            }
            // The machine was stopped for a moment.
            Err(e) if e.kind() == ErrorKind::Interrupted => self.more(),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("the server is silent"),
            Err(_) => false,
        }
    }
}

/// The stream of a session.
pub struct Sse {
    pub client: Client,
    pub head: String,
    /// The path for its messages.
    pub path: String,
}

impl Sse {
    /// Sends a request for a stream and returns the data of its first event, the reference to the path for posts.
    pub fn endpoint_reference(mut client: Client, path: &str) -> String {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"));
        let head = client.head().expect("an answer");
        assert_eq!(status(&head), 200, "{path}: {head}");
        Self { client, head, path: String::new() }.event().expect("the endpoint event").1
    }

    /// Opens a session on a new connection.
    pub fn open(client: Client) -> Self {
        Self::open_with(client, "")
    }

    /// Does the same, with more headers (whole lines).
    pub fn open_with(mut client: Client, headers: &str) -> Self {
        client.send(format!("GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"));
        let head = client.head().expect("an answer to GET /sse");
        assert_eq!(status(&head), 200, "{head}");
        let mut stream = Self { client, head, path: String::new() };
        let (name, data) = stream.event().expect("the endpoint event");
        assert_eq!(name, "endpoint");
        stream.path = resolve("/sse", &data);
        stream
    }

    /// Returns name and data of the next event, and skips comments. Returns `None` at the end of the stream.
    pub fn event(&mut self) -> Option<(String, String)> {
        loop {
            let block = self.client.until("\n\n")?;
            if block.starts_with(':') {
                continue;
            }
            let (name, data) = block.split_once('\n').expect("two lines");
            let name = name.strip_prefix("event: ").expect("an event line");
            let data = data.strip_prefix("data: ").expect("a data line");
            assert!(!data.contains('\n'), "one data line: {data}");
            return Some((name.into(), data.into()));
        }
    }

    /// Returns the next message.
    pub fn message(&mut self) -> String {
        let (name, data) = self.event().expect("a message");
        assert_eq!(name, "message");
        data
    }

    pub fn comment(&mut self) -> String {
        let block = self.client.until("\n\n").expect("a comment");
        assert!(block.starts_with(':'), "{block}");
        block
    }
}

/// Resolves a relative reference of path and query against the path of a request (RFC 3986, 5.2), as `new URL` and
/// `urljoin` do.
pub fn resolve(base: &str, reference: &str) -> String {
    let (path, query) = reference.split_once('?').unwrap_or((reference, ""));
    let base = base.split('?').next().unwrap();
    let merged = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", base.rsplit_once('/').unwrap().0),
    };
    let mut segments = Vec::new();
    for segment in merged.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    format!("/{}?{query}", segments.join("/"))
}

/// Returns a ping with an id of `n` bytes. The answer repeats the id and so is large.
pub fn ping(n: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(n))
}
