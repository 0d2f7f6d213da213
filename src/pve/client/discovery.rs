//! Discovery of nodes that clusters.json does not list (`discover_nodes`).
//!
//! `GET /cluster/status` lists the nodes with their addresses for each other. They are asked after the configured ones,
//! at the same port, and their certificates are verified in the same way, against the address.

use crate::base::json_scan::{unquote, walk};
use crate::config::{ClusterConfig, Endpoint};
use crate::pve::client::node_health::NodeHealth;
use crate::pve::client::transport::NodeTransport;
use crate::pve::error::PveError;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Nodes change within days, so few calls suffice.
const INTERVAL: Duration = Duration::from_secs(300);

/// Rows of an answer that are read: one per node and one for the cluster.
const MAX_ROWS: usize = 256;

/// Schedule of the discovery, and the common part of the nodes' addresses.
pub(in crate::pve) struct Discovery {
    /// `None` if discovery is disabled.
    defaults: Option<EndpointDefaults>,
    /// Time of the next discovery; `None` means now.
    next_due: Mutex<Option<Instant>>,
    /// Held while nodes are added.
    update_lock: Mutex<()>,
}

struct EndpointDefaults {
    https: bool,
    port: u16,
    configured: Vec<Endpoint>,
}

/// Row of the answer.
#[derive(Default)]
struct ClusterStatusRow {
    is_node: bool,
    name: String,
    ip: Option<IpAddr>,
    online: bool,
    /// The row is about the node that answered.
    local: bool,
}

/// Failure of a discovery.
#[derive(Debug, Error)]
pub(in crate::pve) enum DiscoveryError {
    #[error(transparent)]
    Call(#[from] PveError),
    #[error("unexpected answer to GET /cluster/status")]
    UnexpectedAnswer,
}

impl Discovery {
    /// Longest time that a call waits for the discovery.
    pub(in crate::pve) const MAX_WAIT: Duration = Duration::from_secs(2);

    pub(in crate::pve) fn new(cluster: &ClusterConfig) -> Self {
        let first = cluster.endpoints.first().filter(|_| cluster.discover_nodes);
        let defaults = first.map(|first| EndpointDefaults {
            https: first.https,
            port: first.port,
            configured: cluster.endpoints.clone(),
        });
        Self { defaults, next_due: Mutex::default(), update_lock: Mutex::default() }
    }

    /// Returns whether the discovery is due, and schedules the next one.
    pub(in crate::pve) fn claim_if_due(&self, now: &dyn Fn() -> Instant) -> bool {
        if self.defaults.is_none() {
            return false;
        }
        let now = now();
        let mut due = self.next_due.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = due.is_none_or(|due| due <= now);
        if is_due {
            *due = Some(now + INTERVAL);
        }
        is_due
    }

    /// Adds the nodes that `status` lists as online, and removes discovered nodes that it does not. Returns the new ones.
    pub(in crate::pve) fn update_nodes(
        &self,
        status: &str,
        transport: &NodeTransport,
        health: &NodeHealth,
    ) -> Result<Vec<String>, DiscoveryError> {
        let Some(defaults) = &self.defaults else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        let is_complete = walk(status, &mut |_, row| {
            rows.extend(ClusterStatusRow::parse(row));
            rows.len() < MAX_ROWS
        });
        if !is_complete {
            return Err(DiscoveryError::UnexpectedAnswer);
        }
        let _guard = self.update_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut listed, mut new) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row.is_node && row.online) {
            let Some(endpoint) = row.ip.and_then(|ip| defaults.endpoint_at(ip)) else { continue };
            let label = endpoint.to_string();
            let known = (0..transport.node_count()).any(|node| transport.node_label(node) == label);
            if !known && !row.local && !defaults.has_node_named(&row.name) && transport.add_node(&endpoint) {
                new.push(label.clone());
            }
            listed.push(label);
        }
        let is_listed = |node| listed.iter().any(|label| label == transport.node_label(node));
        health.set_nodes(transport.node_count(), defaults.configured.len(), &is_listed);
        Ok(new)
    }
}

impl EndpointDefaults {
    /// Returns the endpoint of a node with this address, if it may be asked.
    fn endpoint_at(&self, ip: IpAddr) -> Option<Endpoint> {
        // Without TLS the token must not leave this machine.
        let is_allowed = (self.https || ip.is_loopback()) && !ip.is_unspecified() && !ip.is_multicast();
        is_allowed.then(|| Endpoint { https: self.https, host: ip.to_string(), port: self.port })
    }

    /// Returns whether clusters.json lists a node of this name, as `pve1` or as `pve1.example`.
    fn has_node_named(&self, node: &str) -> bool {
        self.configured.iter().any(|endpoint| {
            let host = &endpoint.host;
            host.parse::<IpAddr>().is_err()
                && host.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(node))
        })
    }
}

impl ClusterStatusRow {
    fn parse(row: &str) -> Option<Self> {
        let mut parsed = ClusterStatusRow::default();
        // Numbers may come as strings.
        let is_true = |value: &str| unquote(value) == "1" || value == "true";
        let is_row = walk(row, &mut |key, value| {
            match unquote(key).as_ref() {
                "type" => parsed.is_node = unquote(value) == "node",
                "name" => parsed.name = unquote(value).into_owned(),
                "ip" => parsed.ip = unquote(value).parse().ok(),
                "online" => parsed.online = is_true(value),
                "local" => parsed.local = is_true(value),
                _ => {}
            }
            true
        });
        is_row.then_some(parsed)
    }
}
