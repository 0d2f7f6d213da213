//! Descriptions of clusters and clients for the operator.

use proxmox_mcp::config::{Client, ClusterConfig};
use proxmox_mcp::policy::{ConfirmationPolicy, OperationPattern};
use proxmox_mcp::pve::client::manager::ClusterManager;
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

/// Returns the names of the clusters and clients that a reload adds, removes or changes.
pub fn changes(before: &ClusterManager, after: &ClusterManager, clients: &[Client], new_clients: &[Client]) -> String {
    let mut changes = Vec::new();
    let settings = |manager: &ClusterManager| -> Vec<ClusterConfig> {
        manager.clusters().iter().map(|cluster| cluster.settings().clone()).collect()
    };
    let (old, new) = (settings(before), settings(after));
    compare("cluster", &old, &new, |cluster| &cluster.name, |one, other| one == other, &mut changes);
    compare("client", clients, new_clients, |client| &client.name, Client::has_same_settings, &mut changes);
    let default = |manager: &ClusterManager| manager.default_cluster().map(|cluster| cluster.settings().name.clone());
    if default(before) != default(after) {
        changes.push("default cluster changed".into());
    }
    if changes.is_empty() { "unchanged".into() } else { changes.join(", ") }
}

fn compare<T>(
    kind: &str,
    before: &[T],
    after: &[T],
    name: impl Fn(&T) -> &String,
    is_same: impl Fn(&T, &T) -> bool,
    changes: &mut Vec<String>,
) {
    let find = |entries: &[T], wanted: &T| entries.iter().position(|entry| name(entry) == name(wanted));
    for new in after {
        match find(before, new) {
            None => changes.push(format!("{kind} {} added", name(new))),
            Some(at) if !is_same(&before[at], new) => changes.push(format!("{kind} {} changed", name(new))),
            Some(_) => {}
        }
    }
    for old in before.iter().filter(|old| find(after, old).is_none()) {
        changes.push(format!("{kind} {} removed", name(old)));
    }
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
