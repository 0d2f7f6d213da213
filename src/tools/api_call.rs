//! `proxmox_api_call`: any operation of the API.

use super::call_list::{ListRun, authorize_list, describe_list, read_list};
use super::definition::{OutputTrust, ToolCall, ToolDefinition, ToolLoading, UNTRUSTED_NOTICE};
use super::errors::call_failed;
use super::followed_task::FollowedTask;
use super::output::{format_notes, json_output, render_answer, with_notes};
use super::parameters::{CLUSTER_OR_DEFAULT, optional, required, with_output_options};
use super::tasks::{DEFAULT_WAIT, follow_task};
use crate::base::hint::render_error;
use crate::call::{
    Authorized, CODE_LIFETIME, CallError, CallObserver, CallSpec, ClusterHandle, CommandEnd, ConfirmationError,
    ConfirmationInput, ConfirmationStep, Confirmed, DECISION_TIME, FollowUpKind, GuestWaitEnd, Outcome,
    PendingApproval, Question, Rejection, UserAnswer, UserDialog, confirm_all, describe_dry_runs,
};
use crate::mcp::arguments::{ParameterKind, ToolParameter};
use crate::mcp::catalog::{InputMethod, InputRequest, InputRequired, ToolEffect, ToolError, ToolOutput};
use crate::mcp::context::{CallContext, UrlElicitation};
use crate::mcp::message::{RequiredUrl, RpcError};
use crate::pve::Method;
use crate::pve::path::ApiPath;
use crate::pve::task::Upid;
use crate::render::cluster_errors::prefix_cluster;
use crate::render::command::{render_command, render_running_command, render_unknown_command};
use crate::render::output::OutputOptions;
use crate::render::question::{describe_approval, describe_confirmation};
use crate::render::task::describe_task;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// The least time for the end of a task, however long its start took.
const MIN_WAIT: Duration = Duration::from_secs(5);

/// The key of the question in an elicitation.
const QUESTION_KEY: &str = "confirm";

/// The parameter with a path.
const PATH: ToolParameter =
    optional("path", ParameterKind::Name, "such as /nodes/pve1/qemu/100/config; describe_api explains it");

/// The members of a call in a list.
const LISTED_CALL: [ToolParameter; 3] = [
    required("path", ParameterKind::Name, ""),
    optional("method", ParameterKind::Choice(&["GET", "POST", "PUT", "DELETE"]), ""),
    optional("data", ParameterKind::Object, ""),
];

/// `proxmox_api_call(path or calls, method?, data?, dry_run?, wait?, confirm?, cluster?, …)`.
pub(super) const PROXMOX_API_CALL: ToolDefinition = ToolDefinition {
    name: "proxmox_api_call",
    title: "Call the Proxmox API",
    description: "Calls any operation of the Proxmox VE API: POST, PUT and DELETE change things at once. Checked before it \
        is sent; dry_run shows the request and its risk. Example: path /qemu/web01/status/start, method POST, wait true. \
        To look, proxmox_api_get is safer.",
    parameters: &with_output_options::<8, 14>([
        CLUSTER_OR_DEFAULT,
        PATH,
        optional("method", ParameterKind::Choice(&["GET", "POST", "PUT", "DELETE"]), "default: GET"),
        optional(
            "data",
            ParameterKind::Object,
            "parameters: {\"memory\": 2048, \"onboot\": true, \"delete\": \"tags\"} (delete unsets options)",
        ),
        optional(
            "calls",
            ParameterKind::ObjectList(&LISTED_CALL),
            "instead of path: several with one question, sent in order until one fails",
        ),
        optional("dry_run", ParameterKind::Flag, "show it, send nothing"),
        optional("wait", ParameterKind::Flag, "wait up to 45 s for the end of its task, its command or HA"),
        optional("confirm", ParameterKind::Name, "the code of the answer that asked for it"),
    ]),
    effect: ToolEffect::Destructive,
    trust: OutputTrust::Untrusted,
    loading: ToolLoading::Always,
    is_paged: true,
    handler: proxmox_api_call,
};

