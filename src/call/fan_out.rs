//! The same task for several items in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The maximum number of threads of all fan-outs of the process, beside those of the callers.
const MAX_THREADS: usize = 256;

/// The threads of all fan-outs.
static THREADS: ThreadPermits = ThreadPermits { used: AtomicUsize::new(0), max: MAX_THREADS };

/// A limit on threads that is never waited for.
struct ThreadPermits {
    used: AtomicUsize,
    max: usize,
}

/// Permits for some threads, given back on drop.
struct ThreadShare<'a> {
    permits: &'a ThreadPermits,
    count: usize,
}

impl ThreadPermits {
    /// Takes at most `wanted` permits. A caller gets a quarter of the free ones, so that the next one finds some too.
    fn take(&self, wanted: usize) -> ThreadShare<'_> {
        let share = |used: usize| wanted.min((self.max - used).div_ceil(4));
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| Some(used + share(used)));
        ThreadShare { permits: self, count: taken.map_or(0, share) }
    }
}

impl Drop for ThreadShare<'_> {
    fn drop(&mut self) {
        self.permits.used.fetch_sub(self.count, Ordering::SeqCst);
    }
}

/// Runs `run` for every item, at most `max_concurrent` at once, and returns the results in the order of the items.
///
/// This thread takes part. Where the process has no further thread, the others do its share.
pub fn fan_out<I: Sync, T: Send>(items: &[I], max_concurrent: usize, run: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new(items.iter().map(|_| None).collect());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = run(item);
            if let Some(slot) = results.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
                *slot = Some(result);
            }
        }
    };
    run_in_threads(items.len().min(max_concurrent), &work);
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("every item was taken by a thread that ended")).collect()
}

/// Runs `work` in this thread, and in others up to `max_threads` together. It is compiled once for all callers.
fn run_in_threads(max_threads: usize, work: &(dyn Fn() + Sync)) {
    let share = THREADS.take(max_threads.saturating_sub(1));
    thread::scope(|scope| {
        for _ in 0..share.count {
            if thread::Builder::new().name("fan-out".into()).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(fan_out(&items, 8, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(fan_out(&[] as &[u8], 8, |n| *n), [0; 0]);
    }

    #[test]
    fn threads_are_limited_for_all_callers() {
        let permits = ThreadPermits { used: AtomicUsize::new(0), max: 16 };
        let shares: Vec<_> = (0..64).map(|_| permits.take(200)).collect();
        assert_eq!(shares[0].count, 4, "a quarter");
        assert_eq!(shares.iter().map(|share| share.count).sum::<usize>(), 16);
        drop(shares);
        assert_eq!(permits.take(2).count, 2);
        assert_eq!(permits.used.load(Ordering::SeqCst), 0);
    }
}
