//! What a running tool may know of its call and say to its client before the answer.

use super::call_span::CallAttributes;
use super::message::{RpcError, push_json_string};
use super::sealed_state::StateSealer;
use crate::base::cancel::CancelToken;
use crate::base::trace::{CallId, TraceParent};
use crate::config::Client;
use crate::sanitize::escape_invisible;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

/// Takes one message for the client, on the stream of the request it belongs to.
pub type NotificationSink<'a> = &'a dyn Fn(&[u8]);

/// Severities of log messages (RFC 5424, as MCP names them), least first.
pub const LOG_LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Who calls, and by which way.
#[derive(Clone)]
pub struct Caller {
    /// Whose token it is, or who stands for all where there is none.
    pub client: Arc<Client>,
    /// Where the connection comes from; `None` on stdio.
    pub address: Option<IpAddr>,
    /// `http` (POST /mcp), `sse` or `stdio`.
    pub transport: &'static str,
    /// The trace that the request's `traceparent` header names, if it does.
    pub trace: Option<TraceParent>,
}

impl Caller {
    /// Whoever speaks on this process's own stdin.
    pub fn new_stdio() -> Self {
        Self { client: Arc::new(Client::stdio()), address: None, transport: "stdio", trace: None }
    }
}

/// One call, seen from the tool that runs it.
pub struct CallContext<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// Unlike that of any other call.
    pub id: CallId,
    /// The trace it belongs to, if its client follows one.
    pub trace: Option<TraceParent>,
    /// What the tool has learnt of the call.
    pub attributes: &'a CallAttributes,
    /// Looked at between steps, and hooked into blocking I/O.
    pub cancel: CancelToken,
    pub(super) notify: NotificationSink<'a>,
    /// The JSON text of the client's progress token: it asked for progress.
    pub(super) progress_token: Option<&'a str>,
    pub(super) last_progress: Cell<f64>,
    /// The least severity the client wants to hear of; an index into [`LOG_LEVELS`].
    pub(super) min_log_level: Option<usize>,
    /// What the client can do, as it declared with this request (2026-07-28); `None` in the older eras.
    pub(super) capabilities: Option<Value>,
    pub(super) input_responses: Map<String, Value>,
    pub(super) sealed_state: Option<String>,
    pub(super) sealer: &'a StateSealer,
    /// What a sealed state is bound to: the method and the name it was made for, and who called.
    pub(super) purpose: String,
}

impl CallContext<'_> {
    /// Says how far the call is, if the client asked: `done` of `total` in any unit, `message` for people. Progress must
    /// grow (Utilities, Progress); what does not is left out.
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
        if let Some(total) = total.filter(|t| t.is_finite()) {
            out.extend_from_slice(format!(",\"total\":{total}").as_bytes());
        }
        if !message.is_empty() {
            out.extend_from_slice(b",\"message\":");
            push_json_string(&mut out, message);
        }
        out.extend_from_slice(b"}}");
        (self.notify)(&out);
    }

    /// Sends a log message, if the client wants this severity (one of [`LOG_LEVELS`]).
    pub fn send_log(&self, level: &str, data: &Value) {
        let severity = LOG_LEVELS.iter().position(|l| *l == level);
        if self.min_log_level.is_some_and(|from| severity.is_some_and(|s| s >= from)) {
            let params = serde_json::json!({"level": level, "logger": env!("CARGO_PKG_NAME"), "data": data});
            let note = serde_json::json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
            (self.notify)(escape_invisible::escape_json(note.to_string()).as_bytes());
        }
    }

    /// Whether the client said, with this request, that it can do `capability` (`elicitation`, `sampling`, `roots`).
    pub fn client_supports(&self, capability: &str) -> bool {
        self.capabilities.as_ref().is_some_and(|c| c.get(capability).is_some_and(Value::is_object))
    }

    /// Whether its client can show the user a form (2026-07-28, Elicitation: a capability that names no mode means it).
    pub fn can_show_form(&self) -> bool {
        let elicitation = self.capabilities.as_ref().and_then(|c| c.get("elicitation")).and_then(Value::as_object);
        elicitation.is_some_and(|modes| modes.is_empty() || modes.contains_key("form"))
    }

    /// The client's answer to the question asked under `key`.
    pub fn input_response(&self, key: &str) -> Option<&Value> {
        self.input_responses.get(key)
    }

    /// The state this server sealed for the same tool, prompt or resource. A state that was made up, changed, kept too
    /// long or made for something else is a fault: it comes from the client.
    pub fn unseal_state(&self) -> Result<Option<Value>, RpcError> {
        self.sealed_state.as_deref().map(|sealed| self.sealer.unseal(sealed, &self.purpose)).transpose()
    }
}
