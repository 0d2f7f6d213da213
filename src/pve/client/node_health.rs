//! The nodes of one cluster as far as their state is known: which of them the next call asks.
//!
//! A node that can't be reached, hangs or loses what it is sent is passed over for a time that doubles with each
//! failure; then one call at a time finds out whether it is back. An answer makes it well at once. Who is well is asked
//! in the order of clusters.json; where nobody is, everybody is tried: a call never fails without having tried.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a node is passed over after its first failure; a restart of its API server takes about as long.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The most that doubling leads to: what one call a minute finds out costs nobody anything.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// For how long nobody else tries a node that one call tries: longer than that call gives it.
const PROBE_LEASE: Duration = Duration::from_secs(10);

/// Tells the time; a test's own may stand still.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// What is known of each node. Indexes are those of the wire.
pub(in crate::pve) struct NodeHealth {
    /// How many are ill or gone. 0 is the usual case, in which no lock is taken and no clock is read.
    unavailable: AtomicUsize,
    states: Mutex<Vec<NodeState>>,
    clock: Clock,
}

#[derive(Default)]
struct NodeState {
    backoff: Option<Backoff>,
    /// The cluster no longer counts it among its own.
    removed: bool,
}

struct Backoff {
    /// A sentence that names the node.
    reason: String,
    since: Instant,
    /// Passed over until then.
    until: Instant,
    failures: u32,
    /// It was sent something before it failed: only a call that may be sent twice tries it.
    request_sent: bool,
}

/// The node to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) struct NodeChoice {
    pub(in crate::pve) node: usize,
    /// Whether it is back is to be found out, and there is another one that is well: it is given little time.
    pub(in crate::pve) probe: bool,
}

impl NodeHealth {
    /// So many nodes, all of them well as far as anybody knows.
    pub(in crate::pve) fn new(count: usize) -> Self {
        let states = (0..count).map(|_| NodeState::default()).collect();
        Self { unavailable: AtomicUsize::new(0), states: Mutex::new(states), clock: Arc::new(Instant::now) }
    }

    /// The same by another clock.
    pub(in crate::pve) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NodeState>> {
        // Each state is whole after every step.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_unavailable(&self, states: &[NodeState]) {
        let aside = states.iter().filter(|state| state.removed || state.backoff.is_some()).count();
        self.unavailable.store(aside, Ordering::Relaxed);
    }

    /// The node that a call asks which asked `tried` before: one whose time has come, then the first that is well, then
    /// whoever is left, the one first whose pause ends first. `None` where there is nobody left. `twice`: the call may be
    /// sent twice.
    pub(in crate::pve) fn choose(&self, tried: &[usize], retryable: bool) -> Option<NodeChoice> {
        if tried.is_empty() && self.unavailable.load(Ordering::Relaxed) == 0 {
            return Some(NodeChoice { node: 0, probe: false });
        }
        let now = (self.clock)();
        let mut states = self.lock();
        let open = |node: &usize, state: &NodeState| !state.removed && !tried.contains(node);
        let well = states.iter().enumerate().position(|(node, state)| open(&node, state) && state.backoff.is_none());
        if let Some(node) = well {
            // One trial a call: it is to be answered, not to find out about everybody.
            for (node, state) in states.iter_mut().enumerate().filter(|_| tried.is_empty()) {
                if let NodeState { backoff: Some(ill), removed: false } = state
                    && ill.until <= now
                    && (retryable || !ill.request_sent)
                {
                    ill.until = now + PROBE_LEASE;
                    return Some(NodeChoice { node, probe: true });
                }
            }
            return Some(NodeChoice { node, probe: false });
        }
        let left = states.iter().enumerate().filter(|(node, state)| open(node, state));
        let node = left.min_by_key(|(_, state)| state.backoff.as_ref().map(|ill| ill.until))?.0;
        Some(NodeChoice { node, probe: false })
    }

    /// It answered. Where it was ill: for how long.
    pub(in crate::pve) fn record_success(&self, node: usize) -> Option<Duration> {
        if self.unavailable.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = (self.clock)();
        let mut states = self.lock();
        let ill = states.get_mut(node)?.backoff.take()?;
        self.update_unavailable(&states);
        Some(now.saturating_duration_since(ill.since))
    }

    /// It failed; `took`: after something was sent. Whether that is news.
    pub(in crate::pve) fn record_failure(&self, choice: NodeChoice, request_sent: bool, why: &str) -> bool {
        let now = (self.clock)();
        let mut states = self.lock();
        let Some(state) = states.get_mut(choice.node) else { return false };
        match &mut state.backoff {
            None => {
                let until = now + FIRST_BACKOFF;
                state.backoff = Some(Backoff { reason: why.to_owned(), since: now, until, failures: 1, request_sent });
                self.update_unavailable(&states);
                true
            }
            Some(ill) => {
                // What was under way when it fell ill fails with it, and says nothing new.
                if choice.probe || ill.until <= now {
                    ill.failures = ill.failures.saturating_add(1);
                    ill.until = now + backoff_duration(ill.failures);
                    ill.request_sent = request_sent;
                    why.clone_into(&mut ill.reason);
                }
                false
            }
        }
    }

