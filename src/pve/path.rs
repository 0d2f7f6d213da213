//! Canonical paths of the Proxmox VE API.
//!
//! A node percent-decodes the whole path once and drops empty segments, so `/nodes//pve1/%71emu` is
//! `/nodes/pve1/qemu`. This module does the same first. So the policy judges the path on which the node acts.

use crate::base::hint::Hint;
use crate::base::shorten::shorten;
use crate::pve::error::PveError;
use crate::pve::method::Method;
use crate::pve::params::{ApiParams, DecodeError, QueryError, percent_decode, percent_encode_into};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;
use ureq::http::uri::PathAndQuery;

/// Longer than any path of Proxmox, whose own limit is 8 KiB for the whole head of a request.
const MAX_PATH_BYTES: usize = 2_000;

/// Characters kept beside unreserved ones, for volume ids (`local:iso/x.iso`) and UPIDs (`…:root@pam!admin:`).
const UNENCODED: &[u8] = b":@!$'(),*=";

/// Proxmox's own limit on a body.
const MAX_FORM_BYTES: usize = 512 << 10;

/// A query is part of the head, which must fit into one buffer of this client; a node accepts more than 9 KB.
const MAX_QUERY_BYTES: usize = 10 << 10;

/// Canonical API path: percent-decoded once, empty segments dropped, encoded once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiPath(String);

/// Text that is not a path of the API.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    #[error("a full URL is not a path")]
    FullUrl {
        /// The path of the URL without `/api2/json`.
        path: String,
    },
    #[error("`#` starts a fragment, which the API does not have")]
    Fragment,
    #[error("the path starts with a method")]
    MethodInPath { method: String, path: String },
    #[error("the path has a control character (a line break, a tab or a zero byte)")]
    ControlCharacter,
    #[error("`/api2/{format}` is another format of the same API")]
    OtherFormat { format: String },
    #[error("`/api2` alone is not a path")]
    IncompletePrefix,
    #[error("the path has `/api2` twice")]
    DoubledPrefix,
    #[error("`{segment}` is not a name")]
    DotSegment { segment: String },
    #[error("the path is longer than {MAX_PATH_BYTES} bytes: no path of the API is")]
    TooLong,
    #[error("`{segment}` is a placeholder")]
    Placeholder { segment: String },
    #[error("a name in the path is empty or has a slash in it")]
    InvalidSegment,
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Hint for PathError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            PathError::FullUrl { path } => {
                format!("write `/{path}`; `cluster` chooses the cluster and so the node").into()
            }
            PathError::Fragment => "leave it out, or write `%23` if it belongs to a name".into(),
            PathError::MethodInPath { method, path } => format!("write `{path}` and give {method} as `method`").into(),
            PathError::ControlCharacter => "leave it out".into(),
            PathError::OtherFormat { .. } | PathError::IncompletePrefix => "leave it out, or write `/api2/json`".into(),
            PathError::DoubledPrefix => "write it once or not at all".into(),
            PathError::DotSegment { .. } => "write the path out in full, such as `/nodes/pve1/qemu`".into(),
            PathError::TooLong => "values belong in `data`".into(),
            PathError::Placeholder { .. } => "replace it by the name or number it stands for".into(),
            PathError::InvalidSegment => return None,
            PathError::Query(error) => return error.hint(),
            PathError::Decode(error) => return error.hint(),
        })
    }
}

impl ApiPath {
    /// Parses a path as typed: with or without leading slash or `/api2/json`. A `?query` becomes parameters.
    pub fn parse(typed: &str) -> Result<(Self, ApiParams), PathError> {
        let (path, params) = Self::parse_template(typed)?;
        if let Some(segment) = path.segments().find(|segment| is_placeholder(segment)) {
            return Err(PathError::Placeholder { segment: segment.into_owned() });
        }
        Ok((path, params))
    }

