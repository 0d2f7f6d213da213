//! A client's session with an MCP server, one call at a time, over any transport.

use crate::http::Connection;
use std::io;
use std::net::TcpStream;
use std::str::FromStr;

/// Transport and protocol version.
#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Sse,
    Http,
    Modern,
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sse" => Ok(Self::Sse),
            "http" => Ok(Self::Http),
            "modern" => Ok(Self::Modern),
            _ => Err("sse, http or modern is wanted"),
        }
    }
}

const JSON: &str = "Content-Type: application/json\r\n";
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
/// The client's description in a request of 2026-07-28.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

fn initialize(version: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"load","version":"1"}}}}}}"#
    )
}

/// A repeated request. Everything except its id is made once.
pub struct Request {
    method: &'static str,
    tool: String,
    rest: String,
}

impl Request {
    /// Makes a tools/call. `arguments` is a JSON object.
    pub fn call(mode: Mode, tool: &str, arguments: &str) -> Self {
        let meta = if mode == Mode::Modern { format!(",{META}") } else { String::new() };
        let rest = format!(r#","method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{meta}}}}}"#);
        Self { method: "tools/call", tool: tool.into(), rest }
    }

    /// Makes a tools/list.
    pub fn list(mode: Mode) -> Self {
        let meta = if mode == Mode::Modern { META } else { "" };
        let rest = format!(r#","method":"tools/list","params":{{{meta}}}}}"#);
        Self { method: "tools/list", tool: String::new(), rest }
    }

    fn text(&self, id: u64) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id}{}"#, self.rest)
    }
}

/// A session, for one kind of request.
pub struct Session {
    link: Link,
    request: Request,
    next: u64,
}

enum Link {
    Sse { stream: Stream, poster: Connection<TcpStream> },
    Post { connection: Connection<TcpStream>, headers: String },
}

impl Session {
    /// Opens a session and initializes it.
    pub fn open(mode: Mode, server: &str, request: Request) -> io::Result<Self> {
        let link = if mode == Mode::Sse {
            let mut poster = Connection::open(server)?;
            let stream = Stream::open(server, &mut poster)?;
            Link::Sse { stream, poster }
        } else {
            let mut connection = Connection::open(server)?;
            let mut headers = format!("{JSON}Accept: application/json, text/event-stream\r\n");
            if mode == Mode::Modern {
                headers += &format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {}\r\n", request.method);
                if !request.tool.is_empty() {
                    headers += &format!("Mcp-Name: {}\r\n", request.tool);
                }
            } else {
                let (head, _) = connection.ask("POST", "/mcp", &headers, &initialize("2025-06-18"))?;
                headers += "MCP-Protocol-Version: 2025-06-18\r\n";
                if let Some(session) = head.session {
                    headers += &format!("Mcp-Session-Id: {session}\r\n");
                }
                connection.ask("POST", "/mcp", &headers, READY)?;
            }
            Link::Post { connection, headers }
        };
        Ok(Self { link, request, next: 1 })
    }

    /// Sends the request again and returns its answer. Fails if it is an error.
    pub fn ask(&mut self) -> io::Result<Vec<u8>> {
        let (id, text) = (self.next, self.request.text(self.next));
        self.next += 1;
        let answer = match &mut self.link {
            Link::Post { connection, headers } => connection.ask("POST", "/mcp", headers, &text)?.1,
            Link::Sse { stream, poster } => {
                poster.ask("POST", &stream.endpoint, JSON, &text)?;
                stream.event()?
            }
        };
        if is_success(&answer, id) {
            return Ok(answer);
        }
        Err(io::Error::other(format!("an answer: {:.500}", String::from_utf8_lossy(&answer))))
    }
}

/// Checks that the answer is a success with this id. Reads only its start and end: the middle may be long, and the
/// client should cost the same with every server.
fn is_success(answer: &[u8], id: u64) -> bool {
    const ENDS: usize = 512;
    let begin = answer.get(..ENDS).unwrap_or(answer);
    let end = answer.get(answer.len().saturating_sub(ENDS)..).unwrap_or_default();
    let has = |part: &[u8], text: &str| contains(part, text.as_bytes());
    let fails = |part| [r#""error":{"#, r#""isError":true"#].iter().any(|bad| has(part, bad));
    has(begin, &format!(r#""id":{id}"#)) && !fails(begin) && !fails(end)
}

/// Checks that `whole` contains `part`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// The event stream of an SSE session, chunked or not.
pub struct Stream {
    connection: Connection<TcpStream>,
    chunked: bool,
    /// Remaining bytes of the current chunk.
    left: usize,
    come: Vec<u8>,
    /// Path for posting messages.
    pub endpoint: String,
}

impl Stream {
    /// Opens the stream and initializes the session. Messages are posted over another connection.
    pub fn open(server: &str, poster: &mut Connection<TcpStream>) -> io::Result<Self> {
        let mut connection = Connection::open(server)?;
        connection.send("GET", "/sse", "Accept: text/event-stream\r\n", "")?;
        let head = connection.head()?;
        if head.status != 200 {
            return Err(io::Error::other(format!("GET /sse: {}", head.status)));
        }
        let endpoint = String::new();
        let mut stream = Self { connection, chunked: head.chunked, left: 0, come: Vec::new(), endpoint };
        let endpoint = String::from_utf8_lossy(&stream.event()?).into_owned();
        // Ours is relative to `/sse`.
        stream.endpoint = format!("/{}", endpoint.trim_start_matches('/'));
        poster.ask("POST", &stream.endpoint, JSON, &initialize("2024-11-05"))?;
        stream.event()?;
        poster.ask("POST", &stream.endpoint, JSON, READY)?;
        Ok(stream)
    }

    /// Returns the data of the next event with data. Both servers write it on one line.
    fn event(&mut self) -> io::Result<Vec<u8>> {
        let mut looked = 0;
        loop {
            let Some(end) = self.come.iter().skip(looked).position(|byte| *byte == b'\n') else {
                looked = self.come.len();
                self.fill()?;
                continue;
            };
            let line: Vec<u8> = self.come.drain(..=looked + end).collect();
            looked = 0;
            if let Some(data) = line.strip_prefix(b"data:") {
                return Ok(data.trim_ascii().to_vec());
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.chunked {
            return self.connection.some(usize::MAX, &mut self.come).map(drop);
        }
        if self.left == 0 {
            self.left = self.connection.chunk_size()?;
        }
        self.left -= self.connection.some(self.left, &mut self.come)?;
        if self.left == 0 {
            self.connection.line()?;
        }
        Ok(())
    }
}
