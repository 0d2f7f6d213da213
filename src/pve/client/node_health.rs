//! Health of the nodes of one cluster, and the choice of the node for the next attempt.
//!
//! A node that cannot be reached, hangs or loses a request is skipped for a time that doubles with each failure. Then
//! one call at a time probes it. An answer makes it healthy at once. Healthy nodes are asked in the order of
//! clusters.json. If no node is healthy, all are tried: a call never fails without an attempt.

use crate::pve::error::{ConnectError, FailedAttempt, NetworkError};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// First backoff of a node; a restart of its API server takes about as long.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// Longest backoff: one probe per minute costs little.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Time in which one call probes a node and no other call does; longer than the probe's own time limit.
const PROBE_LEASE: Duration = Duration::from_secs(10);

/// Source of the current time; a test's own may stand still.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Health of each node, by its index in the transport.
pub(in crate::pve) struct NodeHealth {
    /// Number of nodes in backoff or removed. With 0, the usual case, no lock is taken and no clock is read.
    unavailable: AtomicUsize,
    states: Mutex<Vec<NodeEntry>>,
    clock: Clock,
}

#[derive(Default)]
struct NodeEntry {
    backoff: Option<Backoff>,
    /// The cluster no longer lists the node.
    removed: bool,
}

struct Backoff {
    reason: FailedAttempt,
    since: Instant,
    /// End of the backoff.
    until: Instant,
    failures: u32,
    /// The node failed after a request was sent: only a request that may be sent twice probes it.
    request_sent: bool,
}

/// Status of a node by its index.
#[derive(Debug)]
pub(in crate::pve) enum NodeStatus {
    /// No failure is known.
    Healthy,
    /// The node is being skipped.
    BackingOff(BackoffStatus),
    /// The cluster no longer lists the node.
    Removed,
}

/// State of a node for an operator.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// `host:port` of the node.
    pub node: String,
    /// The backoff, if the node is being skipped.
    pub backoff: Option<BackoffStatus>,
}

/// Backoff of a node. `Display` names the failure, its age and the next try.
#[derive(Clone, Debug)]
pub struct BackoffStatus {
    reason: FailedAttempt,
    since: Duration,
    failures: u32,
    next_try: Duration,
}

impl fmt::Display for BackoffStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, since, failures, next_try } = self;
        let (since, next_try) = (since.as_secs(), next_try.as_secs());
        write!(f, "{reason} (since {since} s, failed {failures} times, next try in {next_try} s)")
    }
}

impl BackoffStatus {
    /// Returns whether another try would take time.
    pub fn is_slow(&self) -> bool {
        matches!(
            self.reason.cause,
            ConnectError::Network(
                NetworkError::TimedOut | NetworkError::NoAnswer | NetworkError::NoRoute | NetworkError::HostNotFound
            )
        )
    }

    /// Returns whether the node should be asked again.
    pub fn is_over(&self) -> bool {
        self.next_try.is_zero()
    }
}

/// Node for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) struct NodeChoice {
    pub(in crate::pve) node: usize,
    /// The attempt probes a node in backoff while another node is healthy, so it gets little time.
    pub(in crate::pve) probe: bool,
}

impl NodeHealth {
    /// Creates the state of `count` nodes without a known failure.
    pub(in crate::pve) fn new(count: usize) -> Self {
        let states = (0..count).map(|_| NodeEntry::default()).collect();
        Self { unavailable: AtomicUsize::new(0), states: Mutex::new(states), clock: Arc::new(Instant::now) }
    }

    /// Replaces the clock.
    pub(in crate::pve) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NodeEntry>> {
        // Each state is consistent after every step.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_unavailable(&self, states: &[NodeEntry]) {
        let count = states.iter().filter(|state| state.removed || state.backoff.is_some()).count();
        self.unavailable.store(count, Ordering::Relaxed);
    }

