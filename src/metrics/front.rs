//! What the HTTP front counts: connections, requests, refusals, bytes.

use super::text::{gauge, head, sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Routes that are told apart, and one for what none of them serves.
const ROUTES: usize = 12;

/// Why a connection or a request was refused before anything was done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `--max-connections`.
    Connections,
    /// `--max-connections-per-address`.
    Address,
    /// The system gave no thread.
    Thread,
    /// The Host header.
    Host,
    /// The Origin header.
    Origin,
    /// No client's token, or a wrong one.
    Token,
    /// Too many wrong tokens.
    Attempts,
    /// A head or a body that can't be read, is too large or too slow.
    Request,
    /// `--max-buffered-bytes`.
    Memory,
    /// `--max-sessions`.
    Sessions,
}

/// Their names, in their order.
const REFUSALS: [&str; 10] = [
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
pub struct Front {
    /// Connections that were let in.
    opened: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    /// By route and class of status, from 1xx on.
    requests: [[AtomicU64; 5]; ROUTES],
    /// Bytes of clients; shared with each connection.
    pub traffic: Arc<Traffic>,
}

/// Bytes in and out, above TLS.
#[derive(Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Counts bytes that came.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes that went.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }
}

impl Front {
    /// Counts a connection in.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// Counts a refusal.
    pub fn refused(&self, why: Refusal) {
        if let Some(count) = self.refused.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts an answer. `route` is its number; any that is too large is that of nothing that is served.
    pub fn answered(&self, route: usize, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.requests.get(route.min(ROUTES - 1)).and_then(|route| route.get(class)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Writes it all; `routes` are their names, in the order of their numbers.
    pub fn write(&self, out: &mut String, routes: &[&str]) {
        let name = "proxmox_mcp_connections_total";
        head(out, name, "counter", "Connections that were let in.");
        sample(out, name, &[], self.opened.load(Relaxed));
        let name = "proxmox_mcp_refused_total";
        head(out, name, "counter", "Connections and requests refused, by reason.");
        for (why, count) in REFUSALS.iter().zip(&self.refused) {
            sample(out, name, &[("reason", why)], count.load(Relaxed));
        }
        let name = "proxmox_mcp_requests_total";
        head(out, name, "counter", "HTTP requests by route and class of status.");
        for (number, classes) in self.requests.iter().enumerate() {
            let route = routes.get(number).unwrap_or(&super::OTHER);
            for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(classes) {
                if let count @ 1.. = count.load(Relaxed) {
                    sample(out, name, &[("route", route), ("status", class)], count);
                }
            }
        }
        for (name, help, bytes) in [
            ("proxmox_mcp_received_bytes_total", "Bytes from clients, above TLS.", &self.traffic.received),
            ("proxmox_mcp_sent_bytes_total", "Bytes to clients, above TLS.", &self.traffic.sent),
        ] {
            head(out, name, "counter", help);
            sample(out, name, &[], bytes.load(Relaxed));
        }
    }

    /// Writes how many connections and sessions are open.
    pub fn write_open(out: &mut String, connections: usize, sessions: usize) {
        gauge(out, "proxmox_mcp_connections_open", "Open connections, event streams included.", connections as u64);
        gauge(out, "proxmox_mcp_sessions_open", "Open SSE sessions.", sessions as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_name() {
        let front = Front::default();
        front.refused(Refusal::Connections);
        front.refused(Refusal::Sessions);
        front.answered(0, 200);
        front.answered(99, 404);
        front.answered(0, 999);
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
