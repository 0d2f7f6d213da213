//! The HTTP front: a listener of our own that a stranger's bytes can't stop, slow down or fill.
//!
//! # The way of a request
//! ```text
//! accept ── a permit, a thread ──▶ connection ── head ▶ guard ▶ auth ▶ routes ▶ body ──▶ sse ──▶ mcp
//!   admission           (greeting)   wire, channel (tls)                                  workers
//! ```
//! Every bound is one of [`Limits`]. Requests, answers and statuses are tiny_http's types and its writer makes the
//! bytes of an answer's head; its `Server` is not used, because a single request can abort it, and its memory, threads
//! and waits have no bound.
//!
//! # The end
//! [`Handle::stop`] ends the accept loops. Then connections that wait for a request end, calls in flight get
//! `stop_timeout` to finish and their answers still go out, those that don't are given up and say so, the event streams end, and [`Server::run`] returns.

mod accept;
mod admission;
mod attempts;
mod auth;
pub(crate) mod body;
mod budget;
mod certificate;
pub(crate) mod channel;
mod connection;
mod events;
mod greeting;
pub(crate) mod guard;
pub(crate) mod head;
mod probes;
mod quota;
mod reply;
mod routes;
mod session;
mod sse;
mod streamable;
mod throttle;
mod tls;
mod watch;
pub(crate) mod wire;

use crate::deadline::Deadline;
use crate::mcp;
use crate::metrics;
use crate::settings::{Client, Limits};
use crate::workers::{STACK, Workers};
use accept::Bell;
pub use accept::listen;
use admission::Connections;
use auth::Auth;
use budget::Budget;
pub use certificate::Identity;
use guard::Guard;
pub use probes::Probes;
use probes::Watched;
use quota::Quotas;
use routes::Port;
use sse::Sessions;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use watch::Watch;

/// What is given up gets this long to say so, and then the streams and connections as long to end: with the default
/// `stop_timeout` that stays below the ten seconds after which Docker kills.
const LAST_END: Duration = Duration::from_millis(500);

/// What the front is started with.
pub struct Config {
    /// Where clients call.
    pub listener: TcpListener,
    /// Where those ask who watch the server, if not there too: what of `probes` is counted is then served here alone.
    pub watch: Option<TcpListener>,
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
    pub identity: Option<Identity>,
    /// What is known of the clusters.
    pub probes: Probes,
}

/// What every part of a running front shares.
struct Front {
    mcp: Arc<mcp::Server>,
    limits: Limits,
    identity: Option<Identity>,
    guard: Guard,
    auth: Auth,
    quotas: Quotas,
    connections: Arc<Connections>,
    sessions: Sessions,
    workers: Workers<sse::Job>,
    /// Calls that run on connections' own threads.
    calls: AtomicUsize,
    watch: Watch,
    bodies: Arc<Budget>,
    stopping: AtomicBool,
    bell: Bell,
    watched: Watched,
}

impl Front {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn counts(&self) -> &metrics::Front {
        &self.mcp.metrics().front
    }
}

/// What has listeners and does not serve yet.
pub struct Server {
    front: Arc<Front>,
    listeners: Vec<(TcpListener, Port)>,
}

/// Tells a running [`Server`] to stop, or who may call from here on; clones are the same server.
#[derive(Clone)]
pub struct Handle {
    front: Arc<Front>,
}

impl Handle {
    /// From here on these are all who may call: the others' tokens are none, and their sessions end.
    pub fn replace_clients(&self, clients: Vec<Client>) {
        let clients: Arc<[_]> = clients.into_iter().map(Arc::new).collect();
        clients.iter().for_each(|client| self.front.mcp.metrics().know(&client.name));
        self.front.quotas.replace(&clients);
        self.front.auth.replace(clients.clone());
        self.front.sessions.end_unless(&|client| match clients.is_empty() {
            true => client.is(&self.front.auth.anyone()),
            false => clients.iter().any(|known| known.is(client)),
        });
    }

