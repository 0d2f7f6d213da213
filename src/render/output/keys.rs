//! Parsing of the keys in an argument.

use crate::render::output::error::{ArgumentError, MAX_KEY_BYTES, MAX_KEYS};
use crate::render::output::json_path::unquote;
use crate::render::output::names::quote_short;

/// A word that stood in quotes, and the text after it.
pub struct QuotedWord<'a> {
    pub word: String,
    pub rest: &'a str,
}

/// Splits a word in quotes from the start of `text`. Returns `None` if the text starts with anything else. Double
/// quotes have the escapes of JSON, single quotes have none.
pub fn split_quoted(text: &str) -> Result<Option<QuotedWord<'_>>, ArgumentError> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            let (quoted, rest) = text.split_at(at + 1);
            let word = if quote == '"' { unquote(quoted).into_owned() } else { quoted[1..at].to_owned() };
            return Ok(Some(QuotedWord { word, rest }));
        }
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    Err(ArgumentError::UnterminatedQuote(quote_short(text)))
}

/// Parses keys such as `a,b.c,"d,e"`. Returns `None` for all keys, if one of them is `*`.
pub fn parse_keys(text: &str) -> Result<Option<Vec<String>>, ArgumentError> {
    let mut keys = Vec::new();
    let mut rest = skip_separators(text);
    while !rest.is_empty() {
        let key;
        (key, rest) = match split_quoted(rest)? {
            Some(QuotedWord { word, rest }) => (word, rest.trim_start()),
            None => {
                let (word, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if word.trim() == "*" {
                    return Ok(None);
                }
                (word.trim().to_owned(), rest)
            }
        };
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(ArgumentError::MissingComma(quote_short(rest)));
        }
        rest = skip_separators(rest);
        check_key(&key, keys.len())?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(Some(keys))
}

/// Returns the text without the commas and blanks at its start.
pub fn skip_separators(text: &str) -> &str {
    text.trim_start_matches(|c: char| c == ',' || c.is_whitespace())
}

/// Rejects a key that is too long, or comes after too many others.
pub fn check_key(key: &str, others: usize) -> Result<(), ArgumentError> {
    match key.len() <= MAX_KEY_BYTES && others < MAX_KEYS {
        true => Ok(()),
        false => Err(ArgumentError::TooManyKeys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::names::push_name;

    #[test]
    fn keys_are_separated_by_commas_and_may_have_quotes() {
        for (text, expected) in [
            ("vmid, name,ha.state", vec!["vmid", "name", "ha.state"]),
            (",a,,b,", vec!["a", "b"]),
            ("\"a,b\" , 'c d',\"e\\n\"", vec!["a,b", "c d", "e\n"]),
            ("a,a", vec!["a"]),
            ("", vec![]),
        ] {
            assert_eq!(parse_keys(text).unwrap().unwrap(), expected, "{text}");
        }
        assert!(parse_keys("a, *").unwrap().is_none());
        for (text, expected) in
            [("\"a", "has no end"), ("\"a\"b", "a comma is missing"), (&"a".repeat(2000), "at most 64")]
        {
            let error = parse_keys(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_pushed_name_parses_back() {
        for name in ["vmid", "ha.state", "/vms/100", "a,b", " ", "", "q\"\\\n", "*", "ü"] {
            let mut text = String::new();
            push_name(&mut text, name);
            assert_eq!(parse_keys(&text).unwrap().unwrap(), [name], "{text}");
        }
    }
}
