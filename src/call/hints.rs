//! What is added to a failure: what the cluster itself says that helps to mend it, asked for after the fact.

use crate::base::cancel::CancelToken;
use crate::base::hint::render_error;
use crate::base::suggest::suggest;
use crate::call::resolve_path;
use crate::call::state::ToolCall;
use crate::pve::Method;
use crate::pve::client::cluster::Cluster;
use crate::pve::error::PveError;
use crate::pve::guests;
use crate::pve::knowledge::messages::Meaning;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use serde_json::Value;

/// Privileges that are named.
const MAX_PRIVILEGES: usize = 40;

/// Whether a call failed because what it is about may be on another node, or of another kind.
pub(crate) fn is_wrong_node(error: &PveError) -> bool {
    matches!(error.meaning(), Meaning::MissingGuestConfig) || concerns_node(error)
}

fn concerns_node(error: &PveError) -> bool {
    matches!(error.meaning(), Meaning::UnknownNode | Meaning::NodeUnreachable | Meaning::NodeLostOrUnknown)
}

/// A sentence with a space in front, or nothing.
pub(crate) fn explain_failure(
    call: ToolCall<'_>,
    cluster: &Cluster,
    path: &ApiPath,
    error: &PveError,
    cancel: &CancelToken,
) -> String {
    let segments: Vec<_> = path.segments().collect();
    let node = segments.get(1).filter(|_| segments.first().is_some_and(|s| s == "nodes"));
    let text = match error {
        PveError::Forbidden { missing_privilege: Some(missing), .. } if !missing.acl_path.is_empty() => {
            explain_privileges(call, cluster, &missing.acl_path, cancel)
        }
        _ if concerns_node(error) => node.and_then(|node| explain_nodes(call, cluster, node, cancel)),
        _ if error.meaning() == Meaning::MissingGuestConfig
            && segments.get(2).is_some_and(|s| s == "qemu" || s == "lxc") =>
        {
            segments.get(3).and_then(|guest| explain_guest_location(call, cluster, guest, cancel))
        }
        _ => None,
    };
    text.map(|text| format!(". {text}")).unwrap_or_default()
}

/// What the token may do on a path.
fn explain_privileges(call: ToolCall<'_>, cluster: &Cluster, on: &str, cancel: &CancelToken) -> Option<String> {
    let mut params = ApiParams::new();
    params.push("path", on);
    let path = ApiPath::from_static("/access/permissions");
    let answer =
        call.get_for_lookup(cluster, &path, &params, || cluster.call(Method::Get, &path, &params, cancel)).ok()?;
    let rights: Value = serde_json::from_str(answer.data()).ok()?;
    let mut names: Vec<&str> = rights.get(on)?.as_object()?.keys().map(String::as_str).collect();
    names.sort();
    names.truncate(MAX_PRIVILEGES);
    Some(match names.as_slice() {
        [] => format!("The token has no privilege on {on}"),
        names => format!("On {on} the token has {}", names.join(", ")),
    })
}

/// Which nodes there are, and which is meant.
fn explain_nodes(call: ToolCall<'_>, cluster: &Cluster, node: &str, cancel: &CancelToken) -> Option<String> {
    let nodes = resolve_path::fetch_nodes(call, cluster, cancel).ok()?;
    if let Some((name, status)) = nodes.iter().find(|(name, _)| name == node) {
        return Some(format!("The cluster says that {name} is {status}"));
    }
    let named: Vec<String> = nodes.iter().map(|(name, status)| format!("{name} ({status})")).collect();
    let meant = suggest(node, nodes.iter().map(|(name, _)| name.as_str()));
    let meant = meant.map(|m| format!(": did you mean `{m}`?")).unwrap_or_default();
    (!named.is_empty()).then(|| format!("The cluster's nodes are {}{meant}", named.join(", ")))
}

/// Where a guest is, or which are like it.
fn explain_guest_location(call: ToolCall<'_>, cluster: &Cluster, guest: &str, cancel: &CancelToken) -> Option<String> {
    let (path, params) = (ApiPath::from_static("/cluster/resources"), ApiParams::new());
    let guests = call.get_for_lookup(cluster, &path, &params, || guests::list_guests(cluster, cancel)).ok()?;
    Some(match guests::find_guest(&guests, guest) {
        Ok(found) => format!("{guest} is {}/{} on {}", found.kind.as_str(), found.vmid, found.node),
        Err(miss) => {
            let mut text = render_error(&miss);
            // As it follows a sentence.
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            text
        }
    })
}
