//! What every tool works at: the clusters that its caller may see, and the one way to have something done on them. Whatever
//! goes to a cluster for a caller is judged here first, and written down.

use crate::audit::{AuditDecision, AuditEvent, AuditLog, AuditOutcome, AuditRecord, AuditWriteError};
use crate::base::hint::render_error;
use crate::base::trace::{CallId, TraceParent};
use crate::call::confirm::ConfirmationCodes;
use crate::config::{Client, TokenHash};
use crate::mcp::CallAttributes;
use crate::mcp::catalog::{ToolError, ToolOutput};
use crate::mcp::context::{CallContext, Caller};
use crate::policy::{AccessLevel, Action, REMEDY, Risk};
use crate::pve::Method;
use crate::pve::client::cluster::{ApiResponse, Cluster};
use crate::pve::client::manager::ClusterManager;
use crate::pve::error::PveError;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use crate::sanitize;
use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// Shared by all tools.
pub struct ToolState {
    /// Replaced as a whole by [`ToolState::replace_clusters`]; a call goes on with what was there when it began.
    visibility: RwLock<Arc<ClusterVisibility>>,
    pub(crate) confirmation_codes: ConfirmationCodes,
    audit: Arc<AuditLog>,
    /// The text of an answer is cut there (0: never).
    pub(crate) max_result_bytes: usize,
}

/// The clusters, as each caller may see them.
struct ClusterVisibility {
    /// What a client may see that is not restricted.
    all: VisibleClusters,
    /// The clusters of each client that is.
    restricted: Vec<(String, VisibleClusters)>,
    /// For a client nobody knows.
    none: VisibleClusters,
}

/// Some of the clusters, and `list_clusters` of them: what is configured does not change as long as this lives.
struct VisibleClusters {
    manager: ClusterManager,
    cluster_list: (String, String),
}

impl VisibleClusters {
    fn new(manager: ClusterManager) -> Self {
        let listed = crate::tools::clusters::render_clusters(&manager, None);
        Self { manager, cluster_list: listed }
    }
}

impl ClusterVisibility {
    fn new(clusters: ClusterManager, clients: &[Client]) -> Self {
        let only = |client: &Client| {
            Some((client.name.clone(), VisibleClusters::new(clusters.restrict_to(client.clusters.as_deref()?))))
        };
        let restricted = clients.iter().filter_map(only).collect();
        let none = VisibleClusters::new(clusters.restrict_to(&[]));
        Self { all: VisibleClusters::new(clusters), restricted, none }
    }

    fn for_client(&self, client: &Client) -> &VisibleClusters {
        match client.clusters {
            None => &self.all,
            Some(_) => {
                self.restricted.iter().find(|(name, _)| *name == client.name).map_or(&self.none, |(_, view)| view)
            }
        }
    }
}

impl ToolState {
    /// For these clusters and clients.
    ///
    /// # Errors
    /// The system gives no random bytes for the key of the confirmations.
    pub fn new(
        clusters: ClusterManager,
        clients: &[Client],
        audit: Arc<AuditLog>,
        max_result_bytes: usize,
    ) -> Result<Self, ring::error::Unspecified> {
        let views = RwLock::new(Arc::new(ClusterVisibility::new(clusters, clients)));
        Ok(Self { visibility: views, confirmation_codes: ConfirmationCodes::new()?, audit, max_result_bytes })
    }

    /// All clusters, as they are now.
    pub fn clusters(&self) -> ClusterManager {
        self.visibility.read().unwrap_or_else(PoisonError::into_inner).all.manager.clone()
    }

    /// Goes on with other clusters and clients; calls in flight end with those they began with.
    pub fn replace_clusters(&self, clusters: ClusterManager, clients: &[Client]) {
        let views = Arc::new(ClusterVisibility::new(clusters, clients));
        *self.visibility.write().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// Serves one call of a tool.
    pub(crate) fn run_call(
        &self,
        context: &CallContext<'_>,
        tool: &'static str,
        run: &dyn Fn(ToolCall<'_>) -> Result<ToolOutput, ToolError>,
    ) -> Result<ToolOutput, ToolError> {
        let views = self.visibility.read().unwrap_or_else(PoisonError::into_inner).clone();
        let VisibleClusters { manager, cluster_list: listed } = views.for_client(&context.caller.client);
        let CallContext { caller, id, trace, attributes: tally, .. } = *context;
        run(ToolCall { state: self, manager, cluster_list: listed, caller, id, trace, attributes: tally, tool })
    }
}

/// One call of a tool, by one caller.
#[derive(Clone, Copy)]
pub(crate) struct ToolCall<'a> {
    pub(crate) state: &'a ToolState,
    /// The clusters its caller may see.
    pub(crate) manager: &'a ClusterManager,
    /// The answer of `list_clusters`: text and JSON.
    pub(crate) cluster_list: &'a (String, String),
    pub(crate) caller: &'a Caller,
    id: CallId,
    trace: Option<TraceParent>,
    attributes: &'a CallAttributes,
    tool: &'static str,
}

/// What is done, for the audit.
#[derive(Clone, Copy)]
pub(crate) struct ApiCall<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) method: Method,
    pub(crate) path: &'a ApiPath,
    pub(crate) params: &'a ApiParams,
}

