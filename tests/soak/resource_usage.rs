//! Memory, threads and descriptors of processes, read from /proc.

use std::fs;

/// Memory, threads and descriptors of processes. Threads for the calls of sessions do not count: they stay idle for a
/// while.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceUsage {
    /// Resident memory.
    pub rss_kib: u64,
    threads: u64,
    descriptors: u64,
}

impl ResourceUsage {
    /// Returns the sum over these processes.
    pub fn from_pids(pids: &[u32]) -> Self {
        pids.iter().fold(Self::default(), |sum, pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let rss = rss.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |all| all.count() as u64);
            Self {
                rss_kib: sum.rss_kib + rss,
                threads: sum.threads + tasks.map(name).filter(|name| name != "call\n").count() as u64,
                descriptors: sum.descriptors + descriptors,
            }
        })
    }

    /// Returns whether this has no more threads and descriptors than `limit`.
    pub fn is_within(&self, first: &Self) -> bool {
        self.threads <= first.threads && self.descriptors <= first.descriptors
    }
}

impl std::fmt::Display for ResourceUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = self.rss_kib as f64 / 1024.0;
        write!(f, "{mib:6.1} MiB, {:3} threads, {:4} descriptors", self.threads, self.descriptors)
    }
}
