//! What the HTTP front counts: connections, requests, refusals, bytes.

use super::prometheus::{write_gauge, write_header, write_sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Routes that are told apart, and one for what none of them serves.
const MAX_ROUTES: usize = 12;

/// Why a connection or a request was refused before anything was done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// `--max-connections`.
    Connections,
    /// `--max-connections-per-address`.
    ConnectionsPerAddress,
    /// The system gave no thread.
    Threads,
    /// The Host header.
    Host,
    /// The Origin header.
    Origin,
    /// No client's token, or a wrong one.
    Token,
    /// Too many wrong tokens.
    WrongTokens,
    /// A head or a body that can't be read, is too large or too slow.
    BadRequest,
    /// `--max-buffered-bytes`.
    BufferedBytes,
    /// `--max-sessions`.
    Sessions,
}

/// Their names, in their order.
const REFUSAL_LABELS: [&str; 10] = [
    "connections",
    "connections_of_address",
    "threads",
    "host",
    "origin",
    "token",
    "wrong_tokens",
    "bad_request",
    "buffered_bytes",
    "sessions",
];

/// The counts.
#[derive(Default)]
pub struct HttpMetrics {
    /// Connections that were let in.
    connections: AtomicU64,
    refusals: [AtomicU64; REFUSAL_LABELS.len()],
    /// By route and class of status, from 1xx on.
    requests: [[AtomicU64; 5]; MAX_ROUTES],
    /// Bytes of clients; shared with each connection.
    pub traffic: Arc<ByteCounters>,
}

/// Bytes in and out, above TLS.
#[derive(Default)]
pub struct ByteCounters {
    received: AtomicU64,
    sent: AtomicU64,
}

impl ByteCounters {
    /// Counts bytes that came.
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes that went.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }
}

impl HttpMetrics {
    /// Counts a connection in.
    pub fn count_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Counts a refusal.
    pub fn count_refusal(&self, why: RefusalReason) {
        if let Some(count) = self.refusals.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts an answer. `route` is its number; any that is too large is that of nothing that is served.
    pub fn count_response(&self, route: usize, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.requests.get(route.min(MAX_ROUTES - 1)).and_then(|route| route.get(class)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Writes it all; `routes` are their names, in the order of their numbers.
    pub fn write(&self, out: &mut String, routes: &[&str]) {
        let name = "proxmox_mcp_connections_total";
        write_header(out, name, "counter", "Connections that were let in.");
        write_sample(out, name, &[], self.connections.load(Relaxed));
        let name = "proxmox_mcp_refused_total";
        write_header(out, name, "counter", "Connections and requests refused, by reason.");
        for (why, count) in REFUSAL_LABELS.iter().zip(&self.refusals) {
            write_sample(out, name, &[("reason", why)], count.load(Relaxed));
        }
        let name = "proxmox_mcp_requests_total";
        write_header(out, name, "counter", "HTTP requests by route and class of status.");
        for (number, classes) in self.requests.iter().enumerate() {
            let route = routes.get(number).unwrap_or(&super::OTHER_LABEL);
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

    /// Writes how many connections and sessions are open.
    pub fn write_gauges(out: &mut String, connections: usize, sessions: usize) {
        write_gauge(
            out,
            "proxmox_mcp_connections_open",
            "Open connections, event streams included.",
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
        let front = HttpMetrics::default();
        front.count_refusal(RefusalReason::Connections);
        front.count_refusal(RefusalReason::Sessions);
        front.count_response(0, 200);
        front.count_response(99, 404);
        front.count_response(0, 999);
        let mut out = String::new();
        front.write(&mut out, &["/mcp"]);
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
