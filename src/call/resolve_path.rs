//! The resolution of a path. A guest's number or name gives its node and kind, a UPID gives the node of its task, and a
//! cluster with one node gives that node.

use super::fan_out::fan_out;
use super::handle::ClusterHandle;
use super::lookup_error::LookupError;
use super::lookups::ConfiguredName;
use super::operation::{build_path, expand_shorthand};
use super::plan_error::{GuestError, PlanError};
use crate::base::list_text::list_items;
use crate::base::shorten::shorten;
use crate::base::suggest::suggest;
use crate::pve::Method;
use crate::pve::guests::{self, FindGuestError, Guest, GuestCandidate, GuestIndex, GuestKind};
use crate::pve::params::ApiParams;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::schema::Operation;
use crate::pve::task::Upid;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::collections::HashMap;
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
    /// Only the list of guests has the name that was typed.
    pub(super) is_unconfirmed: bool,
}

/// New segments for a part of a path.
struct Replacement {
    range: Range<usize>,
    segments: Vec<String>,
    change: Option<PathChange>,
}

/// The check of a guest whose node, kind and number the path has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GuestVerification {
    None,
    /// As `OwnConfig`, but the list is believed where the config can't be read. Nothing is sent to the guest.
    DryRun,
    /// By the guest's own config. The list is read only if there is none.
    OwnConfig,
    /// By the list of guests.
    List,
}

