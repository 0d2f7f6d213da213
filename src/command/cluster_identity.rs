//! The cluster that an address belongs to, as its node says. The addresses of one entry must belong to one cluster:
//! each cluster has a guest 100.

use super::cli::Cli;
use super::failure::Failure;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::config::{ClusterConfig, ClustersFile, Endpoint};
use proxmox_mcp::pve::Method;
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::error::PveError;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

/// The time that an address has to answer at a start. One that does not is asked before its first use.
const START_TIME: Duration = Duration::from_secs(1);

/// The cluster of a node, as the node names it.
pub struct ClusterIdentity {
    /// `None` for a node that is in no cluster, or where the token may not know it.
    name: Option<String>,
    /// The names of its nodes, each with its address as far as the node says.
    nodes: BTreeMap<String, Option<String>>,
}

impl ClusterIdentity {
    /// Returns whether this is a node of another cluster. Lists of nodes differ for a while after a node joined.
    pub fn is_other(&self, other: &Self) -> bool {
        let names_differ = matches!((&self.name, &other.name), (Some(one), Some(other)) if one != other);
        let is_common = |(node, address): (&String, &Option<String>)| match (address, other.nodes.get(node)) {
            // Nodes of two clusters may have the same name.
            (Some(address), Some(Some(other))) => address == other,
            (_, known) => known.is_some(),
        };
        names_differ || !self.nodes.iter().any(is_common)
    }
}

impl fmt::Display for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
        match &self.name {
            Some(name) => write!(f, "cluster {name} of {}", nodes.join(", ")),
            None => write!(f, "node {}", nodes.join(", ")),
        }
    }
}

/// An address that belongs to another cluster than one before it in the same entry.
#[derive(Debug, thiserror::Error)]
#[error(
    "cluster {entry}: {address} is {identity}, and {first_address} is {first}. hint: give each cluster an entry of its own"
)]
struct MixedAddresses {
    entry: String,
    address: Endpoint,
    identity: String,
    first_address: Endpoint,
    first: String,
}

/// Asks each address of a cluster by itself. The answer is `None` if the node does not name its cluster.
pub fn identify_addresses(
    settings: &ClusterConfig,
    cli: &Cli,
) -> Vec<(Endpoint, Result<Option<ClusterIdentity>, PveError>)> {
    thread::scope(|scope| {
        let reads = settings
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.clone(), scope.spawn(move || identify(settings, endpoint, cli))));
        let reads: Vec<_> = reads.collect();
        reads.into_iter().map(|(endpoint, read)| (endpoint, read.join().expect("a read does not panic"))).collect()
    })
}

/// Checks that the addresses of each entry belong to one cluster, as far as they answer soon.
pub fn require_one_cluster_each(clusters: &ClustersFile, cli: &Cli) -> Result<(), Failure> {
    let several: Vec<&ClusterConfig> = clusters.clusters.iter().filter(|entry| entry.endpoints.len() > 1).collect();
    thread::scope(|scope| {
        let checks: Vec<_> =
            several.into_iter().map(|entry| scope.spawn(move || require_one_cluster(entry, cli))).collect();
        checks.into_iter().try_for_each(|check| check.join().expect("a check does not panic"))
    })
    .map_err(|error| Failure::Usage(error.to_string()))
}

fn require_one_cluster(entry: &ClusterConfig, cli: &Cli) -> Result<(), Box<MixedAddresses>> {
    let settings = ClusterConfig { timeout: entry.timeout.min(START_TIME), ..entry.clone() };
    let answers = identify_addresses(&settings, cli);
    let mut known = answers.iter().filter_map(|(address, answer)| Some((address, answer.as_ref().ok()?.as_ref()?)));
    let Some((first_address, first)) = known.next() else { return Ok(()) };
    match known.find(|(_, identity)| identity.is_other(first)) {
        None => Ok(()),
        Some((address, identity)) => Err(Box::new(MixedAddresses {
            entry: entry.name.clone(),
            address: address.clone(),
            identity: identity.to_string(),
            first_address: first_address.clone(),
            first: first.to_string(),
        })),
    }
}

/// Asks one address for its cluster. A token without Sys.Audit sees the names of the nodes alone.
fn identify(settings: &ClusterConfig, endpoint: &Endpoint, cli: &Cli) -> Result<Option<ClusterIdentity>, PveError> {
    let alone = ClusterConfig { endpoints: vec![endpoint.clone()], discover_nodes: false, ..settings.clone() };
    // The settings were valid with every address.
    let Ok(cluster) = Cluster::new(alone, &cli.limits()) else { return Ok(None) };
    let rows = match get_rows(&cluster, "/cluster/status") {
        Err(PveError::Forbidden { .. }) => get_rows(&cluster, "/nodes"),
        rows => rows,
    }?;
    let mut identity = ClusterIdentity { name: None, nodes: BTreeMap::new() };
    for row in rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        match text("type").as_deref() {
            Some("cluster") => identity.name = text("name"),
            Some("node") | None => {
                identity.nodes.extend(text("name").or(text("node")).map(|name| (name, text("ip"))));
            }
            _ => {}
        }
    }
    Ok((!identity.nodes.is_empty()).then_some(identity))
}

/// Returns the rows of a list. An answer of another form has none.
fn get_rows(cluster: &Cluster, path: &'static str) -> Result<Vec<Value>, PveError> {
    let (path, _) = ApiPath::parse(path).expect("the path is valid");
    let answer = cluster.call(Method::Get, &path, &ApiParams::new(), &CancelToken::new())?;
    Ok(serde_json::from_str(answer.data()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: Option<&str>, nodes: &[(&str, Option<&str>)]) -> ClusterIdentity {
        let nodes = nodes.iter().map(|(node, address)| ((*node).to_owned(), address.map(str::to_owned)));
        ClusterIdentity { name: name.map(str::to_owned), nodes: nodes.collect() }
    }

    #[test]
    fn clusters_differ_by_name_or_by_all_nodes() {
        let prod = identity(Some("prod"), &[("pve1", Some("10.0.0.1")), ("pve2", Some("10.0.0.2"))]);
        for (other, is_other) in [
            (identity(Some("prod"), &[("pve1", Some("10.0.0.1"))]), false),
            (identity(Some("prod"), &[("pve2", None), ("pve3", Some("10.0.0.3"))]), false),
            (identity(None, &[("pve2", None)]), false),
            (identity(Some("lab"), &[("pve1", Some("10.0.0.1"))]), true),
            (identity(Some("prod"), &[("lab1", Some("10.1.0.1"))]), true),
            (identity(None, &[("pve1", Some("10.1.0.1"))]), true),
        ] {
            assert_eq!(other.is_other(&prod), is_other, "{other}");
            assert_eq!(prod.is_other(&other), is_other, "{other}");
        }
    }
}
