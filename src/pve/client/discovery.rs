//! More nodes than clusters.json names, learnt from the cluster itself (`discover_nodes`): `GET /cluster/status` lists
//! them with the addresses they have for each other. They are asked after the configured ones, at the same port, and
//! their certificates are checked in the same way, against the address.

use crate::base::json_scan::{unquote, walk};
use crate::config::{ClusterConfig, Endpoint};
use crate::pve::client::node_health::NodeHealth;
use crate::pve::client::transport::NodeTransport;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nodes come and go in days; a call every so often is nothing.
const INTERVAL: Duration = Duration::from_secs(300);

/// Rows of an answer that are looked at; beside the nodes there is one for the cluster.
const MAX_ROWS: usize = 256;

/// When a cluster's nodes are learnt, and what they have in common.
pub(in crate::pve) struct Discovery {
    /// `None` where it is not wanted.
    defaults: Option<EndpointDefaults>,
    /// When it is due next; at once where that is `None`.
    next_due: Mutex<Option<Instant>>,
    /// Held while nodes are learnt.
    update_lock: Mutex<()>,
}

struct EndpointDefaults {
    https: bool,
    port: u16,
    configured: Vec<Endpoint>,
}

/// What a row of the answer says.
#[derive(Default)]
struct ClusterStatusRow {
    is_node: bool,
    name: String,
    ip: Option<IpAddr>,
    online: bool,
    /// It is the node that answered.
    local: bool,
}

impl Discovery {
    /// The most that one answer waits for it.
    pub(in crate::pve) const MAX_WAIT: Duration = Duration::from_secs(2);

    pub(in crate::pve) fn new(cluster: &ClusterConfig) -> Self {
        let first = cluster.endpoints.first().filter(|_| cluster.discover_nodes);
        let common = first.map(|first| EndpointDefaults {
            https: first.https,
            port: first.port,
            configured: cluster.endpoints.clone(),
        });
        Self { defaults: common, next_due: Mutex::default(), update_lock: Mutex::default() }
    }

    /// Whether the caller is to ask the cluster now; for everybody else it is not due again for a while.
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

    /// Adds the nodes that `status` lists as online and takes back those learnt before that it doesn't. Gives the new
    /// ones; the error is a clause.
    pub(in crate::pve) fn update_nodes(
        &self,
        status: &str,
        wire: &NodeTransport,
        nodes: &NodeHealth,
    ) -> Result<Vec<String>, String> {
        let Some(common) = &self.defaults else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        let whole = walk(status, &mut |_, row| {
            rows.extend(ClusterStatusRow::parse(row));
            rows.len() < MAX_ROWS
        });
        if !whole {
            return Err("the answer to GET /cluster/status is not as Proxmox gives it".into());
        }
        let _learning = self.update_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut listed, mut new) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row.is_node && row.online) {
            let Some(endpoint) = row.ip.and_then(|ip| common.endpoint_at(ip)) else { continue };
            let shown = endpoint.to_string();
            let known = (0..wire.node_count()).any(|node| wire.node_label(node) == shown);
            if !known && !row.local && !common.has_node_named(&row.name) && wire.add_node(&endpoint) {
                new.push(shown.clone());
            }
            listed.push(shown);
        }
        let is_listed = |node| listed.iter().any(|shown| shown == wire.node_label(node));
        nodes.set_nodes(wire.node_count(), common.configured.len(), &is_listed);
        Ok(new)
    }
}

impl EndpointDefaults {
    /// Where a node listens that has this address; `None` where it can't be asked in the way of the others.
    fn endpoint_at(&self, ip: IpAddr) -> Option<Endpoint> {
        // Without TLS the token goes nowhere but to this machine, whatever an answer says.
        let fine = (self.https || ip.is_loopback()) && !ip.is_unspecified() && !ip.is_multicast();
        fine.then(|| Endpoint { https: self.https, host: ip.to_string(), port: self.port })
    }

    /// Whether clusters.json has a node of this name: `pve1` stands there as `pve1` or as `pve1.example`.
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
        let mut read = ClusterStatusRow::default();
        // Numbers may come as strings.
        let yes = |value: &str| unquote(value) == "1" || value == "true";
        let is_row = walk(row, &mut |key, value| {
            match unquote(key).as_ref() {
                "type" => read.is_node = unquote(value) == "node",
                "name" => read.name = unquote(value).into_owned(),
                "ip" => read.ip = unquote(value).parse().ok(),
                "online" => read.online = yes(value),
                "local" => read.local = yes(value),
                _ => {}
            }
            true
        });
        is_row.then_some(read)
    }
}