/// Fills in the missing parts of a path and corrects parts that can't be right.
///
/// The path may start at the guest, have `{node}` for a node, and a name for a guest's number. The guests are looked up
/// only where the path needs it, or where `verification` demands it.
pub(super) fn resolve_path(
    cluster: &ClusterHandle<'_>,
    typed: &ApiPath,
    verification: GuestVerification,
) -> Result<ResolvedPath, PlanError> {
    let path = expand_shorthand(typed)?;
    let mut segments: Vec<String> = path.segments().map(|s| s.into_owned()).collect();
    let segment = |at: usize| segments.get(at).map_or("", String::as_str);
    let (is_below_node, node) = (segment(0) == "nodes", segment(1));
    // (PVE: `localhost` is the node that receives the call, which the caller can't know.)
    let node_is_open = is_below_node && (is_placeholder(node) || node.eq_ignore_ascii_case("localhost"));
    if is_below_node && !node_is_open && !node.is_empty() && !is_node_label(node) && !is_placeholder(node) {
        check_node_name(cluster, &path)?;
        return Err(PlanError::HostName(shorten(node).into_owned()));
    }
    let mut others = segments.iter().enumerate().filter(|(at, _)| !(node_is_open && *at == 1));
    if let Some((_, placeholder)) = others.find(|(_, segment)| is_placeholder(segment)) {
        return Err(PlanError::Placeholder(shorten(placeholder).into_owned()));
    }
    let replacement = match (segment(2), segment(3)) {
        ("qemu" | "lxc", guest) if is_below_node && !guest.is_empty() => {
            let typed = GuestSegments { node, kind: segment(2), guest, is_open: node_is_open };
            replace_guest(cluster, typed, verification)?
        }
        ("tasks", text) if is_below_node && let Ok(upid) = Upid::parse(text) => Some(Replacement {
            range: 1..4,
            change: Some(PathChange {
                text: format!("the task is one of {}", upid.node),
                is_correction: !node_is_open && upid.node != node,
                kind_corrected: false,
                is_unconfirmed: false,
            }),
            segments: vec![upid.node.clone(), "tasks".into(), upid.to_string()],
        }),
        _ if let Some(resource) = HaResourceName::of_path(&segments) => {
            let id = resource.find(&GuestFinder::new(cluster), verification != GuestVerification::None)?;
            let text = format!("{} is {id}", resource.typed);
            Some(Replacement {
                range: 3..4,
                segments: vec![id],
                change: Some(PathChange { text, is_correction: false, kind_corrected: false, is_unconfirmed: false }),
            })
        }
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

/// Guests of one call whose names are confirmed, each by a read of its config.
const MAX_CONFIRMED_NAMES: usize = 64;

/// Rejects a path of a node that the cluster does not have. The node that receives the call would look for a host of that
/// name, and the outcome of a change would be unknown.
pub(super) fn check_node_name(cluster: &ClusterHandle<'_>, path: &ApiPath) -> Result<(), PlanError> {
    let mut segments = path.segments();
    let (Some(top), Some(name)) = (segments.next(), segments.next()) else { return Ok(()) };
    let is_node_of_guest = || {
        let guests = cluster.guests.get().and_then(|guests| guests.as_ref().ok());
        guests.is_some_and(|guests| guests.iter().any(|guest| guest.node == name))
            || cluster.guest_config.get().is_some_and(|config| config.guest.node == name)
    };
    let is_open = is_placeholder(&name) || name.eq_ignore_ascii_case("localhost");
    if top != "nodes" || is_open || is_node_of_guest() || cluster.cluster.has_recent_node(&name) {
        return Ok(());
    }
    let nodes = match cluster.look_up_nodes() {
        Ok(nodes) => nodes,
        // (PVE: every token may read the list.)
        Err(error) if error.is_refusal() && !is_node_known_otherwise(cluster, &name) => {
            return Err(PlanError::UncheckedNode { typed: shorten(&name).into_owned(), error });
        }
        // The call fails as its look-up did, or the operator denies the list, or the server has none.
        Err(_) => return Ok(()),
    };
    if nodes.is_empty() || nodes.iter().any(|node| node.name == name) {
        return Ok(());
    }
    let host = name.split_once('.').map_or(name.as_ref(), |(host, _)| host);
    let right = nodes.iter().find(|node| node.name.eq_ignore_ascii_case(host));
    Err(PlanError::UnknownNode {
        right: right.map(|node| node.name.clone()),
        suggestion: suggest(&name, nodes.iter().map(|node| node.name.as_str())).map(str::to_owned),
        typed: name.into_owned(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    })
}

/// Returns whether the list of guests or the addresses of the cluster have a node, where the list of nodes can't be read.
fn is_node_known_otherwise(cluster: &ClusterHandle<'_>, name: &str) -> bool {
    let is_host = |host: &str| host.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(name));
    cluster.cluster.settings().endpoints.iter().any(|endpoint| is_host(&endpoint.host))
        || cluster.look_up_guests().is_ok_and(|guests| guests.iter().any(|guest| guest.node == name))
}

/// Returns whether a name can be that of a node. (PVE: pve-node. A name with a dot is resolved as that of any host, before
/// its form is checked.)
fn is_node_label(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Rejects names of hosts in parameters that name nodes, and in those of a read also nodes that the cluster does not have.
/// (PVE: a change checks the node that it names.)
pub(super) fn check_node_parameters(
    cluster: &ClusterHandle<'_>,
    operation: &Operation<'_>,
    params: &ApiParams,
) -> Result<(), PlanError> {
    for (name, value) in params.iter() {
        let format = operation.parameter(name).map_or("", |parameter| parameter.format());
        let names_nodes = matches!(format, "pve-node" | "pve-node-list") || matches!(name, "node" | "node-list");
        if names_nodes && let Some(host) = list_items(value).find(|node| !is_node_label(node)) {
            return Err(PlanError::HostName(shorten(host).into_owned()));
        }
        if names_nodes && operation.method() == Method::Get {
            for node in list_items(value) {
                check_node_name(cluster, &build_path(&["nodes".to_owned(), node.to_owned()])?)?;
            }
        }
    }
    Ok(())
}

/// Finds the guest with a number or a name.
pub(super) fn find_guest<'h>(cluster: &'h ClusterHandle<'_>, query: &str) -> Result<&'h Guest, GuestError> {
    let guests = cluster.look_up_guests().map_err(GuestError::Lookup)?;
    check_node(query, find_listed_guest(cluster, guests, query))
}

/// Finds the guest with a number or a name in a list, which may have some names late.
pub(super) fn find_listed_guest<'h>(
    cluster: &ClusterHandle<'_>,
    guests: &'h [Guest],
    query: &str,
) -> Result<&'h Guest, FindGuestError> {
    guests::find_guest(guests, query).or_else(|error| MissingNames::default().find(cluster, guests, query, error))
}

fn check_node<'h>(query: &str, found: Result<&'h Guest, FindGuestError>) -> Result<&'h Guest, GuestError> {
    let guest = found.map_err(GuestError::NotFound)?;
    if guest.node.is_empty() {
        return Err(GuestError::HiddenNode(shorten(query).into_owned()));
    }
    Ok(guest)
}

