//! Detection of secrets in fields that are not meant for one.

/// Prefix of the tokens that this program makes, by which secret scanners recognise them.
pub const TOKEN_PREFIX: &str = "pmcp_";
pub(super) const UUID_LEN: usize = 36;

/// Returns whether the whole text may be a secret: one of Proxmox's, all of which are UUIDs, or a client's token.
pub(super) fn looks_like_secret(text: &str) -> bool {
    is_uuid(text.as_bytes()) || text.starts_with(TOKEN_PREFIX)
}

/// Returns whether a part of the text may be a secret.
pub(super) fn contains_secret(text: &str) -> bool {
    find_uuid(text).is_some() || text.contains(TOKEN_PREFIX)
}

/// Returns the position of the first UUID.
pub(super) fn find_uuid(text: &str) -> Option<usize> {
    text.as_bytes().windows(UUID_LEN).position(is_uuid)
}

pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == UUID_LEN
        && bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
