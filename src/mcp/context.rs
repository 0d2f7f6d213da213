//! The context of a request: its caller, its transport, and the view that a running tool has of its call.

use super::error::RpcError;
use super::in_flight::InFlightCalls;
use super::json_string::push_json_string;
use super::protocol::find_log_level;
use super::sealed_state::StateSealer;
use super::started_task::StartedTask;
use super::task_id::TaskIdSealer;
use crate::base::cancel::CancelToken;
use crate::base::trace::{CallId, TraceParent};
use crate::config::Client;
use crate::metrics::CallOutcome;
use crate::sanitize::escape_invisible::escape_json;
use log::Level;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Log target of the line that each call writes.
pub(super) const LOG_TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::call");

/// Sends one message to the client, on the stream of the request it belongs to.
pub type NotificationSink<'a> = &'a dyn Fn(&[u8]);

/// The client of a request, and the way it came.
#[derive(Clone)]
pub struct Caller {
    /// Client that the token belongs to, or the anonymous one.
    pub client: Arc<Client>,
    /// Peer address of the connection. `None` on stdio.
    pub address: Option<IpAddr>,
    /// `http` (POST /mcp), `sse` or `stdio`.
    pub transport: &'static str,
    /// Trace of the request's `traceparent` header.
    pub trace: Option<TraceParent>,
}

impl Caller {
    /// Creates the caller on this process's stdin.
    pub fn new_stdio() -> Self {
        Self { client: Arc::new(Client::stdio()), address: None, transport: "stdio", trace: None }
    }
}

/// The services of a transport for one request.
pub struct TransportContext<'a> {
    pub caller: &'a Caller,
    /// Calls of the session. `None` on a transport without sessions.
    pub calls: Option<&'a InFlightCalls>,
    /// Cancels the request.
    pub cancel: CancelToken,
    /// Sends notifications of the request, in order, before its answer.
    pub notify: NotificationSink<'a>,
}

/// Facts that a tool records about its call, from any of its threads.
#[derive(Default)]
pub struct CallAttributes {
    /// Target and operation are kept although no log has them.
    is_kept: bool,
    denied: AtomicBool,
    outcome: OnceLock<CallOutcome>,
    waiting: AtomicBool,
    target: OnceLock<String>,
    several_targets: AtomicBool,
    operation: Mutex<Option<MainOperation>>,
}

/// The operation of a call, without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct LoggedOperation {
    /// The operation and its object.
    pub operation: String,
    /// The objects as they are written in the log, or empty.
    pub guests: String,
}

/// The operation that names a call.
#[derive(Clone)]
struct MainOperation {
    logged: LoggedOperation,
    is_change: bool,
    /// True if the call has other operations of this kind too.
    has_more: bool,
}

impl CallAttributes {
    /// Creates the facts of a call that the list of recent calls keeps.
    pub(super) fn kept() -> Self {
        Self { is_kept: true, ..Self::default() }
    }

    /// Returns whether target and operation are of use.
    fn are_wanted(&self) -> bool {
        self.is_kept || log::log_enabled!(target: LOG_TARGET, Level::Warn)
    }

    /// Records that the policy denied something.
    pub fn mark_denied(&self) {
        self.denied.store(true, Relaxed);
    }

    pub(super) fn is_denied(&self) -> bool {
        self.denied.load(Relaxed)
    }

    /// Records an outcome that the result alone does not show. The first one counts.
    pub fn set_outcome(&self, outcome: CallOutcome) {
        self.outcome.get_or_init(|| outcome);
    }

    pub(super) fn outcome(&self) -> Option<CallOutcome> {
        self.outcome.get().copied()
    }

    /// Records that the caller asked the call to wait, so that it does not count as slow.
    pub fn mark_waiting(&self) {
        self.waiting.store(true, Relaxed);
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Relaxed)
    }

    /// Records the system that the call concerns, by its name in the configuration.
    pub fn set_target(&self, target: &str) {
        if self.are_wanted() && self.target.get_or_init(|| target.into()) != target {
            self.several_targets.store(true, Relaxed);
        }
    }

    /// Records what the call does. `describe` runs only if it is of use. The first one counts, and a change counts more
    /// than a read.
    pub fn set_operation(&self, is_change: bool, describe: impl FnOnce() -> LoggedOperation) {
        if !self.are_wanted() {
            return;
        }
        let mut operation = self.operation.lock().unwrap_or_else(PoisonError::into_inner);
        match operation.as_mut() {
            Some(first) if first.is_change == is_change => {
                first.has_more = first.has_more || first.logged != describe();
            }
            Some(first) if first.is_change => {}
            _ => *operation = Some(MainOperation { logged: describe(), is_change, has_more: false }),
        }
    }

    /// Returns the operation as `key="value"` words, each with a space before it.
    pub(super) fn operation_words(&self) -> String {
        let operation = self.operation.lock().unwrap_or_else(PoisonError::into_inner);
        operation.as_ref().map_or_else(String::new, |MainOperation { logged, has_more, .. }| {
            let LoggedOperation { operation, guests } = logged;
            let guests = if guests.is_empty() { String::new() } else { format!(" guest={guests}") };
            let more = if *has_more { " and=others" } else { "" };
            format!(" operation={operation:?}{guests}{more}")
        })
    }

    /// Returns the operation for people, if the call has one.
    pub(super) fn operation_text(&self) -> Option<String> {
        let operation = self.operation.lock().unwrap_or_else(PoisonError::into_inner);
        operation.as_ref().map(|MainOperation { logged, has_more, .. }| {
            let more = if *has_more { " and others" } else { "" };
            [&*logged.operation, more].concat()
        })
    }

    pub(super) fn target_label(&self) -> &str {
        match self.has_several_targets() {
            true => "several",
            false => self.target().unwrap_or("-"),
        }
    }

    /// Returns the first system that the call concerns.
    pub(super) fn target(&self) -> Option<&str> {
        self.target.get().map(String::as_str)
    }

    pub(super) fn has_several_targets(&self) -> bool {
        self.several_targets.load(Relaxed)
    }
}