/// Guests of which the list has no name yet, or perhaps an old one, with the names in their configs, read once.
///
/// (PVE: the list gets the names of new guests, and of guests on a node that is off, some seconds late.)
#[derive(Default)]
struct MissingNames<'h>(OnceCell<ReadNames<'h>>);

#[derive(Default)]
struct ReadNames<'h> {
    named: Vec<(&'h Guest, String)>,
    /// The guests without a name in the list whose config can't be read.
    unreadable: Vec<&'h Guest>,
}

/// Returns the guests whose names the list may have late.
fn iter_late_names<'g>(cluster: &ClusterHandle<'_>, guests: &'g [Guest]) -> impl Iterator<Item = &'g Guest> {
    let changed = cluster.cluster.recently_changed_guests();
    let is_late = move |guest: &&Guest| guest.lacks_name() || changed.contains(&guest.vmid);
    guests.iter().filter(|guest| !guest.node.is_empty()).filter(is_late)
}

impl<'h> ReadNames<'h> {
    fn read(cluster: &ClusterHandle<'_>, guests: &'h [Guest]) -> Self {
        let open: Vec<&Guest> = iter_late_names(cluster, guests).collect();
        let (read, unread) = open.split_at(open.len().min(MAX_CONFIG_READS));
        let names = fan_out(read, read.len(), |guest| cluster.look_up_guest_name(guest));
        let mut result = Self { named: Vec::new(), unreadable: unread.to_vec() };
        for (guest, name) in read.iter().zip(names) {
            match name {
                Ok(ConfiguredName::Name(name)) => result.named.push((guest, name)),
                Ok(ConfiguredName::Nameless) => {}
                Ok(ConfiguredName::Unknown | ConfiguredName::NoNode) | Err(_) => result.unreadable.push(guest),
            }
        }
        result.unreadable.retain(|guest| guest.lacks_name());
        result
    }
}

impl<'h> MissingNames<'h> {
    /// Finds the guest of a name that the list does not have. `error` is the result of the search in the list.
    fn find(
        &self,
        cluster: &ClusterHandle<'_>,
        guests: &'h [Guest],
        query: &str,
        error: FindGuestError,
    ) -> Result<&'h Guest, FindGuestError> {
        let query = query.trim();
        let may_be_name = !query.is_empty() && !query.bytes().all(|b| b.is_ascii_digit());
        let FindGuestError::Unknown { query: shown, suggestions, total, .. } = error else { return Err(error) };
        let unknown = |nameless| Err(FindGuestError::Unknown { query: shown, suggestions, total, nameless });
        if !may_be_name {
            return unknown(Vec::new());
        }
        let names = self.0.get_or_init(|| ReadNames::read(cluster, guests));
        let is_match = |name: &&str| name.eq_ignore_ascii_case(query);
        let candidate = |guest: &Guest| GuestCandidate { vmid: guest.vmid, node: guest.node.clone() };
        let named: Vec<&Guest> =
            names.named.iter().filter(|(_, name)| is_match(&name.as_str())).map(|(guest, _)| *guest).collect();
        match named.as_slice() {
            [only] => Ok(only),
            [] => unknown(names.unreadable.iter().map(|guest| candidate(guest)).collect()),
            several => Err(FindGuestError::Ambiguous {
                name: shorten(query).into_owned(),
                candidates: several.iter().map(|guest| candidate(guest)).collect(),
            }),
        }
    }
}

