//! A value of a cluster that is kept for a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(60);

/// The last value that was read, with the time at which it was read.
pub(in crate::pve) struct RecentValue<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for RecentValue<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> RecentValue<T> {
    /// Returns the value if it was read within the last minute.
    pub(in crate::pve) fn get(&self) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = kept.as_ref()?;
        (read_at.elapsed() < LIFETIME).then(|| value.clone())
    }

    pub(in crate::pve) fn keep(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value));
    }

    pub(in crate::pve) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
