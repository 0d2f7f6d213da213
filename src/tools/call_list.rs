//! Several calls in one call of `proxmox_api_call`: checked together, confirmed by one question, and sent in their order
//! until one fails.

use super::definition::{ToolCall, UNTRUSTED_NOTICE};
use super::errors::{call_failed, render_own_error};
use super::followed_task::{FollowedEnd, FollowedTask};
use super::output::{format_notes, join_output};
use super::tasks::report_progress;
use crate::base::hint::render_error;
use crate::call::{
    Authorized, CallError, CallObjects, CallSpec, ChangedObject, ClusterHandle, CommandEnd, Confirmed, FollowUpKind,
    GuestWaitEnd, ListEffects, Outcome, describe_dry_runs,
};
use crate::mcp::catalog::{ToolError, ToolOutput};
use crate::mcp::context::CallContext;
use crate::pve::Method;
use crate::pve::path::ApiPath;
use crate::pve::task::{TaskState, Upid, WaitLimits};
use crate::render::cluster_errors::prefix_cluster;
use crate::render::command::{has_succeeded, render_command, render_running_command, render_unknown_command};
use crate::render::labels::{group_reasons, join_reasons, name_calls};
use crate::render::outcome::ResponseNote;
use crate::render::output::{OutputArguments, OutputOptions};
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// The most calls of one list.
const MAX_CALLS: usize = 20;

/// The least time for the end of a task, however long the calls before it took.
const MIN_WAIT: Duration = Duration::from_secs(5);

/// The arguments that concern a single call or its answer.
const SINGLE_CALL_ARGUMENTS: [&str; 9] =
    ["path", "method", "data", "fields", "filter", "sort", "limit", "offset", "format"];

/// Returns the calls of the list as the caller typed them.
pub(super) fn read_list<'a>(
    call: &ToolCall<'_>,
    list: &[&'a Map<String, Value>],
) -> Result<Vec<CallSpec<'a>>, ToolError> {
    if let Some(name) = SINGLE_CALL_ARGUMENTS.iter().find(|name| call.args.is_given(name)) {
        return Err(call.reject(format_args!("calls and {name} are both given: {name} is for a single call")));
    }
    if list.len() > MAX_CALLS {
        return Err(call.reject(format_args!("calls has {}: give {MAX_CALLS} at most", list.len())));
    }
    let text = |item: &'a Map<String, Value>, name| item.get(name).and_then(Value::as_str);
    let read = |item: &&'a Map<String, Value>| CallSpec {
        method: text(item, "method").and_then(Method::from_name),
        path: text(item, "path").expect("a required member"),
        data: item.get("data").and_then(Value::as_object),
        fetch_all: false,
        is_dry_run: call.args.flag("dry_run"),
    };
    Ok(list.iter().map(read).collect())
}

/// Plans and authorizes all calls. If one of them is not possible or not allowed, the error has each reason.
pub(super) fn authorize_list<'a>(
    cluster: &'a ClusterHandle<'a>,
    list: &[CallSpec<'a>],
) -> Result<Vec<Authorized<'a>>, ToolError> {
    let (mut authorized, mut problems) = (Vec::new(), Vec::new());
    for (at, spec) in list.iter().enumerate() {
        match cluster
            .plan(*spec)
            .map_err(CallError::from)
            .and_then(|planned| Ok(planned.authorize()?.require_options()?))
        {
            Ok(call) => {
                call.keep_for_later_plans();
                authorized.push(call);
            }
            Err(error) => problems.push((at + 1, error)),
        }
    }
    if problems.is_empty() {
        return Ok(authorized);
    }
    let is_same =
        |known: &mut CallError, other: &CallError| known.absorb(other) || render_error(known) == render_error(other);
    let lines = join_reasons(&group_reasons(problems, is_same), |error| cluster.redact(render_error(error)));
    let text = format!("no call of the list was sent: one that can't be made ends all\n{lines}");
    Err(ToolError::Failed(prefix_cluster(cluster.label(), &text)))
}

/// Describes the calls, and sends nothing.
pub(super) fn describe_list(
    cluster: &ClusterHandle<'_>,
    authorized: Vec<Authorized<'_>>,
) -> Result<ToolOutput, ToolError> {
    let text = describe_dry_runs(&authorized, true).map_err(|failures| call_failed(cluster, failures))?;
    let mut output = ToolOutput::text(text);
    let numbered = authorized.into_iter().enumerate();
    let notes = numbered.flat_map(|(at, call)| call.into_notes().into_iter().map(move |note| (at + 1, note)));
    let groups = group_reasons(notes, |known, other| known == other);
    output.notes.extend(groups.iter().map(|(numbers, note)| format!("{}: {note}", name_calls(numbers))));
    Ok(output)
}

