//! Patterns of operations, as the operator writes them: `DELETE /nodes/*/qemu/*`.

use crate::base::suggest::suggest;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

/// The operations that the program knows: method and segments of the template.
static OPERATIONS: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
    let lines = include_str!("operation_risks.tsv").lines();
    lines
        .filter_map(|line| {
            let (method, rest) = line.split_once('\t')?;
            let (path, _) = rest.split_once('\t')?;
            Some((method, split_path(path).collect()))
        })
        .collect()
});

/// Returns the part of the API that a path means if it starts at a guest (`/qemu/100/config`) or at a task.
pub fn expand_shorthand(first: &str) -> Option<&'static str> {
    match first {
        "qemu" | "vm" => Some("qemu"),
        "lxc" | "ct" => Some("lxc"),
        "tasks" => Some("tasks"),
        _ => None,
    }
}

pub(super) fn split_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Returns the method and the template of each known operation.
pub(super) fn known_operations() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    OPERATIONS.iter().map(|(method, template)| (*method, template.as_slice()))
}

/// A method and a path with wild cards.
///
/// The method may be `*`. In the path `*` matches one segment, and `**` at its end any number of segments, including
/// none. A name with slashes (a volume id, a CIDR) is one segment for `*`, and may be written in full. A path is made
/// canonical as the path of a call is: `/qemu/200/**` is `/nodes/*/qemu/200/**`, and `{node}` is `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationPattern {
    /// `None` matches every method.
    method: Option<String>,
    pub(super) segments: Vec<String>,
    /// Further segments may follow.
    pub(super) open_ended: bool,
}

/// The reason why a text is not an [`OperationPattern`]. It continues a sentence about the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationPatternError {
    #[error("is no operation: {FORM}")]
    NoOperation,
    #[error("has no method GET, POST, PUT, DELETE or *: {FORM}")]
    UnknownMethod,
    #[error("has no path that starts with / and is written out, with * for what varies: {FORM}")]
    InvalidPath,
    #[error("has ** before its end: it matches the rest of a path, * matches one segment")]
    RestBeforeEnd,
    #[error("has * beside other characters: it matches a whole segment")]
    PartialWildcard,
    #[error("has no operation with {method} {path}{}", suggestion.as_ref().map_or(String::new(), |s| format!(" (did you mean {s}?)")))]
    FitsNothing { method: String, path: String, suggestion: Option<String> },
    #[error("names a guest by {name}: write its number, since the paths of calls have the number")]
    GuestByName { name: String },
    #[error("has the number {number}, which no guest has: write it from 100 to 999999999, without zeros before it")]
    ImpossibleGuest { number: String },
    #[error("has {placeholder}, which no operation has there: write one word, or * for any")]
    UnknownPlaceholder { placeholder: String },
}

const FORM: &str = "write a method (or *) and a path, such as \"DELETE /nodes/*/qemu/*\"";
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

impl OperationPattern {
    /// Parses the text of clusters.json.
    pub fn parse(text: &str) -> Result<Self, OperationPatternError> {
        let (method, path) = text.trim().split_once(char::is_whitespace).ok_or(OperationPatternError::NoOperation)?;
        let method = method.to_ascii_uppercase();
        let method = match method.as_str() {
            "*" => None,
            _ if METHODS.contains(&method.as_str()) => Some(method),
            _ => return Err(OperationPatternError::UnknownMethod),
        };
        let path = path.trim();
        if !path.starts_with('/') || path.contains(char::is_whitespace) || path.contains(['?', '#', '%']) {
            return Err(OperationPatternError::InvalidPath);
        }
        let mut segments: Vec<String> = split_path(path).map(str::to_owned).collect();
        let is_broken = |segment: &String| segment.contains(['{', '}']) && !is_placeholder(segment);
        if segments.iter().any(|segment| is_broken(segment) || matches!(segment.as_str(), "." | "..")) {
            return Err(OperationPatternError::InvalidPath);
        }
        if segments.len() > 2 && segments[0] == "api2" && matches!(segments[1].as_str(), "json" | "extjs") {
            segments.drain(..2);
        }
        if segments.len() > 1
            && let Some(topic) = expand_shorthand(&segments[0])
        {
            segments.splice(0..1, ["nodes", "*", topic].map(str::to_owned));
        }
        let open_ended = segments.pop_if(|last| last == "**").is_some();
        if segments.iter().any(|s| s == "**") {
            return Err(OperationPatternError::RestBeforeEnd);
        }
        // A wild card within a segment would match nothing while it looks as if it did.
        if segments.iter().any(|s| s.contains('*') && s != "*") {
            return Err(OperationPatternError::PartialWildcard);
        }
        let mut pattern = Self { method, segments, open_ended };
        if pattern.count_operations() == 0 {
            return Err(pattern.explain_misfit());
        }
        for segment in &mut pattern.segments {
            if is_placeholder(segment) {
                "*".clone_into(segment);
            }
        }
        Ok(pattern)
    }

