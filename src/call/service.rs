//! The state that all calls share.

use super::approvals::{ApprovalDecision, ApprovalError, ApprovalView, Approvals, Approver};
use super::confirmation_codes::ConfirmationCodes;
use super::rights::RightsStore;
use super::scope::{CallOrigin, CallScope, RemovedClient};
use crate::audit::AuditLog;
use crate::base::sealing_keys::SealingKeys;
use crate::config::Client;
use crate::pve::client::cluster::Clock;
use crate::pve::client::manager::ClusterManager;
use std::sync::Arc;

/// The rights of the clients, the audit log and the confirmation codes.
pub struct CallService {
    /// Replaced as a whole.
    rights: Arc<RightsStore>,
    confirmation_codes: ConfirmationCodes,
    approvals: Approvals,
    audit: Arc<AuditLog>,
}

impl CallService {
    /// Creates the state.
    ///
    /// # Errors
    /// The system returns no random bytes for the key of the confirmation codes.
    pub fn new(
        clusters: ClusterManager,
        clients: &[Client],
        audit: Arc<AuditLog>,
    ) -> Result<Self, ring::error::Unspecified> {
        let rights = Arc::new(RightsStore::new(clusters, clients));
        let approvals = Approvals::new(rights.clone(), audit.clone());
        Ok(Self { rights, confirmation_codes: ConfirmationCodes::new()?, approvals, audit })
    }

    /// Signs confirmation codes with secrets that other replicas have too.
    #[must_use]
    pub fn with_sealing_keys(self, keys: &SealingKeys) -> Self {
        Self { confirmation_codes: ConfirmationCodes::with_keys(keys), ..self }
    }

    /// Replaces the clock by which confirmation codes and approvals expire.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { confirmation_codes: self.confirmation_codes.with_clock(clock), ..self }
    }

    /// Returns the current clusters.
    pub fn clusters(&self) -> ClusterManager {
        self.rights.current().all_clusters().clone()
    }

    /// Replaces clusters and clients in one step, also for calls that have not been sent.
    pub fn replace_clusters(&self, clusters: ClusterManager, clients: &[Client]) {
        self.rights.replace(clusters, clients);
        self.prune_approvals();
    }

    /// Returns the calls that wait for the approval of a person.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// Returns the calls that a client may decide on.
    pub fn list_approvals(&self, client: &Arc<Client>) -> Result<Vec<ApprovalView>, ApprovalError> {
        self.approvals.list(client, self.confirmation_codes.elapsed_millis())
    }

    /// Records the decision of a person on a call that waits.
    pub fn decide_approval(
        &self,
        approver: &Approver<'_>,
        id: &str,
        decision: ApprovalDecision,
    ) -> Result<(), ApprovalError> {
        self.approvals.decide(approver, id, decision, self.confirmation_codes.elapsed_millis())
    }

    /// Removes the approvals that expired or lost their rights, and records each.
    pub fn prune_approvals(&self) {
        self.approvals.prune(self.confirmation_codes.elapsed_millis());
    }

    /// Removes all approvals, because the server stops, and records each.
    pub fn withdraw_approvals(&self) {
        self.approvals.withdraw_all(self.confirmation_codes.elapsed_millis());
    }

    /// Runs one tool call in its scope, with the present rights of its client. `origin.client` says only which client it
    /// is.
    pub fn run<T>(&self, origin: &CallOrigin<'_>, run: impl FnOnce(CallScope<'_>) -> T) -> Result<T, RemovedClient> {
        let snapshot = self.rights.current();
        let client = snapshot.find_client(origin.client).ok_or(RemovedClient)?;
        Ok(run(CallScope {
            origin: &CallOrigin { client, ..*origin },
            clusters: snapshot.clusters_of(client),
            rights: &self.rights,
            generation: snapshot.generation,
            audit: &self.audit,
            confirmation_codes: &self.confirmation_codes,
            approvals: &self.approvals,
        }))
    }
}
