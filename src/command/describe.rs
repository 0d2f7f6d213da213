//! Descriptions of clusters and clients for the operator.

use proxmox_mcp::config::{Client, ClusterConfig};
use std::fmt::Write;

/// Returns the addresses of a cluster's nodes.
pub fn nodes(cluster: &ClusterConfig) -> String {
    cluster.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the identifier of a cluster's API token as Proxmox writes it: `user@realm!name`.
pub fn token_id(cluster: &ClusterConfig) -> String {
    format!("{}!{}", cluster.user, cluster.token_id)
}

/// Returns the names of clients with their permissions.
pub fn clients(clients: &[Client]) -> String {
    let mut text = String::new();
    for client in clients {
        let Client { name, permissions, clusters, .. } = client;
        let _ = write!(text, "{}{name} ({permissions}", if text.is_empty() { "" } else { ", " });
        if let Some(clusters) = clusters {
            let _ = write!(text, " on {}", clusters.join(" and "));
        }
        text.push(')');
    }
    text
}