    /// Returns the node for the next attempt of a call that tried the nodes in `tried`.
    ///
    /// The order is: for a first attempt a node whose backoff is over, then the first healthy node, then the node whose
    /// backoff ends first. `may_resend`: the request may be sent twice.
    pub(in crate::pve) fn choose(&self, tried: &[usize], may_resend: bool) -> Option<NodeChoice> {
        if tried.is_empty() && self.unavailable.load(Ordering::Relaxed) == 0 {
            return Some(NodeChoice { node: 0, probe: false });
        }
        let now = (self.clock)();
        let mut states = self.lock();
        let is_left = |node: &usize, state: &NodeEntry| !state.removed && !tried.contains(node);
        let healthy =
            states.iter().enumerate().position(|(node, state)| is_left(&node, state) && state.backoff.is_none());
        if let Some(node) = healthy {
            // One probe per call, which is made for its answer.
            for (node, state) in states.iter_mut().enumerate().filter(|_| tried.is_empty()) {
                if let NodeEntry { backoff: Some(backoff), removed: false } = state
                    && backoff.until <= now
                    && (may_resend || !backoff.request_sent)
                {
                    backoff.until = now + PROBE_LEASE;
                    return Some(NodeChoice { node, probe: true });
                }
            }
            return Some(NodeChoice { node, probe: false });
        }
        let left = states.iter().enumerate().filter(|(node, state)| is_left(node, state));
        let node = left.min_by_key(|(_, state)| state.backoff.as_ref().map(|backoff| backoff.until))?.0;
        Some(NodeChoice { node, probe: false })
    }

    /// Records an answer. Returns the downtime if the node was in backoff.
    pub(in crate::pve) fn record_success(&self, node: usize) -> Option<Duration> {
        if self.unavailable.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = (self.clock)();
        let mut states = self.lock();
        let backoff = states.get_mut(node)?.backoff.take()?;
        self.update_unavailable(&states);
        Some(now.saturating_duration_since(backoff.since))
    }

    /// Records a failure. Returns whether the node was healthy before. `request_sent`: it failed after a request was
    /// sent.
    pub(in crate::pve) fn record_failure(
        &self,
        choice: NodeChoice,
        request_sent: bool,
        failure: &FailedAttempt,
    ) -> bool {
        let now = (self.clock)();
        let mut states = self.lock();
        let Some(state) = states.get_mut(choice.node) else { return false };
        match &mut state.backoff {
            None => {
                let until = now + FIRST_BACKOFF;
                let reason = failure.clone();
                state.backoff = Some(Backoff { reason, since: now, until, failures: 1, request_sent });
                self.update_unavailable(&states);
                true
            }
            Some(backoff) => {
                // Requests that were in flight at the first failure fail as well and are not counted.
                if choice.probe || backoff.until <= now {
                    backoff.failures = backoff.failures.saturating_add(1);
                    backoff.until = now + backoff_duration(backoff.failures);
                    backoff.request_sent = request_sent;
                    backoff.reason = failure.clone();
                }
                false
            }
        }
    }

    /// Ends a probe without a result, so that the next call may probe the node.
    pub(in crate::pve) fn release_probe(&self, choice: NodeChoice) {
        if choice.probe
            && let Some(backoff) = self.lock().get_mut(choice.node).and_then(|state| state.backoff.as_mut())
        {
            backoff.until = (self.clock)();
        }
    }

    /// Returns the status of each node.
    pub(in crate::pve) fn statuses(&self) -> Vec<NodeStatus> {
        let now = (self.clock)();
        let status = |state: &NodeEntry| match &state.backoff {
            _ if state.removed => NodeStatus::Removed,
            None => NodeStatus::Healthy,
            Some(backoff) => NodeStatus::BackingOff(BackoffStatus {
                reason: backoff.reason.clone(),
                since: now.saturating_duration_since(backoff.since),
                failures: backoff.failures,
                next_try: backoff.until.saturating_duration_since(now),
            }),
        };
        self.lock().iter().map(status).collect()
    }

    /// Sets the number of nodes. Those from `first_discovered` on are removed unless the cluster lists them.
    pub(in crate::pve) fn set_nodes(&self, count: usize, first_discovered: usize, is_listed: &dyn Fn(usize) -> bool) {
        let mut states = self.lock();
        states.resize_with(count, NodeEntry::default);
        for (node, state) in states.iter_mut().enumerate().skip(first_discovered) {
            state.removed = !is_listed(node);
        }
        self.update_unavailable(&states);
    }

    /// Returns the current time of the clock.
    pub(in crate::pve) fn now(&self) -> Instant {
        (self.clock)()
    }
}

