//! A Proxmox node under the control of a test. It answers like a real one, or misbehaves.
//!
//! ```ignore
//! let node = Node::start(|request| match request.path() {
//!     "/api2/json/version" => ScriptedReply::data(r#"{"version":"9.2.11"}"#),
//!     _ => ScriptedReply::hang(),
//! });
//! let cluster = Cluster::new(node.cluster_settings(), &Limits::default()).unwrap();
//! ```
//! It listens on a free loopback port, handles each connection on its own thread, and records every request. Dropping
//! it stops it. Tests wait for requests and connections ([`Node::wait_for_requests`], [`Node::wait_for_closed`])
//! instead of sleeping.
#![allow(dead_code)]

use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{ClusterConfig, Endpoint, Fingerprint, TlsVerification};
use proxmox_mcp::policy::{AccessLevel, ClusterPolicy, ConfirmationPolicy, Permissions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use ring::digest::{SHA256, digest};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The user, token id and secret of [`Node::cluster_settings`].
pub const USER: &str = "root@pam";
/// See [`USER`].
pub const TOKEN_ID: &str = "mcp";
/// See [`USER`]. Tests check that it does not leak.
pub const SECRET: &str = "5ec2e7-ca4a-4a29-b1de-canary";

/// One request as the node read it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The connection it came on, counted from 0.
    pub connection: usize,
    /// Its place on that connection, counted from 0.
    pub nth: usize,
    /// Its place among all requests to the node, counted from 0.
    pub index: usize,
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    /// Returns the value of a header (lower-case name). Panics on a duplicate.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }

    /// Returns the target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// The reaction of a node to one request.
#[derive(Clone, Debug)]
pub struct ScriptedReply {
    bytes: Vec<u8>,
    drip: Option<Duration>,
    flood: u64,
    after: AfterReply,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum AfterReply {
    Next,
    Close,
    Hang,
}

impl ScriptedReply {
    /// Returns `200 OK` with `{"data":…}` around a JSON text. The connection is kept, as a real node does.
    pub fn data(json: &str) -> Self {
        Self::body(format!("{{\"data\":{json}}}"))
    }

    /// Returns `200 OK` with this body.
    pub fn body(body: impl AsRef<[u8]>) -> Self {
        Self::answer(200, "OK", &[], body)
    }

    /// Returns an error like that of a real node, which closes the connection after it.
    pub fn refusal(status: u16, phrase: &str, body: &str) -> Self {
        Self::answer(status, phrase, &[("Connection", "close")], body).then_close()
    }

    /// Returns any answer. `Content-Length` and `Connection: Keep-Alive` are added unless given. An empty value omits
    /// the header, and a header may repeat.
    pub fn answer(status: u16, phrase: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} {phrase}\r\n");
        let has = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        line("Cache-Control", "max-age=0");
        headers.iter().for_each(|(name, value)| line(name, value));
        if !has("Connection") {
            line("Connection", "Keep-Alive");
        }
        if !has("Content-Length") {
            line("Content-Length", &body.len().to_string());
        }
        line("Server", "pve-api-daemon/3.0");
        line("Content-Type", "application/json;charset=UTF-8");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self::raw(bytes)
    }

    /// Returns an answer of these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), drip: None, flood: 0, after: AfterReply::Next }
    }

    /// Closes the connection without an answer.
    pub fn close() -> Self {
        Self::raw([]).then_close()
    }

    /// Waits without an answer until the client closes the connection.
    pub fn hang() -> Self {
        Self::raw([]).then_hang()
    }

    /// Closes the connection after the answer, regardless of its headers.
    pub fn then_close(mut self) -> Self {
        self.after = AfterReply::Close;
        self
    }

    /// Keeps the connection open and silent after the answer until the client closes it.
    pub fn then_hang(mut self) -> Self {
        self.after = AfterReply::Hang;
        self
    }

    /// Sends one byte at a time, with a pause after each.
    pub fn dripping(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// Sends this number of bytes `x` after the answer, or as many as the client accepts.
    pub fn then_flood(mut self, bytes: u64) -> Self {
        self.flood = bytes;
        self
    }
}

/// The way a node presents itself to a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Identity {
    /// Plain HTTP, with an `http` endpoint.
    Plain,
    /// TLS with a certificate for 127.0.0.1, 127.0.0.2 and localhost, signed by the CA of [`Node::cluster_settings`].
    Trusted,
    /// The same, but it expired in 2001.
    Expired,
    /// The same, but valid from the year 4000 on.
    NotYetValid,
    /// The same, but for `pve9.example` and 192.0.2.9.
    WrongName,
    /// TLS with a self-signed certificate.
    SelfSigned,
    /// TLS with the certificate of a Proxmox Backup Server.
    BackupServer,
    /// An `https` endpoint at which the node answers 400 in plain HTTP.
    PlainOnTlsPort,
    /// An `https` endpoint at which the node closes after the first bytes of the handshake.
    ClosesInHandshake,
    /// An `https` endpoint at which the node reads the first bytes of the handshake and does not answer.
    HangsInHandshake,
    /// Plain HTTP. Every connection is closed before a byte is read.
    ClosesAtOnce,
}