    /// Returns the number of known operations that the pattern fits.
    pub fn count_operations(&self) -> usize {
        OPERATIONS.iter().filter(|(method, template)| self.fits(method, template)).count()
    }

    /// Returns whether the pattern matches some call of an operation, given by the segments of its template.
    pub fn fits(&self, method: &str, template: &[&str]) -> bool {
        self.fits_method(method) && self.fits_template(template)
    }

    pub(super) fn fits_method(&self, method: &str) -> bool {
        self.method.as_deref().is_none_or(|only| only == method)
    }

    fn fits_template(&self, template: &[&str]) -> bool {
        // Only these names have slashes.
        let takes_rest = template.last().is_some_and(|last| matches!(*last, "{volume}" | "{cidr}"));
        let fits_length = match self.segments.len().cmp(&template.len()) {
            std::cmp::Ordering::Less => self.open_ended,
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => takes_rest,
        };
        fits_length && self.segments.iter().zip(template).all(|(written, part)| fits_segment(written, part))
    }

    /// Returns the reason for which the pattern fits no operation.
    fn explain_misfit(&self) -> OperationPatternError {
        let by_name = self
            .segments
            .windows(2)
            .find(|pair| matches!(pair[0].as_str(), "qemu" | "lxc") && !fits_segment(&pair[1], "{vmid}"));
        if let Some(pair) = by_name {
            let name = pair[1].clone();
            let is_number = name.bytes().all(|b| b.is_ascii_digit());
            return match is_number {
                true => OperationPatternError::ImpossibleGuest { number: name },
                false => OperationPatternError::GuestByName { name },
            };
        }
        if let Some(placeholder) = self.segments.iter().find(|segment| is_placeholder(segment)) {
            return OperationPatternError::UnknownPlaceholder { placeholder: placeholder.clone() };
        }
        let longest_fit = |template: &[&str]| {
            self.segments.iter().zip(template).take_while(|(written, part)| fits_segment(written, part)).count()
        };
        let longest = OPERATIONS.iter().map(|(_, template)| longest_fit(template)).max().unwrap_or(0);
        let candidates: BTreeSet<&str> = OPERATIONS
            .iter()
            .filter(|(_, template)| longest_fit(template) == longest)
            .filter_map(|(_, template)| template.get(longest).copied())
            .filter(|part| !part.starts_with('{'))
            .collect();
        let suggestion = self.segments.get(longest).and_then(|typed| suggest(typed, candidates.iter().copied()));
        let text = self.to_string();
        let (method, path) = text.split_once(' ').expect("a method and a path");
        OperationPatternError::FitsNothing {
            method: method.to_owned(),
            path: path.to_owned(),
            suggestion: suggestion.map(str::to_owned),
        }
    }

    /// Returns whether the pattern matches a call with these path segments. `template` is the path of its operation,
    /// whose last placeholder takes the rest of the path.
    pub fn matches(&self, method: &str, segments: &[&str], template: Option<&str>) -> bool {
        if !self.fits_method(method) {
            return false;
        }
        let fits_length = |places: usize| match self.open_ended {
            true => self.segments.len() <= places,
            false => self.segments.len() == places,
        };
        // A volume that is written in full counts with its slashes, one that is a wild card without.
        let template_length = template.map(|t| t.split('/').filter(|s| !s.is_empty()).count());
        (fits_length(segments.len()) || template_length.is_some_and(fits_length))
            && self
                .segments
                .iter()
                .enumerate()
                .all(|(at, wanted)| segments.get(at).is_some_and(|segment| wanted == "*" || segment == wanted))
    }
}

/// Returns whether a segment of a pattern can be that part of a template.
fn fits_segment(written: &str, part: &str) -> bool {
    match part {
        _ if written == "*" => true,
        _ if is_placeholder(written) => is_placeholder(part),
        // (PVE: the range of pve-vmid. A number with zeros before it is another text than that of a path.)
        "{vmid}" => {
            written.parse().is_ok_and(|vmid: u32| (100..=999_999_999).contains(&vmid) && vmid.to_string() == written)
        }
        _ => is_placeholder(part) || written == part,
    }
}

/// Returns whether a segment is one of what varies, in the words of the API description: `{vmid}`.
fn is_placeholder(segment: &str) -> bool {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(is_name_byte))
}

