//! The front in this process, and a client that sends any bytes whatever to it.
//!
//! Nothing here sleeps in the hope that something has happened: every wait is for an event, with a deadline that is
//! far longer than it can take.
#![allow(dead_code)]

use super::tls;
use proxmox_mcp::config::{Client as Caller, Limits, TokenHash};
use proxmox_mcp::http::{HealthSources, HttpConfig, HttpHandle, HttpServer, ServerCertificate, listen};
use proxmox_mcp::mcp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ClientConfig, ClientConnection, Stream};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything takes here; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// Short deadlines, so that the tests that wait for one are quick; the caps are the defaults.
pub fn limits() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_millis(500),
        idle_timeout: LONG,
        write_timeout: Duration::from_millis(500),
        sse_keepalive: Duration::from_millis(100),
        stop_timeout: LONG,
        ..Limits::default()
    }
}

/// For tests whose clients misbehave in no way: on a busy machine, what is slow is not a client that dawdles.
pub fn patient() -> Limits {
    Limits { head_timeout: LONG, body_timeout: LONG, write_timeout: LONG, ..limits() }
}

/// A client whose token is its name, for these clusters alone if there are any.
pub fn caller(name: &str, clusters: Option<&[&str]>) -> Caller {
    let clusters = clusters.map(|all| all.iter().map(|cluster| cluster.to_string()).collect());
    Caller { name: name.into(), token_sha256: TokenHash::from_token(name.as_bytes()), clusters, ..Caller::anonymous() }
}

/// A server that is stopped when the test ends.
pub struct Running {
    pub address: SocketAddr,
    /// How its clients speak TLS, if they do.
    tls: Option<Arc<ClientConfig>>,
    stop: HttpHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(limits: Limits) -> Self {
        Self::allowing(limits, &[], &[])
    }

    pub fn allowing(limits: Limits, hosts: &[&str], origins: &[&str]) -> Self {
        Self::serving(limits, hosts, origins, mcp::McpServer::new(mcp::catalog::Catalog::default()).expect("a server"))
    }

    /// A server that asks for these clients' tokens.
    pub fn for_clients(limits: Limits, clients: Vec<Caller>) -> Self {
        let mcp = mcp::McpServer::new(mcp::catalog::Catalog::default()).expect("a server");
        Self::begin(limits, &[], &[], clients, mcp, None, HealthSources::default())
    }

    pub fn serving(limits: Limits, hosts: &[&str], origins: &[&str], mcp: mcp::McpServer) -> Self {
        Self::begin(limits, hosts, origins, Vec::new(), mcp, None, HealthSources::default())
    }

    /// A server with tools that asks for these clients' tokens.
    pub fn serving_clients(limits: Limits, clients: Vec<Caller>, mcp: mcp::McpServer) -> Self {
        Self::begin(limits, &[], &[], clients, mcp, None, HealthSources::default())
    }

    /// The same, with probes.
    pub fn probed(clients: Vec<Caller>, mcp: mcp::McpServer, probes: HealthSources) -> Self {
        Self::probed_with(patient(), clients, mcp, probes)
    }

    pub fn probed_with(limits: Limits, clients: Vec<Caller>, mcp: mcp::McpServer, probes: HealthSources) -> Self {
        Self::begin(limits, &[], &[], clients, mcp, None, probes)
    }

    /// A server that speaks TLS, and whose clients do.
    pub fn over_tls(limits: Limits, clients: Vec<Caller>, mcp: mcp::McpServer, identity: ServerCertificate) -> Self {
        Self::begin(limits, &[], &[], clients, mcp, Some(identity), HealthSources::default())
    }

    fn begin(
        limits: Limits,
        hosts: &[&str],
        origins: &[&str],
        clients: Vec<Caller>,
        mcp: mcp::McpServer,
        identity: Option<ServerCertificate>,
        probes: HealthSources,
    ) -> Self {
        let tls = identity.is_some().then(tls::trusting_anybody);
        raise_descriptors();
        let list = |entries: &[&str]| entries.iter().map(|entry| entry.to_string()).collect();
        let (allowed_hosts, allowed_origins) = (list(hosts), list(origins));
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let config = HttpConfig {
            listener,
            metrics_listener: None,
            limits,
            allowed_hosts,
            allowed_origins,
            clients,
            certificate: identity,
            health: probes,
        };
        let server = HttpServer::new(config, Arc::new(mcp)).unwrap();
        let stop = server.handle();
        Self { address, tls, stop, thread: Some(std::thread::spawn(move || server.run())) }
    }

