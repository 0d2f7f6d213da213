//! Keys as a model writes them, one after the other with commas, and as it is told them: in quotes where they hold more
//! than the characters of a name.

use crate::base::suggest::suggest;
use crate::render::output::json_path::{strip_key_prefix, unquote, walk};
use std::fmt::Write;

/// Keys or conditions in one text; each is looked for in every row.
pub const MAX_KEYS: usize = 64;
/// Bytes of one of them.
const MAX_KEY_BYTES: usize = 1024;
/// Keys that an error text names, and among how many the nearest is looked for.
const MAX_NAMED_KEYS: usize = 30;
const MAX_COMPARED_KEYS: usize = 100;

/// A word in quotes at the start of `text`, and the rest; `None` where there are no quotes. In double quotes stand JSON's
/// escapes, in single ones nothing special.
pub fn split_quoted(text: &str) -> Result<Option<(String, &str)>, String> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            let (word, rest) = text.split_at(at + 1);
            let inner = word.get(1..at).unwrap_or_default();
            let word = if quote == '"' { unquote(word).into_owned() } else { inner.to_owned() };
            return Ok(Some((word, rest)));
        }
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    Err(format!("the quote that starts {} has no end", quote_short(text)))
}

/// The keys of `a,b.c,"d,e"`; `None` is all of them. An argument's name goes into the error texts.
pub fn parse_keys(argument: &str, text: &str) -> Result<Option<Vec<String>>, String> {
    let mut keys = Vec::new();
    let mut rest = text.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    while !rest.is_empty() {
        let key;
        if let Some((word, after)) = split_quoted(rest).map_err(|why| format!("{argument}: {why}"))? {
            let after = after.trim_start();
            if !after.is_empty() && !after.starts_with(',') {
                return Err(format!("{argument}: a comma is missing before {}", quote_short(after)));
            }
            (key, rest) = (word, after);
        } else {
            let (word, after) = rest.split_once(',').unwrap_or((rest, ""));
            if word.trim() == "*" {
                return Ok(None);
            }
            (key, rest) = (word.trim().to_owned(), after);
        }
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        check_key(argument, &key, keys.len())?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(Some(keys))
}

/// Refuses a key that is too long, or one too many.
pub fn check_key(argument: &str, key: &str, before: usize) -> Result<(), String> {
    match key.len() <= MAX_KEY_BYTES && before < MAX_KEYS {
        true => Ok(()),
        false => Err(format!("{argument}: at most {MAX_KEYS} keys, each of at most {MAX_KEY_BYTES} bytes")),
    }
}

/// A key as `fields` takes it: bare, or as a JSON string.
pub fn push_name(text: &mut String, name: &str) {
    let bare = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+');
    if !name.is_empty() && name.chars().all(bare) {
        text.push_str(name);
    } else {
        // Writing into a String can't fail.
        let _ = write!(text, "{}", serde_json::Value::from(name));
    }
}

/// A stranger's text for an error or a note: in quotes, and no more of it than tells which it is.
pub fn quote_short(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    serde_json::Value::from(short).to_string()
}

/// What to say of a key that is nowhere: the nearest that is, and those there are. `rows` are objects, or one of them.
pub fn describe_unknown_key(key: &str, rows: &str) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut name = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
        names.len() < MAX_COMPARED_KEYS
    };
    let mut object = |row: &str| {
        let mut more = true;
        walk(row, &mut |raw, value| {
            let top = unquote(raw);
            more = name(top.to_string());
            if strip_key_prefix(key, &top).is_some() {
                // The key leads into this one: what is in there is meant.
                walk(value, &mut |inner, _| {
                    more = inner.is_empty() || name(format!("{top}.{}", unquote(inner)));
                    more
                });
            }
            more
        });
        more
    };
    let list = rows.starts_with('[');
    if list {
        walk(rows, &mut |_, row| object(row));
    } else {
        object(rows);
    }
    let mut text = format!("{} has the key {}", if list { "no row" } else { "nothing here" }, quote_short(key));
    if let Some(near) = suggest(key, names.iter().map(String::as_str)) {
        text.push_str(", did you mean ");
        push_name(&mut text, near);
        text.push('?');
    }
    text.push_str(" (keys: ");
    push_names(&mut text, names.iter().map(String::as_str), MAX_NAMED_KEYS);
    text.push(')');
    text
}

/// Names with commas between, `most` of them.
pub fn push_names<'n>(text: &mut String, names: impl Iterator<Item = &'n str>, most: usize) {
    for (n, name) in names.enumerate() {
        if n == most {
            text.push_str(", …");
            return;
        }
        text.push_str(if n == 0 { "" } else { ", " });
        if name.len() > 64 { text.push_str(&quote_short(name)) } else { push_name(text, name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_separated_by_commas_and_may_have_quotes() {
        for (text, expected) in [
            ("vmid, name,ha.state", vec!["vmid", "name", "ha.state"]),
            (",a,,b,", vec!["a", "b"]),
            ("\"a,b\" , 'c d',\"e\\n\"", vec!["a,b", "c d", "e\n"]),
            ("a,a", vec!["a"]),
            ("", vec![]),
        ] {
            assert_eq!(parse_keys("fields", text).unwrap().unwrap(), expected, "{text}");
        }
        assert!(parse_keys("fields", "a, *").unwrap().is_none());
        for (text, why) in [("\"a", "has no end"), ("\"a\"b", "a comma is missing"), (&"a".repeat(2000), "at most 64")]
        {
            let error = parse_keys("fields", text).unwrap_err();
            assert!(error.starts_with("fields: ") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_pushed_name_parses_back() {
        for name in ["vmid", "ha.state", "/vms/100", "a,b", " ", "", "q\"\\\n", "*", "ü"] {
            let mut text = String::new();
            push_name(&mut text, name);
            assert_eq!(parse_keys("fields", &text).unwrap().unwrap(), [name], "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_nearest_and_the_existing_keys() {
        let rows = r#"[{"vmid":1,"name":"a"},{"status":"x","ha":{"state":1}}]"#;
        assert_eq!(
            describe_unknown_key("stats", rows),
            "no row has the key \"stats\", did you mean status? (keys: vmid, name, status, ha)"
        );
        assert!(describe_unknown_key("ha.stat", rows).contains("did you mean ha.state?"));
        let many: Vec<_> = (0..5000).map(|n| format!(r#"{{"k{n}":1}}"#)).collect();
        assert!(describe_unknown_key("x", &format!("[{}]", many.join(","))).len() < 400);
    }
}
