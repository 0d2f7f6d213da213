//! The hash chain of the lines. A line holds, as its last member, the SHA-256 of the line before without its newline.
//!
//! A crash may leave a torn line, which holds no hash. The line after it holds the hash of everything from the last
//! complete record on, except the last newline. The first line holds zeros.

use crate::base::json_scan;
use ring::digest::{self, Digest, SHA256};
use std::fmt::Write;

/// Bytes of a line. Every record is shorter.
pub(super) const MAX_LINE_BYTES: usize = 320 << 10;
/// The hash in the first line of a file.
pub(super) const ZERO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The beginning of every record.
const RECORD_START: &str = "{\"seq\":";

/// The state of a file that its next line depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HashChain {
    /// The number of the last line.
    pub(super) seq: u64,
    /// The hash for the next line.
    pub(super) prev_hash: String,
    /// The last line still lacks its newline.
    pub(super) needs_newline: bool,
}

impl HashChain {
    /// Returns the chain of an empty file.
    pub(super) fn new() -> Self {
        Self { seq: 0, prev_hash: ZERO_HASH.into(), needs_newline: false }
    }

    /// Returns the chain after the last bytes of a file, which begin with a line. With `whole` they are the whole file.
    /// Returns `None` if they do not belong to an audit log.
    pub(super) fn from_tail(tail: &[u8], whole: bool) -> Option<Self> {
        if tail.is_empty() {
            return whole.then(Self::new);
        }
        let (text, needs_newline) = match tail.strip_suffix(b"\n") {
            Some(text) => (text, false),
            None => (tail, true),
        };
        // Finds the last complete record, and counts the torn lines after it.
        let (mut end, mut torn) = (text.len(), 0);
        loop {
            let before = &text[..end];
            let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
            if let Some(record) = StoredLine::parse(&before[start..]) {
                let prev_hash = to_hex(digest::digest(&SHA256, &text[start..]));
                return Some(Self { seq: record.seq.saturating_add(torn), prev_hash, needs_newline });
            }
            torn += 1;
            if start == 0 {
                // The first record of the file may be torn.
                let is_torn_start = whole && may_begin_record(text);
                let prev_hash = to_hex(digest::digest(&SHA256, text));
                return is_torn_start.then_some(Self { seq: torn, prev_hash, needs_newline });
            }
            end = start - 1;
        }
    }

    /// Returns the next line, after the newline that the line before may lack. `body` holds its
    /// members from `id` on, with a comma before each.
    pub(super) fn format_line(&self, time: &str, body: &str) -> String {
        let mut line = String::with_capacity(body.len() + 160);
        if self.needs_newline {
            line.push('\n');
        }
        let (seq, prev_hash) = (self.seq.saturating_add(1), &self.prev_hash);
        let _ = writeln!(line, "{RECORD_START}{seq},\"time\":\"{time}\"{body},\"prev\":\"{prev_hash}\"}}");
        line
    }

    /// Returns the chain after that line.
    pub(super) fn advance(&self, line: &str) -> Self {
        Self {
            seq: self.seq.saturating_add(1),
            prev_hash: to_hex(digest::digest(&SHA256, line.trim().as_bytes())),
            needs_newline: false,
        }
    }
}

/// The parts of a record that the chain needs.
pub(super) struct StoredLine<'a> {
    pub(super) seq: u64,
    pub(super) time: &'a str,
    pub(super) prev_hash: &'a str,
}

impl<'a> StoredLine<'a> {
    /// Parses a line without its newline. Returns `None` if it is not a complete record.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(line).ok().filter(|text| text.len() < MAX_LINE_BYTES)?;
        let (number, rest) = text.strip_prefix(RECORD_START)?.split_once(",\"time\":\"")?;
        let (time, rest) = rest.split_once('"')?;
        let (_, prev_hash) = rest.strip_suffix("\"}")?.rsplit_once(",\"prev\":\"")?;
        let seq = number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()))?;
        let is_valid = time.len() == 24 && time.is_ascii() && is_hash(prev_hash);
        (is_valid && json_scan::walk(text, &mut |_, _| true)).then_some(Self { seq, time, prev_hash })
    }
}