    /// Parses a path that may contain placeholders (`{node}`), as in documentation. Such a path must not be sent.
    pub fn parse_template(typed: &str) -> Result<(Self, ApiParams), PathError> {
        let typed = typed.trim();
        let (path, query) = typed.split_once('?').unwrap_or((typed, ""));
        if let Some((_, rest)) = path.split_once("://") {
            let path = rest.split_once('/').map_or("", |(_, path)| path.trim_start_matches("api2/json/"));
            return Err(PathError::FullUrl { path: shorten(path).into_owned() });
        }
        if typed.contains('#') {
            return Err(PathError::Fragment);
        }
        if let Some((word, rest)) = path.split_once(' ')
            && Method::from_name(word).is_some()
        {
            return Err(PathError::MethodInPath { method: word.to_owned(), path: shorten(rest.trim()).into_owned() });
        }

        let decoded = percent_decode(path)?;
        if decoded.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter);
        }
        let mut segments = decoded.split('/').filter(|s| !s.is_empty()).peekable();
        if segments.next_if_eq(&"api2").is_some() {
            match segments.next() {
                Some("json") => {}
                Some(format) => return Err(PathError::OtherFormat { format: shorten(format).into_owned() }),
                None => return Err(PathError::IncompletePrefix),
            }
            if segments.peek() == Some(&"api2") {
                return Err(PathError::DoubledPrefix);
            }
        }

        let mut canonical = String::with_capacity(decoded.len() + 1);
        for segment in segments {
            if segment == "." || segment == ".." {
                return Err(PathError::DotSegment { segment: segment.to_owned() });
            }
            canonical.push('/');
            percent_encode_into(&mut canonical, segment, UNENCODED);
        }
        if canonical.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if canonical.is_empty() {
            canonical.push('/');
        }
        Ok((Self(canonical), ApiParams::from_query(query)?))
    }

    /// Builds the path of these decoded segments. A segment cannot turn into several, whatever a cluster names its nodes.
    pub fn from_segments<S: AsRef<str>>(segments: &[S]) -> Result<Self, PathError> {
        let mut typed = String::new();
        for segment in segments {
            let segment = segment.as_ref();
            // The node decodes once more and would split the segment at a slash.
            if segment.is_empty() || segment.contains('/') {
                return Err(PathError::InvalidSegment);
            }
            typed.push('/');
            percent_encode_into(&mut typed, segment, UNENCODED);
        }
        Self::parse_template(&typed).map(|(path, _)| path)
    }

    /// Wraps a path of this program, which must be canonical.
    pub fn from_static(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// Returns the path with a segment of this program appended.
    pub(in crate::pve) fn join(&self, name: &'static str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// Returns the path as it is sent, below `/api2/json`: `/nodes/pve1/qemu`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the request target: the path, and the encoded parameters as query if `method` has no form.
    pub(in crate::pve) fn to_request_target(&self, method: Method, encoded: &str) -> Result<PathAndQuery, PveError> {
        let (limit, query) = match method.has_form() {
            true => (MAX_FORM_BYTES, ""),
            false => (MAX_QUERY_BYTES, encoded),
        };
        if encoded.len() > limit {
            return Err(PveError::RequestTooLarge { bytes: encoded.len(), limit });
        }
        let mark = if query.is_empty() { "" } else { "?" };
        PathAndQuery::try_from(["/api2/json", self.as_str(), mark, query].concat())
            .map_err(|_| PveError::UnsendablePath { call: format!("{method} {self}") })
    }

    /// Returns the decoded segments; none for `/`. A volume id with a slash (`local:iso/x.iso`) has two of them, because
    /// a node cannot distinguish the two spellings either.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Cow<'_, str>> {
        self.0.split('/').filter(|s| !s.is_empty()).map(decode_segment)
    }
}

/// Returns a segment of a stored path without its percent-encoding.
fn decode_segment(segment: &str) -> Cow<'_, str> {
    // Most have none, and a path is split several times in a call.
    match segment.contains('%') {
        true => percent_decode(segment).map_or(Cow::Borrowed(segment), Cow::Owned),
        false => Cow::Borrowed(segment),
    }
}

