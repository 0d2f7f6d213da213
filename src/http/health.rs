//! What watches the server from outside: is it ready, and what has it done? What only the binary knows of the clusters it
//! hands in, as functions.

use super::HttpState;
use super::response::HttpResponse;
use super::routes::{self, HttpRequest, ListenerRole, RouteOutcome};
use crate::config::Client;
use crate::metrics;
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer about the clusters holds: whoever asks more often asks no node.
const READINESS_LIFETIME: Duration = Duration::from_secs(5);

/// Prometheus' text format.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The clusters by name, each with `None` where it answers, else why not, in a word of this program.
pub type ClusterReadiness = Vec<(String, Option<&'static str>)>;
/// Asks every cluster, each with a short deadline.
pub type ReadinessSource = Box<dyn Fn() -> ClusterReadiness + Send + Sync>;
/// Writes the metrics of the clusters.
pub type MetricsWriter = Box<dyn Fn(&mut String) + Send + Sync>;

/// What the binary hands in.
#[derive(Default)]
pub struct HealthSources {
    /// For `GET /readyz`; without it there are no clusters.
    pub readiness: Option<ReadinessSource>,
    /// For `GET /metrics`; without it that is not served.
    pub metrics: Option<MetricsWriter>,
}

/// The probes, and the last answer about the clusters.
pub struct HealthEndpoints {
    sources: HealthSources,
    cache: Mutex<ReadinessCache>,
    /// `last` has been brought up to date.
    refreshed: Condvar,
}

#[derive(Default)]
struct ReadinessCache {
    readiness: Arc<ClusterReadiness>,
    refreshed_at: Option<Instant>,
    refreshing: bool,
}

impl HealthEndpoints {
    /// Nobody has asked yet.
    pub fn new(probes: HealthSources) -> Self {
        Self { sources: probes, cache: Mutex::default(), refreshed: Condvar::new() }
    }

    /// The states of the clusters, at most [`READINESS_LIFETIME`] old. One thread asks; those that come meanwhile wait for it.
    fn readiness(&self) -> Arc<ClusterReadiness> {
        let Some(ask) = &self.sources.readiness else { return Arc::default() };
        let mut last = self.lock();
        loop {
            if last.refreshed_at.is_some_and(|at| at.elapsed() < READINESS_LIFETIME) {
                return last.readiness.clone();
            }
            if !last.refreshing {
                break;
            }
            last = self.refreshed.wait(last).unwrap_or_else(PoisonError::into_inner);
        }
        last.refreshing = true;
        drop(last);
        // Whatever becomes of it, those that wait must be told.
        let states = Arc::new(catch_unwind(AssertUnwindSafe(ask)).unwrap_or_default());
        *self.lock() =
            ReadinessCache { readiness: states.clone(), refreshed_at: Some(Instant::now()), refreshing: false };
        self.refreshed.notify_all();
        states
    }

    fn lock(&self) -> MutexGuard<'_, ReadinessCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /readyz`: 200 as long as one of the clusters that the client may see answers, else 503: where one of several is
/// down, the server is still of use, and taking it out of service would help nobody.
pub fn handle_readyz(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let states = state.health.readiness();
    let (ready, clusters) = filter_visible(&states, &request.caller.client);
    let status = if ready { "ready" } else { "not ready" };
    let body = json!({"status": status, "clusters": clusters}).to_string().into_bytes();
    match ready {
        true => HttpResponse::json(200, body),
        false => HttpResponse::json(503, body).with_header("Retry-After", "5"),
    }
    .into()
}

fn filter_visible(states: &ClusterReadiness, client: &Client) -> (bool, Value) {
    let is_theirs = |name: &String| client.clusters.as_ref().is_none_or(|theirs| theirs.contains(name));
    let (mut ready, mut clusters) = (false, Map::new());
    for (name, why) in states.iter().filter(|(name, _)| is_theirs(name)) {
        ready |= why.is_none();
        clusters.insert(name.clone(), why.unwrap_or("ok").into());
    }
    (ready, clusters.into())
}

/// `GET /metrics`.
pub fn handle_metrics(state: &Arc<HttpState>, request: &mut HttpRequest<'_>) -> RouteOutcome {
    let Some(write) = &state.health.sources.metrics else { return routes::not_found(ListenerRole::Mcp).into() };
    if request.caller.client.clusters.is_some() {
        let why = "the metrics tell of all clusters, and this client may not see them all: use another client's token";
        return HttpResponse::text(403, why).into();
    }
    let mut out = String::with_capacity(8 << 10);
    let counts = state.mcp.metrics();
    counts.write(&mut out);
    metrics::HttpMetrics::write_gauges(&mut out, state.connections.open_count(), state.sessions.open_count());
    counts.http.write(&mut out, &routes::PATHS);
    write(&mut out);
    HttpResponse::text(200, out).with_content_type(METRICS_CONTENT_TYPE).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn requests_during_a_readiness_check_share_its_answer() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let count = asked.clone();
        let ask: ReadinessSource = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = wait.lock().unwrap().recv();
            vec![("lab".into(), None)]
        });
        let health = HealthEndpoints::new(HealthSources { readiness: Some(ask), metrics: None });
        thread::scope(|scope| {
            let all: Vec<_> = (0..20).map(|_| scope.spawn(|| health.readiness())).collect();
            go.send(()).unwrap();
            for one in all {
                assert_eq!(one.join().unwrap().len(), 1);
            }
        });
        assert_eq!(health.readiness().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_readiness_check_that_panics_blocks_no_request() {
        let health = HealthEndpoints::new(HealthSources {
            readiness: Some(Box::new(|| panic!("a test's panic"))),
            metrics: None,
        });
        assert!(health.readiness().is_empty() && health.readiness().is_empty());
    }

    #[test]
    fn a_client_is_told_of_its_own_clusters_alone() {
        let states: ClusterReadiness = vec![("lab".into(), Some("timeout")), ("prod".into(), None)];
        let everyone = Client::anonymous();
        assert_eq!(filter_visible(&states, &everyone), (true, json!({"lab": "timeout", "prod": "ok"})));
        let only = Client { clusters: Some(vec!["lab".into()]), ..everyone };
        assert_eq!(filter_visible(&states, &only), (false, json!({"lab": "timeout"})));
    }
}
