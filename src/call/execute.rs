//! The execution of a confirmed call.

use super::changed_object::ChangedObject;
use super::confirm::Confirmed;
use super::denied_call::DeniedCall;
use super::failure::{Explanation, explain_failure, is_wrong_node};
use super::follow_up::FollowUpKind;
use super::handle::ClusterHandle;
use super::plan::{GuestCheck, plan_call};
use super::planned_call::{CallPurpose, PlannedCall};
use super::preconditions::CertainFailure;
use super::send::SendError;
use crate::audit::AuditWriteError;
use crate::base::hint::Hint;
use crate::base::json_scan::walk;
use crate::pve::client::cluster::ApiResponse;
use crate::pve::error::PveError;
use crate::pve::knowledge::answers::KnownAnswer;
use crate::pve::knowledge::filtered_lists;
use crate::pve::path::ApiPath;
use crate::pve::task::Upid;
use crate::render::labels::now_seconds;
use crate::render::outcome::ResponseNote;
use crate::render::output::{ReadingTime, TimeSpan, find_late_start};
use std::borrow::Cow;

/// The result of a call.
pub struct Outcome {
    /// As the caller may read it.
    pub response: ApiResponse,
    /// Facts that the response does not show.
    pub notes: Vec<String>,
    /// Notes on the space that storages had before the call. They are old once its task has ended well.
    pub space_notes: Vec<String>,
    /// The note for a caller that does not follow what happens after the answer.
    pub later: Option<ResponseNote>,
    /// Method and path.
    pub operation: String,
    pub path: ApiPath,
    /// The call may have changed something.
    pub is_change: bool,
    /// What happens after the answer, if it can be followed.
    pub follow_up: Option<FollowUpKind>,
    /// The object of a change, to be read again.
    pub changed: Option<ChangedObject>,
    /// The guest that the path means, for an answer that does not name it.
    pub location: Option<String>,
}

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error("{0}; without it nothing is changed")]
    AuditLog(AuditWriteError),
    /// The rights of the client changed before the call was sent.
    #[error(transparent)]
    Denied(Box<DeniedCall>),
    /// The guest is in a state in which the node refuses the call.
    #[error(transparent)]
    CertainFailure(Box<CertainFailure>),
    #[error(transparent)]
    Api(Box<ApiFailure>),
}

/// A call that the cluster did not answer with success.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{}", explanation_text(.explanation.as_ref()), notes_text(.notes))]
pub struct ApiFailure {
    pub error: PveError,
    pub explanation: Option<Explanation>,
    pub notes: Vec<String>,
}

impl Hint for ExecuteError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::AuditLog(error) => error.hint(),
            Self::Denied(denied) => denied.hint(),
            Self::CertainFailure(failure) => failure.hint(),
            Self::Api(failure) => {
                let next_step = failure.explanation.as_ref().and_then(|explanation| explanation.next_step.as_deref());
                match (failure.error.hint(), next_step) {
                    (Some(hint), Some(next_step)) => Some(format!("{hint}; {next_step}").into()),
                    (hint, next_step) => hint.or(next_step.map(Cow::from)),
                }
            }
        }
    }
}