    /// No new connections or calls; calls in flight may go on up to `limits.stop_timeout`; streams end. Idempotent.
    /// Returns at once; [`Server::run`] returns when it is done.
    pub fn stop(&self) {
        if !self.front.stopping.swap(true, Ordering::SeqCst) {
            self.front.bell.ring();
        }
    }
}

impl Server {
    /// Sizes the caps, which hold over both listeners, to the machine's descriptor limit. Errors: an allowed host or
    /// origin that can't be read (`InvalidInput`, its text says which and what to write), or no descriptors.
    pub fn new(config: Config, mcp: Arc<mcp::Server>) -> io::Result<Self> {
        let Config { listener, watch, limits, allowed_hosts, allowed_origins, clients, identity, probes } = config;
        let guard = Guard::new(&allowed_hosts, &allowed_origins)?;
        let port = if probes.write.is_some() && watch.is_none() { Port::All } else { Port::Calls };
        let mut listeners = vec![(listener, port)];
        listeners.extend(watch.map(|watch| (watch, Port::Watch)));
        for (listener, _) in &listeners {
            listener.set_nonblocking(true)?;
        }
        let max_connections = accept::size_to_descriptors(&limits);
        let workers = Workers::new(limits.max_calls, {
            let mcp = mcp.clone();
            move |job: sse::Job| job.run(&mcp)
        });
        if probes.write.is_some() {
            mcp.metrics().switch_on();
        }
        clients.iter().for_each(|client| mcp.metrics().know(&client.name));
        let auth = Auth::new(clients);
        let front = Front {
            connections: Arc::new(Connections::new(max_connections, limits.max_connections_per_address)),
            sessions: Sessions::new(&limits),
            quotas: Quotas::new(&auth.clients(), &limits),
            bodies: Budget::new(limits.max_buffered_bytes),
            stopping: AtomicBool::new(false),
            bell: Bell::new()?,
            mcp,
            limits,
            identity,
            guard,
            auth,
            workers,
            calls: AtomicUsize::new(0),
            watch: Watch::default(),
            watched: Watched::new(probes),
        };
        Ok(Self { front: Arc::new(front), listeners })
    }

    /// The handle on it while it runs.
    pub fn handle(&self) -> Handle {
        Handle { front: self.front.clone() }
    }

    /// Serves until stopped; returns when the last connection's work is done or the stop limit is over.
    pub fn run(self) {
        let Self { front, listeners } = self;
        let keeper = thread::Builder::new().name("watch".into()).spawn({
            let front = front.clone();
            move || front.watch.run(front.limits.sse_keepalive, || front.sessions.keep_alive())
        });
        if let Err(e) = &keeper {
            log::warn!("no thread to watch over streams: quiet ones may be ended by proxies: {e}");
        }
        thread::scope(|scope| {
            let mut listeners = listeners.iter();
            let first = listeners.next();
            for (listener, port) in listeners {
                let accept = || accept::accept_all(&front, listener, *port);
                if let Err(e) = thread::Builder::new().name("accept".into()).spawn_scoped(scope, accept) {
                    log::error!("nobody is served at {:?}: no thread: {e}", listener.local_addr());
                }
            }
            if let Some((listener, port)) = first {
                accept::accept_all(&front, listener, *port);
            }
        });
        drop(listeners);

        let deadline = Deadline::after(front.limits.stop_timeout);
        // Ending the reads looks just like clients that go away.
        front.watch.cancel_no_more();
        front.connections.end_reads();
        front.workers.finish(&deadline);
        front.connections.wait_for_requests(&deadline);
        // Calls that are still at work end now, and say what is known of their outcome.
        front.watch.give_up_all();
        front.sessions.give_up_calls();
        let last = Deadline::after(LAST_END);
        let cut_off = front.workers.finish(&last);
        front.connections.wait_for_requests(&last);
        front.sessions.end_all();
        let left = front.connections.wait_for_all(&Deadline::after(LAST_END));
        if cut_off + left > 0 {
            log::warn!("stopped with {cut_off} calls and {left} connections still at work");
        }
        front.watch.close();
        if let Ok(keeper) = keeper {
            let _ = keeper.join();
        }
    }
}