/// Why something could not be looked at.
pub(crate) enum LookupError {
    /// It may not be.
    Denied(String),
    /// The cluster did not show it.
    Failed(PveError),
}

impl ToolCall<'_> {
    /// Whether what comes back is to be searched for secrets: only who may read them all gets it as it is.
    pub(crate) fn needs_redaction(&self, cluster: &Cluster) -> bool {
        self.caller.client.permissions.access.min(cluster.settings().policy.permissions.access) < AccessLevel::Full
    }

    /// A cluster's words, or what is said with them, as the caller may read them.
    pub(crate) fn redact(&self, cluster: &Cluster, text: String) -> String {
        if self.needs_redaction(cluster) { sanitize::redact_text(&text).into_owned() } else { text }
    }

    /// An answer of a cluster, as the caller may read it.
    pub(crate) fn redact_response(&self, cluster: &Cluster, response: ApiResponse) -> ApiResponse {
        if self.needs_redaction(cluster) { response.map_body(sanitize::redact_json) } else { response }
    }

    /// Whether it may be done, by all that is known without asking the cluster. A refusal is written down.
    pub(crate) fn authorize(&self, api_call: ApiCall<'_>, template: Option<&str>, risk: Risk) -> Result<(), String> {
        self.attributes.set_target(&api_call.cluster.settings().name);
        let (rules, client) = (&api_call.cluster.settings().policy, &self.caller.client);
        let owned: Vec<_> = api_call.path.segments().collect();
        let segments: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let action = Action { method: api_call.method.as_str(), segments: &segments, template, risk };
        rules.authorize(&client.name, client.permissions, &action).map_err(|why| self.deny(api_call, why))
    }

    /// Writes down that something was refused, and says so.
    pub(crate) fn deny(&self, api_call: ApiCall<'_>, reason: String) -> String {
        self.attributes.mark_denied();
        // It is refused all the same where that can't be written.
        let _ = self.write_audit(
            api_call,
            AuditEvent::Denied,
            AuditDecision::Denied,
            Some(reason.trim_end_matches(REMEDY)),
            None,
            None,
        );
        format!("refused: {reason}")
    }

    /// A read of a tool's own, of a path that stands in this program.
    pub(crate) fn get_audited<T>(
        &self,
        cluster: &Cluster,
        path: &ApiPath,
        params: &ApiParams,
        send: impl FnOnce() -> Result<T, PveError>,
    ) -> Result<T, String> {
        self.get_with_event(AuditEvent::Read, cluster, path, params, send)
            .map_err(|error| self.format_lookup_error(cluster, error))
    }

    /// The same of what the server looks up for a call, and nobody asked for.
    pub(crate) fn get_for_lookup<T>(
        &self,
        cluster: &Cluster,
        path: &ApiPath,
        params: &ApiParams,
        send: impl FnOnce() -> Result<T, PveError>,
    ) -> Result<T, String> {
        self.get_with_event(AuditEvent::Lookup, cluster, path, params, send)
            .map_err(|error| self.format_lookup_error(cluster, error))
    }

    fn format_lookup_error(&self, cluster: &Cluster, error: LookupError) -> String {
        match error {
            LookupError::Denied(why) => why,
            LookupError::Failed(error) => self.redact(cluster, render_error(&error)),
        }
    }

    /// Either of them, where it matters how it failed.
    pub(crate) fn get_with_event<T>(
        &self,
        event: AuditEvent,
        cluster: &Cluster,
        path: &ApiPath,
        params: &ApiParams,
        send: impl FnOnce() -> Result<T, PveError>,
    ) -> Result<T, LookupError> {
        self.authorize_read(cluster, path).map_err(LookupError::Denied)?;
        let begun = Instant::now();
        let result = send();
        let api_call = ApiCall { cluster, method: Method::Get, path, params };
        self.audit_end(api_call, event, AuditDecision::Allowed, result.as_ref().err(), None, begun);
        result.map_err(LookupError::Failed)
    }

    /// Whether a tool may read this for itself: what only looks is let through at every level.
    pub(crate) fn authorize_read(&self, cluster: &Cluster, path: &ApiPath) -> Result<(), String> {
        self.attributes.set_target(&cluster.settings().name);
        let rules = &cluster.settings().policy;
        if rules.deny.is_empty() && rules.allow.is_none() {
            return Ok(());
        }
        let api_call = ApiCall { cluster, method: Method::Get, path, params: &ApiParams::new() };
        self.authorize(api_call, Some(path.as_str()), Risk::READ)
    }

    /// Writes down what is about to be changed.
    ///
    /// # Errors
    /// It can't be written: then nothing may be changed.
    pub(crate) fn audit_start(&self, api_call: ApiCall<'_>, decision: AuditDecision) -> Result<(), String> {
        let written = self.write_audit(api_call, AuditEvent::ChangeStarted, decision, None, None, None);
        written.map_err(|error| format!("{}; without it nothing is changed", render_error(&error)))
    }

    /// Writes down that a confirmation was asked for.
    pub(crate) fn audit_confirmation_request(&self, api_call: ApiCall<'_>) {
        let _ = self.write_audit(
            api_call,
            AuditEvent::ConfirmationRequested,
            AuditDecision::ConfirmationRequested,
            None,
            None,
            None,
        );
    }

    /// Writes down how it ended. What is done is done, whether that can be written or not: the log says if not.
    pub(crate) fn audit_end(
        &self,
        api_call: ApiCall<'_>,
        event: AuditEvent,
        decision: AuditDecision,
        error: Option<&PveError>,
        upid: Option<&str>,
        begun: Instant,
    ) {
        if !self.state.audit.is_enabled(event) {
            return;
        }
        let said = error.map(|error| sanitize::redact_text(&render_error(error)).into_owned());
        let outcome = match (error, said.as_deref()) {
            (Some(PveError::OutcomeUnknown { .. }), Some(said)) => AuditOutcome::Unknown(said),
            (Some(_), Some(said)) => AuditOutcome::Failed(said),
            _ => AuditOutcome::Ok,
        };
        let _ = self.write_audit(api_call, event, decision, None, upid, Some((outcome, begun)));
    }

    fn write_audit(
        &self,
        api_call: ApiCall<'_>,
        event: AuditEvent,
        decision: AuditDecision,
        why: Option<&str>,
        upid: Option<&str>,
        end: Option<(AuditOutcome<'_>, Instant)>,
    ) -> Result<(), AuditWriteError> {
        self.attributes.set_target(&api_call.cluster.settings().name);
        if !self.state.audit.is_enabled(event) {
            return Ok(());
        }
        // Whoever named a guest or wrote a path may have put a secret there, and so may whoever made up an UPID.
        let operation = format!("{} {}", api_call.method, api_call.path);
        let (why, upid) = (why.map(sanitize::redact_text), upid.map(sanitize::redact_text));
        let arguments = format_arguments(api_call.params);
        let guest = describe_guests(api_call.path, api_call.params);
        let Caller { client, address, transport, .. } = self.caller;
        self.state.audit.write(&AuditRecord {
            event,
            id: &self.id.to_string(),
            trace: self.trace.as_ref().map(TraceParent::as_str),
            client: &client.name,
            address: *address,
            transport,
            tool: self.tool,
            cluster: &api_call.cluster.settings().name,
            operation: &sanitize::redact_text(&operation),
            guest: Some(guest.as_str()).filter(|guest| !guest.is_empty()),
            arguments: &arguments,
            decision,
            reason: why.as_deref(),
            upid: upid.as_deref(),
            outcome: end.as_ref().map(|(outcome, _)| *outcome),
            duration: end.as_ref().map(|(_, begun)| begun.elapsed()),
        })
    }
}

