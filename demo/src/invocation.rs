//! The call of an operation: its caller and its parameters.

use crate::error::{ApiError, ApiResult};
use crate::model::guest::{Guest, GuestKind};
use crate::options::Release;
use crate::parameters::RequestParams;
use crate::permissions::{Caller, has_privilege};
use crate::state::ClusterState;
use serde_json::Value;
use std::cell::Cell;

/// One call of an operation.
pub(crate) struct Invocation<'a> {
    pub(crate) caller: &'a Caller,
    /// The release of the node that performs the call.
    pub(crate) release: Release,
    /// The parts of the path, from `cluster`, `nodes` and so on.
    pub(crate) segments: &'a [String],
    /// Validated parameters of the path, the query and the body.
    pub(crate) params: RequestParams,
    /// The kind of guests in the path; [`GuestKind::Qemu`] in the paths of other things.
    pub(crate) guest_kind: GuestKind,
    /// Number of rows of a list that is answered in part, set by the handler.
    pub(crate) total: Cell<Option<usize>>,
}

impl Invocation<'_> {
    /// Returns an optional text.
    pub(crate) fn optional_text(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// Returns a text that the operation requires.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.optional_text(name).unwrap_or_else(|| panic!("no route of this handler requires the text '{name}'"))
    }

    /// Returns the items of a list, separated by commas, semicolons or spaces.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.optional_text(name).unwrap_or("").split([',', ';', ' ']).filter(|item| !item.is_empty())
    }

    /// Returns an optional whole number.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.params.get(name).and_then(Value::as_i64)
    }

    /// Returns an optional whole number that is not negative.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        self.integer(name).and_then(|n| usize::try_from(n).ok())
    }

    /// Returns true if an optional boolean is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.integer(name) == Some(1)
    }

    /// Returns a part of the path.
    pub(crate) fn segment(&self, index: usize) -> &str {
        self.segments.get(index).map_or("", String::as_str)
    }

    /// Returns the `{node}` of the path.
    pub(crate) fn node(&self) -> &str {
        self.text("node")
    }

    /// Returns a guest's id that the operation requires.
    pub(crate) fn guest_id(&self, name: &str) -> u32 {
        let id = self.integer(name).unwrap_or_else(|| panic!("no route of this handler requires the id '{name}'"));
        u32::try_from(id).expect("a validated guest id has at most nine digits")
    }

    /// Returns the `vmid` that the operation requires.
    pub(crate) fn vmid(&self) -> u32 {
        self.guest_id("vmid")
    }

    /// Returns the guest in the path.
    pub(crate) fn guest<'s>(&self, state: &'s ClusterState) -> ApiResult<&'s Guest> {
        state.guest(self.node(), self.guest_kind, self.vmid())
    }

    /// Returns the guest in the path, for a change.
    pub(crate) fn guest_mut<'s>(&self, state: &'s mut ClusterState) -> ApiResult<&'s mut Guest> {
        state.guest_mut(self.node(), self.guest_kind, self.vmid())
    }

    /// Returns true if the caller has the privilege on the path.
    pub(crate) fn allows(&self, state: &ClusterState, path: &str, privilege: &str) -> bool {
        has_privilege(state, self.caller, path, privilege)
    }

    /// Returns true if the caller has one of the privileges on the path.
    pub(crate) fn allows_any(&self, state: &ClusterState, path: &str, privileges: &[&str]) -> bool {
        privileges.iter().any(|privilege| self.allows(state, path, privilege))
    }

    /// Fails unless the caller has one of the privileges on the path.
    pub(crate) fn require_any(&self, state: &ClusterState, path: &str, privileges: &[&str]) -> ApiResult<()> {
        if self.allows_any(state, path, privileges) {
            Ok(())
        } else {
            Err(ApiError::Forbidden(format!("{path}, {}", privileges.join("|"))))
        }
    }

    /// Fails unless the caller has the privilege on the path. For rules that the routes cannot express.
    pub(crate) fn require(&self, state: &ClusterState, path: &str, privilege: &str) -> ApiResult<()> {
        self.require_any(state, path, &[privilege])
    }
}
