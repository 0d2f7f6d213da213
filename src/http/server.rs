//! The server itself: configuration, start, run and shutdown.

use super::accept;
use super::admission::Connections;
use super::approval_endpoints::ApprovalEndpoints;
use super::auth::{Authenticator, PROXY_CURE};
use super::call_rejection::CallRejection;
use super::certificate::ServerCertificate;
use super::descriptor_limit::fit_to_descriptor_limit;
use super::guard::{AllowListError, HostOriginPolicy};
use super::listener_role::ListenerRole;
use super::log_throttle::LogThrottle;
use super::monitor::ConnectionMonitor;
use super::posted_calls::PostedCalls;
use super::quota::ClientQuotas;
use super::readiness::{HealthEndpoints, HealthSources};
use super::routes;
use super::sse_sessions::{SseCall, SseSessions};
use super::state::HttpState;
use super::stop_signal::StopSignal;
use crate::base::deadline::Deadline;
use crate::base::heartbeat::Heartbeat;
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

/// Time for the first request of connections that were accepted shortly before a stop. Proxies repeat no change that
/// they have sent, so its loss would be a failed call.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(500);

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
    /// The calls that wait for the approval of a person.
    pub approvals: Option<ApprovalEndpoints>,
}

/// A part of a running server that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StalledPart {
    #[error("an accept loop makes no progress")]
    AcceptLoop,
    #[error("the monitor thread makes no progress")]
    Monitor,
    #[error("as many calls as may run at once make no progress")]
    Calls,
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

    /// Returns a part that hangs: a thread without progress for `thread_limit`, or all calls for `call_limit`. A server
    /// that stops has no such part. Waits for no other thread.
    pub fn find_stalled_part(&self, thread_limit: Duration, call_limit: Duration) -> Option<StalledPart> {
        let state = &self.state;
        if state.is_stopping() {
            None
        } else if state.accept_heartbeats.iter().any(|heartbeat| heartbeat.age() > thread_limit) {
            Some(StalledPart::AcceptLoop)
        } else if state.monitor.heartbeat.age() > thread_limit {
            Some(StalledPart::Monitor)
        } else {
            let stalled = state.mcp.count_stalled_calls(call_limit);
            (stalled >= state.limits.max_calls).then_some(StalledPart::Calls)
        }
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
            approvals,
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
            accept_heartbeats: listeners.iter().map(|_| Heartbeat::default()).collect(),
            mcp,
            limits,
            certificate,
            host_policy,
            scheme_warnings: LogThrottle::default(),
            connection_warnings: LogThrottle::default(),
            authenticator,
            workers,
            running_calls: AtomicUsize::new(0),
            posted_calls: PostedCalls::default(),
            monitor: ConnectionMonitor::default(),
            health: HealthEndpoints::new(health),
            approvals,
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
            move || {
                accept::restart_on_panic("the monitor thread", || {
                    state.monitor.run(state.limits.sse_keepalive, || state.sessions.keep_alive());
                });
            }
        });
        if let Err(error) = &monitor_thread {
            log::warn!("cannot start the monitor thread, proxies may end quiet streams: {error}");
        }
        thread::scope(|scope| {
            let mut listeners = listeners.iter().zip(&state.accept_heartbeats);
            let first = listeners.next();
            for ((listener, role), heartbeat) in listeners {
                let accept = || accept::accept_all(&state, listener, *role, heartbeat);
                if let Err(error) = thread::Builder::new().name("accept".into()).spawn_scoped(scope, accept) {
                    match listener.local_addr() {
                        Ok(address) => log::error!("cannot start the accept thread for {address}: {error}"),
                        Err(_) => log::error!("cannot start an accept thread: {error}"),
                    }
                }
            }
            if let Some(((listener, role), heartbeat)) = first {
                accept::accept_all(&state, listener, *role, heartbeat);
            }
        });
        drop(listeners);

        let deadline = Deadline::from_now(state.limits.stop_timeout);
        let grace = FIRST_REQUEST_GRACE.min(state.limits.stop_timeout);
        state.connections.wait_for_first_requests(&Deadline::from_now(grace));
        // Once the reads end, every client looks disconnected.
        state.monitor.stop_cancelling();
        state.connections.end_reads();
        state.workers.reject_queued({
            let mcp = state.mcp.clone();
            move |call| {
                call.reject(&mcp, &CallRejection::ServerStopping);
            }
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cancel::CancelToken;
    use crate::mcp::TransportContext;
    use crate::mcp::catalog::{Catalog, Tool, ToolEffect, ToolInput, ToolOutput};
    use crate::mcp::context::Caller;
    use crate::mcp::message::{Message, parse_message};
    use serde_json::Map;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    const LONG: Duration = Duration::from_secs(600);
    const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hang"}}"#;

    /// Returns a server of one call at once, whose tool sends a sender that releases it.
    fn new_server(calls: Sender<Sender<()>>) -> (HttpServer, Arc<McpServer>) {
        let calls = Mutex::new(calls);
        let hang = Tool {
            name: "hang",
            title: "hang",
            description: "waits without progress",
            input: ToolInput::Parameters(&[]),
            effect: ToolEffect::ReadOnly,
            meta: Map::new(),
            handler: Box::new(move |_, _| {
                let (release, released) = channel();
                calls.lock().unwrap().send(release).unwrap();
                let _ = released.recv();
                Ok(ToolOutput::text("released".into()))
            }),
        };
        let mcp = Arc::new(McpServer::new(Catalog { tools: vec![hang], ..Catalog::default() }).unwrap());
        let config = HttpConfig {
            listener: accept::listen("127.0.0.1:0".parse().unwrap()).unwrap(),
            metrics_listener: None,
            limits: Limits { max_calls: 1, ..Limits::default() },
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            clients: Vec::new(),
            insecure_no_auth: false,
            certificate: None,
            health: HealthSources { readiness: None, metrics: None },
            approvals: None,
        };
        (HttpServer::new(config, mcp.clone()).unwrap(), mcp)
    }

    #[test]
    fn threads_of_an_idle_server_show_progress_and_threads_that_hang_do_not() {
        let (server, _) = new_server(channel().0);
        let (handle, state) = (server.handle(), server.state.clone());
        let wait_for_age = |heartbeat: &Heartbeat, is_wanted: &dyn Fn(Duration) -> bool| {
            while !is_wanted(heartbeat.age()) {
                thread::yield_now();
            }
        };
        // Before the server runs, its threads are as silent as those that hang.
        let limit = Duration::from_millis(50);
        for heartbeat in [&state.accept_heartbeats[0], &state.monitor.heartbeat] {
            wait_for_age(heartbeat, &|age| age > limit);
        }
        assert_eq!(handle.find_stalled_part(limit, LONG), Some(StalledPart::AcceptLoop));
        while handle.find_stalled_part(limit, LONG) != Some(StalledPart::Monitor) {
            state.accept_heartbeats[0].beat();
        }
        assert_eq!(handle.find_stalled_part(LONG, LONG), None);
        let running = thread::spawn(|| server.run());
        for heartbeat in [&state.accept_heartbeats[0], &state.monitor.heartbeat] {
            for _ in 0..2 {
                wait_for_age(heartbeat, &|age| age > limit);
                wait_for_age(heartbeat, &|age| age < limit);
            }
        }
        handle.stop();
        running.join().unwrap();
        assert_eq!(handle.find_stalled_part(Duration::ZERO, Duration::ZERO), None, "a server that has stopped");
    }

    #[test]
    fn request_sent_before_a_stop_is_answered_and_its_connection_closed() {
        let (server, _) = new_server(channel().0);
        let address = server.listeners[0].0.local_addr().unwrap();
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The kernel queues the connection.
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(format!("{head}{body}").as_bytes()).unwrap();
        server.handle().stop();
        server.run();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Connection: close\r\n"), "{answer}");
        assert!(TcpStream::connect(address).is_err(), "the port is closed");
    }

    #[test]
    fn calls_that_hang_are_found_once_they_hold_every_place() {
        let (sender, calls) = channel();
        let (server, mcp) = new_server(sender);
        let handle = server.handle();
        thread::scope(|scope| {
            let (cancel, caller) = (CancelToken::new(), Caller::new_stdio());
            let token = cancel.clone();
            let call = scope.spawn(move || {
                let Ok(Message::Request(request)) = parse_message(CALL) else { panic!("not a request") };
                let transport = TransportContext { caller: &caller, calls: None, cancel: token, notify: &|_| () };
                mcp.handle_request(&request, request.parse_params(), &transport).is_some()
            });
            let release = calls.recv().unwrap();
            let limit = Duration::from_millis(20);
            while cancel.progress_age() <= limit {
                thread::yield_now();
            }
            assert_eq!(handle.find_stalled_part(LONG, limit), Some(StalledPart::Calls));
            cancel.child_token().record_progress();
            assert_eq!(handle.find_stalled_part(LONG, LONG), None);
            release.send(()).unwrap();
            assert!(call.join().unwrap());
        });
        assert_eq!(handle.find_stalled_part(LONG, Duration::ZERO), None);
    }
}