    /// The call ended before it was known how the node is: the next one may try it.
    pub(in crate::pve) fn release_probe(&self, choice: NodeChoice) {
        if choice.probe
            && let Some(ill) = self.lock().get_mut(choice.node).and_then(|state| state.backoff.as_mut())
        {
            ill.until = (self.clock)();
        }
    }

    /// For each node, why it is passed over; `None` for one that is gone, an empty text for one that is well.
    pub(in crate::pve) fn states(&self) -> Vec<Option<String>> {
        let now = (self.clock)();
        let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs();
        let format_state = |state: &NodeState| match &state.backoff {
            _ if state.removed => None,
            None => Some(String::new()),
            Some(ill) => {
                let (ago, left) = (seconds(ill.since, now), seconds(now, ill.until));
                Some(format!("{} (since {ago} s, failed {} times, next try in {left} s)", ill.reason, ill.failures))
            }
        };
        self.lock().iter().map(format_state).collect()
    }

    /// There are so many nodes now, and of them those from `first` on are part of the cluster for which `is_there` says
    /// so.
    pub(in crate::pve) fn set_nodes(&self, count: usize, first: usize, is_there: &dyn Fn(usize) -> bool) {
        let mut states = self.lock();
        states.resize_with(count, NodeState::default);
        for (node, state) in states.iter_mut().enumerate().skip(first) {
            state.removed = !is_there(node);
        }
        self.update_unavailable(&states);
    }

    /// What time it is.
    pub(in crate::pve) fn now(&self) -> Instant {
        (self.clock)()
    }
}

/// How long a node is passed over that failed so often.
fn backoff_duration(failures: u32) -> Duration {
    // 64 s is beyond the longest already.
    (FIRST_BACKOFF * (1 << (failures.max(1) - 1).min(6))).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Nodes and the milliseconds that their clock shows.
    fn nodes(count: usize) -> (NodeHealth, Arc<AtomicU64>) {
        let (start, time) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let shown = time.clone();
        let clock = Arc::new(move || start + Duration::from_millis(shown.load(Ordering::SeqCst)));
        (NodeHealth::new(count).with_clock(clock), time)
    }

    fn usual_choice(node: usize) -> NodeChoice {
        NodeChoice { node, probe: false }
    }

    fn probe_choice(node: usize) -> NodeChoice {
        NodeChoice { node, probe: true }
    }

    #[test]
    fn a_node_that_failed_is_passed_over_until_its_time_has_come_and_then_tried_by_one_call() {
        let (nodes, time) = nodes(3);
        assert_eq!(nodes.choose(&[], true), Some(usual_choice(0)));
        assert!(nodes.record_failure(usual_choice(0), false, "refused"));
        assert!(!nodes.record_failure(usual_choice(0), false, "refused"), "it is said once");
        assert_eq!(nodes.choose(&[], true), Some(usual_choice(1)));
        time.store(1_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(probe_choice(0)));
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)), "the others go on passing it over");
        assert!(!nodes.record_failure(probe_choice(0), false, "refused"));
        time.store(2_999, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)), "twice as long");
        time.store(3_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(probe_choice(0)));
        assert_eq!(nodes.record_success(0), Some(Duration::from_secs(3)));
        assert_eq!((nodes.record_success(0), nodes.choose(&[], true)), (None, Some(usual_choice(0))));
    }

    #[test]
    fn a_trial_that_is_cancelled_leaves_it_to_the_next_call_and_one_that_dies_does_so_later() {
        let (nodes, time) = nodes(2);
        nodes.record_failure(usual_choice(0), false, "refused");
        time.store(1_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
        nodes.release_probe(probe_choice(0));
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
        time.store(11_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
    }

    #[test]
    fn a_node_that_took_what_it_was_sent_is_tried_by_what_may_be_sent_twice() {
        let (nodes, time) = nodes(2);
        nodes.record_failure(usual_choice(0), true, "hung");
        time.store(1_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)));
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
    }

    #[test]
    fn when_all_nodes_are_in_backoff_each_is_tried_by_earliest_end() {
        let (nodes, time) = nodes(3);
        for (at, node) in [(0, 1), (10, 2), (20, 0)] {
            time.store(at, Ordering::SeqCst);
            nodes.record_failure(usual_choice(node), true, "lost");
        }
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)));
        assert_eq!(nodes.choose(&[1], false), Some(usual_choice(2)));
        assert_eq!(nodes.choose(&[1, 2], false), Some(usual_choice(0)));
        assert_eq!(nodes.choose(&[1, 2, 0], false), None);
    }

    #[test]
    fn a_pause_doubles_up_to_a_minute() {
        let seconds: Vec<_> = [1, 2, 3, 6, 7, 8, u32::MAX].into_iter().map(|n| backoff_duration(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn a_node_that_the_cluster_no_longer_names_is_not_asked() {
        let (nodes, _) = nodes(1);
        nodes.set_nodes(3, 1, &|node| node == 2);
        assert_eq!(nodes.choose(&[0], true), Some(usual_choice(2)));
        assert_eq!(nodes.choose(&[0, 2], true), None);
        assert_eq!(nodes.states(), [Some(String::new()), None, Some(String::new())]);
        nodes.set_nodes(3, 1, &|_| true);
        assert_eq!(nodes.choose(&[0], true), Some(usual_choice(1)));
    }
}
