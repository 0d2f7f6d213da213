//! The text of a record: JSON that is safe to show as it stands, and bounded.

use super::{Outcome, Record};
use std::fmt::Write;

/// Characters of a text.
const TEXT: usize = 512;
/// Characters of an argument, its name or its value.
const ARGUMENT: usize = 256;
/// Bytes of any text as it stands in the line: 512 characters, unless most of them are escapes.
const TEXT_BYTES: usize = 2048;
/// Bytes of the arguments together. With it no line is as long as [`super::chain::LONGEST`].
const ARGUMENTS_BYTES: usize = 32 << 10;

/// The members from `id` to `ms`, with a comma before each.
pub(super) fn body(record: &Record<'_>) -> String {
    let mut out = String::with_capacity(512);
    member(&mut out, "id", record.id);
    optional(&mut out, "trace", record.trace);
    member(&mut out, "event", record.event.name());
    member(&mut out, "client", record.client);
    let _ = match record.address {
        Some(address) => write!(out, ",\"address\":\"{}\"", address.to_canonical()),
        None => write!(out, ",\"address\":null"),
    };
    member(&mut out, "transport", record.transport);
    member(&mut out, "tool", record.tool);
    member(&mut out, "cluster", record.cluster);
    member(&mut out, "operation", record.operation);
    optional(&mut out, "guest", record.guest);
    arguments(&mut out, record.arguments);
    member(&mut out, "decision", record.decision.name());
    optional(&mut out, "why", record.why);
    optional(&mut out, "upid", record.upid);
    if let Some(outcome) = record.outcome {
        out.push_str(",\"outcome\":");
        match outcome {
            Outcome::Ok => quoted(&mut out, "ok", "", TEXT),
            Outcome::Failed(why) => quoted(&mut out, "failed: ", why, TEXT),
            Outcome::Unknown(why) => quoted(&mut out, "unknown: ", why, TEXT),
        }
    }
    if let Some(duration) = record.duration {
        let _ = write!(out, ",\"ms\":{}", duration.as_millis());
    }
    out
}

fn member(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, ",\"{name}\":");
    quoted(out, "", text, TEXT);
}

fn optional(out: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        member(out, name, text);
    }
}

/// The object of the arguments. Those that find no room are counted under `…`.
fn arguments(out: &mut String, arguments: &[(&str, String)]) {
    out.push_str(",\"arguments\":{");
    let start = out.len();
    for (place, (name, value)) in arguments.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if out.len() - start > ARGUMENTS_BYTES {
            let _ = write!(out, "\"…\":\"{} more\"", arguments.len() - place);
            break;
        }
        quoted(out, "", name, ARGUMENT);
        out.push(':');
        quoted(out, "", value, ARGUMENT);
    }
    out.push('}');
}

/// A JSON string of `prefix`, which needs no escape, and as much of `text` as there is room for; `…` stands for the rest.
fn quoted(out: &mut String, prefix: &str, text: &str, most: usize) {
    out.push('"');
    out.push_str(prefix);
    let start = out.len();
    for (count, c) in text.chars().enumerate() {
        if count >= most || out.len() - start >= TEXT_BYTES {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a character shows nothing of itself, or changes how others are shown: Unicode's property
/// Default_Ignorable_Code_Point, the ends of lines, and the marks of interlinear annotation.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::super::{Decision, Event, chain};
    use super::*;
    use serde_json::Value;
    use std::time::Duration;

    fn text(value: &str) -> String {
        let mut out = String::new();
        quoted(&mut out, "", value, TEXT);
        out
    }

    fn record<'a>(text: &'a str, arguments: &'a [(&'a str, String)]) -> Record<'a> {
        Record {
            event: Event::End,
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
            decision: Decision::Confirmed,
            why: Some(text),
            upid: Some(text),
            outcome: Some(Outcome::Unknown(text)),
            duration: Some(Duration::from_micros(12_999)),
        }
    }

    #[test]
    fn members_stand_in_their_order_and_absent_ones_are_left_out() {
        let arguments = [("force", "1".to_owned())];
        assert_eq!(
            body(&record("x", &arguments)),
            r#","id":"x","trace":"x","event":"end","client":"x","address":"192.0.2.1","transport":"x","tool":"x","cluster":"x","operation":"x","guest":"x","arguments":{"force":"1"},"decision":"confirmed","why":"x","upid":"x","outcome":"unknown: x","ms":12"#
        );
        let short = Record {
            trace: None,
            address: None,
            guest: None,
            why: None,
            upid: None,
            outcome: None,
            duration: None,
            ..record("x", &[])
        };
        assert_eq!(
            body(&short),
            r#","id":"x","event":"end","client":"x","address":null,"transport":"x","tool":"x","cluster":"x","operation":"x","arguments":{},"decision":"confirmed""#
        );
    }

    #[test]
    fn every_character_reads_back_and_none_that_hides_stands_raw() {
        for c in '\0'..=char::MAX {
            let json = text(&format!("a{c}b"));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), format!("a{c}b"), "{c:?}");
            // The standard library knows these for unprintable, beside what is escaped for another reason.
            let raw = json.contains(c) && !matches!(c, '"' | '\\');
            assert!(!(raw && (c.is_control() || is_invisible(c))), "{c:?}");
        }
        assert_eq!(text("\u{202e}\u{e0041}\u{1b}\u{85}"), r#""\u202e\udb40\udc41\u001b\u0085""#);
    }

    #[test]
    fn texts_are_cut_with_a_mark() {
        assert_eq!(text(&"é".repeat(512)).chars().count(), 514);
        let cut = text(&"é".repeat(513));
        assert!(cut.ends_with("é…\"") && cut.chars().count() == 515, "{cut}");
        let arguments = [("a", "x".repeat(256)), ("b", "x".repeat(257))];
        let line = format!("{{\"first\":1{}}}", body(&record("x", &arguments)));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["arguments"]["a"], "x".repeat(256));
        assert_eq!(line["arguments"]["b"], format!("{}…", "x".repeat(256)));
    }

    #[test]
    fn the_longest_line_is_shorter_than_what_is_read_back() {
        for text in ["\u{e0001}".repeat(600), "\"".repeat(600), "😀".repeat(600)] {
            let arguments: Vec<_> = (0..3000).map(|_| (text.as_str(), text.clone())).collect();
            let body = body(&record(&text, &arguments));
            assert!(body.len() + 200 < chain::LONGEST, "{}", body.len());
            assert!(body.contains(" more\"}"), "{body}");
            assert!(crate::json::walk(&format!("{{\"first\":1{body}}}"), &mut |_, _| true));
        }
    }
}
