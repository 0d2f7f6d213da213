//! The server itself: configuration, start, run and shutdown.

use super::accept;
use super::admission::Connections;
use super::auth::{Authenticator, PROXY_CURE};
use super::certificate::ServerCertificate;
use super::descriptor_limit::fit_to_descriptor_limit;
use super::guard::{AllowListError, HostOriginPolicy};
use super::listener_role::ListenerRole;
use super::log_throttle::LogThrottle;
use super::monitor::ConnectionMonitor;
use super::quota::ClientQuotas;
use super::readiness::{HealthEndpoints, HealthSources};
use super::routes;
use super::sse_sessions::{SseCall, SseSessions};
use super::state::HttpState;
use super::stop_signal::StopSignal;
use crate::base::deadline::Deadline;
use crate::base::memory::MemoryBudget;
use crate::base::workers::WorkerPool;
use crate::config::{Client, Limits};
use crate::mcp::McpServer;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// Time for cancelled calls to report, and again for streams and connections to end. With the default `stop_timeout`
/// the sum stays below the ten seconds after which Docker kills a container.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Configuration of an [`HttpServer`].
pub struct HttpConfig {
    /// Listener for MCP clients.
    pub listener: TcpListener,
    /// Separate listener for health and metrics. If set, `/metrics` is served only there.
    pub metrics_listener: Option<TcpListener>,
    pub limits: Limits,
    /// `MCP_ALLOWED_HOSTS`, in addition to the loopback names and the connection's own address. An entry is `host` or
    /// `host:*` (any port), `host:port` (80 and 443 also match a host without a port) or `*`.
    pub allowed_hosts: Vec<String>,
    /// `MCP_ALLOWED_ORIGINS`, in addition to the origins of allowed hosts. An entry is an origin of any scheme
    /// (`https://host[:port]`, `app://name`) or `*`. Pages of these origins may read responses (CORS).
    pub allowed_origins: Vec<String>,
    /// Clients with their tokens. If empty, every caller that reaches the listener without a proxy is accepted.
    pub clients: Vec<Client>,
    /// Accepts requests that came through a proxy too if `clients` is empty.
    pub insecure_no_auth: bool,
    /// Certificate for TLS, or `None` for plain HTTP.
    pub certificate: Option<ServerCertificate>,
    pub health: HealthSources,
}

/// Reason why a server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    AllowList(#[from] AllowListError),
    #[error("cannot serve: {0}")]
    Io(#[from] io::Error),
}

/// A server with its listeners, before it serves.
pub struct HttpServer {
    state: Arc<HttpState>,
    listeners: Vec<(TcpListener, ListenerRole)>,
}

/// Handle that controls a running [`HttpServer`]. Clones control the same server.
#[derive(Clone)]
pub struct HttpHandle {
    state: Arc<HttpState>,
}

impl HttpHandle {
    /// Replaces the set of clients. Tokens and sessions of removed clients become invalid.
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

    /// Starts the shutdown and returns at once. [`HttpServer::run`] returns when the shutdown is done. Idempotent.
    pub fn stop(&self) {
        if !self.state.stopping.swap(true, Ordering::SeqCst) {
            self.state.stop_signal.send();
        }
    }
}

