//! Rate limit of warnings that clients can cause, so that a flood of them does not fill a disk.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum lines within a window.
const MAX_LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Rate limit of one kind of warning. Each kind has its own, so that a flood of one does not hide another.
#[derive(Default)]
pub struct LogThrottle(Mutex<ThrottleState>);

#[derive(Default)]
struct ThrottleState {
    since: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogThrottle {
    /// Logs `text`, or counts it as suppressed. The next logged line tells how many were suppressed.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        match self.admit() {
            None => {}
            Some(0) => log::warn!(target: "proxmox_mcp::http", "{text}"),
            Some(n) => log::warn!(target: "proxmox_mcp::http", "{text} ({n} similar warnings were suppressed)"),
        }
    }

    /// Returns the number of lines suppressed before this one, or `None` if this one is suppressed too.
    fn admit(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| since.elapsed() > WINDOW) {
            *state = ThrottleState { since: Some(Instant::now()), lines: 0, suppressed: state.suppressed };
        }
        if state.lines == MAX_LINES {
            state.suppressed += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

/// Bytes of a request, formatted for a log line: without control characters and at most 80 of them.
pub struct EscapedBytes<'a>(pub &'a [u8]);

impl fmt::Display for EscapedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_SHOWN: usize = 80;
        match self.0.get(..MAX_SHOWN) {
            Some(start) if start.len() < self.0.len() => write!(f, "\"{}\"…", start.escape_ascii()),
            _ => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_not_logged() {
        let throttle = LogThrottle::default();
        let logged = (0..1000).filter(|_| throttle.admit().is_some()).count();
        assert_eq!(logged, MAX_LINES as usize);
        throttle.0.lock().unwrap().since = None;
        assert_eq!(throttle.admit(), Some(1000 - u64::from(MAX_LINES)));
        assert_eq!(throttle.admit(), Some(0));
    }

    #[test]
    fn escaped_bytes_stay_on_one_line() {
        assert_eq!(EscapedBytes(b"a\r\n\x1b[31m\"\xff").to_string(), r#""a\r\n\x1b[31m\"\xff""#);
        assert!(EscapedBytes(&[b'x'; 500]).to_string().len() < 100);
    }
}