/// Returns true if a line may be the beginning of a record.
pub(super) fn may_begin_record(line: &[u8]) -> bool {
    line.starts_with(RECORD_START.as_bytes()) || RECORD_START.as_bytes().starts_with(line)
}

fn is_hash(text: &str) -> bool {
    text.len() == ZERO_HASH.len() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns a hash as 64 hex digits in lower case.
pub(super) fn to_hex(hash: Digest) -> String {
    let mut text = String::with_capacity(ZERO_HASH.len());
    for byte in hash.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-08-01T12:00:00.123Z";

    fn sha(text: &str) -> String {
        to_hex(digest::digest(&SHA256, text.as_bytes()))
    }

    #[test]
    fn a_line_holds_the_hash_of_the_one_before() {
        assert_eq!(sha("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let first = HashChain::new().format_line(TIME, ",\"id\":\"a\"");
        assert_eq!(first, format!("{{\"seq\":1,\"time\":\"{TIME}\",\"id\":\"a\",\"prev\":\"{ZERO_HASH}\"}}\n"));
        let chain = HashChain::new().advance(&first);
        assert_eq!(chain, HashChain { seq: 1, prev_hash: sha(first.trim_end()), needs_newline: false });
        assert_eq!(HashChain::from_tail(first.as_bytes(), true), Some(chain));
        let second = HashChain::new().advance(&first).format_line(TIME, ",\"id\":\"b\"");
        let (both, chain) = (format!("{first}{second}"), HashChain::new().advance(&first).advance(&second));
        assert_eq!(HashChain::from_tail(both.as_bytes(), true), Some(chain));
    }

    #[test]
    fn a_torn_line_is_hashed_with_the_record_before_it() {
        let first = HashChain::new().format_line(TIME, "");
        for (torn, seq, open) in
            [("{\"se", 2, true), ("{\"se\n", 2, false), ("\0\0\0", 2, true), ("{\n{\"seq\":3", 3, true)]
        {
            let tail = format!("{first}{torn}");
            let prev = sha(tail.strip_suffix('\n').unwrap_or(&tail));
            let chain = HashChain::from_tail(tail.as_bytes(), false).unwrap();
            assert_eq!(chain, HashChain { seq, prev_hash: prev, needs_newline: open });
            assert_eq!(chain.format_line(TIME, "").starts_with('\n'), open);
        }
        let whole = first.trim_end();
        assert_eq!(
            HashChain::from_tail(whole.as_bytes(), true),
            Some(HashChain { seq: 1, prev_hash: sha(whole), needs_newline: true })
        );
    }

    #[test]
    fn a_file_that_is_not_an_audit_log_gives_no_chain() {
        assert_eq!(
            HashChain::from_tail(b"{\"seq\":1,\"ti", true),
            Some(HashChain { seq: 1, prev_hash: sha("{\"seq\":1,\"ti"), needs_newline: true })
        );
        for (tail, whole) in [
            (&b"root:x:0:0\n"[..], true),
            (b"\n", false),
            (b"{\"seq\":1,\"ti", false),
            (b"\0\0", true),
            (b"{\"other\":1}\n", true),
        ] {
            assert_eq!(HashChain::from_tail(tail, whole), None, "{}", tail.escape_ascii());
        }
    }

    #[test]
    fn a_record_is_recognized_by_its_whole_form() {
        let line = HashChain::new().format_line(TIME, ",\"id\":\"a\\n\"");
        let line = line.trim_end();
        assert!(
            StoredLine::parse(line.as_bytes()).is_some_and(|s| (s.seq, s.time, s.prev_hash) == (1, TIME, ZERO_HASH))
        );
        for wrong in [
            line.replace(":1,", ":01x,"),
            line.replace(":1,", ":+1,"),
            line.replace("a\\n", "a\n"),
            line.replace("000\"}", "00G\"}"),
            line.replace(".123Z", "Z"),
            format!("{line} "),
            format!("{line}{line}"),
        ] {
            assert!(StoredLine::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
