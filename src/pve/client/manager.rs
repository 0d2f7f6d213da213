//! All clusters: one client each, found by name.

use crate::base::suggest::suggest;
use crate::config::{ClustersFile, Limits};
use crate::pve::client::cluster::Cluster;
use std::sync::Arc;

/// One client per cluster of clusters.json.
#[derive(Clone)]
pub struct ClusterManager {
    clusters: Vec<Arc<Cluster>>,
    default: Option<usize>,
}

impl ClusterManager {
    /// Makes the clients; opens no connection. The error is a sentence (a CA file that holds no usable certificate).
    pub fn new(clusters: &ClustersFile, limits: &Limits) -> Result<Self, String> {
        Self::from_previous(&Self { clusters: Vec::new(), default: None }, clusters, limits)
    }

    /// The same after a change of the configuration: the client of a cluster that did not change is kept, with its
    /// connections and with what it knows.
    pub fn from_previous(before: &Self, clusters: &ClustersFile, limits: &Limits) -> Result<Self, String> {
        let default = match &clusters.default {
            Some(name) => Some(
                clusters
                    .clusters
                    .iter()
                    .position(|c| c.name == *name)
                    .ok_or_else(|| format!("`default` is `{name}`, but there is no such cluster"))?,
            ),
            None if clusters.clusters.len() == 1 => Some(0),
            None => None,
        };
        let clusters = clusters
            .clusters
            .iter()
            .map(|settings| match before.clusters.iter().find(|known| known.settings() == settings) {
                Some(known) => Ok(known.clone()),
                None => Cluster::new(settings.clone(), limits).map(Arc::new),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { clusters, default })
    }

    /// The same clients, of these clusters alone: no other is there for whoever has this.
    pub fn restrict_to(&self, names: &[String]) -> Self {
        let may = |cluster: &&Arc<Cluster>| names.contains(&cluster.settings().name);
        let clusters: Vec<_> = self.clusters.iter().filter(may).cloned().collect();
        let default = self.default_cluster().and_then(|default| clusters.iter().position(|c| Arc::ptr_eq(c, default)));
        // The only one there is is meant where none is named.
        Self { default: default.or((clusters.len() == 1).then_some(0)), clusters }
    }

    /// The cluster called `name`; where that is `None`, the default. The error names the clusters there are.
    pub fn select(&self, name: Option<&str>) -> Result<&Arc<Cluster>, String> {
        let Some(name) = name else {
            return self.default_cluster().ok_or_else(|| {
                format!(
                    "there are several clusters and none is the default: name one of {} in `cluster`",
                    self.quoted_names()
                )
            });
        };
        self.clusters.iter().find(|c| c.settings().name == name).ok_or_else(|| {
            let meant = suggest(name, self.clusters.iter().map(|c| c.settings().name.as_str()));
            let meant = meant.map(|m| format!(" Did you mean `{m}`?")).unwrap_or_default();
            let name: String = name.chars().take(64).collect();
            format!("there is no cluster `{name}`; there is {}.{meant}", self.quoted_names())
        })
    }

    /// The same for what is alike in all clusters, more or less: where none is named and none is the default, the first.
    pub fn select_any(&self, name: Option<&str>) -> Result<&Arc<Cluster>, String> {
        match (name, self.default_cluster().or(self.clusters.first())) {
            (None, Some(any)) => Ok(any),
            _ => self.select(name),
        }
    }

    /// Every cluster, in the file's order.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// The cluster meant where none is named, if there is one.
    pub fn default_cluster(&self) -> Option<&Arc<Cluster>> {
        self.clusters.get(self.default?)
    }

    fn quoted_names(&self) -> String {
        let names: Vec<_> = self.clusters.iter().map(|c| format!("`{}`", c.settings().name)).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::config::{self, Endpoint, TlsVerification};
    use crate::policy::ClusterPolicy;
    use std::time::Duration;

    fn manager(names: &[&str], default: Option<&str>) -> Result<ClusterManager, String> {
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
                policy: ClusterPolicy::default(),
            })
            .collect();
        ClusterManager::new(
            &ClustersFile { clusters, default: default.map(Into::into), ..ClustersFile::default() },
            &Limits::default(),
        )
    }

    fn select_name(manager: &ClusterManager, name: Option<&str>) -> Result<String, String> {
        manager.select(name).map(|c| c.settings().name.clone())
    }

    #[test]
    fn the_only_cluster_or_the_default_is_meant_where_none_is_named() {
        assert_eq!(select_name(&manager(&["lab"], None).unwrap(), None).unwrap(), "lab");
        assert_eq!(select_name(&manager(&["lab", "prod"], Some("prod")).unwrap(), None).unwrap(), "prod");
        let several = select_name(&manager(&["lab", "prod"], None).unwrap(), None).unwrap_err();
        assert!(several.contains("`lab`, `prod`"), "{several}");
    }

    #[test]
    fn an_unknown_name_answers_with_the_names_there_are_and_the_nearest() {
        let manager = manager(&["lab", "prod"], None).unwrap();
        assert_eq!(select_name(&manager, Some("lab")).unwrap(), "lab");
        let unknown = select_name(&manager, Some("prd")).unwrap_err();
        assert!(unknown.contains("`lab`, `prod`") && unknown.contains("mean `prod`"), "{unknown}");
        assert!(!select_name(&manager, Some("elsewhere")).unwrap_err().contains("mean"));
    }

    #[test]
    fn a_default_that_is_not_there_is_refused() {
        assert!(manager(&["lab"], Some("prod")).err().unwrap().contains("`prod`"));
    }
}
