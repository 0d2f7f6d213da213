//! Descriptions of clusters and clients for the operator.

use proxmox_mcp::config::{Client, ClusterConfig};
use proxmox_mcp::policy::{ClientRules, ClusterPolicy, ConfirmationPolicy, OperationPattern, Permissions};
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
    compare("cluster", &old, &new, |cluster| &cluster.name, changed_cluster_fields, &mut changes);
    compare("client", clients, new_clients, |client| &client.name, changed_client_fields, &mut changes);
    let default = |manager: &ClusterManager| manager.default_cluster().map(|cluster| cluster.settings().name.clone());
    if default(before) != default(after) {
        changes.push("default cluster changed".into());
    }
    if changes.is_empty() { "unchanged".into() } else { changes.join(", ") }
}

/// Returns the fields of clusters.json that differ, by their names there.
fn changed_cluster_fields(before: &ClusterConfig, after: &ClusterConfig) -> Vec<&'static str> {
    let ClusterConfig {
        name: _,
        endpoints,
        user,
        token_id,
        token_secret,
        tls,
        timeout,
        discover_nodes,
        is_simulated: _,
        policy,
    } = before;
    let ClusterPolicy { permissions, confirm, confirm_by, deny, allow, protect } = policy;
    let mut fields = Vec::new();
    push_differing(
        &mut fields,
        [
            ("url", *endpoints != after.endpoints),
            ("user", *user != after.user),
            ("token_id", *token_id != after.token_id),
            ("token_secret", *token_secret != after.token_secret),
            ("certificates", *tls != after.tls),
            ("timeout_seconds", *timeout != after.timeout),
            ("discover_nodes", *discover_nodes != after.discover_nodes),
        ],
    );
    push_differing(&mut fields, differing_permissions(*permissions, after.policy.permissions));
    push_differing(
        &mut fields,
        [
            ("confirm", *confirm != after.policy.confirm),
            ("confirm_by", *confirm_by != after.policy.confirm_by),
            ("deny", *deny != after.policy.deny),
            ("allow", *allow != after.policy.allow),
            ("protect", *protect != after.policy.protect),
        ],
    );
    fields
}

fn changed_client_fields(before: &Client, after: &Client) -> Vec<&'static str> {
    let Client { name: _, token_sha256: _, permissions, rules, clusters, approve, structured } = before;
    let ClientRules { confirm, confirm_by, deny, allow, protect } = rules;
    let mut fields = Vec::new();
    push_differing(&mut fields, [("token_sha256", !before.is_same_client(after))]);
    push_differing(&mut fields, differing_permissions(*permissions, after.permissions));
    push_differing(
        &mut fields,
        [
            ("confirm", *confirm != after.rules.confirm),
            ("confirm_by", *confirm_by != after.rules.confirm_by),
            ("deny", *deny != after.rules.deny),
            ("allow", *allow != after.rules.allow),
            ("protect", *protect != after.rules.protect),
            ("clusters", *clusters != after.clusters),
            ("approve", *approve != after.approve),
            ("structured", *structured != after.structured),
        ],
    );
    fields
}

fn differing_permissions(before: Permissions, after: Permissions) -> [(&'static str, bool); 2] {
    [("access", before.access != after.access), ("exec", before.exec != after.exec)]
}

fn push_differing<const N: usize>(fields: &mut Vec<&'static str>, comparisons: [(&'static str, bool); N]) {
    fields.extend(comparisons.into_iter().filter_map(|(field, differs)| differs.then_some(field)));
}

fn compare<T>(
    kind: &str,
    before: &[T],
    after: &[T],
    name: impl Fn(&T) -> &String,
    changed_fields: impl Fn(&T, &T) -> Vec<&'static str>,
    changes: &mut Vec<String>,
) {
    let find = |entries: &[T], wanted: &T| entries.iter().position(|entry| name(entry) == name(wanted));
    for new in after {
        match find(before, new) {
            None => changes.push(format!("{kind} {} added", name(new))),
            Some(at) => {
                let fields = changed_fields(&before[at], new);
                if !fields.is_empty() {
                    changes.push(format!("{kind} {} changed: {}", name(new), fields.join(" and ")));
                }
            }
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
