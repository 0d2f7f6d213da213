//! A clock for lifetimes that must not pause while the machine sleeps, as the monotonic clock does on Linux.

use std::time::Duration;

/// A point in time from which the time is counted, the sleep of the machine included.
pub struct BootClock(Duration);

impl BootClock {
    pub fn start() -> Self {
        Self(boot_time())
    }

    /// Returns the milliseconds since the start. They never decrease.
    pub fn elapsed_millis(&self) -> u64 {
        u64::try_from(boot_time().saturating_sub(self.0).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns the time since the machine started.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).expect("the machine started in the past");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("a part of a second"))
}

/// Returns the time since the first call. The monotonic clock of other systems may count sleep or not. The wall clock
/// does, but it can be set.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_time() -> Duration {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Instant, SystemTime};
    static START: OnceLock<(Instant, SystemTime)> = OnceLock::new();
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let (monotonic, wall) = START.get_or_init(|| (Instant::now(), SystemTime::now()));
    let elapsed = monotonic.elapsed().max(wall.elapsed().unwrap_or_default());
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(LATEST.fetch_max(millis, Ordering::Relaxed).max(millis))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Returns the time since the start of the machine, its sleep included (proc_uptime(5)), in hundredths of a second.
    fn uptime() -> u128 {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        text.split(' ').next().unwrap().replace('.', "").parse().unwrap()
    }

    #[test]
    fn the_clock_is_the_uptime_of_the_machine() {
        let before = uptime();
        let now = boot_time().as_millis() / 10;
        let after = uptime();
        assert!(before <= now && now <= after + 1, "{before} {now} {after}");
        assert!(BootClock::start().elapsed_millis() < 600_000);
    }
}