    pub fn connect(&self) -> Client {
        let client = self.connect_plainly();
        match &self.tls {
            Some(config) => client.over(config.clone()),
            None => client,
        }
    }

    /// A connection without TLS, whatever the server speaks.
    pub fn connect_plainly(&self) -> Client {
        Client::to(self.address)
    }

    /// Fails unless a new client is answered.
    pub fn assert_answers(&self) {
        assert_eq!(self.connect().ask("GET /healthz", "").status, 200);
    }

    /// Asks for a path on a connection of its own, with this token.
    pub fn get(&self, path: &str, token: &str) -> Reply {
        self.connect().ask(&format!("GET {path}"), &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Sends `request` on a connection of its own; the status of the answer, 0 where there is none.
    pub fn status_of(&self, request: &str) -> u16 {
        let mut client = self.connect();
        client.send(request);
        client.reply().map_or(0, |reply| reply.status)
    }

    /// Opens a session.
    pub fn sse(&self) -> Sse {
        Sse::open(self.connect())
    }

    /// Tells the server to stop, and returns at once.
    pub fn begin_stop(&self) {
        self.stop.stop();
    }

    /// Waits until the server has stopped.
    pub fn wait_for_stop(&mut self) {
        let thread = self.thread.take().unwrap();
        eventually("run() returns", || thread.is_finished());
        thread.join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap();
        }
    }
}

/// The tests that open thousands of sockets need them on both ends, in one process.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Looks until `done`, for [`LONG`].
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A connection.
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

    /// A connection to a server.
    pub fn to(address: impl ToSocketAddrs) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// Speaks TLS from here on; hands are shaken with the first bytes that are sent or read.
    pub fn over(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap());
        self
    }

    /// Sends bytes; an error is a server that has had enough, which its answer, or its absence, tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut self.stream).write_all(bytes.as_ref()),
            None => self.stream.write_all(bytes.as_ref()),
        };
    }

    /// Sends a proper request to this server: `line` is method and target, `headers` whole lines; and reads the answer.
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

    /// The same, and does not wait.
    pub fn send_post_with(&mut self, path: &str, headers: &str, json: &str) {
        self.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{json}",
            json.len()
        ));
    }

    /// The next answer; `None` when the connection ends instead.
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

    /// Up to and without `end`.
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

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }

    /// Waits for the end of the connection; whatever comes before is thrown away.
    pub fn assert_ends(&mut self) {
        while self.more() {
            self.bytes.clear();
        }
    }

    /// Reads on; false at the end of the connection. Silence for [`LONG`] fails the test.
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
    /// Where to post.
    pub path: String,
}

impl Sse {
    /// Opens a session on a fresh connection.
    pub fn open(client: Client) -> Self {
        Self::open_with(client, "")
    }

    /// The same, with more headers (whole lines).
    pub fn open_with(mut client: Client, headers: &str) -> Self {
        client.send(format!("GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"));
        let head = client.head().expect("an answer to GET /sse");
        assert_eq!(status(&head), 200, "{head}");
        let mut stream = Self { client, head, path: String::new() };
        let (name, data) = stream.event().expect("the endpoint event");
        assert_eq!(name, "endpoint");
        stream.path = data;
        stream
    }

    /// The next event's name and data; comments are passed over. `None` at the end of the stream.
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

    /// The next message.
    pub fn message(&mut self) -> String {
        let (name, data) = self.event().expect("a message");
        assert_eq!(name, "message");
        data
    }

    /// Waits for a comment.
    pub fn comment(&mut self) -> String {
        let block = self.client.until("\n\n").expect("a comment");
        assert!(block.starts_with(':'), "{block}");
        block
    }
}

/// A ping whose id, which its answer repeats, is `n` bytes long: the way to a large answer.
pub fn ping(n: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(n))
}

/// A message that is refused with its id, `n` bytes long, in the body of a 400.
pub fn refused(n: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{}"}}"#, "i".repeat(n))
}
