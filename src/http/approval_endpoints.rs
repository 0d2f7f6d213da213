//! The functions with which the binary supplies the calls that wait for a person.

use crate::mcp::context::Caller;
use serde::Deserialize;
use serde_json::Value;

/// Lists the calls that the caller may decide.
pub type ListApprovals = dyn Fn(&Caller) -> Result<Value, ApprovalRejection> + Send + Sync;

/// Decides about the call of an id.
pub type DecideApproval = dyn Fn(&Caller, &str, DecisionWord) -> Result<(), ApprovalRejection> + Send + Sync;

/// Functions with which the binary supplies the calls that wait.
pub struct ApprovalEndpoints {
    /// Returns the calls on which a client may decide.
    pub list: Box<ListApprovals>,
    /// Records a decision on the call with this id.
    pub decide: Box<DecideApproval>,
}

/// A request about approvals that is rejected.
pub struct ApprovalRejection {
    /// 403, 404, 409 or 503.
    pub status: u16,
    pub text: String,
}

/// The word for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionWord {
    Approve,
    Deny,
}
