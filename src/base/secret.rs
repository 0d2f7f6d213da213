//! A value that must not be seen: token secrets, and whatever else would let a reader act for us.

use std::fmt;
use std::hint::black_box;
use zeroize::Zeroize;

/// A secret text. It has no `Display`, its `Debug` says only that it is there, and its memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` over; the caller's copy is moved, not cloned.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Call it only where the secret leaves for the one place it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the secret has no characters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    /// In a time that tells nothing of where they differ, to compare two of the operator's own.
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