impl Confirmed<'_> {
    /// Sends the call and returns the response. A read of a guest that is on another node is sent again there. A power
    /// action that the state of its guest excludes is not sent, since its task would fail after the answer.
    pub fn execute(mut self) -> Result<Outcome, ExecuteError> {
        let excluded = self.planned().find_excluded_power_action();
        let changes_nothing = matches!(excluded, Some(CertainFailure::GuestState { is_accepted: true, .. }));
        match excluded {
            Some(CertainFailure::GuestState { guest, state, is_accepted: true, .. }) => {
                let note = format!("{guest} {} already: the call changes nothing", state.describe());
                let note = self.planned().cluster.redact(note);
                self.add_notes(vec![note]);
            }
            Some(failure) => return Err(ExecuteError::CertainFailure(Box::new(failure))),
            None => {}
        }
        // A question has told it.
        if self.confirmed_by().is_none() {
            let (space, others) = self.planned().describe_circumstances();
            self.add_space_notes(space);
            self.add_notes(others);
        }
        let changed = self.planned().find_changed_object();
        let changed = if changes_nothing { changed.map(ChangedObject::without_undo) } else { changed };
        let error = match self.send() {
            Ok(response) => return complete(self.planned(), response, changed),
            Err(error) => error,
        };
        // The lists of the plan are older than the failure.
        let cluster = self.planned().cluster.with_new_lookups();
        if let SendError::Api(api) = &error
            && let Some(moved) = self.at_current_node(&cluster, api)
        {
            return match moved.send() {
                Ok(response) => complete(moved.planned(), response, None),
                // The first read was sent, so its error is the answer.
                Err(SendError::AuditLog(_) | SendError::Denied(_)) => {
                    Err(build_failure(&cluster, self.planned(), error))
                }
                Err(error) => Err(build_failure(&cluster, moved.planned(), error)),
            };
        }
        Err(build_failure(&cluster, self.planned(), error))
    }

    /// Plans a read that failed again, if the guest is on another node or of another kind.
    fn at_current_node<'h>(&'h self, cluster: &'h ClusterHandle<'h>, error: &PveError) -> Option<Confirmed<'h>> {
        let planned = self.planned();
        let CallPurpose::Requested(spec) = planned.purpose else { return None };
        if planned.is_change() || !is_wrong_node(error) {
            return None;
        }
        let moved = plan_call(cluster, spec, GuestCheck::Always).ok()?;
        if moved.path == planned.path || moved.risk != planned.risk {
            return None;
        }
        moved.authorize().ok()?.without_confirmation().ok()
    }
}

/// Returns the outcome of an answer. An answer of the guest agent may hold a failure.
fn complete(
    planned: &PlannedCall<'_>,
    response: ApiResponse,
    changed: Option<ChangedObject>,
) -> Result<Outcome, ExecuteError> {
    let answer = KnownAnswer::of_path(planned.path.as_str(), planned.is_sdn_list);
    if answer == KnownAnswer::GuestAgent
        && let Some(error) = PveError::from_agent_answer(response.data(), planned.operation_line())
    {
        return Err(build_failure(planned.cluster, planned, SendError::Api(error)));
    }
    if planned.is_change()
        && planned.path.as_str().ends_with("/config")
        && let Some(vmid) = planned.path_guest().and_then(|guest| guest.vmid.parse().ok())
    {
        planned.cluster.cluster.keep_changed_guest(vmid);
    }
    let response = planned.cluster.redact_response(answer.correct(response));
    let mut notes = planned.notes.clone();
    let follow_up = FollowUpKind::determine(planned, &response);
    let later = match follow_up {
        Some(FollowUpKind::Command { .. }) => Some(ResponseNote::CommandStarted),
        _ if asks_ha(planned, &response) => Some(ResponseNote::HaRequest),
        _ => None,
    };
    if later.is_none() {
        notes.extend(response_note(planned, &response).map(|note| note.to_string()));
    }
    notes.extend(planned.is_sdn_list.then(|| {
        "Proxmox VE 9 lists networks as type network, without a filter only: all was read, and these rows kept".into()
    }));
    notes.extend(describe_cut_log(planned, response.data()));
    notes.extend(describe_late_log(planned, response.data()));
    let operation = planned.operation_line();
    let (path, location) = (planned.path.clone(), planned.location.clone());
    let is_change = planned.is_change();
    let mut space_notes = planned.space_notes.clone();
    if Upid::parse(response.data().trim_matches('"')).is_err() {
        notes.append(&mut space_notes);
    }
    Ok(Outcome { response, notes, space_notes, later, operation, path, is_change, follow_up, changed, location })
}

/// The most lines of the log of a cluster that a node sends by default.
const DEFAULT_LOG_LINES: usize = 50;

