//! Parameters of an API call, and percent-encoding.

use crate::base::hint::Hint;
use crate::base::shorten::shorten;
use crate::pve::parameter_error::{MAX_PROBLEMS, ParameterError, ParameterErrorKind, ParameterErrors};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Names and values in the given order. A name may repeat, which is Proxmox's form of an array.
///
/// `Debug` shows the names only: values may be passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiParams(Vec<(String, String)>);

impl ApiParams {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Converts a JSON object. Booleans become 1 or 0, the only truth values of forms, and arrays repeat the name.
    /// Rejects null, objects and empty or nested arrays.
    pub fn from_json(data: &Map<String, Value>) -> Result<Self, ParameterErrors> {
        let mut params = Self::new();
        let mut errors = Vec::new();
        for (name, value) in data {
            if errors.len() >= MAX_PROBLEMS {
                return Err(ParameterErrors { errors, may_have_more: true });
            }
            match to_form_values(name, value) {
                Ok(values) => params.0.extend(values.into_iter().map(|value| (name.clone(), value))),
                Err(kind) => errors.push(ParameterError { name: name.clone(), in_path: false, kind }),
            }
        }
        if errors.is_empty() { Ok(params) } else { Err(ParameterErrors { errors, may_have_more: false }) }
    }

    /// Appends a parameter.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.into(), value.into()));
    }

    /// Returns names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Returns the first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// Returns the names in order. A name repeats for each of its values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(n, _)| n.as_str())
    }

    /// Returns whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encodes a form body or a query: `name=value&…`. Everything but unreserved characters is percent-encoded, because
    /// Proxmox reads `+` as a space and splits at `;` as well as at `&`.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(self.0.iter().map(|(n, v)| n.len() + v.len() + 8).sum());
        for (name, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            percent_encode_into(&mut out, name, b"");
            out.push('=');
            percent_encode_into(&mut out, value, b"");
        }
        out
    }

    /// Parses a query as typed, the reverse of [`ApiParams::encode`]: `+` is a space, only `&` separates.
    pub(super) fn from_query(query: &str) -> Result<Self, QueryError> {
        let mut params = Self::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode(&text.replace('+', " "));
            let name = decode(name)?;
            if name.is_empty() {
                return Err(QueryError::UnnamedValue { pair: shorten(pair).into_owned() });
            }
            params.0.push((name, decode(value)?));
        }
        Ok(params)
    }
}

impl fmt::Debug for ApiParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Returns the values to send for a parameter without knowing the operation. An array has one for each item.
pub(super) fn to_form_values(name: &str, value: &Value) -> Result<Vec<String>, ParameterErrorKind> {
    match value {
        _ if name.is_empty() => Err(ParameterErrorKind::Unnamed),
        Value::Array(items) if items.is_empty() => Err(ParameterErrorKind::EmptyList),
        Value::Array(items) => items.iter().map(to_form_value).collect(),
        single => Ok(vec![to_form_value(single)?]),
    }
}

fn to_form_value(value: &Value) -> Result<String, ParameterErrorKind> {
    match value {
        Value::Bool(true) => Ok("1".into()),
        Value::Bool(false) => Ok("0".into()),
        Value::Number(n) => Ok(n.to_string()),
        Value::String(s) => Ok(s.clone()),
        Value::Null => Err(ParameterErrorKind::Null),
        Value::Array(_) => Err(ParameterErrorKind::NestedList),
        Value::Object(_) => Err(ParameterErrorKind::Object),
    }
}

/// Appends `text` percent-encoded, keeping unreserved characters (RFC 3986, 2.3) and those of `keep`.
pub(super) fn percent_encode_into(out: &mut String, text: &str, keep: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)] as char);
            out.push(HEX[usize::from(byte & 15)] as char);
        }
    }
}

/// Wrong percent-encoding.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("a `%` is not followed by two hex digits")]
    BadEscape,
    #[error("the percent-encoded bytes are not UTF-8")]
    NotUtf8,
}

impl Hint for DecodeError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            DecodeError::BadEscape => "write `%25` for a percent sign itself".into(),
            DecodeError::NotUtf8 => "write the characters themselves".into(),
        })
    }
}

/// Query that is not a list of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    #[error("the query has a value without a name (`{pair}`)")]
    UnnamedValue { pair: String },
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Hint for QueryError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            QueryError::UnnamedValue { .. } => Some("write `?name=value&name2=value2`".into()),
            QueryError::Decode(error) => error.hint(),
        }
    }
}

/// Percent-decodes once.
pub(super) fn percent_decode(text: &str) -> Result<String, DecodeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| (b as char).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err(DecodeError::BadEscape),
        }
    }
    String::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn params_from(value: Value) -> Result<ApiParams, ParameterErrors> {
        ApiParams::from_json(value.as_object().unwrap())
    }

    #[test]
    fn json_values_become_what_proxmox_takes() {
        let p = params_from(json!({"a": true, "b": false, "c": 512, "d": 0.5, "e": "x y", "f": ["ls", "-l", 1, true]}))
            .unwrap();
        assert_eq!(p.encode(), "a=1&b=0&c=512&d=0.5&e=x%20y&f=ls&f=-l&f=1&f=1");
    }

    #[test]
    fn what_cannot_be_sent_is_explained_all_at_once() {
        let wrong = params_from(json!({"a": null, "b": {"bridge": "vmbr0"}, "c": [[1]], "d": [], "e": [null], "": 1}))
            .unwrap_err();
        assert_eq!(wrong.errors.len(), 6);
        for (name, hint) in [("`a`", "`delete`"), ("`b`", "virtio,bridge=vmbr0"), ("`c`", "plain"), ("`d`", "`delete`")]
        {
            let fits = |error: String| error.contains(name) && error.contains(hint);
            assert!(wrong.errors.iter().any(|error| fits(error.to_string())), "{name}: {wrong}");
        }
    }

    #[test]
    fn everything_but_unreserved_is_encoded() {
        let mut p = ApiParams::new();
        p.push("tags", "a;b+c&d=e f%/ü\n");
        p.push("plain", "aZ09-._~");
        assert_eq!(p.encode(), "tags=a%3Bb%2Bc%26d%3De%20f%25%2F%C3%BC%0A&plain=aZ09-._~");
    }

    #[test]
    fn debug_shows_no_value() {
        let p = params_from(json!({"password": "hunter2"})).unwrap();
        assert_eq!(format!("{p:?}"), r#"{"password"}"#);
    }

    proptest! {
        #[test]
        fn encoding_can_be_read_back(pairs in prop::collection::vec((".{1,9}", ".{0,20}"), 0..5)) {
            let p = ApiParams(pairs);
            prop_assert_eq!(ApiParams::from_query(&p.encode()).unwrap().0, p.0);
        }

        #[test]
        fn a_typed_query_never_panics(query in ".{0,60}") {
            let _ = ApiParams::from_query(&query);
        }
    }
}
