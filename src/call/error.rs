//! The error of any step of a call.

use super::confirm::{ConfirmationError, ConfirmationRequired};
use super::denied_call::DeniedCall;
use super::execute::ExecuteError;
use super::follow::WatchError;
use super::lookup_error::LookupError;
use super::plan_error::PlanError;
use super::preconditions::CertainFailures;
use crate::base::hint::Hint;
use crate::pve::error::PveError;
use std::borrow::Cow;

/// The error of any step of a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Denied(#[from] DeniedCall),
    #[error(transparent)]
    Confirmation(#[from] ConfirmationError),
    #[error(transparent)]
    ConfirmationRequired(#[from] ConfirmationRequired),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    CertainFailure(#[from] CertainFailures),
}

impl CallError {
    /// Returns whether the error has to be completed by the fact that nothing was sent.
    pub fn must_say_nothing_was_sent(&self) -> bool {
        match self {
            Self::Plan(error) => !error.says_nothing_was_sent(),
            Self::Confirmation(error) => !error.says_nothing_was_sent(),
            Self::CertainFailure(failures) => !failures.says_nothing_was_sent(),
            Self::Denied(_) | Self::ConfirmationRequired(_) => true,
            Self::Execute(error) => {
                matches!(error, ExecuteError::AuditLog(_) | ExecuteError::Denied(_) | ExecuteError::CertainFailure(_))
            }
            Self::Lookup(_) | Self::Watch(_) => false,
        }
    }

    /// Adds another call that is denied for the same reason. Returns whether it is.
    pub fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Denied(denied) | Self::Plan(PlanError::Denied(denied)),
                Self::Denied(other) | Self::Plan(PlanError::Denied(other)),
            ) => denied.absorb(other),
            _ => false,
        }
    }

    /// Returns whether the call was sent and may have taken effect.
    pub fn is_outcome_unknown(&self) -> bool {
        let Self::Execute(ExecuteError::Api(failure)) = self else { return false };
        matches!(failure.error, PveError::OutcomeUnknown { .. })
    }
}

impl Hint for CallError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Denied(error) => error.hint(),
            Self::Confirmation(error) => error.hint(),
            Self::ConfirmationRequired(error) => error.hint(),
            Self::Execute(error) => error.hint(),
            Self::Lookup(error) => error.hint(),
            Self::Watch(error) => error.hint(),
            Self::CertainFailure(failures) => failures.hint(),
        }
    }
}
