//! The list of targets.

use super::{config, filter, http, json, mcp, pve, sanitize, view};

/// A check of one parser over any bytes.
pub struct FuzzTarget {
    /// Also the name of its seeds and of its binary.
    pub name: &'static str,
    /// Panics if a property does not hold. Returns true if the parser accepted the bytes, so that a test can tell that
    /// it met valid and invalid input.
    pub check: fn(&[u8]) -> bool,
}

const fn target(name: &'static str, check: fn(&[u8]) -> bool) -> FuzzTarget {
    FuzzTarget { name, check }
}

pub const TARGETS: [FuzzTarget; 11] = [
    target("request", http::check_request),
    target("message", mcp::check_message),
    target("path", pve::check_path),
    target("upid", pve::check_upid),
    target("apidoc", pve::check_apidoc),
    target("clusters", config::check_clusters),
    target("filter", filter::check_filter),
    target("view", view::check_view),
    target("json", json::check_json),
    target("redact", sanitize::check_redaction),
    target("visible", sanitize::check_escaping),
];

/// Returns the target called `name`.
pub fn find_target(name: &str) -> &'static FuzzTarget {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
}

/// Runs a target over some bytes, for the binaries in `fuzz/`.
pub fn run(name: &str, bytes: &[u8]) {
    (find_target(name).check)(bytes);
}
