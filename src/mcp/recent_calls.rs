//! The last tool calls of each client, for the people who approve calls. They have no parameters and no answers.
//!
//! Only age and number remove a call: a person sees the calls of a client after a reload has removed it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The calls of each kind that are kept of one client: reads, and others. So reads push no change out.
const MAX_CALLS: usize = 20;
/// The clients whose calls are kept. A reload may bring new names at any time.
const MAX_CLIENTS: usize = 256;
/// The time for which a call is kept.
const MAX_AGE: Duration = Duration::from_secs(86_400);

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct RecentCall {
    pub ended: Instant,
    /// The tool can change nothing.
    pub is_read: bool,
    pub tool: &'static str,
    /// The first cluster of the call, if it concerns one.
    pub cluster: Option<String>,
    pub has_more_clusters: bool,
    /// The operation, without parameters.
    pub operation: Option<String>,
    pub outcome: &'static str,
    pub transport: &'static str,
}

/// The last calls of a client, the newest first.
#[derive(Debug)]
pub struct ClientCalls {
    pub client: String,
    pub calls: Vec<RecentCall>,
}

/// The last calls by the names of their clients.
#[derive(Default)]
pub(super) struct RecentCalls(Mutex<BTreeMap<String, VecDeque<RecentCall>>>);

impl RecentCalls {
    /// Adds a call. The oldest one of its client and its kind makes room for it.
    pub fn record(&self, client: &str, call: RecentCall) {
        let mut clients = self.lock(call.ended);
        if let Some(calls) = clients.get_mut(client) {
            let is_same = |other: &&RecentCall| other.is_read == call.is_read;
            if calls.iter().filter(is_same).count() == MAX_CALLS {
                let oldest = calls.iter().position(|other| is_same(&other)).expect("calls of this kind are there");
                calls.remove(oldest);
            }
            calls.push_back(call);
            return;
        }
        if clients.len() == MAX_CLIENTS {
            let idle = clients.iter().min_by_key(|(_, calls)| calls.back().map(|call| call.ended));
            let idle = idle.map(|(name, _)| name.clone()).expect("the list is full");
            clients.remove(&idle);
        }
        clients.insert(client.to_owned(), VecDeque::from([call]));
    }

    /// Returns the calls of each client.
    pub fn list(&self, now: Instant) -> Vec<ClientCalls> {
        let to_entry = |(client, calls): (&String, &VecDeque<RecentCall>)| ClientCalls {
            client: client.clone(),
            calls: calls.iter().rev().cloned().collect(),
        };
        self.lock(now).iter().map(to_entry).collect()
    }

    /// Locks the list without the calls that are too old.
    fn lock(&self, now: Instant) -> MutexGuard<'_, BTreeMap<String, VecDeque<RecentCall>>> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |call: &RecentCall| now.saturating_duration_since(call.ended) > MAX_AGE;
        if clients.values().any(|calls| calls.front().is_some_and(is_old)) {
            clients.retain(|_, calls| {
                calls.retain(|call| !is_old(call));
                !calls.is_empty()
            });
        }
        clients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ended: Instant) -> RecentCall {
        RecentCall {
            ended,
            is_read: true,
            tool: "list_nodes",
            cluster: None,
            has_more_clusters: false,
            operation: None,
            outcome: "ok",
            transport: "http",
        }
    }

    #[test]
    fn calls_and_clients_are_bounded_and_the_newest_stay() {
        let start = Instant::now();
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let recent = RecentCalls::default();
        for second in 0..MAX_CALLS + 5 {
            recent.record("busy", call(at(second)));
        }
        for second in 0..MAX_CLIENTS {
            recent.record(&format!("client{second}"), call(at(second)));
        }
        let list = recent.list(at(MAX_CLIENTS));
        assert_eq!(list.len(), MAX_CLIENTS);
        assert!(list.iter().all(|entry| entry.client != "client0"), "the client that has been idle longest is dropped");
        let busy = list.iter().find(|entry| entry.client == "busy").expect("the calls of busy");
        let ends: Vec<_> = busy.calls.iter().map(|call| call.ended).collect();
        assert_eq!(ends, (5..MAX_CALLS + 5).rev().map(at).collect::<Vec<_>>());
    }

    #[test]
    fn reads_push_no_change_out() {
        let start = Instant::now();
        let recent = RecentCalls::default();
        recent.record("a", RecentCall { is_read: false, ..call(start) });
        for _ in 0..3 * MAX_CALLS {
            recent.record("a", call(start));
        }
        let calls = recent.list(start).remove(0).calls;
        assert_eq!((calls.len(), calls.iter().filter(|call| !call.is_read).count()), (MAX_CALLS + 1, 1));
    }

    #[test]
    fn calls_of_yesterday_are_dropped() {
        let start = Instant::now();
        let recent = RecentCalls::default();
        recent.record("a", call(start));
        recent.record("b", call(start));
        recent.record("b", call(start + MAX_AGE));
        let list = recent.list(start + MAX_AGE + Duration::from_secs(1));
        assert_eq!(list.iter().map(|entry| (entry.client.as_str(), entry.calls.len())).collect::<Vec<_>>(), [("b", 1)]);
    }
}