/// The way in which a call has an address opened for the client's user (Elicitation, URL mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlElicitation {
    /// The answer requests an input, and the client repeats the call with it (2026-07-28).
    Input,
    /// The answer is [`RpcError::UrlElicitationRequired`], and the client repeats the call (2025-11-25).
    Error,
}

/// One call, as the tool that runs it sees it.
pub struct CallContext<'a> {
    pub caller: &'a Caller,
    pub id: CallId,
    /// Trace that the call belongs to.
    pub trace: Option<TraceParent>,
    pub attributes: &'a CallAttributes,
    /// Cancellation of the call. Tools check it between steps and hook it into blocking I/O.
    pub cancel: CancelToken,
    pub(super) notify: NotificationSink<'a>,
    /// Raw progress token, if the client wants progress.
    pub(super) progress_token: Option<&'a str>,
    pub(super) last_progress: Cell<f64>,
    /// Name of the server in log messages.
    pub(super) logger: &'static str,
    /// Lowest severity that the client wants, as an index into [`super::protocol::LOG_LEVELS`].
    pub(super) min_log_level: Option<usize>,
    /// Capabilities that the client declared with this request (2026-07-28). `None` in the legacy era.
    pub(super) capabilities: Option<Value>,
    /// `None` if the client can't open an address for its user.
    pub url_elicitation: Option<UrlElicitation>,
    /// True if the client or the operator asks for results as JSON beside the text.
    pub wants_structured: bool,
    pub(super) input_responses: Map<String, Value>,
    pub(super) sealed_state: Option<String>,
    pub(super) sealer: &'a StateSealer,
    /// Purpose that a sealed state is bound to: method, name and client.
    pub(super) purpose: [&'a str; 3],
    /// Present if the call may continue as a task.
    pub(super) task_ids: Option<&'a TaskIdSealer>,
}

impl CallContext<'_> {
    /// Reports progress, if the client wants it: `done` of `total` in any unit, `message` for people.
    ///
    /// Progress must grow (Utilities, Progress). A report that does not grow is not sent.
    pub fn send_progress(&self, done: f64, total: Option<f64>, message: &str) {
        let Some(token) = self.progress_token else { return };
        if !done.is_finite() || done <= self.last_progress.get() {
            return;
        }
        self.last_progress.set(done);
        let mut out = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{done}"#
        )
        .into_bytes();
        if let Some(total) = total.filter(|total| total.is_finite()) {
            out.extend_from_slice(format!(",\"total\":{total}").as_bytes());
        }
        if !message.is_empty() {
            out.extend_from_slice(b",\"message\":");
            push_json_string(&mut out, message);
        }
        out.extend_from_slice(b"}}");
        (self.notify)(&out);
    }

    /// Sends a log message, if the client wants this severity (one of [`super::protocol::LOG_LEVELS`]).
    pub fn send_log(&self, level: &str, data: &Value) {
        let severity = find_log_level(level);
        if self.min_log_level.is_some_and(|min| severity.is_some_and(|severity| severity >= min)) {
            let params = json!({"level": level, "logger": self.logger, "data": data});
            let message = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
            (self.notify)(escape_json(message.to_string()).as_bytes());
        }
    }

    /// Returns true if the client declared `capability` (`elicitation`, `sampling`, `roots`) with this request.
    pub fn client_supports(&self, capability: &str) -> bool {
        self.capabilities.as_ref().is_some_and(|declared| declared.get(capability).is_some_and(Value::is_object))
    }

    /// Returns true if the client declared the extension with this id with this request.
    pub fn client_supports_extension(&self, id: &str) -> bool {
        let extensions = self.capabilities.as_ref().and_then(|declared| declared.get("extensions"));
        extensions.and_then(|extensions| extensions.get(id)).is_some_and(Value::is_object)
    }

    /// Prepares a task that the call may continue as. `message` describes it to the user. The handlers of
    /// tasks get `state` back.
    ///
    /// Returns `None` if the client does not support tasks, or if the state is too long for an id.
    pub fn prepare_task(&self, state: Vec<u8>, message: String) -> Option<StartedTask> {
        StartedTask::new(self.task_ids?, state, &self.caller.client.name, message)
    }

    /// Returns true if the client can show the user a form (2026-07-28, Elicitation). A capability without modes
    /// implies it.
    pub fn can_show_form(&self) -> bool {
        let elicitation =
            self.capabilities.as_ref().and_then(|declared| declared.get("elicitation")).and_then(Value::as_object);
        elicitation.is_some_and(|modes| modes.is_empty() || modes.contains_key("form"))
    }

    /// Returns the client's answer to the question with this key.
    pub fn input_response(&self, key: &str) -> Option<&Value> {
        self.input_responses.get(key)
    }

    /// Returns the state that this server sealed for the same client and the same tool, prompt or resource.
    ///
    /// # Errors
    /// The state was forged or changed, has expired, or was made for another purpose.
    pub fn unseal_state(&self) -> Result<Option<Value>, RpcError> {
        self.sealed_state.as_deref().map(|sealed| self.sealer.unseal(sealed, &self.purpose.join(" "))).transpose()
    }

    /// Seals a state for the same client and the same tool, prompt or resource.
    pub(super) fn seal_state(&self, state: &Value) -> String {
        self.sealer.seal(state, &self.purpose.join(" "))
    }
}
