//! The text of a record: bounded JSON that is safe to show.

use super::record::{AuditOutcome, AuditRecord};
use crate::sanitize::escape_invisible::{is_invisible, push_unicode_escape};
use std::fmt::Write;

const MAX_TEXT_CHARS: usize = 512;
/// Characters of the name of an argument.
const MAX_NAME_CHARS: usize = 256;
/// Bytes of the value of an argument, escapes included.
const MAX_VALUE_BYTES: usize = 132 << 10;
/// Bytes of a text in the line, escapes included. 512 characters fit unless most of them are escapes.
const MAX_TEXT_BYTES: usize = 2048;
/// Bytes of all arguments. This keeps a line shorter than [`super::chain::MAX_LINE_BYTES`].
const MAX_ARGUMENTS_BYTES: usize = 160 << 10;

/// Returns the members from `id` to `ms`, with a comma before each.
pub(super) fn format_body(record: &AuditRecord<'_>) -> String {
    let mut out = String::with_capacity(512);
    push_member(&mut out, "id", record.id);
    push_optional(&mut out, "trace", record.trace);
    push_member(&mut out, "event", record.event.name());
    push_member(&mut out, "client", record.client);
    let _ = match record.address {
        Some(address) => write!(out, ",\"address\":\"{}\"", address.to_canonical()),
        None => write!(out, ",\"address\":null"),
    };
    push_member(&mut out, "transport", record.transport);
    push_member(&mut out, "tool", record.tool);
    push_member(&mut out, "cluster", record.cluster);
    push_member(&mut out, "operation", record.operation);
    push_optional(&mut out, "guest", record.guest);
    push_arguments(&mut out, record.arguments);
    push_member(&mut out, "decision", record.decision.name());
    push_optional(&mut out, "why", record.reason);
    push_optional(&mut out, "upid", record.upid);
    if let Some(outcome) = record.outcome {
        out.push_str(",\"outcome\":");
        match outcome {
            AuditOutcome::Ok => push_quoted(&mut out, "ok", "", TEXT_BOUND),
            AuditOutcome::Failed(cause) => push_quoted(&mut out, "failed: ", cause, TEXT_BOUND),
            AuditOutcome::Unknown(cause) => push_quoted(&mut out, "unknown: ", cause, TEXT_BOUND),
        }
    }
    if let Some(duration) = record.duration {
        let _ = write!(out, ",\"ms\":{}", duration.as_millis());
    }
    out
}

fn push_member(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, ",\"{name}\":");
    push_quoted(out, "", text, TEXT_BOUND);
}

fn push_optional(out: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        push_member(out, name, text);
    }
}

/// Appends the object of the arguments. Arguments without room are counted under `…`.
fn push_arguments(out: &mut String, arguments: &[(&str, String)]) {
    out.push_str(",\"arguments\":{");
    let start = out.len();
    for (index, (name, value)) in arguments.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if out.len() - start > MAX_ARGUMENTS_BYTES {
            let _ = write!(out, "\"…\":\"{} more\"", arguments.len() - index);
            break;
        }
        push_quoted(out, "", name, Bound { chars: MAX_NAME_CHARS, ..TEXT_BOUND });
        out.push(':');
        push_quoted(out, "", value, Bound { chars: usize::MAX, bytes: MAX_VALUE_BYTES });
    }
    out.push('}');
}

/// The most characters of a text, and the most bytes with its escapes.
#[derive(Clone, Copy)]
struct Bound {
    chars: usize,
    bytes: usize,
}

const TEXT_BOUND: Bound = Bound { chars: MAX_TEXT_CHARS, bytes: MAX_TEXT_BYTES };

/// Returns the bytes that a text takes in a line, escapes included.
pub fn quoted_len(text: &str) -> usize {
    text.chars()
        .map(|c| match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if is_invisible(c) => 6 * c.len_utf16(),
            c => c.len_utf8(),
        })
        .sum()
}