/// The execution of a list.
pub(super) struct ListRun<'a> {
    pub(super) cluster: &'a ClusterHandle<'a>,
    /// The context of the call, which sends progress and ends the list.
    pub(super) context: &'a CallContext<'a>,
    /// Each task is followed to its end before the next call. Otherwise only one on an object of the next call is.
    pub(super) waits: bool,
    /// No call begins after it.
    pub(super) deadline: Instant,
    /// The limit of all answers together. 0 is no limit.
    pub(super) max_result_bytes: usize,
}

/// The work that a call of the list has started, and that is not followed yet.
enum BegunWork {
    Task(Box<FollowedTask>),
    /// The HA manager was asked to change a guest.
    HaRequest(Box<ChangedObject>),
}

/// A call of the list that began or was left out.
struct ListedCall {
    operation: String,
    end: CallEnd,
    objects: CallObjects,
    changed: Option<ChangedObject>,
    begun: Option<BegunWork>,
}

/// The end of one call of a list.
enum CallEnd {
    Done(String),
    /// It was sent, and what it has started is not followed.
    Begun(String),
    /// The end of the task or command was not seen.
    Running(String),
    Failed(String),
    /// It was sent and may have taken effect.
    Unknown(String),
    NotBegun(ListStop),
}

/// The reason for which the rest of a list is not begun.
#[derive(Clone, Copy)]
enum ListStop {
    Failure {
        number: usize,
    },
    /// The end of a call was not seen.
    UnknownEnd {
        number: usize,
    },
    Cancelled,
    TimeOver,
}

impl fmt::Display for ListStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure { number } => write!(f, "call {number} failed"),
            Self::UnknownEnd { number } => write!(f, "the end of call {number} was not seen"),
            Self::Cancelled => f.write_str("the list was cancelled"),
            Self::TimeOver => f.write_str("the time of one call is over. hint: send the rest as a new list"),
        }
    }
}

impl CallEnd {
    /// Returns the end in one word or two.
    fn label(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Begun(_) => "begun",
            Self::Running(_) => "still running",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
            Self::NotBegun(_) => "not begun",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Done(text) | Self::Begun(text) | Self::Running(text) | Self::Failed(text) | Self::Unknown(text) => {
                text.clone()
            }
            Self::NotBegun(reason) => reason.to_string(),
        }
    }

    /// Returns the end of a call whose task or command continues.
    fn into_begun(self) -> Self {
        match self {
            Self::Done(text) => Self::Begun(text),
            end => end,
        }
    }

    /// Returns the reason for which the calls after it are not begun.
    fn stop(&self, number: usize) -> Option<ListStop> {
        match self {
            Self::Done(_) | Self::Begun(_) => None,
            Self::Running(_) | Self::Unknown(_) => Some(ListStop::UnknownEnd { number }),
            Self::Failed(_) => Some(ListStop::Failure { number }),
            Self::NotBegun(reason) => Some(*reason),
        }
    }
}

