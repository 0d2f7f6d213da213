//! The HTTP front: a listener of our own that a stranger's bytes can't stop, slow down or fill.
//!
//! # The way of a request
//! ```text
//! accept ── a permit, a thread ──▶ connection ── head ▶ guard ▶ auth ▶ routes ▶ body ──▶ sse ──▶ mcp
//!   admission           (greeting)   wire, channel (tls)                                  workers
//! ```
//! Every bound is one of [`Limits`]. Requests, answers and statuses are tiny_http's types and its writer makes the
//! bytes of an answer's head; its `HttpServer` is not used, because a single request can abort it, and its memory, threads
//! and waits have no bound.
//!
//! # The end
//! [`HttpHandle::stop`] ends the accept loops. Then connections that wait for a request end, calls in flight get
//! `stop_timeout` to finish and their answers still go out, those that don't are given up and say so, the event streams end, and [`HttpServer::run`] returns.

mod accept;
mod admission;
mod auth;
mod auth_failures;
pub(crate) mod body;
mod certificate;
pub(crate) mod client_stream;
mod connection;
mod event_stream;
pub(crate) mod guard;
pub(crate) mod head;
mod health;
mod log_throttle;
mod memory_budget;
mod monitor;
mod quota;
pub(crate) mod receive;
mod response;
mod routes;
mod sse;
mod sse_session;
mod streamable;
mod tls;
mod tls_accept;

use crate::base::deadline::Deadline;
use crate::base::workers::{CALL_STACK_BYTES, WorkerPool};
use crate::config::{Client, Limits};
use crate::mcp;
use crate::metrics;
use accept::StopSignal;
pub use accept::listen;
use admission::Connections;
use auth::Authenticator;
pub use certificate::ServerCertificate;
use guard::HostOriginPolicy;
use health::HealthEndpoints;
pub use health::HealthSources;
use memory_budget::MemoryBudget;
use monitor::ConnectionMonitor;
use quota::ClientQuotas;
use routes::ListenerRole;
use sse::SseSessions;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What is given up gets this long to say so, and then the streams and connections as long to end: with the default
/// `stop_timeout` that stays below the ten seconds after which Docker kills.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// What the front is started with.
pub struct HttpConfig {
    /// Where clients call.
    pub listener: TcpListener,
    /// Where those ask who watch the server, if not there too: what of `probes` is counted is then served here alone.
    pub metrics_listener: Option<TcpListener>,
    /// The bounds of every connection.
    pub limits: Limits,
    /// `MCP_ALLOWED_HOSTS`, beside the loopback names and the address a connection came to. Each is `host` or `host:*`
    /// (with any port), `host:port` (80 and 443 also stand for none) or `*`.
    pub allowed_hosts: Vec<String>,
    /// `MCP_ALLOWED_ORIGINS`, each an origin (`https://host[:port]`) or `*`, beside those of the allowed hosts.
    pub allowed_origins: Vec<String>,
    /// Who may call, by the token of each; without any, whoever reaches the listener may.
    pub clients: Vec<Client>,
    /// The certificate, where the port speaks TLS.
    pub certificate: Option<ServerCertificate>,
    /// What is known of the clusters.
    pub health: HealthSources,
}

/// What every part of a running front shares.
struct HttpState {
    mcp: Arc<mcp::McpServer>,
    limits: Limits,
    certificate: Option<ServerCertificate>,
    host_policy: HostOriginPolicy,
    authenticator: Authenticator,
    quotas: ClientQuotas,
    connections: Arc<Connections>,
    sessions: SseSessions,
    workers: WorkerPool<sse::SseCall>,
    /// Calls that run on connections' own threads.
    running_calls: AtomicUsize,
    monitor: ConnectionMonitor,
    body_memory: Arc<MemoryBudget>,
    stopping: AtomicBool,
    stop_signal: StopSignal,
    health: HealthEndpoints,
}

impl HttpState {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn metrics(&self) -> &metrics::HttpMetrics {
        &self.mcp.metrics().http
    }
}

/// What has listeners and does not serve yet.
pub struct HttpServer {
    state: Arc<HttpState>,
    listeners: Vec<(TcpListener, ListenerRole)>,
}

/// Tells a running [`HttpServer`] to stop, or who may call from here on; clones are the same server.
#[derive(Clone)]
pub struct HttpHandle {
    state: Arc<HttpState>,
}

impl HttpHandle {
    /// From here on these are all who may call: the others' tokens are none, and their sessions end.
    pub fn replace_clients(&self, clients: Vec<Client>) {
        let clients: Arc<[_]> = clients.into_iter().map(Arc::new).collect();
        clients.iter().for_each(|client| self.state.mcp.metrics().register_client(&client.name));
        self.state.quotas.replace_clients(&clients);
        self.state.authenticator.replace_clients(clients.clone());
        self.state.sessions.end_others(&|client| match clients.is_empty() {
            true => client.is_same_client(&self.state.authenticator.anonymous_client()),
            false => clients.iter().any(|known| known.is_same_client(client)),
        });
    }

