//! The clusters' readiness, cached, and the functions with which the binary supplies it.

use crate::config::Client;
use serde_json::{Map, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lifetime of a cached result, so that frequent probes cannot overload the nodes.
const READINESS_LIFETIME: Duration = Duration::from_secs(5);

/// Cluster names, each with `None` for a ready cluster, else the kind of its error.
pub type ClusterReadiness = Vec<(String, Option<&'static str>)>;
/// Queries every cluster with a short deadline.
pub type ReadinessSource = Box<dyn Fn() -> ClusterReadiness + Send + Sync>;
/// Writes the clusters' metrics.
pub type MetricsWriter = Box<dyn Fn(&mut String) + Send + Sync>;

/// Functions that supply what only the binary knows of the clusters.
#[derive(Default)]
pub struct HealthSources {
    /// Source for `GET /readyz`. `None` for a server without clusters.
    pub readiness: Option<ReadinessSource>,
    /// Writer for `GET /metrics`. `None` if metrics are not served.
    pub metrics: Option<MetricsWriter>,
}

/// The health sources with the last readiness result.
pub struct HealthEndpoints {
    sources: HealthSources,
    cache: Mutex<ReadinessCache>,
    refreshed: Condvar,
}

#[derive(Default)]
struct ReadinessCache {
    readiness: Arc<ClusterReadiness>,
    refreshed_at: Option<Instant>,
    refreshing: bool,
}

impl HealthEndpoints {
    pub fn new(sources: HealthSources) -> Self {
        Self { sources, cache: Mutex::default(), refreshed: Condvar::new() }
    }

    pub fn metrics_writer(&self) -> Option<&MetricsWriter> {
        self.sources.metrics.as_ref()
    }

    /// Returns the clusters' readiness, at most [`READINESS_LIFETIME`] old. One thread queries the clusters, and
    /// threads that arrive meanwhile wait for its result.
    pub fn readiness(&self) -> Arc<ClusterReadiness> {
        let Some(source) = &self.sources.readiness else { return Arc::default() };
        let mut cache = self.lock();
        loop {
            if cache.refreshed_at.is_some_and(|at| at.elapsed() < READINESS_LIFETIME) {
                return cache.readiness.clone();
            }
            if !cache.refreshing {
                break;
            }
            cache = self.refreshed.wait(cache).unwrap_or_else(PoisonError::into_inner);
        }
        cache.refreshing = true;
        drop(cache);
        // After a panic the waiting threads still need a result: no cluster is ready.
        let readiness = Arc::new(catch_unwind(AssertUnwindSafe(source)).unwrap_or_default());
        *self.lock() =
            ReadinessCache { readiness: readiness.clone(), refreshed_at: Some(Instant::now()), refreshing: false };
        self.refreshed.notify_all();
        readiness
    }

    fn lock(&self) -> MutexGuard<'_, ReadinessCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether one of the clusters that a client may use is ready, and their states as a JSON object.
pub fn filter_visible(readiness: &ClusterReadiness, client: &Client) -> (bool, Value) {
    let (mut ready, mut clusters) = (false, Map::new());
    for (name, error) in readiness.iter().filter(|(name, _)| client.may_use(name)) {
        ready |= error.is_none();
        clusters.insert(name.clone(), error.unwrap_or("ok").into());
    }
    (ready, clusters.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn requests_during_a_readiness_check_share_its_answer() {
        let queries = Arc::new(AtomicUsize::new(0));
        let (release, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let count = queries.clone();
        let source: ReadinessSource = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = wait.lock().unwrap().recv();
            vec![("lab".into(), None)]
        });
        let health = HealthEndpoints::new(HealthSources { readiness: Some(source), metrics: None });
        thread::scope(|scope| {
            let all: Vec<_> = (0..20).map(|_| scope.spawn(|| health.readiness())).collect();
            release.send(()).unwrap();
            for one in all {
                assert_eq!(one.join().unwrap().len(), 1);
            }
        });
        assert_eq!(health.readiness().len(), 1);
        assert_eq!(queries.load(Ordering::SeqCst), 1);
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
        let unrestricted = Client::anonymous();
        assert_eq!(filter_visible(&states, &unrestricted), (true, json!({"lab": "timeout", "prod": "ok"})));
        let restricted = Client { clusters: Some(vec!["lab".into()]), ..unrestricted };
        assert_eq!(filter_visible(&states, &restricted), (false, json!({"lab": "timeout"})));
    }
}
