//! Facts of the cluster that explain a failure, looked up after it.

use super::handle::ClusterHandle;
use crate::base::hint::Hint;
use crate::base::json_scan::{find_member, unquote, walk};
use crate::base::shorten::shorten;
use crate::base::suggest::suggest;
use crate::pve::error::PveError;
use crate::pve::guests;
use crate::pve::knowledge::messages::Meaning;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::render::hints;

/// The most privileges that an explanation names.
const MAX_PRIVILEGES: usize = 40;

/// Facts of the cluster that explain a failure.
#[derive(Debug)]
pub struct Explanation {
    /// A sentence without its full stop.
    pub text: String,
    pub next_step: Option<String>,
}

impl From<String> for Explanation {
    fn from(text: String) -> Self {
        Self { text, next_step: None }
    }
}

/// A kind of failure for which the cluster has an explanation.
enum ExplainableFailure<'e> {
    /// The token lacks a privilege on this ACL path.
    MissingPrivilege(&'e str),
    /// No node of that name answers.
    UnreachableNode,
    /// The node does not have the guest's configuration.
    GuestNotOnNode,
}

fn classify(error: &PveError) -> Option<ExplainableFailure<'_>> {
    match error {
        PveError::Forbidden { missing_privilege: Some(missing), .. } if !missing.acl_path.is_empty() => {
            Some(ExplainableFailure::MissingPrivilege(&missing.acl_path))
        }
        // A rejection of the token or of the parameters comes from the right node, whatever it says.
        PveError::Failed { diagnosis, .. } => match diagnosis.meaning {
            Meaning::UnknownNode | Meaning::NodeUnreachable | Meaning::NodeLostOrUnknown | Meaning::NodeTimedOut => {
                Some(ExplainableFailure::UnreachableNode)
            }
            // A proxy that hides Proxmox's words hides this cause too.
            Meaning::MissingGuestConfig | Meaning::HiddenWords => Some(ExplainableFailure::GuestNotOnNode),
            _ => None,
        },
        _ => None,
    }
}

/// Returns whether the object of a failed call may be on another node, or of another kind.
pub(super) fn is_wrong_node(error: &PveError) -> bool {
    matches!(classify(error), Some(ExplainableFailure::UnreachableNode | ExplainableFailure::GuestNotOnNode))
}

/// Looks up the facts that explain a failure.
pub(super) fn explain_failure(cluster: &ClusterHandle<'_>, path: &ApiPath, error: &PveError) -> Option<Explanation> {
    let segments: Vec<_> = path.segments().collect();
    let segment = |at: usize| segments.get(at).map(AsRef::as_ref);
    match classify(error)? {
        ExplainableFailure::MissingPrivilege(path) => explain_privileges(cluster, path).map(Explanation::from),
        ExplainableFailure::UnreachableNode if segment(0) == Some("nodes") => {
            explain_nodes(cluster, segment(1)?).map(Explanation::from)
        }
        ExplainableFailure::GuestNotOnNode if matches!(segment(2), Some("qemu" | "lxc")) => {
            explain_guest_location(cluster, path, segment(3)?)
        }
        _ => None,
    }
}

fn explain_privileges(cluster: &ClusterHandle<'_>, acl_path: &str) -> Option<String> {
    let mut params = ApiParams::new();
    params.push("path", acl_path);
    let response = cluster.look_up("/access/permissions", &params).ok()?;
    let granted = find_member(response.data(), acl_path).filter(|granted| granted.starts_with('{'))?;
    let mut privileges = Vec::new();
    walk(granted, &mut |name, _| {
        privileges.push(unquote(name));
        privileges.len() < MAX_PRIVILEGES
    });
    privileges.sort();
    Some(hints::describe_privileges(&shorten(acl_path), &privileges.iter().map(AsRef::as_ref).collect::<Vec<_>>()))
}

fn explain_nodes(cluster: &ClusterHandle<'_>, node: &str) -> Option<String> {
    let nodes = cluster.look_up_nodes().ok()?;
    if let Some(listed) = nodes.iter().find(|listed| listed.name == node) {
        return Some(hints::describe_node_status(&listed.name, &listed.status));
    }
    let suggestion = suggest(node, nodes.iter().map(|listed| listed.name.as_str()));
    let listed: Vec<(&str, &str)> = nodes.iter().map(|node| (node.name.as_str(), node.status.as_str())).collect();
    (!listed.is_empty()).then(|| hints::describe_nodes(&listed, suggestion))
}

/// Returns whether a path is that of a guest, or below it.
fn is_below(path: &ApiPath, guest: &ApiPath) -> bool {
    path.as_str().strip_prefix(guest.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn explain_guest_location(cluster: &ClusterHandle<'_>, path: &ApiPath, query: &str) -> Option<Explanation> {
    let guests = cluster.look_up_guests().ok()?;
    Some(match guests::find_guest(guests, query) {
        // The list lags behind a migration.
        Ok(guest) if guest.path().is_some_and(|listed| is_below(path, &listed)) => Explanation {
            text: hints::describe_moving_guest(query, &guest.node),
            next_step: Some("try again in some seconds".into()),
        },
        Ok(guest) => hints::describe_guest_location(query, guest).into(),
        Err(error) => Explanation {
            text: hints::describe_missing_guest(&error),
            next_step: error.hint().map(|hint| hint.into_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::knowledge::messages::Diagnosis;

    #[test]
    fn only_a_failed_status_shows_a_wrong_node() {
        let diagnosis = Diagnosis { meaning: Meaning::MissingGuestConfig, hint: None };
        let failed = PveError::Failed {
            status: 500,
            message: String::new(),
            call: String::new(),
            diagnosis,
            is_refused_change: false,
        };
        assert!(is_wrong_node(&failed));
        let forbidden = PveError::Forbidden { message: String::new(), missing_privilege: None, diagnosis };
        assert!(!is_wrong_node(&forbidden));
        assert!(!is_wrong_node(&PveError::ParametersRejected { parameters: Vec::new(), diagnosis }));
    }
}