fn proxmox_api_call(call: &ToolCall<'_>) -> Result<ToolOutput, ToolError> {
    let start = Instant::now();
    let made = match make_calls(call, start) {
        // A waiting call is planned again after the wait: its rights and its object may have changed.
        Err(CallStop::ApprovalPending(pending)) if waits_for_approval(call, &pending) => {
            call.scope.wait_for_approval(&pending.id, start + DEFAULT_WAIT);
            make_calls(call, start)
        }
        made => made,
    };
    made.map_err(|stop| match stop {
        CallStop::Failed(error) => error,
        CallStop::ApprovalPending(pending) => ask_for_approval(call, *pending),
    })
}

/// The reason why a call ends without an answer of the cluster.
enum CallStop {
    Failed(ToolError),
    /// A person has to approve the call outside of the chat.
    ApprovalPending(Box<PendingApproval>),
}

impl<E: Into<ToolError>> From<E> for CallStop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Returns whether the call waits for the decision of a person: if its caller asked for it, or after the client has
/// opened the page for its user.
fn waits_for_approval(call: &ToolCall<'_>, pending: &PendingApproval) -> bool {
    match approval_page(call.context, pending) {
        Some((mode, _)) => has_opened_page(call.context, pending, mode),
        None => call.args.flag("wait"),
    }
}

/// Returns the address that the client can open for its user, and the way in which it does.
fn approval_page<'p>(context: &CallContext<'_>, pending: &'p PendingApproval) -> Option<(UrlElicitation, &'p str)> {
    Some((context.url_elicitation?, pending.page.as_deref()?))
}

/// Returns whether the client has got the address of the page before. Its word that the user went there is no approval.
fn has_opened_page(context: &CallContext<'_>, pending: &PendingApproval, mode: UrlElicitation) -> bool {
    match mode {
        UrlElicitation::Input => matches!(context.unseal_state(), Ok(Some(_))),
        UrlElicitation::Error => !pending.is_new,
    }
}

/// Returns the answer to a call that waits for a person.
fn ask_for_approval(call: &ToolCall<'_>, pending: PendingApproval) -> ToolError {
    call.context.attributes.record_confirmation(ConfirmationStep::Requested);
    match approval_page(call.context, &pending) {
        Some((mode, _)) if has_opened_page(call.context, &pending, mode) => {}
        Some((UrlElicitation::Input, page)) => return QuestionMode::Url(page).ask(&pending.plan, pending.id.clone()),
        Some((UrlElicitation::Error, page)) => {
            let url = page.to_owned();
            let required = RequiredUrl { id: pending.id, url, message: pending.plan };
            return RpcError::UrlElicitationRequired(Box::new(required)).into();
        }
        None => {}
    }
    let minutes = DECISION_TIME.as_secs() / 60;
    ToolError::Failed(describe_approval(&pending.id, &pending.plan, pending.page.as_deref(), minutes))
}

