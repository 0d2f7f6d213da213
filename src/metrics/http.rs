//! The metrics of the HTTP server: connections, requests, refusals, bytes.

use super::prometheus::{OTHER_LABEL, write_gauge, write_header, write_sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Maximum routes that are counted separately, including one for unknown paths.
const MAX_ROUTES: usize = 12;

/// Reason why a connection or a request was refused before any work was done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// `--max-connections`.
    Connections,
    /// `--max-connections-per-address`.
    ConnectionsPerAddress,
    /// The system has no thread left.
    Threads,
    /// The Host header.
    Host,
    /// The Origin header.
    Origin,
    /// A missing or wrong client token.
    Token,
    /// Too many wrong tokens.
    WrongTokens,
    /// An invalid, too large or too slow head or body.
    BadRequest,
    /// `--max-buffered-bytes`.
    BufferedBytes,
    /// `--max-sessions`.
    Sessions,
}

impl RefusalReason {
    const ALL: [Self; 10] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Threads,
        Self::Host,
        Self::Origin,
        Self::Token,
        Self::WrongTokens,
        Self::BadRequest,
        Self::BufferedBytes,
        Self::Sessions,
    ];

    /// Returns the value of the metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_of_address",
            Self::Threads => "threads",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::WrongTokens => "wrong_tokens",
            Self::BadRequest => "bad_request",
            Self::BufferedBytes => "buffered_bytes",
            Self::Sessions => "sessions",
        }
    }
}

#[derive(Default)]
pub struct HttpMetrics {
    connections: AtomicU64,
    refusals: [AtomicU64; RefusalReason::ALL.len()],
    /// Counts by route and class of status, from 1xx on.
    requests: [[AtomicU64; 5]; MAX_ROUTES],
    /// Byte counters, shared with each connection.
    pub traffic: Arc<ByteCounters>,
}

/// Bytes received and sent, measured above TLS.
#[derive(Default)]
pub struct ByteCounters {
    received: AtomicU64,
    sent: AtomicU64,
}

impl ByteCounters {
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }
}

impl HttpMetrics {
    /// Counts an accepted connection.
    pub fn count_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub fn count_refusal(&self, reason: RefusalReason) {
        self.refusals[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts a response. Any route number out of range stands for an unknown path.
    pub fn count_response(&self, route: usize, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.requests[route.min(MAX_ROUTES - 1)].get(class) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Writes the counts. `routes` are the paths in the order of their numbers.
    pub fn write(&self, out: &mut String, routes: &[&str]) {
        let name = "proxmox_mcp_connections_total";
        write_header(out, name, "counter", "Accepted connections.");
        write_sample(out, name, &[], self.connections.load(Relaxed));
        let name = "proxmox_mcp_refused_total";
        write_header(out, name, "counter", "Connections and requests refused, by reason.");
        for reason in RefusalReason::ALL {
            write_sample(out, name, &[("reason", reason.label())], self.refusals[reason as usize].load(Relaxed));
        }
        let name = "proxmox_mcp_requests_total";
        write_header(out, name, "counter", "HTTP requests by route and class of status.");
        for (number, classes) in self.requests.iter().enumerate() {
            let route = routes.get(number).unwrap_or(&OTHER_LABEL);
            for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(classes) {
                if let count @ 1.. = count.load(Relaxed) {
                    write_sample(out, name, &[("route", route), ("status", class)], count);
                }
            }
        }
        for (name, help, bytes) in [
            ("proxmox_mcp_received_bytes_total", "Bytes from clients, above TLS.", &self.traffic.received),
            ("proxmox_mcp_sent_bytes_total", "Bytes to clients, above TLS.", &self.traffic.sent),
        ] {
            write_header(out, name, "counter", help);
            write_sample(out, name, &[], bytes.load(Relaxed));
        }
    }

    /// Writes the numbers of open connections and sessions.
    pub fn write_gauges(out: &mut String, connections: usize, sessions: usize) {
        write_gauge(
            out,
            "proxmox_mcp_connections_open",
            "Open connections, including event streams.",
            connections as u64,
        );
        write_gauge(out, "proxmox_mcp_sessions_open", "Open SSE sessions.", sessions as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_name() {
        let metrics = HttpMetrics::default();
        metrics.count_refusal(RefusalReason::Connections);
        metrics.count_refusal(RefusalReason::Sessions);
        metrics.count_response(0, 200);
        metrics.count_response(99, 404);
        metrics.count_response(0, 999);
        let mut out = String::new();
        metrics.write(&mut out, &["/mcp"]);
        for line in [
            r#"proxmox_mcp_refused_total{reason="connections"} 1"#,
            r#"proxmox_mcp_refused_total{reason="sessions"} 1"#,
            r#"proxmox_mcp_refused_total{reason="token"} 0"#,
            r#"proxmox_mcp_requests_total{route="/mcp",status="2xx"} 1"#,
            r#"proxmox_mcp_requests_total{route="other",status="4xx"} 1"#,
        ] {
            assert!(out.lines().any(|l| l == line), "{line}\n{out}");
        }
    }
}
