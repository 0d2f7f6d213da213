//! The same task for several items in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Runs `run` for every item, at most `max_concurrent` at once, and returns the results in the order of the items.
///
/// This thread takes part. Where the system has no further thread, the others do its share.
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
    thread::scope(|scope| {
        for _ in 1..items.len().min(max_concurrent) {
            if thread::Builder::new().name("fan-out".into()).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("every item was taken by a thread that ended")).collect()
}

#[cfg(test)]
mod tests {
    use super::fan_out;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(fan_out(&items, 8, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(fan_out(&[] as &[u8], 8, |n| *n), [0; 0]);
    }
}
