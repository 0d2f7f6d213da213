//! The methods of the extension for tasks (2026-07-28). A call of a tool that takes long is answered with a task. The
//! client polls it with tasks/get until the task has the result of the call.
//!
//! The server keeps no state of a task: its id contains the state, signed. Tasks ask no questions, since a tool asks them
//! before it starts a task.

use super::catalog::{TaskError, TaskHandlers, TaskSnapshot, TaskStatus, ToolOutput};
use super::context::CallContext;
use super::error::RpcError;
use super::methods::{self, RequestContext, ResultEnding};
use super::protocol::{ProtocolEra, TASKS_EXTENSION};
use super::server_state::{ResultCaching, ServerState};
use super::started_task::TaskMembers;
use super::task_id::SealedTask;
use crate::base::hint::render_error;
use crate::sanitize::escape_invisible::escape_json;
use serde_json::json;
use std::time::SystemTime;

/// A method of the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskMethod {
    Get,
    Update,
    Cancel,
}

impl TaskMethod {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "tasks/get" => Some(Self::Get),
            "tasks/update" => Some(Self::Update),
            "tasks/cancel" => Some(Self::Cancel),
            _ => None,
        }
    }
}

/// Answers a method of the extension.
pub(super) fn dispatch(
    request_context: &RequestContext<'_>,
    method: TaskMethod,
    handlers: &TaskHandlers,
) -> Result<Vec<u8>, RpcError> {
    let RequestContext { server, request, params, transport, .. } = *request_context;
    let context = methods::build_call_context(request_context, "")?;
    if !context.client_supports_extension(TASKS_EXTENSION) {
        return Err(RpcError::MissingExtension(TASKS_EXTENSION));
    }
    let id = methods::require("taskId", params.task_id.as_deref(), "the task that a call was answered with")?;
    let reject = |error| match error {
        TaskError::Unknown => RpcError::UnknownTask { hint: handlers.unknown_task_hint },
        TaskError::Denied(text) => RpcError::TaskDenied(text),
        TaskError::Failed(text) => RpcError::HandlerFailed(text),
    };
    let task = server.task_ids.open(id, &transport.caller.client.name, SystemTime::now());
    let task = task.ok_or_else(|| reject(TaskError::Unknown))?;
    match method {
        TaskMethod::Get => {
            let snapshot = (handlers.read)(&context, &task.state).map_err(reject)?;
            return Ok(request.encode_result(|out| write_task(out, &context, request_context, id, &task, snapshot)));
        }
        TaskMethod::Cancel => (handlers.cancel)(&context, &task.state).map_err(reject)?,
        // No task has asked for the answers of the client, and such answers are ignored.
        TaskMethod::Update => {}
    }
    Ok(request.encode_result(|out| write_acknowledgement(out, server)))
}

fn write_task(
    out: &mut Vec<u8>,
    context: &CallContext<'_>,
    request_context: &RequestContext<'_>,
    id: &str,
    task: &SealedTask,
    snapshot: TaskSnapshot,
) {
    let TaskSnapshot { status, message, updated_at } = snapshot;
    let name = match &status {
        TaskStatus::Working => "working",
        TaskStatus::Completed(_) => "completed",
        TaskStatus::Cancelled => "cancelled",
        TaskStatus::Failed(_) => "failed",
    };
    let created_at = task.created_at;
    let updated_at = updated_at.max(created_at);
    TaskMembers { id, status: name, message: &message, created_at, updated_at }.write(out);
    match status {
        TaskStatus::Working | TaskStatus::Cancelled => {}
        TaskStatus::Completed(result) => {
            out.extend_from_slice(br#","result":"#);
            let ending = if result.is_err() { ResultEnding::Failed } else { ResultEnding::Complete };
            let output = result.unwrap_or_else(ToolOutput::text);
            methods::write_tool_result(out, request_context, output, ending, context.wants_structured);
        }
        TaskStatus::Failed(error) => {
            let mut object = json!({"code": error.code(), "message": render_error(&error)});
            if let Some(data) = error.data() {
                object["data"] = data;
            }
            out.extend_from_slice(format!(",\"error\":{}", escape_json(object.to_string())).as_bytes());
        }
    }
    out.extend_from_slice(request_context.server.result_tail(ProtocolEra::Modern, ResultCaching::Undefined));
}

/// Appends the empty answer of tasks/update and tasks/cancel.
fn write_acknowledgement(out: &mut Vec<u8>, server: &ServerState) {
    let tail = server.result_tail(ProtocolEra::Modern, ResultCaching::Undefined);
    out.push(b'{');
    out.extend_from_slice(tail.strip_prefix(b",").expect("a tail continues an object"));
}