impl HttpServer {
    /// Creates a server whose connection limits, shared by both listeners, fit the machine's descriptor limit.
    pub fn new(config: HttpConfig, mcp: Arc<McpServer>) -> Result<Self, StartError> {
        let HttpConfig {
            listener,
            metrics_listener,
            limits,
            allowed_hosts,
            allowed_origins,
            clients,
            insecure_no_auth,
            certificate,
            health,
        } = config;
        let host_policy = HostOriginPolicy::new(&allowed_hosts, &allowed_origins)?;
        if clients.is_empty() && !insecure_no_auth {
            if host_policy.allows_foreign_hosts() {
                log::warn!(
                    "requests for the hosts of --allowed-hosts (MCP_ALLOWED_HOSTS) are refused: there is no client \
                     token. hint: {PROXY_CURE}"
                );
            }
            if host_policy.allows_any_origin() {
                log::warn!(
                    "web pages cannot use the server: --allowed-origins (MCP_ALLOWED_ORIGINS) is * and there is no \
                     client token. hint: name the origins, or make a token with `proxmox-mcp token`"
                );
            }
        }
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
        let max_connections = fit_to_descriptor_limit(&limits);
        let workers = WorkerPool::new(limits.max_calls, {
            let mcp = mcp.clone();
            move |call: SseCall| call.run(&mcp)
        });
        if health.metrics.is_some() {
            mcp.metrics().enable();
        }
        clients.iter().for_each(|client| mcp.metrics().register_client(&client.name));
        let authenticator = Authenticator::new(clients, insecure_no_auth);
        let state = HttpState {
            connections: Arc::new(Connections::new(max_connections, limits.max_connections_per_address)),
            sessions: SseSessions::new(&limits),
            quotas: ClientQuotas::new(&authenticator.clients(), &limits),
            memory: MemoryBudget::new(limits.max_buffered_bytes),
            stopping: AtomicBool::new(false),
            stop_signal: StopSignal::new()?,
            mcp,
            limits,
            certificate,
            host_policy,
            scheme_warnings: LogThrottle::default(),
            authenticator,
            workers,
            running_calls: AtomicUsize::new(0),
            monitor: ConnectionMonitor::default(),
            health: HealthEndpoints::new(health),
            route_paths: &routes::PATHS,
        };
        Ok(Self { state: Arc::new(state), listeners })
    }

    pub fn handle(&self) -> HttpHandle {
        HttpHandle { state: self.state.clone() }
    }

    /// Serves until stopped. Returns when the last connection has ended or the shutdown's time limit is over.
    pub fn run(self) {
        let Self { state, listeners } = self;
        let monitor_thread = thread::Builder::new().name("watch".into()).spawn({
            let state = state.clone();
            move || state.monitor.run(state.limits.sse_keepalive, || state.sessions.keep_alive())
        });
        if let Err(error) = &monitor_thread {
            log::warn!("cannot start the monitor thread, proxies may end quiet streams: {error}");
        }
        thread::scope(|scope| {
            let mut listeners = listeners.iter();
            let first = listeners.next();
            for (listener, role) in listeners {
                let accept = || accept::accept_all(&state, listener, *role);
                if let Err(error) = thread::Builder::new().name("accept".into()).spawn_scoped(scope, accept) {
                    match listener.local_addr() {
                        Ok(address) => log::error!("cannot start the accept thread for {address}: {error}"),
                        Err(_) => log::error!("cannot start an accept thread: {error}"),
                    }
                }
            }
            if let Some((listener, role)) = first {
                accept::accept_all(&state, listener, *role);
            }
        });
        drop(listeners);

        let deadline = Deadline::from_now(state.limits.stop_timeout);
        // Once the reads end, every client looks disconnected.
        state.monitor.stop_cancelling();
        state.connections.end_reads();
        state.workers.stop(&deadline);
        state.connections.wait_for_requests(&deadline);
        // Calls that still run are cancelled now and report what is known of their outcome.
        state.monitor.cancel_all_for_shutdown();
        state.sessions.cancel_all_for_shutdown();
        let grace = Deadline::from_now(SHUTDOWN_GRACE);
        let unfinished_calls = state.workers.stop(&grace);
        state.connections.wait_for_requests(&grace);
        state.sessions.end_all();
        let open_connections = state.connections.wait_for_all(&Deadline::from_now(SHUTDOWN_GRACE));
        if unfinished_calls + open_connections > 0 {
            log::warn!("stopped with {unfinished_calls} unfinished calls and {open_connections} open connections");
        }
        state.monitor.close();
        if let Ok(thread) = monitor_thread {
            let _ = thread.join();
        }
    }
}
