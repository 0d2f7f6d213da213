//! The way of a call to a cluster's API, as types:
//!
//! [`CallSpec`] → [`PlannedCall`] → [`Authorized`] → [`Confirmed`] → [`Outcome`].
//!
//! - [`ClusterHandle::plan`] turns what the caller typed into a complete and checked request.
//! - [`PlannedCall::authorize`] is the only place that asks the policy.
//! - [`Authorized::confirm`] demands the confirmation of the client's user where the policy does.
//! - [`Confirmed::execute`] records, sends, and returns the response.
//!
//! A tool holds a [`ClusterHandle`], which gives no access to the client of the cluster. The reads that the server makes
//! by itself go the same way.
//!
//! # A call can't skip a step
//! The whole way compiles:
//! ```
//! use proxmox_mcp::call::{CallError, CallSpec, ClusterHandle, ConfirmationInput, Outcome};
//! fn run<'a>(
//!     cluster: &'a ClusterHandle<'a>,
//!     spec: CallSpec<'a>,
//!     input: ConfirmationInput<'_>,
//! ) -> Result<Outcome, CallError> {
//!     Ok(cluster.plan(spec)?.authorize()?.confirm(input)?.execute()?)
//! }
//! ```
//! A planned call can't be executed:
//! ```compile_fail,E0599
//! use proxmox_mcp::call::{CallError, CallSpec, ClusterHandle, ConfirmationInput, Outcome};
//! fn run<'a>(
//!     cluster: &'a ClusterHandle<'a>,
//!     spec: CallSpec<'a>,
//!     input: ConfirmationInput<'_>,
//! ) -> Result<Outcome, CallError> {
//!     Ok(cluster.plan(spec)?.execute()?)
//! }
//! ```
//! Nor can it be confirmed:
//! ```compile_fail,E0599
//! use proxmox_mcp::call::{CallError, CallSpec, ClusterHandle, ConfirmationInput, Outcome};
//! fn run<'a>(
//!     cluster: &'a ClusterHandle<'a>,
//!     spec: CallSpec<'a>,
//!     input: ConfirmationInput<'_>,
//! ) -> Result<Outcome, CallError> {
//!     Ok(cluster.plan(spec)?.confirm(input)?.execute()?)
//! }
//! ```
//! An authorized call can't be executed without its confirmation:
//! ```compile_fail,E0599
//! use proxmox_mcp::call::{CallError, CallSpec, ClusterHandle, ConfirmationInput, Outcome};
//! fn run<'a>(
//!     cluster: &'a ClusterHandle<'a>,
//!     spec: CallSpec<'a>,
//!     input: ConfirmationInput<'_>,
//! ) -> Result<Outcome, CallError> {
//!     Ok(cluster.plan(spec)?.authorize()?.execute()?)
//! }
//! ```
//! The authorization can't be made up, here or for a confirmation:
//! ```
//! use proxmox_mcp::call::{Authorized, DeniedCall, PlannedCall};
//! fn authorize(planned: PlannedCall<'_>) -> Result<Authorized<'_>, DeniedCall> {
//!     planned.authorize()
//! }
//! ```
//! ```compile_fail,E0451
//! use proxmox_mcp::call::{Authorized, DeniedCall, PlannedCall};
//! fn authorize(planned: PlannedCall<'_>) -> Result<Authorized<'_>, DeniedCall> {
//!     Ok(Authorized { planned })
//! }
//! ```
//! ```
//! use proxmox_mcp::call::{Authorized, ConfirmationRequired, Confirmed};
//! fn confirm(authorized: Authorized<'_>) -> Result<Confirmed<'_>, ConfirmationRequired> {
//!     authorized.without_confirmation()
//! }
//! ```
//! ```compile_fail,E0451
//! use proxmox_mcp::audit::AuditDecision;
//! use proxmox_mcp::call::{Confirmed, PlannedCall};
//! fn confirm(planned: PlannedCall<'_>) -> Confirmed<'_> {
//!     Confirmed { planned, decision: AuditDecision::Confirmed, reason: None }
//! }
//! ```
//! A handle does not give its cluster away:
//! ```
//! use proxmox_mcp::call::ClusterHandle;
//! fn name<'a>(handle: &ClusterHandle<'a>) -> &'a str {
//!     handle.name()
//! }
//! ```
//! ```compile_fail,E0616
//! use proxmox_mcp::call::ClusterHandle;
//! fn name<'a>(handle: &ClusterHandle<'a>) -> &'a str {
//!     &handle.cluster.settings().name
//! }
//! ```
//! Nor does its entry in the list of clusters give the settings away:
//! ```
//! use proxmox_mcp::call::ClusterHandle;
//! fn name<'a>(handle: &ClusterHandle<'a>) -> &'a str {
//!     handle.listing_entry(None).name
//! }
//! ```
//! ```compile_fail,E0609
//! use proxmox_mcp::call::ClusterHandle;
//! fn name<'a>(handle: &ClusterHandle<'a>) -> &'a str {
//!     &handle.listing_entry(None).settings.name
//! }
//! ```

