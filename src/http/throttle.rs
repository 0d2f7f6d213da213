//! Warnings that a stranger can cause, bounded: a flood of them must not fill a disk.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines in so long a time.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// One kind of warning; each kind has its own, so that a flood of one doesn't hide another.
#[derive(Default)]
pub struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Throttle {
    /// Logs `text` at warn, or counts it; the next line that is logged says how many were left out.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        match self.admit() {
            None => {}
            Some(0) => log::warn!(target: "proxmox_mcp::http", "{text}"),
            Some(n) => log::warn!(target: "proxmox_mcp::http", "{text} ({n} more like this were not logged)"),
        }
    }

    /// `None`: leave it out. `Some(n)`: log it, `n` were left out before.
    fn admit(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| since.elapsed() > WINDOW) {
            *state = State { since: Some(Instant::now()), lines: 0, left_out: state.left_out };
        }
        if state.lines == LINES {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

/// Bytes of a request, fit for a line of a log: no control characters, no more than 80 of them.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 80;
        match self.0.get(..MOST) {
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
        let throttle = Throttle::default();
        let logged = (0..1000).filter(|_| throttle.admit().is_some()).count();
        assert_eq!(logged, LINES as usize);
        throttle.0.lock().unwrap().since = None;
        assert_eq!(throttle.admit(), Some(1000 - u64::from(LINES)));
        assert_eq!(throttle.admit(), Some(0));
    }

    #[test]
    fn what_a_stranger_sent_stays_on_its_line() {
        assert_eq!(Escaped(b"a\r\n\x1b[31m\"\xff").to_string(), r#""a\r\n\x1b[31m\"\xff""#);
        assert!(Escaped(&[b'x'; 500]).to_string().len() < 100);
    }
}
