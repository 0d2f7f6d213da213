//! The tool calls that run, on any transport, for the watchdog.

use crate::base::cancel::CancelToken;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The running calls of a server.
#[derive(Default)]
pub(super) struct RunningCalls(Mutex<RunningTable>);

#[derive(Default)]
struct RunningTable {
    last_serial: u64,
    calls: Vec<(u64, CancelToken)>,
}

/// The entry of a running call, removed on drop.
pub(super) struct RunningEntry<'a> {
    calls: &'a RunningCalls,
    serial: u64,
}

impl RunningCalls {
    pub(super) fn register(&self, call: &CancelToken) -> RunningEntry<'_> {
        call.record_progress();
        let mut table = self.lock();
        table.last_serial += 1;
        let serial = table.last_serial;
        table.calls.push((serial, call.clone()));
        RunningEntry { calls: self, serial }
    }

    /// Returns the number of calls without progress for `limit`.
    pub(super) fn count_stalled(&self, limit: Duration) -> usize {
        self.lock().calls.iter().filter(|(_, call)| call.progress_age() > limit).count()
    }

    fn lock(&self) -> MutexGuard<'_, RunningTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningEntry<'_> {
    fn drop(&mut self) {
        self.calls.lock().calls.retain(|(serial, _)| *serial != self.serial);
    }
}
