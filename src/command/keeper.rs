//! The thread that feeds the watchdog of systemd as long as the server works, closes idle connections to nodes, removes
//! expired approvals and returns unused memory.

use proxmox_mcp::tools::ToolState;
use proxmox_mcp_allocator::release_unused_memory;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Interval of the checks. A watchdog may need a shorter one.
const INTERVAL: Duration = Duration::from_secs(5);

/// Time after which a thread of the server that shows no progress hangs. It is ten times the interval of its heartbeat.
const THREAD_LIMIT: Duration = Duration::from_secs(10);

/// Time that a call may take between two requests to a cluster, in addition to the longest timeout of a cluster.
const CALL_ALLOWANCE: Duration = Duration::from_secs(60);

/// Limits after which a part of the server hangs.
pub struct StallLimits {
    pub thread: Duration,
    pub call: Duration,
}

impl StallLimits {
    /// Returns the limits for the current clusters.
    pub fn for_clusters(tools: &ToolState) -> Self {
        let clusters = tools.clusters();
        let longest = clusters.clusters().iter().map(|cluster| cluster.settings().timeout).max();
        Self { thread: THREAD_LIMIT, call: longest.unwrap_or_default() + CALL_ALLOWANCE }
    }
}

/// Closes the idle connections to the nodes of all clusters, and removes expired approvals.
pub fn clean_up(tools: &ToolState) {
    tools.call_service().prune_approvals();
    tools.clusters().clusters().iter().for_each(|cluster| cluster.close_idle_connections());
}

/// The thread, before it runs.
pub struct Keeper<'a> {
    /// Returns the reason why the server does not work, if it does not.
    pub find_stall: Box<dyn Fn() -> Option<String> + Send + 'a>,
    /// Removes what is no longer used.
    pub clean_up: Box<dyn Fn() + Send + 'a>,
}

impl Keeper<'_> {
    /// Runs until the other end of `server` is dropped. Calls `ping` at least every `watchdog`, if the server works.
    pub fn run(&self, server: &Receiver<()>, watchdog: Option<Duration>, ping: &dyn Fn()) {
        let interval = watchdog.map_or(INTERVAL, |watchdog| watchdog.min(INTERVAL));
        let mut stalled_checks = 0_u32;
        loop {
            let stall = (self.find_stall)();
            stalled_checks = if stall.is_some() { stalled_checks.saturating_add(1) } else { 0 };
            // A single check may come right after a pause of the whole process, before the other threads have run.
            if let (2, Some(reason)) = (stalled_checks, stall) {
                log::error!("the server hangs, so the watchdog is no longer notified: {reason}");
            }
            if stalled_checks < 2 && watchdog.is_some() {
                ping();
            }
            (self.clean_up)();
            release_unused_memory();
            if server.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn the_watchdog_is_fed_only_while_the_server_works() {
        let stalled = AtomicBool::new(false);
        let (events, seen) = channel();
        let (running, server) = channel();
        thread::scope(|scope| {
            let (stalled, checks) = (&stalled, events.clone());
            let find_stall = Box::new(move || {
                let stall = stalled.load(Ordering::SeqCst).then(|| "a thread hangs".to_owned());
                checks.send(if stall.is_some() { "stalled" } else { "works" }).expect("the test runs");
                stall
            });
            let ping = move || events.send("ping").expect("the test runs");
            scope.spawn(move || {
                Keeper { find_stall, clean_up: Box::new(|| ()) }.run(&server, Some(Duration::from_millis(1)), &ping);
            });
            let next = || seen.recv_timeout(Duration::from_secs(20)).expect("an event");
            let wait_for = |event| while next() != event {};
            wait_for("ping");
            stalled.store(true, Ordering::SeqCst);
            wait_for("stalled");
            assert_eq!(next(), "ping", "one check is not enough");
            for _ in 0..3 {
                assert_eq!(next(), "stalled", "no ping between the checks");
            }
            stalled.store(false, Ordering::SeqCst);
            wait_for("ping");
            drop(running);
        });
    }
}
