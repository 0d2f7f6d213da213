//! What every tool works at: the clusters that its caller may see, and the one way to have something done on them. Whatever
//! goes to a cluster for a caller is judged here first, and written down.

use super::confirm::Codes;
use crate::audit::{Audit, Decision, Event, Outcome, Record};
use crate::mcp::context::{Caller, Context};
use crate::policy::{Access, Deed, LIFT, Risk};
use crate::pve::Method;
use crate::pve::cluster::Cluster;
use crate::pve::error::Error;
use crate::pve::manager::ClusterManager;
use crate::pve::params::Params;
use crate::pve::path::ApiPath;
use crate::redact;
use crate::settings::Client;
use std::sync::Arc;
use std::time::Instant;

/// Shared by all tools.
pub struct Desk {
    /// What a client may see that is not restricted.
    all: ClusterManager,
    /// The clusters of each client that is.
    restricted: Vec<(String, ClusterManager)>,
    /// For a client nobody knows.
    none: ClusterManager,
    pub(super) codes: Codes,
    audit: Arc<Audit>,
    /// The text of an answer is cut there (0: never).
    pub(super) max_result_bytes: usize,
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
        let only = |client: &Client| Some((client.name.clone(), clusters.only(client.clusters.as_deref()?)));
        let restricted = clients.iter().filter_map(only).collect();
        let none = clusters.only(&[]);
        Ok(Self { all: clusters, restricted, none, codes: Codes::new()?, audit, max_result_bytes })
    }

    /// The clusters of every kind of caller: all, those of each restricted client, none.
    pub(super) fn views(&self) -> impl Iterator<Item = &ClusterManager> {
        [&self.all].into_iter().chain(self.restricted.iter().map(|(_, only)| only)).chain([&self.none])
    }

    /// Which of [`Desk::views`] a client has.
    pub(super) fn view_of(&self, client: &Client) -> usize {
        match client.clusters {
            None => 0,
            Some(_) => {
                let known = self.restricted.iter().position(|(name, _)| *name == client.name);
                known.unwrap_or(self.restricted.len()) + 1
            }
        }
    }

    /// One call of a tool.
    pub(super) fn visit<'a>(&'a self, context: &'a Context<'_>, tool: &'static str) -> Visit<'a> {
        let view = self.view_of(&context.caller.client);
        let manager = self.views().nth(view).unwrap_or(&self.none);
        Visit { desk: self, manager, caller: context.caller, id: context.id, tool }
    }
}

/// One call of a tool, by one caller.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) desk: &'a Desk,
    /// The clusters its caller may see.
    pub(super) manager: &'a ClusterManager,
    pub(super) caller: &'a Caller,
    id: u64,
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

impl Visit<'_> {
    /// Whether what comes back is to be searched for secrets: only who may read them all gets it as it is.
    pub(super) fn redacts(&self, cluster: &Cluster) -> bool {
        self.caller.client.rights.access.min(cluster.settings().rules.rights.access) < Access::Full
    }

    /// A cluster's words, or what is said with them, as the caller may read them.
    pub(super) fn shown(&self, cluster: &Cluster, said: String) -> String {
        if self.redacts(cluster) { redact::text(&said).into_owned() } else { said }
    }

    /// Whether it may be done, by all that is known without asking the cluster. A refusal is written down.
    pub(super) fn judge(&self, act: Act<'_>, template: Option<&str>, risk: Risk) -> Result<(), String> {
        let (rules, client) = (&act.cluster.settings().rules, &self.caller.client);
        let owned: Vec<_> = act.path.segments().collect();
        let segments: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
        let deed = Deed { method: act.method.as_str(), segments: &segments, template, risk };
        rules.judge(&client.name, client.rights, &deed).map_err(|why| self.refused(act, why))
    }

    /// Writes down that something was refused, and says so.
    pub(super) fn refused(&self, act: Act<'_>, why: String) -> String {
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
        self.may_read(cluster, path)?;
        let begun = Instant::now();
        let result = ask();
        let act = Act { cluster, method: Method::Get, path, params };
        self.close(act, Event::Call, Decision::Allowed, result.as_ref().err(), None, begun);
        result.map_err(|error| self.shown(cluster, error.to_string()))
    }

    /// Whether a tool may read this for itself: what only looks is let through at every level.
    pub(super) fn may_read(&self, cluster: &Cluster, path: &ApiPath) -> Result<(), String> {
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
        if !self.desk.audit.wants(event) {
            return Ok(());
        }
        let redacted = |(name, value)| (name, redact::value(name, value).into_owned());
        // Whoever named a guest or wrote a path may have put a secret there, and so may whoever made up an UPID.
        let operation = format!("{} {}", act.method, act.path);
        let (why, upid) = (why.map(redact::text), upid.map(redact::text));
        let arguments: Vec<_> = act.params.iter().map(redacted).collect();
        let mut segments = act.path.segments();
        let guest = segments.find(|segment| matches!(segment.as_ref(), "qemu" | "lxc")).and(segments.next());
        let Caller { client, address, transport } = self.caller;
        self.desk.audit.write(&Record {
            event,
            id: &format!("{:x}", self.id),
            client: &client.name,
            address: *address,
            transport,
            tool: self.tool,
            cluster: &act.cluster.settings().name,
            operation: &redact::text(&operation),
            guest: guest.as_deref(),
            arguments: &arguments,
            decision,
            why: why.as_deref(),
            upid: upid.as_deref(),
            outcome: end.as_ref().map(|(outcome, _)| *outcome),
            duration: end.as_ref().map(|(_, begun)| begun.elapsed()),
        })
    }
}