    /// No new connections or calls; calls in flight may go on up to `limits.stop_timeout`; streams end. Idempotent.
    /// Returns at once; [`HttpServer::run`] returns when it is done.
    pub fn stop(&self) {
        if !self.state.stopping.swap(true, Ordering::SeqCst) {
            self.state.stop_signal.send();
        }
    }
}

impl HttpServer {
    /// Sizes the caps, which hold over both listeners, to the machine's descriptor limit. Errors: an allowed host or
    /// origin that can't be read (`InvalidInput`, its text says which and what to write), or no descriptors.
    pub fn new(config: HttpConfig, mcp: Arc<mcp::McpServer>) -> io::Result<Self> {
        let HttpConfig {
            listener,
            metrics_listener,
            limits,
            allowed_hosts,
            allowed_origins,
            clients,
            certificate,
            health,
        } = config;
        let host_policy = HostOriginPolicy::new(&allowed_hosts, &allowed_origins)?;
        let role = if health.metrics.is_some() && metrics_listener.is_none() {
            ListenerRole::McpAndMetrics
        } else {
            ListenerRole::Mcp
        };
        let mut listeners = vec![(listener, role)];
        listeners.extend(metrics_listener.map(|listener| (listener, ListenerRole::Metrics)));
        for (listener, _) in &listeners {
            listener.set_nonblocking(true)?;
        }
        let max_connections = accept::fit_to_descriptor_limit(&limits);
        let workers = WorkerPool::new(limits.max_calls, {
            let mcp = mcp.clone();
            move |job: sse::SseCall| job.run(&mcp)
        });
        if health.metrics.is_some() {
            mcp.metrics().enable();
        }
        clients.iter().for_each(|client| mcp.metrics().register_client(&client.name));
        let authenticator = Authenticator::new(clients);
        let state = HttpState {
            connections: Arc::new(Connections::new(max_connections, limits.max_connections_per_address)),
            sessions: SseSessions::new(&limits),
            quotas: ClientQuotas::new(&authenticator.clients(), &limits),
            body_memory: MemoryBudget::new(limits.max_buffered_bytes),
            stopping: AtomicBool::new(false),
            stop_signal: StopSignal::new()?,
            mcp,
            limits,
            certificate,
            host_policy,
            authenticator,
            workers,
            running_calls: AtomicUsize::new(0),
            monitor: ConnectionMonitor::default(),
            health: HealthEndpoints::new(health),
        };
        Ok(Self { state: Arc::new(state), listeners })
    }

    /// The handle on it while it runs.
    pub fn handle(&self) -> HttpHandle {
        HttpHandle { state: self.state.clone() }
    }

    /// Serves until stopped; returns when the last connection's work is done or the stop limit is over.
    pub fn run(self) {
        let Self { state, listeners } = self;
        let monitor_thread = thread::Builder::new().name("watch".into()).spawn({
            let state = state.clone();
            move || state.monitor.run(state.limits.sse_keepalive, || state.sessions.keep_alive())
        });
        if let Err(e) = &monitor_thread {
            log::warn!("no thread to watch over streams: quiet ones may be ended by proxies: {e}");
        }
        thread::scope(|scope| {
            let mut listeners = listeners.iter();
            let first = listeners.next();
            for (listener, role) in listeners {
                let accept = || accept::accept_all(&state, listener, *role);
                if let Err(e) = thread::Builder::new().name("accept".into()).spawn_scoped(scope, accept) {
                    log::error!("nobody is served at {:?}: no thread: {e}", listener.local_addr());
                }
            }
            if let Some((listener, role)) = first {
                accept::accept_all(&state, listener, *role);
            }
        });
        drop(listeners);

        let deadline = Deadline::from_now(state.limits.stop_timeout);
        // Ending the reads looks just like clients that go away.
        state.monitor.stop_cancelling();
        state.connections.end_reads();
        state.workers.stop(&deadline);
        state.connections.wait_for_requests(&deadline);
        // Calls that are still at work end now, and say what is known of their outcome.
        state.monitor.cancel_all_for_shutdown();
        state.sessions.cancel_all_for_shutdown();
        let last = Deadline::from_now(SHUTDOWN_GRACE);
        let cut_off = state.workers.stop(&last);
        state.connections.wait_for_requests(&last);
        state.sessions.end_all();
        let left = state.connections.wait_for_all(&Deadline::from_now(SHUTDOWN_GRACE));
        if cut_off + left > 0 {
            log::warn!("stopped with {cut_off} calls and {left} connections still at work");
        }
        state.monitor.close();
        if let Ok(keeper) = monitor_thread {
            let _ = keeper.join();
        }
    }
}
