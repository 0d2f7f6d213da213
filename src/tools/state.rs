//! The state that all tools share.

use crate::audit::AuditLog;
use crate::base::sealing_keys::SealingKeys;
use crate::call::{CallOrigin, CallScope, CallService, RemovedClient};
use crate::config::Client;
use crate::mcp::context::CallContext;
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

    /// Signs confirmation codes with secrets that other replicas have too.
    #[must_use]
    pub fn with_sealing_keys(self, keys: &SealingKeys) -> Self {
        Self { calls: self.calls.with_sealing_keys(keys), ..self }
    }

    /// Replaces the clock by which the server tells a person's answer from a client's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { calls: self.calls.with_clock(clock), ..self }
    }

    /// Runs a handler in the scope of its call. `tool` names the tool, prompt or resource in the audit log.
    ///
    /// # Errors
    /// The client lost its rights after it was authenticated.
    pub(super) fn run<T>(
        &self,
        context: &CallContext<'_>,
        tool: &'static str,
        run: impl FnOnce(CallScope<'_>) -> T,
    ) -> Result<T, RemovedClient> {
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
        self.calls.run(&origin, run).inspect_err(|_| context.attributes.mark_denied())
    }

    /// Returns the state that all calls share.
    pub fn call_service(&self) -> &CallService {
        &self.calls
    }

    /// Returns the current clusters.
    pub fn clusters(&self) -> ClusterManager {
        self.calls.clusters()
    }

    /// Replaces clusters and clients in one step, also for calls that have not been sent.
    pub fn replace_clusters(&self, clusters: ClusterManager, clients: &[Client]) {
        self.calls.replace_clusters(clusters, clients);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cancel::CancelToken;
    use crate::base::trace::CallId;
    use crate::config::Limits;
    use crate::mcp::CallAttributes;
    use crate::pve::client::cluster::Cluster;
    use crate::pve::demo::Demo;
    use crate::tools::facts::{FactReader, facts_deadline};
    use std::time::Instant;

    #[test]
    fn nothing_is_asked_after_the_deadline() {
        let demo = Demo::start().expect("the demo cluster");
        let cluster = Arc::new(Cluster::new(demo.cluster(), &Limits::default()).expect("a client"));
        let manager = ClusterManager::from_clients(vec![cluster], None).expect("clients");
        let state = ToolState::new(manager, &[], Arc::new(AuditLog::without_file()), 0).expect("a state");
        let (client, cancel, observer) = (Arc::new(Client::stdio()), CancelToken::new(), CallAttributes::default());
        let origin = CallOrigin {
            client: &client,
            address: None,
            transport: "stdio",
            tool: "prompt health",
            id: CallId { process: 0, number: 0 },
            trace: None,
            cancel: &cancel,
            observer: &observer,
        };
        let ran = state.calls.run(&origin, |scope| {
            let cluster = scope.select(None).expect("the only cluster");
            let read = |deadline| FactReader { cluster: &cluster, deadline }.read_health().map(|_| ());
            assert!(read(facts_deadline()).is_ok());
            let error = read(Instant::now()).expect_err("no time is left").to_string();
            assert_eq!(error, "not asked: the time for the reads was over");
        });
        ran.expect("rights");
    }
}
