//! The reasons for which a call is denied.

use super::access::AccessLevel;
use super::implied_calls::ImpliedCall;
use super::pattern::OperationPattern;
use super::risk::Risk;
use crate::base::hint::Hint;
use std::borrow::Cow;
use std::fmt;

/// The reason for which the policy denies a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("it needs access \"{needed}\" ({risk}), but {holder} has \"{granted}\"")]
    AccessLevel { needed: AccessLevel, granted: AccessLevel, risk: Risk, holder: PermissionHolder },
    #[error("it needs \"exec\" ({risk}), which {holder} does not have")]
    Exec { risk: Risk, holder: PermissionHolder },
    #[error("the \"deny\" list of {holder} has \"{pattern}\"")]
    DenyList { pattern: OperationPattern, holder: PermissionHolder },
    /// The call does what a denied one does.
    #[error("{implied}, and the \"deny\" list of {holder} has \"{pattern}\"")]
    DenyImplied { implied: Box<ImpliedCall>, pattern: OperationPattern, holder: PermissionHolder },
    #[error("{0} has an \"allow\" list, and this operation is not on it")]
    AllowList(PermissionHolder),
    /// The call does what another one does, by a parameter.
    #[error("{implied}, and the \"allow\" list of {holder} does not have that")]
    AllowImplied { implied: Box<ImpliedCall>, holder: PermissionHolder },
    #[error("guest {0} is protected")]
    ProtectedGuest(u32),
    #[error("pool {0} is protected")]
    ProtectedPool(String),
    /// Protected guests in a larger scope, such as a node. The text lists numbers and names.
    #[error("it affects protected guests: {0}")]
    ProtectedGuests(String),
    #[error("guests are protected, and the guests that the call affects are not known ({cause})")]
    UnknownScope { cause: String, next_step: Option<String> },
    #[error(
        "guest {0} is protected and not in the list of guests, so the call may affect it (the API token needs \
         VM.Audit on it; if the guest does not exist, remove it from \"protect\")"
    )]
    UnlistedProtectedGuest(u32),
    #[error(
        "guests are protected by pool or tag, and guest {0} is not in the list of guests (a new one appears \
         within seconds; the API token needs VM.Audit on it)"
    )]
    UnlistedGuest(u32),
    #[error(
        "guests are protected by pool or tag, the call may affect any guest, and the API token does not \
         see every guest (it needs VM.Audit on /vms)"
    )]
    HiddenGuests,
    #[error(
        "guests are protected, and the API token does not see which guests are in pool {0} (it needs \
         Pool.Audit on /pool/{0})"
    )]
    HiddenPool(String),
    /// The call waited, and the rights of its client changed before it was sent.
    #[error("the operator removed this client or replaced its token")]
    RemovedClient,
    /// See [`Denial::RemovedClient`].
    #[error("the operator took this cluster away from this client")]
    RemovedCluster,
    /// See [`Denial::RemovedClient`].
    #[error("the operator changed the rules, and it now has to be confirmed")]
    Unconfirmed,
}

impl Hint for Denial {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let rule = "only the operator of this server can change that, in clusters.json";
        Some(match self {
            Self::UnknownScope { next_step: Some(step), .. } => format!("{step}; {rule}").into(),
            Self::HiddenGuests | Self::HiddenPool(_) => {
                "only the operator of this server can grant the privilege to the token, in Proxmox".into()
            }
            Self::Unconfirmed => "call again to get the question".into(),
            Self::AccessLevel { needed, holder, .. } => format!("{rule}: \"access\": \"{needed}\" of {holder}").into(),
            Self::Exec { holder, .. } => format!("{rule}: \"exec\": true of {holder}").into(),
            Self::AllowList(holder) | Self::AllowImplied { holder, .. } => {
                format!("{rule}: the operation in \"allow\" of {holder}").into()
            }
            Self::DenyList { holder, .. } | Self::DenyImplied { holder, .. } => {
                format!("{rule}: without that pattern in \"deny\" of {holder}").into()
            }
            Self::ProtectedGuest(_) | Self::ProtectedPool(_) | Self::ProtectedGuests(_) => {
                format!("{rule}: \"protect\" of this cluster or client").into()
            }
            _ => rule.into(),
        })
    }
}

/// The side whose permissions are too low for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionHolder {
    Client(String),
    Cluster,
}

impl fmt::Display for PermissionHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "client \"{name}\""),
            Self::Cluster => f.write_str("this cluster"),
        }
    }
}
