//! Metrics of calls, connections, requests and clusters, in Prometheus' text format.
//!
//! Counting costs one relaxed addition. The labels are few and fixed: tools come from the catalog, clients and clusters
//! from the configuration, reasons from this program. Untrusted input never becomes a label.

mod cluster;
mod http;
mod lost_lines;
mod process;
mod prometheus;
mod server;

#[cfg(test)]
pub(crate) use cluster::OUTCOME_LABELS;
pub use cluster::{ClusterMetrics, ClusterSample};
pub use http::{ByteCounters, HttpMetrics, RefusalReason};
pub use lost_lines::{count_lost_audit_lines, count_lost_log_lines};
pub use prometheus::{write_gauge, write_header, write_label, write_sample};
pub use server::{CallOutcome, Metrics};
