//! The state that all tools share.

use crate::audit::AuditLog;
use crate::call::{CallOrigin, CallScope, CallService};
use crate::config::Client;
use crate::mcp::context::CallContext;
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

    /// Runs a handler in the scope of its call. `tool` names the tool, prompt or resource in the audit log.
    pub(super) fn run<T>(
        &self,
        context: &CallContext<'_>,
        tool: &'static str,
        run: impl FnOnce(CallScope<'_>) -> T,
    ) -> T {
        let origin = CallOrigin {
            client: &context.caller.client,
            address: context.caller.address,
            transport: context.caller.transport,
            tool,
            id: context.id,
            trace: context.trace,
            cancel: &context.cancel,
            observer: context.attributes,
        };
        self.calls.run(&origin, run)
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
