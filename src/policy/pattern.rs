//! Operations as an operator names them: `DELETE /nodes/*/qemu/*`.

use std::fmt;

/// A method and a path with wild cards.
///
/// The method may be `*`. In the path `*` is any one segment, and `**` at its end any number of them, also none. A
/// name that has slashes (a volume id, a CIDR) is one segment for `*`, and may be written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationPattern {
    /// `None` is any.
    method: Option<String>,
    segments: Vec<String>,
    /// Whether anything may follow.
    open_ended: bool,
}

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

impl OperationPattern {
    /// Reads what stands in clusters.json. The error goes on after the field's name and says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write a method (or *) and a path, such as \"DELETE /nodes/*/qemu/*\"";
        let (method, path) = text.trim().split_once(char::is_whitespace).ok_or(format!("is no operation: {FORM}"))?;
        let method = method.to_ascii_uppercase();
        let method = match method.as_str() {
            "*" => None,
            _ if METHODS.contains(&method.as_str()) => Some(method),
            _ => return Err(format!("has no method GET, POST, PUT, DELETE or *: {FORM}")),
        };
        let path = path.trim();
        if !path.starts_with('/') || path.contains(char::is_whitespace) || path.contains(['?', '#', '%', '{']) {
            return Err(format!("has no path that starts with / and is written out, with * for what varies: {FORM}"));
        }
        let mut segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let open = segments.last().is_some_and(|last| last == "**");
        if open {
            segments.pop();
        }
        if segments.iter().any(|s| s == "**") {
            return Err("has ** before its end: it stands for the rest of a path, * for one segment".into());
        }
        // A wild card within a segment would look as if it worked.
        if segments.iter().any(|s| s.contains('*') && s != "*") {
            return Err("has * beside other characters: it stands for a whole segment".into());
        }
        Ok(Self { method, segments, open_ended: open })
    }

    /// Whether a call is one of those. `segments` are the path's; `template` is the path of its operation, whose last
    /// placeholder takes what is left of the path.
    pub fn matches(&self, method: &str, segments: &[&str], template: Option<&str>) -> bool {
        if self.method.as_deref().is_some_and(|only| only != method) {
            return false;
        }
        let long = |places: usize| match self.open_ended {
            true => self.segments.len() <= places,
            false => self.segments.len() == places,
        };
        // A volume that is written out has its slashes, one that is a wild card has none.
        let of_template = template.map(|t| t.split('/').filter(|s| !s.is_empty()).count());
        (long(segments.len()) || of_template.is_some_and(long))
            && self
                .segments
                .iter()
                .enumerate()
                .all(|(at, wanted)| segments.get(at).is_some_and(|is| wanted == "*" || is == wanted))
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
