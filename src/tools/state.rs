//! The state that all tools share.

use crate::audit::AuditLog;
use crate::call::CallService;
use crate::config::Client;
use crate::pve::client::cluster::Clock;
use crate::pve::client::manager::ClusterManager;
use std::sync::Arc;

/// The state that all tools share. A handler receives only the scope of its call.
pub struct ToolState {
    pub(super) calls: CallService,
    /// The limit of an answer's text. 0 is no limit.
    pub(super) max_result_bytes: usize,
}

impl ToolState {
    /// Creates the state.
    ///
    /// # Errors
    /// The system returns no random bytes for the key of the confirmation codes.
    pub fn new(
        clusters: ClusterManager,
        clients: &[Client],
        audit: Arc<AuditLog>,
        max_result_bytes: usize,
    ) -> Result<Self, ring::error::Unspecified> {
        Ok(Self { calls: CallService::new(clusters, clients, audit)?, max_result_bytes })
    }

    /// Replaces the clock by which the server tells a person's answer from a client's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { calls: self.calls.with_clock(clock), ..self }
    }

    /// Returns the current clusters.
    pub fn clusters(&self) -> ClusterManager {
        self.calls.clusters()
    }

    /// Replaces clusters and clients for the calls that begin from now on.
    pub fn replace_clusters(&self, clusters: ClusterManager, clients: &[Client]) {
        self.calls.replace_clusters(clusters, clients);
    }
}
