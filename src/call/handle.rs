//! The handle through which a tool uses one cluster.

use super::lookup_error::LookupError;
use super::scope::CallScope;
use crate::base::cancel::CancelToken;
use crate::policy::{AccessLevel, EffectivePolicy};
use crate::pve::client::cluster::{ApiResponse, Cluster, ClusterOutage};
use crate::pve::client::manager::SelectClusterError;
use crate::pve::error::PveError;
use crate::pve::guests::{Guest, GuestKind, GuestList};
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::pve::schema::Schema;
use crate::pve::token_privileges::TokenPrivileges;
use crate::render::clusters::{ClusterCheck, ClusterEntry};
use crate::sanitize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The maximum time of the reads of a call. The time limit of the SDKs of MCP is 60 s, after which an answer is lost. A
/// cluster with a longer `timeout_seconds` has that.
const MAX_CALL_TIME: Duration = Duration::from_secs(50);

/// The maximum time of a read that tries a cluster again on which other clusters do not depend.
const RETRY_TIME: Duration = Duration::from_secs(6);

/// One cluster within the scope of one tool call.
///
/// The handle gives no access to the client of the cluster. A request is sent only as a
/// [`Confirmed`](super::Confirmed) call.
pub struct ClusterHandle<'a> {
    pub(super) scope: CallScope<'a>,
    pub(super) cluster: &'a Arc<Cluster>,
    pub(super) cancel: CancelToken,
    /// The end of the reads of this handle.
    deadline: Instant,
    /// The call is one to all clusters, and must not wait for a sick one.
    is_one_of_many: bool,
    /// The guests and nodes are looked up at most once.
    pub(super) guests: OnceLock<Result<GuestList, Arc<LookupError>>>,
    pub(super) nodes: OnceLock<Result<Vec<ListedNode>, Arc<LookupError>>>,
    /// The config of the guest of a complete path, if it was looked up and is one.
    pub(super) guest_config: OnceLock<GuestConfig>,
    /// The guests that earlier calls of the same list make.
    pub(super) planned_guests: Mutex<Vec<PlannedGuest>>,
    /// The changes that earlier calls of the same list make.
    pub(super) planned_changes: Mutex<Vec<PlannedChange>>,
    /// The privileges of the API token are looked up at most once.
    pub(super) token_privileges: OnceLock<Result<Arc<TokenPrivileges>, Arc<LookupError>>>,
}

/// The config of a guest.
pub(super) struct GuestConfig {
    pub(super) path: ApiPath,
    /// The JSON text.
    pub(super) data: String,
    /// The guest with its name and tags. A config has no pool.
    pub(super) guest: Guest,
}

/// A guest that a call makes.
#[derive(Clone)]
pub(super) struct PlannedGuest {
    pub(super) kind: GuestKind,
    pub(super) node: String,
    pub(super) vmid: u32,
    /// Empty if the call gives none.
    pub(super) name: String,
}

/// A change that an earlier call of the same list makes.
#[derive(Clone)]
pub(super) struct PlannedChange {
    /// The normalized path of the object.
    pub(super) object: Vec<String>,
    pub(super) base: PlannedBase,
    pub(super) options: ApiParams,
}

/// The options that an object has before those of the call.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum PlannedBase {
    /// The object exists already.
    Present,
    New,
    /// The call copies them from this object.
    CopyOf(ApiPath),
    /// A backup has them.
    Unknown,
}

/// A node in the list of its cluster.
pub(super) struct ListedNode {
    pub(super) name: String,
    pub(super) status: String,
}

impl<'a> CallScope<'a> {
    /// Selects the cluster with this name, or the default cluster.
    pub fn select(self, name: Option<&str>) -> Result<ClusterHandle<'a>, SelectClusterError> {
        let cluster = self.clusters.manager.select(name)?;
        Ok(self.handle(cluster, self.origin.cancel.clone()))
    }

    /// Selects the cluster with this name, else the default cluster, else the first one.
    pub fn select_any(self, name: Option<&str>) -> Result<ClusterHandle<'a>, SelectClusterError> {
        let cluster = self.clusters.manager.select_any(name)?;
        Ok(self.handle(cluster, self.origin.cancel.clone()))
    }

    /// Selects the cluster with this name, or every cluster.
    pub fn select_all(self, name: Option<&str>) -> Result<Vec<ClusterHandle<'a>>, SelectClusterError> {
        match name {
            Some(name) => Ok(vec![self.select(Some(name))?]),
            None => Ok(self.all_clusters()),
        }
    }

    /// Returns a handle for each cluster, with a cancel token of its own for requests in parallel.
    pub fn all_clusters(self) -> Vec<ClusterHandle<'a>> {
        let clusters = self.clusters.manager.clusters();
        let handle = |cluster| ClusterHandle {
            is_one_of_many: clusters.len() > 1,
            ..self.handle(cluster, self.origin.cancel.child_token())
        };
        clusters.iter().map(handle).collect()
    }

    fn handle(self, cluster: &'a Arc<Cluster>, cancel: CancelToken) -> ClusterHandle<'a> {
        ClusterHandle {
            scope: self,
            cluster,
            cancel,
            deadline: Instant::now() + MAX_CALL_TIME.max(cluster.settings().timeout),
            is_one_of_many: false,
            guests: OnceLock::new(),
            nodes: OnceLock::new(),
            guest_config: OnceLock::new(),
            planned_guests: Mutex::default(),
            planned_changes: Mutex::default(),
            token_privileges: OnceLock::new(),
        }
    }
}

