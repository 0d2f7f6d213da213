//! The confirmation of a call by the client's user.

use super::authorize::Authorized;
use super::confirmation_codes::{CallBinding, CodeError, ConfirmationChannel};
use super::planned_call::PlannedCall;
use crate::audit::AuditDecision;
use crate::base::hint::{Hint, render_error};
use crate::policy::Risk;
use crate::render::question::{AffectedText, build_question};
use std::borrow::Cow;

/// The longest question that a user can be expected to read.
const MAX_QUESTION_BYTES: usize = 8 << 10;

/// An authorized call that is confirmed, or needs no confirmation. Only this can be sent.
pub struct Confirmed<'a> {
    planned: PlannedCall<'a>,
    decision: AuditDecision,
}

/// The confirmation that a caller offers.
pub struct ConfirmationInput<'a> {
    /// The code of an earlier answer.
    pub code: Option<&'a str>,
    pub dialog: UserDialog,
}

/// The state of the dialog with the client's user.
pub enum UserDialog {
    /// The client can't ask its user.
    Unavailable,
    /// The client can ask its user, and has not done so yet.
    NotAsked,
    /// The user has answered the question with this code.
    Answered { code: String, agreed: bool },
}

/// A question for the client's user.
#[derive(Debug)]
pub struct Question {
    pub text: String,
    /// Confirms the call, once, together with a positive answer.
    pub code: String,
    /// The client asks its user. Otherwise the caller repeats the call with the code.
    pub asks_user: bool,
    /// The reason why the code of the call was rejected.
    pub rejected_code: Option<CodeError>,
}

/// The reason why a call is not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmationError {
    #[error("this has to be confirmed")]
    Required(Box<Question>),
    #[error("this has to be confirmed, and is too long to be read by the user who confirms it ({bytes} bytes)")]
    TooLong { bytes: usize },
    #[error("refused: {0}")]
    Rejected(#[from] Rejection),
}

/// The reason why a confirmation is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the user did not confirm it")]
    UserDeclined,
    #[error(transparent)]
    InvalidCode(CodeError),
    #[error("the state of the question was changed, has expired or belongs to another call")]
    InvalidState,
    #[error("the system returns no random bytes for a confirmation code")]
    NoRandomBytes,
}

/// A call that can't be sent without a confirmation.
#[derive(Debug, thiserror::Error)]
#[error("{operation} ({risk}) has to be confirmed")]
pub struct ConfirmationRequired {
    operation: String,
    risk: Risk,
}

impl Hint for ConfirmationError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Required(_) => None,
            Self::TooLong { .. } => Some("send less at once".into()),
            Self::Rejected(Rejection::InvalidCode(_)) => Some("call again to get a new question".into()),
            Self::Rejected(_) => None,
        }
    }
}

impl Hint for ConfirmationRequired {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("proxmox_api_call asks for the confirmation".into())
    }
}

impl<'a> Authorized<'a> {
    /// Confirms the call by a code or by the answer of the client's user, where the policy demands it.
    ///
    /// # Errors
    /// The call is not confirmed. The error has the question.
    pub fn confirm(self, input: ConfirmationInput<'_>) -> Result<Confirmed<'a>, ConfirmationError> {
        if !self.needs_confirmation() {
            return Ok(Confirmed { planned: self.into_planned(), decision: AuditDecision::Allowed });
        }
        let planned = self.planned();
        let question = build_question_text(planned);
        if question.len() > MAX_QUESTION_BYTES {
            return Err(ConfirmationError::TooLong { bytes: question.len() });
        }
        match check_confirmation(planned, input, question) {
            Ok(()) => Ok(Confirmed { planned: self.into_planned(), decision: AuditDecision::Confirmed }),
            Err(error) => {
                match &error {
                    ConfirmationError::Rejected(rejection) => planned.audited().record_denial(rejection),
                    _ => planned.audited().record_confirmation_request(),
                }
                Err(error)
            }
        }
    }

    /// Records that the caller sent an invalid confirmation, so the call ends.
    pub fn reject_confirmation(self, rejection: Rejection) {
        self.planned().audited().record_denial(&rejection);
    }

    /// Returns the call as confirmed if it stops a task that the client's own call started. The end of one's own work is
    /// asked only where every change is.
    pub fn confirm_own_stop(mut self) -> Result<Confirmed<'a>, ConfirmationRequired> {
        self.planned_mut().risk.disruptive = false;
        self.without_confirmation()
    }

    /// Returns the call as confirmed if it needs no confirmation. Otherwise it is denied, since its caller can't ask.
    pub fn without_confirmation(self) -> Result<Confirmed<'a>, ConfirmationRequired> {
        if self.needs_confirmation() {
            let planned = self.planned();
            let error = ConfirmationRequired { operation: planned.operation_line(), risk: planned.risk };
            planned.audited().record_denial(&error);
            return Err(error);
        }
        Ok(Confirmed { planned: self.into_planned(), decision: AuditDecision::Allowed })
    }
}

impl<'a> Confirmed<'a> {
    pub(super) fn planned(&self) -> &PlannedCall<'a> {
        &self.planned
    }

    pub(super) fn decision(&self) -> AuditDecision {
        self.decision
    }
}

/// Redeems the confirmation, or returns the question.
fn check_confirmation(
    planned: &PlannedCall<'_>,
    input: ConfirmationInput<'_>,
    question: String,
) -> Result<(), ConfirmationError> {
    let (codes, origin) = (planned.cluster.scope.confirmation_codes, planned.cluster.scope.origin);
    let binding = CallBinding {
        client: &origin.client.name,
        cluster: planned.cluster.name(),
        operation: &planned.operation_line(),
        parameters: &planned.params.encode(),
    };
    let asks_user = match input.dialog {
        UserDialog::Answered { code, agreed } => {
            // A question is answered once, with either answer.
            let redeemed = codes.redeem(ConfirmationChannel::Elicitation, &code, &binding);
            return match redeemed {
                _ if !agreed => Err(Rejection::UserDeclined.into()),
                Ok(()) => Ok(()),
                Err(error) => Err(Rejection::InvalidCode(error).into()),
            };
        }
        UserDialog::NotAsked => true,
        UserDialog::Unavailable => false,
    };
    let redeemed = input.code.map(|code| codes.redeem(ConfirmationChannel::Argument, code.trim(), &binding));
    let rejected_code = match redeemed {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) => Some(error),
        None => None,
    };
    let channel = if asks_user { ConfirmationChannel::Elicitation } else { ConfirmationChannel::Argument };
    let code = codes.issue(channel, &binding).map_err(|_| Rejection::NoRandomBytes)?;
    Err(ConfirmationError::Required(Box::new(Question { text: question, code, asks_user, rejected_code })))
}

/// Builds the question from the plan, and from no text of the caller. Looks up the affected guests.
fn build_question_text(planned: &PlannedCall<'_>) -> String {
    if planned.affected.is_empty() {
        return build_question(&planned.describe(), AffectedText::None);
    }
    let guests = match &planned.guests {
        Some(view) => view.guests.clone(),
        None => planned.cluster.look_up_guests(),
    };
    let affected = match guests {
        Ok(guests) => AffectedText::Guests(planned.affected.select_from(guests).collect()),
        Err(error) => AffectedText::Unknown(render_error(&*error)),
    };
    build_question(&planned.describe(), affected)
}
