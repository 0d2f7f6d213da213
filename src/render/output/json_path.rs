//! Access to JSON text one level at a time, without a tree. Results borrow from the text. The text has passed the
//! parser of the response, so it is valid here. Nested values are skipped without recursion.

use crate::render::units;

pub use crate::base::json_scan::{unquote, walk};

/// The maximum depth of a path, which is more than any response of Proxmox has. Each level costs a pass over its value.
pub const MAX_DEPTH: usize = 12;

/// Returns a value as a number. Proxmox writes some numbers as strings, and booleans as 0 and 1.
pub fn parse_number(raw: &str) -> Option<f64> {
    match raw.strip_prefix('"') {
        Some(text) => parse_decimal(text.strip_suffix('"')?),
        None if raw == "true" => Some(1.0),
        None if raw == "false" => Some(0.0),
        None => units::parse_number(raw.as_bytes()),
    }
}

/// Parses digits with at most a sign and a fraction. `1e5` or `0e1` in a text is part of a hash rather than a number.
pub fn parse_decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal =
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_decimal.then(|| units::parse_number(text.as_bytes())).flatten()
}

/// Returns the value at a dotted path and its depth. The steps are the keys of objects and the places in lists, from 0.
/// A key with dots is found too, before any path.
pub fn find<'a>(raw: &'a str, path: &str, depth: usize) -> Option<(&'a str, usize)> {
    if depth > MAX_DEPTH {
        return None;
    }
    if raw.starts_with('[') {
        let (at, rest) = path.split_once('.').map_or((path, None), |(at, rest)| (at, Some(rest)));
        let item = find_item(raw, parse_index(at)?)?;
        return rest.map_or(Some((item, depth)), |rest| find(item, rest, depth + 1));
    }
    let (mut exact, mut nested) = (None, None);
    walk(raw, &mut |key, value| {
        let key = unquote(key);
        if key == path {
            exact = Some((value, depth));
        } else if nested.is_none()
            && let Some(rest) = strip_key_prefix(path, &key)
        {
            nested = find(value, rest, depth + 1);
        }
        exact.is_none()
    });
    exact.or(nested)
}

/// Returns the rest of a path that leads through `key`.
pub fn strip_key_prefix<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    path.strip_prefix(key)?.strip_prefix('.')
}

/// Parses a place in a list, which has digits only.
pub fn parse_index(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn find_item(list: &str, at: usize) -> Option<&str> {
    let (mut n, mut found) = (0, None);
    walk(list, &mut |_, value| {
        found = (n == at).then_some(value);
        n += 1;
        found.is_none()
    });
    found
}

/// The maximum depth of several paths together. Each level of each path costs a pass over its value.
const MAX_NESTED_DEPTH: usize = 3;

/// Finds the values of an object at several paths, in one pass if they are keys.
pub fn pick<'a>(object: &'a str, paths: &[String], found: &mut Vec<Option<&'a str>>) {
    found.clear();
    found.resize(paths.len(), None);
    walk(object, &mut |key, value| {
        let key = unquote(key);
        for (path, slot) in paths.iter().zip(found.iter_mut()) {
            if key == path.as_str() {
                *slot = Some(value);
            } else if slot.is_none()
                && let Some(rest) = strip_key_prefix(path, &key)
            {
                *slot = find(value, rest, MAX_DEPTH + 1 - MAX_NESTED_DEPTH).map(|(value, _)| value);
            }
        }
        true
    });
}

/// Describes the kind of a value for an error.
pub fn describe_kind(raw: &str) -> &'static str {
    match raw.bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    }
}

/// Returns the rows of a list.
pub fn list_rows(list: &str) -> Vec<&str> {
    let mut rows = Vec::new();
    walk(list, &mut |_, row| {
        rows.push(row);
        true
    });
    rows
}

/// Returns whether a value is a list whose first row that is not null is an object.
pub fn holds_objects(raw: &str) -> bool {
    let mut is_object = false;
    if raw.starts_with('[') {
        walk(raw, &mut |_, row| {
            is_object = row.starts_with('{');
            row == "null"
        });
    }
    is_object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_through_objects_and_lists_and_to_keys_with_dots() {
        let json = r#"{"a":{"b":[{"c":1},{"c.d":2}]},"a.b":3,"é\n":4,"10.0":{"x.y":{"z":5}}}"#;
        for (path, value) in [
            ("a.b", Some("3")),
            ("a.b.0.c", Some("1")),
            ("a.b.1.c.d", Some("2")),
            ("a.b.2.c", None),
            ("a.b.x", None),
            ("é\n", Some("4")),
            ("10.0.x.y.z", Some("5")),
            ("a.", None),
            ("", None),
        ] {
            assert_eq!(find(json, path, 1).map(|f| f.0), value, "{path}");
        }
        let mut found = Vec::new();
        pick(json, &["a.b.0.c".into(), "nope".into(), "a.b".into()], &mut found);
        assert_eq!(found, [Some("1"), None, Some("3")]);
        pick(r#"{"a":{"b":{"c":{"d":{"e":1}}}}}"#, &["a.b.c.d".into(), "a.b.c.d.e".into()], &mut found);
        assert_eq!(found, [Some("{\"e\":1}"), None]);
    }

    #[test]
    fn numbers_are_read_in_every_spelling_and_hashes_are_not() {
        for (raw, value) in [
            ("512", Some(512.0)),
            ("\"512\"", Some(512.0)),
            ("\"-1.5\"", Some(-1.5)),
            ("1e3", Some(1000.0)),
            ("true", Some(1.0)),
            ("\"0e12\"", None),
            ("\"\"", None),
            ("\"-\"", None),
            ("\"1.2.3\"", None),
            ("null", None),
            ("{}", None),
            ("1e999", None),
        ] {
            assert_eq!(parse_number(raw), value, "{raw}");
        }
    }

    #[test]
    fn deep_nesting_is_skipped_and_paths_have_a_maximum_depth() {
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        let mut sizes = Vec::new();
        walk(&deep, &mut |_, value| {
            sizes.push(value.len());
            true
        });
        assert_eq!(sizes, [deep.len() - 2]);
        assert_eq!(find(&deep, &["0"; MAX_DEPTH].join("."), 1).unwrap().1, MAX_DEPTH);
        assert!(find(&deep, &["0"; MAX_DEPTH + 1].join("."), 1).is_none());
    }

    #[test]
    fn half_a_surrogate_pair_stays_as_it_is() {
        assert_eq!(unquote(r#""\ud800""#), r"\ud800");
        assert_eq!(unquote(r#""a\"b""#), "a\"b");
    }
}
