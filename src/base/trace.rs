//! The identity of a call: its own id, and the trace of its client.

use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// The id of a call, the same in the log, the audit and a failed result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId {
    /// Random number of the process, so that ids of several runs differ in one log.
    pub process: u16,
    /// Number of the call in the process.
    pub number: u64,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}-{:x}", self.process, self.number)
    }
}

/// A `traceparent` (W3C Trace Context, level 1): version 00, a trace, a span and flags. It has 55 characters, each a digit,
/// `a` to `f` or `-`, so it is safe to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent([u8; 55]);

impl TraceParent {
    /// Parses the text of a header or of `_meta`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes: [u8; 55] = text.try_into().ok()?;
        let mut parts = bytes.split(|byte| *byte == b'-');
        let mut part = |length| {
            let is_hex = |part: &&[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            parts.next().filter(|part| part.len() == length).filter(is_hex)
        };
        let (version, trace, span, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_nonzero = |id: &[u8]| id.iter().any(|byte| *byte != b'0');
        (version == b"00" && is_nonzero(trace) && is_nonzero(span)).then_some(Self(bytes))
    }

    /// Creates the `traceparent` of a request that the call makes: the same trace and a new span.
    ///
    /// Of the flags it keeps sampled and random (level 2). Unknown flags must not be passed on. Returns `None` if the
    /// system gives no random bytes.
    pub fn new_child(&self) -> Option<Self> {
        let mut span = [0; 8];
        SystemRandom::new().fill(&mut span).ok().filter(|()| span != [0; 8])?;
        let (trace, flags) = (&self.as_str()[..36], &self.as_str()[53..]);
        let flags = u8::from_str_radix(flags, 16).expect("parse accepts hex digits only") & 3;
        Self::parse(format!("{trace}{:016x}-{flags:02x}", u64::from_be_bytes(span)).as_bytes())
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("parse accepts ASCII only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_accepted_in_its_one_form() {
        let right = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(right.as_bytes()).unwrap().as_str(), right);
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
            assert_eq!(TraceParent::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_child_has_the_trace_a_new_span_and_the_known_flags() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";
        for (flags, passed_on) in [("00", "00"), ("01", "01"), ("03", "03"), ("fd", "01"), ("a0", "00")] {
            let parent = TraceParent::parse(format!("{parent}{flags}").as_bytes()).unwrap();
            let (one, two) = (parent.new_child().unwrap(), parent.new_child().unwrap());
            assert_ne!(one, two);
            for child in [one, two] {
                assert_eq!((&child.as_str()[..36], &child.as_str()[53..]), (&parent.as_str()[..36], passed_on));
                assert_ne!(child.as_str()[36..52], parent.as_str()[36..52]);
            }
        }
    }

    #[test]
    fn an_id_is_the_process_and_a_number() {
        assert_eq!(CallId { process: 0x3a, number: 255 }.to_string(), "003a-ff");
    }
}
