//! The confirmation of calls by the client's user.

use super::approvals::{ApprovalRequest, ApprovalStep, CannotWait, PendingApproval};
use super::authorize::Authorized;
use super::confirmation_codes::{BoundCall, CallBinding, CodeError, ConfirmationChannel, ConfirmationCodes};
use super::descriptions::describe_all;
use super::planned_call::{CallPurpose, PlannedCall};
use super::preconditions::{CertainFailures, check_conflicts};
use crate::audit::AuditDecision;
use crate::base::hint::Hint;
use crate::policy::{Confirmer, Risk};
use crate::render::question::build_question;
use std::borrow::Cow;
use std::time::Duration;

/// The longest question that a user can be expected to read.
const MAX_QUESTION_BYTES: usize = 8 << 10;
/// The least time in which a person can read a question and decide. A client that declines earlier has asked no person.
const MIN_READING_TIME: Duration = Duration::from_secs(1);

/// An authorized call that is confirmed, or needs no confirmation. Only this can be sent.
pub struct Confirmed<'a> {
    planned: PlannedCall<'a>,
    decision: AuditDecision,
    /// `None` if it needs no confirmation.
    confirmed_by: Option<Confirmer>,
    /// The way and the time of the confirmation.
    reason: Option<String>,
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
    /// The client has answered the question with this code.
    Answered { code: String, answer: UserAnswer },
}

/// The answer to a question, as the client reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAnswer {
    Accepted,
    Declined,
    /// The question was closed without a decision.
    Cancelled,
    /// The client sent no answer that the protocol knows.
    Missing,
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
    #[error("a person has to approve this outside of the chat (approval {})", .0.id)]
    ApprovalPending(Box<PendingApproval>),
    #[error("refused: {0}")]
    Rejected(#[from] Rejection),
    /// No question is asked about calls that would fail.
    #[error(transparent)]
    CertainFailure(Box<CertainFailures>),
}

/// The reason why a confirmation is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the user declined it")]
    UserDeclined,
    #[error("the user closed the question without an answer")]
    UserCancelled,
    #[error(
        "the client {} the question within {} ms, before a person could read it: it probably can't show questions",
        if *.cancelled { "cancelled" } else { "declined" }, .after.as_millis()
    )]
    ClientDeclined { cancelled: bool, after: Duration },
    #[error("the client sent no answer to the question")]
    NoAnswer,
    #[error(transparent)]
    InvalidCode(CodeError),
    #[error("the state of the question was changed, has expired or belongs to another call")]
    InvalidState,
    #[error("the system returns no random bytes for a confirmation code")]
    NoRandomBytes,
    #[error("a person denied it")]
    OperatorDenied,
    #[error("a person has to approve it outside of the chat, and no other client may approve calls to this cluster")]
    NoApprover,
    #[error("too many calls wait for the approval of a person")]
    TooManyApprovals,
    #[error("the cluster has changed since the list was checked, so it would be another call now")]
    OtherCallNow,
}

/// A call that can't be sent without a confirmation.
#[derive(Debug, thiserror::Error)]
#[error("{operation} ({risk}) has to be confirmed")]
pub struct ConfirmationRequired {
    operation: String,
    risk: Risk,
}

impl Rejection {
    /// Returns the decision that the audit log records.
    fn decision(self) -> AuditDecision {
        match self {
            Self::UserDeclined | Self::UserCancelled | Self::OperatorDenied => AuditDecision::Declined,
            Self::ClientDeclined { .. } => AuditDecision::Unattended,
            Self::NoAnswer
            | Self::InvalidCode(_)
            | Self::InvalidState
            | Self::NoRandomBytes
            | Self::NoApprover
            | Self::TooManyApprovals
            | Self::OtherCallNow => AuditDecision::Denied,
        }
    }
}

impl Hint for ConfirmationError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Required(_) | Self::ApprovalPending(_) => return None,
            Self::CertainFailure(failures) => return failures.hint(),
            Self::TooLong { .. } => "send less at once",
            Self::Rejected(Rejection::UserDeclined | Rejection::UserCancelled | Rejection::OperatorDenied) => {
                "ask the user what to do instead, before you make this call again"
            }
            Self::Rejected(Rejection::ClientDeclined { .. }) => {
                "make this call in an interactive client, where a person approves it. The operator can also set \
                 \"confirm\" of this cluster in clusters.json"
            }
            Self::Rejected(Rejection::NoAnswer | Rejection::InvalidCode(_)) => "call again to get a new question",
            Self::Rejected(Rejection::NoApprover) => {
                "the operator of this server gives another client \"approve\": true in clusters.json, and starts a stdio \
                 server with --page-listen"
            }
            Self::Rejected(Rejection::TooManyApprovals) => "wait until a person has decided on some of them",
            Self::Rejected(Rejection::OtherCallNow) => "look at the object, then make this call by itself",
            Self::Rejected(Rejection::InvalidState | Rejection::NoRandomBytes) => return None,
        };
        Some(hint.into())
    }
}