/// A certificate, and the TLS configuration that uses it.
type Certificate = (CertificateDer<'static>, Arc<ServerConfig>);

type Behaviour = dyn Fn(&Request) -> ScriptedReply + Send + Sync;

/// A running node. Dropping it closes its port and every connection.
pub struct Node {
    address: SocketAddr,
    identity: Identity,
    shared: Arc<Shared>,
    acceptor: Option<thread::JoinHandle<()>>,
}

struct Shared {
    behaviour: Box<Behaviour>,
    identity: Identity,
    /// The certificate for new connections.
    certificate: Mutex<Option<Certificate>>,
    stopping: AtomicBool,
    log: Mutex<Log>,
    changed: Condvar,
}

impl Shared {
    /// Ignores poisoning: the log is usable even if a test failed while it had the lock.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    /// One stream for each open connection.
    sockets: Vec<Option<TcpStream>>,
    closed: usize,
}

impl Node {
    /// Starts a plain HTTP node.
    pub fn start(behaviour: impl Fn(&Request) -> ScriptedReply + Send + Sync + 'static) -> Self {
        Self::start_as(Identity::Plain, behaviour)
    }

    /// Starts a node that presents itself as `identity`.
    pub fn start_as(identity: Identity, behaviour: impl Fn(&Request) -> ScriptedReply + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), identity, behaviour).unwrap()
    }

    /// Does the same at this address, if it is free.
    pub fn start_at(
        address: SocketAddr,
        identity: Identity,
        behaviour: impl Fn(&Request) -> ScriptedReply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        // A larger backlog than the standard library's, for many connections at once.
        SockRef::from(&listener).listen(1024)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            behaviour: Box::new(behaviour),
            identity,
            certificate: Mutex::new(certificate(identity)),
            stopping: AtomicBool::new(false),
            log: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Ok(Self { address, identity, shared, acceptor: Some(acceptor) })
    }

    pub fn endpoint(&self) -> Endpoint {
        let https = !matches!(self.identity, Identity::Plain | Identity::ClosesAtOnce);
        Endpoint { https, host: self.address.ip().to_string(), port: self.address.port() }
    }

    /// Returns a cluster `test` of this node only, with the CA that signs [`Identity::Trusted`] and a time limit of 5
    /// s.
    pub fn cluster_settings(&self) -> ClusterConfig {
        ClusterConfig {
            name: "test".into(),
            endpoints: vec![self.endpoint()],
            user: USER.into(),
            token_id: TOKEN_ID.into(),
            token_secret: Secret::new(SECRET.into()),
            tls: TlsVerification::Ca(vec![ca().der.clone()]),
            timeout: Duration::from_secs(5),
            discover_nodes: false,
            is_simulated: false,
            // The policy has its own tests. All other tests need every permission.
            policy: ClusterPolicy {
                permissions: Permissions { access: AccessLevel::Full, exec: true },
                confirm: ConfirmationPolicy::Never,
                ..ClusterPolicy::default()
            },
        }
    }

    /// Returns the SHA-256 of its certificate. Panics if it has none.
    pub fn fingerprint(&self) -> Fingerprint {
        let certificate = self.shared.certificate.lock().unwrap();
        Fingerprint(digest(&SHA256, &certificate.as_ref().unwrap().0).as_ref().try_into().unwrap())
    }

    /// Replaces the certificate by another of the same kind. Open connections continue.
    pub fn renew(&self) {
        *self.shared.certificate.lock().unwrap() = certificate(self.identity);
    }

    /// Closes every connection, as a restart does.
    pub fn hang_up(&self) {
        for socket in self.shared.log().sockets.iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Returns every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().requests.clone()
    }

    /// Forgets the requests so far, for a node that runs long.
    pub fn forget(&self) {
        self.shared.log().requests.clear();
    }

    /// Counts the connections so far.
    pub fn connections(&self) -> usize {
        self.shared.log().sockets.len()
    }

    /// Counts the open connections.
    pub fn open_connections(&self) -> usize {
        let log = self.shared.log();
        log.sockets.len() - log.closed
    }

    /// Waits until this number of requests was read.
    pub fn wait_for_requests(&self, n: usize) {
        self.wait("requests", |log| log.requests.len() >= n);
    }

    /// Waits until this number of requests was read whose path ends like this.
    pub fn wait_for_path(&self, end: &str, n: usize) {
        self.wait(end, |log| log.requests.iter().filter(|r| r.path().ends_with(end)).count() >= n);
    }

    /// Waits until this number of connections was made.
    pub fn wait_for_connections(&self, n: usize) {
        self.wait("connections", |log| log.sockets.len() >= n);
    }

    /// Waits until this number of connections has ended, closed by either side.
    pub fn wait_for_closed(&self, n: usize) {
        self.wait("closed connections", |log| log.closed >= n);
    }

    fn wait(&self, what: &str, done: impl Fn(&Log) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut log = self.shared.log();
        while !done(&log) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the node waited for {what} in vain: {:?}", log.requests);
            log = self.shared.changed.wait_timeout(log, left).unwrap().0;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.hang_up();
        // Wakes the accept thread.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Returns a closed port of this machine, which refuses connections at once.
pub fn closed_endpoint() -> Endpoint {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    Endpoint { https: false, host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept() else { return };
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let connection = {
            let mut log = shared.log();
            log.sockets.push(Some(socket.try_clone().unwrap()));
            shared.changed.notify_all();
            log.sockets.len() - 1
        };
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = socket.set_nodelay(true);
            // Dropped even if the behaviour panics, so that the client sees the end of the connection at once.
            let connection = Connection { number: connection, socket, shared };
            let _ = serve(connection.number, &connection.socket, &connection.shared);
        });
    }
}

