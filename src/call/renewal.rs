//! The second plan of a call in a list, right before it is sent: the calls before it have changed the cluster.

use super::confirm::Confirmed;
use super::error::CallError;
use super::handle::ClusterHandle;
use super::plan::{GuestCheck, plan_call};
use super::planned_call::CallPurpose;

impl Confirmed<'_> {
    /// Plans and authorizes the call again. `cluster` looks up the facts.
    ///
    /// # Errors
    /// The call is not possible or not allowed any more, or would be another one. Its guest may be on another node.
    pub fn renew<'h>(&'h self, cluster: &'h ClusterHandle<'h>) -> Result<Confirmed<'h>, CallError> {
        let CallPurpose::Requested(spec) = self.planned().purpose else {
            unreachable!("only calls that the caller asked for are in a list")
        };
        let authorized = plan_call(cluster, spec, GuestCheck::IfNeeded)?.authorize()?;
        Ok(self.with_new_plan(authorized)?)
    }
}
