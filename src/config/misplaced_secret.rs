//! Detection of secrets in fields that are not meant for one.

use crate::sanitize::{TOKEN_PREFIX, find_uuid, is_uuid};

/// Returns whether the whole text may be a secret: one of Proxmox's, all of which are UUIDs, or a client's token.
pub(super) fn looks_like_secret(text: &str) -> bool {
    is_uuid(text.as_bytes()) || text.starts_with(TOKEN_PREFIX)
}

/// Returns whether a part of the text may be a secret.
pub(super) fn contains_secret(text: &str) -> bool {
    find_uuid(text).is_some() || text.contains(TOKEN_PREFIX)
}