/// Names and values without secrets. What is given several times is a list; of what is too long for a line its length and
/// hash stand there, so that no filler hides what was sent.
fn format_arguments(params: &ApiParams) -> Vec<(&str, String)> {
    const MAX_CHARS: usize = 256;
    let mut found: Vec<(&str, Vec<Cow<'_, str>>)> = Vec::new();
    for (name, value) in params.iter() {
        let value = sanitize::redact_parameter(name, value);
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => found.push((name, vec![value])),
        }
    }
    let text = |values: Vec<Cow<'_, str>>| {
        let value = match values.as_slice() {
            [one] => one.to_string(),
            several => serde_json::Value::from_iter(several.iter().map(AsRef::<str>::as_ref)).to_string(),
        };
        if value.chars().nth(MAX_CHARS).is_none() {
            return value;
        }
        let hash = TokenHash::from_token(value.as_bytes());
        let begin: String = value.chars().take(120).collect();
        format!("{begin}… ({} bytes, SHA-256 {hash})", value.len())
    };
    found.into_iter().map(|(name, values)| (name, text(values))).collect()
}

/// The guest of a path, or the guests that the parameters name.
fn describe_guests(path: &ApiPath, params: &ApiParams) -> String {
    let mut segments = path.segments();
    if let Some(guest) = segments.find(|segment| matches!(segment.as_ref(), "qemu" | "lxc")).and(segments.next()) {
        return guest.into_owned();
    }
    let named = params.iter().filter(|(name, _)| matches!(*name, "vmid" | "vms"));
    named.map(|(_, value)| value).collect::<Vec<_>>().join(",")
}
