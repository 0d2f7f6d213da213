//! What a call is known by: an id of its own, and the trace that its client follows it by.

use std::fmt;

/// Where a failed result has the call's id, beside the protocol's own members.
pub const CALL_ID: &str = "proxmox-mcp/callId";

/// A call's own name, the same in the log, the audit and a failed result. Its first half is random and the process's, so
/// that ids of several runs don't meet in one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId {
    /// The process's half.
    pub process: u16,
    /// Counted up.
    pub number: u64,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}-{:x}", self.process, self.number)
    }
}

/// A `traceparent` (W3C Trace Context, level 1): version 00, a trace and a span, and flags. Its letters are 55, each a
/// digit, `a` to `f` or `-`: nothing else that a client sends gets into a log with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace([u8; 55]);

impl Trace {
    /// Out of the text of a header or of `_meta`; `None` where it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes: [u8; 55] = text.try_into().ok()?;
        let mut parts = bytes.split(|byte| *byte == b'-');
        let mut part = |length| {
            let is_hex = |part: &&[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            parts.next().filter(|part| part.len() == length).filter(is_hex)
        };
        let (version, trace, span, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let some = |id: &[u8]| id.iter().any(|byte| *byte != b'0');
        (version == b"00" && some(trace) && some(span)).then_some(Self(bytes))
    }

    /// As it was sent.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_in_its_one_form() {
        let right = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Trace::parse(right.as_bytes()).unwrap().as_str(), right);
        for wrong in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\n",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_id_is_the_processs_and_a_number() {
        assert_eq!(CallId { process: 0x3a, number: 255 }.to_string(), "003a-ff");
    }
}