/// Describes a log of the cluster that has as many lines as its limit. (PVE: the answer has no total.)
fn describe_cut_log(planned: &PlannedCall<'_>, data: &str) -> Option<String> {
    if planned.is_change() || planned.operation.template.as_deref() != Some("/cluster/log") {
        return None;
    }
    let given = planned.param("max");
    let max = given.map_or(Some(DEFAULT_LOG_LINES), |max| max.parse().ok())?;
    let mut sent = 0;
    // One line more than the limit tells enough.
    walk(data, &mut |_, _| {
        sent += 1;
        sent <= max
    });
    let limit = if given.is_some() { "max" } else { "the default of max" };
    (sent == max).then(|| format!("the node sent the newest {sent} lines, {limit}: params max=… gives more"))
}

/// Describes a system log whose first line is much later than the start of the range.
fn describe_late_log(planned: &PlannedCall<'_>, data: &str) -> Option<String> {
    let template = planned.operation.template.as_deref()?;
    let is_log = template.ends_with("/journal") || template.ends_with("/syslog");
    let is_from_start = planned.param("start").is_none_or(|start| start == "0");
    let since = planned.param("since").filter(|_| is_log && is_from_start && !planned.is_change() && data.len() > 2)?;
    let since = match since.parse::<u64>() {
        Ok(seconds) => {
            let offset = planned.cluster.find_known_utc_offset(&planned.path)?;
            seconds.saturating_add_signed(offset.into())
        }
        Err(_) => TimeSpan::parse(since, ReadingTime { utc_offset: 0, now: now_seconds() })?.first,
    };
    let first = find_late_start(data, since)?;
    Some(format!("the first line is of {first}, later than `since`: the node may keep none from before"))
}

/// Returns whether a call only asks the HA manager for a change.
fn asks_ha(planned: &PlannedCall<'_>, response: &ApiResponse) -> bool {
    Upid::parse(response.data()).is_ok_and(|upid| upid.is_ha_request()) || is_ha_resource_request(planned)
}

/// Returns whether a change of an HA resource asks the HA manager to start, stop or move the guest.
fn is_ha_resource_request(planned: &PlannedCall<'_>) -> bool {
    let template = planned.operation.template.as_deref().unwrap_or_default();
    let is_given = |wanted: &str| planned.params.names().any(|name| name == wanted);
    match template.strip_prefix("/cluster/ha/resources") {
        Some("/{sid}/migrate" | "/{sid}/relocate") => true,
        Some("/{sid}") => planned.is_change() && is_given("state"),
        Some("") => planned.is_change(),
        _ => false,
    }
}

/// Returns what the response does not say of itself.
fn response_note(planned: &PlannedCall<'_>, response: &ApiResponse) -> Option<ResponseNote> {
    let operation = &planned.operation;
    let template = operation.template.as_deref().unwrap_or_default();
    match response.data() {
        "[]" if !planned.is_change() && filtered_lists::is_filtered(template) => {
            let kind =
                planned.params.iter().find(|(name, _)| matches!(*name, "type" | "content")).map(|(_, kind)| kind);
            let kind = if planned.is_sdn_list { Some("sdn") } else { kind };
            match planned.cluster.find_missing_privileges(template, &planned.path, kind) {
                Some(missing) if missing.is_empty() => None,
                Some(missing) => Some(ResponseNote::Filtered(missing)),
                None => Some(ResponseNote::MaybeFiltered),
            }
        }
        "[]" if operation.may_be_filtered => Some(ResponseNote::MaybeFiltered),
        _ => None,
    }
}

/// Builds the error of a failed call. `cluster` looks up the facts that explain it.
fn build_failure(cluster: &ClusterHandle<'_>, planned: &PlannedCall<'_>, error: SendError) -> ExecuteError {
    match error {
        SendError::AuditLog(error) => ExecuteError::AuditLog(error),
        SendError::Denied(denied) => ExecuteError::Denied(Box::new(denied)),
        SendError::Api(error) => ExecuteError::Api(Box::new(ApiFailure {
            explanation: explain_failure(cluster, planned, &error),
            notes: planned.location.iter().chain(&planned.notes).chain(&planned.space_notes).cloned().collect(),
            error,
        })),
    }
}

fn explanation_text(explanation: Option<&Explanation>) -> String {
    explanation.map(|explanation| format!(". {}", explanation.text)).unwrap_or_default()
}

fn notes_text(notes: &[String]) -> String {
    notes.iter().map(|note| format!(" ({note})")).collect()
}
