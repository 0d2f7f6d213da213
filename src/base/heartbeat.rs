//! The time of the last progress of a thread or a call, for a watchdog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The interval at which a thread that has nothing to do shows that it could.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A record of progress. It costs the part that progresses one store.
pub struct Heartbeat {
    started: Instant,
    /// Milliseconds from the start to the last progress.
    last: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// Records progress.
    pub fn beat(&self) {
        self.last.store(self.elapsed(), Ordering::Relaxed);
    }

    /// Returns the time since the last progress, or since the start.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_age_grows_until_the_next_progress() {
        let heartbeat = Heartbeat::default();
        while heartbeat.age() < Duration::from_millis(5) {
            thread::yield_now();
        }
        let (before, elapsed) = (heartbeat.age(), heartbeat.elapsed());
        heartbeat.beat();
        assert!(before.as_millis() >= 5 && heartbeat.last.load(Ordering::Relaxed) >= elapsed);
    }
}
