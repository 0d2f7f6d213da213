//! What one cluster answered.

use super::prometheus::{format_seconds, write_header, write_sample};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a request can end, as the error of a call calls it, and the rest.
const OUTCOME_LABELS: [&str; 15] = [
    "ok",
    "connect",
    "tls",
    "timeout",
    "lost",
    "unauthorized",
    "forbidden",
    "rejected",
    "failed",
    "unreadable",
    "outcome_unknown",
    "too_large",
    "busy",
    "cancelled",
    super::OTHER_LABEL,
];

const UP: u8 = 1;
const DOWN: u8 = 2;

/// The counts of one cluster.
pub struct ClusterMetrics {
    outcomes: [AtomicU64; OUTCOME_LABELS.len()],
    total_micros: AtomicU64,
    /// Of each node whether the last one who asked it heard it; 0 where nobody has.
    node_states: Box<[AtomicU8]>,
}

impl ClusterMetrics {
    /// For a cluster of so many nodes.
    pub fn new(nodes: usize) -> Self {
        Self {
            outcomes: Default::default(),
            total_micros: AtomicU64::new(0),
            node_states: (0..nodes).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// Counts a request that took so long; `failure` is the error's kind.
    pub fn record_request(&self, failure: Option<&'static str>, took: Duration) {
        let outcome = OUTCOME_LABELS.iter().position(|name| *name == failure.unwrap_or("ok"));
        if let Some(count) = self.outcomes.get(outcome.unwrap_or(OUTCOME_LABELS.len() - 1)) {
            count.fetch_add(1, Relaxed);
        }
        self.total_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Notes whether a node was heard when it was last asked.
    pub fn record_contact(&self, node: usize, reachable: bool) {
        if let Some(state) = self.node_states.get(node) {
            state.store(if reachable { UP } else { DOWN }, Relaxed);
        }
    }

    /// Writes the counts of all clusters, each with its name and those of its nodes, in their order.
    pub fn write(out: &mut String, clusters: &[(&str, Vec<String>, &ClusterMetrics)]) {
        let name = "proxmox_mcp_api_requests_total";
        write_header(out, name, "counter", "Requests to Proxmox by cluster and outcome.");
        for (cluster, _, api) in clusters {
            for (outcome, count) in OUTCOME_LABELS.iter().zip(&api.outcomes) {
                if let count @ 1.. = count.load(Relaxed) {
                    write_sample(out, name, &[("cluster", cluster), ("outcome", outcome)], count);
                }
            }
        }
        let name = "proxmox_mcp_api_seconds_total";
        write_header(out, name, "counter", "Time spent waiting for Proxmox, of requests side by side each one's.");
        for (cluster, _, api) in clusters {
            write_sample(out, name, &[("cluster", cluster)], format_seconds(api.total_micros.load(Relaxed)));
        }
        let name = "proxmox_mcp_node_up";
        write_header(out, name, "gauge", "Whether a node was heard when it was last asked; absent until it is.");
        for (cluster, nodes, api) in clusters {
            for (node, state) in nodes.iter().zip(&api.node_states) {
                if let state @ (UP | DOWN) = state.load(Relaxed) {
                    write_sample(out, name, &[("cluster", cluster), ("node", node)], u8::from(state == UP));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_counted_by_outcome_and_its_nodes_by_their_last_contact() {
        let api = ClusterMetrics::new(3);
        api.record_request(None, Duration::from_millis(1500));
        api.record_request(Some("timeout"), Duration::from_secs(1));
        api.record_request(Some("new"), Duration::ZERO);
        api.record_contact(0, true);
        api.record_contact(1, true);
        api.record_contact(1, false);
        api.record_contact(9, true);
        let mut out = String::new();
        ClusterMetrics::write(&mut out, &[("prod", ["a:1", "b:1", "c:1"].map(String::from).to_vec(), &api)]);
        for line in [
            r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="ok"} 1"#,
            r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="timeout"} 1"#,
            r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="other"} 1"#,
            r#"proxmox_mcp_api_seconds_total{cluster="prod"} 2.5"#,
            r#"proxmox_mcp_node_up{cluster="prod",node="a:1"} 1"#,
            r#"proxmox_mcp_node_up{cluster="prod",node="b:1"} 0"#,
        ] {
            assert!(out.lines().any(|l| l == line), "{line}\n{out}");
        }
        assert!(!out.contains("c:1"));
    }
}
