//! A key that an answer does not have.

use crate::base::suggest::suggest;
use crate::render::output::json_path::{strip_key_prefix, unquote, walk};
use crate::render::output::names::{push_name, push_names, quote_short};
use std::fmt;

/// The number of keys in the text.
const MAX_NAMED_KEYS: usize = 30;
/// The number of keys that a suggestion is chosen from.
const MAX_COMPARED_KEYS: usize = 100;

/// An unknown key and the keys of the answer. The text names the most similar key.
#[derive(Debug)]
pub struct UnknownKey {
    key: String,
    in_list: bool,
    known: Vec<String>,
}

impl UnknownKey {
    /// Collects the keys of `rows`, which is a list of objects or one object.
    pub fn new(key: &str, rows: &str) -> Self {
        let mut known: Vec<String> = Vec::new();
        let mut add = |name: String| {
            if !known.contains(&name) {
                known.push(name);
            }
            known.len() < MAX_COMPARED_KEYS
        };
        let mut add_object = |row: &str| {
            let mut more = true;
            walk(row, &mut |raw, value| {
                let top = unquote(raw);
                more = add(top.to_string());
                if strip_key_prefix(key, &top).is_some() {
                    // The path leads through this key, so the keys in its value are candidates too.
                    walk(value, &mut |inner, _| {
                        more = inner.is_empty() || add(format!("{top}.{}", unquote(inner)));
                        more
                    });
                }
                more
            });
            more
        };
        let in_list = rows.starts_with('[');
        if in_list {
            walk(rows, &mut |_, row| add_object(row));
        } else {
            add_object(rows);
        }
        Self { key: key.to_owned(), in_list, known }
    }
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = || self.known.iter().map(String::as_str);
        let mut text = quote_short(&self.key);
        if let Some(similar) = suggest(&self.key, known()) {
            text.push_str(", did you mean ");
            push_name(&mut text, similar);
            text.push('?');
        }
        text.push_str(" (keys: ");
        push_names(&mut text, known(), MAX_NAMED_KEYS);
        write!(f, "{} has the key {text})", if self.in_list { "no row" } else { "nothing here" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(key: &str, rows: &str) -> String {
        UnknownKey::new(key, rows).to_string()
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_nearest_and_the_existing_keys() {
        let rows = r#"[{"vmid":1,"name":"a"},{"status":"x","ha":{"state":1}}]"#;
        assert_eq!(
            describe("stats", rows),
            "no row has the key \"stats\", did you mean status? (keys: vmid, name, status, ha)"
        );
        assert!(describe("ha.stat", rows).contains("did you mean ha.state?"));
        let many: Vec<_> = (0..5000).map(|n| format!(r#"{{"k{n}":1}}"#)).collect();
        assert!(describe("x", &format!("[{}]", many.join(","))).len() < 400);
    }
}
