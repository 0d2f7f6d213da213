//! Rows of Proxmox's lists. The types of their values differ from version to version: a number may be a string.

use crate::base::json_scan::walk;
use serde_json::{Map, Value};

/// The most rows that are read. No list of a cluster has as many.
const MAX_ROWS: usize = 100_000;

/// One object of an answer.
#[derive(Clone, Debug)]
pub struct ApiRow(Map<String, Value>);

impl ApiRow {
    /// Parses the JSON text of an object.
    pub fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    /// Returns a text or a number as text. Anything else is empty.
    pub fn text(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => u8::from(*flag).to_string(),
            _ => String::new(),
        }
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        read_number(self.0.get(key)?)
    }

    /// Returns a whole number that is not negative.
    pub fn count(&self, key: &str) -> Option<u64> {
        read_count(self.0.get(key)?)
    }

    /// Returns whether the value is true or a number other than 0.
    pub fn flag(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(is_true)
    }

    /// Returns the member that is an object.
    pub fn object(&self, key: &str) -> Option<Self> {
        self.0.get(key)?.as_object().cloned().map(Self)
    }

    /// Returns keys and values in the order of the answer.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

/// Returns a finite number, also one that came as a text or as a truth value.
pub fn read_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => parse_number(text),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// Returns a whole number that is not negative.
pub fn read_count(value: &Value) -> Option<u64> {
    read_number(value).and_then(to_count)
}

/// Returns whether a value is true or a number other than 0.
pub fn is_true(value: &Value) -> bool {
    read_number(value).is_some_and(|number| number != 0.0)
}

/// Parses the text of a number or of a truth value.
pub fn parse_number(text: &str) -> Option<f64> {
    match text.trim() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        text => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// Returns the whole part of a number that is not negative.
pub fn to_count(number: f64) -> Option<u64> {
    // A float of this size is exact, and every number of Proxmox is smaller.
    (0.0..9e15).contains(&number).then_some(number as u64)
}

/// Parses a list of objects. Skips rows for which `parse` returns `None`. Returns `None` if it is not a list.
pub fn parse_list<T>(json: &str, mut parse: impl FnMut(&ApiRow) -> Option<T>) -> Option<Vec<T>> {
    let json = json.trim();
    // Proxmox answers null for some empty lists.
    if json == "null" {
        return Some(Vec::new());
    }
    let mut rows = Vec::new();
    let mut read = 0;
    let is_list = json.starts_with('[')
        && walk(json, &mut |_, row| {
            // Parsed row by row, without a tree of the whole list in memory.
            rows.extend(ApiRow::parse(row).and_then(|row| parse(&row)));
            read += 1;
            read < MAX_ROWS
        });
    (is_list || read == MAX_ROWS).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_every_type_that_proxmox_uses() {
        let row = ApiRow::parse(
            r#"{"a":"1","b":1,"c":true,"d":0.5,"e":[1],"f":null,"g":"x","h":-1,"i":"0","j":"true","k":1e21}"#,
        )
        .unwrap();
        assert_eq!(["a", "b", "c"].map(|key| (row.count(key), row.flag(key))), [(Some(1), true); 3]);
        assert_eq!((row.number("d"), row.count("h"), row.number("g")), (Some(0.5), None, None));
        assert_eq!((row.flag("j"), row.number("k"), row.count("k")), (true, Some(1e21), None));
        assert_eq!(["a", "b", "d", "e", "f", "g", "z"].map(|key| row.text(key)), ["1", "1", "0.5", "", "", "x", ""]);
        assert!(["i", "e", "f", "g", "z"].iter().all(|key| !row.flag(key)));
    }

    #[test]
    fn rows_that_are_no_objects_are_skipped_and_anything_but_a_list_is_rejected() {
        let read = |json| parse_list(json, |row| row.count("n"));
        assert_eq!(read(r#"[{"n":1},7,{"x":2},{"n":"3"}]"#), Some(vec![1, 3]));
        assert_eq!((read("[]"), read("null")), (Some(vec![]), Some(vec![])));
        for json in [r#"{"n":1}"#, "7", "\"x\"", "[{\"n\":1}", ""] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