fn make_calls(call: &ToolCall<'_>, start: Instant) -> Result<ToolOutput, CallStop> {
    let args = call.args;
    let cluster = call.scope.select(args.text("cluster"))?;
    if let Some(list) = args.object_list("calls") {
        return call_list(call, &cluster, &list, start);
    }
    let path = args.text("path").ok_or_else(|| call.reject("path is missing (or several calls in calls)"))?;
    // An answer that can't be shown must not be asked for, so the options are parsed first.
    let options = OutputOptions::from_args(args)?;
    let spec = CallSpec {
        method: args.text("method").and_then(Method::from_name),
        path,
        data: args.object("data"),
        fetch_all: options.selects(),
        is_dry_run: args.flag("dry_run"),
    };
    let authorized = authorize(&cluster, spec).map_err(|error| call_failed(&cluster, error))?;
    if args.flag("dry_run") {
        let text = describe_dry_runs(std::slice::from_ref(&authorized), false);
        let text = text.map_err(|failures| call_failed(&cluster, failures))?;
        return Ok(with_notes(ToolOutput::text(text), &authorized.into_notes()));
    }
    let wants_structured = call.context.wants_structured;
    let confirmed = confirm(call, &cluster, vec![authorized])?.pop().expect("one call is confirmed as one call");
    let outcome = confirmed.execute().map_err(|error| call_failed(&cluster, error))?;
    let text = serde_json::from_str::<String>(outcome.response.data());
    if let (true, Some(FollowUpKind::Command { status, pid })) = (args.flag("wait"), &outcome.follow_up) {
        let (status, pid) = (status.clone(), pid.clone());
        return Ok(follow_started_command(&cluster, outcome, &status, &pid, start)?);
    }
    let output = match text.ok().and_then(|text| Upid::parse(&text).ok()) {
        Some(upid) if args.flag("wait") => follow_started_task(call, &cluster, outcome, &upid, start),
        Some(upid) => {
            let label = cluster.label().map(|name| format!(" and cluster {name}")).unwrap_or_default();
            let later = outcome.later.map(|later| later.to_string());
            let mut notes: Vec<String> =
                outcome.location.into_iter().chain(outcome.notes).chain(outcome.space_notes).chain(later).collect();
            if outcome.follow_up == Some(FollowUpKind::GuestStart) {
                notes.push(format!(
                    "the guest starts by a later task of its own, which may fail: wait_for_task with `{} running` waits for it",
                    upid.id
                ));
            }
            let task = describe_task(&upid);
            notes.push(format!("{task} continues as a task: wait_for_task with this upid{label} waits for its end"));
            Ok(with_notes(json_output(outcome.response.into_payload(), wants_structured), &notes))
        }
        None => render_outcome(call, &cluster, &options, outcome),
    };
    Ok(output?)
}

/// Makes the calls of a list.
fn call_list(
    call: &ToolCall<'_>,
    cluster: &ClusterHandle<'_>,
    list: &[&Map<String, Value>],
    start: Instant,
) -> Result<ToolOutput, CallStop> {
    let specs = read_list(call, list)?;
    let authorized = authorize_list(cluster, &specs)?;
    if call.args.flag("dry_run") {
        return Ok(describe_list(cluster, authorized)?);
    }
    let confirmed = confirm(call, cluster, authorized)?;
    let run = ListRun {
        cluster,
        context: call.context,
        waits: call.args.flag("wait"),
        deadline: start + DEFAULT_WAIT,
        max_result_bytes: call.max_result_bytes,
    };
    Ok(run.execute(confirmed)?)
}

fn authorize<'a>(cluster: &'a ClusterHandle<'a>, spec: CallSpec<'a>) -> Result<Authorized<'a>, CallError> {
    Ok(cluster.plan(spec)?.authorize()?.require_options()?)
}

/// Confirms the calls, or returns the question in the way that the client supports.
fn confirm<'a>(
    call: &ToolCall<'_>,
    cluster: &ClusterHandle<'_>,
    authorized: Vec<Authorized<'a>>,
) -> Result<Vec<Confirmed<'a>>, CallStop> {
    let dialog = match authorized.iter().any(Authorized::needs_confirmation) {
        true => match read_dialog(call.context) {
            Ok(dialog) => dialog,
            Err(error) => {
                authorized.iter().for_each(|call| call.reject_confirmation(Rejection::InvalidState));
                return Err(error.into());
            }
        },
        false => UserDialog::Unavailable,
    };
    let input = ConfirmationInput { code: call.args.text("confirm"), dialog };
    confirm_all(authorized, input).map_err(|error| match error {
        ConfirmationError::ApprovalPending(pending) => CallStop::ApprovalPending(pending),
        ConfirmationError::Required(question) => ask(*question).into(),
        error => call_failed(cluster, error).into(),
    })
}

/// Returns the state of the dialog with the client's user.
fn read_dialog(context: &CallContext<'_>) -> Result<UserDialog, ToolError> {
    if !context.can_show_form() && context.url_elicitation.is_none() {
        return Ok(UserDialog::Unavailable);
    }
    let Some(state) = context.unseal_state()? else {
        return Ok(if context.can_show_form() { UserDialog::NotAsked } else { UserDialog::Unavailable });
    };
    let code = state.as_str().expect("the server seals a code, and nothing else, for this tool").to_owned();
    Ok(UserDialog::Answered { code, answer: read_answer(context.input_response(QUESTION_KEY)) })
}