impl Hint for ConfirmationRequired {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("proxmox_api_call asks for the confirmation".into())
    }
}

impl ConfirmationError {
    /// Returns whether the text of the error already says that nothing was sent.
    pub(super) fn says_nothing_was_sent(&self) -> bool {
        matches!(self, Self::CertainFailure(failures) if failures.says_nothing_was_sent())
    }
}

impl<'a> Authorized<'a> {
    /// Confirms the call by a code or by the answer of the client's user, where the policy demands it.
    ///
    /// # Errors
    /// The call is not confirmed. The error has the question.
    pub fn confirm(self, input: ConfirmationInput<'_>) -> Result<Confirmed<'a>, ConfirmationError> {
        let mut confirmed = confirm_all(vec![self], input)?;
        Ok(confirmed.pop().expect("one call is confirmed as one call"))
    }

    /// Records that the caller sent an invalid confirmation, so the call ends.
    pub fn reject_confirmation(&self, rejection: Rejection) {
        self.record_rejection(rejection);
    }

    fn record_rejection(&self, rejection: Rejection) {
        self.planned().audited().record_rejection(rejection.decision(), &rejection);
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
        Ok(self.into_allowed())
    }

    fn into_confirmed(self, by: Confirmer, reason: &str) -> Confirmed<'a> {
        Confirmed {
            planned: self.into_planned(),
            decision: AuditDecision::Confirmed,
            confirmed_by: Some(by),
            reason: Some(reason.to_owned()),
        }
    }

    fn into_allowed(self) -> Confirmed<'a> {
        Confirmed { planned: self.into_planned(), decision: AuditDecision::Allowed, confirmed_by: None, reason: None }
    }
}

/// Confirms calls to one cluster together, by one code or one answer of the client's user. If the policy demands it for
/// one of them, the question shows all of them.
///
/// # Errors
/// The calls are not confirmed. The error has the question.
pub fn confirm_all<'a>(
    calls: Vec<Authorized<'a>>,
    input: ConfirmationInput<'_>,
) -> Result<Vec<Confirmed<'a>>, ConfirmationError> {
    let is_dry_run =
        |call: &Authorized<'_>| matches!(call.planned().purpose, CallPurpose::Requested(spec) if spec.is_dry_run);
    assert!(!calls.iter().any(is_dry_run), "a dry run is described, and never confirmed");
    if !calls.iter().any(Authorized::needs_confirmation) {
        let planned: Vec<_> = calls.iter().map(Authorized::planned).collect();
        check_conflicts(&planned).map_err(|failures| refuse_certain_failures(&planned, failures))?;
        return Ok(calls.into_iter().map(Authorized::into_allowed).collect());
    }
    if calls.iter().any(|call| call.confirmer() == Confirmer::Operator) {
        return confirm_by_operator(calls, &input);
    }
    let asks_user = input.dialog.asks_user();
    match redeem_confirmation(&calls, &input) {
        Ok(Redemption::Confirmed { age }) => {
            let way = if asks_user { "the client accepted" } else { "the model sent the code of" };
            let reason = format!("{way} the question after {} ms", age.as_millis());
            Ok(calls.into_iter().map(|call| call.into_confirmed(Confirmer::Client, &reason)).collect())
        }
        Ok(Redemption::Missing { rejected_code }) => Err(ask(&calls, asks_user, rejected_code)),
        Err(rejection) => {
            calls.iter().for_each(|call| call.record_rejection(rejection));
            Err(rejection.into())
        }
    }
}