impl fmt::Display for OperationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method.as_deref().unwrap_or("*"))?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))?;
        f.write_str(if self.open_ended {
            "/**"
        } else if self.segments.is_empty() {
            "/"
        } else {
            ""
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern_matches(pattern: &str, method: &str, path: &str, template: Option<&str>) -> bool {
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        OperationPattern::parse(pattern).expect(pattern).matches(method, &segments, template)
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        let vm = Some("/nodes/{node}/qemu/{vmid}");
        assert!(pattern_matches("DELETE /nodes/*/qemu/*", "DELETE", "/nodes/pve1/qemu/100", vm));
        assert!(pattern_matches("* /nodes/pve1/**", "POST", "/nodes/pve1/qemu/100", vm));
        assert!(pattern_matches("* /nodes/pve1/qemu/100/**", "POST", "/nodes/pve1/qemu/100", vm));
        assert!(pattern_matches("* /**", "GET", "/", None));
        for (pattern, method) in [
            ("DELETE /nodes/*/qemu/*", "POST"),
            ("DELETE /nodes/*/lxc/*", "DELETE"),
            ("POST /nodes/*/qemu", "DELETE"),
            ("POST /nodes/*/qemu/*/snapshot", "DELETE"),
            ("* /nodes/pve2/**", "DELETE"),
        ] {
            assert!(!pattern_matches(pattern, method, "/nodes/pve1/qemu/100", vm), "{pattern}");
        }
    }

    #[test]
    fn a_volume_is_one_segment_whatever_slashes_it_has() {
        let content = Some("/nodes/{node}/storage/{storage}/content/{volume}");
        let path = "/nodes/pve1/storage/local/content/local:iso/a.iso";
        for (pattern, fit) in [
            ("* /nodes/*/storage/*/content/*", true),
            ("* /nodes/*/storage/*/content/local:iso/a.iso", true),
            ("* /nodes/*/storage/local/**", true),
            ("* /nodes/*/storage/*/content/local:iso/b.iso", false),
            ("* /nodes/*/storage/*/content", false),
        ] {
            assert_eq!(pattern_matches(pattern, "DELETE", path, content), fit, "{pattern}");
        }
    }

    #[test]
    fn what_would_not_do_what_it_looks_like_is_refused() {
        for text in ["", "DELETE", "/nodes", "PATCH /nodes", "GET nodes", "GET /nodes/pve*", "GET /**/qemu", "GET /a b"]
        {
            assert!(OperationPattern::parse(text).is_err(), "{text}");
        }
        for text in ["DELETE /nodes/*/qemu/*", "* /**", "GET /nodes", "POST /nodes/pve1/**"] {
            assert_eq!(OperationPattern::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(OperationPattern::parse(" delete  nodes").err(), OperationPattern::parse("delete nodes").err());
    }

    #[test]
    fn what_no_call_can_be_is_refused() {
        for text in [
            "* /qemu/0100/**",
            "* /nodes/*/qemu/99",
            "* /nodes/*/lxc/1000000000/**",
            "POST /nodes/*/qemu/*/status/{stop,start}",
            "POST /nodes/*/qemu/*/status/{command}",
            "* /nodes/{}/qemu",
            "GET /nodes/{node/qemu",
        ] {
            assert!(OperationPattern::parse(text).is_err(), "{text}");
        }
        for text in ["* /qemu/100/**", "* /lxc/999999999", "GET /nodes/{node}/qemu/{id}/status/current"] {
            assert!(OperationPattern::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_canonical_as_a_path_is() {
        for (text, canonical) in [
            ("* /qemu/200/**", "* /nodes/*/qemu/200/**"),
            ("post /vm/200/status/stop", "POST /nodes/*/qemu/200/status/stop"),
            ("* /ct/*/snapshot/**", "* /nodes/*/lxc/*/snapshot/**"),
            ("DELETE /tasks/*", "DELETE /nodes/*/tasks/*"),
            ("DELETE /nodes/{node}/qemu/{vmid}", "DELETE /nodes/*/qemu/*"),
            ("* //api2/json/access//users/", "* /access/users"),
        ] {
            assert_eq!(OperationPattern::parse(text).expect(text).to_string(), canonical);
        }
        let vm = Some("/nodes/{node}/qemu/{vmid}/config");
        assert!(pattern_matches("* /qemu/200/**", "PUT", "/nodes/pve1/qemu/200/config", vm));
    }

    #[test]
    fn a_pattern_that_can_never_hold_is_refused() {
        for (text, part) in [
            ("DELETE /nodes/*/quemu/*", "did you mean qemu?"),
            ("POST /nodes/*/qemu/*", "no operation with POST /nodes/*/qemu/*"),
            ("* /nodes/*/qemu/web01/**", "names a guest by web01"),
            ("* /qemu/web01", "names a guest by web01"),
            ("GET /nodes/*/qemu/*/status/*/more", "no operation"),
            ("DELETE /pool/*", "did you mean pools?"),
            ("* /../access", "written out"),
        ] {
            let error = OperationPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(OperationPattern::parse("* /**").expect("all").count_operations(), 661);
        assert_eq!(OperationPattern::parse("DELETE /nodes/*/qemu/*").expect("one").count_operations(), 1);
    }
}
