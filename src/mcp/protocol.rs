//! Versions and words of the protocol.

/// Bytes of an id or a progress token, quotes included. Every answer and notification repeats it.
pub(super) const MAX_ID_BYTES: usize = 1024;

/// Era of the protocol (2026-07-28, Versioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolEra {
    /// 2024-11-05 to 2025-11-25: a session starts with `initialize`.
    Legacy,
    /// 2026-07-28: each request carries its version.
    Modern,
}

/// Supported versions of the legacy era, oldest first. Later versions have no `initialize`.
pub const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// Supported versions of the modern era, oldest first.
pub const MODERN_VERSIONS: [&str; 1] = ["2026-07-28"];

/// Id of the extension for tasks. It needs the modern era.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Severities of log messages (RFC 5424, as MCP names them), lowest first.
pub const LOG_LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Returns the index of a severity in [`LOG_LEVELS`].
pub(super) fn find_log_level(name: &str) -> Option<usize> {
    LOG_LEVELS.iter().position(|level| *level == name)
}
