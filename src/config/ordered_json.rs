//! JSON whose objects keep their order and repeated names. `serde_json::Value` drops the first of two clusters of the
//! same name silently.

use crate::base::hint::Hint;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

pub(super) enum OrderedJson {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    List(Vec<OrderedJson>),
    Object(Vec<(String, OrderedJson)>),
}

impl OrderedJson {
    /// Returns the kind of the value. The value itself may be a secret in the wrong place.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            OrderedJson::Null => "null",
            OrderedJson::Bool(_) => "true or false",
            OrderedJson::Number(_) => "a number",
            OrderedJson::String(_) => "a string",
            OrderedJson::List(_) => "a list",
            OrderedJson::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for OrderedJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedJsonVisitor;
        impl<'de> Visitor<'de> for OrderedJsonVisitor {
            type Value = OrderedJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<OrderedJson, E> {
                Ok(OrderedJson::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<OrderedJson, E> {
                Ok(OrderedJson::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<OrderedJson, E> {
                Ok(OrderedJson::Number(value as f64))
            }
            fn visit_i64<E>(self, value: i64) -> Result<OrderedJson, E> {
                Ok(OrderedJson::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<OrderedJson, E> {
                Ok(OrderedJson::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<OrderedJson, E> {
                Ok(OrderedJson::String(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OrderedJson, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(OrderedJson::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OrderedJson, A::Error> {
                let mut object = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    object.push(entry);
                }
                Ok(OrderedJson::Object(object))
            }
        }
        deserializer.deserialize_any(OrderedJsonVisitor)
    }
}

/// A text that is not JSON.
#[derive(Debug, Error)]
#[error("line {line}, column {column}: not JSON ({message})")]
pub(super) struct JsonSyntaxError {
    line: usize,
    column: usize,
    message: String,
    mistake: Option<SyntaxMistake>,
}

/// Common mistakes in JSON that people write.
#[derive(Clone, Copy, Debug)]
enum SyntaxMistake {
    Comment,
    OtherQuotes,
    TrailingComma,
    Unclosed,
    MissingSeparator,
    UnquotedName,
}

impl Hint for JsonSyntaxError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.mistake.map(|mistake| {
            Cow::Borrowed(match mistake {
                SyntaxMistake::Comment => "JSON has no comments: write a field \"_comment\" instead",
                SyntaxMistake::OtherQuotes => "write strings and names in straight double quotes",
                SyntaxMistake::TrailingComma => "remove the comma before the closing bracket",
                SyntaxMistake::Unclosed => "close every bracket and quote",
                SyntaxMistake::MissingSeparator => "add the comma or colon that is missing before this",
                SyntaxMistake::UnquotedName => "write names in double quotes",
            })
        })
    }
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<OrderedJson, JsonSyntaxError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = OrderedJson::deserialize(&mut reader)
        .map_err(|error| JsonSyntaxError::new(&error, find_mistake(text, &error)))?;
    reader.end().map_err(|error| JsonSyntaxError::new(&error, None))?;
    Ok(value)
}

impl JsonSyntaxError {
    fn new(error: &serde_json::Error, mistake: Option<SyntaxMistake>) -> Self {
        // serde_json's text names the expected characters, never those of the file, and ends with the position.
        let text = error.to_string();
        let message = text.split_once(" at line ").map_or(&*text, |(message, _)| message).to_owned();
        Self { line: error.line(), column: error.column(), message, mistake }
    }
}

/// Finds the mistake at the position of an error.
fn find_mistake(text: &str, error: &serde_json::Error) -> Option<SyntaxMistake> {
    if error.is_eof() {
        return Some(SyntaxMistake::Unclosed);
    }
    let line_start: usize = text.split_inclusive('\n').take(error.line() - 1).map(str::len).sum();
    // The column counts bytes from 1, and is 0 for the end of the line before.
    let (before, after) = text.split_at_checked(line_start + error.column().saturating_sub(1))?;
    let next = after.chars().next()?;
    let last = before.trim_end().chars().next_back();
    let is_separated = before.ends_with(char::is_whitespace) || !next.is_alphanumeric();
    match (last, next) {
        (_, '/' | '#') => Some(SyntaxMistake::Comment),
        (_, '\'' | '“' | '”') => Some(SyntaxMistake::OtherQuotes),
        (Some(','), '}' | ']') => Some(SyntaxMistake::TrailingComma),
        (_, '}' | ']' | ',' | ':') => None,
        (Some(end), _) if is_separated && (end.is_alphanumeric() || matches!(end, '"' | '}' | ']')) => {
            Some(SyntaxMistake::MissingSeparator)
        }
        (Some('{' | ','), _) => Some(SyntaxMistake::UnquotedName),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;

    #[test]
    fn a_repeated_name_is_kept() {
        let Ok(OrderedJson::Object(object)) = parse(r#"{"b": 1, "a": [null, true, -2, 0.5], "b": {}}"#) else {
            panic!()
        };
        let names: Vec<_> = object.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "b"]);
    }

    #[test]
    fn common_mistakes_are_named() {
        for (text, expected) in [
            ("{\"a\": 1,\n}", "line 2, column 1: not JSON (trailing comma). hint: remove the comma"),
            ("{\"a\": [1,]}", "remove the comma"),
            ("{ // prod\n\"a\": 1}", "line 1, column 3: not JSON (key must be a string). hint: JSON has no comments"),
            ("{\"a\": 1 # prod\n}", "no comments"),
            ("{'a': 1}", "straight double quotes"),
            ("{“a”: 1}", "straight double quotes"),
            ("{a: 1}", "names in double quotes"),
            ("{\"a\": 1, b: 2}", "names in double quotes"),
            ("{\"a\": 1 \"b\": 2}", "comma or colon that is missing"),
            ("{\"a\" 1}", "comma or colon that is missing"),
            ("{\"a\": {\"b\": 1}", "close every bracket"),
            ("{\"a\": \"x", "close every bracket"),
        ] {
            let error = render_error(&parse(text).err().expect(text));
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (text, expected) in [
            ("{} {}", "trailing characters"),
            ("{\"a\": truf}", "expected ident"),
            ("{\"a\": x}", "expected value"),
            (&"[".repeat(100_000), "recursion limit"),
        ] {
            let error = render_error(&parse(text).err().expect(text));
            assert!(error.contains(expected) && !error.contains("hint"), "{error}");
        }
    }
}
