//! The error of a read that the server makes by itself.

use super::denied_call::DeniedCall;
use crate::base::hint::Hint;
use crate::pve::error::{MalformedCause, PveError};
use crate::pve::knowledge::messages::Meaning;
use std::borrow::Cow;

/// The reason why a look-up, or a read of a tool's own, has no result.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error(transparent)]
    Denied(#[from] DeniedCall),
    #[error(transparent)]
    Failed(#[from] PveError),
}

impl LookupError {
    /// Returns whether any other call to the cluster would fail in the same way.
    pub(super) fn is_cluster_unreachable(&self) -> bool {
        match self {
            Self::Denied(_) => false,
            Self::Failed(error) => !matches!(
                error,
                PveError::Failed { .. }
                    | PveError::Forbidden { .. }
                    | PveError::ParametersRejected { .. }
                    | PveError::MalformedResponse { cause: MalformedCause::BodyTooLarge { .. }, .. }
            ),
        }
    }

    /// Returns whether the cluster has what was looked up, and answered with an error.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(error) if !matches!(error.status(), Some(404 | 501)))
            && !self.is_cluster_unreachable()
    }

    /// Returns whether what the look-up is about is not installed on the node.
    pub fn is_not_installed(&self) -> bool {
        matches!(self, Self::Failed(error) if error.meaning() == Meaning::NotInstalled)
    }

    /// Returns whether the node does not have the guest of the look-up.
    pub(super) fn is_missing_guest(&self) -> bool {
        matches!(self, Self::Failed(error) if error.meaning() == Meaning::MissingGuestConfig)
    }

    /// Returns the kind of the failure, without the names that differ between clusters.
    pub fn failure_kind(&self) -> String {
        match self {
            Self::Denied(_) => "denied".into(),
            Self::Failed(error) => {
                let cause = match error {
                    PveError::ConnectionFailed { .. } => error.detail().unwrap_or_default(),
                    PveError::BackingOff { .. } => Cow::Borrowed("backing off"),
                    _ => Cow::Borrowed(""),
                };
                format!("{} {} {cause}", error.kind(), error.status().unwrap_or_default())
            }
        }
    }

    /// Returns whether the text of the error already says that nothing was sent or changed.
    pub(super) fn says_nothing_was_sent(&self) -> bool {
        matches!(
            self,
            Self::Failed(
                PveError::ConnectionFailed { .. }
                    | PveError::RequestTooLarge { .. }
                    | PveError::UnsendablePath { .. }
                    | PveError::BackingOff { .. }
                    | PveError::Busy { .. }
                    | PveError::NotPermitted
            )
        )
    }
}

impl Hint for LookupError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Denied(denied) => denied.hint(),
            Self::Failed(error) => error.hint(),
        }
    }
}
