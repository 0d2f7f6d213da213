//! A word of a query, and its weights.

// Weights of words.
/// A corrected word.
pub(super) const TYPO: f32 = 0.8;
/// A word of a clause that asks for nothing, beside one that does.
pub(super) const STORY: f32 = 0.7;
/// A word of a clause that gives a time or reason.
pub(super) const BACKGROUND: f32 = 0.5;

/// A word of a query.
pub(super) struct QueryWord {
    pub(super) stem: String,
    pub(super) is_noun: bool,
    /// Factor of the word's score.
    pub(super) weight: f32,
}

impl QueryWord {
    /// Returns whether the word is of the clause that asks.
    pub(super) fn is_requested(&self) -> bool {
        self.weight >= TYPO
    }
}
