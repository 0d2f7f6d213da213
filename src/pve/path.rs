//! Canonical paths of the Proxmox VE API.
//!
//! A node percent-decodes the whole path once and drops empty segments, so `/nodes//pve1/%71emu` is
//! `/nodes/pve1/qemu`. The same is done here first, so that whoever judges a path and the node that acts on it see the
//! same one.

use crate::pve::Method;
use crate::pve::error::PveError;
use crate::pve::params::{ApiParams, percent_decode, percent_encode_into};
use std::borrow::Cow;
use std::fmt;
use ureq::http::uri::PathAndQuery;

/// Longer than any path Proxmox has; its own limit is 8 KiB for the whole head of a request.
const MAX_PATH_BYTES: usize = 2_000;

/// What stays readable beside unreserved characters: volume ids (`local:iso/x.iso`), UPIDs (`…:root@pam!admin:`).
const UNENCODED: &[u8] = b":@!$'(),*=";

/// Proxmox's own limit on a body.
const MAX_FORM_BYTES: usize = 512 << 10;

/// A query is part of a head, which must fit into one of our buffers; a node accepts more than 9 KB.
const MAX_QUERY_BYTES: usize = 10 << 10;

/// A canonical API path: percent-decoded once, empty segments dropped, encoded once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiPath(String);

impl ApiPath {
    /// Reads what a caller typed: with or without leading slash or `/api2/json`; a `?query` becomes parameters.
    /// The error is a sentence that says what to write instead.
    pub fn parse(typed: &str) -> Result<(Self, ApiParams), String> {
        let (path, params) = Self::parse_template(typed)?;
        if let Some(segment) = path.segments().find(|segment| is_placeholder(segment)) {
            return Err(format!("`{segment}` is a placeholder: put the name or number it stands for in its place"));
        }
        Ok((path, params))
    }

    /// The same for a path that may have placeholders (`{node}`), as documentation writes it; it is not fit to be sent.
    pub fn parse_template(typed: &str) -> Result<(Self, ApiParams), String> {
        let typed = typed.trim();
        let (path, query) = typed.split_once('?').unwrap_or((typed, ""));
        if let Some((_, rest)) = path.split_once("://") {
            let below = rest.split_once('/').map_or("", |(_, path)| path.trim_start_matches("api2/json/"));
            return Err(format!(
                "a full URL is not a path: write `/{below}`; the node to ask is that of the cluster chosen with `cluster`"
            ));
        }
        if typed.contains('#') {
            return Err(
                "`#` starts a fragment, which the API has not: leave it out, or write `%23` if it belongs to a \
                        name"
                    .into(),
            );
        }
        if let Some((word, rest)) = path.split_once(' ')
            && crate::pve::Method::ALL.iter().any(|m| m.as_str().eq_ignore_ascii_case(word))
        {
            return Err(format!("the path starts with a method: write `{}` and give {word} as `method`", rest.trim()));
        }

        let decoded = percent_decode(path)?;
        if decoded.chars().any(char::is_control) {
            return Err("the path has a control character (a line break, a tab or a zero byte): leave it out".into());
        }
        let mut segments = decoded.split('/').filter(|s| !s.is_empty()).peekable();
        if segments.next_if_eq(&"api2").is_some() {
            match segments.next() {
                Some("json") => {}
                Some(format) => {
                    return Err(format!(
                        "`/api2/{format}` is another format of the same API: leave it out, or write `/api2/json`"
                    ));
                }
                None => return Err("`/api2` alone is no path: leave it out, or write `/api2/json`".into()),
            }
            if segments.peek() == Some(&"api2") {
                return Err("`/api2` stands twice in the path: write it once or not at all".into());
            }
        }

        let mut canonical = String::with_capacity(decoded.len() + 1);
        for segment in segments {
            if segment == "." || segment == ".." {
                return Err(format!(
                    "`{segment}` is not a name: write the path out in full, such as `/nodes/pve1/qemu`"
                ));
            }
            canonical.push('/');
            percent_encode_into(&mut canonical, segment, UNENCODED);
        }
        if canonical.len() > MAX_PATH_BYTES {
            return Err(format!(
                "the path is longer than {MAX_PATH_BYTES} bytes: no path of the API is; values belong in `data`"
            ));
        }
        if canonical.is_empty() {
            canonical.push('/');
        }
        Ok((Self(canonical), ApiParams::from_query(query)?))
    }

    /// The path of these segments (decoded): another's, with some of them replaced. What a cluster calls its nodes can't
    /// make more of them.
    pub fn from_segments<S: AsRef<str>>(segments: &[S]) -> Result<Self, String> {
        let mut typed = String::new();
        for segment in segments {
            let segment = segment.as_ref();
            // Decoded once more by the node, a slash would make two of one.
            if segment.is_empty() || segment.contains('/') {
                return Err("a name in the path is empty or has a slash in it".into());
            }
            typed.push('/');
            percent_encode_into(&mut typed, segment, UNENCODED);
        }
        Self::parse_template(&typed).map(|(path, _)| path)
    }

    /// A path of our own, canonical as it stands.
    pub fn from_static(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// One of our own names below it.
    pub(super) fn join(&self, name: &'static str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The path as it goes over the wire, below `/api2/json`: `/nodes/pve1/qemu`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is asked of a node: the path, and the parameters (encoded) where they are no form. Errors: they are too large.
    pub(super) fn to_request_target(&self, method: Method, encoded: &str) -> Result<PathAndQuery, PveError> {
        let (limit, query) = match method.has_form() {
            true => (MAX_FORM_BYTES, ""),
            false => (MAX_QUERY_BYTES, encoded),
        };
        if encoded.len() > limit {
            return Err(PveError::RequestTooLarge { bytes: encoded.len(), limit });
        }
        let mark = if query.is_empty() { "" } else { "?" };
        // Both parts are encoded down to characters that a URI may have; the error is for the reader's peace of mind.
        PathAndQuery::try_from(["/api2/json", self.as_str(), mark, query].concat()).map_err(|_| PveError::Failed {
            status: 400,
            message: "the path can't be sent".into(),
            call: format!("{method} {self}"),
        })
    }

    /// Its segments, decoded; none for `/`. A volume id with a slash (`local:iso/x.iso`) is two of them, because a
    /// node can't tell the two spellings apart either.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Cow<'_, str>> {
        self.0.split('/').filter(|s| !s.is_empty()).map(|segment| match percent_decode(segment) {
            Ok(text) if text != segment => Cow::Owned(text),
            _ => Cow::Borrowed(segment),
        })
    }
}

/// `{node}`, `<node>` or `:node`, as documentation writes it; no name in Proxmox looks like that.
pub fn is_placeholder(segment: &str) -> bool {
    let inside = |open, close| segment.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    let word = inside('{', '}').or(inside('<', '>')).or(segment.strip_prefix(':'));
    word.is_some_and(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_'))
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(typed: &str) -> String {
        ApiPath::parse(typed).unwrap().0.0
    }

    fn parse_error(typed: &str) -> String {
        ApiPath::parse(typed).unwrap_err()
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
