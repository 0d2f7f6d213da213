//! A span of time from now on, so that a bound holds for the whole of a thing however many waits it is made of.

use std::time::{Duration, Instant};

/// A span of time that began with this value.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    /// Begins now.
    pub fn from_now(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// What is left of it; zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// The whole span.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}
