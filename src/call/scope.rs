//! The scope of one tool call: its caller and the clusters that the caller may use.

use super::approvals::Approvals;
use super::confirmation_codes::ConfirmationCodes;
use super::rights::RightsStore;
use super::visibility::{RightsGroup, VisibleClusters};
use crate::audit::AuditLog;
use crate::base::cancel::CancelToken;
use crate::base::hint::Hint;
use crate::base::trace::{CallId, TraceParent};
use crate::config::Client;
use crate::render::list::RenderedList;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The interval at which a waiting call looks for the decision.
const APPROVAL_POLL: Duration = Duration::from_millis(200);

/// Receives facts about a tool call, from any of its threads.
pub trait CallObserver: Sync {
    /// Records that the policy denied a part of the call.
    fn record_denial(&self);
    /// Records that the call was not sent, because of its confirmation.
    fn record_confirmation(&self, step: ConfirmationStep);
    /// Records that the call takes long on purpose.
    fn record_wait(&self);
    /// Records that the call concerns this cluster.
    fn record_cluster(&self, name: &str);
    /// Records what the call does, if `describe` is wanted.
    fn record_operation(&self, is_change: bool, describe: &dyn Fn() -> OperationDescription);
}

/// The operation of a call, without secrets.
pub struct OperationDescription {
    /// Method and path.
    pub operation: String,
    /// The guests as they are written in the log, or empty.
    pub guests: String,
}

/// The step of a confirmation that ends a tool call without sending anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationStep {
    /// The question is asked.
    Requested,
    /// The user did not agree.
    Declined,
    /// The client did not agree before a person could read the question.
    Unattended,
}

/// The origin of one tool call, for the policy and the audit log.
#[derive(Clone, Copy)]
pub struct CallOrigin<'a> {
    pub client: &'a Arc<Client>,
    /// `None` on stdio.
    pub address: Option<IpAddr>,
    pub transport: &'static str,
    pub tool: &'static str,
    pub id: CallId,
    pub trace: Option<TraceParent>,
    pub cancel: &'a CancelToken,
    pub observer: &'a dyn CallObserver,
}

/// The scope of one tool call. Every request to a cluster starts at a [`ClusterHandle`](super::ClusterHandle) of it.
#[derive(Clone, Copy)]
pub struct CallScope<'a> {
    pub(super) origin: &'a CallOrigin<'a>,
    pub(super) clusters: &'a VisibleClusters,
    pub(super) rights: &'a Arc<RightsStore>,
    /// Generation of the snapshot of the rights that the scope was made of.
    pub(super) generation: u64,
    pub(super) audit: &'a AuditLog,
    pub(super) confirmation_codes: &'a ConfirmationCodes,
    pub(super) approvals: &'a Approvals,
}

/// The client of a call has no rights any more. It had some when it was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: the operator removed this client or replaced its token. Nothing was sent")]
pub struct RemovedClient;

impl Hint for RemovedClient {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("ask the operator of this server for a new token (`proxmox-mcp token`)".into())
    }
}

impl<'a> CallScope<'a> {
    /// Returns the configured clusters as `list_clusters` shows them.
    pub fn listing(self) -> &'a RenderedList {
        &self.clusters.listing
    }

    /// Describes what the caller may do on the clusters, by the rules of this server.
    pub fn describe_rights(self) -> String {
        let client = &self.origin.client;
        let mut text = String::with_capacity(128);
        text.push_str("access by the rules of this server: ");
        for (at, RightsGroup { policy, names }) in self.clusters.rights.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "; " });
            client.policy_on(policy).write_rights(&mut text);
            if self.clusters.rights.len() > 1 {
                [" on ", names].iter().for_each(|part| text.push_str(part));
            }
        }
        text
    }

    /// Waits until a person decides on a call of the approvals, until the deadline, or until the call is cancelled.
    pub fn wait_for_approval(self, id: &str, deadline: Instant) {
        self.origin.observer.record_wait();
        while self.approvals.is_waiting(id, self.confirmation_codes.elapsed_millis())
            && Instant::now() < deadline
            && !self.origin.cancel.wait(APPROVAL_POLL)
        {}
    }

    /// Returns whether the caller can use more than one cluster.
    pub fn has_several_clusters(self) -> bool {
        self.clusters.manager.clusters().len() > 1
    }
}
