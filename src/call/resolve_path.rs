//! The resolution of a path. A guest's number or name gives its node and kind, a UPID gives the node of its task, and a
//! cluster with one node gives that node.

use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::operation::{build_path, expand_shorthand};
use super::plan_error::{GuestError, PlanError};
use crate::base::shorten::shorten;
use crate::pve::guests::{self, FindGuestError, Guest, GuestIndex};
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::task::Upid;
use std::ops::Range;
use std::sync::Arc;

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
        return Err(PlanError::Placeholder(shorten(placeholder).into_owned()));
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

/// Finds the guest with a number or a name.
pub(super) fn find_guest<'h>(cluster: &'h ClusterHandle<'_>, query: &str) -> Result<&'h Guest, GuestError> {
    let guests = cluster.look_up_guests().map_err(GuestError::Lookup)?;
    check_node(query, guests::find_guest(guests, query))
}

fn check_node<'h>(query: &str, found: Result<&'h Guest, FindGuestError>) -> Result<&'h Guest, GuestError> {
    let guest = found.map_err(GuestError::NotFound)?;
    if guest.node.is_empty() {
        return Err(GuestError::HiddenNode(shorten(query).into_owned()));
    }
    Ok(guest)
}

/// Finds many guests of one cluster.
pub(super) struct GuestFinder<'h>(Result<GuestIndex<'h>, Arc<LookupError>>);

impl<'h> GuestFinder<'h> {
    /// Looks the guests up.
    pub(super) fn new(cluster: &'h ClusterHandle<'_>) -> Self {
        Self(cluster.look_up_guests().map(GuestIndex::new))
    }

    /// Finds the guest with a number or a name.
    pub(super) fn find(&self, query: &str) -> Result<&'h Guest, GuestError> {
        let index = self.0.as_ref().map_err(|error| GuestError::Lookup(error.clone()))?;
        check_node(query, index.find(query))
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
