//! A call that the policy denies.

use crate::base::hint::Hint;
use crate::policy::Denial;
use std::borrow::Cow;

/// A call that the policy denies, with the reason.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused: {operation}: {reason}")]
pub struct DeniedCall {
    /// Method and path.
    pub(super) operation: String,
    pub(super) reason: Denial,
}

impl DeniedCall {
    /// Returns the reason.
    pub fn reason(&self) -> &Denial {
        &self.reason
    }
}

impl Hint for DeniedCall {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.reason.hint()
    }
}
