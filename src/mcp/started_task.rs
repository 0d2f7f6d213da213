//! A task that the call of a tool continues as, and the JSON members of every task (extension for tasks, 2026-07-28).

use super::json_string::push_json_string;
use super::task_id::{SealedTask, TASK_LIFETIME, TaskIdSealer};
use crate::base::timestamp::timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The interval in which clients are asked to poll.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// A task that the call of a tool continues as.
///
/// [`CallContext::prepare_task`](super::context::CallContext::prepare_task) creates it.
#[derive(Debug)]
pub struct StartedTask {
    id: String,
    created_at: SystemTime,
    message: String,
}

impl StartedTask {
    pub(super) fn new(ids: &TaskIdSealer, state: Vec<u8>, client: &str, message: String) -> Option<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created_at = UNIX_EPOCH + Duration::from_secs(since_1970.as_secs());
        let id = ids.seal(&SealedTask { created_at, state }, client)?;
        Some(Self { id, created_at, message })
    }

    /// Appends the answer of the call, without its end.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { id, created_at, message } = self;
        TaskMembers { id, status: "working", message, created_at: *created_at, updated_at: *created_at }.write(out);
    }
}

/// The members that every form of a task has.
pub(super) struct TaskMembers<'a> {
    /// A valid id, which needs no escapes.
    pub id: &'a str,
    pub status: &'static str,
    pub message: &'a str,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

impl TaskMembers<'_> {
    /// Appends the start of an object with these members.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { id, status, message, created_at, updated_at } = *self;
        out.extend_from_slice(format!(r#"{{"taskId":"{id}","status":"{status}","statusMessage":"#).as_bytes());
        push_json_string(out, message);
        let (created, updated) = (timestamp(created_at), timestamp(updated_at));
        let (ttl, poll) = (TASK_LIFETIME.as_millis(), POLL_INTERVAL.as_millis());
        let rest =
            format!(r#","createdAt":"{created}","lastUpdatedAt":"{updated}","ttlMs":{ttl},"pollIntervalMs":{poll}"#);
        out.extend_from_slice(rest.as_bytes());
    }
}