/// Returns whether a segment is a placeholder of documentation: `{node}`, `<node>` or `:node`. No name in Proxmox has
/// this form.
pub fn is_placeholder(segment: &str) -> bool {
    let inside = |open, close| segment.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    let word = inside('{', '}').or(inside('<', '>')).or(segment.strip_prefix(':'));
    word.is_some_and(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_'))
}

/// The path as it is sent. Placeholders, which are never sent, are not encoded.
impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.split('/');
        f.write_str(rest.next().unwrap_or_default())?;
        rest.try_for_each(|segment| {
            let decoded = decode_segment(segment);
            f.write_str("/")?;
            f.write_str(if is_placeholder(&decoded) { &decoded } else { segment })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use proptest::prelude::*;

    fn path(typed: &str) -> String {
        ApiPath::parse(typed).unwrap().0.0
    }

    fn parse_error(typed: &str) -> String {
        render_error(&ApiPath::parse(typed).unwrap_err())
    }

    #[test]
    fn every_spelling_of_a_path_is_the_same_path() {
        for typed in [
            "/nodes/pve1/qemu/100",
            "nodes/pve1/qemu/100",
            "/nodes/pve1/qemu/100/",
            " /nodes//pve1/%71emu/100\n",
            "/api2/json/nodes/pve1/qemu/100",
            "api2//json//nodes/pve1/qemu/100",
            "/nodes%2Fpve1/qemu/100",
        ] {
            assert_eq!(path(typed), "/nodes/pve1/qemu/100", "{typed}");
        }
        for root in ["", "/", "/api2/json", "//"] {
            assert_eq!(path(root), "/");
        }
    }

    #[test]
    fn volume_ids_and_upids_stay_readable() {
        let volume = "/nodes/pve1/storage/local/content/local:iso/x.iso";
        assert_eq!(path(volume), volume);
        assert_eq!(path("/nodes/pve1/storage/local/content/local%3Aiso%2Fx.iso"), volume);
        let task = "/nodes/pve1/tasks/UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!admin:/status";
        assert_eq!(path(task), task);
    }

    #[test]
    fn what_is_not_plain_is_encoded_once() {
        assert_eq!(path("/a b/ü+&;%25/x%3fy%23"), "/a%20b/%C3%BC%2B%26%3B%25/x%3Fy%23");
        let (parsed, _) = ApiPath::parse("/access/users/j%C3%B6rg@pam").unwrap();
        assert_eq!(parsed.segments().collect::<Vec<_>>(), ["access", "users", "jörg@pam"]);
    }

    #[test]
    fn a_text_shows_placeholders_as_they_are_written() {
        let (template, _) = ApiPath::parse_template("/nodes/{node}/qemu/a{b}/%7Bvmid%7D").unwrap();
        assert_eq!(template.to_string(), "/nodes/{node}/qemu/a%7Bb%7D/{vmid}");
        assert_eq!(ApiPath::from_static("/").to_string(), "/");
    }

    #[test]
    fn a_query_becomes_parameters() {
        let (path, params) = ApiPath::parse("/cluster/resources?type=vm&x=a+b%3Bc&&flag").unwrap();
        assert_eq!(path.as_str(), "/cluster/resources");
        assert_eq!(params.iter().collect::<Vec<_>>(), [("type", "vm"), ("x", "a b;c"), ("flag", "")]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (typed, hint) in [
            ("https://pve1:8006/api2/json/nodes", "`cluster`"),
            ("/nodes#v1", "%23"),
            ("/nodes?x=1#y", "%23"),
            ("/nodes/%zz", "%25"),
            ("/nodes/%4", "%25"),
            ("/nodes/%ff", "UTF-8"),
            ("/nodes/a%00b", "control"),
            ("/nodes/a%0d%0ab", "control"),
            ("/nodes/../access", "in full"),
            ("/nodes/%2e%2e/access", "in full"),
            ("/nodes/a%2f..%2fb", "in full"),
            ("/nodes/./x", "in full"),
            ("/api2/extjs/nodes", "/api2/json"),
            ("/api2", "/api2/json"),
            ("/api2/json/api2/json/nodes", "once"),
            ("GET /nodes", "`method`"),
            ("/nodes?=1", "name=value"),
            ("/nodes?a=%f", "%25"),
        ] {
            assert!(parse_error(typed).contains(hint), "{typed}: {}", parse_error(typed));
        }
        assert!(parse_error(&"/a".repeat(1001)).contains("2000 bytes"));
        assert_eq!(path(&"/a".repeat(1000)).len(), 2000);
    }

    #[test]
    fn placeholders_and_urls_are_refused_with_what_to_write() {
        for typed in ["/nodes/{node}/qemu", "nodes/<node>", "/nodes/pve1/qemu/:vmid/config"] {
            assert!(parse_error(typed).contains("is a placeholder"), "{typed}");
        }
        assert_eq!(
            path("/nodes/pve1/storage/local/content/local:iso/x.iso"),
            "/nodes/pve1/storage/local/content/local:iso/x.iso"
        );
        assert!(parse_error("https://pve1:8006/api2/json/nodes/pve1?x=1").contains("write `/nodes/pve1`"));
        assert!(parse_error("https://pve1:8006").contains("write `/`"));
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_its_own_canonical_path(typed in "[ -~/%äö]{0,60}|(/([a-z:.%]|%[0-9a-f]{2}|\\.\\.|%2e){0,9}){0,6}") {
            if let Ok((path, _)) = ApiPath::parse(&typed) {
                let (again, params) = ApiPath::parse(path.as_str()).unwrap();
                prop_assert_eq!(&again, &path);
                prop_assert!(params.is_empty());
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(path.segments().all(|s| s != "." && s != ".." && !s.is_empty() && !s.contains('/')));
            }
        }

        #[test]
        fn no_input_panics(typed in "\\PC{0,80}|.{0,80}") {
            let _ = ApiPath::parse(&typed);
        }
    }
}
