//! A time limit for an operation that consists of several waits.

use std::time::{Duration, Instant};

/// A time limit that started when this value was created.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn from_now(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// Returns the time left, or zero when the limit is over.
    pub fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// Returns the whole limit.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}
