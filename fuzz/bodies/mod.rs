//! What every reader of strangers' bytes must hold to, as functions over any bytes at all: the targets of `fuzz/`, and the
//! same over mutations of their corpus with every `cargo test`. Each panics where something does not hold, and says
//! whether the bytes were taken for what its reader reads, so that a test can tell that both were seen.
//!
//! It is there for tests and under cargo-fuzz only, within the crate: most of these readers are nobody else's.

mod config;
mod http;
mod mcp;
#[cfg(test)]
mod mutations;
mod output;
mod pve;

/// A target: its name, which is also its corpus' and its binary's, and what it does.
pub type FuzzTarget = (&'static str, fn(&[u8]) -> bool);

/// All of them.
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

/// Runs a target over some bytes: for the binaries in `fuzz/`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(bytes);
}
