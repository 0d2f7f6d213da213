//! A secret that must not leak, and a search for it in the forms in which a program shows bytes by accident.
#![allow(dead_code)]

/// A secret in the form of a token's secret.
pub const CANARY: &str = "9f3b7c21-6d5e-4a80-b1c4-7e2d90f6a358";

/// The length of a detectable piece. A hex dump has lines of 16 bytes, so it shows at least eight in a row.
const PIECE: usize = 8;

/// Fails if `bytes` contain a piece of [`CANARY`] as text, in hex (any case and separators), or as a list of numbers.
pub fn assert_unseen(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    // The separators between the digits of a dump.
    let joined: String =
        text.replace("0x", "").chars().filter(|c| !c.is_whitespace() && !":,_|".contains(*c)).collect();
    for piece in CANARY.as_bytes().windows(PIECE) {
        let plain = String::from_utf8_lossy(piece);
        let hex: String = piece.iter().map(|b| format!("{b:02x}")).collect();
        let numbers = piece.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        for (form, place) in [(&*plain, &text), (&*plain, &joined), (&*hex, &joined)] {
            assert!(!place.contains(form), "{what} shows the secret ({form}): {}", around(place, form));
        }
        let spaced = text.replace(", ", ",");
        assert!(!spaced.contains(&numbers), "{what} shows the secret as numbers: {}", around(&spaced, &numbers));
    }
}

fn around<'a>(text: &'a str, form: &str) -> &'a str {
    let at = text.find(form).unwrap_or_default();
    let (from, to) = (at.saturating_sub(100), (at + 100).min(text.len()));
    text.get(from..to).unwrap_or(text)
}
