//! JSON text of a caller as a tree. No object has a member twice, and no number loses a digit.
//!
//! Parsers disagree about a duplicate member: the first or the last one counts. So a check by one program and the use by
//! another could see different values. A number that a float cannot hold exactly becomes a text with its digits.

use crate::base::json_scan::JsonScanner;
use crate::base::tree_size::{MAX_VALUES, TreeSize};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// The most objects and lists inside each other, as in serde_json.
const MAX_DEPTH: usize = 127;

/// The most significant digits that every float keeps (IEEE 754, binary64).
const EXACT_DIGITS: usize = 15;

/// The most characters of a member's name that an error repeats.
const MAX_NAME_CHARS: usize = 64;

/// Rejection of a JSON text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum JsonTextError {
    #[error("is not JSON")]
    NotJson,
    #[error("has more than {MAX_DEPTH} objects and lists inside each other")]
    TooDeep,
    #[error("has the member {0:?} twice")]
    Duplicate(String),
    #[error("has more than {MAX_VALUES} values")]
    TooManyValues,
}

/// Parses a JSON text.
pub fn parse_exact(text: &str) -> Result<Value, JsonTextError> {
    // Before a tree is built, which may take a hundred times the bytes of its text.
    if TreeSize::measure(text).values > MAX_VALUES {
        return Err(JsonTextError::TooManyValues);
    }
    let mut scan = JsonScanner::new(text);
    let value = read_value(&mut scan, 0)?;
    if scan.is_done() { Ok(value) } else { Err(JsonTextError::NotJson) }
}

fn read_value(scan: &mut JsonScanner<'_>, depth: usize) -> Result<Value, JsonTextError> {
    if scan.consume(b'{') {
        read_object(scan, nest(depth)?).map(Value::Object)
    } else if scan.consume(b'[') {
        read_list(scan, nest(depth)?).map(Value::Array)
    } else {
        read_scalar(scan.next_value().ok_or(JsonTextError::NotJson)?)
    }
}

fn nest(depth: usize) -> Result<usize, JsonTextError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(JsonTextError::TooDeep) }
}

fn read_object(scan: &mut JsonScanner<'_>, depth: usize) -> Result<Map<String, Value>, JsonTextError> {
    let mut members = Map::new();
    while scan.advance(members.is_empty(), b'}').ok_or(JsonTextError::NotJson)? {
        // Keys are decoded, so that `a` and `\u0061` are the same.
        let key = scan.next_key().ok_or(JsonTextError::NotJson)?.into_owned();
        let value = read_value(scan, depth)?;
        if members.contains_key(&key) {
            return Err(JsonTextError::Duplicate(key.chars().take(MAX_NAME_CHARS).collect()));
        }
        members.insert(key, value);
    }
    Ok(members)
}

fn read_list(scan: &mut JsonScanner<'_>, depth: usize) -> Result<Vec<Value>, JsonTextError> {
    let mut items = Vec::new();
    while scan.advance(items.is_empty(), b']').ok_or(JsonTextError::NotJson)? {
        items.push(read_value(scan, depth)?);
    }
    Ok(items)
}

fn read_scalar(raw: &str) -> Result<Value, JsonTextError> {
    match raw.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(read_number(raw)),
        _ => serde_json::from_str(raw).map_err(|_| JsonTextError::NotJson),
    }
}

/// Returns the number, or its text if neither an integer nor a float has all of its digits.
fn read_number(raw: &str) -> Value {
    if let Ok(number) = raw.parse::<u64>() {
        return number.into();
    }
    if let Ok(number) = raw.parse::<i64>() {
        return number.into();
    }
    let mantissa = raw.split(['e', 'E']).next().expect("a split has a first part");
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0') } else { mantissa };
    let digits = mantissa.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    let float = raw.parse().ok().filter(|_| digits <= EXACT_DIGITS).and_then(Number::from_f64);
    float.map_or_else(|| raw.into(), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_member_twice_is_an_error_at_every_depth_and_in_every_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"y":{"a":null,"b":0,"a":1}}]}"#,
            r#"[[{"a":{},"a":{}}]]"#,
        ] {
            assert_eq!(parse_exact(text), Err(JsonTextError::Duplicate("a".into())), "{text}");
        }
        assert_eq!(parse_exact(r#"{"a":{"a":{"a":1}},"A":[{"a":1},{"a":1}]}"#).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_number_keeps_every_digit() {
        for (text, value) in [
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551616", json!("18446744073709551616")),
            ("0.1", json!(0.1)),
            ("100.0", json!(100.0)),
            ("1.00000000000000000000", json!(1.0)),
            ("0.12345678901234567", json!("0.12345678901234567")),
            ("9007199254740993.0", json!("9007199254740993.0")),
            ("1e400", json!("1e400")),
        ] {
            assert_eq!(parse_exact(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_an_error() {
        for text in ["", "007", "{", "{\"a\"}", "{\"a\":1,}", "[1,]", "[1 2]", "1 2", "\"\\ud800\"", "tru", "{}x"] {
            assert_eq!(parse_exact(text), Err(JsonTextError::NotJson), "{text}");
        }
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_exact(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse_exact(&format!("[{}0]", "0,".repeat(MAX_VALUES))), Err(JsonTextError::TooManyValues));
        assert_eq!(parse_exact(&nested(MAX_DEPTH + 1)), Err(JsonTextError::TooDeep));
    }

    proptest! {
        #[test]
        fn other_texts_are_parsed_as_serde_json_does(
            text in r#"(\{|\[|\}|\]|,|:|"a"|"b"|"\\u00e9"|[0-9]{1,3}[ ,\]]|-|0\.5|true|null| ){0,12}"#
        ) {
            // serde_json reads it as a float.
            prop_assume!(!text.contains("-0"));
            match (parse_exact(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(JsonTextError::Duplicate(_)), Ok(_)) => {}
                (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{}: {:?}, {:?}", text, ours, theirs),
            }
        }
    }
}
