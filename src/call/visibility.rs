//! The clusters that each client may use.

use crate::config::Client;
use crate::policy::ClusterPolicy;
use crate::pve::client::manager::ClusterManager;
use crate::render::clusters::{ClusterEntry, render_clusters};
use crate::render::list::{ListForm, RenderedList};

/// The clusters that one client may use.
pub struct VisibleClusters {
    pub(super) manager: ClusterManager,
    /// Rendered once: it depends on the configuration alone.
    pub(super) listing: RenderedList,
    /// The clusters by what their rules permit, in the order of the configuration.
    pub(super) rights: Vec<RightsGroup>,
}

/// Clusters whose rules permit the same.
pub(super) struct RightsGroup {
    pub(super) policy: ClusterPolicy,
    /// The names, separated by commas.
    pub(super) names: String,
}

/// The clusters, by client.
pub(super) struct ClusterVisibility {
    /// For clients without a restriction.
    pub(super) all: VisibleClusters,
    restricted: Vec<(String, VisibleClusters)>,
    /// For a client that the configuration does not list.
    none: VisibleClusters,
}

impl VisibleClusters {
    fn new(manager: ClusterManager) -> Self {
        let default = manager.default_cluster();
        let entries = manager.clusters().iter().map(|cluster| {
            let is_default = default.is_some_and(|default| std::sync::Arc::ptr_eq(default, cluster));
            ClusterEntry::new(cluster.settings(), is_default, None)
        });
        let listing = render_clusters(entries, ListForm::UNLIMITED);
        let rights = group_by_rights(&manager);
        Self { manager, listing, rights }
    }
}

/// Groups clusters by their permissions and confirmations.
fn group_by_rights(manager: &ClusterManager) -> Vec<RightsGroup> {
    let mut groups: Vec<RightsGroup> = Vec::new();
    for cluster in manager.clusters() {
        let (policy, name) = (&cluster.settings().policy, cluster.settings().name.as_str());
        let is_same = |group: &&mut RightsGroup| {
            group.policy.permissions == policy.permissions && group.policy.confirm == policy.confirm
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => [", ", name].iter().for_each(|part| group.names.push_str(part)),
            None => groups.push(RightsGroup { policy: policy.clone(), names: name.to_owned() }),
        }
    }
    groups
}

impl ClusterVisibility {
    pub(super) fn new(clusters: ClusterManager, clients: &[Client]) -> Self {
        let restrict = |client: &Client| {
            Some((client.name.clone(), VisibleClusters::new(clusters.restrict_to(client.clusters.as_deref()?))))
        };
        let restricted = clients.iter().filter_map(restrict).collect();
        let none = VisibleClusters::new(clusters.restrict_to(&[]));
        Self { all: VisibleClusters::new(clusters), restricted, none }
    }

    pub(super) fn for_client(&self, client: &Client) -> &VisibleClusters {
        match client.clusters {
            None => &self.all,
            Some(_) => {
                let entry = self.restricted.iter().find(|(name, _)| *name == client.name);
                entry.map_or(&self.none, |(_, clusters)| clusters)
            }
        }
    }
}