impl ListRun<'_> {
    /// Sends the calls in their order, and returns the end of each. Only if none failed and all began, the result is no
    /// error.
    pub(super) fn execute(&self, calls: Vec<Confirmed<'_>>) -> Result<ToolOutput, ToolError> {
        let share = self.max_result_bytes / calls.len().max(1);
        let mut made: Vec<ListedCall> = Vec::new();
        let mut stop = None;
        for (at, call) in calls.into_iter().enumerate() {
            let operation = call.operation();
            let objects = call.objects();
            stop = stop.or_else(|| self.find_stop()).or_else(|| self.follow_tasks_before(&objects, &mut made));
            let listed = match stop {
                Some(reason) => {
                    let end = CallEnd::NotBegun(reason);
                    ListedCall { operation, end, objects, changed: None, begun: None }
                }
                None => self.execute_call(call, objects, at == 0, share),
            };
            stop = listed.end.stop(at + 1);
            made.push(listed);
        }
        self.read_ended_tasks(&mut made);
        let is_made = |(_, call): &(usize, &ListedCall)| matches!(call.end, CallEnd::Done(_) | CallEnd::Begun(_));
        let changes = made.iter().enumerate().filter(is_made);
        let changes: Vec<_> = changes.filter_map(|(at, call)| Some((at + 1, call.changed.clone()?))).collect();
        let effects = self.cluster.describe_list_effects(&changes);
        self.render(&made.into_iter().map(|call| (call.operation, call.end)).collect::<Vec<_>>(), &effects)
    }

    /// Follows the tasks of earlier calls on the objects of a call to their ends. Returns the reason for which the call is
    /// not begun then.
    fn follow_tasks_before(&self, objects: &CallObjects, made: &mut [ListedCall]) -> Option<ListStop> {
        for (at, earlier) in made.iter_mut().enumerate() {
            if !objects.depend_on(&earlier.objects) {
                continue;
            }
            let cluster = self.cluster.with_new_lookups();
            earlier.end = match earlier.begun.take() {
                Some(BegunWork::Task(task)) => self.follow_task(&cluster, *task),
                Some(BegunWork::HaRequest(changed)) => self.follow_ha_request(&cluster, &changed),
                None => continue,
            };
            if let Some(stop) = earlier.end.stop(at + 1) {
                return Some(stop);
            }
        }
        None
    }

    /// Reads the tasks that were not followed once. One that has ended is done, or a failure.
    fn read_ended_tasks(&self, made: &mut [ListedCall]) {
        let deadline = Instant::now() + MIN_WAIT;
        for call in made.iter_mut() {
            let Some(BegunWork::Task(task)) = call.begun.take() else { continue };
            let cluster = self.cluster.with_new_lookups();
            let Some(Ok(result)) = cluster.watch_task(&task.upid).ok().map(|watch| watch.read(deadline)) else {
                continue;
            };
            if result.state == TaskState::Running {
                continue;
            }
            call.end = match task.render_end(&cluster, &result, Instant::now()) {
                FollowedEnd::Ended(output) => CallEnd::Done(join_output(output)),
                FollowedEnd::Pending(output) => CallEnd::Begun(join_output(output)),
                FollowedEnd::Failed(text) => CallEnd::Failed(text),
            };
        }
    }

    fn find_stop(&self) -> Option<ListStop> {
        match (self.context.cancel.is_cancelled(), Instant::now() < self.deadline) {
            (true, _) => Some(ListStop::Cancelled),
            (false, false) => Some(ListStop::TimeOver),
            (false, true) => None,
        }
    }

    /// Sends a call.
    fn execute_call(&self, call: Confirmed<'_>, objects: CallObjects, is_first: bool, max_bytes: usize) -> ListedCall {
        let mut operation = call.operation();
        let cluster = self.cluster.with_new_lookups();
        // The first call was planned right before.
        let result = match is_first {
            true => call.execute().map_err(Into::into),
            false => call.renew(&cluster).and_then(|renewed| {
                // Its guest may be on another node by now.
                operation = renewed.operation();
                Ok(renewed.execute()?)
            }),
        };
        let mut outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                let is_unknown = CallError::is_outcome_unknown(&error);
                let text = render_own_error(&cluster, error);
                let end = if is_unknown { CallEnd::Unknown(text) } else { CallEnd::Failed(text) };
                return ListedCall { operation, end, objects, changed: None, begun: None };
            }
        };
        let changed = outcome.changed.take().map(ChangedObject::into_listed);
        outcome.changed = changed.clone();
        let (end, begun) = self.follow_outcome(&cluster, outcome, max_bytes);
        ListedCall { operation, end, objects, changed, begun }
    }

    /// Follows what a call has started, if the list waits. Returns its end, with the work that is not followed.
    fn follow_outcome(
        &self,
        cluster: &ClusterHandle<'_>,
        mut outcome: Outcome,
        max_bytes: usize,
    ) -> (CallEnd, Option<BegunWork>) {
        let upid = serde_json::from_str::<String>(outcome.response.data()).ok();
        let upid = upid.and_then(|text| Upid::parse(&text).ok());
        match (&outcome.follow_up, upid) {
            (Some(FollowUpKind::Command { status, pid }), _) if self.waits => {
                let (status, pid) = (status.clone(), pid.clone());
                let notes = outcome.location.into_iter().chain(outcome.notes).collect();
                (self.follow_command(cluster, notes, &status, &pid), None)
            }
            (_, Some(upid)) => {
                let mut task = FollowedTask::own(&upid, outcome.notes.clone(), outcome.space_notes.clone());
                (task.location, task.changed) = (outcome.location.clone(), outcome.changed.clone());
                task.is_listed = true;
                task.starts_guest = outcome.follow_up == Some(FollowUpKind::GuestStart);
                match self.waits {
                    true => (self.follow_task(cluster, task), None),
                    false => {
                        let begun = BegunWork::Task(Box::new(task));
                        (render_answer(cluster, outcome, max_bytes).into_begun(), Some(begun))
                    }
                }
            }
            (Some(FollowUpKind::Command { .. }), None) => {
                (render_answer(cluster, outcome, max_bytes).into_begun(), None)
            }
            (None | Some(FollowUpKind::GuestStart), None) if !self.waits => {
                let asks_ha = matches!(outcome.later, Some(ResponseNote::HaRequest));
                let changed = outcome.changed.clone().filter(|_| asks_ha);
                let end = render_answer(cluster, outcome, max_bytes);
                match changed {
                    Some(changed) => (end.into_begun(), Some(BegunWork::HaRequest(Box::new(changed)))),
                    None => (end, None),
                }
            }
            _ => {
                let changed = outcome.changed.as_ref();
                let deadline = self.deadline.max(Instant::now() + MIN_WAIT);
                let Some(end) = changed.and_then(|changed| cluster.follow_ha_change(changed, deadline)) else {
                    return (render_answer(cluster, outcome, max_bytes), None);
                };
                outcome.later = None;
                outcome.notes.extend(end.describe_ha_request().map(str::to_owned));
                let end = match (end, render_answer(cluster, outcome, max_bytes)) {
                    (GuestWaitEnd::HaError, CallEnd::Done(text)) => CallEnd::Failed(text),
                    (GuestWaitEnd::NotYet, CallEnd::Done(text)) => CallEnd::Running(text),
                    (_, end) => end,
                };
                (end, None)
            }
        }
    }

    fn follow_task(&self, cluster: &ClusterHandle<'_>, task: FollowedTask) -> CallEnd {
        let upid = &task.upid;
        let watch = match cluster.watch_task(upid) {
            Ok(watch) => watch,
            Err(denied) => {
                let reason = cluster.redact(render_error(&denied));
                return CallEnd::Running(format!("{upid}\nthe task was begun and can't be waited for: {reason}"));
            }
        };
        let deadline = self.deadline.max(Instant::now() + MIN_WAIT);
        let limits = WaitLimits { deadline, running_until: None };
        match watch.follow(limits, &mut report_progress(self.context, upid)) {
            Ok(result) => {
                let is_running = result.state == TaskState::Running;
                match task.render_end(cluster, &result, deadline) {
                    FollowedEnd::Ended(output) if !is_running => CallEnd::Done(join_output(output)),
                    FollowedEnd::Ended(output) | FollowedEnd::Pending(output) => CallEnd::Running(join_output(output)),
                    FollowedEnd::Failed(text) => CallEnd::Failed(text),
                }
            }
            Err(error) => CallEnd::Running(task.render_error(cluster, error)),
        }
    }

    fn follow_ha_request(&self, cluster: &ClusterHandle<'_>, changed: &ChangedObject) -> CallEnd {
        let deadline = self.deadline.max(Instant::now() + MIN_WAIT);
        let end = cluster.follow_ha_change(changed, deadline).unwrap_or(GuestWaitEnd::Reached);
        let notes: Vec<String> = end.describe_ha_request().map(str::to_owned).into_iter().collect();
        let text = cluster.describe_changed(changed).join("\n") + &format_notes('\n', &notes);
        match end {
            GuestWaitEnd::Reached => CallEnd::Done(text),
            GuestWaitEnd::NotYet => CallEnd::Running(text),
            GuestWaitEnd::HaError => CallEnd::Failed(text),
        }
    }

    fn follow_command(&self, cluster: &ClusterHandle<'_>, notes: Vec<String>, status: &ApiPath, pid: &str) -> CallEnd {
        match cluster.follow_command(status, pid, self.deadline.max(Instant::now() + MIN_WAIT)) {
            CommandEnd::Ended(answer) => {
                let text = render_command(&answer) + &format_notes('\n', &notes);
                if has_succeeded(&answer) { CallEnd::Done(text) } else { CallEnd::Failed(text) }
            }
            CommandEnd::Running => CallEnd::Running(render_running_command(status.as_str(), pid)),
            CommandEnd::Unknown(cause) => CallEnd::Unknown(render_unknown_command(pid, &cluster.redact(cause))),
        }
    }

    fn render(&self, ends: &[(String, CallEnd)], effects: &ListEffects) -> Result<ToolOutput, ToolError> {
        let count = |label| ends.iter().filter(|(_, end)| end.label() == label).count();
        let (done, all) = (count("done"), ends.len());
        let mut text = format!("{done} of {all} calls are done");
        for label in ["failed", "unknown", "begun", "still running", "not begun"] {
            if let some @ 1.. = count(label) {
                text += &format!(", {some} {label}");
            }
        }
        let mut has_lines = true;
        for (at, (operation, end)) in ends.iter().enumerate() {
            // An entry of several lines has a gap before and after it.
            let (entry, had_lines) = (end.text(), has_lines);
            let entry = entry.trim_end();
            has_lines = entry.contains('\n');
            let gap = if had_lines || has_lines { "\n\n" } else { "\n" };
            let label = if matches!(end, CallEnd::Done(_)) { String::new() } else { format!("{}: ", end.label()) };
            let separator = if has_lines { '\n' } else { ' ' };
            text += &format!("{gap}{}. {label}{operation}:{separator}{entry}", at + 1);
        }
        for (at, (numbers, reason)) in effects.missing.iter().enumerate() {
            let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
            text += &format!("{}{}: {reason}", if at == 0 { "\n\n" } else { "\n" }, numbers.join(", "));
        }
        match effects.undo.as_slice() {
            [] => {}
            [only] => text += &format!("\n\nundo: {only}"),
            several => text += &format!("\n\nundo, in this order:\n{}", several.join("\n")),
        }
        if !effects.undo.is_empty() && !effects.without_undo.is_empty() {
            let numbers: Vec<String> = effects.without_undo.iter().map(usize::to_string).collect();
            let call = if numbers.len() == 1 { "call" } else { "calls" };
            text += &format!("\nno undo for {call} {}", numbers.join(", "));
        }
        let text = prefix_cluster(self.cluster.label(), &text);
        if ends.iter().any(|(_, end)| !matches!(end, CallEnd::Done(_) | CallEnd::Begun(_) | CallEnd::Running(_))) {
            return Err(ToolError::Failed(format!("{text}\n\n{UNTRUSTED_NOTICE}")));
        }
        let to_json =
            |(operation, end): &(String, CallEnd)| json!({"call": operation, "end": end.label(), "text": end.text()});
        let calls: Vec<Value> = ends.iter().map(to_json).collect();
        let structured = json!({"calls": calls, "undo": effects.undo});
        Ok(ToolOutput::with_structured(text, Some(structured.to_string())))
    }
}

