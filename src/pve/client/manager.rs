//! The clients of all clusters.

use crate::base::hint::Hint;
use crate::base::shorten::shorten;
use crate::base::suggest::suggest;
use crate::config::{ClustersFile, Limits};
use crate::pve::client::cluster::{Cluster, ClusterSetupError};
use std::borrow::Cow;
use std::sync::Arc;
use thiserror::Error;

/// One client for each cluster of clusters.json.
#[derive(Clone)]
pub struct ClusterManager {
    clusters: Vec<Arc<Cluster>>,
    default: Option<usize>,
}

/// Name that selects no cluster.
#[derive(Debug, Error)]
pub enum SelectClusterError {
    #[error("there are several clusters and no default")]
    NoDefault { available: Vec<String> },
    #[error("there is no cluster `{name}`; there is {}", quote(available))]
    Unknown {
        /// The name, shortened.
        name: String,
        suggestion: Option<String>,
        available: Vec<String>,
    },
}

impl Hint for SelectClusterError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            SelectClusterError::NoDefault { available } => {
                Some(format!("name one of {} in `cluster`", quote(available)).into())
            }
            SelectClusterError::Unknown { suggestion, .. } => {
                suggestion.as_ref().map(|name| format!("did you mean `{name}`?").into())
            }
        }
    }
}

fn quote(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl ClusterManager {
    /// Creates the clients. Opens no connection.
    pub fn new(clusters: &ClustersFile, limits: &Limits) -> Result<Self, ClusterSetupError> {
        Self::from_previous(&Self { clusters: Vec::new(), default: None }, clusters, limits)
    }

    /// Creates the clients after a change of the configuration. The client of an unchanged cluster is kept with its
    /// connections and its state.
    pub fn from_previous(previous: &Self, clusters: &ClustersFile, limits: &Limits) -> Result<Self, ClusterSetupError> {
        let clients = clusters
            .clusters
            .iter()
            .map(|settings| match previous.clusters.iter().find(|known| known.settings() == settings) {
                Some(known) => Ok(known.clone()),
                None => Cluster::new_among(clusters.clusters.len(), settings.clone(), limits).map(Arc::new),
            })
            .collect::<Result<_, _>>()?;
        Self::from_clients(clients, clusters.default.as_deref())
    }

    /// Creates the manager of these clients. An only cluster is the default.
    pub fn from_clients(clusters: Vec<Arc<Cluster>>, default: Option<&str>) -> Result<Self, ClusterSetupError> {
        let position = |name: &str| clusters.iter().position(|cluster| cluster.settings().name == name);
        let default = match default {
            Some(name) => {
                Some(position(name).ok_or_else(|| ClusterSetupError::UnknownDefault { name: name.to_owned() })?)
            }
            None => (clusters.len() == 1).then_some(0),
        };
        Ok(Self { clusters, default })
    }

    /// Returns the clients of the named clusters only.
    pub fn restrict_to(&self, names: &[String]) -> Self {
        let is_named = |cluster: &&Arc<Cluster>| names.contains(&cluster.settings().name);
        let clusters: Vec<_> = self.clusters.iter().filter(is_named).cloned().collect();
        let default = self.default_cluster().and_then(|default| clusters.iter().position(|c| Arc::ptr_eq(c, default)));
        // An only cluster is the default.
        Self { default: default.or((clusters.len() == 1).then_some(0)), clusters }
    }

    /// Returns the cluster called `name`, or the default for `None`.
    pub fn select(&self, name: Option<&str>) -> Result<&Arc<Cluster>, SelectClusterError> {
        let Some(name) = name else {
            return self.default_cluster().ok_or_else(|| SelectClusterError::NoDefault { available: self.names() });
        };
        self.find(name).ok_or_else(|| SelectClusterError::Unknown {
            name: shorten(name).into_owned(),
            suggestion: suggest(name, self.clusters.iter().map(|c| c.settings().name.as_str())).map(str::to_owned),
            available: self.names(),
        })
    }

    /// Returns the cluster called `name`.
    pub fn find(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.iter().find(|cluster| cluster.settings().name == name)
    }

    /// Returns the cluster called `name`, or for `None` the default, or the first. Suits calls whose answer is much the
    /// same in all clusters.
    pub fn select_any(&self, name: Option<&str>) -> Result<&Arc<Cluster>, SelectClusterError> {
        match (name, self.default_cluster().or(self.clusters.first())) {
            (None, Some(any)) => Ok(any),
            _ => self.select(name),
        }
    }

    /// Returns all clusters in the file's order.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// Returns the default cluster, if any.
    pub fn default_cluster(&self) -> Option<&Arc<Cluster>> {
        self.clusters.get(self.default?)
    }

    fn names(&self) -> Vec<String> {
        self.clusters.iter().map(|c| c.settings().name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use crate::base::secret::Secret;
    use crate::config::{self, Endpoint, TlsVerification};
    use crate::policy::ClusterPolicy;
    use std::time::Duration;

    fn manager(names: &[&str], default: Option<&str>) -> Result<ClusterManager, ClusterSetupError> {
        let clusters = names
            .iter()
            .map(|name| config::ClusterConfig {
                name: (*name).into(),
                endpoints: vec![Endpoint { https: true, host: "::1".into(), port: 8006 }],
                user: "root@pam".into(),
                token_id: "mcp".into(),
                token_secret: Secret::new("s".into()),
                tls: TlsVerification::Unverified,
                timeout: Duration::from_secs(1),
                discover_nodes: false,
                is_simulated: false,
                policy: ClusterPolicy::default(),
            })
            .collect();
        ClusterManager::new(
            &ClustersFile { clusters, default: default.map(Into::into), ..ClustersFile::default() },
            &Limits::default(),
        )
    }

    fn select_name(manager: &ClusterManager, name: Option<&str>) -> Result<String, String> {
        manager.select(name).map(|c| c.settings().name.clone()).map_err(|error| render_error(&error))
    }

    #[test]
    fn without_a_name_the_only_cluster_or_the_default_is_selected() {
        assert_eq!(select_name(&manager(&["lab"], None).unwrap(), None).unwrap(), "lab");
        assert_eq!(select_name(&manager(&["lab", "prod"], Some("prod")).unwrap(), None).unwrap(), "prod");
        let several = select_name(&manager(&["lab", "prod"], None).unwrap(), None).unwrap_err();
        assert!(several.contains("`lab`, `prod`"), "{several}");
    }

    #[test]
    fn an_unknown_name_is_rejected_with_all_names_and_the_nearest() {
        let manager = manager(&["lab", "prod"], None).unwrap();
        assert_eq!(select_name(&manager, Some("lab")).unwrap(), "lab");
        let unknown = select_name(&manager, Some("prd")).unwrap_err();
        assert!(unknown.contains("`lab`, `prod`") && unknown.contains("mean `prod`"), "{unknown}");
        assert!(!select_name(&manager, Some("elsewhere")).unwrap_err().contains("mean"));
    }

    #[test]
    fn an_unknown_default_is_rejected() {
        assert!(manager(&["lab"], Some("prod")).err().unwrap().to_string().contains("`prod`"));
    }
}
