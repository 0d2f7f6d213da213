//! The one form of an error's text: `what failed: cause. hint: next step`.

use std::borrow::Cow;
use std::fmt::Display;

/// An error that may know the next step for its reader.
pub trait Hint: Display {
    /// Returns the next step as an imperative clause without a full stop.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// Renders an error with its hint.
pub fn render_error(error: &dyn Hint) -> String {
    match error.hint() {
        Some(hint) => format!("{error}. hint: {hint}"),
        None => error.to_string(),
    }
}
