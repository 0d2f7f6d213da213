//! Sentences that explain a failure with facts of the cluster.

use crate::base::shorten::join_names;
use crate::pve::guests::{FindGuestError, Guest};

pub(crate) fn describe_privileges(acl_path: &str, privileges: &[&str]) -> String {
    match privileges {
        [] => format!("The token has no privilege on {acl_path}"),
        names => format!("On {acl_path} the token has {}", names.join(", ")),
    }
}

pub(crate) fn describe_node_status(node: &str, status: &str) -> String {
    format!("The cluster says that {node} is {status}")
}

/// Describes the nodes by name and status, with the name that the caller may mean.
pub(crate) fn describe_nodes(nodes: &[(&str, &str)], suggestion: Option<&str>) -> String {
    let nodes: Vec<String> = nodes.iter().map(|(name, status)| format!("{name} ({status})")).collect();
    let suggestion = suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
    format!("The cluster's nodes are {}{suggestion}", join_names(&nodes))
}

pub(crate) fn describe_moving_guest(query: &str, node: &str) -> String {
    format!(
        "The list of guests still says that {query} is on {node}: it is moving to another node, or was just removed"
    )
}

pub(crate) fn describe_guest_location(query: &str, guest: &Guest) -> String {
    match guest.node.as_str() {
        "" => format!("{query} is {}, on an unknown node", guest.id()),
        node => format!("{query} is {} on {node}", guest.id()),
    }
}

/// Returns the error as a sentence, without its hint.
pub(crate) fn describe_missing_guest(error: &FindGuestError) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
