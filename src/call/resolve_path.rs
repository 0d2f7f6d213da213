//! The resolution of a path. A guest's number or name gives its node and kind, a UPID gives the node of its task, and a
//! cluster with one node gives that node.

use super::handle::ClusterHandle;
use super::lookups::ConfiguredName;
use super::operation::{build_path, expand_shorthand};
use super::plan_error::{GuestError, PlanError};
use crate::pve::guests::{self, Guest};
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::task::Upid;
use std::ops::Range;

/// A complete path.
pub(super) struct ResolvedPath {
    pub(super) path: ApiPath,
    /// The difference to the path that was typed.
    pub(super) change: Option<PathChange>,
}

/// A difference between the path that was typed and the path that is sent.
pub(super) struct PathChange {
    /// The facts, as a clause.
    pub(super) text: String,
    /// A typed segment was replaced, instead of only a missing one filled in.
    pub(super) is_correction: bool,
    /// The path named a container where there is a VM, or the reverse.
    pub(super) kind_corrected: bool,
}

/// New segments for a part of a path.
struct Replacement {
    range: Range<usize>,
    segments: Vec<String>,
    change: Option<PathChange>,
}

/// Fills in the missing parts of a path and corrects parts that can't be right.
///
/// The path may start at the guest, have `{node}` for a node, and a name for a guest's number. The guests are looked up
/// only where the path needs it, or where `verify_guest` demands it.
pub(super) fn resolve_path(
    cluster: &ClusterHandle<'_>,
    typed: &ApiPath,
    verify_guest: bool,
) -> Result<ResolvedPath, PlanError> {
    let path = expand_shorthand(typed)?;
    let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    let segment = |at: usize| segments.get(at).map_or("", String::as_str);
    let (is_below_node, node) = (segment(0) == "nodes", segment(1));
    // (PVE: `localhost` is the node that receives the call, which the caller can't know.)
    let node_is_open = is_below_node && (is_placeholder(node) || node.eq_ignore_ascii_case("localhost"));
    let mut others = segments.iter().enumerate().filter(|(at, _)| !(node_is_open && *at == 1));
    if let Some((_, placeholder)) = others.find(|(_, segment)| is_placeholder(segment)) {
        return Err(PlanError::Placeholder(placeholder.clone()));
    }
    let replacement = match (segment(2), segment(3)) {
        ("qemu" | "lxc", guest) if is_below_node && !guest.is_empty() => {
            let typed = GuestSegments { node, kind: segment(2), guest, is_open: node_is_open };
            replace_guest(cluster, typed, verify_guest)?
        }
        ("tasks", text) if is_below_node && let Ok(upid) = Upid::parse(text) => Some(Replacement {
            range: 1..4,
            change: Some(PathChange {
                text: format!("the task is one of {}", upid.node),
                is_correction: !node_is_open && upid.node != node,
                kind_corrected: false,
            }),
            segments: vec![upid.node.clone(), "tasks".into(), upid.to_string()],
        }),
        _ if node_is_open => Some(Replacement { range: 1..2, segments: vec![find_only_node(cluster)?], change: None }),
        _ => None,
    };
    let Some(Replacement { range, segments: replaced, change }) = replacement else {
        return Ok(ResolvedPath { path, change: None });
    };
    segments.splice(range, replaced);
    let resolved = build_path(&segments)?;
    if resolved.segments().any(|segment| is_placeholder(&segment)) {
        return Err(PlanError::InvalidNodeName);
    }
    let change = change.filter(|_| resolved != path);
    Ok(ResolvedPath { path: resolved, change })
}

/// The most configs that are read for a name that the list does not have.
const MAX_CONFIG_READS: usize = 16;

/// Rejects a change of a node that the cluster does not have. A node of another name, reached by a proxying node, leaves
/// the outcome of a change unknown.
pub(super) fn check_node_name(cluster: &ClusterHandle<'_>, path: &ApiPath) -> Result<(), PlanError> {
    let mut segments = path.segments();
    let (Some(top), Some(name)) = (segments.next(), segments.next()) else { return Ok(()) };
    let is_listed_guest = || {
        let guests = cluster.guests.get().and_then(|guests| guests.as_ref().ok());
        guests.is_some_and(|guests| guests.iter().any(|guest| guest.node == name))
    };
    if top != "nodes" || is_listed_guest() {
        return Ok(());
    }
    // Without the list, Proxmox decides.
    let Ok(nodes) = cluster.look_up_nodes() else { return Ok(()) };
    if nodes.is_empty() || nodes.iter().any(|node| node.name == name) {
        return Ok(());
    }
    let host = name.split_once('.').map_or(name.as_ref(), |(host, _)| host);
    let right = nodes.iter().find(|node| node.name.eq_ignore_ascii_case(host));
    Err(PlanError::UnknownNode {
        typed: name.into_owned(),
        right: right.map(|node| node.name.clone()),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    })
}

