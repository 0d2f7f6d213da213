//! The description of calls with their objects, for questions and dry runs.

use super::authorize::Authorized;
use super::earlier_calls::EarlierCalls;
use super::fan_out::fan_out;
use super::list_undo::{ObjectLife, discard_void_undos};
use super::planned_call::PlannedCall;
use super::preconditions::{CertainFailure, CertainFailures};
use super::present_state::{ObjectReader, STATE_TIME_LIMIT};
use super::space_needs::find_storage_notes;
use crate::pve::Method;
use crate::pve::knowledge::effects::Fact;
use crate::pve::knowledge::preconditions::find_preconditions;
use crate::render::interface::push_family_changes;
use crate::render::object_state::{GuestState, ObjectState};
use crate::render::question::{CallDescription, describe_dry_run};
use std::time::{Duration, Instant};

/// The most calls whose objects are looked up at once.
const MAX_CONCURRENT_CALLS: usize = 4;

/// The time of the look-ups for notes on a call that is not asked. The call waits for them, and a storage may hang.
const NOTE_TIME_LIMIT: Duration = Duration::from_secs(2);

/// Looks up the objects of calls to one cluster, and renders the descriptions of all. The look-ups share one time limit.
/// `is_list` tells that the caller sent a list.
///
/// # Errors
/// One of the calls would certainly fail.
pub(super) fn describe_all(
    calls: &[&PlannedCall<'_>],
    is_list: bool,
    render: impl FnOnce(&[CallDescription<'_>]) -> String,
) -> Result<String, CertainFailures> {
    let deadline = Instant::now() + STATE_TIME_LIMIT;
    let numbers: Vec<usize> = (0..calls.len()).collect();
    let found: Vec<_> = fan_out(&numbers, MAX_CONCURRENT_CALLS, |at| {
        let (call, earlier) = (calls[*at], EarlierCalls::new(&calls[..*at]));
        let mut present = call.look_up_state(deadline, earlier);
        let failure = call.find_certain_failure(&present, deadline, earlier);
        if failure.is_none() {
            let reader = ObjectReader::until(call.cluster, deadline);
            present.state.missing_effect = call.find_missing_effect(&reader, earlier);
            present.state.node_limits = call.find_node_limits(&reader, earlier);
        }
        let needs = match failure {
            Some(_) => Vec::new(),
            // Space that is freed concerns only later calls of a list.
            None if call.method == Method::Delete && *at + 1 == calls.len() => Vec::new(),
            None => {
                let reader = ObjectReader::until(call.cluster, deadline);
                call.find_space_needs(&reader, Some(&present.state), earlier)
            }
        };
        (call.facts(), present.state, failure, needs)
    });
    let (mut described, mut failures, mut needs) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (facts, state, failure, needed)) in found.into_iter().enumerate() {
        failures.extend(failure.map(|failure| (at + 1, failure)));
        described.push((facts, state));
        needs.push(needed);
    }
    CertainFailures::collect(failures, is_list)?;
    if let Some(first) = calls.first() {
        let notes = find_storage_notes(&ObjectReader::until(first.cluster, deadline), &needs);
        described.iter_mut().zip(notes).for_each(|((_, state), notes)| state.storage_notes = notes);
    }
    for (call, (_, state)) in calls.iter().zip(&mut described) {
        state.storage_notes.extend(call.describe_restored_storages());
    }
    let guests: Vec<Option<String>> =
        described.iter().map(|(_, state)| state.guest.as_ref().map(GuestState::describe)).collect();
    let descriptions = calls.iter().zip(&described).enumerate().map(|(at, (call, (facts, state)))| {
        let is_guest_described = guests[at].is_some() && guests[..at].contains(&guests[at]);
        describe(call, facts, state, is_guest_described)
    });
    Ok(render(&descriptions.collect::<Vec<_>>()))
}

/// Returns what these calls to one cluster would send, their risks and their undo, as text. `is_list` tells that the
/// caller sent a list.
///
/// # Errors
/// One of the calls would certainly fail.
pub fn describe_dry_runs(calls: &[Authorized<'_>], is_list: bool) -> Result<String, CertainFailures> {
    let planned: Vec<_> = calls.iter().map(Authorized::planned).collect();
    let needs_confirmation = calls.iter().any(Authorized::needs_confirmation);
    let text = describe_all(&planned, is_list, |descriptions| {
        let undos = planned.iter().zip(descriptions).map(|(call, description)| {
            if description.state.made_by.is_some() {
                return None;
            }
            let object = description.state.options.as_ref().and_then(|options| options.as_ref().ok());
            call.find_undo(&call.complete_state_before(object))
        });
        let mut undos: Vec<_> = undos.collect();
        let lives: Vec<ObjectLife> = planned.iter().map(|call| ObjectLife::of_call(call)).collect();
        discard_void_undos(&lives.iter().collect::<Vec<_>>(), &mut undos);
        describe_dry_run(descriptions, &undos, needs_confirmation)
    })?;
    Ok(planned.first().expect("only calls are described").cluster.redact(text))
}

impl PlannedCall<'_> {
    /// Describes what a question would tell beside the call, as notes on a call that is not asked.
    /// Those on the space of storages are apart.
    pub(super) fn describe_circumstances(&self) -> (Vec<String>, Vec<String>) {
        if !self.is_change() {
            return (Vec::new(), Vec::new());
        }
        let reader = ObjectReader::until(self.cluster, Instant::now() + NOTE_TIME_LIMIT);
        let redact = |notes: Vec<String>| notes.into_iter().map(|note| self.cluster.redact(note)).collect();
        let mut others: Vec<String> = self.describe_job_storage(&reader).into_iter().collect();
        others.extend(self.describe_placement(&reader));
        if self.facts().contains(&Fact::AddressFamilies)
            && let Ok(now) = reader.read_object(&self.path)
        {
            let mut lines = String::new();
            push_family_changes(&mut lines, &now, &self.params);
            others.extend(lines.lines().map(|line| line.trim().to_owned()));
        }
        (redact(self.describe_missing_space(&reader)), redact(others))
    }

    /// Returns the reason why the present state of the guest excludes a power action, or makes it change nothing.
    pub(super) fn find_excluded_power_action(&self) -> Option<CertainFailure> {
        let template = self.operation.template.as_deref().filter(|_| self.operation.is_known)?;
        let is_power_action = self.method == Method::Post && template.contains("/{vmid}/status/");
        if !is_power_action || find_preconditions(self.method, template, &self.params).next().is_none() {
            return None;
        }
        let (deadline, earlier) = (Instant::now() + STATE_TIME_LIMIT, EarlierCalls::default());
        let failure = self.find_certain_failure(&self.look_up_state(deadline, earlier), deadline, earlier);
        // The node explains an absent guest better.
        failure.filter(|failure| matches!(failure, CertainFailure::GuestState { .. }))
    }
}

fn describe<'c>(
    call: &'c PlannedCall<'_>,
    facts: &'c [Fact],
    state: &'c ObjectState<'c>,
    is_guest_described: bool,
) -> CallDescription<'c> {
    CallDescription {
        method: call.method,
        path: call.path.as_str(),
        cluster: call.cluster.name(),
        path_values: &call.operation.path_values,
        params: &call.params,
        secrets: &call.operation.secrets,
        effect: call.effect(),
        facts,
        summary: &call.operation.summary,
        privileges: &call.operation.privileges,
        risk: call.risk,
        operation_risk: call.operation.risk,
        risk_reason: call.operation.risk_reason,
        risk_reasons: &call.risk_reasons,
        limits_own_access: call.limits_own_access() || call.removes_own_address(state),
        can_be_undone: call.may_be_undone(state),
        is_guest_described,
        fails_while_locked: call.fails_while_locked(state),
        state,
    }
}
