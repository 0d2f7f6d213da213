//! Facts of the cluster that explain a failure, looked up after it.

use super::handle::ClusterHandle;
use super::operation::find_embedded_operation;
use super::planned_call::{CallPurpose, PlannedCall};
use crate::base::hint::Hint;
use crate::base::json_scan::{find_member, unquote, walk};
use crate::base::shorten::shorten;
use crate::base::suggest::suggest;
use crate::pve::Method;
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

/// The most entries of a list that an explanation names.
const MAX_ENTRIES: usize = 20;

/// A kind of failure for which the cluster has an explanation.
enum ExplainableFailure<'e> {
    /// The token lacks a privilege on this ACL path.
    MissingPrivilege(&'e str),
    /// No node of that name answers.
    UnreachableNode,
    /// The node does not have the guest's configuration.
    GuestNotOnNode,
    /// A proxy hides the cause, which may be this one.
    PerhapsNotOnNode,
    /// The token lacks a privilege that Proxmox does not name.
    UnnamedPrivilege,
    /// An object of the call does not exist.
    Absent,
}

fn classify(error: &PveError) -> Option<ExplainableFailure<'_>> {
    match error {
        PveError::Forbidden { missing_privilege: Some(missing), .. } if !missing.acl_path.is_empty() => {
            Some(ExplainableFailure::MissingPrivilege(&missing.acl_path))
        }
        PveError::Forbidden { missing_privilege: None, diagnosis, .. }
            if diagnosis.meaning == Meaning::MissingPrivilege =>
        {
            Some(ExplainableFailure::UnnamedPrivilege)
        }
        PveError::Failed { .. } | PveError::ParametersRejected { .. } if error.meaning() == Meaning::Absent => {
            Some(ExplainableFailure::Absent)
        }
        // A rejection of the token or of the parameters comes from the right node, whatever it says.
        PveError::Failed { diagnosis, .. } => match diagnosis.meaning {
            Meaning::UnknownNode | Meaning::NodeUnreachable | Meaning::NodeLostOrUnknown | Meaning::NodeTimedOut => {
                Some(ExplainableFailure::UnreachableNode)
            }
            Meaning::MissingGuestConfig => Some(ExplainableFailure::GuestNotOnNode),
            Meaning::HiddenWords => Some(ExplainableFailure::PerhapsNotOnNode),
            _ => None,
        },
        _ => None,
    }
}

/// Returns whether the object of a failed call may be on another node, or of another kind.
pub(super) fn is_wrong_node(error: &PveError) -> bool {
    use ExplainableFailure::*;
    matches!(classify(error), Some(UnreachableNode | GuestNotOnNode | PerhapsNotOnNode))
}

/// Looks up the facts that explain a failure. `cluster` is asked for them.
pub(super) fn explain_failure(
    cluster: &ClusterHandle<'_>,
    planned: &PlannedCall<'_>,
    error: &PveError,
) -> Option<Explanation> {
    let path = &planned.path;
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
        ExplainableFailure::PerhapsNotOnNode if matches!(segment(2), Some("qemu" | "lxc")) => {
            let guest = guests::find_guest(cluster.look_up_guests().ok()?, segment(3)?);
            // A guest in its place failed for another reason.
            let is_in_place = guest.is_ok_and(|guest| guest.path().is_some_and(|listed| is_below(path, &listed)));
            if is_in_place { None } else { explain_guest_location(cluster, path, segment(3)?) }
        }
        ExplainableFailure::UnnamedPrivilege => {
            let operation = &planned.operation;
            let mut privileges = operation.privileges.clone();
            for (name, value) in &operation.path_values {
                privileges = privileges.replace(&format!("{{{name}}}"), &shorten(value));
            }
            (!privileges.is_empty()).then(|| hints::describe_requirement(&privileges).into())
        }
        ExplainableFailure::Absent => explain_absent_entry(cluster, planned).map(Explanation::from),
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

/// Names the entries of the list that does not have the last object of the path.
pub(super) fn explain_absent_entry(cluster: &ClusterHandle<'_>, planned: &PlannedCall<'_>) -> Option<String> {
    let template: Vec<&str> = planned.operation.template.as_deref()?.split('/').skip(1).collect();
    let name_of = |segment: &&str| Some(segment.strip_prefix('{')?.strip_suffix('}')?.to_owned());
    let place = template.iter().rposition(|segment| segment.starts_with('{'))?;
    let parameter = name_of(&template[place])?;
    // A guest and a node have explanations of their own.
    if matches!(parameter.as_str(), "vmid" | "node") {
        return None;
    }
    let segments: Vec<_> = planned.path.segments().collect();
    let absent = segments.get(place)?;
    let above: Vec<&str> = segments[..place].iter().map(AsRef::as_ref).collect();
    let list = ApiPath::from_segments(&above).ok()?;
    let read = find_embedded_operation(Method::Get, &list)?;
    if !read.risk().is_read_only() || read.return_type() != "array" {
        return None;
    }
    let response =
        cluster.authorize_read(CallPurpose::Lookup, list.clone(), ApiParams::new()).ok()?.send_read().ok()?;
    let (mut entries, mut has_rows): (Vec<String>, bool) = (Vec::new(), false);
    walk(response.data(), &mut |_, row| {
        has_rows = true;
        let member = [parameter.as_str(), "name", "id"].iter().find_map(|key| find_member(row, key));
        entries.extend(member.map(|value| unquote(value).into_owned()));
        entries.len() <= MAX_ENTRIES
    });
    // The rows name their objects in another way.
    if has_rows && entries.is_empty() {
        return None;
    }
    // The call named another object that does not exist, in its parameters.
    if entries.iter().any(|entry| entry == absent) {
        return None;
    }
    let has_more = entries.len() > MAX_ENTRIES;
    entries.truncate(MAX_ENTRIES);
    let entries: Vec<String> = entries.into_iter().map(|entry| cluster.redact(shorten(&entry).into_owned())).collect();
    Some(hints::describe_entries(&list.to_string(), &entries, has_more))
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
        let forbidden = PveError::Forbidden {
            message: String::new(),
            missing_privilege: None,
            diagnosis,
            is_refused_change: false,
        };
        assert!(!is_wrong_node(&forbidden));
        let rejected = PveError::ParametersRejected { parameters: Vec::new(), diagnosis, is_refused_change: false };
        assert!(!is_wrong_node(&rejected));
    }
}
