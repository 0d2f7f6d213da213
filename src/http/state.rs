//! The state that all parts of a running server share.

use super::admission::{AdmissionError, Connections};
use super::approval_endpoints::ApprovalEndpoints;
use super::auth::Authenticator;
use super::certificate::ServerCertificate;
use super::guard::HostOriginPolicy;
use super::log_throttle::LogThrottle;
use super::monitor::ConnectionMonitor;
use super::posted_calls::PostedCalls;
use super::quota::ClientQuotas;
use super::readiness::HealthEndpoints;
use super::sse_sessions::{SseCall, SseSessions};
use super::stop_signal::StopSignal;
use crate::base::heartbeat::Heartbeat;
use crate::base::memory::{CallMemory, MemoryBudget};
use crate::base::workers::WorkerPool;
use crate::config::{Client, Limits};
use crate::mcp::McpServer;
use crate::metrics::{HttpMetrics, RefusalReason};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub struct HttpState {
    pub mcp: Arc<McpServer>,
    pub limits: Limits,
    pub certificate: Option<ServerCertificate>,
    pub host_policy: HostOriginPolicy,
    /// Warnings of connections with TLS on a plain port, or the reverse.
    pub scheme_warnings: LogThrottle,
    /// Warnings of connections beyond a limit.
    pub connection_warnings: LogThrottle,
    pub authenticator: Authenticator,
    pub quotas: ClientQuotas,
    pub connections: Arc<Connections>,
    pub sessions: SseSessions,
    pub workers: WorkerPool<SseCall>,
    /// Number of calls that run on connection threads.
    pub running_calls: AtomicUsize,
    pub posted_calls: PostedCalls,
    pub monitor: ConnectionMonitor,
    /// The memory of requests and of the answers of nodes.
    pub memory: Arc<MemoryBudget>,
    pub stopping: AtomicBool,
    pub stop_signal: StopSignal,
    /// Progress of the accept loops, one of each listener.
    pub accept_heartbeats: Box<[Heartbeat]>,
    pub health: HealthEndpoints,
    /// `None` for a server without approvals.
    pub approvals: Option<ApprovalEndpoints>,
    /// Paths of the routes, in the order in which the metrics count them.
    pub route_paths: &'static [&'static str],
}

impl HttpState {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Opens the account of a request's memory.
    pub fn open_memory(&self, client: &Client) -> CallMemory {
        match client.has_token() {
            true => self.memory.open_shared(&client.name),
            false => self.memory.open_whole(&client.name),
        }
    }

    /// Counts and logs a connection that a limit rejects.
    pub fn record_refused_connection(&self, peer: SocketAddr, error: AdmissionError) {
        self.metrics().count_refusal(match error {
            AdmissionError::ServerFull | AdmissionError::ShareUsed => RefusalReason::Connections,
            AdmissionError::AddressFull => RefusalReason::ConnectionsPerAddress,
        });
        self.connection_warnings.warn(format_args!("refused a connection from {peer}: {error}"));
    }

    pub fn metrics(&self) -> &HttpMetrics {
        &self.mcp.metrics().http
    }
}
