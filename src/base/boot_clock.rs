//! A clock for lifetimes that must not pause while the machine sleeps, as the monotonic clock does on Linux.

use std::time::Duration;

/// A point in time from which the time is counted, the sleep of the machine included.
pub struct BootClock(Reference);

impl BootClock {
    pub fn start() -> Self {
        Self(Reference::now())
    }

    /// Returns the whole seconds since the start. They never decrease.
    pub fn elapsed_seconds(&self) -> u64 {
        self.0.elapsed().as_secs()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
struct Reference(Duration);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Reference {
    fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).expect("the machine started in the past");
        let nanos = u32::try_from(time.tv_nsec).expect("a part of a second");
        Self(Duration::new(seconds, nanos))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// The monotonic clock of other systems may count sleep or not. The wall clock does, but it can be set.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
struct Reference {
    monotonic: std::time::Instant,
    wall: std::time::SystemTime,
    latest: std::sync::Mutex<Duration>,
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Reference {
    fn now() -> Self {
        Self {
            monotonic: std::time::Instant::now(),
            wall: std::time::SystemTime::now(),
            latest: std::sync::Mutex::default(),
        }
    }

    fn elapsed(&self) -> Duration {
        let mut latest = self.latest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *latest = (*latest).max(self.monotonic.elapsed()).max(self.wall.elapsed().unwrap_or_default());
        *latest
    }
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
        let now = Reference::now().0.as_millis() / 10;
        let after = uptime();
        assert!(before <= now && now <= after + 1, "{before} {now} {after}");
        assert!(BootClock::start().elapsed_seconds() < 600);
    }
}