/// Confirms calls by the approval of a person outside of the chat. Without one, they wait for it.
fn confirm_by_operator<'a>(
    calls: Vec<Authorized<'a>>,
    input: &ConfirmationInput<'_>,
) -> Result<Vec<Confirmed<'a>>, ConfirmationError> {
    let scope = calls.first().expect("only calls are confirmed").planned().cluster.scope;
    let now = scope.confirmation_codes.elapsed_millis();
    let reject = |rejection: Rejection| {
        calls.iter().for_each(|call| call.record_rejection(rejection));
        Err(rejection.into())
    };
    let fingerprint = with_binding(&calls, |codes, binding| codes.fingerprint(binding));
    // The user of the client does not want to open the page.
    if let UserDialog::Answered { answer: UserAnswer::Declined | UserAnswer::Cancelled, .. } = input.dialog {
        scope.approvals.withdraw(scope.origin.client, &fingerprint, now);
        return reject(Rejection::UserDeclined);
    }
    let request = ApprovalRequest {
        client: scope.origin.client,
        cluster: calls.first().expect("only calls are confirmed").planned().cluster.name(),
        fingerprint,
        operations: calls.iter().map(|call| call.planned().audited().to_waiting_operation()).collect(),
        plan: build_text(&calls)?,
        transport: scope.origin.transport,
        call_id: scope.origin.id,
    };
    match scope.approvals.request(request, now) {
        Ok(ApprovalStep::Approved { by, id, after }) => {
            let reason = format!("client {by} approved it (approval {id}), {} ms ago", after.as_millis());
            Ok(calls.into_iter().map(|call| call.into_confirmed(Confirmer::Operator, &reason)).collect())
        }
        Ok(ApprovalStep::Pending(pending)) => {
            for call in &calls {
                let audited = call.planned().audited();
                if pending.is_new { audited.record_approval_request(&pending.id) } else { audited.observe_request() }
            }
            Err(ConfirmationError::ApprovalPending(Box::new(pending)))
        }
        Ok(ApprovalStep::Denied) => reject(Rejection::OperatorDenied),
        Err(CannotWait::NoApprover) => reject(Rejection::NoApprover),
        Err(CannotWait::TooMany) => reject(Rejection::TooManyApprovals),
        Err(CannotWait::NoRandomBytes) => reject(Rejection::NoRandomBytes),
    }
}

