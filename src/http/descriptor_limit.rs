//! The share of the process's file descriptors that connections may use.

use crate::config::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for other uses: standard streams, log, clusters.json, reserved connections, rejected clients.
const SPARE_DESCRIPTORS: u64 = 64;

/// Returns how many connections can be open at once: `max_connections`, or fewer if descriptors are short. Raises the
/// soft limit of descriptors as far as needed and as the hard limit permits.
pub fn fit_to_descriptor_limit(limits: &Limits) -> usize {
    let wanted = limits.max_connections as u64;
    // A call in flight may hold a connection to a node.
    let others = limits.max_calls as u64 + SPARE_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    let raised = (wanted + others).min(limit.maximum.unwrap_or(u64::MAX));
    let is_raised = current < raised
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok();
    let current = if is_raised { raised } else { current };
    let capacity = connection_capacity(current, wanted, others);
    if capacity < wanted {
        log::warn!(
            "the limit of {current} file descriptors allows only {capacity} connections instead of {wanted}. \
             hint: raise the limit (ulimit -n) to {}",
            wanted + others
        );
    }
    capacity as usize
}

/// Returns the share of `descriptors` for connections: all but those for other uses, and at least half.
fn connection_capacity(descriptors: u64, wanted: u64, others: u64) -> u64 {
    wanted.min(descriptors.saturating_sub(others).max(descriptors / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_calls() {
        assert_eq!(connection_capacity(u64::MAX, 2048, 320), 2048);
        assert_eq!(connection_capacity(1024, 2048, 320), 704);
        assert_eq!(connection_capacity(100, 2048, 320), 50);
        assert_eq!(connection_capacity(0, 2048, 320), 1);
    }
}