/// Returns the answer of a call that is not followed. After a change, the object is read again and described.
fn render_answer(cluster: &ClusterHandle<'_>, outcome: Outcome, max_bytes: usize) -> CallEnd {
    let Outcome { response, mut notes, space_notes, later, is_change, changed, location, .. } = outcome;
    notes.extend(space_notes.into_iter().chain(later.map(|later| later.to_string())));
    let is_task = serde_json::from_str::<String>(response.data()).is_ok_and(|text| Upid::parse(&text).is_ok());
    // A task that still runs has not made the object what it will be.
    let lines = changed.filter(|_| !is_task).map(|changed| cluster.describe_changed(&changed)).unwrap_or_default();
    if lines.is_empty() {
        notes.splice(0..0, location);
    }
    if is_change && response.data() == "null" {
        let text = if lines.is_empty() { "the answer of Proxmox is empty".to_owned() } else { lines.join("; ") };
        return CallEnd::Done(text + &format_notes(' ', &notes));
    }
    notes.splice(0..0, lines);
    let options = OutputOptions::parse(&OutputArguments::default()).expect("no arguments are valid arguments");
    notes.extend(is_task.then(|| "a task, which continues: wait_for_task waits for its end".to_owned()));
    let is_envelope = response.has_extra_fields();
    CallEnd::Done(match options.render(response.into_payload(), is_envelope, max_bytes) {
        Ok(rendered) => {
            notes.extend(rendered.note);
            rendered.text + &format_notes('\n', &notes)
        }
        Err(error) => format!("its answer can't be shown: {}", render_error(&error)),
    })
}