/// Returns the text of the question about these calls. A text that no person can be expected to read is recorded as a
/// denial.
fn build_text(calls: &[Authorized<'_>]) -> Result<String, ConfirmationError> {
    let planned: Vec<_> = calls.iter().map(Authorized::planned).collect();
    let text = describe_all(&planned, planned.len() > 1, build_question)
        .map_err(|failures| refuse_certain_failures(&planned, failures))?;
    if text.len() > MAX_QUESTION_BYTES {
        let error = ConfirmationError::TooLong { bytes: text.len() };
        planned.iter().for_each(|planned| planned.audited().record_denial(&error));
        return Err(error);
    }
    Ok(text)
}

fn refuse_certain_failures(calls: &[&PlannedCall<'_>], failures: CertainFailures) -> ConfirmationError {
    calls.iter().for_each(|call| call.audited().observe_request());
    ConfirmationError::CertainFailure(Box::new(failures))
}

/// Returns the question about these calls, with a new code.
fn ask(calls: &[Authorized<'_>], asks_user: bool, rejected_code: Option<CodeError>) -> ConfirmationError {
    let text = match build_text(calls) {
        Ok(text) => text,
        Err(error) => return error,
    };
    let channel = if asks_user { ConfirmationChannel::Elicitation } else { ConfirmationChannel::Argument };
    match with_binding(calls, |codes, binding| codes.issue(channel, binding)) {
        Ok(code) => {
            calls.iter().for_each(|call| call.planned().audited().record_confirmation_request());
            ConfirmationError::Required(Box::new(Question { text, code, asks_user, rejected_code }))
        }
        Err(_) => {
            calls.iter().for_each(|call| call.record_rejection(Rejection::NoRandomBytes));
            Rejection::NoRandomBytes.into()
        }
    }
}

impl<'a> Confirmed<'a> {
    /// Returns the same call with a newer plan.
    pub(super) fn with_new_plan<'h>(&self, authorized: Authorized<'h>) -> Result<Confirmed<'h>, ConfirmationError> {
        if !self.planned.is_same_call(authorized.planned()) {
            authorized.record_rejection(Rejection::OtherCallNow);
            return Err(Rejection::OtherCallNow.into());
        }
        let (decision, confirmed_by, reason) = (self.decision, self.confirmed_by, self.reason.clone());
        Ok(Confirmed { planned: authorized.into_planned(), decision, confirmed_by, reason })
    }

    /// Returns method and path as they are sent.
    pub fn operation(&self) -> String {
        self.planned.operation_line()
    }

    pub(super) fn planned(&self) -> &PlannedCall<'a> {
        &self.planned
    }

    pub(super) fn add_notes(&mut self, notes: Vec<String>) {
        self.planned.notes.extend(notes);
    }

    pub(super) fn add_space_notes(&mut self, notes: Vec<String>) {
        self.planned.space_notes.extend(notes);
    }

    pub(super) fn decision(&self) -> AuditDecision {
        self.decision
    }

    pub(super) fn confirmed_by(&self) -> Option<Confirmer> {
        self.confirmed_by
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl UserDialog {
    /// Returns whether a question goes to the client's user.
    fn asks_user(&self) -> bool {
        !matches!(self, Self::Unavailable)
    }
}

/// The result of a confirmation that is not rejected.
enum Redemption {
    /// The answer or the code came this long after the question.
    Confirmed { age: Duration },
    /// The call has no valid confirmation, so the question is to be asked.
    Missing { rejected_code: Option<CodeError> },
}

/// Uses up the confirmation of the calls.
fn redeem_confirmation(calls: &[Authorized<'_>], input: &ConfirmationInput<'_>) -> Result<Redemption, Rejection> {
    let redeem = |channel, code| with_binding(calls, |codes, binding| codes.redeem(channel, code, binding));
    if let UserDialog::Answered { code, answer } = &input.dialog {
        // A question is answered once, with any answer.
        return judge_answer(*answer, redeem(ConfirmationChannel::Elicitation, code));
    }
    let redeemed = input.code.map(|code| redeem(ConfirmationChannel::Argument, code.trim()));
    Ok(match redeemed {
        Some(Ok(age)) => Redemption::Confirmed { age },
        Some(Err(error)) => Redemption::Missing { rejected_code: Some(error) },
        None => Redemption::Missing { rejected_code: None },
    })
}

/// Returns the meaning of an answer. `age` is the time since the question, if its code is valid.
fn judge_answer(answer: UserAnswer, age: Result<Duration, CodeError>) -> Result<Redemption, Rejection> {
    match (answer, age) {
        (UserAnswer::Accepted, Ok(age)) => Ok(Redemption::Confirmed { age }),
        (UserAnswer::Accepted, Err(error)) => Err(Rejection::InvalidCode(error)),
        (UserAnswer::Declined | UserAnswer::Cancelled, Ok(after)) if after < MIN_READING_TIME => {
            Err(Rejection::ClientDeclined { cancelled: answer == UserAnswer::Cancelled, after })
        }
        (UserAnswer::Declined, _) => Err(Rejection::UserDeclined),
        (UserAnswer::Cancelled, _) => Err(Rejection::UserCancelled),
        (UserAnswer::Missing, _) => Err(Rejection::NoAnswer),
    }
}

/// Passes the codes, and what binds one to these calls, to `run`.
fn with_binding<T>(calls: &[Authorized<'_>], run: impl FnOnce(&ConfirmationCodes, &CallBinding<'_>) -> T) -> T {
    let planned = calls.iter().map(Authorized::planned);
    let bound = planned.map(|call| BoundCall { operation: call.operation_line(), parameters: call.params.encode() });
    let bound: Vec<_> = bound.collect();
    let cluster = calls.first().expect("only calls are confirmed").planned().cluster;
    let binding = CallBinding { client: &cluster.scope.origin.client.name, cluster: cluster.name(), calls: &bound };
    run(cluster.scope.confirmation_codes, &binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acceptance_with_a_valid_code_confirms() {
        let (early, late) = (MIN_READING_TIME - Duration::from_millis(1), MIN_READING_TIME);
        for answer in [UserAnswer::Accepted, UserAnswer::Declined, UserAnswer::Cancelled, UserAnswer::Missing] {
            for age in [Ok(early), Ok(late), Err(CodeError::Expired)] {
                let is_confirmed = matches!(judge_answer(answer, age), Ok(Redemption::Confirmed { .. }));
                assert_eq!(is_confirmed, answer == UserAnswer::Accepted && age.is_ok(), "{answer:?} {age:?}");
            }
        }
    }

    #[test]
    fn a_decline_before_a_person_can_read_is_the_client_s() {
        let (early, late) = (MIN_READING_TIME - Duration::from_millis(1), MIN_READING_TIME);
        let rejection = |answer, age| judge_answer(answer, age).err().expect("a rejection");
        for (answer, cancelled, by_user) in [
            (UserAnswer::Declined, false, Rejection::UserDeclined),
            (UserAnswer::Cancelled, true, Rejection::UserCancelled),
        ] {
            assert_eq!(rejection(answer, Ok(early)), Rejection::ClientDeclined { cancelled, after: early });
            assert_eq!(rejection(answer, Ok(late)), by_user);
            // Without a valid code, the time of the question is not known.
            assert_eq!(rejection(answer, Err(CodeError::Used)), by_user);
        }
    }
}
