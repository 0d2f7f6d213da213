//! The metrics of requests to clusters.

use super::prometheus::{OTHER_LABEL, format_seconds, write_header, write_sample};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Outcomes of a request: `ok`, the kinds of the API error, and the label of all others.
pub(crate) const OUTCOME_LABELS: [&str; 16] = [
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
    "not_permitted",
    OTHER_LABEL,
];

const UP: u8 = 1;
const DOWN: u8 = 2;

/// Counts of one cluster.
pub struct ClusterMetrics {
    outcomes: [AtomicU64; OUTCOME_LABELS.len()],
    total_micros: AtomicU64,
    shared_reads: AtomicU64,
    /// Result of the last request to each node: [`UP`], [`DOWN`], or 0 before the first one.
    node_states: Box<[AtomicU8]>,
}

/// The metrics of one cluster with their labels.
pub struct ClusterSample<'a> {
    pub cluster: &'a str,
    /// Names of the nodes, in the order of their numbers.
    pub nodes: Vec<String>,
    pub metrics: &'a ClusterMetrics,
}

impl ClusterMetrics {
    pub fn new(nodes: usize) -> Self {
        Self {
            outcomes: Default::default(),
            total_micros: AtomicU64::new(0),
            shared_reads: AtomicU64::new(0),
            node_states: (0..nodes).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// Counts a request. `failure` is the kind of its error.
    pub fn record_request(&self, failure: Option<&'static str>, duration: Duration) {
        let outcome = OUTCOME_LABELS.iter().position(|label| *label == failure.unwrap_or("ok"));
        self.outcomes[outcome.unwrap_or(OUTCOME_LABELS.len() - 1)].fetch_add(1, Relaxed);
        self.total_micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts reads that were answered by the request of another call.
    pub fn record_shared_reads(&self, count: usize) {
        self.shared_reads.fetch_add(count as u64, Relaxed);
    }

    /// Records whether the last request to a node reached it.
    pub fn record_contact(&self, node: usize, reachable: bool) {
        if let Some(state) = self.node_states.get(node) {
            state.store(if reachable { UP } else { DOWN }, Relaxed);
        }
    }

    /// Writes the metrics of all clusters.
    pub fn write(out: &mut String, samples: &[ClusterSample<'_>]) {
        let name = "proxmox_mcp_api_requests_total";
        write_header(out, name, "counter", "Requests to Proxmox by cluster and outcome.");
        for sample in samples {
            for (outcome, count) in OUTCOME_LABELS.iter().zip(&sample.metrics.outcomes) {
                if let count @ 1.. = count.load(Relaxed) {
                    write_sample(out, name, &[("cluster", sample.cluster), ("outcome", outcome)], count);
                }
            }
        }
        let name = "proxmox_mcp_api_seconds_total";
        write_header(out, name, "counter", "Time spent waiting for Proxmox. Parallel requests count separately.");
        for sample in samples {
            let seconds = format_seconds(sample.metrics.total_micros.load(Relaxed));
            write_sample(out, name, &[("cluster", sample.cluster)], seconds);
        }
        let name = "proxmox_mcp_api_shared_reads_total";
        write_header(out, name, "counter", "Reads answered by the request of another call, by cluster.");
        for sample in samples {
            write_sample(out, name, &[("cluster", sample.cluster)], sample.metrics.shared_reads.load(Relaxed));
        }
        let name = "proxmox_mcp_node_up";
        write_header(
            out,
            name,
            "gauge",
            "1 if the node answered the last request to it, else 0. Absent before the first request.",
        );
        for sample in samples {
            for (node, state) in sample.nodes.iter().zip(&sample.metrics.node_states) {
                if let state @ (UP | DOWN) = state.load(Relaxed) {
                    write_sample(out, name, &[("cluster", sample.cluster), ("node", node)], u8::from(state == UP));
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
        let metrics = ClusterMetrics::new(3);
        metrics.record_request(None, Duration::from_millis(1500));
        metrics.record_request(Some("timeout"), Duration::from_secs(1));
        metrics.record_request(Some("new"), Duration::ZERO);
        metrics.record_shared_reads(31);
        metrics.record_contact(0, true);
        metrics.record_contact(1, true);
        metrics.record_contact(1, false);
        metrics.record_contact(9, true);
        let mut out = String::new();
        let nodes = ["a:1", "b:1", "c:1"].map(String::from).to_vec();
        ClusterMetrics::write(&mut out, &[ClusterSample { cluster: "prod", nodes, metrics: &metrics }]);
        for line in [
            r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="ok"} 1"#,
            r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="timeout"} 1"#,
            r#"proxmox_mcp_api_requests_total{cluster="prod",outcome="other"} 1"#,
            r#"proxmox_mcp_api_seconds_total{cluster="prod"} 2.5"#,
            r#"proxmox_mcp_api_shared_reads_total{cluster="prod"} 31"#,
            r#"proxmox_mcp_node_up{cluster="prod",node="a:1"} 1"#,
            r#"proxmox_mcp_node_up{cluster="prod",node="b:1"} 0"#,
        ] {
            assert!(out.lines().any(|l| l == line), "{line}\n{out}");
        }
        assert!(!out.contains("c:1"));
    }
}
