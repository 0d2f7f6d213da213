//! The state that all calls share.

use super::confirmation_codes::ConfirmationCodes;
use super::scope::{CallOrigin, CallScope};
use super::visibility::ClusterVisibility;
use crate::audit::AuditLog;
use crate::config::Client;
use crate::pve::client::cluster::Clock;
use crate::pve::client::manager::ClusterManager;
use std::sync::{Arc, PoisonError, RwLock};

/// The clusters, the audit log and the confirmation codes.
pub struct CallService {
    /// Replaced as a whole. A running call keeps the clusters with which it began.
    visibility: RwLock<Arc<ClusterVisibility>>,
    confirmation_codes: ConfirmationCodes,
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
        let visibility = RwLock::new(Arc::new(ClusterVisibility::new(clusters, clients)));
        Ok(Self { visibility, confirmation_codes: ConfirmationCodes::new()?, audit })
    }

    /// Replaces the clock by which confirmation codes expire.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { confirmation_codes: self.confirmation_codes.with_clock(clock), ..self }
    }

    /// Returns the current clusters.
    pub fn clusters(&self) -> ClusterManager {
        self.current_visibility().all.manager.clone()
    }

    /// Replaces clusters and clients for the calls that begin from now on.
    pub fn replace_clusters(&self, clusters: ClusterManager, clients: &[Client]) {
        let visibility = Arc::new(ClusterVisibility::new(clusters, clients));
        *self.visibility.write().unwrap_or_else(PoisonError::into_inner) = visibility;
    }

    /// Runs one tool call in its scope.
    pub fn run<T>(&self, origin: &CallOrigin<'_>, run: impl FnOnce(CallScope<'_>) -> T) -> T {
        let visibility = self.current_visibility();
        run(CallScope {
            origin,
            clusters: visibility.for_client(origin.client),
            audit: &self.audit,
            confirmation_codes: &self.confirmation_codes,
        })
    }

    fn current_visibility(&self) -> Arc<ClusterVisibility> {
        self.visibility.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
