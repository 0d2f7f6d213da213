//! What every reader of strangers' bytes must hold to, as functions over any bytes at all: the targets of `fuzz/`, and the
//! same over mutations of their corpus with every `cargo test`. Each panics where something does not hold, and says
//! whether the bytes were taken for what its reader reads, so that a test can tell that both were seen.
//!
//! It is there for tests and under cargo-fuzz only, within the crate: most of these readers are nobody else's.

#[cfg(test)]
mod bounded;
mod http;
mod mcp;
mod pve;
mod settings;
mod shown;

/// A target: its name, which is also its corpus' and its binary's, and what it does.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub const TARGETS: [Target; 11] = [
    ("request", http::request),
    ("message", mcp::message),
    ("path", pve::path),
    ("upid", pve::upid),
    ("apidoc", pve::apidoc),
    ("clusters", settings::clusters),
    ("filter", shown::filter),
    ("view", shown::view),
    ("json", shown::json),
    ("redact", shown::redact),
    ("visible", shown::visible),
];

/// Runs a target over some bytes: for the binaries in `fuzz/`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(bytes);
}