impl ClusterHandle<'_> {
    /// Returns whether the list may have the name of a guest late.
    pub fn has_late_names(&self, guests: &[Guest]) -> bool {
        iter_late_names(self, guests).next().is_some()
    }

    /// Reads the names of guests, by number, of which the list has none yet, or perhaps an old one.
    pub fn read_missing_names(&self, guests: &[Guest]) -> HashMap<u32, String> {
        ReadNames::read(self, guests).named.into_iter().map(|(guest, name)| (guest.vmid, name)).collect()
    }
}

/// Checks the name of a guest against its own config, since the list of guests lags behind a rename.
fn confirm_name(cluster: &ClusterHandle<'_>, guest: &Guest, typed: &str) -> Result<(), GuestError> {
    let (id, name) = (guest.id(), typed.to_owned());
    match cluster.look_up_guest_name(guest) {
        Ok(ConfiguredName::Name(actual)) if actual.eq_ignore_ascii_case(typed) => Ok(()),
        Ok(ConfiguredName::Name(actual)) => {
            Err(GuestError::Renamed { id, name, actual: Some(shorten(&actual).into_owned()) })
        }
        Ok(ConfiguredName::Nameless) => Err(GuestError::Renamed { id, name, actual: None }),
        // The path can't be built.
        Ok(ConfiguredName::NoNode) => Ok(()),
        Ok(ConfiguredName::Unknown) => Err(GuestError::UnconfirmedName { id, name, error: None }),
        Err(error) => Err(GuestError::UnconfirmedName { id, name, error: Some(error.into()) }),
    }
}

/// Finds many guests of one cluster.
pub(super) struct GuestFinder<'h, 'a> {
    cluster: &'h ClusterHandle<'a>,
    list: Result<(&'h [Guest], GuestIndex<'h>), Arc<LookupError>>,
    missing_names: MissingNames<'h>,
    /// The numbers of the guests whose names are confirmed.
    confirmed: RefCell<BTreeSet<u32>>,
}

impl<'h, 'a> GuestFinder<'h, 'a> {
    /// Looks the guests up.
    pub(super) fn new(cluster: &'h ClusterHandle<'a>) -> Self {
        let list = cluster.look_up_guests().map(|guests| (guests, GuestIndex::new(guests)));
        Self { cluster, list, missing_names: MissingNames::default(), confirmed: RefCell::default() }
    }

    /// Finds the guest with a number or a name.
    pub(super) fn find(&self, query: &str) -> Result<&'h Guest, GuestError> {
        let (guests, index) = self.list.as_ref().map_err(|error| GuestError::Lookup(error.clone()))?;
        let found = index.find(query);
        check_node(query, found.or_else(|error| self.missing_names.find(self.cluster, guests, query, error)))
    }

    /// Finds the guest with a name that its own config confirms.
    pub(super) fn find_confirmed(&self, name: &str) -> Result<&'h Guest, GuestError> {
        let guest = self.find(name)?;
        let mut confirmed = self.confirmed.borrow_mut();
        if !confirmed.contains(&guest.vmid) {
            if confirmed.len() == MAX_CONFIRMED_NAMES {
                return Err(GuestError::TooManyNames { max: MAX_CONFIRMED_NAMES });
            }
            confirm_name(self.cluster, guest, name.trim())?;
            confirmed.insert(guest.vmid);
        }
        Ok(guest)
    }
}

/// HA resource that a caller names by the guest's name, such as `vm:web01`. (PVE: its own form has the number.)
pub(super) struct HaResourceName<'t> {
    typed: &'t str,
    /// `vm` or `ct`, if the caller wrote it.
    kind: Option<&'t str>,
    name: &'t str,
}

impl<'t> HaResourceName<'t> {
    /// Parses the id of a resource. Returns `None` for one that has a number, or is of another kind.
    pub(super) fn parse(typed: &'t str) -> Option<Self> {
        let (kind, name) = match typed.split_once(':') {
            Some((kind @ ("vm" | "ct"), name)) => (Some(kind), name),
            Some(_) => return None,
            None => (None, typed),
        };
        let is_name = !name.is_empty() && !name.bytes().all(|b| b.is_ascii_digit()) && !is_placeholder(name);
        is_name.then_some(Self { typed, kind, name })
    }