/// Appends a JSON string of `prefix`, which needs no escape, and of as much of `text` as fits. `…` marks a cut.
fn push_quoted(out: &mut String, prefix: &str, text: &str, bound: Bound) {
    out.push('"');
    out.push_str(prefix);
    let start = out.len();
    for (count, c) in text.chars().enumerate() {
        if count >= bound.chars || out.len() - start >= bound.bytes {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_invisible(c) => push_unicode_escape(out, "\\", c),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::chain;
    use super::super::record::{AuditDecision, AuditEvent};
    use super::*;
    use serde_json::Value;
    use std::time::Duration;

    fn quote_text(value: &str) -> String {
        let mut out = String::new();
        push_quoted(&mut out, "", value, TEXT_BOUND);
        out
    }

    fn record<'a>(text: &'a str, arguments: &'a [(&'a str, String)]) -> AuditRecord<'a> {
        AuditRecord {
            event: AuditEvent::ChangeFinished,
            id: text,
            trace: Some(text),
            client: text,
            address: Some([192, 0, 2, 1].into()),
            transport: text,
            tool: text,
            cluster: text,
            operation: text,
            guest: Some(text),
            arguments,
            decision: AuditDecision::Confirmed,
            reason: Some(text),
            upid: Some(text),
            outcome: Some(AuditOutcome::Unknown(text)),
            duration: Some(Duration::from_micros(12_999)),
        }
    }

    #[test]
    fn members_keep_their_order_and_missing_ones_are_left_out() {
        let arguments = [("force", "1".to_owned())];
        assert_eq!(
            format_body(&record("x", &arguments)),
            r#","id":"x","trace":"x","event":"end","client":"x","address":"192.0.2.1","transport":"x","tool":"x","cluster":"x","operation":"x","guest":"x","arguments":{"force":"1"},"decision":"confirmed","why":"x","upid":"x","outcome":"unknown: x","ms":12"#
        );
        let short = AuditRecord {
            trace: None,
            address: None,
            guest: None,
            reason: None,
            upid: None,
            outcome: None,
            duration: None,
            ..record("x", &[])
        };
        assert_eq!(
            format_body(&short),
            r#","id":"x","event":"end","client":"x","address":null,"transport":"x","tool":"x","cluster":"x","operation":"x","arguments":{},"decision":"confirmed""#
        );
    }

    #[test]
    fn every_character_reads_back_and_no_invisible_one_is_raw() {
        for c in '\0'..=char::MAX {
            let json = quote_text(&format!("a{c}b"));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), format!("a{c}b"), "{c:?}");
            assert_eq!(json.len(), 4 + quoted_len(&c.to_string()), "{c:?}");
            let raw = json.contains(c) && !matches!(c, '"' | '\\');
            assert!(!(raw && (c.is_control() || is_invisible(c))), "{c:?}");
        }
        assert_eq!(quote_text("\u{202e}\u{e0041}\u{1b}\u{85}"), r#""\u202e\udb40\udc41\u001b\u0085""#);
    }

    #[test]
    fn texts_are_cut_with_a_mark() {
        assert_eq!(quote_text(&"é".repeat(512)).chars().count(), 514);
        let cut = quote_text(&"é".repeat(513));
        assert!(cut.ends_with("é…\"") && cut.chars().count() == 515, "{cut}");
        let longest = "x".repeat(MAX_VALUE_BYTES);
        let arguments = [("a", longest.clone()), ("b", format!("{longest}x"))];
        let line = format!("{{\"first\":1{}}}", format_body(&record("x", &arguments)));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["arguments"]["a"], longest);
        assert_eq!(line["arguments"]["b"], format!("{longest}…"));
    }

    #[test]
    fn the_longest_line_is_shorter_than_what_is_read_back() {
        for text in ["\u{e0001}".repeat(600), "\"".repeat(600), "😀".repeat(600), "\u{e0001}".repeat(2000)] {
            let arguments: Vec<_> = (0..3000).map(|_| (text.as_str(), text.clone())).collect();
            let body = format_body(&record(&text, &arguments));
            assert!(body.len() + 200 < chain::MAX_LINE_BYTES, "{}", body.len());
            assert!(body.contains(" more\"}"), "{body}");
            assert!(crate::base::json_scan::walk(&format!("{{\"first\":1{body}}}"), &mut |_, _| true));
        }
    }
}
