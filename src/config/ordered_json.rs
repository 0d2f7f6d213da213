//! JSON as it stands in the file. Unlike `serde_json::Value`, an object keeps its order and its repeated names, so
//! that the second of two clusters called alike is reported instead of silently winning.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// One JSON value.
pub(super) enum OrderedJson {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    List(Vec<OrderedJson>),
    Object(Vec<(String, OrderedJson)>),
}

impl OrderedJson {
    /// What it is, for an error text; never what it says, which may be a secret in the wrong place.
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

/// Reads a whole text. The error says where it stops being JSON and how that is mended.
pub(super) fn parse(text: &str) -> Result<OrderedJson, String> {
    serde_json::from_str(text).map_err(|error| {
        // serde_json's text names what it expected, never what it found, and ends with the position.
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        let (line, column) = (error.line(), error.column());
        format!("line {line}, column {column}: not JSON ({what}){}", suggest_fix(text, line, column, what))
    })
}

/// What to do about the usual slips, seen from the character where the reader stopped.
fn suggest_fix(text: &str, line: usize, column: usize, what: &str) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // The column counts bytes from 1, and 0 stands for the end of the line before.
    let here = line.get(column.saturating_sub(1)..).unwrap_or_default();
    if here.starts_with('/') || here.starts_with('#') {
        ": JSON has no comments; write a field \"_comment\" instead"
    } else if here.starts_with('\'') || here.starts_with('“') || here.starts_with('”') {
        ": strings and names stand in straight double quotes"
    } else if what.starts_with("trailing comma") {
        ": remove the comma before the closing bracket"
    } else if what.starts_with("EOF") {
        ": a bracket or a quote is never closed"
    } else if what.starts_with("expected `,`") {
        ": is a comma missing before this?"
    } else if what.starts_with("key must be a string") {
        ": names stand in double quotes"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_name_is_kept() {
        let Ok(OrderedJson::Object(object)) = parse(r#"{"b": 1, "a": [null, true, -2, 0.5], "b": {}}"#) else {
            panic!()
        };
        let names: Vec<_> = object.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "b"]);
    }

    #[test]
    fn the_usual_slips_are_named() {
        for (text, expected) in [
            ("{\"a\": 1,\n}", "line 2, column 1: not JSON (trailing comma): remove the comma"),
            ("{\"a\": [1,]}", "remove the comma"),
            ("{ // prod\n\"a\": 1}", "line 1, column 3: not JSON (key must be a string): JSON has no comments"),
            ("{\"a\": 1 # prod\n}", "no comments"),
            ("{'a': 1}", "straight double quotes"),
            ("{“a”: 1}", "straight double quotes"),
            ("{a: 1}", "names stand in double quotes"),
            ("{\"a\": 1 \"b\": 2}", "is a comma missing"),
            ("{\"a\": {\"b\": 1}", "never closed"),
            ("{\"a\": \"x", "never closed"),
            ("{} {}", "trailing characters"),
        ] {
            let Err(error) = parse(text) else { panic!("{text}") };
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err_and(|e| e.contains("recursion limit")));
    }
}
