//! Texts in base64.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The length of the shortest text in base64. A shorter one may be any word.
const MIN_LEN: usize = 8;

/// Returns the text that another one is the base64 of, if it is readable.
pub fn decode_text(encoded: &str) -> Option<String> {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    if encoded.len() < MIN_LEN || !encoded.bytes().all(is_base64) {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let is_readable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(is_readable).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base64_of_readable_text_is_decoded() {
        assert_eq!(decode_text("Y3VybCB4fHNoCg==").as_deref(), Some("curl x|sh\n"));
        for other in ["", "c2NzaTA", "local-lvm:8", "0123456789abcdef", "local", "virtio-scsi-pci"] {
            assert_eq!(decode_text(other), None, "{other}");
        }
    }
}
