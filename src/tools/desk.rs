//! What every tool works at: the clusters that its caller may see, and the one way to have something done on them. Whatever
//! goes to a cluster for a caller is judged here first, and written down.

use super::confirm::Codes;
use crate::audit::{Audit, Decision, Event, Outcome, Record};
use crate::mcp::Tally;
use crate::mcp::catalog::{Output, Stop};
use crate::mcp::context::{Caller, Context};
use crate::policy::{Access, Deed, LIFT, Risk};
use crate::pve::Method;
use crate::pve::cluster::{Answer, Cluster};
use crate::pve::error::Error;
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use crate::redact;
use crate::settings::{Client, TokenHash};
use crate::trace::{CallId, Trace};
use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// Shared by all tools.
pub struct Desk {
    /// Replaced as a whole by [`Desk::replace`]; a call goes on with what was there when it began.
    views: RwLock<Arc<Views>>,
    pub(super) codes: Codes,
    audit: Arc<Audit>,
    /// The text of an answer is cut there (0: never).
    pub(super) max_result_bytes: usize,
}

/// The clusters, as each caller may see them.
struct Views {
    /// What a client may see that is not restricted.
    all: View,
    /// The clusters of each client that is.
    restricted: Vec<(String, View)>,
    /// For a client nobody knows.
    none: View,
}

/// Some of the clusters, and `list_clusters` of them: what is configured does not change as long as this lives.
struct View {
    manager: ClusterManager,
    listed: (String, String),
}

impl View {
    fn new(manager: ClusterManager) -> Self {
        let listed = super::clusters::table(&manager, None);
        Self { manager, listed }
    }
}

impl Views {
    fn new(clusters: ClusterManager, clients: &[Client]) -> Self {
        let only = |client: &Client| Some((client.name.clone(), View::new(clusters.only(client.clusters.as_deref()?))));
        let restricted = clients.iter().filter_map(only).collect();
        let none = View::new(clusters.only(&[]));
        Self { all: View::new(clusters), restricted, none }
    }

    fn of(&self, client: &Client) -> &View {
        match client.clusters {
            None => &self.all,
            Some(_) => {
                self.restricted.iter().find(|(name, _)| *name == client.name).map_or(&self.none, |(_, view)| view)
            }
        }
    }
}

impl Desk {
    /// For these clusters and clients.
    ///
    /// # Errors
    /// The system gives no random bytes for the key of the confirmations.
    pub fn new(
        clusters: ClusterManager,
        clients: &[Client],
        audit: Arc<Audit>,
        max_result_bytes: usize,
    ) -> Result<Self, ring::error::Unspecified> {
        let views = RwLock::new(Arc::new(Views::new(clusters, clients)));
        Ok(Self { views, codes: Codes::new()?, audit, max_result_bytes })
    }

    /// All clusters, as they are now.
    pub fn clusters(&self) -> ClusterManager {
        self.views.read().unwrap_or_else(PoisonError::into_inner).all.manager.clone()
    }

    /// Goes on with other clusters and clients; calls in flight end with those they began with.
    pub fn replace(&self, clusters: ClusterManager, clients: &[Client]) {
        let views = Arc::new(Views::new(clusters, clients));
        *self.views.write().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// Serves one call of a tool.
    pub(super) fn serve(
        &self,
        context: &Context<'_>,
        tool: &'static str,
        run: &dyn Fn(Visit<'_>) -> Result<Output, Stop>,
    ) -> Result<Output, Stop> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner).clone();
        let View { manager, listed } = views.of(&context.caller.client);
        let Context { caller, id, trace, tally, .. } = *context;
        run(Visit { desk: self, manager, listed, caller, id, trace, tally, tool })
    }
}

/// One call of a tool, by one caller.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) desk: &'a Desk,
    /// The clusters its caller may see.
    pub(super) manager: &'a ClusterManager,
    /// The answer of `list_clusters`: text and JSON.
    pub(super) listed: &'a (String, String),
    pub(super) caller: &'a Caller,
    id: CallId,
    trace: Option<Trace>,
    tally: &'a Tally,
    tool: &'static str,
}

