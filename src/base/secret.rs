//! A value that must never be shown: token secrets and everything else that authenticates this server.

use std::fmt;
use std::hint::black_box;
use zeroize::Zeroize;

/// A secret text. It has no `Display`, its `Debug` hides the content, and its memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of `text`, so that no copy stays with the caller.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text. Call it only where the secret is sent to its one recipient.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    /// Compares in constant time for values of one length.
    fn eq(&self, other: &Self) -> bool {
        let different = self.0.bytes().zip(other.0.bytes()).fold(0, |different, (a, b)| black_box(different | (a ^ b)));
        black_box(different) == 0 && self.0.len() == other.0.len()
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
    use super::Secret;

    #[test]
    fn debug_does_not_show_it() {
        let s = Secret::new("hunter2".into());
        assert_eq!(format!("{s:?}"), "Secret(…)");
        assert_eq!(s.expose(), "hunter2");
    }
}
