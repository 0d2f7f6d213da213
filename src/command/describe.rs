//! Descriptions of clusters and clients for the operator.

use proxmox_mcp::config::{Client, ClusterConfig};
use proxmox_mcp::policy::{ConfirmationPolicy, OperationPattern};
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
        if client.rules.confirm != ConfirmationPolicy::Never {
            let _ = write!(text, ", confirm {}", client.rules.confirm);
        }
        text.push(')');
    }
    text
}

/// Returns a line for each pattern of the lists, with the number of operations that it fits.
pub fn operation_rules(deny: &[OperationPattern], allow: Option<&[OperationPattern]>) -> Vec<String> {
    let lists = [("deny", deny), ("allow", allow.unwrap_or_default())];
    let mut lines: Vec<String> = lists
        .iter()
        .flat_map(|(list, patterns)| patterns.iter().map(move |pattern| (list, pattern)))
        .map(|(list, pattern)| match pattern.count_operations() {
            1 => format!("{list} {pattern}: 1 operation"),
            count => format!("{list} {pattern}: {count} operations"),
        })
        .collect();
    if allow.is_some_and(<[_]>::is_empty) {
        lines.push("allow is empty: no operation is allowed".to_owned());
    }
    lines
}
