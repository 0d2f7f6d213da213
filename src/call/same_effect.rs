//! Operations that do the same under another path or method. A `deny` of one of them holds for both.

use crate::pve::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;

/// Another way to make a call.
pub(super) struct OtherWay {
    pub(super) method: Method,
    pub(super) segments: Vec<String>,
}

impl OtherWay {
    /// Returns the other way of a call, if there is one.
    pub(super) fn find(method: Method, path: &ApiPath, params: &ApiParams) -> Option<Self> {
        let given = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
        let mut segments: Vec<String> = path.segments().map(|segment| segment.into_owned()).collect();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = match (method, parts.as_slice()) {
            // (PVE: POST runs as a task.)
            (Method::Put, ["nodes", _, "qemu", _, "config"]) => Method::Post,
            (Method::Post, ["nodes", _, "qemu", _, "config"]) => Method::Put,
            (Method::Post, ["nodes", _, "qemu", _, "agent"]) => {
                segments.push(given("command")?);
                method
            }
            (Method::Get | Method::Put | Method::Delete, ["pools"]) => {
                segments.push(given("poolid")?);
                method
            }
            (Method::Get | Method::Put | Method::Delete, ["pools", _]) => {
                segments.truncate(1);
                method
            }
            _ => return None,
        };
        Some(Self { method, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_ways_are_operations_with_the_same_effect() {
        for (method, path, given, other) in [
            (Method::Put, "/nodes/pve1/qemu/100/config", None, Some("POST /nodes/pve1/qemu/100/config")),
            (Method::Post, "/nodes/pve1/qemu/100/config", None, Some("PUT /nodes/pve1/qemu/100/config")),
            (Method::Put, "/nodes/pve1/lxc/100/config", None, None),
            (
                Method::Post,
                "/nodes/pve1/qemu/100/agent",
                Some(("command", "shutdown")),
                Some("POST /nodes/pve1/qemu/100/agent/shutdown"),
            ),
            (Method::Delete, "/pools", Some(("poolid", "prod")), Some("DELETE /pools/prod")),
            (Method::Put, "/pools/prod", None, Some("PUT /pools")),
            (Method::Post, "/pools", Some(("poolid", "prod")), None),
        ] {
            let mut params = ApiParams::new();
            given.into_iter().for_each(|(name, value)| params.push(name, value));
            let found = OtherWay::find(method, &ApiPath::from_static(path), &params);
            let text = found.map(|way| format!("{} /{}", way.method, way.segments.join("/")));
            assert_eq!(text.as_deref(), other, "{method} {path}");
        }
    }
}
