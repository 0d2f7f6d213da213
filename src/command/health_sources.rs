//! The clusters' part of the health endpoints: readiness and metrics.

use proxmox_mcp::base::cancel::CancelToken;
use proxmox_mcp::http::HealthSources;
use proxmox_mcp::metrics::{ClusterMetrics, ClusterSample};
use proxmox_mcp::pve::client::cluster::Cluster;
use proxmox_mcp::pve::params::ApiParams;
use proxmox_mcp::pve::path::ApiPath;
use proxmox_mcp::tools::ToolState;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Time limit of a readiness check. Orchestrators often give up after as little.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the sources for these clusters, with metrics if `has_metrics`.
pub fn health_sources(tools: &Arc<ToolState>, has_metrics: bool) -> HealthSources {
    let (for_readiness, for_metrics) = (tools.clone(), tools.clone());
    HealthSources {
        readiness: Some(Box::new(move || {
            let clusters = for_readiness.clusters();
            let deadline = Instant::now() + READINESS_TIMEOUT;
            thread::scope(|scope| {
                let probes: Vec<_> = clusters.clusters().iter().map(|c| (c, spawn_probe(scope, c, deadline))).collect();
                probes
                    .into_iter()
                    .map(|(cluster, probe)| {
                        let error = probe.map_or(Some("no_thread"), |probe| probe.join().unwrap_or(Some("failed")));
                        (cluster.settings().name.clone(), error)
                    })
                    .collect()
            })
        })),
        metrics: has_metrics.then(|| -> Box<dyn Fn(&mut String) + Send + Sync> {
            Box::new(move |out| {
                let clusters = for_metrics.clusters();
                let samples: Vec<_> = clusters.clusters().iter().map(|cluster| cluster_sample(cluster)).collect();
                ClusterMetrics::write(out, &samples);
                for_metrics.call_service().approvals().write_metrics(out);
            })
        }),
    }
}

/// Starts a thread that checks one cluster. Its result is that of [`readiness_error`]. Returns `None` if the system has no
/// thread left.
fn spawn_probe<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    cluster: &'scope Cluster,
    deadline: Instant,
) -> Option<thread::ScopedJoinHandle<'scope, Option<&'static str>>> {
    thread::Builder::new().spawn_scoped(scope, move || readiness_error(cluster, deadline)).ok()
}

/// Returns the kind of the error, or `None` if the cluster answers a request with the API token.
fn readiness_error(cluster: &Cluster, deadline: Instant) -> Option<&'static str> {
    let (path, _) = ApiPath::parse("/version").expect("the path is valid");
    cluster.get_with_deadline(deadline, &path, &ApiParams::new(), &CancelToken::new()).err().map(|error| error.kind())
}

fn cluster_sample(cluster: &Cluster) -> ClusterSample<'_> {
    let settings = cluster.settings();
    let nodes = settings.endpoints.iter().map(ToString::to_string).collect();
    ClusterSample { cluster: &settings.name, nodes, metrics: cluster.metrics() }
}
