//! Detection of contents and secrets in settings that want a path or a name, and their safe form for errors and logs.
//!
//! An operator may set the contents of a file instead of its path. Errors and logs must then not repeat the value.

use super::escape_invisible::escape_text;
use super::placeholder::NOT_SHOWN;
use super::secret_patterns::{TOKEN_PREFIX, UUID_LEN, find_uuid, redact_text};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a name in a path, and of a path, on Linux (limits.h).
const MAX_NAME_BYTES: usize = 255;
const MAX_PATH_BYTES: usize = 4096;

/// Starts of the contents of files, in base64: a PEM block, and JSON objects with and without a line break.
const BASE64_STARTS: [&[u8]; 4] = [b"LS0tLS1CRUdJTi", b"eyJ", b"ewog", b"ewo"];

/// A word without a dot and a slash from this length on may be a secret if it has a digit.
const MIN_SECRET_LEN: usize = 16;

/// Returns true for a value that is no path: JSON, YAML, PEM, a URL, several lines, or a text that is too long.
pub fn looks_like_content(value: &[u8]) -> bool {
    value.iter().any(|b| b.is_ascii_control() || matches!(b, b'{' | b'}' | b'"'))
        || value.trim_ascii_start().starts_with(b"[")
        || contains(value, b"-----")
        || contains(value, b"://")
        || BASE64_STARTS.iter().any(|start| value.starts_with(start))
        || value.len() >= MAX_PATH_BYTES
        || value.split(|b| *b == b'/').any(|name| name.len() > MAX_NAME_BYTES)
}

/// Returns a path for an error or a log line. A value that may be the contents of a file or a secret is not shown.
pub fn printable_path(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    if looks_like_content(bytes) || looks_like_secret_word(bytes) {
        return NOT_SHOWN.into();
    }
    hide_uuids(escape_text(&redact_text(&path.to_string_lossy())).into_owned())
}

/// Hides UUIDs, the form of Proxmox's secrets.
pub fn hide_uuids(mut text: String) -> String {
    while let Some(at) = find_uuid(&text) {
        text.replace_range(at..at + UUID_LEN, NOT_SHOWN);
    }
    text
}

/// Returns true for a single word that is more likely a token or a password than the name of a file.
fn looks_like_secret_word(value: &[u8]) -> bool {
    let is_word = !value.iter().any(|b| matches!(b, b'/' | b'.'));
    is_word
        && (value.len() >= MIN_SECRET_LEN && value.iter().any(u8::is_ascii_digit)
            || contains(value, b"=")
            || value.starts_with(TOKEN_PREFIX.as_bytes()))
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(value, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_from_paths() {
        for content in [
            "{\"clusters\": {}}",
            " {}",
            "[1]",
            "clusters: {home: {url: pve1}}",
            "clusters:\n  home:\n",
            "-----BEGIN PRIVATE KEY-----",
            "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t",
            "eyJjbHVzdGVycyI6IHt9fQ==",
            "ewogICJjbHVzdGVycyI6IHt9fQ==",
            "https://user:password@host/clusters.json",
            "token\n",
            "a\u{1b}[31m",
            &"a".repeat(256),
            &"a/".repeat(2048),
        ] {
            assert!(looks_like_content(content.as_bytes()), "{content:?}");
            assert_eq!(printable_path(Path::new(content)), NOT_SHOWN, "{content:?}");
        }
        for path in
            ["clusters.json", "/etc/proxmox-mcp/clusters.json", "./a b.json", "C:\\a.json", "-", "é.json", "a[1].json"]
        {
            assert!(!looks_like_content(path.as_bytes()), "{path}");
            assert_eq!(printable_path(Path::new(path)), path);
        }
        assert!(!looks_like_content(format!("/{}", "a".repeat(255)).as_bytes()));
    }

    #[test]
    fn a_secret_in_place_of_a_path_is_not_shown() {
        for secret in
            ["pmcp_x", "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b", "hunter2hunter2hunter2", "mcp@pve!ro=hunter", "a=b"]
        {
            assert_eq!(printable_path(Path::new(secret)), NOT_SHOWN, "{secret}");
        }
        let volume = "/volumes/0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b/clusters.json";
        assert_eq!(printable_path(Path::new(volume)), format!("/volumes/{NOT_SHOWN}/clusters.json"));
        assert_eq!(printable_path(Path::new("a\u{202e}b.json")), "a\\u202eb.json");
    }
}