/// What is done, for the audit.
#[derive(Clone, Copy)]
pub(super) struct Act<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) method: Method,
    pub(super) path: &'a ApiPath,
    pub(super) params: &'a Params,
}

/// Why something could not be looked at.
pub(super) enum Unseen {
    /// It may not be.
    Refused(String),
    /// The cluster did not show it.
    Failed(Error),
}

impl Visit<'_> {
    /// Whether what comes back is to be searched for secrets: only who may read them all gets it as it is.
    pub(super) fn redacts(&self, cluster: &Cluster) -> bool {
        self.caller.client.rights.access.min(cluster.settings().rules.rights.access) < Access::Full
    }

    /// A cluster's words, or what is said with them, as the caller may read them.
    pub(super) fn shown(&self, cluster: &Cluster, said: String) -> String {
        if self.redacts(cluster) { redact::text(&said).into_owned() } else { said }
    }

    /// An answer of a cluster, as the caller may read it.
    pub(super) fn answered(&self, cluster: &Cluster, answer: Answer) -> Answer {
        if self.redacts(cluster) { answer.rewritten(redact::answer) } else { answer }
    }

    /// Whether it may be done, by all that is known without asking the cluster. A refusal is written down.
    pub(super) fn judge(&self, act: Act<'_>, template: Option<&str>, risk: Risk) -> Result<(), String> {
        self.tally.concerns(&act.cluster.settings().name);
        let (rules, client) = (&act.cluster.settings().rules, &self.caller.client);
        let owned: Vec<_> = act.path.segments().collect();
        let segments: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let deed = Deed { method: act.method.as_str(), segments: &segments, template, risk };
        rules.judge(&client.name, client.rights, &deed).map_err(|why| self.refused(act, why))
    }

    /// Writes down that something was refused, and says so.
    pub(super) fn refused(&self, act: Act<'_>, why: String) -> String {
        self.tally.refuse();
        // It is refused all the same where that can't be written.
        let _ = self.write(act, Event::Refused, Decision::Refused, Some(why.trim_end_matches(LIFT)), None, None);
        format!("refused: {why}")
    }

    /// A read of a tool's own, of a path that stands in this program.
    pub(super) fn read<T>(
        &self,
        cluster: &Cluster,
        path: &ApiPath,
        params: &Params,
        ask: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, String> {
        self.see(Event::Call, cluster, path, params, ask).map_err(|unseen| self.text(cluster, unseen))
    }

    /// The same of what the server looks up for a call, and nobody asked for.
    pub(super) fn look<T>(
        &self,
        cluster: &Cluster,
        path: &ApiPath,
        params: &Params,
        ask: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, String> {
        self.see(Event::Look, cluster, path, params, ask).map_err(|unseen| self.text(cluster, unseen))
    }

    fn text(&self, cluster: &Cluster, unseen: Unseen) -> String {
        match unseen {
            Unseen::Refused(why) => why,
            Unseen::Failed(error) => self.shown(cluster, error.to_string()),
        }
    }

    /// Either of them, where it matters how it failed.
    pub(super) fn see<T>(
        &self,
        event: Event,
        cluster: &Cluster,
        path: &ApiPath,
        params: &Params,
        ask: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Unseen> {
        self.may_read(cluster, path).map_err(Unseen::Refused)?;
        let begun = Instant::now();
        let result = ask();
        let act = Act { cluster, method: Method::Get, path, params };
        self.close(act, event, Decision::Allowed, result.as_ref().err(), None, begun);
        result.map_err(Unseen::Failed)
    }

    /// Whether a tool may read this for itself: what only looks is let through at every level.
    pub(super) fn may_read(&self, cluster: &Cluster, path: &ApiPath) -> Result<(), String> {
        self.tally.concerns(&cluster.settings().name);
        let rules = &cluster.settings().rules;
        if rules.deny.is_empty() && rules.allow.is_none() {
            return Ok(());
        }
        let act = Act { cluster, method: Method::Get, path, params: &Params::new() };
        self.judge(act, Some(path.as_str()), Risk::READ)
    }

    /// Writes down what is about to be changed.
    ///
    /// # Errors
    /// It can't be written: then nothing may be changed.
    pub(super) fn open(&self, act: Act<'_>, decision: Decision) -> Result<(), String> {
        let written = self.write(act, Event::Begin, decision, None, None, None);
        written.map_err(|why| format!("the audit log can't be written ({why}), and without it nothing is changed"))
    }

    /// Writes down that a confirmation was asked for.
    pub(super) fn asked(&self, act: Act<'_>) {
        let _ = self.write(act, Event::Asked, Decision::Asked, None, None, None);
    }

    /// Writes down how it ended. What is done is done, whether that can be written or not: the log says if not.
    pub(super) fn close(
        &self,
        act: Act<'_>,
        event: Event,
        decision: Decision,
        error: Option<&Error>,
        upid: Option<&str>,
        begun: Instant,
    ) {
        if !self.desk.audit.wants(event) {
            return;
        }
        let said = error.map(|error| redact::text(&error.to_string()).into_owned());
        let outcome = match (error, said.as_deref()) {
            (Some(Error::OutcomeUnknown { .. }), Some(said)) => Outcome::Unknown(said),
            (Some(_), Some(said)) => Outcome::Failed(said),
            _ => Outcome::Ok,
        };
        let _ = self.write(act, event, decision, None, upid, Some((outcome, begun)));
    }

    fn write(
        &self,
        act: Act<'_>,
        event: Event,
        decision: Decision,
        why: Option<&str>,
        upid: Option<&str>,
        end: Option<(Outcome<'_>, Instant)>,
    ) -> Result<(), String> {
        self.tally.concerns(&act.cluster.settings().name);
        if !self.desk.audit.wants(event) {
            return Ok(());
        }
        // Whoever named a guest or wrote a path may have put a secret there, and so may whoever made up an UPID.
        let operation = format!("{} {}", act.method, act.path);
        let (why, upid) = (why.map(redact::text), upid.map(redact::text));
        let arguments = arguments(act.params);
        let guest = guests(act.path, act.params);
        let Caller { client, address, transport, .. } = self.caller;
        self.desk.audit.write(&Record {
            event,
            id: &self.id.to_string(),
            trace: self.trace.as_ref().map(Trace::as_str),
            client: &client.name,
            address: *address,
            transport,
            tool: self.tool,
            cluster: &act.cluster.settings().name,
            operation: &redact::text(&operation),
            guest: Some(guest.as_str()).filter(|guest| !guest.is_empty()),
            arguments: &arguments,
            decision,
            why: why.as_deref(),
            upid: upid.as_deref(),
            outcome: end.as_ref().map(|(outcome, _)| *outcome),
            duration: end.as_ref().map(|(_, begun)| begun.elapsed()),
        })
    }
}

/// Names and values without secrets. What is given several times is a list; of what is too long for a line its length and
/// hash stand there, so that no filler hides what was sent.
fn arguments(params: &Params) -> Vec<(&str, String)> {
    const LONGEST: usize = 256;
    let mut found: Vec<(&str, Vec<Cow<'_, str>>)> = Vec::new();
    for (name, value) in params.iter() {
        let value = redact::value(name, value);
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
        if value.chars().nth(LONGEST).is_none() {
            return value;
        }
        let hash = TokenHash::of(value.as_bytes());
        let begin: String = value.chars().take(120).collect();
        format!("{begin}… ({} bytes, SHA-256 {hash})", value.len())
    };
    found.into_iter().map(|(name, values)| (name, text(values))).collect()
}

/// The guest of a path, or the guests that the parameters name.
fn guests(path: &ApiPath, params: &Params) -> String {
    let mut segments = path.segments();
    if let Some(guest) = segments.find(|segment| matches!(segment.as_ref(), "qemu" | "lxc")).and(segments.next()) {
        return guest.into_owned();
    }
    let named = params.iter().filter(|(name, _)| matches!(*name, "vmid" | "vms"));
    named.map(|(_, value)| value).collect::<Vec<_>>().join(",")
}
