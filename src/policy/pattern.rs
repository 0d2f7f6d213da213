//! Patterns of operations, as the operator writes them: `DELETE /nodes/*/qemu/*`.

use std::fmt;

/// A method and a path with wild cards.
///
/// The method may be `*`. In the path `*` matches one segment, and `**` at its end any number of segments, including
/// none. A name with slashes (a volume id, a CIDR) is one segment for `*`, and may be written in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationPattern {
    /// `None` matches every method.
    method: Option<String>,
    segments: Vec<String>,
    /// Further segments may follow.
    open_ended: bool,
}

/// The reason why a text is not an [`OperationPattern`]. It continues a sentence about the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
        if !path.starts_with('/') || path.contains(char::is_whitespace) || path.contains(['?', '#', '%', '{']) {
            return Err(OperationPatternError::InvalidPath);
        }
        let mut segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let open_ended = segments.pop_if(|last| last == "**").is_some();
        if segments.iter().any(|s| s == "**") {
            return Err(OperationPatternError::RestBeforeEnd);
        }
        // A wild card within a segment would match nothing while it looks as if it did.
        if segments.iter().any(|s| s.contains('*') && s != "*") {
            return Err(OperationPatternError::PartialWildcard);
        }
        Ok(Self { method, segments, open_ended })
    }

    /// Returns whether the pattern matches a call with these path segments. `template` is the path of its operation,
    /// whose last placeholder takes the rest of the path.
    pub fn matches(&self, method: &str, segments: &[&str], template: Option<&str>) -> bool {
        if self.method.as_deref().is_some_and(|only| only != method) {
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
            ("DELETE /nodes/*/qemu", "DELETE"),
            ("DELETE /nodes/*/qemu/*/snapshot", "DELETE"),
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
        for text in ["DELETE /nodes/*/qemu/*", "* /**", "GET /", "POST /nodes/pve1/**"] {
            assert_eq!(OperationPattern::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(OperationPattern::parse(" delete  nodes").err(), OperationPattern::parse("delete nodes").err());
    }
}
