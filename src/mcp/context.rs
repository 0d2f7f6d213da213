//! What a running tool may know of its call and say to its client before the answer.

use super::message::{Fault, push_json_str};
use super::record::Tally;
use super::state::Seal;
use crate::cancel::Cancel;
use crate::settings::Client;
use crate::trace::{CallId, Trace};
use crate::visible;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

/// Takes one message for the client, on the stream of the request it belongs to.
pub type Send<'a> = &'a dyn Fn(&[u8]);

/// Severities of log messages (RFC 5424, as MCP names them), least first.
pub const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

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
    pub trace: Option<Trace>,
}

impl Caller {
    /// Whoever speaks on this process's own stdin.
    pub fn stdio() -> Self {
        Self { client: Arc::new(Client::stdio()), address: None, transport: "stdio", trace: None }
    }
}

/// One call, seen from the tool that runs it.
pub struct Context<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// Unlike that of any other call.
    pub id: CallId,
    /// The trace it belongs to, if its client follows one.
    pub trace: Option<Trace>,
    /// What the tool has learnt of the call.
    pub tally: &'a Tally,
    /// Looked at between steps, and hooked into blocking I/O.
    pub cancel: Cancel,
    pub(super) send: Send<'a>,
    /// The JSON text of the client's progress token: it asked for progress.
    pub(super) progress_token: Option<&'a str>,
    pub(super) last_progress: Cell<f64>,
    /// The least severity the client wants to hear of; an index into [`LEVELS`].
    pub(super) log_from: Option<usize>,
    /// What the client can do, as it declared with this request (2026-07-28); `None` in the older eras.
    pub(super) capabilities: Option<Value>,
    pub(super) answers: Map<String, Value>,
    pub(super) state: Option<String>,
    pub(super) seal: &'a Seal,
    /// What a sealed state is bound to: the method and the name it was made for, and who called.
    pub(super) purpose: String,
}

impl Context<'_> {
    /// Says how far the call is, if the client asked: `done` of `total` in any unit, `message` for people. Progress must
    /// grow (Utilities, Progress); what does not is left out.
    pub fn progress(&self, done: f64, total: Option<f64>, message: &str) {
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
            push_json_str(&mut out, message);
        }
        out.extend_from_slice(b"}}");
        (self.send)(&out);
    }

    /// Sends a log message, if the client wants this severity (one of [`LEVELS`]).
    pub fn log(&self, level: &str, data: &Value) {
        let severity = LEVELS.iter().position(|l| *l == level);
        if self.log_from.is_some_and(|from| severity.is_some_and(|s| s >= from)) {
            let params = serde_json::json!({"level": level, "logger": env!("CARGO_PKG_NAME"), "data": data});
            let note = serde_json::json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
            (self.send)(visible::json(note.to_string()).as_bytes());
        }
    }

    /// Whether the client said, with this request, that it can do `capability` (`elicitation`, `sampling`, `roots`).
    pub fn client_can(&self, capability: &str) -> bool {
        self.capabilities.as_ref().is_some_and(|c| c.get(capability).is_some_and(Value::is_object))
    }

    /// Whether its client can show the user a form (2026-07-28, Elicitation: a capability that names no mode means it).
    pub fn asks_user(&self) -> bool {
        let elicitation = self.capabilities.as_ref().and_then(|c| c.get("elicitation")).and_then(Value::as_object);
        elicitation.is_some_and(|modes| modes.is_empty() || modes.contains_key("form"))
    }

    /// The client's answer to the question asked under `key`.
    pub fn answer(&self, key: &str) -> Option<&Value> {
        self.answers.get(key)
    }

    /// The state this server sealed for the same tool, prompt or resource. A state that was made up, changed, kept too
    /// long or made for something else is a fault: it comes from the client.
    pub fn state(&self) -> Result<Option<Value>, Fault> {
        self.state.as_deref().map(|sealed| self.seal.open(sealed, &self.purpose)).transpose()
    }
}
