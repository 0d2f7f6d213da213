//! What watches the server from outside: is it ready, and what has it done? What only the binary knows of the clusters it
//! hands in, as functions.

use super::Front;
use super::reply::Reply;
use super::routes::{self, Answer, Port, Request};
use crate::metrics;
use crate::settings::Client;
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer about the clusters holds: whoever asks more often asks no node.
const FRESH: Duration = Duration::from_secs(5);

/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The clusters by name, each with `None` where it answers, else why not, in a word of this program.
pub type States = Vec<(String, Option<&'static str>)>;
/// Asks every cluster, each with a short deadline.
pub type Ask = Box<dyn Fn() -> States + Send + Sync>;
/// Writes the metrics of the clusters.
pub type Write = Box<dyn Fn(&mut String) + Send + Sync>;

/// What the binary hands in.
#[derive(Default)]
pub struct Probes {
    /// For `GET /readyz`; without it there are no clusters.
    pub ask: Option<Ask>,
    /// For `GET /metrics`; without it that is not served.
    pub write: Option<Write>,
}

/// The probes, and the last answer about the clusters.
pub struct Watched {
    probes: Probes,
    last: Mutex<Last>,
    /// `last` has been brought up to date.
    asked: Condvar,
}

#[derive(Default)]
struct Last {
    states: Arc<States>,
    at: Option<Instant>,
    asking: bool,
}

impl Watched {
    /// Nobody has asked yet.
    pub fn new(probes: Probes) -> Self {
        Self { probes, last: Mutex::default(), asked: Condvar::new() }
    }

    /// The states of the clusters, at most [`FRESH`] old. One thread asks; those that come meanwhile wait for it.
    fn states(&self) -> Arc<States> {
        let Some(ask) = &self.probes.ask else { return Arc::default() };
        let mut last = self.lock();
        loop {
            if last.at.is_some_and(|at| at.elapsed() < FRESH) {
                return last.states.clone();
            }
            if !last.asking {
                break;
            }
            last = self.asked.wait(last).unwrap_or_else(PoisonError::into_inner);
        }
        last.asking = true;
        drop(last);
        // Whatever becomes of it, those that wait must be told.
        let states = Arc::new(catch_unwind(AssertUnwindSafe(ask)).unwrap_or_default());
        *self.lock() = Last { states: states.clone(), at: Some(Instant::now()), asking: false };
        self.asked.notify_all();
        states
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /readyz`: 200 as long as one of the clusters that the client may see answers, else 503: where one of several is
/// down, the server is still of use, and taking it out of service would help nobody.
pub fn ready(front: &Arc<Front>, request: &mut Request<'_>) -> Answer {
    let states = front.watched.states();
    let (ready, clusters) = seen(&states, &request.caller.client);
    let status = if ready { "ready" } else { "not ready" };
    let body = json!({"status": status, "clusters": clusters}).to_string().into_bytes();
    match ready {
        true => Reply::json(200, body),
        false => Reply::json(503, body).with("Retry-After", "5"),
    }
    .into()
}

fn seen(states: &States, client: &Client) -> (bool, Value) {
    let is_theirs = |name: &String| client.clusters.as_ref().is_none_or(|theirs| theirs.contains(name));
    let (mut ready, mut clusters) = (false, Map::new());
    for (name, why) in states.iter().filter(|(name, _)| is_theirs(name)) {
        ready |= why.is_none();
        clusters.insert(name.clone(), why.unwrap_or("ok").into());
    }
    (ready, clusters.into())
}

/// `GET /metrics`.
pub fn metrics(front: &Arc<Front>, request: &mut Request<'_>) -> Answer {
    let Some(write) = &front.watched.probes.write else { return routes::nothing(Port::Calls).into() };
    if request.caller.client.clusters.is_some() {
        let why = "the metrics tell of all clusters, and this client may not see them all: use another client's token";
        return Reply::text(403, why).into();
    }
    let mut out = String::with_capacity(8 << 10);
    let counts = front.mcp.metrics();
    counts.write(&mut out);
    metrics::Front::write_open(&mut out, front.connections.open(), front.sessions.open_now());
    counts.front.write(&mut out, &routes::PATHS);
    write(&mut out);
    Reply::text(200, out).of_type(TEXT_FORMAT).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn those_who_come_while_the_clusters_are_asked_share_the_answer() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let count = asked.clone();
        let ask: Ask = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = wait.lock().unwrap().recv();
            vec![("lab".into(), None)]
        });
        let watched = Watched::new(Probes { ask: Some(ask), write: None });
        thread::scope(|scope| {
            let all: Vec<_> = (0..20).map(|_| scope.spawn(|| watched.states())).collect();
            go.send(()).unwrap();
            for one in all {
                assert_eq!(one.join().unwrap().len(), 1);
            }
        });
        assert_eq!(watched.states().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_question_that_breaks_holds_nobody_up() {
        let watched = Watched::new(Probes { ask: Some(Box::new(|| panic!("a test's panic"))), write: None });
        assert!(watched.states().is_empty() && watched.states().is_empty());
    }

    #[test]
    fn a_client_is_told_of_its_own_clusters_alone() {
        let states: States = vec![("lab".into(), Some("timeout")), ("prod".into(), None)];
        let everyone = Client::anyone();
        assert_eq!(seen(&states, &everyone), (true, json!({"lab": "timeout", "prod": "ok"})));
        let only = Client { clusters: Some(vec!["lab".into()]), ..everyone };
        assert_eq!(seen(&states, &only), (false, json!({"lab": "timeout"})));
    }
}
