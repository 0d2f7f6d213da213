//! What the HTTP front tells of the clusters: whether they answer, and what was counted.

use proxmox_mcp::cancel::Cancel;
use proxmox_mcp::http::Probes;
use proxmox_mcp::metrics::Api;
use proxmox_mcp::pve::cluster::Cluster;
use proxmox_mcp::pve::params::Params;
use proxmox_mcp::pve::path::ApiPath;
use proxmox_mcp::tools::Desk;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a cluster may take to say that it is there: what asks for readiness often gives up after as little.
const SHORT: Duration = Duration::from_secs(2);

/// The probes of these clusters; those of the metrics only where they are wanted.
pub fn of(desk: &Arc<Desk>, metrics: bool) -> Probes {
    let (asked, counted) = (desk.clone(), desk.clone());
    Probes {
        ask: Some(Box::new(move || {
            let clusters = asked.clusters();
            let deadline = Instant::now() + SHORT;
            thread::scope(|scope| {
                let all: Vec<_> = clusters.all().iter().map(|c| (c, spawn(scope, c, deadline))).collect();
                all.into_iter()
                    .map(|(cluster, thread)| {
                        let why = thread.map_or(Some("no_thread"), |asked| asked.join().unwrap_or(Some("failed")));
                        (cluster.settings().name.clone(), why)
                    })
                    .collect()
            })
        })),
        write: metrics.then(|| -> Box<dyn Fn(&mut String) + Send + Sync> {
            Box::new(move |out| {
                let clusters = counted.clusters();
                let rows: Vec<_> = clusters.all().iter().map(|cluster| row(cluster)).collect();
                Api::write(out, &rows);
            })
        }),
    }
}

type Asked<'scope> = thread::ScopedJoinHandle<'scope, Option<&'static str>>;

/// Without a panic where the system has no thread left.
fn spawn<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    cluster: &'scope Cluster,
    deadline: Instant,
) -> Option<Asked<'scope>> {
    thread::Builder::new().spawn_scoped(scope, move || why_not(cluster, deadline)).ok()
}

/// `None` where the cluster answers as it should, with our token.
fn why_not(cluster: &Cluster, deadline: Instant) -> Option<&'static str> {
    let Ok((path, _)) = ApiPath::parse("/version") else { return Some("failed") };
    cluster.get_by(deadline, &path, &Params::new(), &Cancel::new()).err().map(|error| error.kind())
}

fn row(cluster: &Cluster) -> (&str, Vec<String>, &Api) {
    let about = cluster.settings();
    (&about.name, about.endpoints.iter().map(ToString::to_string).collect(), cluster.counts())
}
