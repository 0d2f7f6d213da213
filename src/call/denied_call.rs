//! A call that the policy denies.

use crate::base::hint::Hint;
use crate::policy::{Denial, RiskReason};
use std::borrow::Cow;

/// A call that the policy denies, with the reason.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused: {}: {reason}{}", .operation.text, describe_causes(.causes.as_deref()))]
pub struct DeniedCall {
    /// Method and path.
    pub(super) operation: Box<DeniedOperation>,
    pub(super) reason: Denial,
    /// The parameters that make the call riskier than its operation.
    pub(super) causes: Option<Box<DenialCauses>>,
}

/// Method and path of a denied call.
#[derive(Clone, Debug)]
pub struct DeniedOperation {
    pub(super) text: String,
    /// The call runs a command in a VM.
    pub(super) runs_in_vm: bool,
}

/// The reasons for the risk of a denied call that its parameters give.
#[derive(Clone, Debug)]
pub struct DenialCauses(pub(super) Vec<RiskReason>);

fn describe_causes(causes: Option<&DenialCauses>) -> String {
    let causes = causes.map(|causes| causes.0.as_slice()).unwrap_or_default();
    let mut texts: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.parameter, cause.reason)).collect();
    texts.dedup();
    if texts.is_empty() { String::new() } else { format!(", because of its parameters ({})", texts.join("; ")) }
}

impl DeniedCall {
    /// Adds the operation of another call that is denied for the same reason. Returns whether it is.
    pub fn absorb(&mut self, other: &Self) -> bool {
        let causes = |call: &Self| call.causes.as_ref().map(|causes| causes.0.clone());
        let is_same = self.reason == other.reason
            && causes(self) == causes(other)
            && self.operation.runs_in_vm == other.operation.runs_in_vm;
        if is_same && self.operation.text != other.operation.text {
            self.operation.text.push_str(", ");
            self.operation.text.push_str(&other.operation.text);
        }
        is_same
    }

    /// Returns the reason.
    pub fn reason(&self) -> &Denial {
        &self.reason
    }
}

impl Hint for DeniedCall {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = self.reason.hint()?;
        let reads = match self.reason {
            _ if !self.operation.runs_in_vm => return Some(hint),
            Denial::Exec { .. } => "get-fsinfo, get-osinfo and file-read",
            Denial::AccessLevel { .. } => "get-fsinfo and get-osinfo",
            _ => return Some(hint),
        };
        Some(format!("{hint}. Without a command, GET …/agent/{reads} show much of a VM").into())
    }
}