/// Finds the guest with a number or a name.
pub(super) fn find_guest<'h>(cluster: &'h ClusterHandle<'_>, query: &str) -> Result<&'h Guest, GuestError> {
    let guests = cluster.look_up_guests().map_err(GuestError::Lookup)?;
    let guest = match guests::find_guest(guests, query) {
        Ok(guest) => guest,
        Err(error) => find_nameless_guest(cluster, guests, query).ok_or(GuestError::NotFound(error))?,
    };
    if guest.node.is_empty() {
        return Err(GuestError::HiddenNode(query.to_owned()));
    }
    Ok(guest)
}

/// Finds a guest by the name in its config, if the list has no name of it yet.
///
/// (PVE: the list gets the names of new guests, and of guests on a node that is off, some seconds late.)
fn find_nameless_guest<'h>(cluster: &ClusterHandle<'_>, guests: &'h [Guest], query: &str) -> Option<&'h Guest> {
    let query = query.trim();
    if query.is_empty() || query.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let is_nameless = |guest: &&Guest| guest.lacks_name() && !guest.node.is_empty();
    let mut named = guests.iter().filter(is_nameless).take(MAX_CONFIG_READS).filter(|guest| {
        let name = cluster.look_up_guest_name(guest);
        matches!(name, Ok(ConfiguredName::Name(name)) if name.eq_ignore_ascii_case(query))
    });
    let only = named.next();
    only.filter(|_| named.next().is_none())
}

/// Checks the name of a guest against its own config, since the list of guests lags behind a rename.
fn confirm_name(cluster: &ClusterHandle<'_>, guest: &Guest, typed: &str) -> Result<(), GuestError> {
    let (id, name) = (guest.id(), typed.to_owned());
    match cluster.look_up_guest_name(guest) {
        Ok(ConfiguredName::Name(actual)) if actual.eq_ignore_ascii_case(typed) => Ok(()),
        Ok(ConfiguredName::Name(actual)) => Err(GuestError::Renamed { id, name, actual: Some(actual) }),
        Ok(ConfiguredName::Nameless) => Err(GuestError::Renamed { id, name, actual: None }),
        Ok(ConfiguredName::Unknown) => Ok(()),
        Err(error) => Err(GuestError::UnconfirmedName { id, name, error: error.into() }),
    }
}

/// The part of a path that identifies a guest.
struct GuestSegments<'p> {
    node: &'p str,
    kind: &'p str,
    guest: &'p str,
    /// The path leaves the node open.
    is_open: bool,
}

fn replace_guest(
    cluster: &ClusterHandle<'_>,
    typed: GuestSegments<'_>,
    verify_guest: bool,
) -> Result<Option<Replacement>, PlanError> {
    let is_number = typed.guest.bytes().all(|b| b.is_ascii_digit());
    if !typed.is_open && is_number && !verify_guest {
        return Ok(None);
    }
    let guest = match find_guest(cluster, typed.guest) {
        Ok(guest) => guest,
        // The list lags behind by some seconds, and the token may not see every guest. Proxmox decides.
        Err(error) if is_number && !typed.is_open && !is_cluster_unreachable(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if verify_guest && !is_number {
        confirm_name(cluster, guest, typed.guest.trim())?;
    }
    let kind = guest.kind.as_str();
    let kind_corrected = kind != typed.kind;
    Ok(Some(Replacement {
        range: 1..4,
        segments: vec![guest.node.clone(), kind.to_owned(), guest.vmid.to_string()],
        change: Some(PathChange {
            text: format!("{} is {kind}/{} on {}", typed.guest, guest.vmid, guest.node),
            is_correction: kind_corrected || (!typed.is_open && guest.node != typed.node),
            kind_corrected,
        }),
    }))
}

fn is_cluster_unreachable(error: &GuestError) -> bool {
    matches!(error, GuestError::Lookup(error) if error.is_cluster_unreachable())
}

/// Returns the name of the cluster's only node.
fn find_only_node(cluster: &ClusterHandle<'_>) -> Result<String, PlanError> {
    match cluster.look_up_nodes().map_err(PlanError::NodeLookup)? {
        [only] => Ok(only.name.clone()),
        [] => Err(PlanError::NoVisibleNode),
        several => Err(PlanError::SeveralNodes(several.iter().map(|node| node.name.clone()).collect())),
    }
}
