//! Texts that replace a secret.

/// Replaces a secret in everything that is shown or recorded.
pub const HIDDEN: &str = "(hidden)";

/// Replaces a name or a part of a text in the errors of the configuration that may be a secret.
pub const NOT_SHOWN: &str = "(not shown)";

/// Returns true if a value shows no secret: it is empty, or hidden already, here or by Proxmox (`**********`).
pub(super) fn is_hidden(value: &str) -> bool {
    value == HIDDEN || value.bytes().all(|b| b == b'*')
}
