//! The addresses of each entry of clusters.json must belong to one cluster.

use super::cli::Cli;
use super::failure::Failure;
use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::config::{ClusterConfig, ClustersFile};
use proxmox_mcp::pve::client::address_check::AddressState;
use proxmox_mcp::pve::client::cluster::Cluster;
use std::thread;
use std::time::{Duration, Instant};

/// The time that an address has to answer at a start. One that does not is asked before its first use.
const START_TIME: Duration = Duration::from_secs(1);

/// An address that belongs to another cluster than one before it in the same entry.
#[derive(Debug, thiserror::Error)]
#[error(
    "cluster {entry}: {address} is {identity}, and {first_address} is {first}. hint: give each cluster an entry of its own"
)]
struct MixedAddresses {
    entry: String,
    address: String,
    identity: String,
    first_address: String,
    first: String,
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
    // An entry that no client can be made of fails later, with its reason.
    let Ok(cluster) = Cluster::new(entry.clone(), &cli.limits()) else { return Ok(()) };
    let checks = cluster.check_addresses(Instant::now() + START_TIME, &CancelToken::new());
    let known = checks.iter().find_map(|check| match &check.state {
        AddressState::Answers(Some(identity)) => Some((&check.address, identity)),
        _ => None,
    });
    let other = checks.iter().find_map(|check| match &check.state {
        AddressState::OtherCluster(identity) => Some((&check.address, identity)),
        _ => None,
    });
    match (known, other) {
        (Some((first_address, first)), Some((address, identity))) => Err(Box::new(MixedAddresses {
            entry: entry.name.clone(),
            address: address.clone(),
            identity: identity.to_string(),
            first_address: first_address.clone(),
            first: first.to_string(),
        })),
        _ => Ok(()),
    }
}
