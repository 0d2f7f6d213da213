//! A call that the policy denies.

use crate::base::hint::Hint;
use crate::policy::{Denial, RiskReason};
use std::borrow::Cow;

/// A call that the policy denies, with the reason.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused: {operation}: {reason}{}", describe_causes(.causes))]
pub struct DeniedCall {
    /// Method and path.
    pub(super) operation: String,
    pub(super) reason: Denial,
    /// The parameters that make the call riskier than its operation.
    pub(super) causes: Vec<RiskReason>,
}

fn describe_causes(causes: &[RiskReason]) -> String {
    let causes: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.parameter, cause.reason)).collect();
    if causes.is_empty() { String::new() } else { format!(", because of its parameters ({})", causes.join("; ")) }
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