impl<'a> ClusterHandle<'a> {
    /// Returns the end of a read that begins now. Fails if the read should not be sent, because a call to all clusters
    /// need not wait for one that did not answer a short time ago.
    pub(super) fn read_deadline(&self) -> Result<Instant, PveError> {
        if !self.is_one_of_many {
            return Ok(self.deadline);
        }
        match self.cluster.outage() {
            None => Ok(self.deadline),
            Some(ClusterOutage::BackingOff(error)) => Err(error),
            Some(ClusterOutage::RetryDue) => Ok(self.deadline.min(Instant::now() + RETRY_TIME)),
        }
    }

    /// Returns the guest with this number or name that an earlier call of the same list makes.
    pub(super) fn find_planned_guest(&self, query: &str) -> Option<PlannedGuest> {
        let guests = self.planned_guests.lock().unwrap_or_else(PoisonError::into_inner);
        let is_match = |guest: &&PlannedGuest| {
            guest.vmid.to_string() == query || (!guest.name.is_empty() && guest.name.eq_ignore_ascii_case(query))
        };
        guests.iter().find(is_match).cloned()
    }

    /// Returns the cluster's name in clusters.json.
    pub fn name(&self) -> &'a str {
        &self.cluster.settings().name
    }

    /// Returns the name where the caller can use several clusters.
    pub fn label(&self) -> Option<&'a str> {
        self.scope.has_several_clusters().then(|| self.name())
    }

    /// Returns the cluster's description of its API, or the embedded facts where the cluster has none.
    pub fn schema(&self) -> Arc<Schema> {
        self.cluster.schema(&self.cancel)
    }

    /// Returns the entry of the cluster for `list_clusters`.
    pub fn listing_entry(&self, check: Option<ClusterCheck>) -> ClusterEntry<'a> {
        let default = self.scope.clusters.manager.default_cluster();
        let is_default = default.is_some_and(|default| Arc::ptr_eq(default, self.cluster));
        ClusterEntry::new(self.cluster.settings(), is_default, check)
    }

    /// Describes what the caller may do, by the rules of this server.
    pub fn describe_rights(&self) -> String {
        let mut text = String::new();
        self.policy().write_rights(&mut text);
        text
    }

    /// Returns the reason for each node that the cluster named by itself and that does not answer, as far as known.
    pub fn unreachable_discovered_nodes(&self) -> Vec<String> {
        let states = self.cluster.node_states().into_iter().skip(self.cluster.settings().endpoints.len());
        states.filter_map(|state| Some(state.backoff?.to_string())).collect()
    }

    /// Returns whether secrets are removed from the cluster's texts: only full access on both sides shows them, when the
    /// call began and now.
    pub fn needs_redaction(&self) -> bool {
        self.policy().access() < AccessLevel::Full || self.has_lost_full_access()
    }

    fn has_lost_full_access(&self) -> bool {
        let scope = &self.scope;
        if scope.rights.generation() == scope.generation {
            return false;
        }
        let present = scope.rights.current();
        present.find_policy(scope.origin.client, self.name()).map_or(true, |policy| policy.access() < AccessLevel::Full)
    }

    /// Removes secrets from a text, if the caller may not see them.
    pub fn redact(&self, text: String) -> String {
        if self.needs_redaction() { sanitize::redact_text(&text).into_owned() } else { text }
    }

    pub(super) fn redact_response(&self, response: ApiResponse) -> ApiResponse {
        if self.needs_redaction() { response.map_body(sanitize::redact_json) } else { response }
    }

    /// Returns a handle of the same cluster that looks its guests and nodes up again.
    pub fn with_new_lookups(&self) -> Self {
        self.scope.handle(self.cluster, self.cancel.clone())
    }

    /// Returns the rules of the cluster and of the client.
    pub(super) fn policy(&self) -> EffectivePolicy<'a> {
        self.scope.origin.client.policy_on(&self.cluster.settings().policy)
    }
}