struct Connection {
    number: usize,
    socket: TcpStream,
    shared: Arc<Shared>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The log has a clone of the socket, so only a shutdown ends the connection.
        let _ = self.socket.shutdown(Shutdown::Both);
        let mut log = self.shared.log();
        log.sockets[self.number] = None;
        log.closed += 1;
        drop(log);
        self.shared.changed.notify_all();
    }
}

fn serve(connection: usize, mut socket: &TcpStream, shared: &Shared) -> io::Result<()> {
    match shared.identity {
        Identity::ClosesAtOnce => Ok(()),
        Identity::ClosesInHandshake => socket.read(&mut [0; 64]).map(drop),
        Identity::HangsInHandshake => until_closed(&mut socket),
        Identity::PlainOnTlsPort => {
            // Web servers answer an unreadable request like this.
            let _ = socket.read(&mut [0; 4096])?;
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        }
        Identity::Plain => converse(connection, &mut socket, shared),
        _ => {
            let (_, config) = shared.certificate.lock().unwrap().clone().unwrap();
            let tls = ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(tls, socket.try_clone()?);
            let result = converse(connection, &mut stream, shared);
            stream.conn.send_close_notify();
            let _ = stream.flush();
            result
        }
    }
}

fn converse(connection: usize, stream: &mut (impl Read + Write), shared: &Shared) -> io::Result<()> {
    for nth in 0.. {
        let Some(mut request) = read_request(stream)? else { break };
        (request.connection, request.nth) = (connection, nth);
        {
            let mut log = shared.log();
            request.index = log.requests.len();
            log.requests.push(request.clone());
            shared.changed.notify_all();
        }
        let reply = (shared.behaviour)(&request);
        match reply.drip {
            None => stream.write_all(&reply.bytes)?,
            Some(pause) => {
                for byte in &reply.bytes {
                    stream.write_all(&[*byte])?;
                    stream.flush()?;
                    thread::sleep(pause);
                }
            }
        }
        let chunk = [b'x'; 64 << 10];
        let mut left = reply.flood;
        while left > 0 {
            let n = left.min(chunk.len() as u64);
            stream.write_all(&chunk[..n as usize])?;
            left -= n;
        }
        stream.flush()?;
        match reply.after {
            AfterReply::Next => {}
            AfterReply::Close => break,
            AfterReply::Hang => return until_closed(stream),
        }
    }
    Ok(())
}

fn until_closed(stream: &mut impl Read) -> io::Result<()> {
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

/// Reads a request. Returns `None` if the client closed between two requests.
fn read_request(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if more(stream, &mut bytes)? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    while bytes.len() < head + 4 + length {
        if more(stream, &mut bytes)? == 0 {
            return Ok(None);
        }
    }
    let body = String::from_utf8(bytes[head + 4..].to_vec()).unwrap();
    Ok(Some(Request { connection: 0, nth: 0, index: 0, method, target, headers, body }))
}

fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    let n = stream.read(&mut buffer)?;
    bytes.extend_from_slice(&buffer[..n]);
    Ok(n)
}

/// Returns the CA of all trusted nodes of this process.
struct Ca {
    der: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Proxmox Virtual Environment test CA");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Ca { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    })
}

/// Returns the CA's certificate in PEM, for a `ca_file`.
pub fn ca_pem() -> &'static str {
    &ca().pem
}

fn certificate(identity: Identity) -> Option<Certificate> {
    let names: &[&str] = match identity {
        Identity::WrongName => &["pve9.example", "192.0.2.9"],
        Identity::Trusted
        | Identity::Expired
        | Identity::NotYetValid
        | Identity::SelfSigned
        | Identity::BackupServer => &["localhost", "127.0.0.1", "127.0.0.2"],
        _ => return None,
    };
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    match identity {
        Identity::Expired => params.not_after = date_time_ymd(2001, 2, 3),
        Identity::NotYetValid => params.not_before = date_time_ymd(4000, 1, 1),
        Identity::BackupServer => {
            params.distinguished_name.push(rcgen::DnType::OrganizationName, "Proxmox Backup Server");
        }
        _ => {}
    }
    let key = KeyPair::generate().unwrap();
    let leaf = match identity {
        Identity::SelfSigned | Identity::BackupServer => params.self_signed(&key),
        _ => params.signed_by(&key, &ca().issuer),
    };
    let leaf = leaf.unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], key)
        .unwrap();
    Some((leaf, Arc::new(config)))
}