    /// Returns the id of the path's resource that has a guest's name.
    pub(super) fn of_path(segments: &'t [String]) -> Option<Self> {
        match segments {
            [top, ha, resources, id, ..] if top == "cluster" && ha == "ha" && resources == "resources" => {
                Self::parse(id)
            }
            _ => None,
        }
    }

    /// Returns the id with the guest's number. For a change, the guest's own config must confirm the name.
    pub(super) fn find(&self, finder: &GuestFinder<'_, '_>, is_change: bool) -> Result<String, GuestError> {
        let guest = if is_change { finder.find_confirmed(self.name) } else { finder.find(self.name) }?;
        let kind = match guest.kind {
            GuestKind::Qemu => "vm",
            GuestKind::Lxc => "ct",
        };
        let id = format!("{kind}:{}", guest.vmid);
        match self.kind {
            Some(typed) if typed != kind => {
                Err(GuestError::OtherResource { typed: shorten(self.typed).into_owned(), id })
            }
            _ => Ok(id),
        }
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
    verification: GuestVerification,
) -> Result<Option<Replacement>, PlanError> {
    let is_number = typed.guest.bytes().all(|b| b.is_ascii_digit());
    let is_complete = !typed.is_open && is_number;
    if is_complete
        && match verification {
            GuestVerification::None => true,
            // A list that is known costs nothing.
            GuestVerification::DryRun | GuestVerification::OwnConfig => {
                cluster.guests.get().is_none() && has_own_config(cluster, &typed)?
            }
            GuestVerification::List => false,
        }
    {
        return Ok(None);
    }
    let guest = match find_guest(cluster, typed.guest) {
        Ok(guest) => guest,
        Err(GuestError::NotFound(FindGuestError::Unknown { .. }))
            if let Some(planned) = cluster.find_planned_guest(typed.guest) =>
        {
            let segments = vec![planned.node, planned.kind.as_str().to_owned(), planned.vmid.to_string()];
            return Ok(Some(Replacement { range: 1..4, segments, change: None }));
        }
        // The list lags behind by some seconds, and the token may not see every guest. Proxmox decides.
        Err(error) if is_complete && !is_cluster_unreachable(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut doubt = "";
    if verification != GuestVerification::None && !is_number {
        match confirm_name(cluster, guest, typed.guest.trim()) {
            Err(GuestError::UnconfirmedName { .. }) if verification == GuestVerification::DryRun => {
                doubt = ", by the list of guests, since its config can't be read: only its number can be sent";
            }
            confirmed => confirmed?,
        }
    }
    let kind = guest.kind.as_str();
    let kind_corrected = kind != typed.kind;
    Ok(Some(Replacement {
        range: 1..4,
        segments: vec![guest.node.clone(), kind.to_owned(), guest.vmid.to_string()],
        change: Some(PathChange {
            text: format!("{} is {kind}/{} on {}{doubt}", typed.guest, guest.vmid, guest.node),
            is_correction: kind_corrected || (!typed.is_open && guest.node != typed.node),
            kind_corrected,
            is_unconfirmed: !doubt.is_empty(),
        }),
    }))
}

/// Returns whether the guest has a config at its place, so that nothing of the path is open.
fn has_own_config(cluster: &ClusterHandle<'_>, typed: &GuestSegments<'_>) -> Result<bool, GuestError> {
    let (Some(kind), Ok(vmid)) = (GuestKind::from_name(typed.kind), typed.guest.parse()) else { return Ok(false) };
    match cluster.look_up_guest_config(typed.node, kind, vmid) {
        Ok(is_there) => Ok(is_there),
        Err(error) if error.is_cluster_unreachable() => Err(GuestError::Lookup(Arc::new(error))),
        // The guest is elsewhere, or the token may not see it.
        Err(_) => Ok(false),
    }
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
