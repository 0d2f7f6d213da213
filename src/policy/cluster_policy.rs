//! The operator's rules for one cluster.

use super::access::{AccessLevel, ConfirmationPolicy, Confirmer, Permissions};
use super::guest_selector::GuestSelector;
use super::pattern::OperationPattern;
use std::fmt;

/// The operator's rules for the calls to one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// The upper limit for every client.
    pub permissions: Permissions,
    pub confirm: ConfirmationPolicy,
    pub confirm_by: Confirmer,
    /// Operations that are denied.
    pub deny: Vec<OperationPattern>,
    /// The only operations that are allowed, if there is a list.
    pub allow: Option<Vec<OperationPattern>>,
    /// Guests that calls must not change.
    pub protect: Vec<GuestSelector>,
}

impl Default for ClusterPolicy {
    /// Allows everything except commands. Calls that can't be undone need a confirmation.
    fn default() -> Self {
        Self {
            permissions: Permissions { access: AccessLevel::Full, exec: false },
            confirm: ConfirmationPolicy::Destructive,
            confirm_by: Confirmer::Client,
            deny: Vec::new(),
            allow: None,
            protect: Vec::new(),
        }
    }
}

impl fmt::Display for ClusterPolicy {
    /// Writes access, confirmation and the lengths of the lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access {}, confirm {}", self.permissions, self.confirm)?;
        if self.confirm_by == Confirmer::Operator {
            write!(f, " by {}", self.confirm_by)?;
        }
        let allowed = self.allow.as_ref().map(Vec::len);
        for (list, length) in [
            ("denied", Some(self.deny.len()).filter(|n| *n > 0)),
            ("allowed", allowed),
            ("protected", Some(self.protect.len()).filter(|n| *n > 0)),
        ] {
            if let Some(length) = length {
                write!(f, ", {length} {list}")?;
            }
        }
        Ok(())
    }
}
