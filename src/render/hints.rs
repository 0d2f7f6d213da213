//! Sentences that explain a failure with facts of the cluster.

use super::quoted::push_value;
use crate::base::shorten::join_names;
use crate::pve::guests::{FindGuestError, Guest};

/// Returns a value of the cluster, in quotes unless it is one plain word.
fn show_value(value: &str) -> String {
    let mut text = String::new();
    push_value(&mut text, value);
    text
}

pub(crate) fn describe_privileges(acl_path: &str, privileges: &[&str]) -> String {
    match privileges {
        [] => format!("The token has no privilege on {acl_path}"),
        names => format!("On {acl_path} the token has {}", names.join(", ")),
    }
}

pub(crate) fn describe_node_status(node: &str, status: &str) -> String {
    format!("The cluster says that {} is {}", show_value(node), show_value(status))
}

/// Describes the nodes by name and status, with the name that the caller may mean.
pub(crate) fn describe_nodes(nodes: &[(&str, &str)], suggestion: Option<&str>) -> String {
    let nodes: Vec<String> =
        nodes.iter().map(|(name, status)| format!("{} ({})", show_value(name), show_value(status))).collect();
    let suggestion = suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
    format!("The cluster's nodes are {}{suggestion}", join_names(&nodes))
}

pub(crate) fn describe_moving_guest(query: &str, node: &str) -> String {
    format!(
        "The list of guests still says that {query} is on {}: it is moving to another node, or was just removed",
        show_value(node)
    )
}

pub(crate) fn describe_guest_location(query: &str, guest: &Guest) -> String {
    match guest.node.as_str() {
        "" => format!("{query} is {}, on an unknown node", guest.id()),
        node => format!("{query} is {} on {}", guest.id(), show_value(node)),
    }
}

/// Describes the privileges that the description of the API names.
pub(crate) fn describe_requirement(privileges: &str) -> String {
    format!("The operation needs {privileges}")
}

/// Describes the entries that a list has.
pub(crate) fn describe_entries(list: &str, entries: &[String], has_more: bool) -> String {
    if entries.is_empty() {
        return format!("GET {list} lists nothing that the API token sees");
    }
    let entries: Vec<String> = entries.iter().map(|entry| show_value(entry)).collect();
    format!("GET {list} lists {}{}", join_names(&entries), if has_more { " and more" } else { "" })
}

/// Returns the error as a sentence, without its hint.
pub(crate) fn describe_missing_guest(error: &FindGuestError) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