/// Returns the meaning of an answer (2026-07-28, Elicitation). The question asks for no content, so any content of an
/// acceptance is ignored.
fn read_answer(response: Option<&Value>) -> UserAnswer {
    match response.and_then(|response| response.get("action")).and_then(Value::as_str) {
        Some("accept") => UserAnswer::Accepted,
        Some("decline") => UserAnswer::Declined,
        Some("cancel") => UserAnswer::Cancelled,
        _ => UserAnswer::Missing,
    }
}

fn ask(question: Question) -> ToolError {
    let Question { text, code, asks_user, rejected_code } = question;
    if asks_user {
        return QuestionMode::Form.ask(&text, code);
    }
    let rejection = rejected_code.map(|error| format!("{error}.\n")).unwrap_or_default();
    let question = describe_confirmation(&text, &code, CODE_LIFETIME.as_secs() / 60);
    ToolError::Failed(rejection + &question)
}

/// The way in which a client asks its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionMode<'a> {
    /// The client shows the question. Its user accepts or declines.
    Form,
    /// The client opens this address, where a page shows the question.
    Url(&'a str),
}

impl QuestionMode<'_> {
    /// Returns the answer that makes the client ask its user. The client returns `state` with the user's answer.
    fn ask(self, question: &str, state: String) -> ToolError {
        let params = self.encode(question);
        let request = InputRequest { key: QUESTION_KEY, method: InputMethod::Elicitation, params };
        ToolError::InputRequired(InputRequired { requests: vec![request], state: Some(state.into()) })
    }

    /// Returns the parameters of the elicitation. A form has no fields, because the answer itself decides.
    fn encode(self, question: &str) -> Value {
        match self {
            Self::Form => json!({
                "mode": "form",
                "message": question,
                "requestedSchema": {"type": "object", "properties": {}},
            }),
            Self::Url(url) => json!({"mode": "url", "message": question, "url": url}),
        }
    }
}

fn follow_started_task(
    call: &ToolCall<'_>,
    cluster: &ClusterHandle<'_>,
    outcome: Outcome,
    upid: &Upid,
    start: Instant,
) -> Result<ToolOutput, ToolError> {
    let (mut notes, space_notes, location) = (outcome.notes, outcome.space_notes, outcome.location);
    let watch = match cluster.watch_task(upid) {
        Ok(watch) => watch,
        // The task was started, even if it must not be watched.
        Err(denied) => {
            let reason = cluster.redact(render_error(&denied));
            notes.extend(location.into_iter().chain(space_notes));
            notes.push(format!("the task was begun and can't be waited for: {reason}"));
            let output = json_output(outcome.response.into_payload(), call.context.wants_structured);
            return Ok(with_notes(output, &notes));
        }
    };
    // The start of the task has used a part of the client's time limit.
    let deadline = (start + DEFAULT_WAIT).max(Instant::now() + MIN_WAIT);
    let starts_guest = outcome.follow_up == Some(FollowUpKind::GuestStart);
    let mut task = FollowedTask::own(upid, notes, space_notes);
    (task.starts_guest, task.location, task.changed) = (starts_guest, location, outcome.changed);
    follow_task(call.context, cluster, watch, &task, deadline)
}

/// Waits for the end of a command inside a guest.
fn follow_started_command(
    cluster: &ClusterHandle<'_>,
    outcome: Outcome,
    status: &ApiPath,
    pid: &str,
    start: Instant,
) -> Result<ToolOutput, ToolError> {
    let notes: Vec<String> = outcome.location.into_iter().chain(outcome.notes).collect();
    let text = match cluster.follow_command(status, pid, start + DEFAULT_WAIT) {
        CommandEnd::Ended(answer) => render_command(&answer),
        CommandEnd::Running => render_running_command(status.as_str(), pid),
        CommandEnd::Unknown(cause) => {
            let text = render_unknown_command(pid, &cluster.redact(cause)) + &format_notes(' ', &notes);
            return Err(ToolError::Failed(prefix_cluster(cluster.label(), &format!("{text}\n\n{UNTRUSTED_NOTICE}"))));
        }
    };
    Ok(with_notes(ToolOutput::text(text), &notes))
}

