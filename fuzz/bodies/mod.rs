//! The bodies of the fuzz targets: invariants of every parser of untrusted input, as functions over any bytes. `cargo
//! test` runs them over mutations of their seeds. A body panics if an invariant does not hold. It returns true if the
//! parser accepted the bytes, so that a test can check that both cases occurred.
//!
//! This module exists for tests and for cargo-fuzz only. It is in the crate since most of the parsers are private.

mod config;
mod http;
mod mcp;
#[cfg(test)]
mod mutations;
mod output;
mod pve;

/// A target: the name of target, seeds and binary, and its body.
pub type FuzzTarget = (&'static str, fn(&[u8]) -> bool);

/// All targets.
pub const TARGETS: [FuzzTarget; 11] = [
    ("request", http::check_request),
    ("message", mcp::check_message),
    ("path", pve::check_path),
    ("upid", pve::check_upid),
    ("apidoc", pve::check_apidoc),
    ("clusters", config::check_clusters),
    ("filter", output::check_filter),
    ("view", output::check_view),
    ("json", output::check_json),
    ("redact", output::check_redaction),
    ("visible", output::check_escaping),
];

/// Runs a target over some bytes, for the binaries in `fuzz/`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(bytes);
}