/// Returns the backoff after so many failures.
fn backoff_duration(failures: u32) -> Duration {
    // 64 s exceeds the maximum already.
    (FIRST_BACKOFF * (1 << (failures.max(1) - 1).min(6))).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::error::{ConnectError, NetworkError};
    use std::sync::atomic::AtomicU64;

    /// Returns healthy nodes and the milliseconds of their clock.
    fn nodes(count: usize) -> (NodeHealth, Arc<AtomicU64>) {
        let (start, time) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let shown = time.clone();
        let clock = Arc::new(move || start + Duration::from_millis(shown.load(Ordering::SeqCst)));
        (NodeHealth::new(count).with_clock(clock), time)
    }

    fn failure(error: NetworkError) -> FailedAttempt {
        FailedAttempt { node: "pve1:8006".into(), cause: ConnectError::Network(error) }
    }

    fn usual_choice(node: usize) -> NodeChoice {
        NodeChoice { node, probe: false }
    }

    fn probe_choice(node: usize) -> NodeChoice {
        NodeChoice { node, probe: true }
    }

    #[test]
    fn a_failed_node_is_skipped_until_its_backoff_ends_and_then_probed_by_one_call() {
        let (nodes, time) = nodes(3);
        assert_eq!(nodes.choose(&[], true), Some(usual_choice(0)));
        assert!(nodes.record_failure(usual_choice(0), false, &failure(NetworkError::Refused)));
        assert!(
            !nodes.record_failure(usual_choice(0), false, &failure(NetworkError::Refused)),
            "only the first failure is news"
        );
        assert_eq!(nodes.choose(&[], true), Some(usual_choice(1)));
        time.store(1_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(probe_choice(0)));
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)), "other calls skip it");
        assert!(!nodes.record_failure(probe_choice(0), false, &failure(NetworkError::Refused)));
        time.store(2_999, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)), "twice as long");
        time.store(3_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(probe_choice(0)));
        assert_eq!(nodes.record_success(0), Some(Duration::from_secs(3)));
        assert_eq!((nodes.record_success(0), nodes.choose(&[], true)), (None, Some(usual_choice(0))));
    }

    #[test]
    fn a_cancelled_probe_is_left_to_the_next_call_and_a_lost_one_expires() {
        let (nodes, time) = nodes(2);
        nodes.record_failure(usual_choice(0), false, &failure(NetworkError::Refused));
        time.store(1_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
        nodes.release_probe(probe_choice(0));
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
        time.store(11_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
    }

    #[test]
    fn a_node_that_lost_a_request_is_probed_by_reads_only() {
        let (nodes, time) = nodes(2);
        nodes.record_failure(usual_choice(0), true, &failure(NetworkError::TimedOut));
        time.store(1_000, Ordering::SeqCst);
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)));
        assert_eq!(nodes.choose(&[], true), Some(probe_choice(0)));
    }

    #[test]
    fn when_all_nodes_are_in_backoff_each_is_tried_by_earliest_end() {
        let (nodes, time) = nodes(3);
        for (at, node) in [(0, 1), (10, 2), (20, 0)] {
            time.store(at, Ordering::SeqCst);
            nodes.record_failure(usual_choice(node), true, &failure(NetworkError::LostBeforeAnswer));
        }
        assert_eq!(nodes.choose(&[], false), Some(usual_choice(1)));
        assert_eq!(nodes.choose(&[1], false), Some(usual_choice(2)));
        assert_eq!(nodes.choose(&[1, 2], false), Some(usual_choice(0)));
        assert_eq!(nodes.choose(&[1, 2, 0], false), None);
    }

    #[test]
    fn the_backoff_doubles_up_to_a_minute() {
        let seconds: Vec<_> = [1, 2, 3, 6, 7, 8, u32::MAX].into_iter().map(|n| backoff_duration(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn a_node_that_the_cluster_no_longer_lists_is_not_asked() {
        let (nodes, _) = nodes(1);
        nodes.set_nodes(3, 1, &|node| node == 2);
        assert_eq!(nodes.choose(&[0], true), Some(usual_choice(2)));
        assert_eq!(nodes.choose(&[0, 2], true), None);
        let statuses = nodes.statuses();
        assert!(
            matches!(statuses[..], [NodeStatus::Healthy, NodeStatus::Removed, NodeStatus::Healthy]),
            "{statuses:?}"
        );
        nodes.set_nodes(3, 1, &|_| true);
        assert_eq!(nodes.choose(&[0], true), Some(usual_choice(1)));
    }
}
