//! The rights of all clients: the clients, and the clusters with their rules, as one snapshot that a reload replaces.
//!
//! A client proves its identity with its token. Its rights are looked up in the snapshot, never taken from the
//! authentication, so a call never mixes the clients of one configuration with the clusters of another one. A call that
//! has not been sent is judged again once the snapshot is not the one by which it was authorized.

use super::visibility::{ClusterVisibility, VisibleClusters};
use crate::config::Client;
use crate::policy::{Denial, EffectivePolicy};
use crate::pve::client::manager::ClusterManager;
use std::sync::{Arc, PoisonError, RwLock};

/// The clients and the clusters of one configuration.
pub(super) struct RightsSnapshot {
    /// Differs between any two snapshots of a process.
    pub(super) generation: u64,
    /// Empty if no client needs a token.
    clients: Vec<Arc<Client>>,
    visibility: ClusterVisibility,
}

/// The current snapshot.
pub(super) struct RightsStore(RwLock<Arc<RightsSnapshot>>);

impl RightsSnapshot {
    fn new(generation: u64, clusters: ClusterManager, clients: &[Client]) -> Self {
        let visibility = ClusterVisibility::new(clusters, clients);
        Self { generation, clients: clients.iter().cloned().map(Arc::new).collect(), visibility }
    }

    /// Returns the client that has the same token, with its rights by this snapshot. Without clients, a caller without a
    /// token has all rights.
    pub(super) fn find_client<'s>(&'s self, identity: &'s Arc<Client>) -> Option<&'s Arc<Client>> {
        if self.clients.is_empty() {
            return (!identity.has_token()).then_some(identity);
        }
        self.clients.iter().find(|client| client.token_sha256.ct_eq(&identity.token_sha256))
    }

    pub(super) fn clients(&self) -> &[Arc<Client>] {
        &self.clients
    }

    /// Returns the clusters that a client of this snapshot may use.
    pub(super) fn clusters_of(&self, client: &Client) -> &VisibleClusters {
        self.visibility.for_client(client)
    }

    /// Returns every cluster.
    pub(super) fn all_clusters(&self) -> &ClusterManager {
        &self.visibility.all.manager
    }

    /// Returns the rules for the calls of a client to a cluster.
    pub(super) fn find_policy<'s>(
        &'s self,
        client: &'s Arc<Client>,
        cluster: &str,
    ) -> Result<EffectivePolicy<'s>, Denial> {
        let client = self.find_client(client).ok_or(Denial::RemovedClient)?;
        let clusters = &self.clusters_of(client).manager;
        let cluster = clusters.find(cluster).ok_or(Denial::RemovedCluster)?;
        Ok(client.policy_on(&cluster.settings().policy))
    }
}

impl RightsStore {
    pub(super) fn new(clusters: ClusterManager, clients: &[Client]) -> Self {
        Self(RwLock::new(Arc::new(RightsSnapshot::new(0, clusters, clients))))
    }

    pub(super) fn current(&self) -> Arc<RightsSnapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Replaces the snapshot in one step.
    pub(super) fn replace(&self, clusters: ClusterManager, clients: &[Client]) {
        let snapshot = RightsSnapshot::new(self.generation() + 1, clusters, clients);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}