/// Renders an answer. After a change, the object is read again and described.
fn render_outcome(
    call: &ToolCall<'_>,
    cluster: &ClusterHandle<'_>,
    options: &OutputOptions,
    outcome: Outcome,
) -> Result<ToolOutput, ToolError> {
    let Outcome { response, mut notes, later, operation, path, is_change, changed, location, .. } = outcome;
    let ha_end = changed.as_ref().filter(|_| call.args.flag("wait"));
    let ha_end = ha_end.and_then(|changed| cluster.follow_ha_change(changed, Instant::now() + DEFAULT_WAIT));
    let mut lines = changed.map(|changed| cluster.describe_changed(&changed)).unwrap_or_default();
    notes.extend(later.filter(|_| ha_end.is_none()).map(|later| later.to_string()));
    if let Some(end) = ha_end {
        lines.splice(0..0, end.describe_ha_request().map(str::to_owned));
        if end == GuestWaitEnd::HaError {
            let text = format!("{}\n\n{UNTRUSTED_NOTICE}", lines.join("\n"));
            return Err(ToolError::Failed(prefix_cluster(cluster.label(), &text)));
        }
    }
    if lines.is_empty() {
        notes.splice(0..0, location);
    }
    let wants_structured = call.context.wants_structured;
    if is_change && response.data() == "null" {
        let text = match lines.as_slice() {
            [] => format!("done: {operation} (the answer of Proxmox is empty)"),
            lines => lines.join("\n"),
        };
        let structured = wants_structured.then(|| json!({"data": null, "result": text}).to_string());
        return Ok(with_notes(ToolOutput::with_structured(text, structured), &notes));
    }
    notes.splice(0..0, lines);
    match render_answer(cluster, &path, options, response, call.max_result_bytes, wants_structured) {
        Ok(mut answer) => {
            notes.append(&mut answer.notes);
            Ok(with_notes(answer.into_output(), &notes))
        }
        Err(error) if is_change => {
            let text = format!("{operation} was done, but its answer can't be shown so: {}", render_error(&error));
            Ok(with_notes(ToolOutput::text(text), &notes))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_asks_for_no_content() {
        let params = QuestionMode::Form.encode("Stop it?");
        assert_eq!(
            params,
            json!({"mode": "form", "message": "Stop it?", "requestedSchema": {"type": "object", "properties": {}}})
        );
    }

    #[test]
    fn a_page_is_sent_as_an_address() {
        let params = QuestionMode::Url("https://mcp.example/approve/1").encode("Stop it?");
        assert_eq!(params, json!({"mode": "url", "message": "Stop it?", "url": "https://mcp.example/approve/1"}));
    }

    #[test]
    fn only_the_action_of_an_answer_decides() {
        for (response, answer) in [
            (json!({"action": "accept"}), UserAnswer::Accepted),
            (json!({"action": "accept", "content": null}), UserAnswer::Accepted),
            (json!({"action": "accept", "content": {"confirm": false}}), UserAnswer::Accepted),
            (json!({"action": "decline", "content": {"confirm": true}}), UserAnswer::Declined),
            (json!({"action": "cancel"}), UserAnswer::Cancelled),
            (json!({"action": "ACCEPT"}), UserAnswer::Missing),
            (json!({"action": true}), UserAnswer::Missing),
            (json!({"content": {}}), UserAnswer::Missing),
            (json!("accept"), UserAnswer::Missing),
        ] {
            assert_eq!(read_answer(Some(&response)), answer, "{response}");
        }
        assert_eq!(read_answer(None), UserAnswer::Missing);
    }
}
