//! What is added to a failure: what the cluster itself says that helps to mend it, asked for after the fact.

use super::desk::Visit;
use super::place;
use crate::cancel::Cancel;
use crate::pve::Method;
use crate::pve::cluster::Cluster;
use crate::pve::error::Error;
use crate::pve::guests;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use crate::suggest::suggest;
use serde_json::Value;

/// Privileges that are named.
const NAMED: usize = 40;

/// Whether a call failed because what it is about may be on another node, or of another kind.
pub(super) fn is_elsewhere(error: &Error) -> bool {
    match error {
        Error::Failed { status, said, .. } => {
            (said.starts_with("Configuration file") && said.ends_with("does not exist"))
                || said.starts_with("hostname lookup")
                || matches!(status, 595 | 596)
        }
        _ => false,
    }
}

/// A sentence with a space in front, or nothing.
pub(super) fn more(visit: Visit<'_>, cluster: &Cluster, path: &ApiPath, error: &Error, cancel: &Cancel) -> String {
    let segments: Vec<_> = path.segments().collect();
    let node = segments.get(1).filter(|_| segments.first().is_some_and(|s| s == "nodes"));
    let text = match error {
        Error::Forbidden { needs: Some((on, _)), .. } if !on.is_empty() => rights(visit, cluster, on, cancel),
        Error::Failed { status, said, .. } if said.starts_with("hostname lookup") || matches!(status, 595 | 596) => {
            node.and_then(|node| states(visit, cluster, node, cancel))
        }
        Error::Failed { said, .. }
            if said.starts_with("Configuration file") && segments.get(2).is_some_and(|s| s == "qemu" || s == "lxc") =>
        {
            segments.get(3).and_then(|guest| near(visit, cluster, guest, cancel))
        }
        _ => None,
    };
    text.map(|text| format!(". {text}")).unwrap_or_default()
}

/// What the token may do on a path.
fn rights(visit: Visit<'_>, cluster: &Cluster, on: &str, cancel: &Cancel) -> Option<String> {
    let mut params = Params::new();
    params.push("path", on);
    let path = ApiPath::known("/access/permissions");
    let answer = visit.look(cluster, &path, &params, || cluster.call(Method::Get, &path, &params, cancel)).ok()?;
    let rights: Value = serde_json::from_str(answer.data()).ok()?;
    let mut names: Vec<&str> = rights.get(on)?.as_object()?.keys().map(String::as_str).collect();
    names.sort();
    names.truncate(NAMED);
    Some(match names.as_slice() {
        [] => format!("The token has no privilege on {on}"),
        names => format!("On {on} the token has {}", names.join(", ")),
    })
}

/// Which nodes there are, and which is meant.
fn states(visit: Visit<'_>, cluster: &Cluster, node: &str, cancel: &Cancel) -> Option<String> {
    let nodes = place::nodes(visit, cluster, cancel).ok()?;
    if let Some((name, status)) = nodes.iter().find(|(name, _)| name == node) {
        return Some(format!("The cluster says that {name} is {status}"));
    }
    let named: Vec<String> = nodes.iter().map(|(name, status)| format!("{name} ({status})")).collect();
    let meant = suggest(node, nodes.iter().map(|(name, _)| name.as_str()));
    let meant = meant.map(|m| format!(": did you mean `{m}`?")).unwrap_or_default();
    (!named.is_empty()).then(|| format!("The cluster's nodes are {}{meant}", named.join(", ")))
}

/// Where a guest is, or which are like it.
fn near(visit: Visit<'_>, cluster: &Cluster, guest: &str, cancel: &Cancel) -> Option<String> {
    let (path, params) = (ApiPath::known("/cluster/resources"), Params::new());
    let guests = visit.look(cluster, &path, &params, || guests::list(cluster, cancel)).ok()?;
    Some(match guests::find(&guests, guest) {
        Ok(found) => format!("{guest} is {}/{} on {}", found.kind.as_str(), found.vmid, found.node),
        Err(miss) => {
            let mut text = miss.to_string();
            // As it follows a sentence.
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            text
        }
    })
}
