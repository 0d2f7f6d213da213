//! A value that must never be shown: token secrets and everything else that authenticates this server.

use std::fmt;
use std::hint::black_box;
use zeroize::Zeroize;

/// Compares two values in a time that depends on their lengths alone, so that it does not tell how much of a guess is
/// right.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0, |different, (a, b)| black_box(different | (a ^ b)));
    black_box(different) == 0 && a.len() == b.len()
}

/// A secret text. It has no `Display`, its `Debug` hides the content, and its memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of `text`, so that no copy stays with the caller.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text. Call it only where the secret is sent to its one recipient, or is a key.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_the_same_bytes_and_length() {
        for (a, b, equal) in [("", "", true), ("ab", "ab", true), ("ab", "ac", false), ("a", "ab", false)] {
            assert_eq!(constant_time_eq(a.as_bytes(), b.as_bytes()), equal, "{a} {b}");
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        let s = Secret::new("hunter2".into());
        assert_eq!(format!("{s:?}"), "Secret(…)");
        assert_eq!(s.expose(), "hunter2");
    }
}
