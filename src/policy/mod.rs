//! The policy: the risk of an operation ([`Risk`]), the access of a client and of a cluster ([`AccessLevel`]), and the
//! operator's rules ([`ClusterPolicy`]).
//!
//! The policy depends on neither clusters nor clients. It receives a description of a call and allows or denies it. An
//! unknown fact counts as the worst case.

mod access;
mod cluster_policy;
mod denial;
mod effective_policy;
mod guest_selector;
mod implied_calls;
mod parameter_risks;
mod pattern;
mod risk;
mod value_condition;
mod vmids;

pub use access::{AccessLevel, ConfirmationPolicy, Confirmer, Permissions};
pub use cluster_policy::ClusterPolicy;
pub use denial::{Denial, PermissionHolder};
pub use effective_policy::{Action, ClientRules, EffectivePolicy};
pub use guest_selector::{GuestSelector, GuestSelectorError, is_in_pool};
pub use implied_calls::{ImpliedCall, ImplyingCall};
pub use parameter_risks::{AssessedCall, CallRules, RiskAssessment, RiskReason, SafeDefault};
pub use pattern::{OperationPattern, OperationPatternError, expand_shorthand};
pub use risk::{Risk, RiskKind};
pub use vmids::{
    DISK_PARAMETERS, TEXT_PARAMETERS, VMID_PARAMETERS, for_each_vmid_in_list, for_each_vmid_in_name,
    for_each_vmid_in_parameter, for_each_vmid_in_volume,
};
