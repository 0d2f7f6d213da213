//! Texts and answers without secrets and without invisible characters.

use super::json::is_json;
use crate::mcp::json_string::push_json_string;
use crate::sanitize::escape_invisible::{escape_json, escape_text};
use crate::sanitize::{HIDDEN, redact_json, redact_text};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Returns true if a text has one of the invisible characters that matter most. These are control characters, and
/// characters that turn the reading direction or hide in a text.
pub(super) fn has_invisible(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
    })
}

/// A secret that is removed from the inputs.
const SECRET: &str = "s3cr3t-Canary-0815";

/// Checks the redaction of a text, and of an answer if it is JSON. Only `(hidden)` is inserted, a named secret is
/// hidden in any surroundings, and an answer keeps its form. (A second redaction may hide more, as `a1=(hidden)` looks
/// random.)
pub fn check_redaction(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).replace(SECRET, "");
    let redacted = redact_text(&text);
    let mut rest = &*text;
    for part in redacted.split(HIDDEN) {
        let at = rest.find(part).expect("the rest of the text, in its order");
        rest = &rest[at + part.len()..];
    }
    for named in [format!("password={SECRET}"), format!("cipassword: {SECRET}"), format!("'api_token' => '{SECRET}'")] {
        let planted = format!("{text}\n{named}\n{text}");
        assert!(!redact_text(&planted).contains(SECRET), "{planted:?}");
    }
    let changed = matches!(redacted, Cow::Owned(_));

    let redacted = redact_json(&text);
    if is_json(&text) {
        assert!(is_json(&redacted), "{redacted}");
        if let (Ok(before), Ok(after)) = (serde_json::from_str(&text), serde_json::from_str(&redacted)) {
            assert_same_form(&before, &after);
        }
        let planted = format!(r#"{{"a":{text},"cipassword":"{SECRET}","b":{text}}}"#);
        assert!(!redact_json(&planted).contains(SECRET));
        return redacted != text;
    }
    changed
}

/// Checks that redaction changed strings and numbers only.
fn assert_same_form(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            before.values().zip(after.values()).for_each(|(before, after)| assert_same_form(before, after));
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| assert_same_form(before, after));
        }
        (Value::String(_) | Value::Number(_), Value::String(after)) if after.contains(HIDDEN) => {}
        _ => assert_eq!(before, after),
    }
}

/// Checks the escaping of a text, and of an answer if it is JSON. No invisible character is left, programs and readers
/// get the same text, and visible characters stay.
pub fn check_escaping(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let escaped = escape_text(&text);
    assert!(!has_invisible(&escaped), "{escaped:?}");
    assert_eq!(escape_text(&escaped), escaped);
    let mut written = Vec::new();
    push_json_string(&mut written, &text);
    assert_eq!(serde_json::from_slice::<String>(&written).ok().as_deref(), Some(escaped.as_ref()));
    if !is_json(&text) {
        let _ = escape_json(text);
        return false;
    }
    let escaped = escape_json(text.clone());
    assert!(is_json(&escaped), "{escaped}");
    assert_eq!(escape_json(escaped.clone()), escaped);
    // An escape keeps its case, but a character is escaped in lower case.
    let text = text.to_ascii_lowercase();
    let escaped = escape_json(text.clone());
    if let (Ok(before), Ok(after)) = (serde_json::from_str::<Value>(&text), serde_json::from_str::<Value>(&escaped)) {
        assert_eq!(escape_strings(&before), after);
    }
    true
}

/// Returns the same value with its texts escaped.
fn escape_strings(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let escaped = escape_text(text).into_owned();
            assert!(!has_invisible(&escaped));
            json!(escaped)
        }
        Value::Array(items) => items.iter().map(escape_strings).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (escape_text(name).into_owned(), escape_strings(value))).collect(),
        ),
        other => other.clone(),
    }
}