mod affected;
mod answer_facts;
mod approvals;
mod audit;
mod authorize;
mod backup_pruning;
mod call_objects;
mod changed_object;
mod confirm;
mod confirmation_codes;
mod corrections;
mod denied_call;
mod descriptions;
mod earlier_calls;
mod error;
mod execute;
mod failure;
mod fan_out;
mod firewall_effect;
mod follow;
mod follow_up;
mod guest_backups;
mod guest_names;
mod guest_wait;
mod ha_placement;
mod handle;
mod judged_call;
mod list_undo;
mod lookup_error;
mod lookups;
mod name_checks;
mod node_limits;
mod operation;
mod plan;
mod plan_error;
mod planned_call;
mod planned_changes;
mod preconditions;
mod present_state;
mod relative_changes;
mod renewal;
mod resolve_path;
mod rights;
mod scope;
mod send;
mod service;
mod shared_object;
mod space_needs;
mod spec;
mod state_risks;
mod undo;
mod undo_disks;
mod visibility;

pub use crate::pve::client::cluster::ApiResponse;
pub use crate::pve::client::manager::SelectClusterError;
pub use approvals::{
    APPROVAL_LIFETIME, ApprovalDecision, ApprovalError, ApprovalNotice, ApprovalView, Approvals, Approver,
    DECISION_TIME, NoticeSink, PendingApproval,
};
pub use authorize::Authorized;
pub use call_objects::CallObjects;
pub use changed_object::{ChangedObject, ListEffects};
pub use confirm::{
    ConfirmationError, ConfirmationInput, ConfirmationRequired, Confirmed, Question, Rejection, UserAnswer, UserDialog,
    confirm_all,
};
pub use confirmation_codes::{CODE_LIFETIME, CodeError};
pub use denied_call::DeniedCall;
pub use descriptions::describe_dry_runs;
pub use error::CallError;
pub use execute::{ApiFailure, ExecuteError, Outcome};
pub use failure::Explanation;
pub use fan_out::fan_out;
pub use follow::{FindTaskError, TaskReport, TaskWatch, UnknownTask, WatchError, find_task_cluster};
pub use follow_up::{CommandEnd, FollowUpKind, FollowedGuestState, TaskFollowUp};
pub use guest_wait::{AwaitedGuest, GuestWait, GuestWaitEnd, GuestWaitError, UnknownState};
pub use handle::ClusterHandle;
pub use lookup_error::LookupError;
pub use operation::{expand_shorthand, find_operation, find_path, parse_path, split_leading_method};
pub use plan_error::{GuestError, PlanError, UnknownMethod, UnknownPath};
pub use planned_call::PlannedCall;
pub use preconditions::{CertainFailure, CertainFailures};
pub use scope::{CallObserver, CallOrigin, CallScope, ConfirmationStep, OperationDescription, RemovedClient};
pub use service::CallService;
pub use spec::CallSpec;
pub use visibility::VisibleClusters;
