//! An HTTP server in this process.
#![allow(dead_code)]

use super::raw::{Client, LONG, Reply, Sse, eventually};
use super::tls;
use proxmox_mcp::config::{Client as Caller, Limits, TokenHash};
use proxmox_mcp::http::{HealthSources, HttpConfig, HttpHandle, HttpServer, ServerCertificate, listen};
use proxmox_mcp::mcp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Returns limits with short deadlines, so that tests of a deadline are quick. The other limits are the defaults.
pub fn limits() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_millis(500),
        idle_timeout: LONG,
        write_timeout: Duration::from_millis(500),
        stream_delay: LONG,
        sse_keepalive: Duration::from_millis(100),
        stop_timeout: LONG,
        ..Limits::default()
    }
}

/// Returns limits with long deadlines, for tests with well-behaved clients on a busy machine.
pub fn patient_limits() -> Limits {
    Limits { head_timeout: LONG, body_timeout: LONG, write_timeout: LONG, ..limits() }
}

/// Returns a client whose token is its name, with access to these clusters (empty: all).
pub fn caller(name: &str, clusters: Option<&[&str]>) -> Caller {
    let clusters = clusters.map(|all| all.iter().map(|cluster| cluster.to_string()).collect());
    Caller { name: name.into(), token_sha256: TokenHash::from_token(name.as_bytes()), clusters, ..Caller::anonymous() }
}

/// A server that is stopped when the test ends.
pub struct TestServer {
    pub address: SocketAddr,
    /// The TLS configuration of its clients, if it speaks TLS.
    tls: Option<Arc<ClientConfig>>,
    stop: HttpHandle,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Returns a builder of a server without clients, tools and probes, with the limits of [`patient_limits`].
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder {
            limits: patient_limits(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            clients: Vec::new(),
            insecure_no_auth: false,
            mcp: None,
            identity: None,
            probes: HealthSources::default(),
        }
    }

    /// Starts a server with these limits and nothing else.
    pub fn start(limits: Limits) -> Self {
        Self::builder().limits(limits).start()
    }

    pub fn connect(&self) -> Client {
        let client = self.connect_without_tls();
        match &self.tls {
            Some(config) => client.over(config.clone()),
            None => client,
        }
    }

    /// Opens a connection without TLS.
    pub fn connect_without_tls(&self) -> Client {
        Client::to(self.address)
    }

    /// Fails unless a new client is answered.
    pub fn assert_answers(&self) {
        assert_eq!(self.connect().ask("GET /healthz", "").status, 200);
    }

    /// Requests a path on a new connection, with this token.
    pub fn get(&self, path: &str, token: &str) -> Reply {
        self.connect().ask(&format!("GET {path}"), &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Sends `request` on a new connection. Returns the status of the answer, 0 if there is no answer.
    pub fn status_of(&self, request: &str) -> u16 {
        let mut client = self.connect();
        client.send(request);
        client.reply().map_or(0, |reply| reply.status)
    }

    pub fn sse(&self) -> Sse {
        Sse::open(self.connect())
    }

    /// Starts the stop of the server and returns at once.
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

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap();
        }
    }
}

/// The options of a [`TestServer`].
pub struct TestServerBuilder {
    limits: Limits,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    clients: Vec<Caller>,
    insecure_no_auth: bool,
    mcp: Option<mcp::McpServer>,
    identity: Option<ServerCertificate>,
    probes: HealthSources,
}

impl TestServerBuilder {
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Accepts these names in `Host`, besides those of loopback.
    pub fn hosts(mut self, hosts: &[&str]) -> Self {
        self.allowed_hosts = hosts.iter().map(ToString::to_string).collect();
        self
    }

    /// Accepts these values of `Origin`, besides those of loopback.
    pub fn origins(mut self, origins: &[&str]) -> Self {
        self.allowed_origins = origins.iter().map(ToString::to_string).collect();
        self
    }

    /// Requires the token of one of these clients.
    pub fn clients(mut self, clients: Vec<Caller>) -> Self {
        self.clients = clients;
        self
    }

    /// Requires no token of a request that came through a proxy.
    pub fn insecure_no_auth(mut self) -> Self {
        self.insecure_no_auth = true;
        self
    }

    /// Serves these tools and resources.
    pub fn mcp(mut self, mcp: mcp::McpServer) -> Self {
        self.mcp = Some(mcp);
        self
    }

    /// Speaks TLS with this certificate. [`TestServer::connect`] speaks it too.
    pub fn tls(mut self, identity: ServerCertificate) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Serves the pages of these probes.
    pub fn probes(mut self, probes: HealthSources) -> Self {
        self.probes = probes;
        self
    }

    /// Starts the server on a free port of 127.0.0.1.
    pub fn start(self) -> TestServer {
        let Self { limits, allowed_hosts, allowed_origins, clients, insecure_no_auth, mcp, identity, probes } = self;
        let mcp = mcp.unwrap_or_else(|| mcp::McpServer::new(mcp::catalog::Catalog::default()).expect("a server"));
        let tls = identity.is_some().then(tls::trusting_any_certificate);
        raise_descriptors();
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let config = HttpConfig {
            listener,
            metrics_listener: None,
            limits,
            allowed_hosts,
            allowed_origins,
            clients,
            insecure_no_auth,
            certificate: identity,
            health: probes,
            approvals: None,
        };
        let server = HttpServer::new(config, Arc::new(mcp)).unwrap();
        let stop = server.handle();
        TestServer { address, tls, stop, thread: Some(std::thread::spawn(move || server.run())) }
    }
}

/// Raises the limit on descriptors, for tests with thousands of sockets whose both ends are in this process.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
